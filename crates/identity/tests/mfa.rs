//! Second factors over a time that is moved by hand.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::{sync::Arc, time::Duration};

use clock::Timestamp;
use identity::{
    Directory, Entity, EntityInput, Identities,
    mfa::{EnforcementInput, LoginBy, Method, MethodInput, Rejected, Waiting},
};
use secret::{SecretBytes, SecretString};
use storage::{Store, Tx};
use store_memory::Memory;

const START: i64 = 1_800_000_000;

struct World {
    store: Arc<dyn Store>,
    now: Timestamp,
    method: Method,
    entity: Entity,
    key: SecretBytes,
}

fn text(text: &str) -> SecretString {
    SecretString::new(text.to_owned())
}

impl World {
    async fn new() -> Self {
        let store: Arc<dyn Store> = Memory::new();
        let (tx, now) = (Tx::new(Arc::clone(&store)), Timestamp::from_second(START).unwrap());
        let directory = Directory::new(&tx, now);
        let input = MethodInput { issuer: Some("us".to_owned()), ..MethodInput::default() };
        let method = directory.write_mfa_method(None, input).await.unwrap();
        let input = EntityInput { name: Some("alice".to_owned()), ..EntityInput::default() };
        let (entity, _) = directory.write_entity(input).await.unwrap();
        let enrolled = directory.enrol_mfa(&entity, &method).await.unwrap().unwrap();
        let key = totp::parse_key(&text(enrolled.url.expose().rsplit('=').next().unwrap())).unwrap();
        tx.commit().await.unwrap();
        Self { store, now, method, entity, key }
    }

    /// The code of so many seconds from now.
    fn code(&self, seconds: i64) -> SecretString {
        self.method.codes.code(&self.key, Timestamp::from_second(self.now.as_second() + seconds).unwrap())
    }

    async fn take(&self, code: &SecretString) -> Result<(), Rejected> {
        let tx = Tx::new(Arc::clone(&self.store));
        let taken = Directory::new(&tx, self.now).take_code(&self.entity.id, &self.method, code).await.unwrap();
        if taken.is_ok() {
            tx.commit().await.unwrap();
        }
        taken
    }

    fn pass(&mut self, seconds: i64) {
        self.now = Timestamp::from_second(self.now.as_second() + seconds).unwrap();
    }
}

#[tokio::test]
async fn a_code_is_taken_once_and_none_before_it() {
    let mut world = World::new().await;
    assert_eq!(world.take(&world.code(0)).await, Ok(()));
    assert_eq!(world.take(&world.code(0)).await, Err(Rejected::Used));
    assert_eq!(world.take(&world.code(-30)).await, Err(Rejected::Used));
    assert_eq!(world.take(&world.code(60)).await, Err(Rejected::Wrong));
    assert_eq!(world.take(&world.code(30)).await, Ok(()));
    world.pass(60);
    assert_eq!(world.take(&world.code(0)).await, Ok(()));
}

/// Two logins show the same code at the same moment: both are looked at, and one commit is refused.
#[tokio::test]
async fn the_same_code_does_not_finish_two_logins() {
    let world = World::new().await;
    let txs = [Tx::new(Arc::clone(&world.store)), Tx::new(Arc::clone(&world.store))];
    let code = world.code(0);
    for tx in &txs {
        let taken = Directory::new(tx, world.now).take_code(&world.entity.id, &world.method, &code).await.unwrap();
        assert_eq!(taken, Ok(()));
    }
    let commits = [txs[0].commit().await.is_ok(), txs[1].commit().await.is_ok()];
    assert_eq!(commits.iter().filter(|done| **done).count(), 1, "{commits:?}");
}

