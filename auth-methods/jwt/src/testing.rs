//! An issuer for tests: real keys, signatures over whatever text, and a small server that publishes the keys.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures::{StreamExt, stream};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{Request, Response, body::Frame, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use jsonwebtoken::{Algorithm, EncodingKey, jwk::Jwk};
use parking_lot::Mutex;
use rcgen::{KeyPair, RsaKeySize};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Notify};

/// A key pair that signs tokens.
pub(crate) struct Signer {
    pub(crate) kid: String,
    pub(crate) algorithm: Algorithm,
    pub(crate) public_pem: String,
    pub(crate) private_pem: String,
    pub(crate) jwk: Value,
    key: EncodingKey,
}

impl Signer {
    pub(crate) fn new(kid: &str, algorithm: Algorithm) -> Self {
        let pair = match algorithm {
            Algorithm::ES256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            Algorithm::ES384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
            Algorithm::EdDSA => KeyPair::generate_for(&rcgen::PKCS_ED25519),
            _ => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048),
        };
        let pair = pair.unwrap();
        let private_pem = pair.serialize_pem();
        let key = match algorithm {
            Algorithm::ES256 | Algorithm::ES384 => EncodingKey::from_ec_pem(private_pem.as_bytes()),
            Algorithm::EdDSA => EncodingKey::from_ed_pem(private_pem.as_bytes()),
            _ => EncodingKey::from_rsa_pem(private_pem.as_bytes()),
        };
        let key = key.unwrap();
        let mut jwk = match algorithm {
            Algorithm::EdDSA => json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key_raw()) }),
            _ => serde_json::to_value(Jwk::from_encoding_key(&key, algorithm).unwrap()).unwrap(),
        };
        jwk["kid"] = kid.into();
        jwk["use"] = "sig".into();
        jwk.as_object_mut().unwrap().remove("alg");
        Self { kid: kid.to_owned(), algorithm, public_pem: pair.public_key_pem(), private_pem, jwk, key }
    }

    /// The signature over `message` with another algorithm of the same key type.
    pub(crate) fn signature(&self, message: &str, algorithm: Algorithm) -> String {
        jsonwebtoken::crypto::sign(message.as_bytes(), &self.key, algorithm).unwrap()
    }

    /// A token with this header and these claims, letter by letter.
    pub(crate) fn sign_text(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", encode(header), encode(claims));
        format!("{message}.{}", self.signature(&message, self.algorithm))
    }

    /// The header this signer puts on its tokens.
    pub(crate) fn header(&self) -> Value {
        json!({ "alg": format!("{:?}", self.algorithm), "kid": self.kid, "typ": "JWT" })
    }

    /// An ordinary token.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.sign_text(&self.header().to_string(), &claims.to_string())
    }
}

/// Base64url without padding.
pub(crate) fn encode(text: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// Signers made once: RSA keys take a while.
pub(crate) struct Signers {
    pub(crate) rsa: Signer,
    pub(crate) p256: Signer,
    pub(crate) p384: Signer,
    pub(crate) ed: Signer,
    /// A key that nobody trusts.
    pub(crate) stranger: Signer,
    /// Another one, of another type.
    pub(crate) strange_rsa: Signer,
}

pub(crate) fn signers() -> &'static Signers {
    static SIGNERS: OnceLock<Signers> = OnceLock::new();
    SIGNERS.get_or_init(|| Signers {
        rsa: Signer::new("rsa-1", Algorithm::RS256),
        p256: Signer::new("ec-1", Algorithm::ES256),
        p384: Signer::new("ec-2", Algorithm::ES384),
        ed: Signer::new("ed-1", Algorithm::EdDSA),
        stranger: Signer::new("ec-1", Algorithm::ES256),
        strange_rsa: Signer::new("rsa-1", Algorithm::RS256),
    })
}

/// The key set of these signers.
pub(crate) fn jwks(signers: &[&Signer]) -> Value {
    json!({ "keys": signers.iter().map(|signer| &signer.jwk).collect::<Vec<_>>() })
}

