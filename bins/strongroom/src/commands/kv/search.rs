use api::Verb;

use super::{Place, target::Target};
use crate::{
    failure::{DONE, Failure, Outcome},
    session::Session,
};

/// Find secrets by name and metadata
///
/// Shows the paths of the secrets below a path that fit, at any depth, as far as we may know of them. Values are not looked
/// at.
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Whatever has to do with payments:
        strongroom kv search -mount=secret -name=pay

    What a team has in production, and what of it is deleted:
        strongroom kv search -mount=secret -meta=owner=shop -state=deleted production")]
pub(crate) struct Search {
    /// Where the engine is mounted; otherwise it is found from the path
    #[arg(long, value_name = "PATH")]
    mount: Option<String>,

    /// The path to search below
    #[arg(required_unless_present = "mount", default_value = "")]
    path: String,

    /// A part of the path, or all of it with * for anything
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,

    /// Custom metadata that the secret must have, with * for anything; may be repeated
    #[arg(long, value_name = "KEY=TEXT")]
    meta: Vec<String>,

    /// A label that one of its versions must bear
    #[arg(long, value_name = "LABEL")]
    label: Option<String>,

    /// How its current version must be: live, deleted or empty
    #[arg(long, value_name = "STATE")]
    state: Option<String>,

    /// Changed after this time
    #[arg(long, value_name = "TIME")]
    updated_after: Option<String>,

    /// Changed before this time
    #[arg(long, value_name = "TIME")]
    updated_before: Option<String>,

    /// How many folders deep
    #[arg(long, value_name = "NUMBER")]
    depth: Option<u64>,
}

impl Search {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let query = self.query()?;
        let place = Place { mount: self.mount, path: self.path };
        let target = Target::find(session, &place).await?;
        target.must_be_versioned("Searching is")?;
        let path = target.at("search");
        let (mut after, mut found) = (None::<String>, 0);
        loop {
            let mut asked: Vec<(&str, &str)> =
                query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            asked.extend(after.as_deref().map(|after| ("after", after)));
            let answer = session.ask(&format!("searching {path}"), Verb::List, &path, &asked, None).await?;
            let Some(answer) = answer else { break };
            for key in answer.at("keys").map(|keys| keys.items()).unwrap_or_default() {
                session.terminal.print(key.text().unwrap_or_default())?;
                found += 1;
            }
            after = answer.at("after").and_then(|after| after.text()).map(str::to_owned);
            if after.is_none() {
                break;
            }
        }
        if found == 0 { Err(Failure::Nothing(format!("No value found at {path}"))) } else { Ok(DONE) }
    }

    fn query(&self) -> Result<Vec<(String, String)>, Failure> {
        let texts = [
            ("name", &self.name),
            ("label", &self.label),
            ("state", &self.state),
            ("updated_after", &self.updated_after),
            ("updated_before", &self.updated_before),
            ("depth", &self.depth.map(|depth| depth.to_string())),
        ]
        .map(|(name, text)| text.clone().map(|text| (name.to_owned(), text)));
        let mut query: Vec<_> = texts.into_iter().flatten().collect();
        for pair in &self.meta {
            match pair.split_once('=') {
                Some((key, text)) if !key.is_empty() => query.push((format!("meta.{key}"), text.to_owned())),
                _ => return Err(Failure::local(format!("invalid pair {pair:?}: use KEY=TEXT"))),
            }
        }
        Ok(query)
    }
}
