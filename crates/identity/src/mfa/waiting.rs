//! Logins that wait for their second factor. They lie in the store, so that any node can finish them, for five minutes.

use std::time::Duration;

use clock::Timestamp;
use crypto::random;
use gate::Error;
use secret::{SecretString, Zeroize};
use serde::{Deserialize, Serialize};
use storage::{Key, Scan};

use crate::Directory;

/// A login that waits.
#[derive(Serialize, Deserialize)]
pub struct Waiting {
    /// Who logs in; empty if the login has no entity.
    pub entity: String,
    /// The id of the mount.
    pub mount: String,
    /// The path of the login.
    pub path: String,
    /// What becomes the token, in a form that its keeper knows.
    pub login: String,
    /// For how long the reply shall be wrapped, in seconds; zero is not.
    pub wrap: u64,
    until: Timestamp,
}

impl Waiting {
    /// A login that is not kept yet.
    pub fn new(entity: &str, mount: &str, path: &str, login: String, wrap: Duration) -> Self {
        let [entity, mount, path] = [entity, mount, path].map(str::to_owned);
        Self { entity, mount, path, login, wrap: wrap.as_secs(), until: Timestamp::default() }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // What the method wants back at a renewal may be secret.
        self.login.zeroize();
    }
}

/// How long a login waits.
const LIFE: Duration = Duration::from_secs(300);
const DUE: &str = "sys/identity/mfa/waiting-due/";
/// How many logins that were never finished are cleared away with each new one.
const SWEPT: usize = 16;

impl Directory<'_> {
    /// Keeps a login; gives the id by which it is finished.
    pub async fn keep_waiting(&self, mut waiting: Waiting) -> Result<SecretString, Error> {
        self.sweep_waiting().await?;
        waiting.until = clock::after(self.now, LIFE);
        let id = random::uuid();
        let hash = hash(&id);
        self.tx.put_json(at(&hash), &waiting)?;
        self.tx.put(due(waiting.until, &hash), bytes::Bytes::new());
        Ok(SecretString::new(id))
    }

    /// The login that waits under this id; `None` if there is none, or none any more.
    pub async fn waiting(&self, id: &SecretString) -> Result<Option<Waiting>, Error> {
        // EXPOSE: only its hash is looked up.
        let waiting: Option<Waiting> = self.tx.get_json(&at(&hash(id.expose()))).await?;
        Ok(waiting.filter(|waiting| waiting.until > self.now))
    }

    /// A login is finished: whoever comes second, also at the same moment, finds it gone.
    pub fn finish_waiting(&self, id: &SecretString, waiting: &Waiting) {
        // EXPOSE: only its hash is looked up.
        let hash = hash(id.expose());
        self.tx.delete(at(&hash));
        self.tx.delete(due(waiting.until, &hash));
    }

    async fn sweep_waiting(&self) -> Result<(), Error> {
        let scan = Scan { prefix: DUE.to_owned(), after: None, limit: SWEPT, values: false };
        for (key, _) in self.tx.scan(&scan).await?.0 {
            let rest = key.as_str().get(DUE.len()..).unwrap_or_default();
            let Some((when, hash)) = rest.split_once('/') else { continue };
            if when > seconds(self.now).as_str() {
                return Ok(());
            }
            self.tx.delete(at(hash));
            self.tx.delete(key.clone());
        }
        Ok(())
    }
}

fn hash(id: &str) -> String {
    crypto::hash::sha256(id.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn at(hash: &str) -> Key {
    Key::from(format!("sys/identity/mfa/waiting/{hash}"))
}

fn due(until: Timestamp, hash: &str) -> Key {
    Key::from(format!("{DUE}{}/{hash}", seconds(until)))
}

/// So that the order of the texts is the order of the times.
fn seconds(at: Timestamp) -> String {
    format!("{:020}", at.as_second())
}
