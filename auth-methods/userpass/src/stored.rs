//! What is stored, and where.
//!
//! ```text
//! user/<name>             a user
//! bcrypt/<-cost>/<name>   says that the user's hash is a bcrypt of this cost; the greatest cost comes first
//! ```

use auth::TokenSettings;
use crypto::password::{BCRYPT_COSTS, Hash};
use engine::Error;
use secret::SecretString;
use serde::{Deserialize, Serialize, Serializer};
use storage::View;

use crate::names::Username;

/// A user.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct User {
    pub(crate) hash: StoredHash,
    pub(crate) token: TokenSettings,
}

/// The hash of a password: as secret as the password is weak.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct StoredHash(SecretString);

impl Serialize for StoredHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // EXPOSE: it is written to the mount's storage, where it is encrypted.
        serializer.serialize_str(self.0.expose())
    }
}

impl StoredHash {
    pub(crate) fn new(text: SecretString) -> Self {
        Self(text)
    }

    pub(crate) fn read(&self) -> Result<Hash, Error> {
        // EXPOSE: the text becomes a hash to compare with.
        let text = self.0.expose();
        Hash::stored(text)
            .or_else(|| Hash::bcrypt(text))
            .ok_or_else(|| Error::internal("the stored hash of a password cannot be understood"))
    }
}

impl User {
    pub(crate) async fn load(view: &View, name: &Username) -> Result<Option<Self>, Error> {
        Ok(view.get_json(&user_key(name)).await?)
    }

    pub(crate) fn save(&self, view: &View, name: &Username) -> Result<(), Error> {
        forget_costs(view, name);
        if let Some(cost) = self.hash.read()?.bcrypt_cost() {
            view.put(&cost_key(cost, name), Default::default());
        }
        Ok(view.put_json(&user_key(name), self)?)
    }

    pub(crate) fn delete(view: &View, name: &Username) {
        forget_costs(view, name);
        view.delete(&user_key(name));
    }
}

/// The greatest cost of all bcrypt hashes of the mount; `None` without any. Every login takes as long as the longest.
pub(crate) async fn greatest_cost(view: &View) -> Result<Option<u32>, Error> {
    let (first, _) = view.scan(COSTS, None, 1).await?;
    let cost = first.first().and_then(|(path, _)| path.strip_prefix(COSTS)?.split('/').next()?.parse::<u32>().ok());
    Ok(cost.map(|inverse| TOP.saturating_sub(inverse)))
}

fn forget_costs(view: &View, name: &Username) {
    for cost in BCRYPT_COSTS {
        view.delete(&cost_key(cost, name));
    }
}

const COSTS: &str = "bcrypt/";
const TOP: u32 = 99;

fn user_key(name: &Username) -> String {
    format!("user/{}", name.as_str())
}

fn cost_key(cost: u32, name: &Username) -> String {
    format!("{COSTS}{:02}/{}", TOP.saturating_sub(cost), name.as_str())
}
