use serde_json::Map;

use crate::{
    commands::audit::{rules, who},
    failure::{DONE, Failure, Outcome},
    output::{json::Json, table},
    session::Session,
};

/// Show what policies say about a request, and by which rules
///
/// Nothing is requested: the server only tells how it would decide. With -request-id it tells how it did decide, out of
/// its audit journal. Without -policy and -accessor, the question is about our own token.
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    May our token read this, and why?
        strongroom policy explain read kv/data/shop/db

    May the token of this accessor?
        strongroom policy explain -accessor=8609694a-cdbc-db9b-d345-e782dbb562ed update kv/data/shop/db

    What would two policies say together?
        strongroom policy explain -policy=default -policy=shop list kv/metadata/shop/

    Why was this request refused? The id stands in its reply and in the server's log:
        strongroom policy explain -request-id=6f0d2d8e-2d1c-4c5e-9d0e-0c4f6b1f9a31")]
pub(crate) struct Explain {
    /// create, read, update, patch, delete, list or scan
    #[arg(required_unless_present = "request_id")]
    operation: Option<String>,

    /// The path of the request, as it stands behind /v1/
    #[arg(required_unless_present = "request_id")]
    path: Option<String>,

    /// Ask about the token with this accessor
    #[arg(long, conflicts_with = "policy")]
    accessor: Option<String>,

    /// Ask about a token with this policy; may be repeated
    #[arg(long, value_name = "NAME")]
    policy: Vec<String>,

    /// Explain a request that was made, out of the audit journal
    #[arg(long, value_name = "ID", conflicts_with_all = ["operation", "path", "accessor", "policy"])]
    request_id: Option<String>,

    /// The journal to look in, if there is more than one
    #[arg(long, value_name = "PATH", requires = "request_id")]
    journal: Option<String>,
}

impl Explain {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        match &self.request_id {
            Some(id) => self.past(session, id).await,
            None => self.ask(session).await,
        }
    }

    async fn ask(&self, session: &Session) -> Outcome {
        let mut body = Map::from_iter([
            ("operation".to_owned(), self.operation.clone().into()),
            ("path".to_owned(), self.path.clone().into()),
        ]);
        if let Some(accessor) = &self.accessor {
            body.insert("accessor".to_owned(), accessor.clone().into());
        }
        if !self.policy.is_empty() {
            body.insert("policies".to_owned(), self.policy.clone().into());
        }
        let answer = session.write("explaining a decision", "sys/policies/explain", body).await?;
        let Some(data) = answer.and_then(|answer| answer.data) else {
            return Err(Failure::Nothing("The server explained nothing".to_owned()));
        };
        if session.terminal.field.is_some() || !session.terminal.is_table() {
            return session.terminal.object(&data);
        }
        session.terminal.print(data.text_at("reason"))?;
        let rules = data.get("rules").map(Json::items).unwrap_or_default();
        if !rules.is_empty() {
            let row = |rule: &Json| {
                let capabilities = rule.get("capabilities").map(words).unwrap_or_default();
                vec![
                    rule.text_at("policy").to_owned(),
                    rule.integer_at("line").to_string(),
                    rule.text_at("path").to_owned(),
                    capabilities,
                ]
            };
            let rows: Vec<_> = rules.iter().map(row).collect();
            session
                .terminal
                .print(&format!("\n{}", table::table(&["Policy", "Line", "Path", "Capabilities"], &rows)))?;
        }
        Ok(DONE)
    }

    async fn past(&self, session: &Session, id: &str) -> Outcome {
        let mut query = vec![("request_id", id), ("kind", "response"), ("limit", "1")];
        query.extend(self.journal.as_deref().map(|journal| ("journal", journal)));
        let answer = session.read("asking the journal", "sys/audit-journal/query", &query).await?;
        let records = answer.as_ref().and_then(|answer| answer.at("records")).map(Json::items).unwrap_or_default();
        let Some(entry) = records.first().and_then(|record| record.get("entry")) else {
            return Err(Failure::Nothing(format!("The journal has no request {id}")));
        };
        if !session.terminal.is_table() {
            session.terminal.structured(entry)?;
            return Ok(DONE);
        }
        session.terminal.print(&table::key_values(&facts(entry)))?;
        Ok(DONE)
    }
}

/// The lines about a request that was made.
fn facts(entry: &Json) -> Vec<(String, Json)> {
    let part = |name: &str| entry.get(name).unwrap_or(&Json::Null);
    let (auth, request, response) = (part("auth"), part("request"), part("response"));
    let error = entry.text_at("error").split_whitespace().collect::<Vec<_>>().join(" ");
    let lines = [
        ("time", entry.text_at("time").to_owned()),
        ("who", who(auth, request, response)),
        ("policies", auth.get("policies").map(words).unwrap_or_default()),
        ("operation", request.text_at("operation").to_owned()),
        ("path", request.text_at("path").to_owned()),
        ("outcome", if error.is_empty() { "allowed".to_owned() } else { error }),
        ("rules", rules(auth)),
    ];
    let told = lines.into_iter().filter(|(_, value)| !value.is_empty());
    told.map(|(name, value)| (name.to_owned(), Json::Text(value))).collect()
}

fn words(list: &Json) -> String {
    list.items().iter().map(Json::plain).collect::<Vec<_>>().join(", ")
}
