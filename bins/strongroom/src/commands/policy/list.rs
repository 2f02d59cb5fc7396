use crate::{
    failure::{DONE, Failure, Outcome},
    session::Session,
};

/// List the names of the policies
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    List the policies, one a line:
        strongroom policy list")]
pub(crate) struct List {}

impl List {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let answer = session.list("listing policies", "sys/policies/acl").await?;
        let Some(keys) = answer.as_ref().and_then(|answer| answer.at("keys")) else {
            return Err(Failure::Nothing("No policies found".to_owned()));
        };
        if !session.terminal.is_table() {
            session.terminal.structured(keys)?;
            return Ok(DONE);
        }
        for name in keys.items() {
            session.terminal.print(&name.plain())?;
        }
        Ok(DONE)
    }
}
