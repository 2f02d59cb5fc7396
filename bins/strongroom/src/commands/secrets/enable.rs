use crate::{
    commands::{clean, folder, mount_options::MountOptions},
    failure::Outcome,
    session::Session,
};

/// Mount a secrets engine
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Mount the database engine at database/:
        strongroom secrets enable database

    Mount a key-value engine with versions somewhere else:
        strongroom secrets enable -path=team/secret -version=2 kv")]
pub(crate) struct Enable {
    /// The kind of engine, as kv or database
    #[arg(value_name = "TYPE")]
    kind: String,

    /// Where to mount it; otherwise at its kind's name
    #[arg(long)]
    path: Option<String>,

    #[command(flatten)]
    options: MountOptions,

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
        let mut body = self.options.own()?;
        body.insert("type".to_owned(), kind.into());
        body.insert("config".to_owned(), self.options.config().into());
        body.insert("local".to_owned(), self.local.into());
        body.insert("seal_wrap".to_owned(), self.seal_wrap.into());
        let answer = session.write("enabling", &format!("sys/mounts/{path}"), body).await?;
        if let Some(answer) = &answer {
            session.terminal.warnings(answer);
        }
        session.success(&format!("Enabled the {kind} secrets engine at: {}", folder(path)))
    }
}
