//! `oidc/config`: who the tokens say that they are from.

use engine::{Answer, Cx, Data, Error, Scope};
use serde::{Deserialize, Serialize};
use storage::Key;
use url::Url;

use crate::{Identity, Routes, Verb};

pub(crate) fn routes(routes: Routes<Identity>) -> Routes<Identity> {
    routes.on(Verb::Read, "oidc/config", "Show the issuer of identity tokens.", read).on(
        Verb::Write,
        "oidc/config",
        "Set the issuer of identity tokens.",
        write,
    )
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Config {
    issuer: String,
}

fn at() -> Key {
    Key::new("sys/identity/oidc/config")
}

async fn load(cx: &Scope<Identity>) -> Result<Config, Error> {
    Ok(cx.view().tx().get_json(&at()).await?.unwrap_or_default())
}

/// The `iss` of tokens: below the address that is set, or below the server's own.
pub(crate) async fn issuer(cx: &Scope<Identity>) -> Result<String, Error> {
    let set = load(cx).await?.issuer;
    let address = if set.is_empty() { cx.engine().program.address() } else { set };
    Ok(format!("{}/v1/{}identity/oidc", address.trim_end_matches('/'), cx.mount().namespace.path()))
}

async fn read(cx: Cx<Identity>, (): ()) -> Result<Data<Config>, Error> {
    Ok(Data(load(cx.scope()).await?))
}

async fn write(cx: Cx<Identity>, (): (), config: Config) -> Result<Answer, Error> {
    if !config.issuer.is_empty() {
        check(&config.issuer)?;
        cx.warn(
            "If \"issuer\" is set explicitly, all tokens must be validated against that address. Setting issuer to \"\" \
             restores the default, the address of this server.",
        );
    }
    cx.view().tx().put_json(at(), &config)?;
    Ok(Answer::default())
}

fn check(issuer: &str) -> Result<(), Error> {
    let wrong = || {
        Error::invalid(
            "invalid issuer, which must include only a scheme, host, and optional port (e.g. https://example.com:8200)",
        )
    };
    let url = Url::parse(issuer).map_err(|_| wrong())?;
    let bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
    let nobody = url.username().is_empty() && url.password().is_none();
    if bare && nobody && url.has_host() && matches!(url.scheme(), "http" | "https") { Ok(()) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_issuer_is_an_address_and_nothing_more() {
        for good in ["https://a.example", "http://127.0.0.1:8200", "https://a.example:8200/"] {
            assert!(super::check(good).is_ok(), "{good}");
        }
        for bad in
            ["a.example", "ftp://a.example", "https://a/b", "https://a?b", "https://a#b", "https://u:p@a", "https://"]
        {
            assert!(super::check(bad).is_err(), "{bad}");
        }
    }
}
