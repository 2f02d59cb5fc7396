use crate::{
    commands::{clean, folder, mount_options::MountOptions},
    failure::Outcome,
    session::Session,
};

/// Mount an auth method
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Let workloads log in with signed identity tokens:
        strongroom auth enable jwt

    A second mount for another cluster:
        strongroom auth enable -path=jwt-staging jwt")]
pub(crate) struct Enable {
    /// The kind of method, as jwt or approle
    #[arg(value_name = "TYPE")]
    kind: String,

    /// Where to mount it; otherwise at its kind's name
    #[arg(long)]
    path: Option<String>,

    #[command(flatten)]
    options: MountOptions,

    /// The kind of tokens it makes: default-service, default-batch, service or batch
    #[arg(long, value_name = "KIND")]
    token_type: Option<String>,

    /// Keep the mount on this cluster
    #[arg(long)]
    local: bool,

    /// Wrap what it stores with the seal as well
    #[arg(long)]
    seal_wrap: bool,
}

impl Enable {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let kind = self.kind.trim();
        let path = clean(self.path.as_deref().unwrap_or(kind));
        let mut config = self.options.config();
        if let Some(token_type) = &self.token_type {
            config.insert("token_type".to_owned(), token_type.as_str().into());
        }
        let mut body = self.options.own()?;
        body.insert("type".to_owned(), kind.into());
        body.insert("config".to_owned(), config.into());
        body.insert("local".to_owned(), self.local.into());
        body.insert("seal_wrap".to_owned(), self.seal_wrap.into());
        let answer = session.write(&format!("enabling {kind} auth"), &format!("sys/auth/{path}"), body).await?;
        if let Some(answer) = &answer {
            session.terminal.warnings(answer);
        }
        session.success(&format!("Enabled {kind} auth method at: {}", folder(path)))
    }
}
