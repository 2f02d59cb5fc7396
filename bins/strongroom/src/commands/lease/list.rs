use crate::{
    commands::inventory::{Filter, moment, span},
    failure::{Failure, Outcome},
    output::json::Json,
    session::Session,
};

/// List the leases: whose, how old, and when they end
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Which database users of this role are there?
        strongroom lease list -mount=database/creds/app

    Which ends within the hour, whatever is renewed?
        strongroom lease list -ends-within=1h")]
pub(crate) struct List {
    #[command(flatten)]
    filter: Filter,
}

impl List {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let leases = self.filter.all(session, "leases").await?;
        if leases.is_empty() && session.terminal.is_table() {
            return Err(Failure::Nothing("No leases fit".to_owned()));
        }
        let rows: Vec<_> = leases.iter().map(row).collect();
        let headings = ["Lease", "Role", "Token Accessor", "Entity", "Age", "Ends", "Ends At The Latest"];
        session.terminal.rows(&headings, &rows, &Json::List(leases))
    }
}

fn row(lease: &Json) -> Vec<String> {
    let text = |name: &str| lease.text_at(name).to_owned();
    vec![
        text("lease_id"),
        text("role"),
        text("accessor"),
        text("entity_id"),
        span(lease, "age"),
        moment(lease, "expire_time"),
        moment(lease, "hard_expire_time"),
    ]
}
