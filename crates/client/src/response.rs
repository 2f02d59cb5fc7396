//! Replies, and their reading within limits.

use std::time::Duration;

use api::{Envelope, Errors, Verb};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use serde::de::DeserializeOwned;
use url::Url;

use crate::{Error, Result, method_name, origin};

/// A reply.
pub struct Response {
    /// The HTTP status: 2xx, or 404 where the body carries data or warnings.
    pub status: u16,
    /// The envelope, unless the body is empty or of the few that have none (`sys/seal-status`, `sys/health`, …).
    pub envelope: Option<Envelope>,
    /// The body as it came.
    pub raw: Bytes,
}

impl Response {
    /// Reads the envelope's `data`, or the whole body where there is no envelope.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T> {
        let text = match &self.envelope {
            Some(envelope) => envelope.data.as_ref().map_or("null", |data| data.get()).as_bytes(),
            None => &self.raw,
        };
        decode("the data of the reply", text)
    }

    /// Reads the whole body.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        decode("the reply", &self.raw)
    }

    /// What the server says beside the answer.
    pub fn warnings(&self) -> &[String] {
        self.envelope.as_ref().and_then(|envelope| envelope.warnings.as_deref()).unwrap_or_default()
    }

    /// Whether the reply has no body.
    pub fn is_empty(&self) -> bool {
        self.raw.iter().all(u8::is_ascii_whitespace)
    }
}

impl std::fmt::Debug for Response {
    /// The body may hold secrets, so its length has to do.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Response").field("status", &self.status).field("bytes", &self.raw.len()).finish_non_exhaustive()
    }
}

/// A whole reply of any status.
pub(crate) struct Received {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    request_id: Option<String>,
    method: &'static str,
    url: String,
    body: Bytes,
}

/// Reads a whole reply.
pub(crate) async fn receive(verb: Verb, url: &Url, reply: reqwest::Response) -> Result<Received> {
    let status = reply.status().as_u16();
    let header = |name: &str| reply.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let retry_after = header("retry-after").and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
    let request_id = header("x-vault-request-id").or_else(|| header("x-request-id"));
    let mut body = BytesMut::new();
    let mut stream = reply.bytes_stream();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| Error::transport(&origin(url), error))?;
        if body.len() + chunk.len() > MAX_BODY {
            return Err(Error::Decode {
                what: "the reply".to_owned(),
                message: format!("it is longer than {MAX_BODY} bytes"),
            });
        }
        body.extend_from_slice(&chunk);
    }
    let url = url.to_string();
    Ok(Received { status, retry_after, request_id, method: method_name(verb), url, body: body.freeze() })
}

impl Received {
    /// Whether the reply is an answer: 2xx, or 404 with something to say.
    pub(crate) fn is_success(&self) -> bool {
        match self.status {
            200..300 => true,
            404 => self.envelope().is_some_and(|envelope| {
                envelope.data.is_some() || envelope.warnings.is_some_and(|warnings| !warnings.is_empty())
            }),
            _ => false,
        }
    }

    pub(crate) fn into_response(self) -> Result<Response> {
        Ok(Response { status: self.status, envelope: self.envelope(), raw: self.body })
    }

    pub(crate) fn into_error(self) -> Error {
        let parsed = serde_json::from_slice::<Errors>(&self.body).ok();
        let raw = parsed.is_none() && !self.body.iter().all(u8::is_ascii_whitespace);
        let errors = match parsed {
            Some(body) => body.errors,
            None if raw => vec![excerpt(&self.body)],
            None => Vec::new(),
        };
        let Self { status, request_id, method, url, .. } = self;
        Error::Api { status, errors, request_id, method, url, raw }
    }

    /// The envelope, told from a bare JSON body by its `request_id`.
    fn envelope(&self) -> Option<Envelope> {
        #[derive(serde::Deserialize)]
        struct Mark {
            #[serde(rename = "request_id")]
            _request_id: String,
        }
        serde_json::from_slice::<Mark>(&self.body).ok()?;
        serde_json::from_slice(&self.body).ok()
    }
}

/// As much of a reply as is read into memory.
const MAX_BODY: usize = 64 << 20;

/// As much of a foreign error page as is shown.
const MAX_EXCERPT: usize = 4096;

fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body.get(..MAX_EXCERPT).unwrap_or(body));
    text.trim().chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{FFFD}' } else { c }).collect()
}

fn decode<T: DeserializeOwned>(what: &str, text: &[u8]) -> Result<T> {
    serde_json::from_slice(text)
        .map_err(|error| Error::Decode { what: what.to_owned(), message: without_value(&error) })
}

/// Where and of what kind the error is; its own text could repeat a value.
fn without_value(error: &serde_json::Error) -> String {
    let kind = match error.classify() {
        serde_json::error::Category::Io => "it cannot be read",
        serde_json::error::Category::Syntax => "it is not JSON",
        serde_json::error::Category::Data => "it has another shape than expected",
        serde_json::error::Category::Eof => "it ends early",
    };
    format!("{kind} (line {}, column {})", error.line(), error.column())
}