/// What a [`Publisher`] answers.
#[derive(Clone)]
pub(crate) enum Behaviour {
    /// This document at every path.
    Document(Value),
    /// This document at the path of the discovery document, and that one elsewhere.
    Discovery(Value, Value),
    /// A status without a body.
    Status(u16),
    /// No answer, ever.
    Silence,
    /// The beginning of an answer, and then nothing.
    Drip,
    /// An answer of so many bytes.
    Huge(usize),
    /// A redirect.
    Redirect(String),
}

/// A server on the loopback address that publishes keys.
pub(crate) struct Publisher {
    pub(crate) url: String,
    behaviour: Arc<Mutex<Behaviour>>,
    hits: Arc<AtomicUsize>,
    arrived: Arc<Notify>,
    server: tokio::task::JoinHandle<()>,
}

impl Publisher {
    pub(crate) async fn start(behaviour: Behaviour) -> Self {
        Self::serve(behaviour, None).await
    }

    /// With TLS; also gives the PEM of the certificate to trust.
    pub(crate) async fn start_tls(behaviour: Behaviour) -> (Self, String) {
        let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let pem = certified.cert.pem();
        let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key)
            .unwrap();
        (Self::serve(behaviour, Some(tokio_rustls::TlsAcceptor::from(Arc::new(config)))).await, pem)
    }

    async fn serve(behaviour: Behaviour, tls: Option<tokio_rustls::TlsAcceptor>) -> Self {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = match &tls {
            None => format!("http://127.0.0.1:{port}"),
            Some(_) => format!("https://localhost:{port}"),
        };
        let behaviour = Arc::new(Mutex::new(behaviour));
        let hits = Arc::new(AtomicUsize::new(0));
        let arrived = Arc::new(Notify::new());
        let state = (Arc::clone(&behaviour), Arc::clone(&hits), Arc::clone(&arrived));
        let server = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (tls, state) = (tls.clone(), state.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |request: Request<Incoming>| answer(request, state.clone()));
                    let connection = hyper::server::conn::http1::Builder::new();
                    // A client that goes away is part of the tests.
                    match tls {
                        None => drop(connection.serve_connection(TokioIo::new(stream), service).await),
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                drop(connection.serve_connection(TokioIo::new(stream), service).await);
                            }
                        }
                    }
                });
            }
        });
        Self { url, behaviour, hits, arrived, server }
    }

    pub(crate) fn becomes(&self, behaviour: Behaviour) {
        *self.behaviour.lock() = behaviour;
    }

    /// Requests answered or begun so far.
    pub(crate) fn hits(&self) -> usize {
        self.hits.load(Ordering::SeqCst)
    }

    /// Resolves when the next request has arrived.
    pub(crate) async fn arrival(&self) {
        self.arrived.notified().await;
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.server.abort();
    }
}

type Shared = (Arc<Mutex<Behaviour>>, Arc<AtomicUsize>, Arc<Notify>);

async fn answer(
    request: Request<Incoming>,
    (behaviour, hits, arrived): Shared,
) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    hits.fetch_add(1, Ordering::SeqCst);
    arrived.notify_one();
    let behaviour = behaviour.lock().clone();
    let full = |text: Vec<u8>| Full::new(Bytes::from(text)).boxed();
    let document = |document: &Value| Response::new(full(document.to_string().into_bytes()));
    Ok(match behaviour {
        Behaviour::Document(keys) => document(&keys),
        Behaviour::Discovery(about, _) if request.uri().path() == "/.well-known/openid-configuration" => {
            document(&about)
        }
        Behaviour::Discovery(_, keys) => document(&keys),
        Behaviour::Status(status) => Response::builder().status(status).body(full(Vec::new())).unwrap(),
        Behaviour::Silence => std::future::pending().await,
        Behaviour::Drip => {
            let first = stream::iter([Ok(Frame::data(Bytes::from_static(b"{\"keys\":[")))]);
            Response::new(BodyExt::boxed(StreamBody::new(first.chain(stream::pending()))))
        }
        Behaviour::Huge(size) => Response::new(full(vec![b' '; size])),
        Behaviour::Redirect(target) => {
            Response::builder().status(302).header("location", target).body(full(Vec::new())).unwrap()
        }
    })
}
