//! `login`: a signed token in exchange for a token of this server.

use std::collections::BTreeMap;

use api::Name;
use engine::{Cx, Error, Lease, Login, Scope};
use secret::SecretString;
use serde::{Deserialize, Serialize};

use crate::{Jwt, claims::Holder, config::Config, refusal::Refusal, replay, roles::Role, token::Unverified};

/// The body of a login.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct LoginBody {
    role: Option<String>,
    jwt: Option<SecretString>,
}

/// What is kept for renewals.
#[derive(Serialize, Deserialize)]
struct Renewal {
    role: String,
}

pub(crate) async fn login(cx: Cx<Jwt>, (): (), body: LoginBody) -> Result<Login, Error> {
    let config = Config::load(cx.scope()).await?.ok_or_else(|| Error::invalid("could not load configuration"))?;
    let asked = body.role.filter(|role| !role.is_empty()).unwrap_or_else(|| config.default_role.clone());
    if asked.is_empty() {
        return Err(Error::invalid("missing role"));
    }
    let token = body.jwt.filter(|token| !token.is_empty()).ok_or_else(|| Error::invalid("missing token"))?;
    let name = Name::new(&asked).map(|name| name.to_lowercase());
    let role = match &name {
        Some(name) => Role::load(cx.scope(), name).await?,
        None => None,
    };
    let (Some(name), Some(role)) = (name, role) else {
        return Err(Error::invalid(format!(
            "role {:?} could not be found",
            asked.chars().take(64).collect::<String>()
        )));
    };
    auth::check_address(&role.token.params.bound_cidrs, cx.remote())?;
    // EXPOSE: the token is checked, and goes no further than this function.
    let holder = match accept(&cx, &config, &role, token.expose()).await? {
        Ok(holder) => holder,
        Err(refusal) => {
            tracing::info!(reason = refusal.code(), role = %name, mount = %cx.mount().path, "a token was refused");
            return Err(refusal.into());
        }
    };
    grant(name.as_str(), role, holder)
}

/// Who the holder of `token` is, or why it is not accepted. The outer error is a fault that is not the token's.
async fn accept(cx: &Cx<Jwt>, config: &Config, role: &Role, token: &str) -> Result<Result<Holder, Refusal>, Error> {
    let keys = cx.engine().keys(&config.source)?;
    let checked = async {
        let token = Unverified::parse(token)?;
        if !config.algorithms.is_empty() && !config.algorithms.contains(&token.algorithm()) {
            return Err(Refusal::AlgorithmNotAllowed);
        }
        let claims = keys.verify(&token).await?.claims()?;
        let issuer = match config.bound_issuer.as_str() {
            "" => keys.issuer().unwrap_or_default(),
            bound => bound,
        };
        role.bounds.check(&claims, issuer, cx.now())
    };
    let holder = match checked.await {
        Ok(holder) => holder,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if let Some(id) = &holder.once
        && let Err(refusal) = replay::use_once(cx.scope(), id, holder.usable_until).await?
    {
        return Ok(Err(refusal));
    }
    Ok(Ok(holder))
}

fn grant(name: &str, role: Role, holder: Holder) -> Result<Login, Error> {
    let mut metadata: BTreeMap<String, String> = holder.metadata;
    metadata.insert("role".to_owned(), name.to_owned());
    let renewal = serde_json::to_string(&Renewal { role: name.to_owned() })
        .map_err(|_| Error::internal("the renewal data cannot be written"))?;
    Ok(Login {
        display_name: holder.alias.clone(),
        alias: holder.alias,
        metadata,
        groups: holder.groups,
        params: role.token.params,
        renewal: Some(SecretString::new(renewal)),
        role: name.to_owned(),
    })
}

pub(crate) async fn renew(cx: &Scope<Jwt>, lease: &Lease) -> Result<(), Error> {
    let Renewal { role } = lease.data()?;
    let held = match Name::new(&role) {
        Some(name) => Role::load(cx, &name).await?,
        None => None,
    };
    held.map(drop).ok_or_else(|| Error::invalid(format!("role {role:?} does not exist during renewal")))
}

impl From<Refusal> for Error {
    /// An issuer that cannot be reached is nobody's fault at the door: worth trying again. All else is the token's.
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::KeysUnavailable(_) => Self::Unavailable(refusal.to_string()),
            refusal => Self::Invalid(refusal.to_string()),
        }
    }
}

/// Where clients begin and end a login through a browser. Whoever tries it has no token yet, and would only be told that
/// permission is denied.
pub(crate) async fn refuse_browser(cx: Cx<Jwt>, (): ()) -> Result<engine::Done, Error> {
    let mount = &cx.mount().path;
    Err(Error::invalid(format!(
        "this server has no OIDC login through a browser: send a token of the issuer to {mount}login, with a role of role_type \"jwt\""
    )))
}
