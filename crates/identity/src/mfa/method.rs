//! Methods: how codes are made, and how many may be tried.

use std::time::Duration;

use gate::Error;
use serde::{Deserialize, Serialize};
use storage::Key;

use super::enforcement;
use crate::{Directory, Listed, names};

/// How a second factor is made; the only kind is TOTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Method {
    /// A random id.
    pub id: String,
    /// A name, or empty.
    pub name: String,
    /// Who gives the codes out, for authenticators to show.
    pub issuer: String,
    /// How codes are made.
    pub codes: totp::Settings,
    /// The length of keys, in bytes.
    pub key_size: usize,
    /// The width of QR codes, in points; 0 makes none.
    pub qr_size: usize,
    /// How many codes may be tried before one has to wait.
    pub max_validation_attempts: u32,
}

/// What an operator says of a method; `None` leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct MethodInput {
    /// See [`Method::name`].
    pub name: Option<String>,
    /// See [`Method::issuer`].
    pub issuer: Option<String>,
    /// See [`totp::Settings::algorithm`].
    pub algorithm: Option<String>,
    /// See [`totp::Settings::digits`].
    pub digits: Option<u64>,
    /// See [`totp::Settings::period`].
    pub period: Option<Duration>,
    /// See [`totp::Settings::skew`].
    pub skew: Option<u64>,
    /// See [`Method::key_size`].
    pub key_size: Option<u64>,
    /// See [`Method::qr_size`].
    pub qr_size: Option<u64>,
    /// See [`Method::max_validation_attempts`].
    pub max_validation_attempts: Option<u64>,
}

const PREFIX: &str = "sys/identity/mfa/method/";
const LONGEST_ISSUER: usize = 128;
/// RFC 4226 wants 128 bits at least; more than a block of the largest hash brings nothing.
const KEY_SIZES: std::ops::RangeInclusive<u64> = 16..=128;
const WIDEST: u64 = 1024;

fn key(id: &str) -> Key {
    Key::from(format!("{PREFIX}{id}"))
}

fn name_key(name: &str) -> Key {
    Key::from(format!("sys/identity/mfa/method-name/{}", names::fold(name)))
}

impl MethodInput {
    fn apply(self, method: &mut Method) -> Result<(), Error> {
        let invalid = |why: totp::Error| Error::invalid(why.to_string());
        if let Some(issuer) = self.issuer {
            method.issuer = issuer;
        }
        let printable = |text: &str| !text.chars().any(char::is_control);
        if method.issuer.is_empty() || method.issuer.len() > LONGEST_ISSUER || !printable(&method.issuer) {
            return Err(Error::invalid(format!(
                "issuer must be set: a printable text of at most {LONGEST_ISSUER} bytes"
            )));
        }
        let codes = &mut method.codes;
        if let Some(algorithm) = &self.algorithm {
            codes.algorithm = totp::Algorithm::parse(algorithm).map_err(invalid)?;
        }
        let small = |number: u64| u8::try_from(number).unwrap_or(u8::MAX);
        codes.digits = self.digits.map_or(codes.digits, small);
        codes.skew = self.skew.map_or(codes.skew, small);
        codes.period = self.period.unwrap_or(codes.period);
        codes.check().map_err(invalid)?;
        if let Some(size) = self.key_size {
            if !KEY_SIZES.contains(&size) {
                return Err(Error::invalid("key_size: use 16 to 128 bytes"));
            }
            method.key_size = usize::try_from(size).unwrap_or_default();
        }
        if let Some(size) = self.qr_size {
            if size > WIDEST {
                return Err(Error::invalid(format!("qr_size: use at most {WIDEST} points, or 0 for no picture")));
            }
            method.qr_size = usize::try_from(size).unwrap_or_default();
        }
        if let Some(most) = self.max_validation_attempts {
            method.max_validation_attempts = match u32::try_from(most) {
                // Zero is how clients ask for the usual number.
                Ok(0) => MOST_ATTEMPTS,
                Ok(most) if most <= 1000 => most,
                _ => return Err(Error::invalid("max_validation_attempts: use 1 to 1000")),
            };
        }
        Ok(())
    }
}

const MOST_ATTEMPTS: u32 = 5;

impl Directory<'_> {
    /// The method with this id.
    pub async fn mfa_method(&self, id: &str) -> Result<Option<Method>, Error> {
        Ok(self.tx.get_json(&key(id)).await?)
    }

    /// The method with this id or, in whatever case, this name.
    pub async fn mfa_method_called(&self, text: &str) -> Result<Option<Method>, Error> {
        if let Some(method) = self.mfa_method(text).await? {
            return Ok(Some(method));
        }
        match self.tx.get_json::<String>(&name_key(text)).await? {
            Some(id) => self.mfa_method(&id).await,
            None => Ok(None),
        }
    }

    /// Methods by id.
    pub async fn mfa_methods(&self, after: Option<&str>, limit: usize) -> Result<Listed<Method>, Error> {
        self.page(PREFIX, after, limit).await
    }

    /// Makes a method, or changes the one with this id.
    pub async fn write_mfa_method(&self, id: Option<&str>, mut input: MethodInput) -> Result<Method, Error> {
        let mut method = match id {
            Some(id) => self.mfa_method(id).await?.ok_or_else(|| unknown())?,
            None => Method {
                id: crypto::random::uuid(),
                name: String::new(),
                issuer: String::new(),
                codes: totp::Settings::default(),
                key_size: 20,
                qr_size: 200,
                max_validation_attempts: MOST_ATTEMPTS,
            },
        };
        if let Some(name) = input.name.take().filter(|name| *name != method.name) {
            names::check("method_name", &name)?;
            let at = name_key(&name);
            if self.tx.get_json::<String>(&at).await?.is_some_and(|id| id != method.id) {
                return Err(Error::invalid("method_name: another method has this name"));
            }
            if !method.name.is_empty() {
                self.tx.delete(name_key(&method.name));
            }
            self.tx.put_json(at, &method.id)?;
            method.name = name;
        }
        input.apply(&mut method)?;
        self.tx.put_json(key(&method.id), &method)?;
        Ok(method)
    }

    /// Removes a method that no enforcement needs.
    pub async fn delete_mfa_method(&self, id: &str) -> Result<(), Error> {
        let Some(method) = self.mfa_method(id).await? else { return Ok(()) };
        // Read, so that the commit is refused if an enforcement is made with the method meanwhile.
        self.tx.get(&enforcement::changed()).await?;
        let user = self.mfa_enforcements().await?.into_iter().find(|known| known.methods.contains(id));
        if let Some(user) = user {
            return Err(Error::invalid(format!("the method is still used by the login enforcement {:?}", user.name)));
        }
        if !method.name.is_empty() {
            self.tx.delete(name_key(&method.name));
        }
        self.tx.delete(key(id));
        Ok(())
    }
}

/// What was sent is not shown: it may be a code that was put into the wrong field.
pub(super) fn unknown() -> Error {
    Error::invalid("method_id: there is no MFA method with this id")
}
