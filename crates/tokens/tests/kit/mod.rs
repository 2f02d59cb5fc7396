//! Tokens over a store in memory, with the expirer at work and a clock moved by hand.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used, reason = "each test uses its part")]

use std::{sync::Arc, time::Duration};

use clock::{Simulated, Timestamp};
use gate::{Error, IntentSpec, LeaseGrant, LeaseId, MountClass, MountInfo, TokenId};
use leases::{Ends, Leases, Outcome, Ownership};
use secret::SecretBytes;
use storage::{BoxFuture, Scan, Store, Tx};
use store_memory::Memory;
use tokens::{Issued, Liveness, New, Tokens};

pub fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub fn mount(path: &str, max: u64) -> MountInfo {
    MountInfo {
        namespace: gate::Namespace::root(),
        uuid: format!("uuid-{path}").into(),
        accessor: "accessor".into(),
        path: path.into(),
        kind: "jwt",
        class: MountClass::Auth,
        options: Arc::default(),
        default_ttl: seconds(max.min(3600)),
        max_ttl: seconds(max),
        clear_request_keys: Arc::default(),
        clear_response_keys: Arc::default(),
        passed_headers: Arc::default(),
        reply_headers: Arc::default(),
    }
}

struct Ending(Arc<Tokens>);

impl Ends for Ending {
    fn revoke_lease<'a>(&'a self, _: &'a leases::Record) -> BoxFuture<'a, Outcome> {
        Box::pin(async { Outcome::Revoked })
    }

    fn end_token<'a>(&'a self, token: &'a TokenId, due: Timestamp) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.0.end(token, due))
    }

    fn is_over<'a>(&'a self, token: &'a TokenId) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(self.0.is_over(token))
    }
}

pub struct World {
    pub disk: Arc<dyn Store>,
    pub time: Simulated,
    pub leases: Arc<Leases>,
    pub tokens: Arc<Tokens>,
    pub liveness: Arc<Liveness>,
    expirer: tokio::task::JoinHandle<()>,
}

impl World {
    pub async fn new() -> Self {
        Self::over(Memory::new(), Simulated::new(Timestamp::from_second(1_800_000_000).unwrap())).await
    }

    pub async fn over(disk: Arc<dyn Store>, time: Simulated) -> Self {
        let leases = Leases::new(Arc::clone(&disk), time.clock());
        let tokens = Arc::new(Tokens::open(Arc::clone(&disk), time.clock(), Arc::clone(&leases)).await.unwrap());
        let expirer = tokio::spawn(Arc::clone(&leases).expire(Arc::new(Ending(Arc::clone(&tokens)))));
        let liveness = Liveness::new(Arc::clone(&tokens));
        Self { disk, time, leases, tokens, liveness, expirer }
    }

    pub fn tx(&self) -> Arc<Tx> {
        Tx::new(Arc::clone(&self.disk))
    }

    pub async fn issue(&self, new: New) -> Issued {
        let tx = self.tx();
        let issued = self.tokens.issue(&tx, New { path: "auth/token/create".to_owned(), ..new }).await.unwrap();
        tx.commit().await.unwrap();
        issued
    }

    pub async fn plain(&self, ttl: u64) -> Issued {
        self.issue(New { ttl: seconds(ttl), ..New::default() }).await
    }

    pub async fn child(&self, parent: &Issued, ttl: u64) -> Issued {
        self.issue(New { ttl: seconds(ttl), parent: Some(parent.id.clone()), ..New::default() }).await
    }

    pub async fn lease(&self, owner: &TokenId) -> LeaseId {
        let mount = mount("database/", 7200);
        let caller = self.tokens.find(owner).await.unwrap().unwrap();
        let issued = self.time.clock().now();
        let caller = Arc::new(gate::Caller {
            namespace: gate::Namespace::root(),
            id: owner.clone(),
            accessor: caller.accessor.as_str().into(),
            display_name: "t".into(),
            token_policies: Arc::default(),
            identity_policies: Arc::default(),
            entity_id: "".into(),
            metadata: Arc::default(),
            kind: gate::TokenKind::Service,
            is_root: false,
            no_default_policy: false,
            issued,
            ttl: seconds(1),
            expires: None,
            num_uses: 0,
            remaining_uses: None,
            path: "p".into(),
            kept: Default::default(),
            all_policies: Default::default(),
        });
        let spec = IntentSpec {
            path: "creds/app".to_owned(),
            revocation: SecretBytes::new(b"1".to_vec()),
            owner: Some(caller),
            role: "app".to_owned(),
        };
        let id = self.leases.intent(&mount, spec).await.unwrap();
        let tx = self.tx();
        let owned =
            Ownership { mount: &mount, path: "database/creds/app", owner: Some(owner.clone()), owner_expires: None };
        let grant = LeaseGrant {
            intent: Some(id.clone()),
            revocation: SecretBytes::new(Vec::new()),
            ttl: None,
            max_ttl: None,
            renewable: true,
        };
        self.leases.grant(&tx, owned, grant).await.unwrap();
        tx.commit().await.unwrap();
        id
    }

    pub async fn alive(&self, token: &Issued) -> bool {
        self.tokens.find(&token.id).await.unwrap().is_some()
    }

    pub async fn settle(&self) {
        for _ in 0..600 {
            tokio::task::yield_now().await;
        }
    }

    pub async fn pass(&self, time: Duration) {
        self.settle().await;
        self.time.advance(time);
        self.settle().await;
    }

    pub async fn keys(&self, prefix: &str) -> Vec<String> {
        let scan = Scan { prefix: prefix.to_owned(), after: None, limit: 100_000, values: false };
        let page = self.disk.scan(&scan).await.unwrap();
        page.entries.into_iter().map(|(key, _)| key.as_str().to_owned()).collect()
    }

    /// Nothing is left of any token, in any index.
    pub async fn nothing_left(&self) {
        let lasting = ["sys/token/salt", "sys/token/batch-key"];
        for prefix in ["sys/token/", "sys/due/", "sys/lease/", "cubbyhole/"] {
            let left: Vec<_> = self.keys(prefix).await;
            assert!(left.iter().all(|key| lasting.contains(&key.as_str())), "{left:?}");
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.expirer.abort();
    }
}
