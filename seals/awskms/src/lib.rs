//! The seal `awskms`: a symmetric key of AWS KMS, or of what speaks its protocol.

use std::{sync::Arc, time::Duration};

use clock::Clock;
use data_encoding::BASE64;
use seal::{Keeper, KeeperError, KeeperKind, Kept, Options, Wrapped};
use secret::{SecretBytes, Zeroizing};
use serde_json::{Value, json};
use sigv4::{Credentials, Request, Scope};
use url::Url;

/// The kind, for the list of seals.
pub const KIND: KeeperKind = KeeperKind { name: "awskms", summary: "A key of AWS KMS.", make };

struct AwsKms {
    name: String,
    http: reqwest::Client,
    endpoint: Url,
    region: String,
    key: String,
    credentials: Credentials,
    clock: Clock,
}

fn make(mut options: Options) -> Result<Arc<dyn Keeper>, String> {
    let region = options.needed("region", &["AWS_REGION", "AWS_DEFAULT_REGION"])?;
    let key = options.needed("kms_key_id", &["STRONGROOM_AWSKMS_SEAL_KEY_ID", "VAULT_AWSKMS_SEAL_KEY_ID"])?;
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !plain(&region) {
        return Err("region: use a name such as eu-central-1".to_owned());
    }
    let endpoint = options.text("endpoint", &["AWS_KMS_ENDPOINT"]);
    let endpoint = endpoint.unwrap_or_else(|| format!("https://kms.{region}.amazonaws.com"));
    let endpoint = Url::parse(&endpoint).ok().filter(|url| url.has_host() && matches!(url.scheme(), "http" | "https"));
    let endpoint = endpoint.ok_or("endpoint: use a URL such as https://kms.eu-central-1.amazonaws.com")?;
    let credentials = Credentials {
        access_key_id: options.needed("access_key", &["AWS_ACCESS_KEY_ID"])?,
        secret_access_key: options
            .secret("secret_key", &["AWS_SECRET_ACCESS_KEY"])
            .ok_or_else(|| seal::missing("secret_key", &["AWS_SECRET_ACCESS_KEY"]))?,
        session_token: options.secret("session_token", &["AWS_SESSION_TOKEN"]),
    };
    let mut builder = reqwest::Client::builder().timeout(PATIENCE).redirect(reqwest::redirect::Policy::none());
    if endpoint.scheme() == "http" {
        // Nothing is verified, so the authorities of the machine need not be there.
        builder = builder.tls_certs_only([]);
    }
    let http = builder.build().map_err(|error| format!("TLS cannot be prepared: {error}"))?;
    let name = std::mem::take(&mut options.name);
    options.end()?;
    Ok(Arc::new(AwsKms { name, http, endpoint, region, key, credentials, clock: Clock::system() }))
}

impl Keeper for AwsKms {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn wrap<'a>(&'a self, key: &'a SecretBytes) -> Kept<'a, Wrapped> {
        Box::pin(async move {
            // EXPOSE: sent to the service that encrypts it.
            let body = json!({ "KeyId": self.key, "Plaintext": BASE64.encode(key.expose()) });
            let answer = self.ask("Encrypt", &body).await?;
            let text = |field: &str| answer.get(field).and_then(Value::as_str).map(str::to_owned);
            let blob = text("CiphertextBlob").ok_or_else(|| odd("CiphertextBlob"))?;
            // The key as AWS names it: an alias may lead elsewhere later.
            Ok(Wrapped { key_id: text("KeyId").unwrap_or_else(|| self.key.clone()), text: blob })
        })
    }

    fn unwrap<'a>(&'a self, wrapped: &'a Wrapped) -> Kept<'a, SecretBytes> {
        Box::pin(async move {
            let body = json!({ "KeyId": wrapped.key_id, "CiphertextBlob": wrapped.text });
            let answer = self.ask("Decrypt", &body).await?;
            let text = answer.get("Plaintext").and_then(Value::as_str).ok_or_else(|| odd("Plaintext"))?;
            BASE64.decode(text.as_bytes()).map(SecretBytes::new).map_err(|_| odd("Plaintext"))
        })
    }
}

