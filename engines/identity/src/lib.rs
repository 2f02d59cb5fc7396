//! The routes below `identity/`: entities, aliases and groups, and tokens that tell others who somebody is.
//!
//! What they write and read is of the `identity` crate; this one knows how it looks on the wire.

mod alias;
mod entity;
mod group;
mod group_alias;
mod lookup;
mod mfa;
mod oidc;
mod provider;
mod shown;

use std::sync::Arc;

use api::{Count, Verb};
use engine::{Cx, Due, Engine, Error, MountInfo, Opening, Routes, Scope};
use identity::{Directory, Identities};
use serde::{Deserialize, de::DeserializeOwned};
use storage::Tx;

/// The type of the mount at `identity/`.
pub const KIND_NAME: &str = "identity";

/// What the routes ask of the program.
pub trait Program: Send + Sync + 'static {
    /// The mount with this accessor.
    fn mount(&self, accessor: &str) -> Option<Arc<MountInfo>>;

    /// Where clients reach the server, such as `https://vault.example.com:8200`.
    fn address(&self) -> String;

    /// The kinds of auth methods through which somebody logs in.
    fn login_kinds(&self) -> Vec<&'static str>;
}

/// The engine at `identity/`.
pub struct Identity {
    identities: Arc<Identities>,
    program: Arc<dyn Program>,
    keys: oidc::Keys,
}

impl Identity {
    /// The routes over these identities.
    pub fn new(identities: Arc<Identities>, program: Arc<dyn Program>) -> Self {
        Self { identities, program, keys: oidc::Keys::default() }
    }
}

impl Engine for Identity {
    fn open(_: Opening) -> Self {
        unreachable!("identity is part of the program and is made with its identities")
    }

    fn routes() -> Routes<Self> {
        let routes = entity::routes(Routes::default());
        let routes = alias::routes(routes);
        let routes = group::routes(routes);
        let routes = group_alias::routes(routes);
        let routes = lookup::routes(routes);
        let routes = mfa::routes(routes);
        let routes = oidc::routes(routes);
        provider::routes(routes)
    }

    async fn rotate(cx: Scope<Self>, due: Due) -> Result<(), Error> {
        oidc::rotate(&cx, &due.id).await
    }
}

/// The identities as this request sees and changes them.
fn directory(cx: &Scope<Identity>) -> Directory<'_> {
    Directory::new(cx.view().tx(), cx.now())
}

/// Refuses what is no mount.
fn check_mount(cx: &Cx<Identity>, accessor: &str) -> Result<(), Error> {
    match cx.engine().program.mount(accessor) {
        Some(_) => Ok(()),
        None => {
            let shown: String = accessor.chars().take(64).collect();
            Err(Error::invalid(format!("invalid mount accessor {shown:?}")))
        }
    }
}

/// Everything below a prefix, by the rest of its key.
async fn stored<T: DeserializeOwned>(tx: &Arc<Tx>, prefix: &str) -> Result<Vec<(String, T)>, Error> {
    let view = tx.view(prefix);
    let (mut found, mut after) = (Vec::new(), None::<String>);
    loop {
        let (entries, more) = view.scan("", after.as_deref(), 500).await?;
        for (key, value) in &entries {
            let value = serde_json::from_slice(value)
                .map_err(|_| Error::internal(format!("{prefix}{key} does not hold what it should")))?;
            found.push((key.clone(), value));
        }
        after = entries.last().map(|(key, _)| key.clone());
        if !more {
            return Ok(found);
        }
    }
}

/// A text that was given and is not empty.
fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// What pages of listings are asked with.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Paging {
    after: Option<String>,
    limit: Option<Count>,
}

impl Paging {
    fn after(&self) -> Option<&str> {
        self.after.as_deref().filter(|after| !after.is_empty())
    }

    fn limit(&self) -> usize {
        self.limit.map_or(MOST, |limit| usize::try_from(limit.0).unwrap_or(MOST)).clamp(1, MOST)
    }
}

/// The longest listing.
const MOST: usize = 100_000;
