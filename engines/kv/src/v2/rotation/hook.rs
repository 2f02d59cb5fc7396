//! The HTTP hook: who keeps the other end of a secret learns of its new value in four steps.
//!
//! Each step is a POST of a JSON object, signed over its time and its bytes. A step that is repeated after a crash or an
//! error carries the same idempotency key. Only status 2xx is success; redirects are not followed, as the value would
//! go where nobody said.

use std::{error::Error as _, net::IpAddr, time::Duration};

use bytes::Bytes;
use clock::Timestamp;
use engine::Error;
use reqwest::{Certificate, Client, redirect};
use secret::{SecretString, WipedBytes, Zeroizing};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use url::{Host, Url};

use crate::{
    json::{buffer, quoted},
    v2::hexadecimal,
};

/// Where to call, and how to sign.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Hook {
    pub(crate) url: String,
    #[serde(with = "kept")]
    pub(crate) secret: SecretString,
    pub(crate) ca_cert: String,
    pub(crate) timeout: Duration,
}

/// The steps, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    /// Take note of the new value, or name another one.
    Create,
    /// Make the new value work beside the old one.
    Set,
    /// Try the new value.
    Test,
    /// The new value is in force: end the old one when its overlap is over.
    Finish,
}

impl Step {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Set => "set",
            Self::Test => "test",
            Self::Finish => "finish",
        }
    }
}

/// What is said to the hook.
pub(crate) struct Message<'a> {
    pub(crate) step: Step,
    /// The id of the version: the same in all steps.
    pub(crate) id: &'a str,
    pub(crate) mount: &'a str,
    pub(crate) path: &'a str,
    pub(crate) field: &'a str,
    pub(crate) version: u64,
    /// The new value as JSON.
    pub(crate) value: Option<&'a str>,
    /// The value in force as JSON, for the step that needs it to log in with.
    pub(crate) current_value: Option<&'a str>,
    /// For how long the old value shall go on working, in seconds.
    pub(crate) overlap: u64,
}

impl Hook {
    /// Checks what was said. Nothing is sent yet.
    pub(crate) fn new(
        url: String,
        secret: SecretString,
        ca_cert: String,
        timeout: Option<Duration>,
    ) -> Result<Self, Error> {
        if secret.len() < MIN_SECRET {
            return Err(Error::invalid(format!("hook.secret: use at least {MIN_SECRET} random bytes")));
        }
        let timeout = timeout.unwrap_or(DEFAULT_TIMEOUT);
        if timeout > MAX_TIMEOUT {
            let max = MAX_TIMEOUT.as_secs();
            return Err(Error::invalid(format!("hook.timeout: at most {max} seconds for each step")));
        }
        let hook = Self { url, secret, ca_cert, timeout };
        hook.client()?;
        Ok(hook)
    }

    /// Does one step. For [`Step::Create`], the answer may name another value, which is given as JSON.
    pub(crate) async fn call(&self, now: Timestamp, message: &Message<'_>) -> Result<Option<Zeroizing<String>>, Error> {
        let step = message.step.as_str();
        let failed = |why: String| Error::Target(format!("the hook failed at step {step:?}: {why}"));
        let body = message.body();
        let request = self
            .client()?
            .post(checked(&self.url)?)
            .header("Content-Type", "application/json")
            .header("Idempotency-Key", message.idempotency_key())
            .header(SIGNATURE, self.sign(now, &body))
            .body(Bytes::from_owner(body));
        let mut response = request.send().await.map_err(|error| failed(innermost(&error)))?;
        if !response.status().is_success() {
            return Err(failed(format!("it answered with status {}", response.status().as_u16())));
        }
        let mut answer = buffer(MAX_ANSWER);
        while let Some(chunk) = response.chunk().await.map_err(|error| failed(innermost(&error)))? {
            if answer.len() + chunk.len() > MAX_ANSWER {
                return Err(failed(format!("its answer is larger than {MAX_ANSWER} bytes")));
            }
            answer.extend_from_slice(&chunk);
        }
        match message.step {
            Step::Create => named_value(&answer).map_err(failed),
            _ => Ok(None),
        }
    }

