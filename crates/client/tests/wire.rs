//! What the client sends, and what it makes of answers, against a scripted server.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use api::Verb;
use client::{Client, Config, Error, Fault};
use futures::StreamExt;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Bytes, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use secret::SecretString;
use serde_json::json;
use tokio::net::TcpListener;

#[derive(Debug)]
struct Seen {
    method: String,
    uri: String,
    headers: hyper::HeaderMap,
    body: String,
}

struct Script {
    address: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Script {
    /// A server that gives the answers in order, then 500.
    async fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
        let log = Arc::clone(&seen);
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (log, answers) = (Arc::clone(&log), Arc::clone(&answers));
                tokio::spawn(async move {
                    let service = service_fn(move |request| answer(request, Arc::clone(&log), Arc::clone(&answers)));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(socket), service)
                        .await;
                });
            }
        });
        Self { address, seen }
    }

    async fn of(answers: &[(u16, &str)]) -> Self {
        Self::start(answers.iter().map(|(status, body)| (*status, Vec::new(), (*body).to_owned())).collect()).await
    }

    fn client(&self) -> Client {
        Client::new(Config {
            address: self.address.clone(),
            token: Some(SecretString::new("hvs.test".to_owned())),
            namespace: Some("team".to_owned()),
            retry_wait: Duration::from_millis(1),
            headers: vec![("X-More".to_owned(), "yes".to_owned())],
            ..Config::default()
        })
        .unwrap()
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().unwrap()
    }
}

