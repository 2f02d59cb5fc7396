//! How the server is: `sys/health`, `sys/seal-status` and `sys/leader`, for everybody and without an envelope.

use gate::Error;
use serde_json::{Map, Value, json};

use crate::{
    Core,
    sealing::{Answered, Bare, Redact, Sealing},
};

/// The statuses that whoever asks for the health may choose. Those of replicas and standbys are taken and never used:
/// every node serves.
const CODES: &[&str] = &[
    "activecode",
    "drsecondarycode",
    "haunhealthycode",
    "performancestandbycode",
    "removedcode",
    "sealedcode",
    "standbycode",
    "uninitcode",
];

impl Bare {
    fn code(&self, name: &str, usual: u16) -> u16 {
        let given = self.query.iter().find(|(key, _)| key == name);
        given.and_then(|(_, value)| value.parse().ok()).unwrap_or(usual)
    }

    /// Refuses statuses that are none.
    fn check_codes(&self) -> Result<(), Error> {
        for (name, value) in self.query.iter().filter(|(name, _)| CODES.contains(&name.as_str())) {
            if !value.parse::<u16>().is_ok_and(|code| (200..600).contains(&code)) {
                return Err(Error::invalid(format!("{name}: use an HTTP status from 200 to 599")));
            }
        }
        Ok(())
    }
}

impl Core {
    pub(crate) fn health(&self, request: &Bare) -> Answered {
        request.check_codes()?;
        let (initialized, sealed) = (self.is_initialized(), self.is_sealed());
        let redact = request.redact;
        let status = match (initialized, sealed) {
            (false, _) => request.code("uninitcode", 501),
            (true, true) => request.code("sealedcode", 503),
            (true, false) => request.code("activecode", 200),
        };
        let mut body = json!({
            "initialized": initialized,
            "sealed": sealed,
            "standby": false,
            "performance_standby": false,
            "replication_performance_mode": "disabled",
            "replication_dr_mode": "disabled",
            "server_time_utc": self.clock.now_seconds(),
            "version": self.version(redact),
            "strongroom_version": if redact.version { "" } else { self.settings.version },
            "enterprise": false,
            "echo_duration_ms": 0,
            "clock_skew_ms": 0,
            "replication_primary_canary_age_ms": 0,
        });
        self.name_cluster(&mut body, redact);
        Ok((status, body))
    }

    fn version(&self, redact: Redact) -> &str {
        if redact.version { "" } else { &self.settings.compatibility }
    }

    /// The cluster's name, and its id, which can be known only when unsealed.
    fn name_cluster(&self, body: &mut Value, redact: Redact) {
        let Some(body) = body.as_object_mut() else { return };
        if !redact.cluster_name {
            body.insert("cluster_name".to_owned(), json!(self.settings.cluster_name));
        }
        if let Some(running) = &*self.running.load() {
            body.insert("cluster_id".to_owned(), json!(running.cluster_id));
        }
    }

    pub(crate) fn leader(&self, redact: Redact) -> Value {
        // Every node serves; each is the leader to who asks it.
        let shared = self.settings.sharing.is_some();
        let address = if shared && !redact.addresses { self.settings.address.as_str() } else { "" };
        json!({
            "ha_enabled": shared,
            "is_self": !self.is_sealed(),
            "active_time": self.started.to_string(),
            "leader_address": address,
            "leader_cluster_address": address,
            "performance_standby": false,
            "performance_standby_last_remote_wal": 0,
        })
    }

    pub(crate) async fn seal_status(&self, redact: Redact) -> Answered {
        let sealing = self.sealing.lock().await;
        Ok((200, self.status_of(&sealing, redact)))
    }

    pub(crate) fn status_of(&self, sealing: &Sealing, redact: Redact) -> Value {
        let mut body = json!({
            "initialized": self.is_initialized(),
            "sealed": self.is_sealed(),
            "version": self.version(redact),
            "strongroom_version": if redact.version { "" } else { self.settings.version },
            "build_date": "",
            "storage_type": self.settings.storage_type,
        });
        if let Some(body) = body.as_object_mut() {
            body.extend(sealing.described(self));
            body.extend(sealing.progress());
        }
        self.name_cluster(&mut body, redact);
        body
    }
}

/// `t`, `n`, `progress` and `nonce` of an unseal.
pub(crate) fn progress(status: Option<seal::UnsealStatus>) -> Map<String, Value> {
    let (t, n, progress, nonce) =
        status.map_or((0, 0, 0, String::new()), |status| (status.t, status.n, status.progress, status.nonce));
    let fields = [("t", json!(t)), ("n", json!(n)), ("progress", json!(progress)), ("nonce", json!(nonce))];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
