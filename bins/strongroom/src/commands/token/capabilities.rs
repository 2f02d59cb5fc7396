use serde_json::Map;

use super::given;
use crate::{
    failure::{DONE, Failure, Outcome},
    output::json::Json,
    session::Session,
};

/// Show what a token may do at a path
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    What may we do?
        strongroom token capabilities secret/data/app

    What may another token do?
        strongroom token capabilities - secret/data/app < token")]
pub(crate) struct Capabilities {
    /// The token or accessor (- reads standard input), if it is not our own; then the path
    #[arg(value_name = "[TOKEN] PATH", num_args = 1..=2, required = true)]
    arguments: Vec<String>,

    /// Take the first argument for an accessor
    #[arg(long)]
    accessor: bool,
}

impl Capabilities {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let (other, path) = match self.arguments.as_slice() {
            [path] => (None, path),
            [token, path] => (Some(token), path),
            _ => return Err(Failure::local("give a path, or a token and a path")),
        };
        let mut body = Map::from_iter([("paths".to_owned(), vec![path.clone()].into())]);
        let endpoint = match (other, self.accessor) {
            (None, false) => "sys/capabilities-self",
            (None, true) => return Err(Failure::local("-accessor needs an accessor before the path")),
            (Some(other), accessor) => {
                let (name, endpoint) =
                    if accessor { ("accessor", "sys/capabilities-accessor") } else { ("token", "sys/capabilities") };
                body.insert(name.to_owned(), given(other)?.into());
                endpoint
            }
        };
        let answer = session.write("listing capabilities", endpoint, body).await?;
        let found = answer.as_ref().and_then(|answer| answer.at(path).or_else(|| answer.at("capabilities")));
        let Some(found) = found else {
            return Err(Failure::Nothing("No capabilities found".to_owned()));
        };
        if !session.terminal.is_table() {
            session.terminal.structured(found)?;
            return Ok(DONE);
        }
        let mut names: Vec<_> = found.items().iter().map(Json::plain).collect();
        names.sort();
        session.terminal.print(&names.join(", "))?;
        Ok(DONE)
    }
}
