use serde_json::Map;

use crate::{
    commands::clean,
    failure::{Failure, Outcome},
    input,
    session::Session,
};

/// Let a lease live longer
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    For as long as it first lived:
        strongroom lease renew database/creds/app/abcd1234

    For half an hour from now:
        strongroom lease renew -increment=30m database/creds/app/abcd1234")]
pub(crate) struct Renew {
    /// The lease
    lease_id: String,

    /// How long it is to live from now on
    #[arg(long, short = 'i', value_name = "TIME", value_parser = input::duration)]
    increment: Option<String>,
}

impl Renew {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let id = clean(&self.lease_id);
        let mut body = Map::from_iter([("lease_id".to_owned(), id.into())]);
        if let Some(increment) = &self.increment {
            body.insert("increment".to_owned(), increment.as_str().into());
        }
        match session.write("renewing lease", "sys/leases/renew", body).await? {
            Some(answer) => session.terminal.answer(&answer),
            None => Err(Failure::local("Error renewing lease: the reply is empty")),
        }
    }
}
