use serde_json::Map;

use crate::{
    commands::clean,
    failure::{Failure, Outcome},
    session::Session,
};

/// Show what is known of a lease
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    When does it end?
        strongroom lease lookup database/creds/app/abcd1234")]
pub(crate) struct Lookup {
    /// The lease
    lease_id: String,
}

impl Lookup {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let id = clean(&self.lease_id);
        let body = Map::from_iter([("lease_id".to_owned(), id.into())]);
        match session.write(&format!("looking up lease id {id}"), "sys/leases/lookup", body).await? {
            Some(answer) => session.terminal.answer(&answer),
            None => Err(Failure::Nothing(format!("No lease found: {id}"))),
        }
    }
}
