//! Fetching an issuer's keys: bounded in time and size, from the configured place and nowhere else.

use std::{net::IpAddr, time::Duration};

use clock::Clock;
use futures::future::{Either, select};
use reqwest::{Certificate, Client, redirect};
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use crate::key::{Key, KeyError};

/// A place that publishes keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Endpoint {
    /// The URL of a key set, or of an issuer that has a discovery document.
    pub(crate) url: String,
    /// Certificates to trust instead of the system's; empty takes the system's.
    #[serde(default)]
    pub(crate) ca_pem: String,
    /// Whether `url` is an issuer.
    #[serde(default)]
    pub(crate) discovery: bool,
}

/// Fetches the keys of an endpoint.
#[derive(Clone)]
pub(crate) struct Fetcher {
    endpoint: Endpoint,
    url: Url,
    client: Client,
    clock: Clock,
}

impl Fetcher {
    /// Checks the URL and the certificates. Nothing is sent yet.
    pub(crate) fn new(endpoint: Endpoint, clock: Clock) -> Result<Self, FetchError> {
        let url = match endpoint.discovery {
            false => checked(&endpoint.url)?,
            true => checked(&format!("{}/.well-known/openid-configuration", endpoint.url.trim_end_matches('/')))?,
        };
        let client = client(&endpoint, &url)?;
        Ok(Self { endpoint, url, client, clock })
    }

    /// The issuer that tokens must name, where the configuration tells it.
    pub(crate) fn issuer(&self) -> Option<&str> {
        self.endpoint.discovery.then_some(self.endpoint.url.as_str())
    }

    /// The keys as they are published now. Gives up after [`TIME_LIMIT`].
    pub(crate) async fn keys(&self) -> Result<Vec<Key>, FetchError> {
        let limit = self.clock.sleep(TIME_LIMIT);
        let fetch = self.fetch();
        let (limit, fetch) = (std::pin::pin!(limit), std::pin::pin!(fetch));
        // The limit is polled first, so that it runs before the first byte is sent.
        match select(limit, fetch).await {
            Either::Left(((), _)) => Err(FetchError::TooSlow),
            Either::Right((keys, _)) => keys,
        }
    }

    async fn fetch(&self) -> Result<Vec<Key>, FetchError> {
        let url = match self.endpoint.discovery {
            false => self.url.clone(),
            true => self.discover().await?,
        };
        let body = self.get(url).await?;
        Ok(Key::from_jwks(&body)?)
    }

    async fn discover(&self) -> Result<Url, FetchError> {
        let body = self.get(self.url.clone()).await?;
        let document: Discovery = serde_json::from_slice(&body).map_err(|_| FetchError::NotADiscoveryDocument)?;
        // Else one issuer could hand out tokens in the name of another.
        if document.issuer != self.endpoint.url {
            return Err(FetchError::OtherIssuer);
        }
        checked(&document.jwks_uri)
    }

    async fn get(&self, url: Url) -> Result<Vec<u8>, FetchError> {
        let request = self.client.get(url).header(reqwest::header::ACCEPT, "application/json");
        let mut response = request.send().await.map_err(unreachable)?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > MAX_BODY {
                return Err(FetchError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// Why keys could not be fetched. Fit for operators; none of it quotes an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FetchError {
    /// The configured certificates cannot be read.
    #[error("the CA certificates are not PEM certificates")]
    BadCa,
    /// The answer cannot be used.
    #[error("{0}")]
    Keys(#[from] KeyError),
    /// The answer is no discovery document.
    #[error("the issuer's answer is no discovery document")]
    NotADiscoveryDocument,
    /// The discovery document names another issuer.
    #[error("the discovery document names another issuer than the configured URL")]
    OtherIssuer,
    /// Another status than 200.
    #[error("the answer has status {0} instead of 200")]
    Status(u16),
    /// The answer is larger than taken.
    #[error("the answer is larger than {MAX_BODY} bytes")]
    TooLarge,
    /// No answer in time.
    #[error("no complete answer within {} seconds", TIME_LIMIT.as_secs())]
    TooSlow,
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Unreachable(String),
    /// The URL is none that keys may come from.
    #[error("{0}")]
    Url(&'static str),
}

/// The longest wait for an answer, discovery included.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(10);
/// The largest answer, in bytes.
pub(crate) const MAX_BODY: usize = 1024 * 1024;
/// The most redirects that are followed, all of them within the same origin.
const MAX_REDIRECTS: usize = 3;

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// A URL that keys may come from: `https`, or `http` to this very machine.
fn checked(text: &str) -> Result<Url, FetchError> {
    let url = Url::parse(text).map_err(|_| FetchError::Url("it is not a URL"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(FetchError::Url("the URL must not carry a user name or password"));
    }
    if url.fragment().is_some() {
        return Err(FetchError::Url("the URL must not have a fragment"));
    }
    let loopback = match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if loopback => Ok(url),
        _ => Err(FetchError::Url("the URL must begin with https:// (http:// is taken for the loopback address only)")),
    }
}

fn client(endpoint: &Endpoint, url: &Url) -> Result<Client, FetchError> {
    let same_origin = redirect::Policy::custom(|attempt| {
        let origin = attempt.previous().first().map(Url::origin);
        if attempt.previous().len() > MAX_REDIRECTS || origin != Some(attempt.url().origin()) {
            return attempt.error("redirected to another host");
        }
        attempt.follow()
    });
    let mut builder = Client::builder().redirect(same_origin).referer(false);
    if !endpoint.ca_pem.trim().is_empty() {
        let certificates = Certificate::from_pem_bundle(endpoint.ca_pem.as_bytes()).map_err(|_| FetchError::BadCa)?;
        if certificates.is_empty() {
            return Err(FetchError::BadCa);
        }
        builder = builder.tls_certs_only(certificates);
    } else if url.scheme() == "http" {
        // Loopback without TLS needs neither the system's certificates nor a proxy.
        builder = builder.tls_certs_only([]).no_proxy();
    }
    builder.build().map_err(unreachable)
}

fn unreachable(error: reqwest::Error) -> FetchError {
    // The innermost cause says most; the URL is the operator's own and known to whoever reads this.
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    FetchError::Unreachable(cause.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_over_https_or_from_this_machine() {
        for good in
            ["https://id.example.com/keys?x=1", "http://127.0.0.1:8080/jwks", "http://[::1]/", "http://localhost/"]
        {
            assert!(checked(good).is_ok(), "{good}");
        }
        let bad = [
            "",
            "id.example.com/keys",
            "http://id.example.com/keys",
            "http://localhost.example.com/",
            "http://127.0.0.1.example.com/",
            "http://10.0.0.1/",
            "file:///etc/passwd",
            "ftp://127.0.0.1/",
            "https://user:pass@id.example.com/",
            "https://id.example.com/#x",
        ];
        for bad in bad {
            assert!(checked(bad).is_err(), "{bad}");
        }
    }
}
