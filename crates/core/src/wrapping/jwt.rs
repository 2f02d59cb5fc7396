//! Wrapping tokens as JSON Web Tokens: whoever is handed one can tell, without asking, that this server made it and where
//! the server is.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use crypto::jws::{Algorithm, PublicKey, SigningKey};
use gate::Error;
use secret::{SecretString, Zeroizing};
use serde::Deserialize;
use serde_json::json;
use storage::{Key, Tx};

/// Where the private key lies, at the top of the store.
const KEY: &str = "sys/wrapping/jwt-key";
const ALGORITHM: Algorithm = Algorithm::Es512;
/// What every such token begins with: no other token does.
const BEGINS: &str = "eyJ";
const KIND: &str = "wrapping";

/// What a token says.
#[derive(Deserialize)]
struct Claims {
    #[serde(rename = "type")]
    kind: String,
    jti: String,
}

/// The key that signs; it is made when it is first asked for, as part of `tx`.
async fn key(tx: &Tx) -> Result<SigningKey, Error> {
    let at = Key::from(KEY.to_owned());
    let unusable = || Error::internal("the key that signs wrapping tokens cannot be used");
    if let Some(private) = tx.whole().get(&at).await? {
        return SigningKey::from_private(ALGORITHM, &private).map_err(|_| unusable());
    }
    let made = SigningKey::generate(ALGORITHM).map_err(|_| unusable())?;
    tx.whole().put(at, Bytes::from_owner(Zeroizing::new(made.private().to_vec())));
    Ok(made)
}

/// A wrapping token as a signed token that names it. `issued` is in seconds since 1970.
pub(crate) async fn sign(
    tx: &Tx,
    token: &SecretString,
    accessor: &str,
    address: &str,
    issued: i64,
) -> Result<String, Error> {
    let encode = |json: String| URL_SAFE_NO_PAD.encode(json);
    let header = encode(json!({ "alg": ALGORITHM.as_str(), "typ": "JWT" }).to_string());
    // EXPOSE: into the token that is handed to the one who asked for the wrapping.
    let claims = json!({ "accessor": accessor, "addr": address, "iat": issued, "jti": token.expose(), "type": KIND });
    let text = format!("{header}.{}", encode(claims.to_string()));
    let signature = key(tx).await?.sign(text.as_bytes());
    let signature = signature.map_err(|_| Error::internal("a wrapping token cannot be signed"))?;
    Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// The wrapping token that a text stands for: the text itself, unless it is a signed token; `None` if it is one that this
/// server has not signed.
pub(crate) async fn opened(tx: &Tx, text: SecretString) -> Result<Option<SecretString>, Error> {
    // EXPOSE: looked at for its form, and taken apart.
    let whole = text.expose();
    if !whole.starts_with(BEGINS) {
        return Ok(Some(text));
    }
    let parts =
        whole.rsplit_once('.').and_then(|(signed, signature)| Some((signed, signed.split_once('.')?, signature)));
    let Some((signed, (_, claims), signature)) = parts else { return Ok(None) };
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
    let (Some(claims), Some(signature)) = (decode(claims).map(Zeroizing::new), decode(signature)) else {
        return Ok(None);
    };
    if !key(tx).await?.public().verify(ALGORITHM, signed.as_bytes(), &signature) {
        return Ok(None);
    }
    let claims: Option<Claims> = serde_json::from_slice(&claims).ok();
    Ok(claims.filter(|claims| claims.kind == KIND).map(|claims| SecretString::new(claims.jti)))
}

/// Both coordinates of the public key, as decimal numbers.
pub(crate) async fn public(tx: &Tx) -> Result<(String, String), Error> {
    match key(tx).await?.public() {
        PublicKey::Ec { x, y } => Ok((decimal(&x), decimal(&y))),
        PublicKey::Ed25519 { .. } | PublicKey::Rsa { .. } => {
            Err(Error::internal("the key that signs wrapping tokens is of another kind"))
        }
    }
}

/// A number of big-endian bytes in decimal.
fn decimal(bytes: &[u8]) -> String {
    // Least significant digit first.
    let mut digits: Vec<u8> = vec![0];
    for byte in bytes {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            let value = u32::from(*digit) * 256 + carry;
            *digit = u8::try_from(value % 10).unwrap_or_default();
            carry = value / 10;
        }
        while carry > 0 {
            digits.push(u8::try_from(carry % 10).unwrap_or_default());
            carry /= 10;
        }
    }
    digits.iter().rev().map(|digit| char::from(b'0' + digit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_as_a_decimal_number() {
        for (bytes, expected) in [
            (&[][..], "0"),
            (&[0, 0], "0"),
            (&[9], "9"),
            (&[1, 0], "256"),
            (&[0, 255, 255], "65535"),
            (&[0xff; 16], "340282366920938463463374607431768211455"),
        ] {
            assert_eq!(decimal(bytes), expected);
        }
    }
}
