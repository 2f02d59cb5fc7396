use std::{collections::BTreeMap, path::Path, sync::Arc};

use api::{Operation, Ttl};
use policy::{Acl, Ask, Policy, Subject};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::lint;
use crate::{
    failure::{DONE, Failure, Outcome},
    input,
    output::json::Json,
    session::Session,
};

/// Check policies against tables of what they must allow and deny
///
/// No server is asked. The table is a TOML file that names policy files (relative to itself) and requests. Ends with
/// status 1 if a request is decided otherwise than the table says.
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Check a table:
        strongroom policy test shop.tests.toml

    Such a table:
        policies = [\"shop.hcl\", \"default.hcl\"]

        [subject]                                  # for templates; optional
        id = \"8a1b\"
        name = \"shop\"
        metadata = { team = \"web\" }

        [[allow]]
        operations = [\"read\"]
        paths = [\"kv/data/shop/production/db\"]

        [[deny]]
        operations = [\"read\", \"list\", \"delete\"]
        paths = [\"kv/data/bank/db\", \"sys/policies/acl/root\"]

        [[deny]]
        operations = [\"update\"]
        paths = [\"auth/approle/role/shop/secret-id\"]
        parameters = { ttl = \"2h\" }

    For a script:
        strongroom policy test -format=json *.tests.toml")]
pub(crate) struct Test {
    /// The files with the tables
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
}

/// A file of tables.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tables {
    policies: Vec<String>,
    subject: Option<Who>,
    #[serde(default)]
    allow: Vec<Row>,
    #[serde(default)]
    deny: Vec<Row>,
}

/// The entity that templates are about.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Who {
    #[serde(default)]
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    /// By the accessor of the auth mount.
    #[serde(default)]
    aliases: BTreeMap<String, Alias>,
    #[serde(default)]
    groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Alias {
    #[serde(default)]
    id: String,
    name: String,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    #[serde(default)]
    custom_metadata: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    #[serde(default)]
    id: String,
    name: String,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
}

/// Requests that are all decided alike.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    operations: Vec<Operations>,
    paths: Vec<String>,
    #[serde(default)]
    parameters: Map<String, Value>,
    /// Whether the route asks for `sudo` too.
    #[serde(default)]
    sudo: bool,
    /// For how long the reply is to be wrapped.
    #[serde(default)]
    wrap_ttl: Ttl,
    /// What the secret has noted, for rules with conditions on it.
    #[serde(default)]
    custom_metadata: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Operations {
    Create,
    Delete,
    List,
    Patch,
    Read,
    Scan,
    Update,
}

/// A request that was decided otherwise than wanted.
struct Surprise {
    wanted: &'static str,
    operation: Operation,
    path: String,
    got: String,
}

impl Test {
    pub(crate) fn run(self, session: &Session) -> Outcome {
        let (mut checked, mut failed) = (0, 0);
        let mut told = Vec::new();
        for file in &self.files {
            let tables = Tables::read(file)?;
            checked += tables.requests();
            for surprise in tables.surprises(file)? {
                failed += 1;
                told.push(surprise.json(file));
                if session.terminal.is_table() {
                    session.terminal.print(&surprise.line(file))?;
                }
            }
        }
        if session.terminal.is_table() {
            session.terminal.print(&format!("{} passed, {failed} failed", checked - failed))?;
        } else {
            let report = json!({ "passed": checked - failed, "failed": failed, "failures": told }).to_string();
            session.terminal.structured(&Json::parse(&report).map_err(Failure::Local)?)?;
        }
        if failed == 0 { Ok(DONE) } else { Err(Failure::Said(1)) }
    }
}

impl Tables {
    fn read(file: &str) -> Result<Self, Failure> {
        let text = input::read_file(file)?;
        let tables: Self = toml::from_str(&text).map_err(|error| Failure::local(format!("{file}: {error}")))?;
        if tables.requests() == 0 {
            return Err(Failure::local(format!(
                "{file}: no requests: add [[allow]] or [[deny]] with operations and paths"
            )));
        }
        Ok(tables)
    }

    fn requests(&self) -> usize {
        self.allow.iter().chain(&self.deny).map(|row| row.operations.len() * row.paths.len()).sum()
    }

    fn surprises(&self, file: &str) -> Result<Vec<Surprise>, Failure> {
        let folder = Path::new(file).parent().unwrap_or_else(|| Path::new(""));
        let policy = |name: &String| lint::read(&folder.join(name).to_string_lossy()).map(Arc::new);
        let policies: Vec<Arc<Policy>> = self.policies.iter().map(policy).collect::<Result<_, _>>()?;
        let subject = self.subject.as_ref().map(Who::subject);
        let acl = Acl::compile(&policies, subject.as_ref());
        let allow = self.allow.iter().flat_map(|row| row.surprises(&acl, true));
        let deny = self.deny.iter().flat_map(|row| row.surprises(&acl, false));
        Ok(allow.chain(deny).collect())
    }
}

impl Who {
    fn subject(&self) -> Subject {
        let alias = |alias: &Alias| policy::SubjectAlias {
            id: alias.id.clone(),
            name: alias.name.clone(),
            metadata: alias.metadata.clone(),
            custom_metadata: alias.custom_metadata.clone(),
        };
        let group = |group: &Group| policy::SubjectGroup {
            id: group.id.clone(),
            name: group.name.clone(),
            metadata: group.metadata.clone(),
        };
        Subject {
            id: self.id.clone(),
            name: self.name.clone(),
            metadata: self.metadata.clone(),
            aliases: self.aliases.iter().map(|(accessor, known)| (accessor.clone(), alias(known))).collect(),
            groups: self.groups.iter().map(group).collect(),
        }
    }
}

impl Row {
    fn surprises(&self, acl: &Acl, wanted: bool) -> Vec<Surprise> {
        let mut found = Vec::new();
        for operation in self.operations.iter().map(|operation| operation.of()) {
            for path in &self.paths {
                let mut ask = Ask::new(path, operation);
                ask.parameters = Some(&self.parameters);
                ask.sudo_required = self.sudo;
                ask.wrap_ttl = self.wrap_ttl.set();
                let decision = acl.decide(&ask);
                let met =
                    decision.conditions().is_none_or(|conditions| conditions.admits(&self.custom_metadata).is_ok());
                if (decision.allowed && met) != wanted {
                    let wanted = if wanted { "allow" } else { "deny" };
                    found.push(Surprise { wanted, operation, path: path.clone(), got: decision.reason_text() });
                }
            }
        }
        found
    }
}

impl Operations {
    fn of(self) -> Operation {
        match self {
            Self::Create => Operation::Create,
            Self::Delete => Operation::Delete,
            Self::List => Operation::List,
            Self::Patch => Operation::Patch,
            Self::Read => Operation::Read,
            Self::Scan => Operation::Scan,
            Self::Update => Operation::Update,
        }
    }
}

impl Surprise {
    fn line(&self, file: &str) -> String {
        format!("{file}: {} {} {}: {}", self.wanted, self.operation, self.path, self.got)
    }

    fn json(&self, file: &str) -> Value {
        let operation = self.operation.as_str();
        json!({ "file": file, "wanted": self.wanted, "operation": operation, "path": self.path, "decision": self.got })
    }
}
