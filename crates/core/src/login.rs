//! From what a login method says to a token, or to a login that waits for its second factor.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use api::{MfaConstraint, MfaMethod, MfaRequirement};
use gate::{Error, Facts, Inline, MountInfo, Refusal, Request, TokenParams};
use identity::{
    Directory, Entity, Seen,
    mfa::{Demand, LoginBy, Method, Rejected, Waiting},
};
use secret::{SecretString, Zeroize};
use serde::{Deserialize, Serialize};
use storage::Tx;

use crate::{Success, inline, namespaces::Space, running::Running};

/// A login as it is kept while it waits. What comes back to the method at a renewal may be secret.
#[derive(Serialize, Deserialize)]
struct Kept {
    alias: String,
    metadata: BTreeMap<String, String>,
    display_name: String,
    params: TokenParams,
    renewal: Option<String>,
    role: String,
}

impl Kept {
    fn new(login: gate::Login) -> Self {
        // EXPOSE: into the record of the waiting login, which the barrier encrypts.
        let renewal = login.renewal.as_ref().map(|renewal| renewal.expose().clone());
        let gate::Login { alias, metadata, display_name, params, role, .. } = login;
        Self { alias, metadata, display_name, params, renewal, role }
    }

    fn login(mut self) -> gate::Login {
        gate::Login {
            alias: std::mem::take(&mut self.alias),
            metadata: std::mem::take(&mut self.metadata),
            display_name: std::mem::take(&mut self.display_name),
            // What it says of groups is written down already.
            groups: Vec::new(),
            params: std::mem::take(&mut self.params),
            renewal: self.renewal.take().map(SecretString::new),
            role: std::mem::take(&mut self.role),
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(renewal) = &mut self.renewal {
            renewal.zeroize();
        }
    }
}

/// Codes by the id or name of their method.
pub(crate) type Codes = Vec<(String, SecretString)>;

impl Running {
    /// The token that an answer asks for becomes part of the commit; or the login waits for its second factor.
    pub(crate) async fn login(
        &self,
        facts: &Facts,
        tx: &Arc<Tx>,
        login: gate::Login,
        success: &mut Success,
    ) -> Result<(), Error> {
        let mount = facts.mount().ok_or_else(|| Error::internal("a login came without a mount"))?;
        let directory = Directory::new(tx, self.clock.now());
        let entity = match login.alias.as_str() {
            "" => None,
            name => {
                let (accessor, metadata, groups) = (&mount.accessor, &login.metadata, &login.groups);
                Some(directory.login(Seen { accessor, name, metadata, groups }).await?)
            }
        };
        let by = LoginBy { accessor: &mount.accessor, kind: mount.kind };
        let space = self.spaces.known(facts.request().namespace.suffix());
        let space = space.ok_or_else(|| Error::internal("a login came into a namespace that is not there"))?;
        let demands = space.identities.enforcements().demands(&directory, entity.as_ref(), by).await?;
        let codes = if demands.is_empty() { Codes::new() } else { header_codes(facts.request())? };
        let once = matches!(facts.request().inline, Inline::LogsIn);
        if !demands.is_empty() && codes.is_empty() {
            if once {
                return Err(refused(
                    "a login that serves one request brings its code with it, in the header X-Vault-MFA",
                ));
            }
            return self.hold(facts, tx, mount, (login, entity), (demands, success)).await;
        }
        self.check_demands(&directory, entity.as_ref(), &demands, &codes).await?;
        let (auth, warnings) = self.give(tx, mount, (facts.request().path.as_str(), once), login, entity).await?;
        success.auth = Some(auth);
        success.warnings.extend(warnings);
        Ok(())
    }

    /// Makes the token of a login at this path; whether it serves one request only.
    async fn give(
        &self,
        tx: &Arc<Tx>,
        mount: &MountInfo,
        (path, once): (&str, bool),
        login: gate::Login,
        entity: Option<Entity>,
    ) -> Result<(Box<api::Auth>, Vec<String>), Error> {
        let (mut new, warnings) = self.tokens.for_login(mount, path, login)?;
        if once {
            new = inline::for_one_request(new);
        }
        let mut identity_policies = Arc::default();
        if let Some(entity) = entity {
            let directory = Directory::new(tx, self.clock.now());
            identity_policies = directory.standing_of(&entity).await?.policies;
            new.entity_id = entity.id;
        }
        let mut issued = self.tokens.issue(tx, new).await?;
        issued.identity_policies = identity_policies;
        Ok((Box::new(self.tokens.auth(&issued)), warnings))
    }

    /// Keeps a login until the rest is shown; the answer says what that is.
    async fn hold(
        &self,
        facts: &Facts,
        tx: &Arc<Tx>,
        mount: &MountInfo,
        (login, entity): (gate::Login, Option<Entity>),
        (demands, success): (Vec<Demand>, &mut Success),
    ) -> Result<(), Error> {
        let metadata = (!login.metadata.is_empty()).then(|| login.metadata.clone());
        let entity = entity.map(|entity| entity.id).unwrap_or_default();
        let kept = serde_json::to_string(&Kept::new(login));
        let kept = kept.map_err(|_| Error::internal("a login cannot be written as JSON"))?;
        let wrap = facts.request().wrap_ttl.unwrap_or_default();
        let waiting = Waiting::new(&entity, &mount.uuid, facts.request().path.as_str(), kept, wrap);
        let id = Directory::new(tx, self.clock.now()).keep_waiting(waiting).await?;
        let requirement = MfaRequirement {
            // EXPOSE: handed to the one who logs in.
            mfa_request_id: id.expose().clone(),
            mfa_constraints: demands
                .into_iter()
                .map(|demand| (demand.enforcement.clone(), constraint(&demand)))
                .collect(),
        };
        success.auth = Some(Box::new(api::Auth {
            metadata,
            entity_id: entity,
            token_type: "default".to_owned(),
            mfa_requirement: Some(requirement),
            ..api::Auth::default()
        }));
        success.warnings.push(WAITS.to_owned());
        Ok(())
    }

