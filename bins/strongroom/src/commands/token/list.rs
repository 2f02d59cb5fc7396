use crate::{
    commands::inventory::{Filter, moment, span},
    failure::{Failure, Outcome},
    output::json::Json,
    session::Session,
};

/// List the tokens: whose, how old, and when they end
///
/// A token is shown by its accessor, by which it can be looked up and revoked, not used.
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Which tokens are older than a week?
        strongroom token list -older-than=168h

    What has somebody logged in with?
        strongroom token list -entity=0a1b2c3d-0000-4000-8000-000000000000")]
pub(crate) struct List {
    #[command(flatten)]
    filter: Filter,
}

impl List {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let tokens = self.filter.all(session, "tokens").await?;
        if tokens.is_empty() && session.terminal.is_table() {
            return Err(Failure::Nothing("No tokens fit".to_owned()));
        }
        let rows: Vec<_> = tokens.iter().map(row).collect();
        let headings = ["Accessor", "Display Name", "Path", "Role", "Entity", "Age", "Ends", "Ends At The Latest"];
        session.terminal.rows(&headings, &rows, &Json::List(tokens))
    }
}

fn row(token: &Json) -> Vec<String> {
    let text = |name: &str| token.text_at(name).to_owned();
    vec![
        text("accessor"),
        text("display_name"),
        text("path"),
        text("role"),
        text("entity_id"),
        span(token, "age"),
        moment(token, "expire_time"),
        moment(token, "hard_expire_time"),
    ]
}
