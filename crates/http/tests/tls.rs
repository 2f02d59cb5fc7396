//! TLS: handshakes, versions, client certificates, reload.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod kit;

use std::{path::Path, sync::Arc, time::Duration};

use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use kit::{Server, answer, read_all, request};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use strongroom_http::{Tls, TlsVersion};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::{TlsConnector, client::TlsStream};

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate for localhost and its key, as PEM.
    fn issue(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    fn issue_into(&self, folder: &Path) {
        let (certificate, key) = self.issue();
        std::fs::write(folder.join("cert.pem"), certificate).unwrap();
        std::fs::write(folder.join("key.pem"), key).unwrap();
    }
}

fn tls(folder: &Path) -> Tls {
    Tls::new(folder.join("cert.pem"), folder.join("key.pem"))
}

/// A client that trusts `authority`.
fn client(authority: &Authority, change: impl FnOnce(&mut ClientConfig)) -> TlsConnector {
    let config = builder(authority, &[&rustls::version::TLS13, &rustls::version::TLS12]).with_no_client_auth();
    connector(config, change)
}

fn builder(
    authority: &Authority,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.0.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
}

fn connector(mut config: ClientConfig, change: impl FnOnce(&mut ClientConfig)) -> TlsConnector {
    change(&mut config);
    TlsConnector::from(Arc::new(config))
}

async fn connect(server: &Server, connector: &TlsConnector) -> std::io::Result<TlsStream<TcpStream>> {
    connector.connect(ServerName::try_from("localhost").unwrap(), server.connect().await).await
}

/// The status of a request over TLS, or the fault of the handshake.
async fn status(server: &Server, connector: &TlsConnector) -> std::io::Result<u16> {
    let mut stream = connect(server, connector).await?;
    stream.write_all(&request("GET", "/v1/sys/init", &[], b"")).await?;
    Ok(answer(&read_all(&mut stream).await).status)
}

#[tokio::test]
async fn requests_are_answered_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("one");
    authority.issue_into(folder.path());
    let server = Server::with(|config| config.tls = Some(tls(folder.path()))).await;
    assert_eq!(status(&server, &client(&authority, |_| {})).await.unwrap(), 200);
    assert!(status(&server, &client(&Authority::new("two"), |_| {})).await.is_err());
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let old = connector(builder(&authority, &[version]).with_no_client_auth(), |_| {});
        assert_eq!(status(&server, &old).await.unwrap(), 200);
    }
    // Plain HTTP at a TLS port is no request.
    assert!(server.get("/v1/sys/init").await.status == 0);
    let strict = Server::with(|config| {
        let mut tls = tls(folder.path());
        tls.min_version = TlsVersion::Tls13;
        config.tls = Some(tls);
    })
    .await;
    let old = connector(builder(&authority, &[&rustls::version::TLS12]).with_no_client_auth(), |_| {});
    assert!(status(&strict, &old).await.is_err());
    assert_eq!(status(&strict, &client(&authority, |_| {})).await.unwrap(), 200);
}

#[tokio::test]
async fn only_the_named_versions_and_cipher_suites_are_spoken() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("one");
    authority.issue_into(folder.path());
    let with = |change: fn(&mut Tls)| {
        let mut tls = tls(folder.path());
        change(&mut tls);
        Server::with(move |config| config.tls = Some(tls))
    };
    let only = |version| connector(builder(&authority, &[version]).with_no_client_auth(), |_| {});
    let (old, new) = (only(&rustls::version::TLS12), only(&rustls::version::TLS13));
    let old_only = with(|tls| tls.max_version = TlsVersion::Tls12).await;
    assert_eq!(status(&old_only, &old).await.unwrap(), 200);
    assert!(status(&old_only, &new).await.is_err());

    let one = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305";
    assert!(strongroom_http::knows_cipher_suite(one));
    assert!(!strongroom_http::knows_cipher_suite("TLS_RSA_WITH_AES_128_CBC_SHA"));
    let picky = with(|tls| tls.cipher_suites = Some(vec!["TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305".to_owned()])).await;
    let stream = connect(&picky, &old).await.unwrap();
    let suite = stream.get_ref().1.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(suite, rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256);
    assert_eq!(status(&picky, &new).await.unwrap(), 200);
}