    /// Tells something that is no step of a rotation, and holds no secret. An error is why it was not taken.
    pub(crate) async fn post(&self, now: Timestamp, key: &str, body: Vec<u8>) -> Result<(), String> {
        let prepare = || Ok::<_, Error>((self.client()?, checked(&self.url)?));
        let (client, url) = prepare().map_err(|error| error.to_string())?;
        let request = client
            .post(url)
            .header("Content-Type", "application/json")
            .header("Idempotency-Key", key)
            .header(SIGNATURE, self.sign(now, &body))
            .body(body);
        let response = request.send().await.map_err(|error| innermost(&error))?;
        match response.status().is_success() {
            true => Ok(()),
            false => Err(format!("it answered with status {}", response.status().as_u16())),
        }
    }

    /// `t=<seconds>,v1=<HMAC-SHA-256 over "<seconds>." and the body, in hexadecimal>`
    fn sign(&self, now: Timestamp, body: &[u8]) -> String {
        let seconds = now.as_second();
        // EXPOSE: it is the key.
        let mut context = crypto::hmac::Key::new(self.secret.expose().as_bytes()).context();
        context.update(format!("{seconds}.").as_bytes());
        context.update(body);
        format!("t={seconds},v1={}", hexadecimal(&context.finish()))
    }

    fn client(&self) -> Result<Client, Error> {
        let url = checked(&self.url)?;
        let wrong = |why: &str| Error::invalid(format!("hook.ca_cert: {why}"));
        let mut builder = Client::builder()
            .redirect(redirect::Policy::none())
            .referer(false)
            .timeout(self.timeout)
            .pool_max_idle_per_host(0);
        if !self.ca_cert.trim().is_empty() {
            let certificates = Certificate::from_pem_bundle(self.ca_cert.as_bytes());
            let certificates = certificates.map_err(|_| wrong("these are not PEM certificates"))?;
            if certificates.is_empty() {
                return Err(wrong("there is no PEM certificate in it"));
            }
            builder = builder.tls_certs_only(certificates);
        } else if url.scheme() == "http" {
            // Loopback without TLS needs neither the system's certificates nor a proxy.
            builder = builder.tls_certs_only([]).no_proxy();
        }
        builder.build().map_err(|error| Error::invalid(format!("hook: {}", innermost(&error))))
    }
}

impl Message<'_> {
    fn idempotency_key(&self) -> String {
        format!("{}/{}", self.id, self.step.as_str())
    }

    fn body(&self) -> WipedBytes {
        let (version, overlap) = (self.version.to_string(), self.overlap.to_string());
        let texts = [
            ("step", self.step.as_str()),
            ("id", self.id),
            ("idempotency_key", &self.idempotency_key()),
            ("mount", self.mount),
            ("path", self.path),
            ("field", self.field),
        ]
        .map(|(name, text)| (name, quoted(text)));
        let given = [("value", self.value), ("current_value", self.current_value)];
        let given = given.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let mut members: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (*name, text.as_str())).collect();
        members.extend([("version", version.as_str()), ("overlap", overlap.as_str())]);
        members.extend(given);
        let mut out = buffer(members.iter().map(|(name, value)| name.len() + value.len() + 4).sum());
        for (at, (name, value)) in members.into_iter().enumerate() {
            out.extend_from_slice(if at == 0 { b"{\"" } else { b",\"" });
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
            out.extend_from_slice(value.as_bytes());
        }
        out.push(b'}');
        out
    }
}

/// The `value` of an answer. An answer without one, or that is no JSON object, leaves the value as it is.
fn named_value(answer: &[u8]) -> Result<Option<Zeroizing<String>>, String> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        value: Option<&'a RawValue>,
    }
    if !answer.trim_ascii_start().starts_with(b"{") {
        return Ok(None);
    }
    let named: Named<'_> = serde_json::from_slice(answer).map_err(|_| "its answer is not JSON".to_owned())?;
    Ok(named.value.map(|value| Zeroizing::new(value.get().to_owned())))
}

