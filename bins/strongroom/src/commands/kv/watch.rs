use api::Verb;
use futures::StreamExt;
use serde_json::Value;

use super::{Place, target::Target};
use crate::{
    failure::{DONE, Failure, Outcome},
    session::Session,
};

/// Follow the changes of secrets
///
/// Prints a line for each change: the event's id, what became of the secret, its version and path. With -format=json each
/// line is an object. No value is shown. Ends with the token, or when the server is sealed.
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Follow what changes below a path:
        strongroom kv watch -mount=secret app

    Go on after the last event that was seen:
        strongroom kv watch -mount=secret -after=5120-1790000000 app")]
pub(crate) struct Watch {
    /// Where the engine is mounted; otherwise it is found from the path
    #[arg(long, value_name = "PATH")]
    mount: Option<String>,

    /// The path to follow
    #[arg(required_unless_present = "mount", default_value = "")]
    path: String,

    /// Go on after the event with this id
    #[arg(long, value_name = "ID")]
    after: Option<String>,
}

impl Watch {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let place = Place { mount: self.mount, path: self.path };
        let target = Target::find(session, &place).await?;
        target.must_be_versioned("Watching is")?;
        let path = target.at("events");
        let query: Vec<(&str, &str)> = self.after.iter().map(|id| ("last_event_id", id.as_str())).collect();
        session.show_instead(Verb::Read, &path, &query, None)?;
        let failed = |error| Failure::Api { doing: format!("reading {path}"), error: Box::new(error) };
        let mut stream = session.client()?.stream_query(Verb::Read, &path, &query, None).await.map_err(failed)?;
        let mut buffer = Vec::new();
        while let Some(bytes) = stream.next().await {
            buffer.extend_from_slice(&bytes.map_err(failed)?);
            while let Some(end) = buffer.windows(2).position(|pair| pair == b"\n\n") {
                let frame: Vec<u8> = buffer.drain(..end + 2).collect();
                let Some(event) = Event::parse(&String::from_utf8_lossy(&frame)) else { continue };
                if let Some(outcome) = event.show(session)? {
                    return outcome;
                }
            }
        }
        Ok(DONE)
    }
}

/// One event of the stream.
struct Event {
    id: String,
    kind: String,
    data: Value,
}

impl Event {
    /// `None` for a mere sign of life.
    fn parse(frame: &str) -> Option<Self> {
        let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let data = serde_json::from_str(field("data")?).ok()?;
        Some(Self { id: field("id")?.to_owned(), kind: field("event")?.to_owned(), data })
    }

    /// Prints the event; the last one ends the command.
    fn show(&self, session: &Session) -> Result<Option<Outcome>, Failure> {
        let text = |name: &str| self.data.get(name).and_then(Value::as_str).unwrap_or_default();
        let why = text("why");
        match self.kind.as_str() {
            "ready" => return Ok(None),
            "end" => return Ok(Some(Err(Failure::Nothing(format!("The stream ended after {}: {why}", self.id))))),
            "reset" => session.terminal.note(&format!("Changes were left out, list anew: {why}")),
            _ if !session.terminal.is_table() => {
                let mut data = self.data.clone();
                if let Some(data) = data.as_object_mut() {
                    data.insert("id".to_owned(), self.id.as_str().into());
                }
                session.terminal.print(&data.to_string())?;
            }
            _ => {
                let version = self
                    .data
                    .get("version")
                    .and_then(Value::as_u64)
                    .map(|version| version.to_string())
                    .unwrap_or_default();
                let place = format!("{}{}", text("mount"), text("path"));
                session.terminal.print(&format!("{}  {:<8}{version:>4}  {place}", self.id, text("state")))?;
            }
        }
        Ok(None)
    }
}
