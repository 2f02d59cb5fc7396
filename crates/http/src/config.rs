//! What a listener is told.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use ipnet::IpNet;

use crate::{json, proxy_protocol::ProxyProtocol, response_headers::ResponseHeaders, unix::UnixSocket};

/// How to listen, and the limits of what is taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListenerConfig {
    /// Where to listen.
    pub address: Address,
    /// The certificate; `None` is plain HTTP.
    pub tls: Option<Tls>,
    /// The greatest body in bytes. 33,554,432.
    pub max_request_size: usize,
    /// How many bytes all bodies beyond 64 KiB may take together; more such bodies are refused for the moment.
    /// 268,435,456.
    pub max_large_bodies: usize,
    /// How long a request may take, from its head to the head of its reply. 90 seconds.
    pub max_request_duration: Duration,
    /// How long the head of a request may take to arrive, and a TLS handshake to end. 10 seconds.
    pub header_read_timeout: Duration,
    /// How long the body of a request may take to arrive; zero leaves it to `max_request_duration`. 30 seconds.
    pub read_timeout: Duration,
    /// For how long a client may take in nothing of a reply; zero waits for ever. Zero.
    pub write_timeout: Duration,
    /// Whether each request must have the header `X-Vault-Request`, which a browser or a server that was talked into
    /// fetching a page does not send. No.
    pub require_request_header: bool,
    /// How long a connection may be without a request. 5 minutes.
    pub idle_timeout: Duration,
    /// The limits of a JSON body.
    pub json: json::Limits,
    /// The greatest length of a token in bytes. 8 KiB.
    pub max_token_size: usize,
    /// How many connections there may be; more wait to be accepted. 8192.
    pub max_connections: usize,
    /// Which proxies may say whom they speak for; `None` believes nobody.
    pub forwarded_for: Option<ForwardedFor>,
    /// What the routes that need no token keep back. Nothing.
    pub open_routes: OpenRoutes,
    /// Whether connections begin with a header of the PROXY protocol, and whose are believed; `None` reads none.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Headers that replies get besides their own. None.
    pub response_headers: ResponseHeaders,
    /// The path of the namespace that every request goes into, as if its own lay in that one, without slashes around; `None`
    /// leaves it to the requests.
    pub namespace: Option<String>,
}

impl ListenerConfig {
    /// A plain listener at `address` with the usual limits.
    pub fn new(address: impl Into<Address>) -> Self {
        Self {
            address: address.into(),
            tls: None,
            max_request_size: 33_554_432,
            max_large_bodies: 268_435_456,
            max_request_duration: Duration::from_secs(90),
            header_read_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            write_timeout: Duration::ZERO,
            require_request_header: false,
            idle_timeout: Duration::from_secs(300),
            json: json::Limits::default(),
            max_token_size: 8 * 1024,
            max_connections: 8192,
            forwarded_for: None,
            open_routes: OpenRoutes::default(),
            proxy_protocol: None,
            response_headers: ResponseHeaders::default(),
            namespace: None,
        }
    }
}

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An address of the network. Port 0 takes any free port; [`Serving::address`](crate::Serving::address) says which.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(UnixSocket),
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl From<UnixSocket> for Address {
    fn from(socket: UnixSocket) -> Self {
        Self::Unix(socket)
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(socket) => socket.path.display().fmt(f),
        }
    }
}

/// What the routes that need no token keep back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenRoutes {
    /// What is not told of the server.
    pub redact: strongroom_core::Redact,
    /// Whether a rekey can be made with a token alone, at `sys/rotate/root/…`: without one, anybody could begin and end it.
    pub no_rekey: bool,
    /// Whether a root token can be made with a token alone, at `sys/generate-root-token/…`.
    pub no_generate_root: bool,
}

impl OpenRoutes {
    /// Whether a path of the key holders is closed.
    pub(crate) fn closes(self, path: &str) -> bool {
        let rekey = path.starts_with("sys/rekey/") || path.starts_with("sys/rekey-recovery-key/");
        self.no_rekey && rekey || self.no_generate_root && path.starts_with("sys/generate-root/")
    }
}

/// The certificate of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tls {
    /// A PEM file with the certificate and those between it and the root.
    pub cert_file: PathBuf,
    /// A PEM file with its private key.
    pub key_file: PathBuf,
    /// A PEM file with the authorities of client certificates; `None` asks for none.
    pub client_ca_file: Option<PathBuf>,
    /// Whether a client must show a certificate of one of these authorities.
    pub require_client_cert: bool,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// The newest version that is spoken.
    pub max_version: TlsVersion,
    /// The cipher suites of TLS 1.2 that are spoken, by their standard names; `None` is all that are sound. Those of TLS
    /// 1.3 are not for choosing.
    pub cipher_suites: Option<Vec<String>>,
}

impl Tls {
    /// TLS 1.2 or newer with these files, without client certificates.
    pub fn new(cert_file: impl AsRef<Path>, key_file: impl AsRef<Path>) -> Self {
        Self {
            cert_file: cert_file.as_ref().to_owned(),
            key_file: key_file.as_ref().to_owned(),
            client_ca_file: None,
            require_client_cert: false,
            min_version: TlsVersion::Tls12,
            max_version: TlsVersion::Tls13,
            cipher_suites: None,
        }
    }
}

/// A version of TLS. Older ones are not spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// 1.2.
    Tls12,
    /// 1.3.
    Tls13,
}

/// When the `X-Forwarded-For` header says where a request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ForwardedFor {
    /// The addresses of proxies that are believed.
    pub authorized: Vec<IpNet>,
    /// How many addresses from the right of the header are proxies, too.
    pub hop_skips: usize,
    /// Whether a request of a believed proxy without the header is refused; otherwise the proxy's own address counts.
    pub reject_not_present: bool,
    /// Whether the header from anybody else is refused; otherwise it is ignored.
    pub reject_not_authorized: bool,
}

impl ForwardedFor {
    /// Believes these proxies, and refuses what does not fit.
    pub fn new(authorized: Vec<IpNet>) -> Self {
        Self { authorized, hop_skips: 0, reject_not_present: true, reject_not_authorized: true }
    }

    /// As [`ForwardedFor::new`], of addresses and networks such as `10.0.0.0/8`; the error is the text that is neither.
    pub fn parse<'a>(authorized: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        networks(authorized).map(Self::new)
    }
}

/// Reads addresses and networks; the error is the text that is neither.
pub fn networks<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Vec<IpNet>, String> {
    let network = |text: &'a str| {
        let single = || text.parse::<std::net::IpAddr>().map(IpNet::from);
        text.parse::<IpNet>().or_else(|_| single()).map_err(|_| text.to_owned())
    };
    texts.into_iter().map(network).collect()
}