#[tokio::test]
async fn the_wait_after_wrong_codes_doubles_until_a_right_one() {
    let mut world = World::new().await;
    for wait in [30, 60, 120, 240] {
        for _ in 0..5 {
            assert_eq!(world.take(&text("000000x")).await, Err(Rejected::Wrong));
        }
        assert_eq!(world.take(&world.code(0)).await, Err(Rejected::Attempts(wait)));
        world.pass(i64::try_from(wait).unwrap() - 1);
        assert_eq!(world.take(&world.code(0)).await, Err(Rejected::Attempts(1)));
        world.pass(1);
    }
    assert_eq!(world.take(&world.code(0)).await, Ok(()));
    world.pass(60);
    for _ in 0..5 {
        assert_eq!(world.take(&text("")).await, Err(Rejected::Wrong));
    }
    assert_eq!(world.take(&world.code(0)).await, Err(Rejected::Attempts(30)), "it begins anew");
}

#[tokio::test]
async fn who_goes_leaves_no_secret_behind() {
    let world = World::new().await;
    let tx = Tx::new(Arc::clone(&world.store));
    let directory = Directory::new(&tx, world.now);
    assert!(directory.has_mfa(&world.entity.id, &world.method.id).await.unwrap());
    assert!(directory.delete_entity(&world.entity.id).await.unwrap());
    assert!(!directory.has_mfa(&world.entity.id, &world.method.id).await.unwrap());
    assert_eq!(
        directory.take_code(&world.entity.id, &world.method, &world.code(0)).await.unwrap(),
        Err(Rejected::Unenrolled)
    );
}

#[tokio::test]
async fn a_login_waits_for_five_minutes_and_is_swept_away_after() {
    let world = World::new().await;
    let keep = |now| {
        let store = Arc::clone(&world.store);
        async move {
            let tx = Tx::new(store);
            let waiting = Waiting::new("e", "m", "auth/x/login", "{}".to_owned(), Duration::ZERO);
            let id = Directory::new(&tx, now).keep_waiting(waiting).await.unwrap();
            tx.commit().await.unwrap();
            id
        }
    };
    let at = |seconds: i64| Timestamp::from_second(START + seconds).unwrap();
    let first = keep(at(0)).await;
    let found = |id, now| {
        let tx = Tx::new(Arc::clone(&world.store));
        async move { Directory::new(&tx, now).waiting(id).await.unwrap().is_some() }
    };
    assert!(found(&first, at(299)).await);
    assert!(!found(&first, at(300)).await);
    assert!(!found(&text("other"), at(0)).await);
    keep(at(302)).await;
    let scan = storage::Scan { prefix: "sys/identity/mfa/waiting".to_owned(), after: None, limit: 100, values: false };
    assert_eq!(world.store.scan(&scan).await.unwrap().entries.len(), 2, "the second with its time");
}

/// Each node keeps the enforcements in memory, and sees at once when another one changes them.
#[tokio::test]
async fn a_change_of_an_enforcement_binds_on_every_node() {
    let world = World::new().await;
    let clock = clock::Simulated::new(world.now).clock();
    let nodes = [0, 1].map(|_| Identities::new(Arc::clone(&world.store), clock.clone()));
    let wanted = |node: usize| {
        let (nodes, world) = (&nodes, &world);
        async move {
            let tx = Tx::new(Arc::clone(&world.store));
            let directory = Directory::new(&tx, world.now);
            let by = LoginBy { accessor: "userpass_1", kind: "userpass" };
            let demands = nodes[node].enforcements().demands(&directory, Some(&world.entity), by).await.unwrap();
            demands.len()
        }
    };
    let enforce = |kinds: &[&str]| {
        let input = EnforcementInput {
            methods: Some(vec![world.method.id.clone()]),
            kinds: Some(kinds.iter().map(|kind| (*kind).to_owned()).collect()),
            ..EnforcementInput::default()
        };
        let tx = Tx::new(Arc::clone(&world.store));
        let now = world.now;
        async move {
            Directory::new(&tx, now).write_mfa_enforcement("All", input).await.unwrap();
            tx.commit().await.unwrap();
        }
    };
    assert_eq!([wanted(0).await, wanted(1).await], [0, 0]);
    enforce(&["userpass"]).await;
    assert_eq!([wanted(0).await, wanted(1).await], [1, 1]);
    enforce(&["approle"]).await;
    assert_eq!([wanted(0).await, wanted(1).await], [0, 0]);
}
