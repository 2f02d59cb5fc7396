use serde_json::Map;

use super::name;
use crate::{
    failure::{Failure, Outcome},
    input,
    session::Session,
};

/// Upload a policy
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    From a file:
        strongroom policy write app app.hcl

    From standard input:
        strongroom policy write app - < app.hcl")]
pub(crate) struct Write {
    /// The policy's name
    name: String,

    /// A file with its text; - reads standard input
    file: String,
}

impl Write {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let name = name(&self.name);
        let text = if self.file == "-" { input::read_stdin()? } else { input::read_file(&self.file)? };
        if text.trim().is_empty() {
            return Err(Failure::local(format!("the policy in {} is empty", self.file)));
        }
        let body = Map::from_iter([("policy".to_owned(), text.into())]);
        let answer = session.write("uploading policy", &format!("sys/policies/acl/{name}"), body).await?;
        if let Some(answer) = &answer {
            session.terminal.warnings(answer);
        }
        session.success(&format!("Uploaded policy: {name}"))
    }
}
