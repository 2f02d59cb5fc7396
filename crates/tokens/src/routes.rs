//! The routes below `auth/token/`.

use std::{sync::Arc, time::Duration};

use api::{CommaList, Count, Flag, Name, Pairs, Ttl, Verb};
use engine::{Answer, Body, Cx, Data, Done, Engine, Keys, Opening, Routes};
use gate::{Caller, Error, Namespace, Refusal, TokenId, TokenKind, namespace};
use identity::{Directory, Identities, Standing};
use secret::{Disclosed, SecretString};
use serde::{Deserialize, Serialize};
use storage::{Part, Tx};

use crate::{
    Liveness, New, Record, Tokens, create, liveness,
    role::{self, Role, RoleInput},
};

/// The type of the mount at `auth/token/`.
pub const KIND_NAME: &str = "token";

/// The engine behind `auth/token/`.
pub struct TokenEngine {
    tokens: Arc<Tokens>,
    liveness: Arc<Liveness>,
    identities: Arc<Identities>,
}

impl TokenEngine {
    /// The routes over these tokens, of these identities.
    pub fn new(tokens: Arc<Tokens>, liveness: Arc<Liveness>, identities: Arc<Identities>) -> Self {
        Self { tokens, liveness, identities }
    }
}

impl Engine for TokenEngine {
    fn open(_: Opening) -> Self {
        unreachable!("auth/token is part of the program and is made with its tokens")
    }

