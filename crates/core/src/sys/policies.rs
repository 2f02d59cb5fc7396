//! `sys/policies/acl`, its older form `sys/policy`, and `sys/policies/password`.

use api::Name;
use engine::{Answer, Data, Done, Keys};
use gate::Error;
use password_policy::PasswordPolicy;
use policy::{MountKind, Policy, PolicyName};
use secret::Disclosed;
use serde::{Deserialize, Serialize};

use super::{Cx, Paging, Routes, System, Verb, mounts::flat, space};
use crate::{namespaces::Space, passwords, policies};

pub(super) fn routes(routes: Routes<System>) -> Routes<System> {
    routes
        .on(Verb::List, "policies/acl", "List the policies.", list)
        .on(Verb::Read, "policies/acl", "List the policies.", list)
        .on(Verb::Read, "policies/acl/{name}", "Show a policy.", read)
        .on(Verb::Write, "policies/acl/{name}", "Create or replace a policy.", write)
        .on(Verb::Delete, "policies/acl/{name}", "Delete a policy.", delete)
        .on(Verb::List, "policy", "List the policies.", list_old)
        .on(Verb::Read, "policy", "List the policies.", list_old)
        .on(Verb::Read, "policy/{name}", "Show a policy.", read_old)
        .on(Verb::Write, "policy/{name}", "Create or replace a policy.", write)
        .on(Verb::Delete, "policy/{name}", "Delete a policy.", delete)
        .on(Verb::List, "policies/password", "List the password policies.", list_password)
        .on(Verb::Read, "policies/password/{name}", "Show a password policy.", read_password)
        .on(Verb::Write, "policies/password/{name}", "Create or replace a password policy.", write_password)
        .on(Verb::Delete, "policies/password/{name}", "Delete a password policy.", delete_password)
        .on(Verb::Read, "policies/password/{name}/generate", "Make a password.", generate)
}

const MOST: usize = 100_000;

async fn names(cx: &Cx<System>, paging: &Paging) -> Result<Vec<String>, Error> {
    let stored = cx.view().tx().view(policies::PREFIX).list("", paging.after.as_deref(), paging.limit(MOST)).await?;
    let mut names = stored.names;
    names.push(policy::ROOT_NAME.to_owned());
    Ok(names)
}

async fn list(cx: Cx<System>, (): (), paging: Paging) -> Result<Keys, Error> {
    Ok(names(&cx, &paging).await?.into())
}

#[derive(Serialize)]
struct OldList {
    keys: Vec<String>,
    policies: Vec<String>,
}

async fn list_old(cx: Cx<System>, (): (), paging: Paging) -> Result<Answer, Error> {
    let keys = names(&cx, &paging).await?;
    flat(OldList { policies: keys.clone(), keys })
}

#[derive(Serialize)]
struct Shown {
    name: String,
    policy: String,
}

#[derive(Serialize)]
struct OldShown {
    name: String,
    rules: String,
}

fn parse_name(name: &str) -> Result<PolicyName, Error> {
    PolicyName::new(name).map_err(|why| Error::invalid(format!("policy name: {why}")))
}

async fn read(cx: Cx<System>, name: String) -> Result<Option<Data<Shown>>, Error> {
    let name = parse_name(&name)?;
    let text = space(&cx)?.policies.text(cx.view().tx(), &name).await?;
    Ok(text.map(|policy| Data(Shown { name: name.as_str().to_owned(), policy })))
}

async fn read_old(cx: Cx<System>, name: String) -> Result<Answer, Error> {
    let name = parse_name(&name)?;
    let text = space(&cx)?.policies.text(cx.view().tx(), &name).await?;
    flat(OldShown { name: name.as_str().to_owned(), rules: text.ok_or(Error::NotFound)? })
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Text {
    policy: Option<String>,
    rules: Option<String>,
}

async fn write(cx: Cx<System>, name: String, text: Text) -> Result<Done, Error> {
    let name = parse_name(&name)?;
    if matches!(name.as_str(), policy::ROOT_NAME | policy::RESPONSE_WRAPPING_NAME) {
        return Err(Error::invalid(format!("cannot update \"{}\" policy", name.as_str())));
    }
    let sent = text.policy.or(text.rules).filter(|text| !text.is_empty());
    let sent = sent.ok_or_else(|| Error::invalid("'policy' parameter not supplied or empty"))?;
    let text = policy::decode_text(&sent);
    let parsed =
        Policy::parse(name.as_str(), &text).map_err(|why| Error::invalid(format!("failed to parse policy: {why}")))?;
    let space = space(&cx)?;
    for warning in policy::lint(&parsed, |path| kind_of(&space, path)) {
        cx.warn(warning.to_string());
    }
    space.policies.put(cx.view().tx(), &parsed, &text)?;
    Ok(Done)
}

fn kind_of(space: &Space, path: &str) -> Option<MountKind> {
    let mounted = space.mounts.exactly(path).ok()?;
    let v2 = mounted.info.kind == "kv" && mounted.info.options.get("version").is_some_and(|version| version == "2");
    Some(if v2 { MountKind::KvV2 } else { MountKind::Other })
}

async fn delete(cx: Cx<System>, name: String) -> Result<Done, Error> {
    let name = parse_name(&name)?;
    space(&cx)?.policies.delete(cx.view().tx(), &name)?;
    Ok(Done)
}

async fn list_password(cx: Cx<System>, (): (), paging: Paging) -> Result<Keys, Error> {
    let view = cx.view().tx().view(passwords::PREFIX);
    Ok(view.list("", paging.after.as_deref(), paging.limit(MOST)).await?.into())
}

#[derive(Serialize)]
struct PasswordText {
    policy: String,
}

async fn read_password(cx: Cx<System>, name: Name) -> Result<Option<Data<PasswordText>>, Error> {
    let text = passwords::text(cx.view().tx(), name.as_str()).await?;
    Ok(text.map(|policy| Data(PasswordText { policy })))
}

async fn write_password(cx: Cx<System>, name: Name, text: Text) -> Result<Done, Error> {
    let sent = text.policy.filter(|text| !text.is_empty());
    let sent = sent.ok_or_else(|| Error::invalid("missing policy: give its text in the field \"policy\""))?;
    let text = policy::decode_text(&sent);
    PasswordPolicy::parse(&text).map_err(|why| Error::invalid(format!("policy: {why}")))?;
    cx.view().tx().put(passwords::key(name.as_str()), text.into_owned().into());
    Ok(Done)
}

async fn delete_password(cx: Cx<System>, name: Name) -> Result<Done, Error> {
    cx.view().tx().delete(passwords::key(name.as_str()));
    Ok(Done)
}

#[derive(Serialize)]
struct Password {
    password: Disclosed<String>,
}

async fn generate(cx: Cx<System>, name: Name) -> Result<Data<Password>, Error> {
    if passwords::text(cx.view().tx(), name.as_str()).await?.is_none() {
        return Err(Error::NotFound);
    }
    Ok(Data(Password { password: cx.password(name.as_str()).await?.disclose() }))
}
