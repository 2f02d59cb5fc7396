//! The HTTP client below: trust, identity, names, redirects.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use reqwest::{
    Certificate, Identity,
    dns::{Addrs, Name, Resolve, Resolving},
    header::HeaderValue,
    redirect,
};
use secret::Zeroizing;
use url::{Host, Url};

use crate::{Config, Error, Result};

/// What requests are sent with.
pub(crate) struct Transport {
    pub(crate) http: reqwest::Client,
    pub(crate) base: Url,
    /// The `Host` header, where the URL names another host.
    pub(crate) host: Option<HeaderValue>,
    /// The socket in the file system that all connections go through.
    pub(crate) socket: Option<PathBuf>,
}

/// Makes the HTTP client that `config` asks for.
pub(crate) fn build(config: &Config) -> Result<Transport> {
    let (mut base, socket) = parse_address(&config.address)?;
    let mut host = None;
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("strongroom/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(10))
        .redirect(redirect::Policy::custom(follow));
    if base.scheme() == "http" {
        // Nothing will be verified, so the system's certificates need not be there.
        builder = builder.tls_certs_only([]);
    } else if let Some(certificates) = authorities(config)? {
        builder = builder.tls_certs_only(certificates);
    }
    if config.skip_verify {
        builder = builder.tls_danger_accept_invalid_certs(true);
    }
    if let Some(identity) = identity(config)? {
        builder = builder.identity(identity);
    }
    if let Some(path) = &socket {
        builder = builder.unix_socket(path.as_path());
    }
    if let Some(name) = config.tls_server_name.as_deref().filter(|_| base.scheme() == "https") {
        // The library takes the name to check from the URL, so the URL gets it and the resolver leads it back.
        let port = base.port_or_known_default().unwrap_or(443);
        let target = base.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let authority = base.host_str().unwrap_or_default();
        host = HeaderValue::from_str(&format!("{authority}:{port}")).ok();
        match Host::parse(name) {
            Ok(Host::Domain(domain)) => base.set_host(Some(&domain)).map_err(|_| bad_server_name(name))?,
            _ => return Err(bad_server_name(name)),
        }
        builder = builder.dns_resolver(Detour { target, port });
    }
    let http = builder.build().map_err(|error| Error::Config { message: explain_build(&error) })?;
    Ok(Transport { http, base, host, socket })
}

/// Encodes a path of the API for a URL, keeping its slashes.
pub(crate) fn encode_path(path: &str) -> String {
    api::percent_escape(path, b"/-._~!$&'()*+,;=:@")
}

/// Where requests go: a URL, and the socket for `unix:///path`.
fn parse_address(address: &str) -> Result<(Url, Option<PathBuf>)> {
    let wrong = |why: &str| Error::Config {
        message: format!("address {address:?} is not valid: {why}; use a URL such as https://strongroom.example:8200"),
    };
    if let Some(path) = address.trim().strip_prefix("unix:") {
        let path = PathBuf::from(path.strip_prefix("//").unwrap_or(path));
        if !path.is_absolute() {
            return Err(wrong("a socket is named as in unix:///run/strongroom.sock"));
        }
        let url = Url::parse("http://localhost").map_err(|_| wrong("it is not a URL"))?;
        return Ok((url, Some(path)));
    }
    let url = Url::parse(address.trim()).map_err(|_| wrong("it is not a URL"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(wrong("it must begin with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("it must not hold a user name or password"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("it must not hold '?' or '#'"));
    }
    Ok((url, None))
}

/// A standby sends its callers on once; never from TLS to plain text.
fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let from_tls = attempt.previous().last().is_some_and(|url| url.scheme() == "https");
    if attempt.previous().len() > 1 || (from_tls && attempt.url().scheme() != "https") {
        attempt.stop()
    } else {
        attempt.follow()
    }
}

/// The authorities to trust instead of the system's.
fn authorities(config: &Config) -> Result<Option<Vec<Certificate>>> {
    if let Some(bytes) = &config.ca_bytes {
        return parse_certificates("the given CA certificate", bytes).map(Some);
    }
    if let Some(file) = &config.ca_cert {
        return parse_certificates(&file.display().to_string(), &read(file, "CA certificate")?).map(Some);
    }
    let Some(folder) = &config.ca_path else { return Ok(None) };
    let listing = std::fs::read_dir(folder).map_err(|error| unreadable(folder, "CA folder", &error))?;
    let mut certificates = Vec::new();
    for entry in listing {
        let path = entry.map_err(|error| unreadable(folder, "CA folder", &error))?.path();
        if path.is_file() {
            certificates.extend(parse_certificates(&path.display().to_string(), &read(&path, "CA certificate")?)?);
        }
    }
    if certificates.is_empty() {
        return Err(Error::Config { message: format!("CA folder {} holds no certificate", folder.display()) });
    }
    Ok(Some(certificates))
}

fn parse_certificates(name: &str, pem: &[u8]) -> Result<Vec<Certificate>> {
    let wrong = || Error::Config { message: format!("{name} holds no certificate in PEM form") };
    let certificates = Certificate::from_pem_bundle(pem).map_err(|_| wrong())?;
    if certificates.is_empty() { Err(wrong()) } else { Ok(certificates) }
}

fn identity(config: &Config) -> Result<Option<Identity>> {
    let (certificate, key) = match (&config.client_cert, &config.client_key) {
        (None, None) => return Ok(None),
        (Some(certificate), Some(key)) => (certificate, key),
        _ => {
            return Err(Error::Config {
                message: "a client certificate needs its key and a key its certificate: give both".to_owned(),
            });
        }
    };
    let mut pem = Zeroizing::new(read(certificate, "client certificate")?);
    pem.push(b'\n');
    pem.extend_from_slice(&Zeroizing::new(read(key, "client key")?));
    Identity::from_pem(&pem).map(Some).map_err(|_| Error::Config {
        message: format!("{} and {} are no certificate and key in PEM form", certificate.display(), key.display()),
    })
}

fn read(path: &Path, what: &str) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| unreadable(path, what, &error))
}

fn unreadable(path: &Path, what: &str, error: &std::io::Error) -> Error {
    Error::Config { message: format!("cannot read {what} {}: {error}", path.display()) }
}

fn bad_server_name(name: &str) -> Error {
    Error::Config { message: format!("TLS server name {name:?} is not a host name") }
}

/// The builder's own text says only that it failed; the cause says why.
fn explain_build(error: &reqwest::Error) -> String {
    let mut text = "cannot prepare the connection".to_owned();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text + "; where the system trusts no authorities, name one with STRONGROOM_CACERT"
}

/// Leads every name to one host.
struct Detour {
    target: String,
    port: u16,
}

impl Resolve for Detour {
    fn resolve(&self, _: Name) -> Resolving {
        let (target, port) = (self.target.clone(), self.port);
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((target.as_str(), port)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_encoded_whole() {
        assert_eq!(encode_path("secret/a b/%2e?x#y"), "secret/a%20b/%252e%3Fx%23y");
        assert_eq!(encode_path("secret/é/"), "secret/%C3%A9/");
    }

    #[test]
    fn addresses_that_cannot_be_used_say_why() {
        for address in ["", "localhost:8200", "ftp://x", "unix://run/x", "http://u:p@x", "https://x/?a=b", "https://"] {
            let error = parse_address(address).unwrap_err().to_string();
            assert!(error.contains("use a URL such as"), "{address}: {error}");
        }
        assert_eq!(parse_address("https://x:8200/prefix").unwrap().0.path(), "/prefix");
        for address in ["unix:///run/x", "unix:/run/x"] {
            assert_eq!(parse_address(address).unwrap().1.unwrap(), Path::new("/run/x"));
        }
    }
}
