//! Typed client of the HTTP API.
//!
//! [`Config`] says where the server is and who asks, mostly from the environment (`STRONGROOM_*`, then `VAULT_*`);
//! [`Client`] sends requests, retries what may pass, and answers with a [`Response`] or an [`Error`] that carries its
//! remedy. It speaks to any server of the Vault API. The token is a secret throughout: it is never printed, and its
//! header is marked sensitive.

mod config;
mod error;
mod response;
mod retry;
mod transport;

use std::{
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
};

use api::{Auth, ReqPath, Verb};
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use reqwest::{
    Method,
    header::{ACCEPT, CONTENT_TYPE, HOST, HeaderName, HeaderValue},
};
use secret::SecretString;
use serde_json::Value;
use url::Url;

pub use config::{Config, DEFAULT_ADDRESS, token_file};
pub use error::{Error, Fault, Result};
pub use response::Response;

/// A server and the right to ask it. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    token: Option<Arc<SecretString>>,
    namespace: Option<String>,
    wrap_ttl: Option<String>,
}

/// The bytes of a reply as they arrive.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

impl Client {
    /// Prepares the connection; nothing is sent yet. Fails on an address, certificate or key that cannot be used.
    pub fn new(config: Config) -> Result<Self> {
        let transport::Transport { http, base, host, socket } = transport::build(&config)?;
        let mut headers = Vec::with_capacity(config.headers.len());
        for (name, value) in &config.headers {
            let wrong =
                || Error::Config { message: format!("header {name:?} is not valid: use NAME=VALUE in plain ASCII") };
            headers.push((
                name.parse::<HeaderName>().map_err(|_| wrong())?,
                value.parse::<HeaderValue>().map_err(|_| wrong())?,
            ));
        }
        let retry = retry::Retry::new(config.max_retries, config.retry_wait);
        let shared = Arc::new(Shared { http, base, host, socket, headers, retry, timeout: config.timeout });
        Ok(Self {
            shared,
            token: config.token.filter(|token| !token.is_empty()).map(Arc::new),
            namespace: config.namespace,
            wrap_ttl: config.wrap_ttl,
        })
    }

    /// The same client with another token.
    #[must_use]
    pub fn with_token(&self, token: SecretString) -> Self {
        Self { token: Some(Arc::new(token)), ..self.clone() }
    }

    /// The same client without a token.
    #[must_use]
    pub fn without_token(&self) -> Self {
        Self { token: None, ..self.clone() }
    }

    /// The same client whose replies come wrapped, `ttl` being a duration such as `5m`; `None` for plain replies.
    #[must_use]
    pub fn with_wrap_ttl(&self, ttl: Option<String>) -> Self {
        Self { wrap_ttl: ttl, ..self.clone() }
    }

    /// The token that is sent, if there is one.
    pub fn token(&self) -> Option<&SecretString> {
        self.token.as_deref()
    }

    /// The namespace that is sent, if there is one.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// The wrapping TTL that is sent, if there is one.
    pub fn wrap_ttl(&self) -> Option<&str> {
        self.wrap_ttl.as_deref()
    }

    /// The socket in the file system that requests go through, if they do.
    pub fn socket(&self) -> Option<&Path> {
        self.shared.socket.as_deref()
    }

    /// Reads `path` (below `/v1/`).
    pub async fn read(&self, path: &str, query: &[(&str, &str)]) -> Result<Response> {
        self.request(Verb::Read, path, query, None).await
    }

    /// Lists the names below `path`; a path with no names is the API's 404.
    pub async fn list(&self, path: &str) -> Result<Response> {
        self.request(Verb::List, path, &[], None).await
    }

    /// Writes a JSON object to `path`.
    pub async fn write(&self, path: &str, body: &Value) -> Result<Response> {
        self.request(Verb::Write, path, &[], Some(body)).await
    }

    /// Merges a JSON object into what is at `path`.
    pub async fn patch(&self, path: &str, body: &Value) -> Result<Response> {
        self.request(Verb::Patch, path, &[], Some(body)).await
    }

    /// Deletes `path`.
    pub async fn delete(&self, path: &str) -> Result<Response> {
        self.request(Verb::Delete, path, &[], None).await
    }