    /// The login that waits under `id`, finished with these codes: the token, and for how long its reply is wrapped.
    pub(crate) async fn finish_login(
        &self,
        space: &Space,
        tx: &Arc<Tx>,
        id: &SecretString,
        codes: &Codes,
    ) -> Result<(Box<api::Auth>, Vec<String>, Option<Duration>), Error> {
        let directory = Directory::new(tx, self.clock.now());
        let waiting = directory.waiting(id).await?.ok_or_else(|| {
            Error::invalid(
                "mfa_request_id: no login waits under this id; it waits for five minutes and is finished once",
            )
        })?;
        let mounted = space.mounts.by_uuid(&waiting.mount).filter(|mounted| !mounted.entry.tainted);
        let mounted = mounted.ok_or_else(|| Error::invalid("the auth method of this login is gone"))?;
        let entity = match waiting.entity.as_str() {
            "" => None,
            id => Some(
                directory
                    .resolved(id)
                    .await?
                    .filter(|entity| !entity.disabled)
                    .ok_or(Error::Denied(Refusal::Entity))?,
            ),
        };
        let by = LoginBy { accessor: &mounted.info.accessor, kind: mounted.info.kind };
        // Asked anew: what was taken back is not wanted, and what was added is.
        let demands = space.identities.enforcements().demands(&directory, entity.as_ref(), by).await?;
        self.check_demands(&directory, entity.as_ref(), &demands, codes).await?;
        directory.finish_waiting(id, &waiting);
        let kept: Kept = serde_json::from_str(&waiting.login)
            .map_err(|_| Error::internal("a login that waits cannot be understood"))?;
        let (auth, warnings) = self.give(tx, &mounted.info, (&waiting.path, false), kept.login(), entity).await?;
        let wrap = Some(Duration::from_secs(waiting.wrap)).filter(|ttl| !ttl.is_zero());
        Ok((auth, warnings, wrap))
    }

    /// Refuses unless each demand is met by one code.
    async fn check_demands(
        &self,
        directory: &Directory<'_>,
        entity: Option<&Entity>,
        demands: &[Demand],
        codes: &Codes,
    ) -> Result<(), Error> {
        let Some(entity) = entity else {
            return match demands {
                [] => Ok(()),
                _ => Err(refused("a login without an entity has no second factor")),
            };
        };
        // A code is looked at once, also if several demands are met by its method.
        let mut taken: BTreeMap<String, Result<(), Rejected>> = BTreeMap::new();
        for demand in demands {
            let mut met = Err("a code of one of its methods is missing".to_owned());
            for method in &demand.any {
                let Some((_, code)) = codes.iter().find(|(named, _)| names(method, named)) else { continue };
                let outcome = match taken.get(&method.id) {
                    Some(known) => known.clone(),
                    None => {
                        let outcome = directory.take_code(&entity.id, method, code).await?;
                        taken.insert(method.id.clone(), outcome.clone());
                        outcome
                    }
                };
                met = outcome.map_err(|why| why.to_string());
                if met.is_ok() {
                    break;
                }
            }
            met.map_err(|why| refused(&format!("enforcement {:?}: {why}", demand.enforcement)))?;
        }
        Ok(())
    }
}

fn names(method: &Method, named: &str) -> bool {
    method.id == named || !method.name.is_empty() && identity::fold(&method.name) == identity::fold(named)
}

/// What was wrong with a second factor may be read by who sends it: the first was right.
fn refused(why: &str) -> Error {
    Error::Denied(Refusal::Other(format!("login MFA validation failed: {why}")))
}

fn constraint(demand: &Demand) -> MfaConstraint {
    let method = |method: &Method| MfaMethod {
        kind: "totp".to_owned(),
        id: method.id.clone(),
        uses_passcode: true,
        name: method.name.clone(),
    };
    MfaConstraint { any: demand.any.iter().map(method).collect() }
}

/// The codes that came with the login itself, as `method[:code]` in headers.
fn header_codes(request: &Request) -> Result<Codes, Error> {
    let mut codes = Codes::new();
    for (_, value) in request.headers.iter().filter(|(name, _)| name == "x-vault-mfa") {
        let (method, code) = value
            .split_once(':')
            .ok_or_else(|| Error::invalid("X-Vault-MFA: use METHOD:CODE with the id or name of the method"))?;
        codes.push((method.trim().to_owned(), SecretString::new(code.to_owned())));
        if codes.len() > MOST_CODES {
            return Err(Error::invalid(format!("X-Vault-MFA: at most {MOST_CODES} of these headers are taken")));
        }
    }
    Ok(codes)
}

pub(crate) const MOST_CODES: usize = 32;
const WAITS: &str = "A login request was issued that is subject to MFA validation. Please make sure to validate the login by sending another request to sys/mfa/validate endpoint.";
