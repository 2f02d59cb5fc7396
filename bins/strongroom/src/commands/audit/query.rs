use clock::{Clock, Timestamp};

use crate::{
    failure::{DONE, Failure, Outcome},
    output::json::Json,
    session::Session,
};

/// Ask the journal who did what, when, and by which rule
///
/// All conditions must hold. Times are RFC 3339 (2026-01-02T15:04:05Z) or how long ago (90s, 15m, 2h, 1d).
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Who obtained database users in the last hour?
        strongroom audit query -path=database/creds/app -since=1h

    Who was given this database user?
        strongroom audit query -username=v-app-x7Kp2

    What was refused today?
        strongroom audit query -failed -since=1d

    For a script:
        strongroom audit query -format=json -entity=8a1b… -limit=1000")]
pub(crate) struct Query {
    /// The request's path
    #[arg(long)]
    path: Option<String>,

    /// The beginning of the request's path
    #[arg(long, value_name = "PATH")]
    path_prefix: Option<String>,

    /// The path of the mount that was asked
    #[arg(long, value_name = "PATH")]
    mount: Option<String>,

    /// The entity that asked or logged in, by its id
    #[arg(long, value_name = "ID")]
    entity: Option<String>,

    /// The name that the token shows in logs, as jwt-app
    #[arg(long, value_name = "NAME")]
    display_name: Option<String>,

    /// The accessor of the token
    #[arg(long)]
    accessor: Option<String>,

    /// The lease
    #[arg(long, value_name = "ID")]
    lease_id: Option<String>,

    /// The user that was made, rotated or removed, as in a database
    #[arg(long, value_name = "NAME")]
    username: Option<String>,

    /// The request's id
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,

    /// read, create, update, delete, list, revoke, rotate, …
    #[arg(long, value_name = "NAME")]
    operation: Option<String>,

    /// From this moment on
    #[arg(long, value_name = "TIME")]
    since: Option<String>,

    /// Before this moment
    #[arg(long, value_name = "TIME")]
    until: Option<String>,

    /// Only what was refused or failed
    #[arg(long)]
    failed: bool,

    /// Show requests beside their responses
    #[arg(long)]
    all: bool,

    /// The oldest first
    #[arg(long)]
    oldest: bool,

    /// How many records at most
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    limit: u32,

    /// The audit device to ask, if there is more than one journal
    #[arg(long, value_name = "PATH")]
    journal: Option<String>,

    /// Only records behind this number: the last one of the page before
    #[arg(long, value_name = "NUMBER")]
    after: Option<u64>,
}

impl Query {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let parameters = self.parameters(&Clock::system())?;
        let query: Vec<(&str, &str)> = parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let Some(answer) = session.read("querying the journal", "sys/audit-journal/query", &query).await? else {
            return Err(Failure::Nothing("The journal has no such records".to_owned()));
        };
        if session.terminal.field.is_some() || !session.terminal.is_table() {
            return session.terminal.answer(&answer);
        }
        session.terminal.warnings(&answer);
        let records = answer.at("records").map(Json::items).unwrap_or_default();
        if records.is_empty() {
            return Err(Failure::Nothing("The journal has no such records".to_owned()));
        }
        let mut headings = vec!["Time", "Who", "Operation", "Path", "Outcome", "Rule", "Issued"];
        let mut rows: Vec<_> = records.iter().map(row).collect();
        if self.path.is_some() {
            // They all say what was asked for.
            headings.remove(PATH);
            rows.iter_mut().for_each(|row| drop(row.remove(PATH)));
        }
        session.terminal.table(&headings, &rows)?;
        if let Some(last) = records.last().filter(|_| records.len() >= self.limit as usize) {
            session.terminal.note(&format!("\nMore may follow: repeat with -after={}", last.integer_at("seq")));
        }
        Ok(DONE)
    }

    fn parameters(&self, clock: &Clock) -> Result<Vec<(&'static str, String)>, Failure> {
        let mut parameters = vec![("limit", self.limit.to_string())];
        let texts = [
            ("journal", &self.journal),
            ("path", &self.path),
            ("path_prefix", &self.path_prefix),
            ("mount", &self.mount),
            ("entity", &self.entity),
            ("display_name", &self.display_name),
            ("accessor", &self.accessor),
            ("lease_id", &self.lease_id),
            ("username", &self.username),
            ("request_id", &self.request_id),
            ("operation", &self.operation),
        ];
        for (name, value) in texts {
            parameters.extend(value.clone().map(|value| (name, value)));
        }
        for (name, value) in [("since", &self.since), ("until", &self.until)] {
            if let Some(text) = value {
                parameters.push((name, moment(name, text, clock)?));
            }
        }
        if self.failed {
            parameters.push(("failed", "true".to_owned()));
        }
        if !self.all {
            parameters.push(("kind", "response".to_owned()));
        }
        if self.oldest {
            parameters.push(("oldest_first", "true".to_owned()));
        }
        parameters.extend(self.after.map(|after| ("after", after.to_string())));
        Ok(parameters)
    }
}

/// A moment as RFC 3339, given so or as the time that has passed since.
fn moment(name: &str, text: &str, clock: &Clock) -> Result<String, Failure> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment.to_string());
    }
    let wrong = || {
        Failure::local(format!(
            "invalid -{name} {text:?}: use a time such as 2026-01-02T15:04:05Z, or how long ago, such as 2h"
        ))
    };
    let ago = api::parse_duration(text).ok().filter(|_| !text.trim().is_empty()).ok_or_else(wrong)?;
    clock.now().checked_sub(ago).map(|moment| moment.to_string()).map_err(|_| wrong())
}

