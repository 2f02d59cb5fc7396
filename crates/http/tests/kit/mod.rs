//! A server for tests, and a client that sends exactly what it is told.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use strongroom_core::{Core, Settings};
use strongroom_http::{ListenerConfig, Serving, serve};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

pub struct Server {
    pub serving: Serving,
    pub core: Arc<Core>,
}

/// How long a test waits for what comes at once on a machine that is not busy.
pub const PATIENCE: Duration = Duration::from_secs(120);

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}{}", self.head, self.text))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

impl Server {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut ListenerConfig)) -> Self {
        Self::at(clock::Clock::system(), change).await
    }

    pub async fn at(clock: clock::Clock, change: impl FnOnce(&mut ListenerConfig)) -> Self {
        Self::over(store_memory::Memory::new(), clock, change).await
    }

    /// One of several nodes over the same store.
    pub async fn over(
        store: Arc<dyn storage::Store>,
        clock: clock::Clock,
        change: impl FnOnce(&mut ListenerConfig),
    ) -> Self {
        let settings = Settings {
            kinds: &[],
            limits: mounts::Limits { default_ttl: mounts::DEFAULT_TTL, max_ttl: mounts::MAX_TTL },
            compatibility: "1.16.3".to_owned(),
            version: "0.1.0",
            cluster_name: "test".to_owned(),
            address: "https://127.0.0.1:8200".to_owned(),
            storage_type: "inmem",
            sharing: None,
            allow_audit_log_prefixing: false,
            journal_directory: None,
            storage_counters: None,
            databases: Vec::new(),
            sanitized: Default::default(),
            logs: None,
            lockout: Default::default(),
            cache_bytes: 1 << 20,
            first_requests: Vec::new(),
            seals: Default::default(),
            spool: None,
        };
        let core = Core::new(store, clock, settings).await.unwrap();
        let mut config = ListenerConfig::new(SocketAddr::from(([127, 0, 0, 1], 0)));
        change(&mut config);
        let serving = serve(Arc::clone(&core), config).await.unwrap();
        Self { serving, core }
    }

    pub fn address(&self) -> SocketAddr {
        self.serving.socket_address().unwrap()
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address()).await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    /// Sends one request on a connection of its own.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.raw(&request(method, path, headers, body.as_bytes())).await
    }

    /// Sends bytes on a connection of its own and reads to its end.
    pub async fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect().await;
        // A server that refuses early may close before it has read all.
        let _ = stream.write_all(bytes).await;
        answer(&read_all(&mut stream).await)
    }

    /// Initialises and unseals; gives the root token.
    pub async fn unseal(&self) -> String {
        let init = self.send("PUT", "/v1/sys/init", &[], r#"{"secret_shares":1,"secret_threshold":1}"#).await;
        assert_eq!(init.status, 200, "{}", init.text);
        let init = init.json();
        let key = format!(r#"{{"key":{}}}"#, init["keys_base64"][0]);
        let unsealed = self.send("PUT", "/v1/sys/unseal", &[], &key).await;
        assert_eq!(unsealed.status, 200, "{}", unsealed.text);
        assert_eq!(unsealed.json()["sealed"], false);
        init["root_token"].as_str().unwrap().to_owned()
    }
}

pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}

/// Reads until the other side closes, with patience for a machine that is busy with other things.
pub async fn read_all(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut all = Vec::new();
    // A reset after the reply is an end like any other.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("no end in sight");
    all
}

pub fn answer(bytes: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_owned(), text: body.to_owned() }
}