#[tokio::test]
async fn http2_is_spoken_where_it_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("one");
    authority.issue_into(folder.path());
    let server = Server::with(|config| config.tls = Some(tls(folder.path()))).await;
    let wanting = client(&authority, |config| config.alpn_protocols = vec![b"h2".to_vec()]);
    let stream = connect(&server, &wanting).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut send, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let running = tokio::spawn(connection);
    for (method, length) in [("GET", true), ("HEAD", false), ("LIST", true)] {
        let uri = "https://localhost/v1/sys/seal-status";
        let request = hyper::Request::builder().method(method).uri(uri).body(Empty::<bytes::Bytes>::new()).unwrap();
        let response = send.send_request(request).await.unwrap();
        assert_eq!(response.status(), if method == "LIST" { 405 } else { 200 });
        assert_eq!(response.headers()["x-strongroom-request-id"].len(), 36);
        assert_eq!(!response.into_body().collect().await.unwrap().to_bytes().is_empty(), length, "{method}");
    }
    server.serving.stop(Duration::from_secs(10)).await;
    let _ = running.await.unwrap();
}

/// Pings on an idle connection were once taken for the begin of a head that never ends.
#[tokio::test]
async fn pings_do_not_end_an_http2_connection() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("one");
    authority.issue_into(folder.path());
    let server = Server::with(|config| {
        config.tls = Some(tls(folder.path()));
        // Long enough for a busy machine to shake hands.
        config.header_read_timeout = Duration::from_secs(3);
    })
    .await;
    let wanting = client(&authority, |config| config.alpn_protocols = vec![b"h2".to_vec()]);
    let stream = connect(&server, &wanting).await.unwrap();
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new()).keep_alive_interval(Duration::from_millis(10)).keep_alive_while_idle(true);
    let (_send, connection) = builder.handshake::<_, Empty<bytes::Bytes>>(TokioIo::new(stream)).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_secs(7), connection).await.is_err(), "it ended");
}

#[tokio::test]
async fn certificates_are_reloaded_and_broken_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (Authority::new("one"), Authority::new("two"));
    one.issue_into(folder.path());
    let server = Server::with(|config| config.tls = Some(tls(folder.path()))).await;
    let (trusts_one, trusts_two) = (client(&one, |_| {}), client(&two, |_| {}));
    // Tickets of the old certificate must not carry a client over.
    assert_eq!(status(&server, &trusts_one).await.unwrap(), 200);
    assert!(status(&server, &trusts_two).await.is_err());

    let (certificate, _) = two.issue();
    let good_key = std::fs::read_to_string(folder.path().join("key.pem")).unwrap();
    for (certificate, key, names) in [
        (certificate.as_str(), good_key.as_str(), "do not fit"),
        ("", good_key.as_str(), "tls_cert_file"),
        ("-----BEGIN CERTIFICATE-----\n???\n-----END CERTIFICATE-----\n", good_key.as_str(), "tls_cert_file"),
        (certificate.as_str(), "", "tls_key_file"),
        (certificate.as_str(), "-----BEGIN PRIVATE KEY-----\nhunter2\n", "tls_key_file"),
    ] {
        std::fs::write(folder.path().join("cert.pem"), certificate).unwrap();
        std::fs::write(folder.path().join("key.pem"), key).unwrap();
        let error = server.serving.reload_tls().unwrap_err().to_string();
        assert!(error.contains(names) && !error.contains("hunter2"), "{error}");
        assert_eq!(status(&server, &client(&one, |_| {})).await.unwrap(), 200, "the old one is in use");
    }
    std::fs::remove_file(folder.path().join("key.pem")).unwrap();
    let error = server.serving.reload_tls().unwrap_err().to_string();
    assert!(error.contains("key.pem"), "{error}");

    let open = connect(&server, &trusts_one).await.unwrap();
    two.issue_into(folder.path());
    server.serving.reload_tls().unwrap();
    assert_eq!(status(&server, &client(&two, |_| {})).await.unwrap(), 200);
    assert!(status(&server, &client(&one, |_| {})).await.is_err());
    // What was open goes on.
    let mut open = open;
    open.write_all(&request("GET", "/v1/sys/init", &[], b"")).await.unwrap();
    assert_eq!(answer(&read_all(&mut open).await).status, 200);
}

