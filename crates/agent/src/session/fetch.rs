//! Reading one secret.

use std::{collections::HashMap, time::Duration};

use client::{Client, Response};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::explain;
use crate::reference::{Data, Source};

/// A right with an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) id: String,
    pub(super) duration: Duration,
    pub(super) renewable: bool,
}

/// What a read gave.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) data: Data,
    pub(super) lease: Option<Lease>,
    /// For a value without a lease: when the server will change it next, if it says so.
    pub(super) changes_in: Option<Duration>,
}

/// Reads secrets, and remembers which mounts are versioned.
#[derive(Default)]
pub(super) struct Reader {
    places: HashMap<String, Place>,
}

/// Where a path really is.
#[derive(Clone)]
struct Place {
    path: String,
    versioned: bool,
}

impl Reader {
    pub(super) async fn read(&mut self, client: &Client, source: &Source) -> Result<Fetched, String> {
        let place = match self.places.get(&source.path) {
            Some(place) => place.clone(),
            None => {
                let place = locate(client, &source.path).await?;
                self.places.insert(source.path.clone(), place.clone());
                place
            }
        };
        let version = source.version.map(|version| version.to_string());
        let query: Vec<(&str, &str)> = version.iter().map(|version| ("version", version.as_str())).collect();
        let response = client.read(&place.path, &query).await;
        let response = response.map_err(|error| format!("{source}: {}", explain(&error)))?;
        take_apart(&response, place.versioned).map_err(|why| format!("{source}: {why}"))
    }
}

/// Asks the server what is mounted above `path`. A server that does not say is taken at the path's word.
async fn locate(client: &Client, path: &str) -> Result<Place, String> {
    #[derive(Deserialize)]
    struct Mount {
        path: String,
        #[serde(default)]
        options: Option<HashMap<String, Option<String>>>,
    }
    let as_given = Place { path: path.to_owned(), versioned: false };
    let mount = match client.read(&format!("sys/internal/ui/mounts/{path}"), &[]).await {
        Ok(response) => match response.data::<Mount>() {
            Ok(mount) => mount,
            Err(_) => return Ok(as_given),
        },
        Err(error) if error.status().is_some_and(|status| status < 500) => return Ok(as_given),
        Err(error) => return Err(format!("{path}: {}", explain(&error))),
    };
    let version = mount.options.as_ref().and_then(|options| options.get("version")).and_then(Option::as_deref);
    let mounted_at = mount.path.trim_end_matches('/');
    match path.strip_prefix(mounted_at).and_then(|rest| rest.strip_prefix('/')) {
        Some(rest) if version == Some("2") => {
            let path = if rest.starts_with("data/") { path.to_owned() } else { format!("{mounted_at}/data/{rest}") };
            Ok(Place { path, versioned: true })
        }
        _ => Ok(as_given),
    }
}

fn take_apart(response: &Response, versioned: bool) -> Result<Fetched, String> {
    if response.status == 404 {
        // The reply of a versioned secret whose version is deleted or destroyed.
        return Err("the version is deleted".to_owned());
    }
    let envelope = response.envelope.as_ref().ok_or("the reply is not a secret")?;
    let whole = envelope.data.as_deref().ok_or("the reply has no data")?;
    let versioned = versioned || envelope.mount_type == "kv" && inner(whole).is_some();
    let data = if versioned { inner(whole).ok_or("there is no such version")? } else { whole };
    let data = Data::new(data).ok_or("the data is not an object")?;
    let lease = (!envelope.lease_id.is_empty()).then(|| Lease {
        id: envelope.lease_id.clone(),
        duration: Duration::from_secs(envelope.lease_duration),
        renewable: envelope.renewable,
    });
    let changes_in = changes_in(whole).filter(|_| lease.is_none() && !versioned);
    Ok(Fetched { data, lease, changes_in })
}

/// The secret inside the reply of a versioned mount.
fn inner(whole: &RawValue) -> Option<&RawValue> {
    #[derive(Deserialize)]
    struct Versioned<'a> {
        #[serde(borrow)]
        data: Option<&'a RawValue>,
        #[serde(borrow, rename = "metadata")]
        _metadata: &'a RawValue,
    }
    let parsed: Versioned<'_> = serde_json::from_str(whole.get()).ok()?;
    parsed.data.filter(|data| data.get().starts_with('{'))
}

/// Accounts whose password the server rotates say for how long it still holds.
fn changes_in(whole: &RawValue) -> Option<Duration> {
    #[derive(Deserialize)]
    struct Static {
        ttl: u64,
        #[serde(rename = "last_vault_rotation")]
        _rotated: String,
    }
    let parsed: Static = serde_json::from_str(whole.get()).ok()?;
    Some(Duration::from_secs(parsed.ttl))
}
