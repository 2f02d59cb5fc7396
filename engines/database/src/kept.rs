//! Secrets as they lie in storage, which is encrypted.

use std::time::Duration;

use clock::Timestamp;
use secret::SecretString;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::target::{Error as TargetError, Opened};

/// A secret that is stored. It serialises, so it stands in stored records only, never in a reply.
pub(crate) struct Kept(pub(crate) SecretString);

impl Kept {
    /// Another copy, to be used or stored.
    pub(crate) fn copy(&self) -> SecretString {
        // EXPOSE: from custody into custody.
        SecretString::init_with(|text| text.push_str(self.0.expose()))
    }
}

impl Clone for Kept {
    fn clone(&self) -> Self {
        Self(self.copy())
    }
}

impl Default for Kept {
    fn default() -> Self {
        Self(SecretString::new(String::new()))
    }
}

impl Serialize for Kept {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // EXPOSE: into the encrypted store, in a buffer that wipes itself.
        self.0.expose().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Kept {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        SecretString::deserialize(deserializer).map(Self)
    }
}

/// An account and a password that once worked there, or will.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) username: String,
    pub(crate) password: Kept,
    /// Since when it is what it is: pending, in force, or replaced.
    pub(crate) since: Timestamp,
}

impl Account {
    /// Whether a pending password can be forgotten after the database did not take it. One that an earlier try sent
    /// (`resumed`) may be in force all the same, or come into force as long as it may be on its way: then it is kept,
    /// or the account would be lost.
    pub(crate) async fn is_void(&self, target: &Opened, resumed: bool, error: &TargetError, now: Timestamp) -> bool {
        if !resumed {
            return !error.outcome_unknown();
        }
        let said_no = match error {
            TargetError::BadStatement(_)
            | TargetError::Invalid(_)
            | TargetError::NotPermitted(_)
            | TargetError::Refused(_) => true,
            TargetError::LoginRefused(_) | TargetError::Unreachable(_) | TargetError::Unknown(_) => false,
        };
        let arrived = clock::between(self.since, now) >= ARRIVAL;
        said_no && arrived && matches!(target.login_works(&self.username, &self.password.0).await, Ok(false))
    }
}

/// Longer than targets let statements that make a user or change a password take effect.
pub(crate) const ARRIVAL: Duration = Duration::from_secs(65);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        statements::Statements,
        target::{BoxFuture, Database, NewUser, Removed},
    };

    /// A database that is asked for nothing but logins.
    struct Logins(Result<bool, TargetError>);

    impl Database for Logins {
        fn verify(&self) -> BoxFuture<'_, Result<(), TargetError>> {
            unreachable!()
        }

        fn create_user<'a>(&'a self, _: NewUser<'a>) -> BoxFuture<'a, Result<(), TargetError>> {
            unreachable!()
        }

        fn renew_user<'a>(
            &'a self,
            _: &'a str,
            _: Timestamp,
            _: &'a Statements,
        ) -> BoxFuture<'a, Result<(), TargetError>> {
            unreachable!()
        }

        fn drop_user<'a>(&'a self, _: &'a str, _: &'a Statements) -> BoxFuture<'a, Result<Removed, TargetError>> {
            unreachable!()
        }

        fn set_password<'a>(
            &'a self,
            _: &'a str,
            _: &'a SecretString,
            _: &'a Statements,
        ) -> BoxFuture<'a, Result<(), TargetError>> {
            unreachable!()
        }

        fn login_works<'a>(&'a self, _: &'a str, _: &'a SecretString) -> BoxFuture<'a, Result<bool, TargetError>> {
            Box::pin(async { self.0.clone() })
        }

        fn list_users<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<String>, TargetError>> {
            unreachable!()
        }

        fn connection_url(&self, _: &str, _: &SecretString) -> SecretString {
            unreachable!()
        }

        fn close(&self) {}
    }

    /// A rotation was cut off after the database had taken the new password. The next try met a database that was just
    /// coming back and refused the old login; with that the new password was forgotten, and nobody could log in again.
    #[tokio::test]
    async fn a_password_that_may_be_in_force_is_not_forgotten() {
        let since = Timestamp::from_second(1_800_000_000).unwrap();
        let pending = Account { username: "a".to_owned(), password: Kept::default(), since };
        let (soon, later) = (clock::after(since, ARRIVAL / 2), clock::after(since, ARRIVAL));
        let refused = || TargetError::LoginRefused(String::new());
        let said_no = || TargetError::Refused(String::new());
        let away = || TargetError::Unreachable(String::new());
        let unknown = || TargetError::Unknown(String::new());
        let (works, fails, silent) = (Ok(true), Ok(false), Err(away()));
        let cases = [
            // Sent for the first time.
            (false, said_no(), &fails, soon, true),
            (false, away(), &silent, soon, true),
            (false, refused(), &fails, soon, true),
            (false, unknown(), &fails, later, false),
            // Sent before.
            (true, refused(), &fails, later, false),
            (true, away(), &silent, later, false),
            (true, unknown(), &fails, later, false),
            (true, said_no(), &works, later, false),
            (true, said_no(), &silent, later, false),
            (true, said_no(), &fails, soon, false),
            (true, said_no(), &fails, later, true),
        ];
        for (resumed, error, logins, now, wanted) in cases {
            let target: Opened = Arc::new(Logins(logins.clone()));
            assert_eq!(pending.is_void(&target, resumed, &error, now).await, wanted, "{resumed} {error:?} {logins:?}");
        }
    }
}
