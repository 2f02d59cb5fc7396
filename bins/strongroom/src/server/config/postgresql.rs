//! The stanza `storage "postgresql"`.

use std::{sync::Arc, time::Duration};

use secret::SecretString;

use super::section::Section;

/// How to reach PostgreSQL, and what this server is among those that share it.
#[derive(Clone, Debug)]
pub(crate) struct Postgresql {
    /// `None` where the environment says it.
    pub(crate) connection_url: Option<Arc<SecretString>>,
    pub(crate) table: String,
    pub(crate) max_parallel: usize,
    pub(crate) max_staleness: Duration,
    /// `None` for a name made of the machine's and the listener's.
    pub(crate) node_id: Option<String>,
}

impl Postgresql {
    /// Whether both name the same table of the same server in the same words.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        // EXPOSE: compared with another one from the same file.
        let url = |of: &Self| of.connection_url.as_ref().map(|url| url.expose().clone());
        self.table == other.table && url(self) == url(other)
    }
}

/// Reads the stanza. Names that other programs know and that mean nothing here are passed over.
pub(super) fn postgresql(mut body: Section, warnings: &mut Vec<String>) -> Result<Postgresql, String> {
    let connection_url = body.text("connection_url")?.filter(|url| !url.is_empty()).map(SecretString::new);
    let table = body.text("table")?.unwrap_or_else(|| store_postgresql::TABLE.to_owned());
    let fewest = store_postgresql::FEWEST;
    let max_parallel = match body.size("max_parallel")? {
        None | Some(0) => store_postgresql::MAX_PARALLEL,
        Some(most) if (fewest..=MOST_CONNECTIONS).contains(&most) => most,
        Some(_) => return Err(body.says(&format!("max_parallel: use {fewest} to {MOST_CONNECTIONS} connections"))),
    };
    let max_staleness = body.duration("max_staleness")?.unwrap_or(MAX_STALENESS);
    if !(SHORTEST..=LONGEST).contains(&max_staleness) {
        return Err(body.says("max_staleness: use 1 to 60 seconds"));
    }
    let node_id = body.text("node_id")?.filter(|name| !name.is_empty());
    if node_id.as_ref().is_some_and(|name| name.len() > 100 || name.contains(['/', '\0'])) {
        return Err(body.says("node_id: use at most 100 bytes and no slash"));
    }
    // Every server serves, whatever it is told of standbys.
    if body.flag("ha_enabled")? == Some(false) {
        warnings.push(body.says("ha_enabled: servers that share the table all serve; it is passed over"));
    }
    for key in ["ha_table", "max_idle_connections", "max_connect_retries", "skip_create_table"] {
        body.pass_over(key);
    }
    warnings.extend(body.unknown());
    let connection_url = connection_url.map(Arc::new);
    Ok(Postgresql { connection_url, table, max_parallel, max_staleness, node_id })
}

const MAX_STALENESS: Duration = Duration::from_secs(1);
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
const MOST_CONNECTIONS: usize = 1000;
