//! Signatures of requests to AWS and to what speaks its protocols (Signature Version 4). Pure.
//!
//! Source: AWS, "Create a signed AWS API request", and the example of the derivation of a signing key there.

use clock::Timestamp;
use crypto::{hash::sha256, hmac};
use data_encoding::HEXLOWER;
use secret::{SecretString, Zeroizing};

/// Who asks.
#[derive(Debug)]
pub struct Credentials {
    /// The id of the access key.
    pub access_key_id: String,
    /// The access key.
    pub secret_access_key: SecretString,
    /// What goes with a key that is lent for a while.
    pub session_token: Option<SecretString>,
}

/// A request to be signed.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    /// The method, in capitals.
    pub method: &'r str,
    /// The value of the header `host`.
    pub host: &'r str,
    /// The path, encoded as it is sent.
    pub path: &'r str,
    /// The query, encoded, its parameters sorted; empty for none.
    pub query: &'r str,
    /// Headers that are signed besides those that are added, with names in lower case.
    pub headers: &'r [(&'r str, &'r str)],
    /// The SHA-256 of the body, see [`hash`].
    pub body_hash: &'r str,
}

/// For whom a signature is good.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'s> {
    /// Such as `eu-central-1`.
    pub region: &'s str,
    /// Such as `kms`.
    pub service: &'s str,
}

/// The SHA-256 of a body in hexadecimal digits.
pub fn hash(body: &[u8]) -> String {
    HEXLOWER.encode(&sha256(body))
}

/// The headers that have to be sent besides `request.headers`, for a request that is sent at the time `now`.
pub fn sign(
    request: &Request<'_>,
    scope: &Scope<'_>,
    credentials: &Credentials,
    now: Timestamp,
) -> Vec<(&'static str, String)> {
    let time = now.strftime("%Y%m%dT%H%M%SZ").to_string();
    let day = now.strftime("%Y%m%d").to_string();
    let mut added = vec![("x-amz-content-sha256", request.body_hash.to_owned()), ("x-amz-date", time.clone())];
    if let Some(token) = &credentials.session_token {
        // EXPOSE: sent to whom it is for.
        added.push(("x-amz-security-token", token.expose().clone()));
    }
    let mut signed: Vec<(&str, &str)> = request.headers.to_vec();
    signed.push(("host", request.host));
    signed.extend(added.iter().map(|(name, value)| (*name, value.as_str())));
    signed.sort_unstable();
    let names = signed.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let lines: String = signed.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
    let canonical = Zeroizing::new(format!(
        "{}\n{}\n{}\n{lines}\n{names}\n{}",
        request.method, request.path, request.query, request.body_hash
    ));
    let within = format!("{day}/{}/{}/aws4_request", scope.region, scope.service);
    let text = format!("{ALGORITHM}\n{time}\n{within}\n{}", hash(canonical.as_bytes()));
    let signature = HEXLOWER.encode(&hmac::Key::new(&*key(credentials, &day, scope)).sign(text.as_bytes()));
    added.push((
        "authorization",
        format!(
            "{ALGORITHM} Credential={}/{within}, SignedHeaders={names}, Signature={signature}",
            credentials.access_key_id
        ),
    ));
    added
}

/// The key of a day, a region and a service.
fn key(credentials: &Credentials, day: &str, scope: &Scope<'_>) -> Zeroizing<[u8; 32]> {
    // EXPOSE: the signing key is derived from it.
    let first = Zeroizing::new(format!("AWS4{}", credentials.secret_access_key.expose()));
    let mut key = Zeroizing::new(hmac::Key::new(first.as_bytes()).sign(day.as_bytes()));
    for part in [scope.region, scope.service, "aws4_request"] {
        key = Zeroizing::new(hmac::Key::new(&*key).sign(part.as_bytes()));
    }
    key
}

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn credentials() -> Credentials {
        Credentials {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: SecretString::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned()),
            session_token: None,
        }
    }

    /// The example of AWS's own documentation, "Deriving the signing key".
    #[test]
    fn the_published_key_comes_out() {
        let scope = Scope { region: "us-east-1", service: "iam" };
        let key = key(&credentials(), "20150830", &scope);
        assert_eq!(HEXLOWER.encode(&*key), "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9");
    }

    #[test]
    fn all_that_is_signed_is_named_in_order_and_nothing_shows_the_key() {
        let request = Request {
            method: "POST",
            host: "kms.us-east-1.amazonaws.com",
            path: "/",
            query: "",
            headers: &[("x-amz-target", "TrentService.Encrypt"), ("content-type", "application/x-amz-json-1.1")],
            body_hash: &hash(b"{}"),
        };
        let credentials = Credentials { session_token: Some(SecretString::new("lent".to_owned())), ..credentials() };
        let now: Timestamp = "2015-08-30T12:36:00Z".parse().unwrap();
        let headers = sign(&request, &Scope { region: "us-east-1", service: "kms" }, &credentials, now);
        let value = |name: &str| headers.iter().find(|(found, _)| *found == name).unwrap().1.clone();
        assert_eq!(
            (value("x-amz-date").as_str(), value("x-amz-security-token").as_str()),
            ("20150830T123600Z", "lent")
        );
        let authorization = value("authorization");
        assert!(authorization.starts_with(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/kms/aws4_request, SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date;x-amz-security-token;x-amz-target, Signature="
        ), "{authorization}");
        assert!(!format!("{headers:?}").contains("wJalr"));
        let later = sign(
            &request,
            &Scope { region: "us-east-1", service: "kms" },
            &credentials,
            "2015-08-30T12:36:01Z".parse().unwrap(),
        );
        assert_ne!(later.last().unwrap().1, authorization);
    }
}
