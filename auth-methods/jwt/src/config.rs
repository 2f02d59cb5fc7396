//! `config`: where keys come from, and what is asked of every token.

use api::{CommaList, Flag, Pairs};
use engine::{Cx, Data, Done, Error, Scope};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    Jwt,
    algorithm::{ALGORITHMS, Algorithm},
    fetch::Endpoint,
    keys::{Keys, Source},
};

/// The configuration of a mount, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Config {
    pub(crate) source: Source,
    /// The issuer that tokens must name; empty asks for the one of the discovery document, if there is one.
    pub(crate) bound_issuer: String,
    /// The algorithms taken; empty takes all.
    pub(crate) algorithms: Vec<Algorithm>,
    /// The role of logins that name none; empty is none.
    pub(crate) default_role: String,
    /// Kept for clients that set it; it concerns the browser login alone.
    pub(crate) namespace_in_state: bool,
}

impl Config {
    pub(crate) async fn load(cx: &Scope<Jwt>) -> Result<Option<Self>, Error> {
        Ok(cx.view().get_json(KEY).await?)
    }
}

const KEY: &str = "config";

/// The body of a write. The whole configuration is replaced.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct NewConfig {
    bound_issuer: Option<String>,
    default_role: Option<String>,
    jwks_ca_pem: Option<String>,
    jwks_pairs: Option<Vec<Pair>>,
    jwks_url: Option<String>,
    jwt_supported_algs: CommaList,
    jwt_validation_pubkeys: CommaList,
    namespace_in_state: Option<Flag>,
    oidc_client_id: Option<String>,
    oidc_client_secret: Option<secret::SecretString>,
    oidc_discovery_ca_pem: Option<String>,
    oidc_discovery_url: Option<String>,
    oidc_response_mode: Option<String>,
    oidc_response_types: CommaList,
    provider_config: Pairs,
    skip_jwks_validation: Flag,
}

#[derive(Debug, Deserialize)]
struct Pair {
    jwks_url: String,
    #[serde(default)]
    jwks_ca_pem: Option<String>,
}

pub(crate) async fn write(cx: Cx<Jwt>, (): (), new: NewConfig) -> Result<Done, Error> {
    new.refuse_browser_login()?;
    let try_out = !new.skip_jwks_validation.0;
    let config = new.into_config()?;
    let keys = Keys::new(&config.source, cx.clock()).map_err(|error| wrong_source(&config.source, &error))?;
    if try_out {
        keys.try_out().await.map_err(|error| wrong_source(&config.source, &error))?;
    }
    cx.view().put_json(KEY, &config)?;
    Ok(Done)
}

pub(crate) async fn read(cx: Cx<Jwt>, (): ()) -> Result<Option<Data<Value>>, Error> {
    Ok(Config::load(cx.scope()).await?.map(|config| Data(config.show())))
}

impl NewConfig {
    /// Better said now than found out by people whose browser login does not work.
    fn refuse_browser_login(&self) -> Result<(), Error> {
        let set = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        let secret_set = self.oidc_client_secret.as_ref().is_some_and(|secret| !secret.is_empty());
        let field = if set(&self.oidc_client_id) {
            "oidc_client_id"
        } else if secret_set {
            "oidc_client_secret"
        } else if set(&self.oidc_response_mode) {
            "oidc_response_mode"
        } else if !self.oidc_response_types.is_empty() {
            "oidc_response_types"
        } else if !self.provider_config.0.is_empty() {
            "provider_config"
        } else {
            return Ok(());
        };
        Err(Error::invalid(format!(
            "{field} belongs to the OIDC browser login, which this server does not have: leave it out; tokens of the issuer are taken at login"
        )))
    }