    fn routes() -> Routes<Self> {
        Routes::default()
            .on(Verb::Write, "create", "Make a child token.", make_child)
            .on(Verb::Write, "create-orphan", "Make a token without a parent.", make_orphan)
            .on(Verb::Write, "create/{role}", "Make a token as a token role says.", make_by_role)
            .on(Verb::Read, "lookup", "Show a token.", lookup)
            .on(Verb::Write, "lookup", "Show a token.", lookup)
            .on(Verb::Read, "lookup-self", "Show the caller's token.", lookup_self)
            .on(Verb::Write, "lookup-self", "Show the caller's token.", lookup_self)
            .on(Verb::Write, "lookup-accessor", "Show the token of an accessor.", lookup_accessor)
            .on(Verb::Write, "renew", "Extend the life of a token.", renew)
            .on(Verb::Write, "renew-self", "Extend the life of the caller's token.", renew_self)
            .on(Verb::Write, "renew-accessor", "Extend the life of the token of an accessor.", renew_accessor)
            .on(Verb::Write, "revoke", "Revoke a token, its children and its leases.", revoke)
            .on(Verb::Write, "revoke-self", "Revoke the caller's token.", revoke_self)
            .on(Verb::Write, "revoke-accessor", "Revoke the token of an accessor.", revoke_accessor)
            .on(Verb::Write, "revoke-orphan", "Revoke a token and keep its children.", revoke_orphan)
            .sudo()
            .on(Verb::List, "accessors", "List the accessors of all tokens.", accessors)
            .sudo()
            .on(Verb::List, "roles", "List the token roles.", list_roles)
            .on(Verb::Read, "roles/{name}", "Show a token role.", read_role)
            .on(Verb::Write, "roles/{name}", "Create or change a token role.", write_role)
            .exists(role_exists)
            .on(Verb::Delete, "roles/{name}", "Remove a token role.", delete_role)
            .on(Verb::Write, "tidy", "Remove what interrupted revocations left.", tidy)
            .on(Verb::Write, "liveness", "Tie the caller's token to this connection.", tie)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct NewToken {
    id: Option<SecretString>,
    policies: CommaList,
    meta: Pairs,
    ttl: Ttl,
    lease: Ttl,
    explicit_max_ttl: Ttl,
    period: Ttl,
    num_uses: Count,
    renewable: Option<Flag>,
    no_parent: Flag,
    no_default_policy: Flag,
    display_name: Option<String>,
    entity_alias: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

async fn make_child(cx: Cx<TokenEngine>, (): (), new: NewToken) -> Result<Answer, Error> {
    make(cx, new, None, "auth/token/create").await
}

async fn make_orphan(cx: Cx<TokenEngine>, (): (), mut new: NewToken) -> Result<Answer, Error> {
    new.no_parent = Flag(true);
    make(cx, new, None, "auth/token/create-orphan").await
}

async fn make_by_role(cx: Cx<TokenEngine>, name: Name, new: NewToken) -> Result<Answer, Error> {
    let role = role::load(cx.view().tx(), name.as_str()).await?;
    let role = role.ok_or_else(|| Error::invalid(format!("unknown role {name}")))?;
    let path = role.path();
    make(cx, new, Some(role), &path).await
}

async fn make(cx: Cx<TokenEngine>, input: NewToken, role: Option<Role>, path: &str) -> Result<Answer, Error> {
    let caller = Arc::clone(cx.holder()?);
    create::may_have_children(&caller)?;
    let asked = role.as_ref().map_or_else(|| path.to_owned(), |role| format!("auth/token/create/{}", role.name));
    let within = &cx.mount().namespace;
    // Names of policies and entities mean something in one namespace alone.
    let foreign = caller.namespace != *within;
    let privileged = caller.is_root || cx.services().has_sudo(&caller, &asked);
    let orphan = match &role {
        Some(role) => role.orphan,
        None => {
            if input.no_parent.0 && path != "auth/token/create-orphan" && !privileged {
                return Err(Error::invalid("root or sudo privileges required to create orphan token"));
            }
            input.no_parent.0
        }
    };
    if input.id.is_some() && !privileged {
        return Err(Error::invalid("root or sudo privileges required to specify token id"));
    }
    let kind = input.kind.as_deref().map(role::parse_kind).transpose()?;
    let batch = role.as_ref().map_or(kind == Some(TokenKind::Batch), |role| role.batch(kind));
    let (policies, adds_default) = policies(&caller, &input, role.as_ref(), privileged, foreign)?;
    let root = policies.iter().any(|policy| policy == "root");
    let mut warnings = Vec::new();
    let (period, explicit_max_ttl) = limits(&cx, &input, role.as_ref(), privileged, &mut warnings)?;
    let wish = if input.ttl.is_zero() { input.lease.0 } else { input.ttl.0 };
    let ttl = match (root, period.is_zero()) {
        (true, true) if wish.is_zero() && caller.expires.is_none() && explicit_max_ttl.is_zero() => Duration::ZERO,
        (true, true) if wish.is_zero() && caller.expires.is_some() => {
            return Err(Error::invalid("expiring root tokens cannot create non-expiring root tokens"));
        }
        (_, false) => period,
        _ => create::life(wish, cx.mount().default_ttl, cx.mount().max_ttl, &mut warnings),
    };
    let ttl = if ttl.is_zero() { ttl } else { role::lesser(ttl, explicit_max_ttl) };
    let num_uses = role::fewer(input.num_uses.0, role.as_ref().map_or(0, |role| role.token_num_uses));
    if batch && (!period.is_zero() || !explicit_max_ttl.is_zero() || num_uses != 0 || root) {
        return Err(Error::invalid(
            "batch tokens cannot be root tokens or have a period, an explicit max TTL or a limited number of uses",
        ));
    }
    let no_default = input.no_default_policy.0 || role.as_ref().is_some_and(|role| role.token_no_default_policy);
    warn_of_unknown(&cx, &policies).await?;
    let alias = input.entity_alias.as_deref().filter(|alias| !alias.is_empty());
    let entity_id = match alias {
        Some(alias) => entity_by_alias(&cx, alias, role.as_ref()).await?,
        None if orphan || foreign => String::new(),
        None => caller.entity_id.to_string(),
    };
    let new = New {
        namespace: within.clone(),
        id: input.id.map(chosen).transpose()?,
        policies,
        meta: input.meta.0,
        path: path.to_owned(),
        display_name: display_name(input.display_name.as_deref()),
        num_uses,
        ttl,
        explicit_max_ttl,
        period,
        parent: (!orphan).then(|| caller.id.clone()),
        entity_id,
        kind: if batch { TokenKind::Batch } else { TokenKind::Service },
        bound_cidrs: cidrs(&cx, &caller, role.as_ref(), orphan && privileged).await?,
        renewable: input.renewable.is_none_or(|flag| flag.0) && role.as_ref().is_none_or(|role| role.renewable),
        role: role.map(|role| role.name).unwrap_or_default(),
        no_default_policy: no_default || !adds_default,
        ..New::default()
    };
    let tokens = &cx.engine().tokens;
    let mut issued = tokens.issue(cx.view().tx(), new).await?;
    issued.identity_policies = identity_policies(&cx, within, &issued.record.entity_id).await?;
    let auth = Box::new(tokens.auth(&issued));
    Ok(Answer { auth: Some(auth), warnings, ..Answer::default() })
}

/// The entity with this alias on the mount of the tokens, made if there is none: for programs that log their users in
/// themselves. The role says for whom.
async fn entity_by_alias(cx: &Cx<TokenEngine>, alias: &str, role: Option<&Role>) -> Result<String, Error> {
    let role = role.ok_or_else(|| {
        Error::invalid("'entity_alias' is only allowed in combination with token role: use auth/token/create/<role>")
    })?;
    let folded = identity::fold(alias);
    if !role.allowed_entity_aliases.iter().any(|pattern| role::glob(pattern, &folded)) {
        return Err(Error::invalid(
            "invalid 'entity_alias' value: the role does not list it in allowed_entity_aliases",
        ));
    }
    let seen = identity::Seen {
        accessor: &cx.mount().accessor,
        name: alias,
        metadata: &std::collections::BTreeMap::new(),
        groups: &[],
    };
    Ok(Directory::new(cx.view().tx(), cx.now()).login(seen).await?.id)
}

/// The unit of work of this request in the namespace of a token: that of the request, or one above it.
fn within(cx: &Cx<TokenEngine>, of: &Namespace) -> Arc<Tx> {
    let tx = cx.view().tx();
    if *of == cx.mount().namespace {
        return Arc::clone(tx);
    }
    match of.suffix() {
        "" => Arc::clone(tx.outer()),
        id => tx.outer().within(&Part::new(Arc::clone(cx.engine().tokens.store()), namespace::scope(id))),
    }
}

/// What an entity adds to its tokens, as this request leaves it.
async fn identity_policies(cx: &Cx<TokenEngine>, of: &Namespace, entity: &str) -> Result<Arc<[String]>, Error> {
    if entity.is_empty() {
        return Ok(Arc::default());
    }
    let tx = within(cx, of);
    let directory = Directory::new(&tx, cx.now());
    match directory.resolved(entity).await? {
        Some(entity) => Ok(directory.standing_of(&entity).await?.policies),
        None => Ok(Arc::default()),
    }
}

/// The policies the new token gets, by the caller's rights and the role; and whether `default` joins them. It does not
/// where it would be more than the parent has. Nothing is taken over from a caller of another namespace: there, the names
/// mean other policies.
fn policies(
    caller: &Caller,
    input: &NewToken,
    role: Option<&Role>,
    privileged: bool,
    foreign: bool,
) -> Result<(Vec<String>, bool), Error> {
    let wished = input.policies.iter().map(|policy| policy.trim().to_lowercase());
    let wished: Vec<String> = wished.filter(|policy| !policy.is_empty()).collect();
    let parent = &caller.token_policies;
    let (policies, adds_default) = match role {
        None if foreign && !privileged && wished.iter().any(|policy| policy != "default") => {
            return Err(Error::invalid(
                "policies: a token of another namespace needs sudo on this path to assign policies of this one",
            ));
        }
        Some(role) if foreign && !role.governs() => (role::subset(wished, &["default".to_owned()])?, true),
        None if foreign => (wished, true),
        Some(role) if role.governs() => (role.policies(wished)?, true),
        _ if wished.is_empty() => (parent.to_vec(), false),
        _ if privileged => (wished, true),
        _ => (role::subset(wished, parent)?, parent.iter().any(|policy| policy == "default")),
    };
    if policies.iter().any(|policy| policy == "root") && (!caller.is_root || foreign) {
        if foreign {
            return Err(Error::invalid("root tokens may not be created from a non-root namespace"));
        }
        return Err(Error::invalid("root tokens may not be created without parent token being root"));
    }
    if policies.iter().any(|policy| policy == "response-wrapping") {
        return Err(Error::invalid("the policy response-wrapping cannot be assigned"));
    }
    Ok((policies, adds_default))
}

/// The period and the hard end: the lesser of what the role and the caller say.
fn limits(
    cx: &Cx<TokenEngine>,
    input: &NewToken,
    role: Option<&Role>,
    privileged: bool,
    warnings: &mut Vec<String>,
) -> Result<(Duration, Duration), Error> {
    let of_role = |part: fn(&Role) -> Ttl| role.map_or(Duration::ZERO, |role| part(role).0);
    let (role_period, role_explicit) = (of_role(|role| role.token_period), of_role(|role| role.token_explicit_max_ttl));
    if !input.period.is_zero() && role_period.is_zero() && !privileged {
        return Err(Error::invalid("root or sudo privileges required to create periodic token"));
    }
    let period = role::lesser(input.period.0, role_period);
    if period < input.period.0 {
        warnings.push("period specified both during creation call and in role; using the lesser value".to_owned());
    }
    let explicit = role::lesser(input.explicit_max_ttl.0, role_explicit);
    if explicit < input.explicit_max_ttl.0 {
        warnings.push(
            "Explicit max TTL specified both during creation call and in role; using the lesser value".to_owned(),
        );
    }
    let most = cx.mount().max_ttl;
    if explicit > most {
        warnings.push(format!(
            "Explicit max TTL of {} seconds is greater than system/mount allowed value; value is being capped to {} seconds",
            explicit.as_secs(),
            most.as_secs()
        ));
    }
    Ok((period, explicit.min(most)))
}

/// From where the new token may be used. What binds the parent binds its child, unless a role says otherwise, or somebody
/// privileged cuts the tie.
async fn cidrs(
    cx: &Cx<TokenEngine>,
    caller: &Caller,
    role: Option<&Role>,
    free: bool,
) -> Result<Vec<ipnet::IpNet>, Error> {
    match role {
        Some(role) => create::parse_cidrs(&role.token_bound_cidrs),
        None if free => Ok(Vec::new()),
        None => {
            let parent = cx.engine().tokens.find(&caller.id).await?;
            Ok(parent.map(|parent| parent.bound_cidrs.clone()).unwrap_or_default())
        }
    }
}

async fn warn_of_unknown(cx: &Cx<TokenEngine>, policies: &[String]) -> Result<(), Error> {
    for policy in policies {
        if matches!(policy.as_str(), "root" | "default") {
            continue;
        }
        let key = storage::Key::from(format!("sys/policy/acl/{policy}"));
        if cx.view().tx().store().get(&key).await?.is_none() {
            cx.warn(format!("Policy \"{policy}\" does not exist"));
        }
    }
    Ok(())
}

/// A token id chosen by the caller: it must not look like one of ours.
fn chosen(id: SecretString) -> Result<SecretString, Error> {
    // EXPOSE: checked for its form.
    let text = id.expose();
    let reserved = ["hvs.", "hvb.", "hvr.", "s.", "b.", "r."].iter().any(|prefix| text.starts_with(prefix));
    if reserved || text.contains('.') || text.is_empty() || text.len() > 512 {
        return Err(Error::invalid("custom token ID cannot be empty, contain '.' or begin with a reserved prefix"));
    }
    Ok(id)
}

fn display_name(wish: Option<&str>) -> String {
    let Some(wish) = wish.filter(|wish| !wish.is_empty()) else { return "token".to_owned() };
    let clean: String = wish.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    format!("token-{}", clean.trim_matches('-'))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ByToken {
    token: Option<SecretString>,
    increment: Ttl,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ByAccessor {
    accessor: String,
    increment: Ttl,
}

#[derive(Serialize)]
struct Shown {
    accessor: String,
    bound_cidrs: Option<Vec<String>>,
    creation_time: i64,
    creation_ttl: u64,
    display_name: String,
    entity_id: String,
    expire_time: Option<String>,
    explicit_max_ttl: u64,
    id: Disclosed<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issue_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_renewal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_renewal_time: Option<i64>,
    meta: Option<std::collections::BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "String::is_empty")]
    namespace_path: String,
    num_uses: u64,
    orphan: bool,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    period: Option<u64>,
    policies: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    identity_policies: Vec<String>,
    renewable: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    role: String,
    ttl: u64,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hard_expiry: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limited_by: Option<&'static str>,
}

/// The entity of a token as it is now; `None` if the token has none, or it is gone.
async fn standing(cx: &Cx<TokenEngine>, record: &Record) -> Result<Option<Arc<Standing>>, Error> {
    if record.entity_id.is_empty() {
        return Ok(None);
    }
    if record.namespace == cx.mount().namespace {
        return cx.engine().identities.look_up(&record.entity_id).await;
    }
    let tx = within(cx, &record.namespace);
    let directory = Directory::new(&tx, cx.now());
    match directory.resolved(&record.entity_id).await? {
        Some(entity) => Ok(Some(Arc::new(directory.standing_of(&entity).await?))),
        None => Ok(None),
    }
}

/// Tokens of other namespaces are none that this one knows of.
fn is_own(cx: &Cx<TokenEngine>, namespace: &str) -> bool {
    cx.mount().namespace.suffix() == namespace
}

async fn shown(cx: &Cx<TokenEngine>, record: &Record, id: SecretString) -> Result<Data<Shown>, Error> {
    let now = cx.now();
    let standing = standing(cx, record).await?;
    let hard = record.hard_expiry(cx.mount().max_ttl);
    let cidrs: Vec<String> = record.bound_cidrs.iter().map(ToString::to_string).collect();
    Ok(Data(Shown {
        accessor: record.accessor.clone(),
        bound_cidrs: (!cidrs.is_empty()).then_some(cidrs),
        creation_time: record.created.as_second(),
        creation_ttl: record.ttl.as_secs(),
        display_name: record.display_name.to_string(),
        entity_id: standing.as_ref().map_or(&record.entity_id, |standing| &standing.id).to_string(),
        expire_time: record.expires.map(|end| end.to_string()),
        explicit_max_ttl: record.explicit_max_ttl.as_secs(),
        id: id.disclose(),
        issue_time: record.expires.map(|_| record.created.to_string()),
        last_renewal: record.last_renewal.map(|at| at.to_string()),
        last_renewal_time: record.last_renewal.map(|at| at.as_second()),
        meta: (!record.meta.is_empty()).then(|| (*record.meta).clone()),
        namespace_path: record.namespace.path().to_owned(),
        num_uses: record.uses_left,
        orphan: record.is_orphan(),
        path: record.path.to_string(),
        period: (!record.period.is_zero()).then_some(record.period.as_secs()),
        policies: record.policies.to_vec(),
        identity_policies: standing.map(|standing| standing.policies.to_vec()).unwrap_or_default(),
        renewable: record.renewable,
        role: record.role.clone(),
        ttl: record.expires.map_or(0, |end| clock::between(now, end).as_secs()),
        kind: if record.kind == TokenKind::Batch { "batch" } else { "service" },
        hard_expiry: hard.map(|(end, _)| end.to_string()),
        limited_by: hard.map(|(_, why)| why),
    }))
}

fn required(token: Option<SecretString>) -> Result<SecretString, Error> {
    token
        .filter(|token| !token.is_empty())
        .ok_or_else(|| Error::invalid("missing token: give it in the field \"token\""))
}

async fn lookup(cx: Cx<TokenEngine>, (): (), by: ByToken) -> Result<Data<Shown>, Error> {
    let Some(token) = by.token else { return lookup_self(cx, ()).await };
    let found = cx.engine().tokens.lookup(&token).await?;
    let own = found.filter(|(_, record)| record.namespace == cx.mount().namespace);
    let (_, record) = own.ok_or_else(bad_token)?;
    shown(&cx, &record, token).await
}

async fn lookup_self(cx: Cx<TokenEngine>, (): ()) -> Result<Data<Shown>, Error> {
    let token = own_token(&cx)?;
    let (_, record) = cx.engine().tokens.lookup(&token).await?.ok_or_else(bad_token)?;
    shown(&cx, &record, token).await
}

async fn lookup_accessor(cx: Cx<TokenEngine>, (): (), by: ByAccessor) -> Result<Data<Shown>, Error> {
    let (_, record) = accessed(&cx, &by).await?;
    shown(&cx, &record, SecretString::new(String::new())).await
}

/// The caller's own token.
fn own_token(cx: &Cx<TokenEngine>) -> Result<SecretString, Error> {
    let token = cx.token().ok_or(Error::Denied(Refusal::MissingToken))?;
    // EXPOSE: given back to the one who sent it.
    Ok(SecretString::new(token.expose().clone()))
}

fn bad_token() -> Error {
    Error::Denied(Refusal::Other("bad token".to_owned()))
}

async fn accessed(cx: &Cx<TokenEngine>, by: &ByAccessor) -> Result<(TokenId, Arc<Record>), Error> {
    if by.accessor.is_empty() {
        return Err(Error::invalid("missing accessor: give it in the field \"accessor\""));
    }
    let tokens = &cx.engine().tokens;
    let invalid = || Error::Denied(Refusal::Other("invalid accessor".to_owned()));
    if !is_own(cx, namespace::suffix_of(&by.accessor)) {
        return Err(invalid());
    }
    let id = tokens.by_accessor(&by.accessor).await?.ok_or_else(invalid)?;
    let record = tokens.find(&id).await?.ok_or_else(invalid)?;
    Ok((id, record))
}

async fn renew(cx: Cx<TokenEngine>, (): (), by: ByToken) -> Result<Answer, Error> {
    let Some(token) = by.token else { return renew_self(cx, (), by).await };
    known_here(&cx, &token)?;
    renew_token(&cx, token, by.increment).await
}

/// Refuses a token of another namespace: whoever means it asks there.
fn known_here(cx: &Cx<TokenEngine>, token: &SecretString) -> Result<(), Error> {
    match is_own(cx, cx.engine().tokens.id(token).namespace()) {
        true => Ok(()),
        false => Err(Error::invalid("token: it belongs to another namespace; ask in that one")),
    }
}

async fn renew_self(cx: Cx<TokenEngine>, (): (), by: ByToken) -> Result<Answer, Error> {
    let token = own_token(&cx)?;
    renew_token(&cx, token, by.increment).await
}

async fn renew_token(cx: &Cx<TokenEngine>, token: SecretString, increment: Ttl) -> Result<Answer, Error> {
    // EXPOSE: returned to the one who sent it.
    let text = token.expose().clone();
    if text.starts_with(crate::format::BATCH) {
        return Err(Error::invalid("batch tokens cannot be renewed"));
    }
    let id = cx.engine().tokens.id(&token);
    renewed(cx, &id, increment, text).await
}

async fn renew_accessor(cx: Cx<TokenEngine>, (): (), by: ByAccessor) -> Result<Answer, Error> {
    let (id, _) = accessed(&cx, &by).await?;
    renewed(&cx, &id, by.increment, String::new()).await
}

async fn renewed(cx: &Cx<TokenEngine>, id: &TokenId, increment: Ttl, token: String) -> Result<Answer, Error> {
    let tokens = &cx.engine().tokens;
    let max = cx.mount().max_ttl;
    let tx = cx.view().tx();
    let (record, left, warnings) = tokens.renew(tx, id, increment.set(), max).await?;
    if !record.login_mount.is_empty() {
        // The method that made the token says whether its holder may still log in.
        let until = clock::after(cx.now(), left);
        let data = record.login_renewal.secret();
        cx.services().renew_login(tx, &record.login_mount, &record.path, data, until).await?;
        if !record.entity_id.is_empty() {
            Directory::new(&within(cx, &record.namespace), cx.now()).renew(&record.entity_id).await?;
        }
    }
    let identity = identity_policies(cx, &record.namespace, &record.entity_id).await?;
    let auth = Box::new(record.auth(token, left, &identity));
    Ok(Answer { auth: Some(auth), warnings, ..Answer::default() })
}

async fn revoke(cx: Cx<TokenEngine>, (): (), by: ByToken) -> Result<Answer, Error> {
    let token = required(by.token)?;
    // EXPOSE: only its prefix is looked at.
    if token.expose().starts_with(crate::format::BATCH) {
        return Err(Error::invalid("batch tokens cannot be revoked"));
    }
    known_here(&cx, &token)?;
    revoke_id(&cx, &cx.engine().tokens.id(&token)).await
}

async fn revoke_self(cx: Cx<TokenEngine>, (): ()) -> Result<Answer, Error> {
    let caller = Arc::clone(cx.holder()?);
    if caller.kind == TokenKind::Batch {
        return Err(Error::invalid("batch tokens cannot be revoked"));
    }
    revoke_id(&cx, &caller.id).await
}

async fn revoke_accessor(cx: Cx<TokenEngine>, (): (), by: ByAccessor) -> Result<Answer, Error> {
    let (id, _) = accessed(&cx, &by).await?;
    revoke_id(&cx, &id).await
}

/// Marks the token in the request's commit; the expirer, woken by the pipeline after it, does the rest.
async fn revoke_id(cx: &Cx<TokenEngine>, id: &TokenId) -> Result<Answer, Error> {
    let found = cx.engine().tokens.revoke(cx.view().tx(), id).await?;
    // Of a token that is gone already there is no end to wait for.
    Ok(Answer { ends: found.then(|| id.clone()), ..Answer::default() })
}

async fn revoke_orphan(cx: Cx<TokenEngine>, (): (), by: ByToken) -> Result<Answer, Error> {
    let token = required(by.token)?;
    // EXPOSE: only its prefix is looked at.
    if token.expose().starts_with(crate::format::BATCH) {
        return Err(Error::invalid("batch tokens cannot be revoked"));
    }
    known_here(&cx, &token)?;
    let tokens = &cx.engine().tokens;
    let id = tokens.id(&token);
    match tokens.revoke_orphan(cx.view().tx(), &id).await? {
        true => Ok(Answer { ends: Some(id), ..Answer::default() }),
        false => Err(Error::invalid("token to revoke not found")),
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Paging {
    after: Option<String>,
    limit: Option<Count>,
}

const MOST: usize = 100_000;

async fn accessors(cx: Cx<TokenEngine>, (): (), paging: Paging) -> Result<Keys, Error> {
    let limit = paging.limit.map_or(MOST, |limit| usize::try_from(limit.0).unwrap_or(MOST));
    let within = cx.mount().namespace.suffix();
    let (keys, _) = cx.engine().tokens.accessors(within, paging.after.as_deref(), limit.clamp(1, MOST)).await?;
    Ok(keys.into())
}

async fn list_roles(cx: Cx<TokenEngine>, (): (), paging: Paging) -> Result<Keys, Error> {
    let limit = paging.limit.map_or(MOST, |limit| usize::try_from(limit.0).unwrap_or(MOST));
    let roles = cx.view().tx().view(role::PREFIX);
    Ok(roles.list("", paging.after.as_deref(), limit.clamp(1, MOST)).await?.into())
}

/// A role with its settings under their older names too, which old clients read.
#[derive(Serialize)]
struct ShownRole {
    #[serde(flatten)]
    role: Role,
    explicit_max_ttl: Ttl,
    period: Ttl,
}

async fn read_role(cx: Cx<TokenEngine>, name: Name) -> Result<Option<Data<ShownRole>>, Error> {
    let role = role::load(cx.view().tx(), name.as_str()).await?;
    let shown =
        |role: Role| ShownRole { explicit_max_ttl: role.token_explicit_max_ttl, period: role.token_period, role };
    Ok(role.map(shown).map(Data))
}

async fn role_exists(cx: Cx<TokenEngine>, name: Name) -> Result<bool, Error> {
    Ok(role::load(cx.view().tx(), name.as_str()).await?.is_some())
}

async fn write_role(cx: Cx<TokenEngine>, name: Name, input: RoleInput) -> Result<Done, Error> {
    let name = name.to_lowercase();
    let tx = cx.view().tx();
    let mut role = role::load(tx, name.as_str()).await?.unwrap_or_else(|| Role::new(&name));
    role.apply(input)?;
    tx.put_json(role::key(name.as_str()), &role)?;
    Ok(Done)
}

async fn delete_role(cx: Cx<TokenEngine>, name: Name) -> Result<Done, Error> {
    cx.view().tx().delete(role::key(name.as_str()));
    Ok(Done)
}

/// Everything about a token is in one commit, so nothing dangles; what is due is looked at now.
async fn tidy(cx: Cx<TokenEngine>, (): ()) -> Result<Answer, Error> {
    cx.engine().tokens.leases().wake();
    let warning =
        "Tidy operation successfully started. Any information from the operation will be printed to the server logs.";
    Ok(Answer { status: Some(202), warnings: vec![warning.to_owned()], ..Answer::default() })
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Tie {
    grace: Ttl,
    beat: Flag,
}

async fn tie(cx: Cx<TokenEngine>, (): (), tie: Tie) -> Result<Answer, Error> {
    let caller = cx.holder()?;
    if caller.kind == TokenKind::Batch || caller.expires.is_none() {
        return Err(Error::invalid("only service tokens that end can be tied to a process"));
    }
    let engine = cx.engine();
    if tie.beat.0 {
        engine.liveness.beat(&caller.id)?;
        return Ok(Answer::default());
    }
    let grace = if tie.grace.is_zero() { Duration::from_secs(10) } else { tie.grace.0 };
    if grace < liveness::SHORTEST || grace > liveness::LONGEST {
        return Err(Error::invalid("grace: use a duration from 1s to 1h"));
    }
    engine.tokens.bind(cx.view().tx(), &caller.id, grace).await?;
    cx.checkpoint().await?;
    let frames = engine.liveness.attach(caller.id.clone(), grace);
    Ok(Answer { body: Body::Stream(frames), ..Answer::default() })
}