#[tokio::test]
async fn a_certificate_may_come_from_other_files() {
    let (before, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, two) = (Authority::new("one"), Authority::new("two"));
    one.issue_into(before.path());
    let server = Server::with(|config| config.tls = Some(tls(before.path()))).await;
    let (trusts_one, trusts_two) = (client(&one, |_| {}), client(&two, |_| {}));
    // Files that are not there change nothing, also for the next reading.
    let error = server.serving.replace_tls(tls(after.path())).unwrap_err().to_string();
    assert!(error.contains("tls_cert_file"), "{error}");
    server.serving.reload_tls().unwrap();
    assert_eq!(status(&server, &trusts_one).await.unwrap(), 200);
    two.issue_into(after.path());
    assert!(server.serving.replace_tls(tls(after.path())).unwrap());
    for _ in 0..2 {
        assert_eq!(status(&server, &trusts_two).await.unwrap(), 200);
        assert!(status(&server, &client(&one, |_| {})).await.is_err());
        server.serving.reload_tls().unwrap();
    }
    assert!(!Server::start().await.serving.replace_tls(tls(after.path())).unwrap());
}

#[tokio::test]
async fn a_listener_does_not_start_with_a_broken_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    let mut config = strongroom_http::ListenerConfig::new(std::net::SocketAddr::from(([127, 0, 0, 1], 0)));
    config.tls = Some(tls(folder.path()));
    let error = strongroom_http::serve(Arc::clone(&server.core), config).await.map(drop).unwrap_err().to_string();
    assert!(error.contains("tls_cert_file") && error.contains("cert.pem"), "{error}");
}

#[tokio::test]
async fn client_certificates_are_asked_for_where_an_authority_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("servers");
    authority.issue_into(folder.path());
    let clients = Authority::new("clients");
    std::fs::write(folder.path().join("ca.pem"), clients.0.pem()).unwrap();
    let with = |required| {
        let mut tls = tls(folder.path());
        tls.client_ca_file = Some(folder.path().join("ca.pem"));
        tls.require_client_cert = required;
        Server::with(move |config| config.tls = Some(tls))
    };
    let showing = |issuer: &Authority| {
        let (certificate, key) = issuer.issue();
        let certificate =
            <CertificateDer<'_> as rustls_pki_types::pem::PemObject>::from_pem_slice(certificate.as_bytes());
        let key = <PrivateKeyDer<'_> as rustls_pki_types::pem::PemObject>::from_pem_slice(key.as_bytes()).unwrap();
        let config = builder(&authority, &[&rustls::version::TLS13]);
        connector(config.with_client_auth_cert(vec![certificate.unwrap()], key).unwrap(), |_| {})
    };
    let (strict, lenient) = (with(true).await, with(false).await);
    let none = client(&authority, |_| {});
    assert_ne!(status(&strict, &none).await.unwrap_or(0), 200);
    assert_eq!(status(&lenient, &none).await.unwrap(), 200);
    for server in [&strict, &lenient] {
        assert_eq!(status(server, &showing(&clients)).await.unwrap(), 200);
        assert_ne!(status(server, &showing(&Authority::new("strangers"))).await.unwrap_or(0), 200);
    }
}
