use serde_json::{Map, Value};

use crate::{
    commands::{clean, folder, mount_options::MountOptions},
    failure::{Failure, Outcome},
    session::Session,
};

/// Change the settings of a mount
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Let database users live for an hour, or eight at most:
        strongroom secrets tune -default-lease-ttl=1h -max-lease-ttl=8h database")]
pub(crate) struct Tune {
    /// Where it is mounted
    path: String,

    #[command(flatten)]
    options: MountOptions,
}

impl Tune {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let path = clean(&self.path);
        let body = merged(&self.options, None)?;
        let doing = format!("tuning secrets engine {}", folder(path));
        session.write(&doing, &format!("sys/mounts/{path}/tune"), body).await?;
        session.success(&format!("Tuned the secrets engine at: {}", folder(path)))
    }
}

/// The body of a tuning: settings and configuration side by side. One without any is a mistake.
pub(in crate::commands) fn merged(
    options: &MountOptions,
    token_type: Option<&str>,
) -> Result<Map<String, Value>, Failure> {
    let mut body = options.own()?;
    body.extend(options.config());
    body.extend(token_type.map(|kind| ("token_type".to_owned(), kind.into())));
    if body.is_empty() {
        return Err(Failure::local("there is nothing to change: give at least one setting"));
    }
    Ok(body)
}
