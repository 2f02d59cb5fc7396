//! Brings a server to the state that a folder of files describes.

mod compare;
mod plan;
mod reference;
mod wanted;

use std::path::PathBuf;

use serde_json::json;

use crate::{
    failure::{DONE, Failure, Outcome},
    output::json::Json,
    session::Session,
};
use plan::{Plan, Step};
use wanted::Wanted;

/// Bring the server to the state that a folder describes
///
/// The folder holds policies (*.hcl, each named after its file) and TOML files with mounts, logins and settings. What is
/// already so is left alone, so a second run writes nothing. What the server has and the folder does not is reported
/// and never removed. Secrets stand in the files by reference only. See `docs/src/apply.md` for the form.
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Show what would change; the status is 2 if anything would:
        strongroom apply -plan infra/

    Show it, ask, and do it:
        strongroom apply infra/

    From a pipeline, without a question:
        strongroom apply -auto-approve infra/

    A file in such a folder:
        [[secrets]]
        path = \"kv\"
        type = \"kv\"
        options = { version = \"2\" }

        [[auth]]
        path = \"jwt\"
        type = \"jwt\"

        [[write]]
        path = \"auth/jwt/role/shop\"
        data = { role_type = \"jwt\", user_claim = \"sub\", bound_subject = \"shop\", token_policies = [\"shop\"] }

        [[write]]
        path = \"database/config/shop\"
        data = { plugin_name = \"postgresql-database-plugin\", password = { env = \"PGPASSWORD\" } }")]
pub(crate) struct Apply {
    /// The folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,

    /// Show what would change, and change nothing
    #[arg(long)]
    plan: bool,

    /// Do not ask before changing anything
    #[arg(long, conflicts_with = "plan")]
    auto_approve: bool,
}

/// The status of `-plan` when something would change.
const CHANGES: u8 = 2;

impl Apply {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let wanted = Wanted::read(&self.folder)?;
        let plan = Plan::make(session, wanted).await?;
        show(session, &plan, self.plan)?;
        if self.plan {
            return if plan.steps.is_empty() { Ok(DONE) } else { Err(Failure::Said(CHANGES)) };
        }
        if plan.steps.is_empty() {
            return Ok(DONE);
        }
        if !self.auto_approve && !approved(session, plan.steps.len())? {
            return Err(Failure::local("Nothing was changed."));
        }
        let total = plan.steps.len();
        for (done, step) in plan.steps.into_iter().enumerate() {
            let what = step.what.clone();
            if let Err(failure) = step.run(session).await {
                session.terminal.error(&format!("{what} failed; {done} of {total} changes were made before it"));
                return Err(failure);
            }
            session.terminal.note(&format!("[{}/{total}] {what}", done + 1));
        }
        session.success(&format!("Made {}", changes(total)))
    }
}

fn changes(number: usize) -> String {
    if number == 1 { "1 change".to_owned() } else { format!("{number} changes") }
}

fn approved(session: &Session, number: usize) -> Result<bool, Failure> {
    let question = format!("Make {}? Only \"yes\" is taken for yes: ", changes(number));
    let answer = session.terminal.ask(&question, "add -auto-approve, or -plan to change nothing")?;
    Ok(answer == "yes")
}

fn show(session: &Session, plan: &Plan, structured: bool) -> Result<(), Failure> {
    if !session.terminal.is_table() && structured {
        let step = |step: &Step| {
            let change =
                |change: &compare::Change| json!({ "field": change.field, "from": change.from, "to": change.to });
            let fields: Vec<_> = step.changes.iter().map(change).collect();
            json!({ "action": step.action.name(), "what": step.what, "changes": fields })
        };
        let steps: Vec<_> = plan.steps.iter().map(step).collect();
        let report = json!({ "changes": steps, "extra": plan.extra, "not_compared": plan.unseen }).to_string();
        return session.terminal.structured(&Json::parse(&report).map_err(Failure::Local)?);
    }
    for step in &plan.steps {
        session.terminal.print(&format!("{} {}", step.action.sign(), step.what))?;
        for change in &step.changes {
            session.terminal.print(&format!("    {}", change.line()))?;
        }
    }
    if plan.steps.is_empty() {
        session.terminal.print("Nothing to change: the server is as the files say.")?;
    }
    if !plan.extra.is_empty() {
        session.terminal.note("\nOn the server, not in the files; left alone:");
        plan.extra.iter().for_each(|extra| session.terminal.note(&format!("  {extra}")));
    }
    if !plan.unseen.is_empty() {
        session.terminal.note("\nNot shown by the server, so not compared (written with other changes only):");
        plan.unseen.iter().for_each(|unseen| session.terminal.note(&format!("  {unseen}")));
    }
    Ok(())
}
