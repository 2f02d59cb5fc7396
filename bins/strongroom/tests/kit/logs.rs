//! What no log may say, whatever was sent.

use serde_json::Value;
use testkit::server::Server;

/// A secret that must come out nowhere.
pub(crate) const MARKER: &str = "marker-6f1e9a-that-must-not-be-found";

/// Whether any value, not the name of one, holds a text.
fn holds(value: &Value, text: &str) -> bool {
    match value {
        Value::String(value) => value.contains(text),
        Value::Array(values) => values.iter().any(|value| holds(value, text)),
        Value::Object(values) => values.values().any(|value| holds(value, text)),
        _ => false,
    }
}

/// The server's log tells of no fault of its own, and neither it nor the journal shows what was sent.
pub(crate) fn check_log(server: &Server) {
    let log = server.log();
    for word in ["panicked", " ERROR ", MARKER, "internal error"] {
        let line = log.lines().find(|line| line.contains(word));
        assert!(line.is_none(), "the log says {word:?}: {line:?}");
    }
    assert!(server.folder().join("data/audit").exists());
    let mut journal = vec![server.folder().join("data/audit")];
    while let Some(path) = journal.pop() {
        if path.is_dir() {
            journal.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            let text = String::from_utf8(std::fs::read(&path).unwrap_or_default()).unwrap_or_default();
            for line in text.lines().filter(|line| line.contains(MARKER)) {
                // Errors, warnings and names of policies stand there as the caller reads them; data never does.
                let record: Value = serde_json::from_str(line).unwrap();
                for side in ["request", "response"] {
                    let shown = holds(&record["entry"][side]["data"], MARKER);
                    assert!(!shown, "{} shows what was sent: {record}", path.display());
                }
            }
        }
    }
}
