//! Making tokens: everything that reaches the store goes through [`Tokens::issue`].

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use gate::{Caller, Error, Login, MountInfo, Namespace, TokenId, TokenKind, namespace};
use ipnet::IpNet;
use secret::SecretString;
use storage::Tx;

use crate::{Record, Renewal, SYSTEM_MAX_TTL, Tokens, format, record};

/// What a new token shall be, already checked against its creator's rights.
#[derive(Debug)]
pub struct New {
    /// The namespace it is made in.
    pub namespace: Namespace,
    /// A token chosen by the caller, which only root may do.
    pub id: Option<SecretString>,
    /// The policies; normalised here.
    pub policies: Vec<String>,
    /// Notes.
    pub meta: BTreeMap<String, String>,
    /// The path it is made at.
    pub path: String,
    /// A name for people.
    pub display_name: String,
    /// The limit on uses; 0 is none.
    pub num_uses: u64,
    /// The life; zero is without end, which only root tokens may have.
    pub ttl: Duration,
    /// See [`Record::explicit_max_ttl`].
    pub explicit_max_ttl: Duration,
    /// See [`Record::max_ttl`].
    pub max_ttl: Duration,
    /// See [`Record::period`].
    pub period: Duration,
    /// The parent; `None` for an orphan.
    pub parent: Option<TokenId>,
    /// The entity, or empty.
    pub entity_id: String,
    /// Service or batch.
    pub kind: TokenKind,
    /// From where it may be used.
    pub bound_cidrs: Vec<IpNet>,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// The token role.
    pub role: String,
    /// Leave the `default` policy out.
    pub no_default_policy: bool,
    /// For logins.
    pub login_mount: String,
    /// For logins.
    pub login_renewal: Renewal,
}

impl Default for New {
    fn default() -> Self {
        Self {
            namespace: Namespace::root(),
            id: None,
            policies: Vec::new(),
            meta: BTreeMap::new(),
            path: String::new(),
            display_name: "token".to_owned(),
            num_uses: 0,
            ttl: Duration::ZERO,
            explicit_max_ttl: Duration::ZERO,
            max_ttl: Duration::ZERO,
            period: Duration::ZERO,
            parent: None,
            entity_id: String::new(),
            kind: TokenKind::Service,
            bound_cidrs: Vec::new(),
            renewable: true,
            role: String::new(),
            no_default_policy: false,
            login_mount: String::new(),
            login_renewal: Renewal::default(),
        }
    }
}

/// A token that was made.
#[derive(Debug)]
pub struct Issued {
    /// The token.
    pub token: SecretString,
    /// Its id.
    pub id: TokenId,
    /// Its record.
    pub record: Record,
    /// What its entity adds at this moment, for the reply; put in by the caller.
    pub identity_policies: Arc<[String]>,
}

impl Tokens {
    /// Makes a token, as part of `tx`. A batch token writes nothing.
    pub async fn issue(&self, tx: &Tx, new: New) -> Result<Issued, Error> {
        let tx = tx.whole();
        let now = self.clock.now();
        let policies = normalised(new.policies, new.no_default_policy);
        let root = policies.iter().any(|policy| policy == "root");
        if root && new.kind == TokenKind::Batch {
            return Err(Error::invalid("batch tokens cannot be root tokens"));
        }
        if root && !new.namespace.is_root() {
            return Err(Error::invalid("root tokens may not be created from a non-root namespace"));
        }
        let expires = (!new.ttl.is_zero()).then(|| clock::after(now, new.ttl));
        if expires.is_none() && !root {
            return Err(Error::internal("a token without end was asked for without the root policy"));
        }
        let batch = new.kind == TokenKind::Batch;
        if let Some(parent) = new.parent.as_ref().filter(|_| !batch) {
            self.hold(tx, parent).await?;
        }
        let within = new.namespace.suffix();
        let token = match new.id {
            // EXPOSE: a part of the token that is made.
            Some(id) => SecretString::new(namespace::with_suffix(id.expose().clone(), within)),
            None if root => SecretString::new(format::make_root().to_string()),
            None => SecretString::new(format::make_service(within).to_string()),
        };
        let record = Record {
            accessor: if batch { String::new() } else { format::make_accessor(within) },
            namespace: new.namespace,
            policies: policies.into(),
            path: new.path.into(),
            meta: Arc::new(new.meta),
            display_name: new.display_name.into(),
            num_uses: new.num_uses,
            uses_left: new.num_uses,
            created: now,
            ttl: new.ttl,
            expires,
            explicit_max_ttl: new.explicit_max_ttl,
            max_ttl: new.max_ttl,
            period: new.period,
            parent: new.parent,
            entity_id: new.entity_id.into(),
            kind: if batch { TokenKind::Batch } else { TokenKind::Service },
            bound_cidrs: new.bound_cidrs,
            renewable: new.renewable && !batch && expires.is_some(),
            last_renewal: None,
            role: new.role,
            no_default_policy: new.no_default_policy,
            login_mount: new.login_mount,
            login_renewal: new.login_renewal,
            bound: None,
            revoked: false,
        };
        if batch {
            let token = self.seal_batch(&record)?;
            let id = self.id(&token);
            return Ok(Issued { token, id, record, identity_policies: Arc::clone(&record::NO_POLICIES) });
        }
        let id = self.id(&token);
        if tx.get(&record::key(&id)).await?.is_some() {
            return Err(Error::invalid("cannot create a token with a duplicate ID"));
        }
        self.write(tx, &id, &record)?;
        Ok(Issued { token, id, record, identity_policies: Arc::clone(&record::NO_POLICIES) })
    }

