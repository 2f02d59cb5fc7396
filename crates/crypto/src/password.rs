//! Hashes of passwords: argon2id for new ones, bcrypt for those that are brought along from elsewhere.
//!
//! All functions here take milliseconds on purpose: call them on a thread that may block.

use argon2::{
    Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version,
    password_hash::{PasswordHashString, SaltString},
};
use base64::{
    Engine,
    alphabet::BCRYPT,
    engine::{GeneralPurpose, GeneralPurposeConfig},
};
use secret::{SecretString, Zeroizing};

use crate::random;

/// The memory that a new hash takes, in KiB.
pub const MEMORY: u32 = 19 * 1024;
/// How often a new hash goes over its memory.
pub const PASSES: u32 = 2;
/// The costs of bcrypt that are taken: 2 to this power is the number of rounds. Above, one login would take seconds.
pub const BCRYPT_COSTS: std::ops::RangeInclusive<u32> = 4..=14;
/// bcrypt looks at no more bytes of a password than these.
pub const BCRYPT_BYTES: usize = 72;

/// A hash that was read from its text.
pub struct Hash(Kind);

enum Kind {
    Argon2id(PasswordHashString),
    Bcrypt { cost: u32, salt: [u8; 16], output: [u8; 23] },
}

/// Hashes a password with argon2id and a new salt. Gives the text to be stored.
#[allow(clippy::expect_used, reason = "fails only without memory or with other parameters")]
pub fn hash(password: &[u8]) -> SecretString {
    let salt = SaltString::encode_b64(&random::bytes::<16>()).expect("the length of the salt is allowed");
    let hash = argon2id().hash_password(password, &salt).expect("the parameters are allowed");
    SecretString::new(hash.to_string())
}

/// Whether `password` is the one that was hashed; not if there is no hash.
///
/// The work does not depend on the hash: one argon2id, and, with `bcrypt`, as many rounds of bcrypt as that cost says.
/// So it does not show whether there is a hash, nor of which kind, as long as no hash costs more than `bcrypt`.
pub fn verify(hash: Option<&Hash>, password: &[u8], bcrypt: Option<u32>) -> bool {
    let kind = hash.map(|hash| &hash.0);
    let fits_argon2id = match kind {
        Some(Kind::Argon2id(held)) => argon2id().verify_password(password, &held.password_hash()).is_ok(),
        Some(Kind::Bcrypt { .. }) | None => {
            spend_argon2id(password);
            false
        }
    };
    let (fits_bcrypt, done) = match kind {
        Some(Kind::Bcrypt { cost, salt, output }) => {
            let made = Zeroizing::new(run_bcrypt(*cost, *salt, password));
            (made.get(..output.len()).is_some_and(|made| secret::equal(made, output)), Some(*cost))
        }
        Some(Kind::Argon2id(_)) | None => (false, None),
    };
    if let Some(bcrypt) = bcrypt {
        spend_bcrypt(done, bcrypt, password);
    }
    fits_argon2id || fits_bcrypt
}

impl Hash {
    /// Reads a hash that [`hash`] made.
    pub fn stored(text: &str) -> Option<Self> {
        let hash = PasswordHashString::new(text).ok()?;
        (hash.algorithm() == Algorithm::Argon2id.ident()).then_some(Self(Kind::Argon2id(hash)))
    }

    /// Reads a bcrypt hash in its modular form, such as `$2b$12$…`, of one of the [`BCRYPT_COSTS`].
    pub fn bcrypt(text: &str) -> Option<Self> {
        let mut parts = text.split('$');
        let ("", "2a" | "2b" | "2y", cost, body, None) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next())
        else {
            return None;
        };
        let two_digits = cost.len() == 2 && cost.bytes().all(|byte| byte.is_ascii_digit());
        let cost: u32 = two_digits.then(|| cost.parse().ok())??;
        let (salt, output) = body.split_at_checked(22)?;
        let salt = BASE64.decode(salt).ok()?.try_into().ok()?;
        let output = BASE64.decode(output).ok()?.try_into().ok()?;
        BCRYPT_COSTS.contains(&cost).then_some(Self(Kind::Bcrypt { cost, salt, output }))
    }

    /// The cost, if it is a bcrypt hash.
    pub fn bcrypt_cost(&self) -> Option<u32> {
        match &self.0 {
            Kind::Argon2id(_) => None,
            Kind::Bcrypt { cost, .. } => Some(*cost),
        }
    }
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hash").field("bcrypt_cost", &self.bcrypt_cost()).finish_non_exhaustive()
    }
}