/// Which column of a row is the path.
const PATH: usize = 3;

/// One line: time, who, operation, path, outcome, rule, what was issued.
fn row(record: &Json) -> Vec<String> {
    let nothing = Json::Null;
    // A record is the entry itself, or carries it as an object or as text.
    let parsed = record.get("entry").map(|entry| match entry {
        Json::Text(text) => Json::parse(text).unwrap_or(Json::Null),
        other => other.clone(),
    });
    let entry = parsed.as_ref().unwrap_or(record);
    let part = |name: &str| entry.get(name).unwrap_or(&nothing);
    let (auth, request, response) = (part("auth"), part("request"), part("response"));
    let time = [entry.text_at("time"), record.text_at("time")].into_iter().find(|time| !time.is_empty());
    let outcome = match entry.text_at("error") {
        "" if entry.text_at("type") == "request" => "asked",
        "" => "ok",
        error => error.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or(error),
    };
    vec![
        milliseconds(time.unwrap_or_default()),
        who(auth, request, response),
        request.text_at("operation").to_owned(),
        request.text_at("path").to_owned(),
        outcome.trim_start_matches("* ").to_owned(),
        rules(auth),
        issued(request, response),
    ]
}

/// `2026-01-02T03:04:05.123456789Z` as `2026-01-02T03:04:05.123Z`: the rest helps nobody to find their way.
fn milliseconds(time: &str) -> String {
    match time.split_once('.') {
        Some((seconds, fraction)) if fraction.len() > 4 && fraction.ends_with('Z') => {
            format!("{seconds}.{}Z", fraction.chars().take(3).collect::<String>())
        }
        _ => time.to_owned(),
    }
}

/// The best name for whoever asked, and the address.
pub(crate) fn who(auth: &Json, request: &Json, response: &Json) -> String {
    let login = response.get("auth").unwrap_or(&Json::Null);
    let names = [
        auth.text_at("display_name"),
        login.text_at("display_name"),
        auth.text_at("entity_id"),
        login.text_at("entity_id"),
        request.text_at("actor"),
    ];
    let name = names.into_iter().find(|name| !name.is_empty()).unwrap_or_default().to_owned();
    match request.text_at("remote_address") {
        "" => name,
        address if name.is_empty() => address.to_owned(),
        address => format!("{name} ({address})"),
    }
}

/// `policy:line path` of each rule that decided.
pub(crate) fn rules(auth: &Json) -> String {
    let results = auth.get("policy_results").and_then(|results| results.get("granting_policies"));
    let rules = results.map(Json::items).unwrap_or_default().iter().map(|rule| {
        let line = rule.integer_at("line");
        let place = if line > 0 { format!(":{line}") } else { String::new() };
        format!("{}{place} {}", rule.text_at("name"), rule.text_at("rule")).trim().to_owned()
    });
    rules.filter(|rule| !rule.is_empty()).collect::<Vec<_>>().join(", ")
}

/// The user that came of it or that it was about, or the lease where no user is known.
fn issued(request: &Json, response: &Json) -> String {
    let user = [response, request].iter().find_map(|part| part.get("data")?.get("username")?.text());
    let lease = response.get("secret").map(|secret| secret.text_at("lease_id")).unwrap_or_default();
    // What the server does by itself is about a user or a lease.
    let candidates = [user.unwrap_or_default(), request.text_at("username"), lease, request.text_at("lease_id")];
    candidates.into_iter().find(|name| !name.is_empty()).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use clock::Simulated;

    use super::*;

    #[test]
    fn moments_are_absolute_or_ago() {
        let start: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let clock = Simulated::new(start).clock();
        assert_eq!(moment("since", "2h", &clock).unwrap_or_default(), "2026-01-02T01:04:05Z");
        assert_eq!(moment("since", "2026-01-01T00:00:00+01:00", &clock).unwrap_or_default(), "2025-12-31T23:00:00Z");
        for bad in ["", "yesterday", "-1h"] {
            assert!(moment("since", bad, &clock).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_record_is_one_line() {
        let record = Json::parse(
            r#"{"seq": 7, "time": "2026-01-02T03:04:05.000001Z", "entry": {"time": "2026-01-02T03:04:05.0000012Z", "type": "response",
                "auth": {"display_name": "jwt-app", "policy_results": {"allowed": true, "granting_policies":
                    [{"name": "app", "type": "acl", "rule": "database/creds/app", "line": 3}]}},
                "request": {"operation": "read", "path": "database/creds/app", "remote_address": "10.0.0.7"},
                "response": {"secret": {"lease_id": "database/creds/app/x1"}, "data": {"username": "v-app-1"}}}}"#,
        )
        .unwrap_or(Json::Null);
        assert_eq!(
            row(&record),
            [
                "2026-01-02T03:04:05.000Z",
                "jwt-app (10.0.0.7)",
                "read",
                "database/creds/app",
                "ok",
                "app:3 database/creds/app",
                "v-app-1"
            ]
        );
        let refused = Json::parse(
            r#"{"type": "response", "error": "1 error occurred:\n\t* permission denied\n\n", "request": {"operation": "read", "path": "x"}}"#,
        )
        .unwrap_or(Json::Null);
        assert_eq!(row(&refused)[4], "permission denied");
        // It was not told whose revocation it was.
        let revoked = r#"{"type": "response", "request": {"operation": "revoke", "path": "database/creds/app", "actor": "system",
            "lease_id": "database/creds/app/x1"}}"#;
        let revoked = row(&Json::parse(revoked).unwrap_or(Json::Null));
        assert_eq!((revoked[1].as_str(), revoked[6].as_str()), ("system", "database/creds/app/x1"));
    }
}