    fn write(&self, tx: &Tx, id: &TokenId, record: &Record) -> Result<(), Error> {
        tx.put_json(record::key(id), record)?;
        tx.put(record::accessor_key(&record.accessor), bytes::Bytes::from(id.0.to_string()));
        tx.put(record::path_key(&record.path, id), bytes::Bytes::new());
        if let Some(parent) = &record.parent {
            tx.put(record::parent_key(parent, id), bytes::Bytes::new());
        }
        self.leases.watch_token(tx, id, None, record.expires);
        Ok(())
    }

    /// Makes a root token.
    pub async fn issue_root(&self, tx: &Tx) -> Result<Issued, Error> {
        let new = New {
            policies: vec!["root".to_owned()],
            path: "auth/token/root".to_owned(),
            display_name: "root".to_owned(),
            renewable: false,
            ..New::default()
        };
        self.issue(tx, new).await
    }

    /// What the token of a login shall be; the entity is filled in by the caller.
    pub fn for_login(&self, mount: &MountInfo, path: &str, login: Login) -> Result<(New, Vec<String>), Error> {
        let mut warnings = Vec::new();
        let params = login.params;
        if params
            .policies
            .iter()
            .any(|policy| matches!(policy.trim().to_lowercase().as_str(), "root" | "response-wrapping"))
        {
            return Err(Error::invalid("auth methods cannot create root tokens"));
        }
        let batch = matches!(params.kind, TokenKind::Batch | TokenKind::DefaultBatch);
        if batch && (!params.period.is_zero() || params.num_uses != 0 || !params.explicit_max_ttl.is_zero()) {
            return Err(Error::invalid(
                "batch tokens cannot have a period, an explicit max TTL or a limited number of uses",
            ));
        }
        let max = if params.max_ttl.is_zero() { mount.max_ttl } else { params.max_ttl.min(mount.max_ttl) };
        let mut ttl = match (params.period.is_zero(), params.ttl.is_zero()) {
            (false, _) => params.period,
            (true, true) => mount.default_ttl,
            (true, false) => params.ttl,
        };
        if params.period.is_zero() && ttl > max {
            warnings.push(format!(
                "TTL of \"{}s\" exceeded the effective max_ttl of \"{}s\"; TTL value is capped accordingly",
                ttl.as_secs(),
                max.as_secs()
            ));
            ttl = max;
        }
        if !params.explicit_max_ttl.is_zero() {
            ttl = ttl.min(params.explicit_max_ttl);
        }
        let prefix = mount.path.trim_start_matches("auth/").trim_end_matches('/').replace('/', "-");
        let name = if login.display_name.is_empty() { prefix } else { format!("{prefix}-{}", login.display_name) };
        let renewal = login.renewal.as_ref().map(Renewal::new).unwrap_or_default();
        let new = New {
            namespace: mount.namespace.clone(),
            policies: params.policies,
            meta: login.metadata,
            path: path.to_owned(),
            display_name: name,
            num_uses: params.num_uses,
            ttl,
            explicit_max_ttl: params.explicit_max_ttl,
            // With the mount's own maximum: a renewal is done by `auth/token/`, which has another.
            max_ttl: max,
            period: params.period,
            kind: if batch { TokenKind::Batch } else { TokenKind::Service },
            bound_cidrs: parse_cidrs(&params.bound_cidrs)?,
            role: String::new(),
            no_default_policy: params.no_default_policy,
            login_mount: mount.uuid.to_string(),
            login_renewal: renewal,
            ..New::default()
        };
        Ok((new, warnings))
    }

