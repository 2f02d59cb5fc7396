//! `sys/policies/explain`: what the policies say about a request, and by which rules, without making it.

use std::sync::Arc;

use api::{CommaList, Operation, ReqPath, Ttl, Verb};
use engine::Data;
use gate::{Error, Matched};
use policy::{Ask, RequestParameters};
use secret::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Cx, Routes, System, running, space};
use crate::{namespaces::Space, running::Running};

pub(super) fn routes(routes: Routes<System>) -> Routes<System> {
    routes.on(Verb::Write, "policies/explain", "Show what policies say about a request, and why.", explain)
}

/// A request that is not made: who, what, where. Without `token`, `accessor` and `policies`, the caller is meant.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Question {
    path: String,
    operation: String,
    token: Option<SecretString>,
    accessor: String,
    policies: CommaList,
    parameters: Option<Box<RawValue>>,
    wrap_ttl: Ttl,
}

#[derive(Serialize)]
struct Explanation {
    allowed: bool,
    reason: String,
    operation: &'static str,
    path: String,
    mount: String,
    sudo_required: bool,
    policies: Vec<String>,
    entity_id: String,
    capabilities: Vec<&'static str>,
    /// What depends on the secret itself: its custom metadata, and which of its fields are shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    conditions: Option<String>,
    rules: Vec<Shown>,
}

/// A rule that has a say in the decision.
#[derive(Serialize)]
struct Shown {
    policy: String,
    path: String,
    line: u32,
    capabilities: Vec<&'static str>,
}

async fn explain(cx: Cx<System>, (): (), question: Question) -> Result<Data<Explanation>, Error> {
    let running = running(&cx)?;
    let operation = operation(&question.operation)?;
    let path = path(&question.path)?;
    let space = space(&cx)?;
    let Subject { home, policies, entity_id } = subject(&cx, &running, &space, &question).await?;
    let acl = home.policies.of(&policies, &entity_id).await?;
    let (mount, sudo_required) = route(&space, &path, operation);
    let named = space.path_from(&home, path.as_str());
    let body = question.parameters.as_ref().map_or("", |parameters| parameters.get());
    let parameters = RequestParameters { body: body.as_bytes(), query: &[] };
    let mut ask = Ask::new(&named, operation);
    ask.parameters = Some(&parameters);
    ask.sudo_required = sudo_required;
    ask.wrap_ttl = question.wrap_ttl.set();
    let decision = acl.decide(&ask);
    let shown = |rule: &policy::RuleRef| Shown {
        policy: rule.policy.as_str().to_owned(),
        path: rule.path.to_string(),
        line: rule.line,
        capabilities: rule.capabilities.names(),
    };
    Ok(Data(Explanation {
        allowed: decision.allowed,
        reason: decision.reason_text(),
        operation: operation.as_str(),
        mount,
        sudo_required,
        conditions: decision.conditions().map(ToString::to_string),
        capabilities: acl.capabilities(&named),
        rules: decision.rules().iter().map(shown).collect(),
        path: path.as_str().to_owned(),
        policies,
        entity_id,
    }))
}

fn operation(name: &str) -> Result<Operation, Error> {
    Ok(match name {
        "create" => Operation::Create,
        "delete" => Operation::Delete,
        "list" => Operation::List,
        "patch" => Operation::Patch,
        "" | "read" => Operation::Read,
        "scan" => Operation::Scan,
        "update" | "write" => Operation::Update,
        _ => return Err(Error::invalid("operation: use create, read, update, patch, delete, list or scan")),
    })
}

fn path(text: &str) -> Result<ReqPath, Error> {
    let text = text.trim_start_matches('/');
    if text.is_empty() {
        return Err(Error::invalid("path: missing; give the path of the request, as it stands behind /v1/"));
    }
    ReqPath::new(text).map_err(|why| Error::invalid(format!("path: {why}")))
}

/// The policies that count, of which namespace they are, and the entity that their templates are about.
struct Subject {
    home: Arc<Space>,
    policies: Vec<String>,
    entity_id: String,
}

/// Of a token that may be used in this namespace; `None` if it may not.
async fn of_token(space: &Arc<Space>, record: &tokens::Record) -> Result<Option<Subject>, Error> {
    let Some(home) = space.from(record.namespace.suffix()).cloned() else { return Ok(None) };
    let (policies, entity_id) = home.policies.in_force(record).await?;
    Ok(Some(Subject { home, policies, entity_id }))
}

async fn subject(
    cx: &Cx<System>,
    running: &Running,
    space: &Arc<Space>,
    question: &Question,
) -> Result<Subject, Error> {
    let given = [question.token.is_some(), !question.accessor.is_empty(), !question.policies.is_empty()];
    if given.into_iter().filter(|given| *given).count() > 1 {
        return Err(Error::invalid("give only one of token, accessor and policies"));
    }
    if !question.policies.is_empty() {
        let known = question.policies.iter().map(|name| name.trim().to_lowercase());
        return Ok(Subject { home: Arc::clone(space), policies: known.collect(), entity_id: String::new() });
    }
    if let Some(token) = &question.token {
        let unknown = || Error::invalid("token: there is no such token, or it has ended");
        let (_, record) = running.tokens.lookup(token).await?.ok_or_else(unknown)?;
        return of_token(space, &record).await?.ok_or_else(unknown);
    }
    if !question.accessor.is_empty() {
        let unknown = || Error::invalid("accessor: no token has it");
        if gate::namespace::suffix_of(&question.accessor) != space.namespace.suffix() {
            return Err(unknown());
        }
        let id = running.tokens.by_accessor(&question.accessor).await?.ok_or_else(unknown)?;
        let record = running.tokens.find(&id).await?.ok_or_else(unknown)?;
        return of_token(space, &record).await?.ok_or_else(unknown);
    }
    let caller = cx.holder()?;
    let home = space.from(caller.namespace.suffix()).ok_or(Error::Denied(gate::Refusal::Namespace))?;
    let (policies, entity_id) = (caller.policies().to_vec(), caller.entity_id.to_string());
    Ok(Subject { home: Arc::clone(home), policies, entity_id })
}

/// The mount of a path, and whether its route asks for `sudo` too.
fn route(space: &Space, path: &ReqPath, operation: Operation) -> (String, bool) {
    let Some((mounted, local)) = space.mounts.find(path.as_str()) else { return (String::new(), false) };
    let verb = match operation {
        Operation::Create | Operation::Update => Verb::Write,
        Operation::Delete => Verb::Delete,
        Operation::List => Verb::List,
        Operation::Patch => Verb::Patch,
        Operation::Read => Verb::Read,
        Operation::Scan => Verb::Scan,
    };
    let sudo = matches!(mounted.backend.matches(verb, local), Matched::Found(endpoint) if endpoint.sudo);
    (mounted.info.path.to_string(), sudo)
}
