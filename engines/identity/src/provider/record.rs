//! `oidc/provider/{name}`: who is served, and which scopes.

use std::collections::BTreeSet;

use api::{CommaList, Name};
use engine::{Cx, Data, Done, Error, Keys, Scope};
use serde::{Deserialize, Serialize};
use storage::{Key, Tx};
use url::Url;

use super::scope;
use crate::{Identity, Paging, Routes, Verb, shown};

pub(crate) fn routes(routes: Routes<Identity>) -> Routes<Identity> {
    routes
        .on(Verb::List, "oidc/provider", "List the OIDC providers.", list)
        .on(Verb::Read, "oidc/provider/{name}", "Show an OIDC provider.", read)
        .on(Verb::Write, "oidc/provider/{name}", "Create or change an OIDC provider.", write)
        .exists(exists)
        .on(Verb::Delete, "oidc/provider/{name}", "Remove an OIDC provider.", delete)
}

/// A provider, as stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Provider {
    /// The address that its tokens are from; empty is this server's.
    pub(crate) issuer: String,
    /// Whom it serves; `*` is all.
    pub(crate) allowed_client_ids: Vec<String>,
    /// Which scopes can be asked for.
    pub(crate) scopes_supported: Vec<String>,
}

impl Provider {
    pub(crate) fn serves(&self, client_id: &str) -> bool {
        self.allowed_client_ids.iter().any(|id| id == "*" || id == client_id)
    }

    /// The `iss` of its tokens.
    pub(crate) fn issuer(&self, cx: &Scope<Identity>, name: &Name) -> String {
        let own = cx.engine().program.address();
        let address = if self.issuer.is_empty() { own } else { self.issuer.clone() };
        let (address, above) = (address.trim_end_matches('/'), cx.mount().namespace.path());
        format!("{address}/v1/{above}identity/oidc/provider/{}", name.as_str())
    }
}

const PREFIX: &str = "sys/identity/oidc/provider/";
/// The provider that is always there, and serves all.
const DEFAULT: &str = "default";

fn at(name: &str) -> Key {
    Key::from(format!("{PREFIX}{name}"))
}

pub(crate) async fn load(tx: &Tx, name: &Name) -> Result<Option<Provider>, Error> {
    let known = tx.get_json(&at(name.as_str())).await?;
    let default = || Provider { allowed_client_ids: vec!["*".to_owned()], ..Provider::default() };
    Ok(known.or_else(|| (name.as_str() == DEFAULT).then(default)))
}

/// Every provider with its name.
pub(crate) async fn all(tx: &std::sync::Arc<Tx>) -> Result<Vec<(String, Provider)>, Error> {
    let mut found: Vec<(String, Provider)> = crate::stored(tx, PREFIX).await?;
    if found.iter().all(|(name, _)| name != DEFAULT)
        && let Some(name) = Name::new(DEFAULT)
        && let Some(provider) = load(tx, &name).await?
    {
        found.push((DEFAULT.to_owned(), provider));
        found.sort_by(|one, other| one.0.cmp(&other.0));
    }
    Ok(found)
}

#[derive(Serialize)]
struct Shown {
    issuer: String,
    allowed_client_ids: Vec<String>,
    scopes_supported: Vec<String>,
}

fn show(cx: &Scope<Identity>, name: &str, provider: Provider) -> Shown {
    let issuer = Name::new(name).map(|name| provider.issuer(cx, &name)).unwrap_or_default();
    Shown { issuer, allowed_client_ids: provider.allowed_client_ids, scopes_supported: provider.scopes_supported }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Listing {
    after: Option<String>,
    limit: Option<api::Count>,
    allowed_client_id: Option<String>,
}

async fn list(cx: Cx<Identity>, (): (), listing: Listing) -> Result<Keys, Error> {
    let paging = Paging { after: listing.after, limit: listing.limit };
    let wanted = |provider: &Provider| listing.allowed_client_id.as_deref().is_none_or(|id| provider.serves(id));
    let all = all(cx.view().tx()).await?.into_iter();
    let page = all
        .filter(|(name, provider)| paging.after().is_none_or(|after| name.as_str() > after) && wanted(provider))
        .take(paging.limit());
    shown::keys(page.map(|(name, provider)| {
        let shown = show(cx.scope(), &name, provider);
        (name, shown)
    }))
}

async fn exists(cx: Cx<Identity>, name: Name) -> Result<bool, Error> {
    Ok(load(cx.view().tx(), &name).await?.is_some())
}

async fn read(cx: Cx<Identity>, name: Name) -> Result<Option<Data<Shown>>, Error> {
    let provider = load(cx.view().tx(), &name).await?;
    Ok(provider.map(|provider| Data(show(cx.scope(), name.as_str(), provider))))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ProviderBody {
    issuer: Option<String>,
    allowed_client_ids: Option<CommaList>,
    scopes_supported: Option<CommaList>,
}

async fn write(cx: Cx<Identity>, name: Name, body: ProviderBody) -> Result<Done, Error> {
    let tx = cx.view().tx();
    let mut provider = load(tx, &name).await?.unwrap_or_default();
    if let Some(issuer) = body.issuer {
        check(&issuer)?;
        provider.issuer = issuer;
    }
    provider.allowed_client_ids = body.allowed_client_ids.map_or(provider.allowed_client_ids, |ids| ids.0);
    if let Some(scopes) = body.scopes_supported {
        let scopes: BTreeSet<String> = scopes.0.into_iter().collect();
        for scope in &scopes {
            if scope::load(tx, scope).await?.is_none() {
                return Err(Error::invalid("scopes_supported: there is no scope with this name"));
            }
        }
        provider.scopes_supported = scopes.into_iter().collect();
    }
    tx.put_json(at(name.as_str()), &provider)?;
    Ok(Done)
}

fn check(issuer: &str) -> Result<(), Error> {
    let bare = |url: &Url| matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
    let good = |url: &Url| bare(url) && url.has_host() && matches!(url.scheme(), "http" | "https");
    match issuer.is_empty() || Url::parse(issuer).is_ok_and(|url| good(&url) && url.username().is_empty()) {
        true => Ok(()),
        false => Err(Error::invalid(
            "invalid issuer, which must include only a scheme, host, and optional port (e.g. https://example.com:8200)",
        )),
    }
}

async fn delete(cx: Cx<Identity>, name: Name) -> Result<Done, Error> {
    if name.as_str() == DEFAULT {
        return Err(Error::invalid("deletion of OIDC provider \"default\" not allowed"));
    }
    cx.view().tx().delete(at(name.as_str()));
    Ok(Done)
}
