use crate::{
    commands::{clean, folder, mount_options::MountOptions, secrets::merged},
    failure::Outcome,
    session::Session,
};

/// Change the settings of an auth method's mount
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Let tokens live for an hour at most:
        strongroom auth tune -max-lease-ttl=1h jwt")]
pub(crate) struct Tune {
    /// Where it is mounted
    path: String,

    #[command(flatten)]
    options: MountOptions,

    /// The kind of tokens it makes: default-service, default-batch, service or batch
    #[arg(long, value_name = "KIND")]
    token_type: Option<String>,
}

impl Tune {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let path = clean(&self.path);
        let path = path.strip_prefix("auth/").unwrap_or(path);
        let body = merged(&self.options, self.token_type.as_deref())?;
        let doing = format!("tuning auth method {}", folder(path));
        session.write(&doing, &format!("sys/auth/{path}/tune"), body).await?;
        session.success(&format!("Tuned the auth method at: {}", folder(path)))
    }
}
