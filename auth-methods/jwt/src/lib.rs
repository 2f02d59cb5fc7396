//! Login with a signed identity token: a JWT of a CI system, a cloud, a cluster, or any OIDC issuer.
//!
//! A token is read distrustfully (`token`), its signature checked with keys from a configured source (`keys`), and its
//! claims held against a role (`claims`). Only asymmetric algorithms exist here, and the type of the key decides.

mod algorithm;
mod claims;
mod config;
mod der;
mod fetch;
mod json;
mod key;
mod keys;
mod login;
mod refusal;
mod replay;
mod roles;
mod token;

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod keys_tests;
#[cfg(test)]
mod stories;
#[cfg(test)]
mod testing;

use std::sync::Arc;

use api::Verb;
use clock::Clock;
use engine::{Engine, Error, Kind, Lease, Opening, Routes, Scope};
use parking_lot::Mutex;

use crate::keys::{Keys, Source};
pub use crate::refusal::{Part, Refusal};

/// The auth method, for the catalogue.
pub const KIND: Kind = Kind::auth::<Jwt>("jwt", "Login with a signed identity token (JWT).");

/// What a mount holds in memory: the keys of its configured source.
pub struct Jwt {
    clock: Clock,
    keys: Mutex<Option<(Source, Arc<Keys>)>>,
}

impl Engine for Jwt {
    fn open(opening: Opening) -> Self {
        Self { clock: opening.clock, keys: Mutex::new(None) }
    }

    fn routes() -> Routes<Self> {
        Routes::default()
            .on(Verb::Read, "config", "Show where keys come from and what is asked of every token.", config::read)
            .on(Verb::Write, "config", "Say where keys come from and what is asked of every token.", config::write)
            .on(Verb::List, "role", "List the roles.", roles::list)
            .on(Verb::Read, "role/{name}", "Show a role.", roles::read)
            .on(Verb::Write, "role/{name}", "Create or change a role.", roles::write)
            .exists(roles::exists)
            .on(Verb::Delete, "role/{name}", "Delete a role.", roles::delete)
            .on(Verb::Write, "login", "Log in with a signed token.", login::login)
            .open()
            .on(Verb::Write, "oidc/auth_url", "Say that there is no login through a browser.", login::refuse_browser)
            .open()
            .on(Verb::Read, "oidc/callback", "Say that there is no login through a browser.", login::refuse_browser)
            .open()
    }

    /// A token is renewed as long as its role exists.
    async fn renew(cx: Scope<Self>, lease: Lease) -> Result<(), Error> {
        login::renew(&cx, &lease).await
    }
}

impl Jwt {
    /// The keys of `source`. What was fetched is kept until the source changes.
    fn keys(&self, source: &Source) -> Result<Arc<Keys>, Error> {
        let mut held = self.keys.lock();
        if let Some((of, keys)) = &*held
            && of == source
        {
            return Ok(Arc::clone(keys));
        }
        let keys = Keys::new(source, &self.clock)
            .map_err(|error| Error::internal(format!("the stored key source cannot be used: {error}")))?;
        let keys = Arc::new(keys);
        *held = Some((source.clone(), Arc::clone(&keys)));
        Ok(keys)
    }
}
