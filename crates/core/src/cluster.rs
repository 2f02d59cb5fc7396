//! Who this server is: the id of its cluster, and the versions that it has run as.

use std::sync::Arc;

use clock::Clock;
use gate::Error;
use serde::{Deserialize, Serialize};
use storage::{Key, Store, Tx};

use crate::Settings;

/// The id of the cluster, made when it is first unsealed.
pub(crate) async fn id(store: &Arc<dyn Store>) -> Result<String, Error> {
    loop {
        let tx = Tx::new(Arc::clone(store));
        if let Some(Cluster { id }) = tx.get_json(&Key::new(CLUSTER)).await? {
            return Ok(id);
        }
        let id = crypto::random::uuid();
        tx.put_json(Key::new(CLUSTER), &Cluster { id: id.clone() })?;
        match tx.commit().await.map_err(Error::from) {
            Ok(_) => return Ok(id),
            // Another node was quicker: its id counts.
            Err(Error::Conflict) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Notes the version that clients see, unless it is the one that was noted last.
pub(crate) async fn note_version(store: &Arc<dyn Store>, clock: &Clock, settings: &Settings) -> Result<(), Error> {
    let tx = Tx::new(Arc::clone(store));
    let mut versions = versions(&tx).await?;
    let previous = versions.last().map(|version| version.version.clone());
    if previous.as_ref() == Some(&settings.compatibility) {
        return Ok(());
    }
    versions.retain(|version| version.version != settings.compatibility);
    versions.push(Version {
        version: settings.compatibility.clone(),
        strongroom_version: settings.version.to_owned(),
        timestamp_installed: clock.now().to_string(),
        previous_version: previous,
    });
    tx.put_json(Key::new(VERSIONS), &versions)?;
    match tx.commit().await.map_err(Error::from) {
        // Another node of the same version was quicker.
        Ok(_) | Err(Error::Conflict) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The versions in the order in which they came.
pub(crate) async fn versions(tx: &Tx) -> Result<Vec<Version>, Error> {
    Ok(tx.get_json(&Key::new(VERSIONS)).await?.unwrap_or_default())
}

/// A version that the server has run as.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Version {
    /// The version that clients see.
    pub(crate) version: String,
    /// Our own, when it came.
    pub(crate) strongroom_version: String,
    /// When it came, RFC 3339.
    pub(crate) timestamp_installed: String,
    /// The one before.
    pub(crate) previous_version: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Cluster {
    id: String,
}

const CLUSTER: &str = "sys/cluster";
const VERSIONS: &str = "sys/versions";