/// Status, headers, body.
type Answer = (u16, Vec<(&'static str, String)>, String);
type Answers = Arc<Mutex<VecDeque<Answer>>>;

async fn answer(
    request: Request<Incoming>,
    log: Arc<Mutex<Vec<Seen>>>,
    answers: Answers,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    log.lock().unwrap().push(Seen {
        method: head.method.to_string(),
        uri: head.uri.to_string(),
        headers: head.headers,
        body,
    });
    let (status, headers, body) = answers.lock().unwrap().pop_front().unwrap_or((500, Vec::new(), String::new()));
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    Ok(response.body(Full::new(Bytes::from(body))).unwrap())
}

const SECRET: &str = r#"{"request_id":"r1","lease_id":"","renewable":false,"lease_duration":0,"data":{"a":"b"},
    "wrap_info":null,"warnings":["careful"],"auth":null}"#;

#[tokio::test]
async fn a_socket_in_the_file_system_is_asked_too() {
    let folder = std::env::temp_dir().join(format!("strongroom-client-socket-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("s.sock");
    let address = format!("unix://{}", path.display());
    let client = || Client::new(Config { address: address.clone(), max_retries: 0, ..Config::default() }).unwrap();
    let error = client().read("secret/a", &[]).await.unwrap_err().to_string();
    assert!(error.contains("s.sock"), "{error}");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let (log, answers) =
            (Arc::default(), Arc::new(Mutex::new(VecDeque::from([(200, Vec::new(), SECRET.to_owned())]))));
        let service = service_fn(move |request| answer(request, Arc::clone(&log), Arc::clone(&answers)));
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
    });
    let client = client();
    assert_eq!(client.socket(), Some(path.as_path()));
    assert_eq!(client.read("secret/a", &[]).await.unwrap().status, 200);
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn requests_carry_what_servers_expect() {
    let server = Script::of(&[(200, SECRET), (200, SECRET), (204, ""), (200, SECRET), (204, "")]).await;
    let client = server.client();
    let response = client.read("secret/data/a b", &[("version", "2")]).await.unwrap();
    assert_eq!(response.data::<serde_json::Value>().unwrap(), json!({"a": "b"}));
    assert_eq!(response.warnings(), ["careful"]);
    client.list("secret/metadata/").await.unwrap();
    client.with_wrap_ttl(Some("5m".to_owned())).write("x/y", &json!({"k": 1})).await.unwrap();
    client.patch("x/y", &json!({"k": 2})).await.unwrap();
    assert!(client.without_token().delete("x/y").await.unwrap().is_empty());

    let seen = server.seen();
    assert_eq!((seen[0].method.as_str(), seen[0].uri.as_str()), ("GET", "/v1/secret/data/a%20b?version=2"));
    assert_eq!(seen[0].headers["x-vault-token"], "hvs.test");
    assert_eq!(seen[0].headers["x-vault-request"], "true");
    assert_eq!(seen[0].headers["x-vault-namespace"], "team");
    assert_eq!(seen[0].headers["x-more"], "yes");
    assert_eq!((seen[1].method.as_str(), seen[1].uri.as_str()), ("GET", "/v1/secret/metadata/?list=true"));
    assert_eq!((seen[2].method.as_str(), seen[2].body.as_str()), ("PUT", r#"{"k":1}"#));
    assert_eq!(seen[2].headers["x-vault-wrap-ttl"], "5m");
    assert_eq!(seen[3].method, "PATCH");
    assert_eq!(seen[3].headers["content-type"], "application/merge-patch+json");
    assert_eq!(seen[4].method, "DELETE");
    assert!(!seen[4].headers.contains_key("x-vault-token"));
}

#[tokio::test]
async fn refusals_keep_the_servers_words() {
    let server = Script::of(&[(403, r#"{"errors":["permission denied"]}"#), (404, r#"{"errors":[]}"#)]).await;
    let client = server.client();
    let error = client.read("secret/x", &[]).await.unwrap_err();
    assert!(error.is_denied());
    assert!(error.to_string().ends_with("/v1/secret/x answered 403: permission denied"), "{error}");
    assert!(client.read("secret/x", &[]).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn a_404_with_data_is_an_answer() {
    let body = SECRET.replace(r#"{"a":"b"}"#, r#"{"data":null,"metadata":{"version":1}}"#);
    let server = Script::of(&[(404, &body)]).await;
    let response = server.client().read("secret/data/gone", &[]).await.unwrap();
    assert_eq!(response.status, 404);
    assert!(response.envelope.is_some());
}

#[tokio::test]
async fn foreign_bodies_are_shown_as_they_are() {
    let server = Script::of(&[(400, "<h1>not\u{1b}[31m here</h1>")]).await;
    let Error::Api { raw, errors, .. } = server.client().read("x", &[]).await.unwrap_err() else { panic!() };
    assert!(raw);
    assert!(errors[0].starts_with("<h1>not"));
    assert!(!errors[0].contains('\u{1b}'));
}

#[tokio::test]
async fn replies_without_an_envelope_are_read_whole() {
    let server = Script::of(&[(200, r#"{"sealed":true,"t":3}"#)]).await;
    let response = server.client().read("sys/seal-status", &[]).await.unwrap();
    assert!(response.envelope.is_none());
    assert_eq!(response.data::<serde_json::Value>().unwrap()["t"], 3);
}

#[tokio::test]
async fn what_may_pass_is_retried_within_bounds() {
    let server = Script::of(&[(503, ""), (429, ""), (200, SECRET)]).await;
    server.client().write("x", &json!({})).await.unwrap();
    assert_eq!(server.seen().len(), 3);

    let server = Script::of(&[(503, r#"{"errors":["sealed"]}"#); 9]).await;
    assert_eq!(server.client().read("x", &[]).await.unwrap_err().status(), Some(503));
    assert_eq!(server.seen().len(), 3);

    let server = Script::of(&[(501, ""), (200, SECRET)]).await;
    assert_eq!(server.client().read("x", &[]).await.unwrap_err().status(), Some(501));
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_long_retry_after_is_left_to_the_caller() {
    let body = r#"{"errors":["too many"]}"#.to_owned();
    let server = Script::start(vec![(429, vec![("retry-after", "3600".to_owned())], body)]).await;
    assert_eq!(server.client().read("x", &[]).await.unwrap_err().status(), Some(429));
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_login_yields_the_token_and_sends_none() {
    let auth = r#"{"request_id":"r","data":null,"auth":{"client_token":"hvs.new","accessor":"acc","policies":["default"],
        "metadata":null,"lease_duration":60,"renewable":true}}"#;
    let server = Script::of(&[(200, auth), (204, "")]).await;
    let client = server.client();
    assert_eq!(client.login("jwt/login", &json!({"role": "web"})).await.unwrap().client_token, "hvs.new");
    assert!(matches!(client.login("auth/jwt/login", &json!({})).await, Err(Error::Decode { .. })));
    let seen = server.seen();
    assert_eq!(seen[0].uri, "/v1/auth/jwt/login");
    assert_eq!(seen[1].uri, "/v1/auth/jwt/login");
    assert!(!seen[0].headers.contains_key("x-vault-token"));
}

#[tokio::test]
async fn streams_are_read_as_they_come() {
    let server = Script::of(&[(200, "a line\n"), (403, r#"{"errors":["permission denied"]}"#)]).await;
    let client = server.client();
    let mut stream = client.stream(Verb::Read, "sys/monitor", None).await.unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap(), "a line\n");
    assert!(stream.next().await.is_none());
    assert!(client.stream(Verb::Read, "sys/monitor", None).await.err().unwrap().is_denied());
}

#[tokio::test]
async fn one_redirect_is_followed() {
    let target = Script::of(&[(200, SECRET)]).await;
    let location = format!("{}/v1/x", target.address);
    let standby = Script::start(vec![(307, vec![("location", location)], String::new())]).await;
    standby.client().write("x", &json!({"k": "v"})).await.unwrap();
    let seen = target.seen();
    assert_eq!(seen[0].body, r#"{"k":"v"}"#);
    assert_eq!(seen[0].headers["x-vault-token"], "hvs.test");
}

#[tokio::test]
async fn nobody_there_is_said_with_a_remedy() {
    // Bound, so that nobody else listens there meanwhile.
    let held = tokio::net::TcpSocket::new_v4().unwrap();
    held.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let port = held.local_addr().unwrap().port();
    let config = Config {
        address: format!("http://127.0.0.1:{port}"),
        retry_wait: Duration::from_millis(1),
        ..Config::default()
    };
    let error = Client::new(config).unwrap().read("sys/health", &[]).await.unwrap_err();
    assert!(matches!(error, Error::Transport { fault: Fault::Refused, .. }), "{error:?}");
    assert!(error.to_string().contains("refused"), "{error}");
    assert!(error.remedy().unwrap().contains("STRONGROOM_ADDR"));
}

#[tokio::test]
async fn paths_that_could_mean_something_else_are_not_sent() {
    let server = Script::of(&[]).await;
    for path in ["secret/../sys/seal", "a//b", "a\nb"] {
        assert!(matches!(server.client().read(path, &[]).await, Err(Error::Path { .. })), "{path:?}");
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn settings_that_fit_no_header_are_not_called_a_lost_connection() {
    let config =
        Config { namespace: Some("a\nb".to_owned()), address: "http://127.0.0.1:1".to_owned(), ..Config::default() };
    let error = Client::new(config).unwrap().read("x", &[]).await.unwrap_err();
    assert!(matches!(error, Error::Config { .. }), "{error:?}");
}

#[test]
fn nothing_that_is_printed_shows_the_token() {
    let config = Config { token: Some(SecretString::new("hvs.hidden".to_owned())), ..Config::default() };
    assert!(!format!("{config:?}").contains("hidden"));
}

mod tls {
    use super::*;
    use rustls_pki_types::PrivateKeyDer;
    use tokio_rustls::TlsAcceptor;

    /// A TLS server for `vault.example`, and the PEM certificate to trust.
    async fn serve() -> (u16, String) {
        let made = rcgen::generate_simple_self_signed(vec!["vault.example".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config =
            rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![made.cert.der().clone()], key)
                .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(socket) = acceptor.accept(socket).await else { return };
                    let log = Arc::new(Mutex::new(Vec::new()));
                    let answers = Arc::new(Mutex::new(VecDeque::from([(200, Vec::new(), SECRET.to_owned())])));
                    let service = service_fn(move |request| answer(request, Arc::clone(&log), Arc::clone(&answers)));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(socket), service)
                        .await;
                });
            }
        });
        (port, made.cert.pem())
    }

    fn config(port: u16) -> Config {
        Config {
            address: format!("https://127.0.0.1:{port}"),
            retry_wait: Duration::from_millis(1),
            ..Config::default()
        }
    }

    #[tokio::test]
    async fn only_the_given_authority_and_name_are_trusted() {
        let (port, pem) = serve().await;
        let ca = || Some(pem.clone().into_bytes());
        let name = || Some("vault.example".to_owned());

        let trusted = Config { ca_bytes: ca(), tls_server_name: name(), ..config(port) };
        Client::new(trusted).unwrap().read("x", &[]).await.unwrap();

        let other_name = Config { ca_bytes: ca(), ..config(port) };
        let error = Client::new(other_name).unwrap().read("x", &[]).await.unwrap_err();
        assert!(matches!(error, Error::Transport { fault: Fault::Tls, .. }), "{error:?}");
        assert!(error.remedy().unwrap().contains("CACERT"));

        let blind = Config { ca_bytes: ca(), skip_verify: true, ..config(port) };
        Client::new(blind).unwrap().read("x", &[]).await.unwrap();
    }

    #[tokio::test]
    async fn tls_to_a_plain_server_is_told_apart() {
        let server = Script::of(&[]).await;
        let (_, pem) = serve().await;
        let config = Config {
            address: server.address.replacen("http:", "https:", 1),
            ca_bytes: Some(pem.into_bytes()),
            ..Config::default()
        };
        let error = Client::new(config).unwrap().read("x", &[]).await.unwrap_err();
        assert!(matches!(error, Error::Transport { fault: Fault::NotTls, .. }), "{error:?}");
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let cases = [
            (Config { ca_bytes: Some(b"nonsense".to_vec()), ..Config::default() }, "PEM"),
            (Config { ca_cert: Some("/nowhere/ca.pem".into()), ..Config::default() }, "/nowhere/ca.pem"),
            (Config { client_cert: Some("/nowhere/a.pem".into()), ..Config::default() }, "give both"),
            (Config { tls_server_name: Some("10.0.0.1".to_owned()), ..Config::default() }, "host name"),
            (Config { headers: vec![("a b".to_owned(), String::new())], ..Config::default() }, "header"),
        ];
        for (mut config, part) in cases {
            if config.tls_server_name.is_some() || !config.headers.is_empty() {
                config.skip_verify = true;
            }
            let error = Client::new(config).err().unwrap().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
