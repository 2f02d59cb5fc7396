//! What clients ask for who take the mount for one without versions.

use api::{KV_FAMILIES, Verb};
use engine::{Answer, Cx, Error, Routes};

use super::Kv2;

pub(crate) fn add(routes: Routes<Kv2>) -> Routes<Kv2> {
    const SUMMARY: &str = "Say that secrets with versions lie below data/.";
    routes
        .on(Verb::Read, "{path...}", SUMMARY, read)
        .on(Verb::Write, "{path...}", SUMMARY, write)
        .on(Verb::Delete, "{path...}", SUMMARY, delete)
        .on(Verb::List, "{path...}", SUMMARY, list)
        .on(Verb::Scan, "{path...}", SUMMARY, scan)
}

async fn read(_: Cx<Kv2>, path: String) -> Result<Answer, Error> {
    answer(&path, "get")
}

async fn write(_: Cx<Kv2>, path: String) -> Result<Answer, Error> {
    answer(&path, "put")
}

async fn delete(_: Cx<Kv2>, path: String) -> Result<Answer, Error> {
    answer(&path, "delete")
}

async fn list(_: Cx<Kv2>, path: String) -> Result<Answer, Error> {
    answer(&path, "list")
}

async fn scan(_: Cx<Kv2>, path: String) -> Result<Answer, Error> {
    answer(&path, "scan")
}

fn answer(path: &str, command: &str) -> Result<Answer, Error> {
    let family = path.split('/').next().unwrap_or_default();
    // Other verbs on what means something are unsupported.
    if KV_FAMILIES.contains(&family) {
        return Err(Error::Unsupported);
    }
    let warning = format!(
        "Invalid path for a versioned K/V secrets engine. Values lie below data/, settings below metadata/; on the \
         command line, 'kv {command}' finds them."
    );
    Ok(Answer { status: Some(404), warnings: vec![warning], ..Answer::default() })
}
