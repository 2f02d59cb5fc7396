use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use serde_json::{Map, Value};

use super::{pgp, unseal};
use crate::{
    failure::{DONE, Failure, Outcome},
    input,
    output::{answer::Answer, json::Json, table},
    session::Session,
};

/// Make a root token with the key shares, when none is left
///
/// -init begins and prints a one-time password; then enough holders of key shares each run the command and hand theirs
/// in; the last one is shown the token, encoded; -decode with the one-time password makes it readable.
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Begin:
        strongroom operator generate-root -init

    Hand a key share in:
        strongroom operator generate-root

    Read the token:
        strongroom operator generate-root -decode=ENCODED -otp=-

    Give up:
        strongroom operator generate-root -cancel")]
pub(crate) struct GenerateRoot {
    /// The key share; - reads standard input
    key: Option<String>,

    /// Begin
    #[arg(long)]
    init: bool,

    /// Give up
    #[arg(long, conflicts_with = "init")]
    cancel: bool,

    /// Show how far it is
    #[arg(long, conflicts_with_all = ["init", "cancel"])]
    status: bool,

    /// Decode a token with the one-time password, here; - reads standard input
    #[arg(long, value_name = "ENCODED", conflicts_with_all = ["init", "cancel", "status"])]
    decode: Option<String>,

    /// Print a one-time password for -init
    #[arg(long, conflicts_with_all = ["init", "cancel", "status", "decode"])]
    generate_otp: bool,

    /// The one-time password; - reads standard input. Without it, -init has the server make one
    #[arg(long, value_name = "PASSWORD")]
    otp: Option<String>,

    /// A file of a PGP public key to encrypt the token for, instead of a one-time password
    #[arg(long, value_name = "FILE", conflicts_with = "otp")]
    pgp_key: Option<String>,

    /// The number that -init printed, for shares that are not asked for
    #[arg(long)]
    nonce: Option<String>,
}

const ATTEMPT: &str = "sys/generate-root/attempt";

impl GenerateRoot {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        if let Some(encoded) = &self.decode {
            return self.decoded(session, encoded);
        }
        if self.generate_otp {
            return generate_otp(session).await;
        }
        if self.cancel {
            session.delete("canceling root token generation", ATTEMPT).await?;
            return session.success("Root token generation canceled (if it was started)");
        }
        if self.init {
            return self.begin(session).await;
        }
        let status = session.read("getting root generation status", ATTEMPT, &[]).await?;
        let status =
            status.ok_or_else(|| Failure::local("Error getting root generation status: the reply is empty"))?;
        if self.status {
            return show(session, &status);
        }
        self.hand_in(session, &status).await
    }

    async fn begin(&self, session: &Session) -> Outcome {
        let mut body = Map::new();
        if let Some(otp) = &self.otp {
            body.insert("otp".to_owned(), input::value(otp)?.trim().into());
        }
        if let Some(file) = &self.pgp_key {
            body.insert("pgp_key".to_owned(), pgp::key(file)?.into());
        }
        let answer = session.write("initializing root generation", ATTEMPT, body).await?;
        let answer = answer.ok_or_else(|| Failure::local("Error initializing root generation: the reply is empty"))?;
        if answer.at("otp").and_then(Json::text).is_some_and(|otp| !otp.is_empty()) {
            session.terminal.warn("Keep the OTP below: without it the token cannot be read.\n");
        }
        show(session, &answer)
    }

    async fn hand_in(&self, session: &Session, status: &Answer) -> Outcome {
        let data = status.data.clone().unwrap_or(Json::Null);
        if !data.is_true("started") {
            return Err(Failure::local(
                "No root generation is in progress. Begin one with `operator generate-root -init`",
            ));
        }
        let shown = data.text_at("nonce");
        let nonce = match (&self.key, &self.nonce) {
            (_, Some(nonce)) => nonce,
            // Somebody who cannot see the number must say which operation the share is for.
            (Some(_), None) => return Err(Failure::local("Missing nonce value: specify it via the -nonce flag")),
            (None, None) => {
                session.terminal.note(&format!("Operation nonce: {shown}"));
                shown
            }
        };
        let key = unseal::share(session, self.key.as_deref())?;
        let body = Map::from_iter([("key".to_owned(), Value::String(key)), ("nonce".to_owned(), nonce.into())]);
        let answer = session.write("posting unseal key", "sys/generate-root/update", body).await?;
        show(session, &answer.ok_or_else(|| Failure::local("Error posting unseal key: the reply is empty"))?)
    }

    fn decoded(&self, session: &Session, encoded: &str) -> Outcome {
        let otp = self.otp.as_deref().ok_or_else(|| Failure::local("Missing otp: use -otp to supply it"))?;
        if encoded == "-" && otp == "-" {
            return Err(Failure::local("standard input can be used for one value only: '-' is given twice"));
        }
        let (encoded, otp) = (input::value(encoded)?, input::value(otp)?);
        let token = decode(encoded.trim(), otp.trim()).map_err(Failure::Local)?;
        if session.terminal.is_table() {
            session.terminal.print(&token)?;
        } else {
            session.terminal.structured(&Json::Map(vec![("token".to_owned(), token.into())]))?;
        }
        Ok(DONE)
    }
}

