//! The first commit of a server.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::sync::Arc;

use api::Verb;
use bytes::Bytes;
use clock::Clock;
use serde_json::{Value, json};
use storage::{Store, testing::FailingStore};
use store_memory::Memory;
use strongroom_core::{Bare, Content, Core, Settings};

async fn core(store: Arc<dyn Store>) -> Arc<Core> {
    let settings = Settings {
        kinds: &[],
        limits: mounts::Limits { default_ttl: mounts::DEFAULT_TTL, max_ttl: mounts::MAX_TTL },
        compatibility: "1.16.3".to_owned(),
        version: "0.1.0",
        cluster_name: "test".to_owned(),
        storage_type: "inmem",
        allow_audit_log_prefixing: false,
        journal_directory: None,
        address: String::new(),
        lockout: Default::default(),
        cache_bytes: 1 << 20,
        first_requests: Vec::new(),
        sharing: None,
        seals: Default::default(),
        spool: None,
        storage_counters: None,
        databases: Vec::new(),
        sanitized: Default::default(),
        logs: None,
    };
    Core::new(store, Clock::system(), settings).await.unwrap()
}

async fn bare(core: &Arc<Core>, verb: Verb, path: &str, body: Value) -> Result<Value, String> {
    let request = Bare {
        id: "test".into(),
        verb,
        path: path.to_owned(),
        query: Vec::new(),
        body: Bytes::from(body.to_string()),
        remote: None,
        redact: Default::default(),
    };
    let success = core.bare(request).await.into_parts().1.map_err(|error| error.to_string())?;
    match &success.content {
        Content::Bare(json) => Ok(serde_json::from_slice(json).unwrap()),
        _ => Ok(Value::Null),
    }
}

/// On a full disk there was room for the root key and none for the root token: the shares were gone with the error, and
/// the server said that it was initialised already.
#[tokio::test]
async fn a_server_is_initialised_as_a_whole_or_not_at_all() {
    let ask = || json!({"secret_shares": 1, "secret_threshold": 1});
    let memory = Memory::new();
    let store = FailingStore::new(Arc::<Memory>::clone(&memory) as Arc<dyn Store>);
    let mut refused = 0;
    let made = loop {
        let core = core(Arc::<FailingStore>::clone(&store)).await;
        store.fail_commit_after(refused);
        match bare(&core, Verb::Write, "sys/init", ask()).await {
            Ok(made) => break made,
            Err(_) => refused += 1,
        }
        assert_eq!(bare(&core, Verb::Read, "sys/init", Value::Null).await.unwrap()["initialized"], false);
        assert!(memory.is_empty(), "{memory:?} is left of an initialisation that failed");
    };
    assert_eq!(refused, 1, "it takes more than one commit");
    let core = core(memory).await;
    let again = bare(&core, Verb::Write, "sys/init", ask()).await.unwrap_err();
    assert!(again.contains("already initialized"), "{again}");
    let unsealed = bare(&core, Verb::Write, "sys/unseal", json!({"key": made["keys"][0]})).await.unwrap();
    assert_eq!(unsealed["sealed"], false);
    assert!(made["root_token"].as_str().is_some_and(|token| token.starts_with("hvs.")));
}