impl AwsKms {
    async fn ask(&self, act: &str, body: &Value) -> Result<Value, KeeperError> {
        let body = Zeroizing::new(body.to_string());
        let target = format!("TrentService.{act}");
        let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", target.as_str())];
        let host = match self.endpoint.port() {
            Some(port) => format!("{}:{port}", self.endpoint.host_str().unwrap_or_default()),
            None => self.endpoint.host_str().unwrap_or_default().to_owned(),
        };
        let body_hash = sigv4::hash(body.as_bytes());
        let (path, query) = (self.endpoint.path(), "");
        let request = Request { method: "POST", host: &host, path, query, headers: &headers, body_hash: &body_hash };
        let scope = Scope { region: &self.region, service: "kms" };
        let mut sent = self.http.post(self.endpoint.clone());
        for (name, value) in headers {
            sent = sent.header(name, value);
        }
        for (name, value) in sigv4::sign(&request, &scope, &self.credentials, self.clock.now()) {
            sent = sent.header(name, value);
        }
        let unavailable = |error: reqwest::Error| KeeperError::Unavailable(format!("AWS KMS: {}", error.without_url()));
        let answer = sent.body(body.as_bytes().to_vec()).send().await.map_err(unavailable)?;
        let status = answer.status();
        let bytes = Zeroizing::new(answer.bytes().await.map_err(unavailable)?.to_vec());
        let answer: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        match status.as_u16() {
            200 => Ok(answer),
            status => Err(said(status, act, &answer)),
        }
    }
}

/// What an error of the service means.
fn said(status: u16, act: &str, answer: &Value) -> KeeperError {
    let kind = answer["__type"].as_str().unwrap_or_default();
    let kind = kind.rsplit(['#', '.']).next().unwrap_or_default();
    let message = answer["message"].as_str().or(answer["Message"].as_str()).unwrap_or_default();
    let text = format!("AWS KMS refused {act} ({status} {kind}): {message}");
    let passes =
        status >= 500 || matches!(kind, "ThrottlingException" | "LimitExceededException" | "KMSInternalException");
    if passes { KeeperError::Unavailable(text) } else { KeeperError::Refused(text) }
}

fn odd(field: &str) -> KeeperError {
    KeeperError::Refused(format!("the answer of AWS KMS has no {field} that can be read"))
}

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use secret::SecretString;

    use super::*;

    #[test]
    fn options_that_do_not_go_are_told_by_name() {
        let rows: &[(&[(&str, &str)], &str)] = &[
            (&[("region", "eu central"), ("kms_key_id", "k")], "region: use a name such as"),
            (&[("region", "eu-central-1"), ("kms_key_id", "k"), ("endpoint", "kms")], "endpoint: use a URL"),
            (
                &[
                    ("region", "eu-central-1"),
                    ("kms_key_id", "k"),
                    ("access_key", "a"),
                    ("secret_key", "s"),
                    ("shared_creds_file", "x"),
                    ("endpoint", "http://127.0.0.1:1"),
                ],
                "shared_creds_file: this seal has no such option",
            ),
        ];
        for (given, text) in rows {
            let values = given.iter().map(|(name, value)| ((*name).to_owned(), SecretString::new((*value).to_owned())));
            let error = make(Options::new("awskms", values.collect())).err().unwrap();
            assert!(error.contains(text), "{error}");
        }
    }

    #[test]
    fn what_may_pass_is_told_apart_from_what_will_not() {
        let error = |kind: &str| json!({ "__type": kind, "message": "no" });
        assert!(matches!(said(500, "Decrypt", &Value::Null), KeeperError::Unavailable(_)));
        assert!(matches!(said(400, "Decrypt", &error("ThrottlingException")), KeeperError::Unavailable(_)));
        let refused = said(400, "Decrypt", &error("com.amazonaws#DisabledException"));
        assert_eq!(refused, KeeperError::Refused("AWS KMS refused Decrypt (400 DisabledException): no".to_owned()));
    }
}
