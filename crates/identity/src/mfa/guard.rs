//! Codes are taken once, and only so many may be tried.
//!
//! A try is counted, in a commit of its own, before the code is looked at: of any number of tries at the same moment no more
//! are answered than one after the other. The step of time of the last code that was taken lies in the commit of the
//! login that it was taken for, so two logins cannot take the same.

use std::{sync::Arc, time::Duration};

use clock::Timestamp;
use gate::Error;
use secret::SecretString;
use serde::{Deserialize, Serialize};
use storage::Tx;

use super::{Method, guard_key, secret::Kept, secret_key};
use crate::Directory;

/// Why a code was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejected {
    /// It, or a later one, was taken already.
    #[error("code already used; wait until the next time period")]
    Used,
    /// It is not the code of the moment.
    #[error("the code is wrong or too old")]
    Wrong,
    /// Nothing was shared with the entity's authenticator.
    #[error("the entity has no secret for this method; it is made by identity/mfa/method/totp/admin-generate")]
    Unenrolled,
    /// Too many were tried.
    #[error("maximum TOTP validation attempts exceeded; please try again in {0} seconds")]
    Attempts(u64),
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Guard {
    /// Codes of this step of time and of those before it are not taken.
    last: Option<u64>,
    /// Tries since a code was taken.
    tries: u32,
    /// None is looked at before this.
    until: Option<Timestamp>,
}

/// How often a try is counted anew when another one came first.
const TRIES: usize = 32;
/// The longest wait between two runs of tries.
const LONGEST: Duration = Duration::from_secs(3600);

impl Guard {
    /// Counts a try. After each run of as many as the method allows there is a wait, twice as long each time.
    fn count(&mut self, method: &Method, now: Timestamp) -> Result<(), Rejected> {
        if let Some(until) = self.until.filter(|until| *until > now) {
            return Err(Rejected::Attempts(clock::between(now, until).as_secs().max(1)));
        }
        self.tries = self.tries.saturating_add(1);
        let most = method.max_validation_attempts.max(1);
        if self.tries.is_multiple_of(most) {
            let doubled = 1_u32.checked_shl(self.tries / most - 1).unwrap_or(u32::MAX);
            self.until = Some(clock::after(now, method.codes.period.saturating_mul(doubled).min(LONGEST)));
        }
        Ok(())
    }
}

impl Directory<'_> {
    /// Takes a code of an entity for a login, as part of the login's commit.
    pub async fn take_code(
        &self,
        entity: &str,
        method: &Method,
        code: &SecretString,
    ) -> Result<Result<(), Rejected>, Error> {
        let Some(kept) = self.tx.get_json::<Kept>(&secret_key(entity, &method.id)).await? else {
            return Ok(Err(Rejected::Unenrolled));
        };
        if let Err(rejected) = self.count_try(entity, method).await? {
            return Ok(Err(rejected));
        }
        let Some(step) = kept.codes.step_of(&kept.key(), code, self.now) else { return Ok(Err(Rejected::Wrong)) };
        let at = guard_key(entity, &method.id);
        let guard: Guard = self.tx.get_json(&at).await?.unwrap_or_default();
        if guard.last.is_some_and(|last| step <= last) {
            return Ok(Err(Rejected::Used));
        }
        self.tx.put_json(at, &Guard { last: Some(step), ..Guard::default() })?;
        Ok(Ok(()))
    }

    async fn count_try(&self, entity: &str, method: &Method) -> Result<Result<(), Rejected>, Error> {
        let at = guard_key(entity, &method.id);
        for _ in 0..TRIES {
            let tx = Tx::new(Arc::clone(self.tx.store()));
            let mut guard: Guard = tx.get_json(&at).await?.unwrap_or_default();
            if let Err(rejected) = guard.count(method, self.now) {
                return Ok(Err(rejected));
            }
            tx.put_json(at.clone(), &guard)?;
            match tx.commit().await {
                Ok(_) => return Ok(Ok(())),
                Err(storage::CommitError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Unavailable("too many codes are tried at once; try again".to_owned()))
    }
}
