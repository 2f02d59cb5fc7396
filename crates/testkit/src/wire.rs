//! Requests byte for byte: what a proper client would never send, and replies with nothing smoothed over.

use std::{
    fmt,
    io::{BufRead as _, BufReader, Read, Write},
    net::TcpStream,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use serde_json::Value;

use crate::server::Server;

/// A connection to a server with a token. It is opened when it is needed and again when the server closed it.
pub struct Wire {
    address: String,
    tls: Option<Arc<ClientConfig>>,
    token: String,
    namespace: String,
    open: Mutex<Option<BufReader<Box<dyn Stream>>>>,
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// A reply as it came.
pub struct Reply {
    /// The method and target that were asked for.
    pub asked: String,
    /// The status.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Status, headers and body.
type Answered = (u16, Vec<(String, String)>, Vec<u8>);

impl Wire {
    /// To `server`, with a token; empty for none.
    pub fn new(server: &Server, token: &str) -> Self {
        let address = server.address();
        let tls = address.starts_with("https://").then(|| {
            let pem = std::fs::read(server.ca_file()).expect("the authority's certificate");
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                roots.add(certificate.expect("a certificate")).expect("a certificate authority");
            }
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
            Arc::new(config.expect("TLS versions").with_root_certificates(roots).with_no_client_auth())
        });
        let address = address.split_once("//").map_or("", |(_, address)| address).to_owned();
        Self { address, tls, token: token.to_owned(), namespace: String::new(), open: Mutex::default() }
    }

    /// The same server and namespace with another token, on another connection.
    pub fn with_token(&self, token: &str) -> Self {
        self.other(token, &self.namespace)
    }

    /// The same server and token with a namespace that is named in the header of every request; empty for none.
    pub fn within(&self, namespace: &str) -> Self {
        self.other(&self.token, namespace)
    }

    fn other(&self, token: &str, namespace: &str) -> Self {
        let (address, tls) = (self.address.clone(), self.tls.clone());
        Self { address, tls, token: token.to_owned(), namespace: namespace.to_owned(), open: Mutex::default() }
    }

    /// The token that is sent.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Reads `path` (below `/v1/`).
    pub fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], None)
    }

    /// Lists below `path` with the verb LIST.
    pub fn list(&self, path: &str) -> Reply {
        self.send("LIST", path, &[], None)
    }

    /// Writes `body`.
    pub fn post(&self, path: &str, body: Value) -> Reply {
        self.send("POST", path, &[], Some(body.to_string().as_bytes()))
    }

    /// Writes nothing.
    pub fn post_nothing(&self, path: &str) -> Reply {
        self.send("POST", path, &[], None)
    }

    /// Merges `body` into what is there.
    pub fn patch(&self, path: &str, body: Value) -> Reply {
        let kind = [("Content-Type", "application/merge-patch+json")];
        self.send("PATCH", path, &kind, Some(body.to_string().as_bytes()))
    }

    /// Deletes `path`.
    pub fn delete(&self, path: &str) -> Reply {
        self.send("DELETE", path, &[], None)
    }

    /// Writes `body` and asks for a wrapped reply.
    pub fn wrapped(&self, ttl: &str, path: &str, body: Value) -> Reply {
        self.send("POST", path, &[("X-Vault-Wrap-TTL", ttl)], Some(body.to_string().as_bytes()))
    }

    /// Sends a request below `/v1/` with further headers.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Reply {
        self.send_to(method, &format!("/v1/{path}"), headers, body)
    }

    /// Sends a request to exactly this target. Panics if there is no answer.
    pub fn send_to(&self, method: &str, target: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Reply {
        self.try_send_to(method, target, headers, body)
            .unwrap_or_else(|error| panic!("{method} {target} has no answer: {error}"))
    }

    /// Sends a request to exactly this target.
    pub fn try_send_to(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> std::io::Result<Reply> {
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n", self.address);
        if !self.token.is_empty() {
            head.push_str(&format!("X-Vault-Token: {}\r\n", self.token));
        }
        if !self.namespace.is_empty() {
            head.push_str(&format!("X-Vault-Namespace: {}\r\n", self.namespace));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = body {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let reused = open.is_some();
        let first = self.exchange(&mut open, method, head.as_bytes(), body);
        let answered = match first {
            // The server may close a connection that was idle; that says nothing of this request.
            Err(_) if reused => self.exchange(&mut open, method, head.as_bytes(), body),
            other => other,
        };
        let (status, headers, body) = answered?;
        Ok(Reply { asked: format!("{method} {target}"), status, headers, body })
    }

    fn exchange(
        &self,
        open: &mut Option<BufReader<Box<dyn Stream>>>,
        method: &str,
        head: &[u8],
        body: Option<&[u8]>,
    ) -> std::io::Result<Answered> {
        let mut stream = match open.take() {
            Some(stream) => stream,
            None => self.connect()?,
        };
        stream.get_mut().write_all(head)?;
        // A server that refuses the head may close before it has read the body.
        let sent = stream.get_mut().write_all(body.unwrap_or_default()).and_then(|()| stream.get_mut().flush());
        let answered = receive(&mut stream, method == "HEAD");
        let (status, headers, body) = answered.map_err(|error| sent.err().unwrap_or(error))?;
        let closes = headers.iter().any(|(name, value)| name == "connection" && value.eq_ignore_ascii_case("close"));
        if !closes {
            *open = Some(stream);
        }
        Ok((status, headers, body))
    }

    fn connect(&self) -> std::io::Result<BufReader<Box<dyn Stream>>> {
        let tcp = TcpStream::connect(&self.address)?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        let Some(config) = &self.tls else { return Ok(BufReader::new(Box::new(tcp))) };
        let name = ServerName::try_from("127.0.0.1").expect("a server name");
        let session = ClientConnection::new(Arc::clone(config), name).map_err(std::io::Error::other)?;
        Ok(BufReader::new(Box::new(StreamOwned::new(session, tcp))))
    }
}

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(100);

type Received = (u16, Vec<(String, String)>, Vec<u8>);

fn receive(stream: &mut BufReader<Box<dyn Stream>>, head_only: bool) -> std::io::Result<Received> {
    let wrong = |what: &str| std::io::Error::other(format!("not HTTP: {what}"));
    let mut line = String::new();
    let mut next = |stream: &mut BufReader<Box<dyn Stream>>| {
        line.clear();
        match stream.read_line(&mut line)? {
            0 => Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof)),
            _ => Ok(line.trim_end().to_owned()),
        }
    };
    let first = next(stream)?;
    let status = first.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(|| wrong(&first))?;
    let mut headers = Vec::new();
    loop {
        let line = next(stream)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| wrong(&line))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let header = |name: &str| headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let mut body = Vec::new();
    if head_only || matches!(status, 100..200 | 204 | 304) {
        return Ok((status, headers, body));
    }
    if let Some(length) = header("content-length") {
        body.resize(length.parse().map_err(|_| wrong("content-length"))?, 0);
        stream.read_exact(&mut body)?;
    } else if header("transfer-encoding").is_some() {
        loop {
            let size = usize::from_str_radix(&next(stream)?, 16).map_err(|_| wrong("chunk"))?;
            let start = body.len();
            body.resize(start + size, 0);
            stream.read_exact(body.get_mut(start..).unwrap_or_default())?;
            next(stream)?;
            if size == 0 {
                break;
            }
        }
    } else {
        stream.read_to_end(&mut body)?;
    }
    Ok((status, headers, body))
}

impl Reply {
    /// The first header of this name (in lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{self}: the body is no JSON: {error}"))
    }

    /// What `errors` of the body says.
    pub fn errors(&self) -> Vec<String> {
        let json = self.json();
        let errors = json["errors"].as_array().unwrap_or_else(|| panic!("{self}: no errors"));
        errors.iter().map(|error| error.as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Fails unless the reply is as every reply has to be: with a request id, not to be stored, JSON by exactly its
    /// type, with a list of errors if it is one.
    pub fn must_be_lawful(&self) -> &Self {
        let id = self.header("x-strongroom-request-id").unwrap_or_else(|| panic!("{self}: no request id"));
        assert_eq!(id.len(), 36, "{self}: {id}");
        assert_eq!(self.header("cache-control"), Some("no-store"), "{self}");
        if self.status == 204 {
            assert!(self.body.is_empty(), "{self}");
            return self;
        }
        if self.status == 200 && self.header("content-type") == Some("application/gzip") {
            // A snapshot is a file, and says so.
            assert!(self.body.starts_with(&[0x1f, 0x8b]), "{self}");
            return self;
        }
        assert_eq!(self.header("content-type"), Some("application/json"), "{self}");
        if self.status >= 400 && !self.body.is_empty() {
            let json = self.json();
            // A refusal, or a reply with what there is to say all the same: of a deleted version, of a sealed server.
            let spoken = json["errors"].is_array() || json["request_id"].is_string() || json["sealed"].is_boolean();
            // OpenID Connect has its own form.
            let known = spoken || json["error"].is_string() && json["error_description"].is_string();
            assert!(known, "{self}");
        }
        self
    }

    /// The JSON of a successful reply.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert!((200..300).contains(&self.status), "{self}");
        self.must_be_lawful();
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// The `data` of a successful reply.
    #[track_caller]
    pub fn data(&self) -> Value {
        let mut json = self.ok();
        json["data"].take()
    }

    /// The new token of a successful reply.
    #[track_caller]
    pub fn client_token(&self) -> String {
        let json = self.ok();
        json["auth"]["client_token"].as_str().unwrap_or_else(|| panic!("{self}: no token")).to_owned()
    }

    /// Fails unless the request succeeded and there is nothing to say.
    #[track_caller]
    pub fn done(&self) {
        assert_eq!(self.status, 204, "{self}");
        self.must_be_lawful();
    }

    /// Fails unless the request was refused with this status, with whatever text.
    #[track_caller]
    pub fn fails(&self, status: u16) {
        assert_eq!(self.status, status, "{self}");
        self.must_be_lawful();
        self.errors();
    }

    /// Fails unless the request was refused with this status and a text that contains `text`; empty for no text.
    #[track_caller]
    pub fn refused(&self, status: u16, text: &str) {
        assert_eq!(self.status, status, "{self}");
        self.must_be_lawful();
        let errors = self.errors();
        match text {
            "" => assert!(errors.is_empty(), "{self}"),
            text => assert!(errors.iter().any(|error| error.contains(text)), "{self}: not {text:?}"),
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text();
        let text: String = text.trim_end().chars().take(2000).collect();
        write!(f, "{} answered {} {text}", self.asked, self.status)
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
