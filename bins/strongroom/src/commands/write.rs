use crate::{
    commands::clean,
    failure::{Failure, Outcome},
    input,
    session::Session,
};

/// Write data to a path
///
/// A value given as NAME=VALUE stays in the shell's history and is seen by every process of the machine while the
/// command runs; NAME=@FILE and NAME=- (standard input) avoid both.
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Configure a role:
        strongroom write auth/approle/role/app token_ttl=20m token_policies=app

    Take a secret value from standard input:
        printf %s \"$PASSWORD\" | strongroom write secret/app password=-

    Write a whole JSON object from a file:
        strongroom write database/config/main @connection.json

    Ask for something that takes no data:
        strongroom write -force database/rotate-root/main")]
pub(crate) struct Write {
    /// The path to write to
    path: String,

    /// What to write: NAME=VALUE, NAME=@FILE, NAME=-, @FILE with a JSON object, or - for one on standard input
    #[arg(value_name = "DATA")]
    data: Vec<String>,

    /// Write although there is no data
    #[arg(long, short = 'f', alias = "f")]
    force: bool,
}

impl Write {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let path = clean(&self.path);
        if self.data.is_empty() && !self.force {
            return Err(Failure::local("Must supply data or use -force"));
        }
        let data = input::data(&self.data)?;
        let answer = session.write(&format!("writing data to {path}"), path, data).await?;
        session.written(answer.as_ref(), &format!("Data written to: {path}"))
    }
}
