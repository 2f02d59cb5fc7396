//! Codes that change with the time (RFC 6238), and how an authenticator is told to make them. Pure: the time is handed in.
//!
//! A code stands for a step of time. [`Settings::step_of`] says which step a code is of, so that whoever accepts codes
//! can note the step and take no code twice, in whatever spelling.

mod png;

use std::time::Duration;

use api::{UNRESERVED, percent_escape};
use clock::Timestamp;
use data_encoding::{BASE32, BASE32_NOPAD};
use secret::{SecretBytes, SecretString, Zeroizing};
use serde::{Deserialize, Serialize};

/// How codes are made. The names on the wire are those of the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The hash.
    pub algorithm: Algorithm,
    /// How many digits a code has: 6 or 8.
    pub digits: u8,
    /// How long a code lasts, in whole seconds.
    pub period: Duration,
    /// How many steps before and after the present one are taken: 0 or 1.
    pub skew: u8,
}

/// The hash below the codes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    /// What every authenticator knows.
    #[default]
    #[serde(rename = "SHA1")]
    Sha1,
    /// SHA-256.
    #[serde(rename = "SHA256")]
    Sha256,
    /// SHA-512.
    #[serde(rename = "SHA512")]
    Sha512,
}

/// What cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No hash of this name.
    #[error("algorithm: use SHA1, SHA256 or SHA512")]
    Algorithm,
    /// A number of digits that authenticators do not show.
    #[error("digits: use 6 or 8")]
    Digits,
    /// No time, or a part of a second.
    #[error("period: use whole seconds, at least 1 and at most a day")]
    Period,
    /// Too far from the present.
    #[error("skew: use 0 or 1")]
    Skew,
    /// The key is no base32.
    #[error("key: use base32: letters and the digits 2 to 7")]
    Key,
    /// More than fits into a QR code.
    #[error("the issuer and the account name are too long for a QR code")]
    TooLong,
}

impl Algorithm {
    /// By its name, in whatever case, with or without a dash.
    pub fn parse(name: &str) -> Result<Self, Error> {
        match name.trim().to_ascii_uppercase().replace('-', "").as_str() {
            "SHA1" => Ok(Self::Sha1),
            "SHA256" => Ok(Self::Sha256),
            "SHA512" => Ok(Self::Sha512),
            _ => Err(Error::Algorithm),
        }
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha512 => "SHA512",
        }
    }

    fn hash(self) -> crypto::otp::Hash {
        match self {
            Self::Sha1 => crypto::otp::Hash::Sha1,
            Self::Sha256 => crypto::otp::Hash::Sha256,
            Self::Sha512 => crypto::otp::Hash::Sha512,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self { algorithm: Algorithm::default(), digits: 6, period: Duration::from_secs(30), skew: 1 }
    }
}

impl Settings {
    /// Refuses what authenticators cannot do or what would be no protection.
    pub fn check(&self) -> Result<(), Error> {
        if !matches!(self.digits, 6 | 8) {
            return Err(Error::Digits);
        }
        if self.period.subsec_nanos() != 0 || !(1..=24 * 3600).contains(&self.period.as_secs()) {
            return Err(Error::Period);
        }
        if self.skew > 1 {
            return Err(Error::Skew);
        }
        Ok(())
    }

    /// The code that `key` gives at `now`.
    pub fn code(&self, key: &SecretBytes, now: Timestamp) -> SecretString {
        SecretString::new(self.code_of(key, self.step(now)))
    }

    /// The step of time that `code` is of, if it is one that is taken at `now`. Spaces in a code mean nothing. All steps
    /// are looked at, so how long it takes tells nothing.
    pub fn step_of(&self, key: &SecretBytes, code: &SecretString, now: Timestamp) -> Option<u64> {
        // EXPOSE: compared in constant time.
        let code: Zeroizing<String> = Zeroizing::new(code.expose().split_whitespace().collect());
        let (step, skew) = (self.step(now), u64::from(self.skew));
        let mut found = None;
        for step in step.saturating_sub(skew)..=step.saturating_add(skew) {
            if secret::equal(self.code_of(key, step).as_bytes(), code.as_bytes()) {
                found = Some(step);
            }
        }
        found
    }

    /// What an authenticator takes: an `otpauth` address with the key. Its label is the issuer and the account.
    pub fn url(&self, key: &SecretBytes, issuer: &str, account: &str) -> SecretString {
        let (issuer, account) = (percent_escape(issuer, UNRESERVED), percent_escape(account, UNRESERVED));
        let label = if issuer.is_empty() { account } else { format!("{issuer}:{account}") };
        let by = if issuer.is_empty() { String::new() } else { format!("&issuer={issuer}") };
        let (algorithm, digits, period) = (self.algorithm.as_str(), self.digits, self.period.as_secs());
        // EXPOSE: handed to the one whose authenticator it is for.
        let key = Zeroizing::new(BASE32_NOPAD.encode(key.expose()));
        let key = key.as_str();
        SecretString::new(format!(
            "otpauth://totp/{label}?algorithm={algorithm}&digits={digits}{by}&period={period}&secret={key}"
        ))
    }

    fn step(&self, now: Timestamp) -> u64 {
        u64::try_from(now.as_second()).unwrap_or_default() / self.period.as_secs().max(1)
    }

    fn code_of(&self, key: &SecretBytes, step: u64) -> String {
        let digits = usize::from(self.digits);
        // EXPOSE: to the function that makes the code.
        let code = crypto::otp::code(self.algorithm.hash(), key.expose(), step, u32::from(self.digits));
        format!("{code:0digits$}")
    }
}