    /// The reply's view of a token that was made.
    pub fn auth(&self, issued: &Issued) -> api::Auth {
        let record = &issued.record;
        // EXPOSE: handed to the one who asked for the token.
        let token = issued.token.expose().clone();
        auth_of(record, token, record.ttl, &issued.identity_policies)
    }
}

/// The reply's view of a token.
pub(crate) fn auth_of(record: &Record, token: String, left: Duration, identity: &[String]) -> api::Auth {
    let mut policies = record.policies.to_vec();
    policies.extend(identity.iter().filter(|policy| !record.policies.contains(policy)).cloned());
    policies.sort();
    api::Auth {
        client_token: token,
        accessor: record.accessor.clone(),
        display_name: record.display_name.to_string(),
        policies,
        token_policies: record.policies.to_vec(),
        identity_policies: identity.to_vec(),
        metadata: (!record.meta.is_empty()).then(|| (*record.meta).clone()),
        lease_duration: left.as_secs(),
        renewable: record.renewable,
        entity_id: record.entity_id.to_string(),
        token_type: if record.kind == TokenKind::Batch { "batch" } else { "service" }.to_owned(),
        orphan: record.parent.is_none(),
        mfa_requirement: None,
        num_uses: record.num_uses,
    }
}

impl Record {
    /// The reply's view of this token after a renewal, without the token unless the caller is its holder.
    pub fn auth(&self, token: String, left: Duration, identity: &[String]) -> api::Auth {
        auth_of(self, token, left, identity)
    }
}

/// Policy names in their one canonical form: trimmed, lower case, sorted, once each; with `default` unless left out.
pub fn normalised(policies: Vec<String>, no_default: bool) -> Vec<String> {
    let mut names: Vec<String> =
        policies.iter().map(|name| name.trim().to_lowercase()).filter(|name| !name.is_empty()).collect();
    if names.iter().any(|name| name == "root") {
        return vec!["root".to_owned()];
    }
    if !no_default {
        names.push("default".to_owned());
    }
    names.sort();
    names.dedup();
    names
}

/// CIDR blocks or single addresses.
pub fn parse_cidrs(texts: &[String]) -> Result<Vec<IpNet>, Error> {
    let parse = |text: &String| {
        let net = text.parse::<IpNet>().or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from));
        net.map_err(|_| Error::invalid("bound CIDRs: use addresses or CIDR blocks, such as 10.0.0.0/8"))
    };
    texts.iter().map(parse).collect()
}

/// The life that a token asked for by `caller` gets: the wish, the system's default without one, within the maximum.
pub(crate) fn life(wish: Duration, default: Duration, max: Duration, warnings: &mut Vec<String>) -> Duration {
    let wished = if wish.is_zero() { default } else { wish };
    let max = if max.is_zero() { SYSTEM_MAX_TTL } else { max };
    if wished > max {
        warnings.push(format!(
            "TTL of \"{}s\" exceeded the effective max_ttl of \"{}s\"; TTL value is capped accordingly",
            wished.as_secs(),
            max.as_secs()
        ));
        return max;
    }
    wished
}

/// Whether the caller may make children at all.
pub(crate) fn may_have_children(caller: &Caller) -> Result<(), Error> {
    if caller.kind == TokenKind::Batch {
        return Err(Error::invalid("batch tokens cannot create more tokens"));
    }
    if caller.num_uses != 0 {
        return Err(Error::invalid("restricted use token cannot generate child tokens"));
    }
    Ok(())
}
