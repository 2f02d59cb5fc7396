use std::path::PathBuf;

use audit::journal;
use base64::Engine as _;

use crate::{
    failure::{DONE, Failure, Outcome, SERVER},
    input,
    output::{json::Json, table},
    session::Session,
};

/// Prove that the journal was not changed, cut or extended behind our back
///
/// The server verifies its own journal. With -dir and -key, the files are verified here, without a server: the key is
/// the journal's public key, which `audit verify` of the server prints; keep it where the journal's files cannot reach.
/// Exit code 0 means sound, 2 that something is wrong.
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Let the server verify its journal:
        strongroom audit verify

    Verify a copy of it elsewhere:
        strongroom audit verify -dir=/backup/journal -key=@journal.pub")]
pub(crate) struct Verify {
    /// The journal's folder, to verify it here
    #[arg(long, requires = "key")]
    dir: Option<PathBuf>,

    /// The journal's public key, 32 bytes in base64 or hexadecimal; @FILE reads a file
    #[arg(long, requires = "dir")]
    key: Option<String>,

    /// The audit device to verify, if there is more than one journal
    #[arg(long, value_name = "PATH", conflicts_with = "dir")]
    journal: Option<String>,

    /// Whether old segments may have been moved to an archive
    #[arg(long, requires = "dir")]
    archived: bool,
}

impl Verify {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let report = match (&self.dir, &self.key) {
            (Some(dir), Some(key)) => {
                let (dir, key) = (dir.clone(), public_key(&input::value(key)?)?);
                let check = journal::Check { archived: self.archived, ..journal::Check::default() };
                // Reading gigabytes blocks; the spinner needs the other thread.
                let work = tokio::task::spawn_blocking(move || journal::verify(&dir, &key, &check));
                let report =
                    session.patiently(work).await.map_err(|error| Failure::local(format!("cannot verify: {error}")))?;
                let report = report.map_err(|error| Failure::local(chain(&error)))?;
                if report.records == 0 && report.heads == 0 && report.is_sound() {
                    // An empty folder proves nothing.
                    let dir = self.dir.unwrap_or_default();
                    return Err(Failure::Nothing(format!("There is no journal in {}", dir.display())));
                }
                local_report(&report)
            }
            _ => {
                let query: Vec<(&str, &str)> = self.journal.iter().map(|path| ("journal", path.as_str())).collect();
                let answer = session.read("verifying the journal", "sys/audit-journal/verify", &query).await?;
                answer
                    .and_then(|answer| answer.data)
                    .ok_or_else(|| Failure::Nothing("There is no journal to verify".to_owned()))?
            }
        };
        show(session, &report)?;
        if report.is_true("sound") {
            return Ok(DONE);
        }
        session.terminal.error("The journal is NOT as it was written.");
        Err(Failure::Said(SERVER))
    }
}

/// Prints a report; for people, a fault a line.
fn show(session: &Session, report: &Json) -> Outcome {
    let terminal = &session.terminal;
    if terminal.field.is_some() || !terminal.is_table() {
        return terminal.object(report);
    }
    let facts: Vec<_> = report.entries().iter().filter(|(name, _)| name != "faults").cloned().collect();
    terminal.print(&table::key_values(&facts))?;
    for fault in report.get("faults").map(Json::items).unwrap_or_default() {
        terminal.print(&format!("fault: {}", fault.plain()))?;
    }
    Ok(DONE)
}

fn local_report(report: &journal::Report) -> Json {
    let faults = report.faults.iter().map(|fault| Json::Text(fault.to_string())).collect();
    let head = report.last_head.as_ref();
    let mut entries = vec![
        ("sound", Json::Bool(report.is_sound())),
        ("records", report.records.into()),
        ("first", report.first.into()),
        ("last", report.last.into()),
        ("heads", report.heads.into()),
        ("unsigned", report.unsigned.into()),
        ("closed", Json::Bool(report.closed)),
        ("last_head_time", head.map_or(Json::Null, |head| head.time.to_string().into())),
        ("faults", Json::List(faults)),
    ];
    entries.sort_by_key(|(name, _)| *name);
    Json::Map(entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// The 32 bytes of a public key.
fn public_key(text: &str) -> Result<Vec<u8>, Failure> {
    let text = text.trim();
    let bytes = if text.len() == 64 {
        data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()
    } else {
        base64::engine::general_purpose::STANDARD.decode(text).ok()
    };
    bytes
        .filter(|bytes: &Vec<u8>| bytes.len() == 32)
        .ok_or_else(|| Failure::local("invalid -key: it must be 32 bytes in base64 or hexadecimal"))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_in_two_spellings() {
        let bytes: Vec<u8> = (0..32).collect();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let base64 = base64::engine::general_purpose::STANDARD.encode(&bytes);
        for text in [hex, base64 + "\n"] {
            assert_eq!(public_key(&text).map_err(|_| ()), Ok(bytes.clone()));
        }
        for bad in ["", "abcd", &"z".repeat(64)] {
            assert!(public_key(bad).is_err(), "{bad}");
        }
    }
}