/// A new key of `size` bytes.
pub fn make_key(size: usize) -> SecretBytes {
    let mut key = vec![0; size];
    crypto::random::fill(&mut key);
    SecretBytes::new(key)
}

/// A key as people write it: base32 in whatever case, with or without padding and spaces.
pub fn parse_key(text: &SecretString) -> Result<SecretBytes, Error> {
    // EXPOSE: decoded into a key.
    let plain: Zeroizing<String> = Zeroizing::new(text.expose().split_whitespace().collect::<String>().to_uppercase());
    let decoded = BASE32_NOPAD.decode(plain.as_bytes()).or_else(|_| BASE32.decode(plain.as_bytes()));
    let key = decoded.map_err(|_| Error::Key)?;
    if key.is_empty() { Err(Error::Key) } else { Ok(SecretBytes::new(key)) }
}

/// A QR code of `url` as a PNG picture in base64, `size` points wide or, if its dots do not fit into that, as wide as
/// they need.
pub fn barcode(url: &SecretString, size: usize) -> Result<SecretString, Error> {
    // EXPOSE: drawn for the one whose authenticator it is for.
    let drawn = qrcode::QrCode::with_error_correction_level(url.expose().as_bytes(), qrcode::EcLevel::M);
    let drawn = drawn.map_err(|_| Error::TooLong)?;
    let width = drawn.width();
    let dark: Zeroizing<Vec<bool>> =
        Zeroizing::new(drawn.into_colors().into_iter().map(|colour| colour == qrcode::Color::Dark).collect());
    let picture = Zeroizing::new(png::of_dots(&dark, width, size));
    use base64::Engine as _;
    Ok(SecretString::new(base64::engine::general_purpose::STANDARD.encode(&*picture)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn key() -> SecretBytes {
        SecretBytes::new(b"12345678901234567890".to_vec())
    }

    fn text(text: &str) -> SecretString {
        SecretString::new(text.to_owned())
    }

    #[test]
    fn a_code_is_taken_around_its_step_in_any_spelling() {
        let settings = Settings::default();
        // RFC 6238 has 94287082 for step 1.
        assert_eq!(settings.code(&key(), at(59)).expose(), "287082");
        for (now, spelling, step) in [
            (59, "287082", Some(1)),
            (29, "287082", Some(1)),
            (60, " 287 082\n", Some(1)),
            (89, "287082", Some(1)),
            (90, "287082", None),
            (59, "287083", None),
            (59, "28708", None),
            (59, "", None),
            (59, "94287082", None),
        ] {
            assert_eq!(settings.step_of(&key(), &text(spelling), at(now)), step, "{now} {spelling:?}");
        }
        let strict = Settings { skew: 0, ..Settings::default() };
        assert_eq!(strict.step_of(&key(), &text("287082"), at(60)), None);
        let eight = Settings { digits: 8, ..Settings::default() };
        assert_eq!(eight.step_of(&key(), &text("94287082"), at(59)), Some(1));
    }

    #[test]
    fn settings_that_cannot_be_are_refused() {
        let usual = Settings::default;
        assert_eq!(usual().check(), Ok(()));
        assert_eq!(Settings { digits: 7, ..usual() }.check(), Err(Error::Digits));
        assert_eq!(Settings { skew: 2, ..usual() }.check(), Err(Error::Skew));
        for period in [Duration::ZERO, Duration::from_millis(1500), Duration::from_secs(86_401)] {
            assert_eq!(Settings { period, ..usual() }.check(), Err(Error::Period));
        }
        assert_eq!(Algorithm::parse("sha-256"), Ok(Algorithm::Sha256));
        assert_eq!(Algorithm::parse("MD5"), Err(Error::Algorithm));
    }

    #[test]
    fn keys_are_read_as_people_write_them() {
        for spelling in ["GEZDGNBV", "gezd gnbv", "GEZDGNBV\n"] {
            assert_eq!(parse_key(&text(spelling)).unwrap().expose(), b"12345");
        }
        assert_eq!(parse_key(&text("GEZDGNA=")).unwrap().expose(), b"1234");
        for spelling in ["", "=", "GEZDGNB1", "a b c!"] {
            assert_eq!(parse_key(&text(spelling)).err(), Some(Error::Key), "{spelling:?}");
        }
        assert_eq!(make_key(20).len(), 20);
    }

    #[test]
    fn the_address_holds_all_that_an_authenticator_needs() {
        let settings = Settings { algorithm: Algorithm::Sha256, ..Settings::default() };
        let url = settings.url(&key(), "Straße & Co", "a:b@c");
        assert_eq!(
            url.expose(),
            "otpauth://totp/Stra%C3%9Fe%20%26%20Co:a%3Ab%40c?algorithm=SHA256&digits=6&issuer=Stra%C3%9Fe%20%26%20Co\
             &period=30&secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
        );
        assert!(
            Settings::default().url(&key(), "", "x").expose().starts_with("otpauth://totp/x?algorithm=SHA1&digits=6&p")
        );
    }

    #[test]
    fn a_barcode_is_a_picture() {
        use base64::Engine as _;
        let picture = barcode(&text("otpauth://totp/x"), 200).unwrap();
        let bytes = base64::engine::general_purpose::STANDARD.decode(picture.expose()).unwrap();
        assert_eq!(bytes.get(..8), Some(&b"\x89PNG\r\n\x1a\n"[..]));
        assert_eq!(barcode(&text(&"x".repeat(4000)), 200).err(), Some(Error::TooLong));
    }
}
