use std::collections::BTreeSet;

use policy::{MountKind, Policy};
use serde_json::json;

use crate::{
    failure::{DONE, Failure, Outcome},
    input,
    output::json::Json,
    session::Session,
};

/// Look for rules that do not mean what they seem to
///
/// No server is asked, unless -online is given: then the rules are checked against what is mounted there. Ends with
/// status 1 if there is anything to remark on, so that it can guard a repository of policies.
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Check a file before it is uploaded:
        strongroom policy lint app.hcl

    Check all, knowing that kv/ and team/kv/ keep versions:
        strongroom policy lint -kv2=kv/ -kv2=team/kv/ policies/*.hcl

    Against what is mounted on the server:
        strongroom policy lint -online app.hcl")]
pub(crate) struct Lint {
    /// The files with the policies' texts; - reads standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,

    /// The path of a KV version 2 mount; may be repeated
    #[arg(long, value_name = "PATH")]
    kv2: Vec<String>,

    /// Ask the server what is mounted
    #[arg(long)]
    online: bool,
}

impl Lint {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let versioned = self.versioned(session).await?;
        let kind = |path: &str| versioned.contains(path).then_some(MountKind::KvV2);
        let mut remarks = Vec::new();
        for file in &self.files {
            let policy = read(file)?;
            remarks.extend(policy::lint(&policy, kind).into_iter().map(|warning| (file, warning)));
        }
        if !session.terminal.is_table() {
            let list = remarks.iter().map(|(file, warning)| {
                json!({ "file": file, "line": warning.line, "path": warning.path, "message": warning.message })
            });
            let text = serde_json::Value::Array(list.collect()).to_string();
            session.terminal.structured(&Json::parse(&text).map_err(Failure::Local)?)?;
        } else {
            for (file, warning) in &remarks {
                let (line, path, message) = (warning.line, &warning.path, &warning.message);
                session.terminal.print(&format!("{file}:{line}: path {path:?}: {message}"))?;
            }
        }
        if remarks.is_empty() { Ok(DONE) } else { Err(Failure::Said(1)) }
    }

    /// The paths of the mounts that keep versions.
    async fn versioned(&self, session: &Session) -> Result<BTreeSet<String>, Failure> {
        let given = self.kv2.iter().map(|path| format!("{}/", path.trim_matches('/')));
        let mut versioned: BTreeSet<String> = given.collect();
        if self.online {
            let answer = session.read("listing the mounts", "sys/internal/ui/mounts", &[]).await?;
            let mounts = answer.as_ref().and_then(|answer| answer.at("secret")).map(Json::entries).unwrap_or_default();
            let is_v2 = |mount: &Json| mount.get("options").is_some_and(|options| options.text_at("version") == "2");
            versioned.extend(mounts.iter().filter(|(_, mount)| is_v2(mount)).map(|(path, _)| path.clone()));
        }
        Ok(versioned)
    }
}

/// The policy in a file, named after it.
pub(super) fn read(file: &str) -> Result<Policy, Failure> {
    let text = if file == "-" { input::read_stdin()? } else { input::read_file(file)? };
    let name = std::path::Path::new(file).file_stem().and_then(|name| name.to_str()).filter(|name| *name != "-");
    let name: String = name.unwrap_or("stdin").to_lowercase();
    Policy::parse(&name, &text).map_err(|why| Failure::local(format!("{file}: {why}")))
}