/// The token is the encoded text XOR the one-time password.
fn decode(encoded: &str, otp: &str) -> Result<String, String> {
    let bytes = STANDARD_NO_PAD
        .decode(encoded.trim_end_matches('='))
        .map_err(|_| "Error decoding root token: it is not base64")?;
    if bytes.len() != otp.len() {
        return Err(format!(
            "Error decoding root token: it has {} bytes and the one-time password {}; they belong together",
            bytes.len(),
            otp.len()
        ));
    }
    let token = bytes.iter().zip(otp.as_bytes()).map(|(byte, key)| byte ^ key).collect();
    String::from_utf8(token).ok().filter(|token| token.bytes().all(|byte| byte.is_ascii_graphic())).ok_or_else(|| {
        "Error decoding root token: the one-time password is not the one that it was encoded with".to_owned()
    })
}

/// A one-time password of the length that the server wants.
async fn generate_otp(session: &Session) -> Outcome {
    let status = session.read("getting root generation status", ATTEMPT, &[]).await?;
    let length = status.and_then(|status| status.data).map_or(0, |status| status.integer_at("otp_length"));
    // Old servers take 16 bytes in base64 and do not say so.
    let otp = match usize::try_from(length) {
        Ok(0) | Err(_) => STANDARD.encode(crypto::random::bytes::<16>()),
        Ok(length) => crypto::random::base62(length.min(1024)).to_string(),
    };
    if session.terminal.is_table() {
        session.terminal.print(&otp)?;
    } else {
        session.terminal.structured(&Json::Map(vec![("otp".to_owned(), otp.into())]))?;
    }
    Ok(DONE)
}

fn show(session: &Session, answer: &Answer) -> Outcome {
    let status = answer.data.clone().unwrap_or(Json::Null);
    if session.terminal.field.is_some() || !session.terminal.is_table() {
        return session.terminal.object(&status);
    }
    let text = |name: &str| status.text_at(name).to_owned();
    let mut rows = vec![
        vec!["Nonce".to_owned(), text("nonce")],
        vec!["Started".to_owned(), status.is_true("started").to_string()],
        vec!["Progress".to_owned(), format!("{}/{}", status.integer_at("progress"), status.integer_at("required"))],
        vec!["Complete".to_owned(), status.is_true("complete").to_string()],
    ];
    let optional =
        [("PGP Fingerprint", text("pgp_fingerprint")), ("Encoded Token", text("encoded_token")), ("OTP", text("otp"))];
    rows.extend(
        optional.into_iter().filter(|(_, value)| !value.is_empty()).map(|(key, value)| vec![key.to_owned(), value]),
    );
    if let Some(length) = status.get("otp_length").and_then(Json::integer).filter(|length| *length > 0) {
        rows.push(vec!["OTP Length".to_owned(), length.to_string()]);
    }
    session.terminal.print(&table::columns(&rows))?;
    Ok(DONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_makes_the_token_readable() {
        let token = "hvs.0123456789abcdefghijABCD";
        let otp = "ZYXWVUTSRQPONMLKJIHGFEDCBA98";
        let mixed: Vec<u8> = token.bytes().zip(otp.bytes()).map(|(a, b)| a ^ b).collect();
        let encoded = STANDARD_NO_PAD.encode(mixed);
        assert_eq!(decode(&encoded, otp).unwrap(), token);
        assert_eq!(decode(&format!("{encoded}=="), otp).unwrap(), token);
        assert!(decode(&encoded, "short").unwrap_err().contains("5"));
        assert!(decode("***", otp).unwrap_err().contains("base64"));
        assert!(decode(&encoded, &"\u{7f}".repeat(28)).is_err());
    }
}