    /// Sends any request and reads the whole reply (64 MiB at most). A 404 that carries data or warnings is a reply
    /// (its `status` says so); any other status from 400 on is [`Error::Api`].
    ///
    /// Retried with back-off, at most `max_retries` times: 412, 429, 5xx except 501, and failures to connect; lost
    /// connections for reads and lists only, since the server may have done the rest.
    pub async fn request(
        &self,
        verb: Verb,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Response> {
        let url = self.url(verb, path, query)?;
        let body = body.map(|body| Bytes::from(body.to_string()));
        let mut attempt = 0;
        loop {
            let outcome = match self.send(verb, url.clone(), body.clone(), Some(self.shared.timeout)).await {
                Ok(reply) => response::receive(verb, &url, reply).await,
                Err(error) => Err(error),
            };
            let error = match outcome {
                Ok(received) if received.is_success() => return received.into_response(),
                Ok(received) => {
                    let retry_after = received.retry_after;
                    match self.shared.retry.after_status(attempt, received.status, retry_after) {
                        Some(wait) => {
                            attempt += 1;
                            tokio::time::sleep(wait).await;
                            continue;
                        }
                        None => return Err(received.into_error()),
                    }
                }
                Err(error) => error,
            };
            match self.shared.retry.after_error(attempt, verb, &error) {
                Some(wait) => {
                    attempt += 1;
                    tokio::time::sleep(wait).await;
                }
                None => return Err(error),
            }
        }
    }

    /// Sends a request whose reply is read as it arrives, without a time limit and without retry. The reply's status
    /// is checked before the stream is returned.
    pub async fn stream(&self, verb: Verb, path: &str, body: Option<&Value>) -> Result<ByteStream> {
        self.stream_query(verb, path, &[], body).await
    }

    /// As [`Client::stream`], with query parameters.
    pub async fn stream_query(
        &self,
        verb: Verb,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<ByteStream> {
        let url = self.url(verb, path, query)?;
        let reply = self.send(verb, url.clone(), body.map(|body| Bytes::from(body.to_string())), None).await?;
        if reply.status().as_u16() >= 400 {
            return Err(response::receive(verb, &url, reply).await?.into_error());
        }
        let address = self.shared.place(&url);
        Ok(reply.bytes_stream().map_err(move |error| Error::transport(&address, error)).boxed())
    }

    /// Sends a file as the body, however large it is, and waits for as long as it takes.
    pub async fn upload(&self, path: &str, query: &[(&str, &str)], file: &Path) -> Result<Response> {
        let url = self.url(Verb::Write, path, query)?;
        let unreadable = |error| Error::Config { message: format!("cannot read {}: {error}", file.display()) };
        let opened = tokio::fs::File::open(file).await.map_err(unreadable)?;
        let request = self.prepare(Verb::Write, url.clone())?.header(CONTENT_TYPE, "application/gzip").body(opened);
        let address = self.shared.place(&url);
        let reply = request.send().await.map_err(|error| Error::transport(&address, error))?;
        let received = response::receive(Verb::Write, &url, reply).await?;
        if received.is_success() { received.into_response() } else { Err(received.into_error()) }
    }

    /// Logs in at `auth/<mount_path>` (as in `approle/login` or `jwt/login`; the `auth/` may be given too) and returns
    /// the new token. The client keeps its own; see [`Client::with_token`].
    pub async fn login(&self, mount_path: &str, body: &Value) -> Result<Auth> {
        let path = mount_path.trim_start_matches('/');
        let path = if path.starts_with("auth/") { path.to_owned() } else { format!("auth/{path}") };
        let response = self.without_token().write(&path, body).await?;
        response.envelope.and_then(|envelope| envelope.auth).ok_or_else(|| Error::Decode {
            what: format!("the reply of {path}"),
            message: "it holds no token; is this a login path?".to_owned(),
        })
    }

    /// Fetches a wrapped reply, once, with its single-use token.
    pub async fn unwrap(&self, wrapping_token: SecretString) -> Result<Response> {
        let client = self.with_token(wrapping_token).with_wrap_ttl(None);
        client.request(Verb::Write, "sys/wrapping/unwrap", &[], None).await
    }

    /// The URL that a request goes to. Fails on a path with `.`, `..`, empty or unprintable parts.
    pub fn url(&self, verb: Verb, path: &str, query: &[(&str, &str)]) -> Result<Url> {
        let path = ReqPath::new(path).map_err(|source| Error::Path { path: path.to_owned(), source })?;
        let mut url = self.shared.base.clone();
        let prefix = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{prefix}/v1/{}", transport::encode_path(path.as_str())));
        if matches!(verb, Verb::List | Verb::Scan) || !query.is_empty() {
            let mut pairs = url.query_pairs_mut();
            if verb == Verb::List {
                pairs.append_pair("list", "true");
            }
            if verb == Verb::Scan {
                pairs.append_pair("scan", "true");
            }
            pairs.extend_pairs(query);
        }
        Ok(url)
    }

    async fn send(
        &self,
        verb: Verb,
        url: Url,
        body: Option<Bytes>,
        timeout: Option<std::time::Duration>,
    ) -> Result<reqwest::Response> {
        let address = self.shared.place(&url);
        let mut request = self.prepare(verb, url)?;
        if let Some(body) = body {
            let kind = if verb == Verb::Patch { "application/merge-patch+json" } else { "application/json" };
            request = request.header(CONTENT_TYPE, kind).body(body);
        }
        if let Some(timeout) = timeout.filter(|timeout| !timeout.is_zero()) {
            request = request.timeout(timeout);
        }
        request.send().await.map_err(|error| Error::transport(&address, error))
    }

    /// A request with all headers and no body.
    fn prepare(&self, verb: Verb, url: Url) -> Result<reqwest::RequestBuilder> {
        let mut request = self.shared.http.request(method(verb), url).header("X-Vault-Request", "true");
        request = request.header(ACCEPT, "application/json");
        if let Some(host) = &self.shared.host {
            request = request.header(HOST, host.clone());
        }
        if let Some(token) = &self.token {
            // EXPOSE: the token authenticates the request; its header is marked sensitive.
            let mut value = HeaderValue::from_str(token.expose().trim())
                .map_err(|_| Error::Config { message: "the token holds characters that no token has".to_owned() })?;
            value.set_sensitive(true);
            request = request.header("X-Vault-Token", value);
        }
        if let Some(namespace) = self.namespace.as_deref().filter(|namespace| !namespace.is_empty()) {
            request = request.header("X-Vault-Namespace", namespace);
        }
        if let Some(ttl) = self.wrap_ttl.as_deref().filter(|ttl| !ttl.is_empty()) {
            request = request.header("X-Vault-Wrap-TTL", ttl);
        }
        for (name, value) in &self.shared.headers {
            request = request.header(name, value.clone());
        }
        Ok(request)
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("base", &self.shared.base.as_str()).finish_non_exhaustive()
    }
}

/// The name of the HTTP method that `verb` is sent as.
pub fn method_name(verb: Verb) -> &'static str {
    match verb {
        Verb::Delete => "DELETE",
        Verb::List | Verb::Read | Verb::Scan => "GET",
        Verb::Patch => "PATCH",
        Verb::Write => "PUT",
    }
}

struct Shared {
    http: reqwest::Client,
    base: Url,
    /// The `Host` header, where it differs from the name in the URL.
    host: Option<HeaderValue>,
    socket: Option<PathBuf>,
    headers: Vec<(HeaderName, HeaderValue)>,
    retry: retry::Retry,
    timeout: std::time::Duration,
}

impl Shared {
    /// What an error message may name: the socket, or scheme, host and port of a URL.
    fn place(&self, url: &Url) -> String {
        match &self.socket {
            Some(path) => format!("unix://{}", path.display()),
            None => origin(url),
        }
    }
}

fn method(verb: Verb) -> Method {
    match verb {
        Verb::Delete => Method::DELETE,
        Verb::List | Verb::Read | Verb::Scan => Method::GET,
        Verb::Patch => Method::PATCH,
        Verb::Write => Method::PUT,
    }
}

/// Scheme, host and port of a URL.
fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}
