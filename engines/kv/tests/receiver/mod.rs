//! The other end of a hook: a real HTTP server on a port of its own.
#![allow(dead_code, reason = "each test program uses its part")]

use std::sync::Arc;

use parking_lot::Mutex;
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

/// A call as it came in.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    head: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) body: Value,
}

impl Call {
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(header, _)| header.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }

    pub(crate) fn step(&self) -> &str {
        self.body["step"].as_str().unwrap()
    }
}

type Answers = Box<dyn Fn(&Value) -> (u16, String) + Send>;

pub(crate) struct Receiver {
    pub(crate) url: String,
    pub(crate) calls: Arc<Mutex<Vec<Call>>>,
    answers: Arc<Mutex<Answers>>,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        Self::listen(None).await
    }

    /// With TLS, under a certificate for `name`; gives it in PEM too.
    pub(crate) async fn start_tls(name: &str) -> (Self, String) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        (Self::listen(Some(TlsAcceptor::from(Arc::new(config)))).await, made.cert.pem())
    }

    async fn listen(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://127.0.0.1:{}/rotate", listener.local_addr().unwrap().port());
        let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
        let answers: Arc<Mutex<Answers>> = Arc::new(Mutex::new(Box::new(|_| (200, String::new()))));
        let state = (Arc::clone(&calls), Arc::clone(&answers));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (state, tls) = (state.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => answer(stream, state).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => answer(stream, state).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        Self { url, calls, answers }
    }

    /// From now on calls are answered so.
    pub(crate) fn answer(&self, answers: impl Fn(&Value) -> (u16, String) + Send + 'static) {
        *self.answers.lock() = Box::new(answers);
    }

    /// The calls since the last time.
    pub(crate) fn take(&self) -> Vec<Call> {
        std::mem::take(&mut *self.calls.lock())
    }

    pub(crate) fn steps(&self) -> Vec<String> {
        self.take().iter().map(|call| call.step().to_owned()).collect()
    }
}

async fn answer(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    (calls, answers): (Arc<Mutex<Vec<Call>>>, Arc<Mutex<Answers>>),
) -> Option<()> {
    let mut seen = Vec::new();
    let split = loop {
        let mut chunk = [0; 4096];
        let read = stream.read(&mut chunk).await.ok().filter(|read| *read > 0)?;
        seen.extend_from_slice(&chunk[..read]);
        if let Some(split) = seen.windows(4).position(|window| window == b"\r\n\r\n") {
            break split;
        }
    };
    let head = String::from_utf8_lossy(&seen[..split]).into_owned();
    let mut bytes = seen.split_off(split + 4);
    let mut call = Call { head, bytes: Vec::new(), body: Value::Null };
    let length: usize = call.header("content-length").parse().ok()?;
    while bytes.len() < length {
        let mut chunk = [0; 4096];
        let read = stream.read(&mut chunk).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&chunk[..read]);
    }
    call.body = serde_json::from_slice(&bytes).ok()?;
    call.bytes = bytes;
    let (status, text) = answers.lock()(&call.body);
    calls.lock().push(call);
    let length = text.len();
    let reply = format!(
        "HTTP/1.1 {status} X\r\nlocation: /elsewhere\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{text}"
    );
    stream.write_all(reply.as_bytes()).await.ok()?;
    stream.flush().await.ok()?;
    stream.shutdown().await.ok()
}