#[allow(clippy::expect_used, reason = "the parameters are constants")]
fn argon2id() -> Argon2<'static> {
    let params = Params::new(MEMORY, PASSES, 1, None).expect("the parameters are allowed");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// The work of one argon2id, for nothing.
fn spend_argon2id(password: &[u8]) {
    let mut output = Zeroizing::new([0; Params::DEFAULT_OUTPUT_LEN]);
    // What comes out is of no use, an error neither.
    let _ = std::hint::black_box(argon2id().hash_password_into(password, &[0; 16], &mut *output));
}

/// The rounds that are missing to those of the cost `wanted`, for nothing: 2^wanted is 2^done and then one of each cost
/// from `done` to below `wanted`.
fn spend_bcrypt(done: Option<u32>, wanted: u32, password: &[u8]) {
    let missing = match done {
        Some(done) => done..wanted,
        None => wanted..wanted + 1,
    };
    for cost in missing {
        std::hint::black_box(run_bcrypt(cost, [0; 16], password));
    }
}

fn run_bcrypt(cost: u32, salt: [u8; 16], password: &[u8]) -> [u8; 24] {
    let mut ended = Zeroizing::new(Vec::with_capacity(password.len() + 1));
    ended.extend_from_slice(password);
    ended.push(0);
    bcrypt::bcrypt(cost, salt, ended.get(..BCRYPT_BYTES).unwrap_or(&ended))
}

/// Some programs leave bits behind that the last letter of a salt does not need.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &BCRYPT,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(base64::engine::DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_fits_its_own_hash_alone() {
        let text = hash(b"correct horse");
        // EXPOSE: a test reads back what it made.
        let text = text.expose();
        assert!(text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{text}");
        let held = Hash::stored(text).unwrap();
        assert!(verify(Some(&held), b"correct horse", None));
        for wrong in [b"correct horse ".as_slice(), b"Correct horse", b"", b"correct horse\0"] {
            assert!(!verify(Some(&held), wrong, Some(4)));
        }
        // EXPOSE: as above.
        assert_ne!(hash(b"correct horse").expose(), text, "each hash has its own salt");
    }

    #[test]
    fn without_a_hash_nothing_fits() {
        assert!(!verify(None, b"", None));
        assert!(!verify(None, b"x", Some(4)));
    }

    /// Made with `crypt(3)` of libxcrypt, by `crypt.crypt` of Python.
    const BCRYPT: &[(&str, &str)] = &[
        ("secret", "$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a"),
        ("pässwörd", "$2y$04$ABCDEFGHIJKLMNOPQRSTUORmMDpoOGWbfEXTip3DyzbX0p.TlJkB2"),
        ("", "$2a$06$./ABCDEFGHIJKLMNOPQRSOIDpY8XaRRaKN4knWht6B2wfwRHACtdK"),
        (
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            "$2b$04$zyxwvutsrqponmlkjihgfeUIb02e2j50rSgXWN4Rr0POqFVytJFRu",
        ),
    ];

    #[test]
    fn bcrypt_hashes_of_others_are_understood() {
        for (password, text) in BCRYPT {
            let held = Hash::bcrypt(text).unwrap();
            assert!(verify(Some(&held), password.as_bytes(), Some(6)), "{text}");
            assert!(!verify(Some(&held), format!("y{password}").as_bytes(), Some(6)), "{text}");
        }
    }

    #[test]
    fn what_is_no_bcrypt_hash_is_refused() {
        let good = BCRYPT[0].1;
        assert_eq!(Hash::bcrypt(good).unwrap().bcrypt_cost(), Some(5));
        for (from, to) in
            [("$05$", "$15$"), ("$05$", "$03$"), ("$05$", "$5$"), ("$05$", "$+5$"), ("$2b$", "$2x$"), ("$2b$", "$2$")]
        {
            assert!(Hash::bcrypt(&good.replace(from, to)).is_none(), "{to}");
        }
        for wrong in ["", "$", "$2b$05$", &good[1..], &good[..59], &format!("{good}."), &format!("{good}$"), "{SSHA}x"]
        {
            assert!(Hash::bcrypt(wrong).is_none(), "{wrong}");
        }
        assert!(Hash::bcrypt(&format!("$2b$05${}", "é".repeat(27))).is_none());
        assert!(Hash::stored(good).is_none());
    }
}
