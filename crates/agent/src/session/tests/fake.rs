//! A server of a few lines, which remembers what it was asked.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// One request: method and path, and the body.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) what: String,
    pub(super) token: String,
    pub(super) body: Value,
}

#[derive(Default)]
pub(super) struct State {
    /// What paths answer: the envelope. With several, each is given once, the last one for ever.
    pub(super) answers: BTreeMap<String, VecDeque<Value>>,
    pub(super) asked: Vec<Asked>,
    /// Every request but logins gets this status.
    pub(super) down: Option<u16>,
    /// What the liveness path answers, if not a stream.
    pub(super) untied: Option<u16>,
    /// Whether the liveness path answers nothing at all.
    pub(super) silent: bool,
    /// Streams that were opened; the test cuts them through `cut`.
    pub(super) streams: usize,
    pub(super) cut: usize,
    pub(super) beats: usize,
    pub(super) logins: usize,
    pub(super) token_ttl: u64,
    pub(super) token_renewable: bool,
}

#[derive(Clone)]
pub(super) struct Fake {
    state: Arc<Mutex<State>>,
    pub(super) address: String,
}

impl Fake {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let state = State { token_ttl: 3600, token_renewable: true, ..State::default() };
        let fake = Self { state: Arc::new(Mutex::new(state)), address };
        let served = fake.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let served = served.clone();
                tokio::spawn(async move { served.serve(stream).await });
            }
        });
        fake
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// A path with plain data.
    pub(super) fn put(&self, path: &str, data: Value) {
        self.answer(path, json!({ "request_id": "r", "lease_id": "", "lease_duration": 0, "data": data }));
    }

    /// A path that makes something new each time, with a lease.
    pub(super) fn put_lease(&self, path: &str, id: &str, duration: u64, renewable: bool, data: Value) {
        let lease = json!({ "request_id": "r", "lease_id": id, "lease_duration": duration, "renewable": renewable, "data": data });
        self.state().answers.entry(path.to_owned()).or_default().push_back(lease);
    }

    pub(super) fn answer(&self, path: &str, envelope: Value) {
        self.state().answers.insert(path.to_owned(), VecDeque::from([envelope]));
    }

    /// How often `what` was asked.
    pub(super) fn count(&self, what: &str) -> usize {
        self.state().asked.iter().filter(|asked| asked.what == what).count()
    }

    /// The last time `what` was asked.
    pub(super) fn last(&self, what: &str) -> Asked {
        self.state().asked.iter().rfind(|asked| asked.what == what).unwrap().clone()
    }

    pub(super) fn all(&self) -> Vec<String> {
        self.state().asked.iter().map(|asked| asked.what.clone()).collect()
    }

    async fn serve(&self, mut stream: TcpStream) {
        stream.set_nodelay(true).unwrap();
        let mut buffer = Vec::new();
        while let Some((what, token, body)) = receive(&mut stream, &mut buffer).await {
            let asked = Asked { what: what.clone(), token, body: body.clone() };
            if what == "PUT auth/token/liveness" && body.get("beat").is_none() {
                let Some(number) = self.open_stream(asked) else {
                    if self.state().silent {
                        return std::future::pending().await;
                    }
                    let status = self.state().untied.unwrap_or(503);
                    let _ = stream.write_all(&reply(status, &json!({ "errors": ["no"] }))).await;
                    continue;
                };
                return self.stream(stream, number).await;
            }
            let (status, value) = self.decide(asked);
            if stream.write_all(&reply(status, &value)).await.is_err() {
                return;
            }
        }
    }

    fn open_stream(&self, asked: Asked) -> Option<usize> {
        let mut state = self.state();
        state.asked.push(asked);
        if state.silent || state.untied.is_some() || state.down.is_some() {
            return None;
        }
        state.streams += 1;
        Some(state.streams)
    }

    async fn stream(&self, mut stream: TcpStream, number: usize) {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
        let _ = stream.write_all(head.as_bytes()).await;
        let mut line = "{\"bound\":true,\"grace\":1}\n".to_owned();
        while self.state().cut < number {
            let chunk = format!("{:x}\r\n{line}\r\n", line.len());
            if stream.write_all(chunk.as_bytes()).await.is_err() {
                return;
            }
            line = "{\"beat\":1}\n".to_owned();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn decide(&self, asked: Asked) -> (u16, Value) {
        let mut state = self.state();
        let (what, body) = (asked.what.clone(), asked.body.clone());
        state.asked.push(asked);
        let refused = |status: u16| (status, json!({ "errors": ["refused"] }));
        if let Some(status) = state.down {
            return refused(status);
        }
        match what.as_str() {
            "PUT auth/token/liveness" => {
                state.beats += 1;
                (204, Value::Null)
            }
            "PUT auth/token/create" | "PUT auth/jwt/login" | "PUT auth/approle/login" => {
                state.logins += 1;
                let auth = json!({ "client_token": format!("token-{}", state.logins), "accessor": "a", "policies": [],
                    "lease_duration": state.token_ttl, "renewable": state.token_renewable, "metadata": null });
                (200, json!({ "request_id": "r", "auth": auth, "data": null }))
            }
            "PUT auth/token/renew-self" => {
                let auth = json!({ "client_token": "", "accessor": "a", "policies": [], "metadata": null,
                    "lease_duration": state.token_ttl, "renewable": true });
                (200, json!({ "request_id": "r", "auth": auth, "data": null }))
            }
            "PUT auth/token/revoke-self" | "PUT sys/leases/revoke" => (204, Value::Null),
            _ => {
                let key = match what.as_str() {
                    "PUT sys/leases/renew" => format!("renew {}", body["lease_id"].as_str().unwrap_or_default()),
                    other => other.trim_start_matches("GET ").to_owned(),
                };
                match state.answers.get_mut(&key) {
                    Some(answers) if answers.len() > 1 => (200, answers.pop_front().unwrap()),
                    Some(answers) => (200, answers[0].clone()),
                    None => refused(404),
                }
            }
        }
    }
}

fn reply(status: u16, value: &Value) -> Vec<u8> {
    let body = if value.is_null() { String::new() } else { value.to_string() };
    format!("HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}

/// One request: `METHOD path`, the token, the body.
async fn receive(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(String, String, Value)> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
            let header = |name: &str| {
                head.lines().find_map(|line| {
                    let (key, value) = line.split_once(": ")?;
                    key.eq_ignore_ascii_case(name).then(|| value.to_owned())
                })
            };
            let length: usize = header("content-length").map_or(0, |length| length.parse().unwrap());
            if buffer.len() >= end + 4 + length {
                let body = serde_json::from_slice(&buffer[end + 4..end + 4 + length]).unwrap_or(Value::Null);
                buffer.drain(..end + 4 + length);
                let mut words = head.split(' ');
                let (method, target) = (words.next()?, words.next()?);
                let path = target.trim_start_matches("/v1/");
                return Some((format!("{method} {path}"), header("x-vault-token").unwrap_or_default(), body));
            }
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}