/// A URL that values may be sent to: `https`, or `http` to this very machine.
fn checked(text: &str) -> Result<Url, Error> {
    let wrong = |why: &str| Err(Error::invalid(format!("hook.url: {why}")));
    let Ok(url) = Url::parse(text) else { return wrong("it is not a URL") };
    if !url.username().is_empty() || url.password().is_some() {
        return wrong("it must not carry a user name or password");
    }
    if url.fragment().is_some() {
        return wrong("it must not have a fragment");
    }
    let loopback = match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if loopback => Ok(url),
        _ => wrong("it must begin with https:// (http:// is taken for the loopback address only)"),
    }
}

/// What went wrong, without the URL.
fn innermost(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no complete answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    match error.source() {
        Some(_) => cause.to_string(),
        None => "the call failed".to_owned(),
    }
}

/// A secret in encrypted storage.
mod kept {
    use super::{Deserialize, Deserializer, SecretString, Serializer};

    pub(crate) fn serialize<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
        // EXPOSE: storage is encrypted below the engine.
        serializer.serialize_str(secret.expose())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
        SecretString::deserialize(deserializer)
    }
}

const SIGNATURE: &str = "X-Strongroom-Signature";
const MIN_SECRET: usize = 16;
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// Four of these, and what else a rotation does, end before the server's patience.
const MAX_TIMEOUT: Duration = Duration::from_secs(25);
const MAX_ANSWER: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(url: &str) -> Result<Hook, Error> {
        Hook::new(url.to_owned(), SecretString::new("0123456789abcdef".to_owned()), String::new(), None)
    }

    #[test]
    fn values_go_over_https_or_to_this_machine() {
        for good in
            ["https://hook.example.com/rotate?x=1", "http://127.0.0.1:8080/", "http://[::1]/", "http://localhost/"]
        {
            assert!(hook(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "hook.example.com",
            "http://hook.example.com/",
            "http://127.0.0.1.example.com/",
            "http://10.0.0.1/",
            "http://169.254.169.254/",
            "file:///etc/passwd",
            "https://user:pass@hook.example.com/",
            "https://hook.example.com/#x",
        ] {
            assert!(hook(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_signature_covers_time_and_body() {
        let hook = hook("https://hook.example.com/").unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        let signature = hook.sign(at(1_800_000_000), b"{}");
        // printf '1800000000.{}' | openssl dgst -sha256 -hmac 0123456789abcdef
        let expected = "t=1800000000,v1=1313ae9c874eb1a0868ad0b65f841c4243c23fdcfad69a3ada227726fad9960e";
        assert_eq!(signature, expected);
        assert_ne!(hook.sign(at(1_800_000_001), b"{}").split(',').nth(1), signature.split(',').nth(1));
    }

    #[test]
    fn a_message_is_json_whatever_its_parts_are() {
        let message = Message {
            step: Step::Set,
            id: "i",
            mount: "kv/",
            path: "a\"b",
            field: "\u{1}\\",
            version: 3,
            value: Some("{\"x\":1}"),
            current_value: None,
            overlap: 60,
        };
        let body: serde_json::Value = serde_json::from_slice(&message.body()).unwrap();
        let expected = serde_json::json!({
            "step": "set", "id": "i", "idempotency_key": "i/set", "mount": "kv/", "path": "a\"b", "field": "\u{1}\\",
            "version": 3, "overlap": 60, "value": {"x": 1},
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn an_answer_may_name_a_value() {
        let value = |answer: &str| named_value(answer.as_bytes()).map(|value| value.map(|value| value.to_string()));
        assert_eq!(value("{\"value\": \"x\"}"), Ok(Some("\"x\"".to_owned())));
        for nothing in ["", "ok", "{}", "{\"value\":null}", "[1]"] {
            assert_eq!(value(nothing), Ok(None), "{nothing}");
        }
        assert!(value("{\"value\":").is_err());
    }
}
