//! SCRAM-SHA-256 verifiers (RFC 5802, RFC 7677) in the form in which PostgreSQL stores them.
//!
//! Whoever has a verifier can check a password but not log in with it. Sent in place of a password, it keeps the
//! password out of the database server's memory, log and statistics.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use engine_database::target::Error;
use secret::Zeroizing;

/// A verifier for `password` with a new salt.
pub(crate) fn verifier(password: &str) -> Result<Zeroizing<String>, Error> {
    // Other characters would have to be normalised as RFC 4013 says, or the user could not log in.
    if !password.bytes().all(|byte| (0x20..0x7F).contains(&byte)) || password.is_empty() {
        let text = "the password has characters other than printable ASCII, which cannot be sent as a SCRAM verifier: use another \
                    password policy, or set password_authentication to \"password\"";
        return Err(Error::Invalid(text.to_owned()));
    }
    Ok(with_salt(password, &crypto::random::bytes::<16>(), ITERATIONS))
}

fn with_salt(password: &str, salt: &[u8], iterations: u32) -> Zeroizing<String> {
    let mut salted = Zeroizing::new([0; 32]);
    crypto::kdf::pbkdf2_sha256(password.as_bytes(), salt, iterations, &mut *salted);
    let key = crypto::hmac::Key::new(&*salted);
    let client_key = Zeroizing::new(key.sign(b"Client Key"));
    let stored_key = crypto::hash::sha256(&*client_key);
    let server_key = key.sign(b"Server Key");
    let encode = |bytes: &[u8]| STANDARD.encode(bytes);
    Zeroizing::new(format!(
        "SCRAM-SHA-256${iterations}:{}${}:{}",
        encode(salt),
        encode(&stored_key),
        encode(&server_key)
    ))
}

/// What PostgreSQL itself takes.
const ITERATIONS: u32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exchange_of_rfc_7677_is_reproduced() {
        // Section 3 gives user "user", password "pencil", this salt, 4096 iterations, and the two proofs of the
        // exchange. Both follow from the verifier alone and the messages.
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let verifier = with_salt("pencil", &salt, 4096);
        let (_, keys) = verifier.rsplit_once('$').unwrap();
        let (stored, server) = keys.split_once(':').unwrap();
        let (stored, server) = (STANDARD.decode(stored).unwrap(), STANDARD.decode(server).unwrap());
        let message = "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                       s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let server_signature = crypto::hmac::Key::new(&server).sign(message.as_bytes());
        assert_eq!(STANDARD.encode(server_signature), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        let client_signature = crypto::hmac::Key::new(&stored).sign(message.as_bytes());
        let proof = STANDARD.decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").unwrap();
        let client_key: Vec<u8> = proof.iter().zip(client_signature).map(|(a, b)| a ^ b).collect();
        assert_eq!(crypto::hash::sha256(&client_key).to_vec(), stored);
    }

    #[test]
    fn each_verifier_has_its_own_salt() {
        assert_ne!(*verifier("a-password").unwrap(), *verifier("a-password").unwrap());
        assert!(verifier("a-password").unwrap().starts_with("SCRAM-SHA-256$4096:"));
        assert!(verifier("pässword").is_err() && verifier("").is_err() && verifier("a\tb").is_err());
    }
}