    fn into_config(self) -> Result<Config, Error> {
        let text = |text: Option<String>| text.unwrap_or_default().trim().to_owned();
        let default_role = text(self.default_role).to_ascii_lowercase();
        let bound_issuer = text(self.bound_issuer);
        let namespace_in_state = self.namespace_in_state.is_none_or(|flag| flag.0);
        let algorithms = algorithms(&self.jwt_supported_algs)?;
        let endpoint =
            |url: String, ca_pem: Option<String>, discovery| Endpoint { url, ca_pem: text(ca_pem), discovery };
        let mut sources = Vec::new();
        let (discovery_url, jwks_url) = (text(self.oidc_discovery_url), text(self.jwks_url));
        if !discovery_url.is_empty() {
            sources.push(Source::Published(vec![endpoint(discovery_url, self.oidc_discovery_ca_pem, true)]));
        }
        if !jwks_url.is_empty() {
            sources.push(Source::Published(vec![endpoint(jwks_url, self.jwks_ca_pem, false)]));
        }
        let pairs = self.jwks_pairs.unwrap_or_default();
        if pairs.len() > MAX_SOURCES {
            return Err(Error::invalid(format!("jwks_pairs takes at most {MAX_SOURCES} entries")));
        }
        if !pairs.is_empty() {
            let endpoints = pairs.into_iter().map(|pair| endpoint(pair.jwks_url, pair.jwks_ca_pem, false));
            sources.push(Source::Published(endpoints.collect()));
        }
        if !self.jwt_validation_pubkeys.is_empty() {
            sources.push(Source::Given(self.jwt_validation_pubkeys.0));
        }
        let source = match (sources.pop(), sources.is_empty()) {
            (Some(source), true) => source,
            _ => {
                return Err(Error::invalid(
                    "exactly one of 'jwt_validation_pubkeys', 'jwks_url', 'jwks_pairs' or 'oidc_discovery_url' must be set",
                ));
            }
        };
        Ok(Config { source, bound_issuer, algorithms, default_role, namespace_in_state })
    }
}

/// The most key sets of one mount: each login may have to look at all of them.
const MAX_SOURCES: usize = 16;

fn algorithms(names: &[String]) -> Result<Vec<Algorithm>, Error> {
    let parse = |name: &String| {
        name.parse().map_err(|()| {
            let known = ALGORITHMS.iter().map(|algorithm| algorithm.name()).collect::<Vec<_>>().join(", ");
            Error::invalid(format!("invalid supported algorithm in jwt_supported_algs: use {known}"))
        })
    };
    names.iter().map(parse).collect()
}

fn wrong_source(source: &Source, error: &dyn std::fmt::Display) -> Error {
    Error::invalid(match source {
        Source::Given(_) => error.to_string(),
        Source::Published(endpoints) => match endpoints.as_slice() {
            [one] if one.discovery => format!("error checking oidc discovery URL: {error}"),
            [_] => format!("error checking jwks URL: {error}"),
            _ => format!("error checking a jwks URL of jwks_pairs: {error}"),
        },
    })
}

impl Config {
    fn show(&self) -> Value {
        let mut data = json!({
            "bound_issuer": self.bound_issuer,
            "default_role": self.default_role,
            "jwks_ca_pem": "",
            "jwks_pairs": [],
            "jwks_url": "",
            "jwt_supported_algs": self.algorithms,
            "jwt_validation_pubkeys": [],
            "namespace_in_state": self.namespace_in_state,
            "oidc_client_id": "",
            "oidc_discovery_ca_pem": "",
            "oidc_discovery_url": "",
            "oidc_response_mode": "",
            "oidc_response_types": [],
            "provider_config": {},
        });
        let mut put = |name: &str, value: Value| {
            if let Some(slot) = data.get_mut(name) {
                *slot = value;
            }
        };
        match &self.source {
            Source::Given(keys) => put("jwt_validation_pubkeys", json!(keys)),
            Source::Published(endpoints) => match endpoints.as_slice() {
                [one] if one.discovery => {
                    put("oidc_discovery_url", json!(one.url));
                    put("oidc_discovery_ca_pem", json!(one.ca_pem));
                }
                [one] => {
                    put("jwks_url", json!(one.url));
                    put("jwks_ca_pem", json!(one.ca_pem));
                }
                several => {
                    let pair = |one: &Endpoint| json!({ "jwks_url": one.url, "jwks_ca_pem": one.ca_pem });
                    put("jwks_pairs", several.iter().map(pair).collect());
                }
            },
        }
        data
    }
}
