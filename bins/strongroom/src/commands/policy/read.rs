use super::name;
use crate::{
    failure::{DONE, Failure, Outcome},
    session::Session,
};

/// Print the text of a policy
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Print a policy:
        strongroom policy read app")]
pub(crate) struct Read {
    /// The policy's name
    name: String,
}

impl Read {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let name = name(&self.name);
        let doing = format!("reading policy named {name}");
        let policy =
            session.read(&doing, &format!("sys/policies/acl/{name}"), &[]).await?.and_then(|answer| answer.data);
        let Some(policy) = policy else {
            return Err(Failure::Nothing(format!("No policy named: {name}")));
        };
        if session.terminal.field.is_some() || !session.terminal.is_table() {
            return session.terminal.object(&policy);
        }
        session.terminal.print(policy.text_at("policy").trim())?;
        Ok(DONE)
    }
}
