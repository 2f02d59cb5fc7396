//! The life of tokens: uses, renewals, ends, and what hangs on them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod kit;

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use gate::{Error, Login, Refusal, TokenKind, TokenParams};
use kit::{World, mount, seconds};
use secret::SecretString;
use storage::{
    Store,
    testing::{CrashStore, FailingStore, When},
};
use store_memory::Memory;
use tokens::New;

#[tokio::test(start_paused = true)]
async fn of_many_requests_at_once_exactly_as_many_pass_as_there_are_uses() {
    let world = World::new().await;
    let token = world.issue(New { ttl: seconds(60), num_uses: 5, ..New::default() }).await;
    let tries = (0..100).map(|_| world.tokens.holder(&token.token, None));
    let mut left: Vec<_> = Vec::new();
    for result in join_all(tries).await {
        match result {
            Ok(caller) => left.push(caller.remaining_uses.unwrap()),
            Err(Error::Denied(Refusal::Spent)) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    left.sort_unstable();
    assert_eq!(left, [0, 1, 2, 3, 4]);
    // Many uses at once met so many conflicts that some were answered with 503.
    let token = world.issue(New { ttl: seconds(60), num_uses: 200, ..New::default() }).await;
    for result in join_all((0..200).map(|_| world.tokens.holder(&token.token, None))).await {
        result.unwrap();
    }
    assert!(matches!(world.tokens.holder(&token.token, None).await, Err(Error::Denied(Refusal::Spent))));
}

#[tokio::test(start_paused = true)]
async fn a_token_ends_at_its_time_and_leaves_nothing() {
    let world = World::new().await;
    // Not at a full millisecond: such a token was taken for renewed, dropped from the index and never removed.
    world.pass(Duration::from_nanos(123_456)).await;
    let token = world.plain(30).await;
    world.lease(&token.id).await;
    world.pass(Duration::from_nanos(29_999_999_999)).await;
    assert!(world.alive(&token).await);
    world.pass(Duration::from_nanos(1)).await;
    assert!(!world.alive(&token).await);
    // The index counts in milliseconds: the token is due in it at the next one, and so is the lease that it revokes.
    world.pass(Duration::from_millis(1)).await;
    world.pass(Duration::from_millis(1)).await;
    world.nothing_left().await;
}

#[tokio::test(start_paused = true)]
async fn an_end_that_an_earlier_run_was_at_is_taken_up_at_once() {
    // The server was killed while it ended a token: the claim held for two minutes, and so long its leases lived on.
    let world = World::new().await;
    let (ending, other) = (world.plain(3600).await, world.plain(60).await);
    world.lease(&ending.id).await;
    world.settle().await;
    let (now, tx) = (world.time.clock().now(), world.tx());
    world.tokens.revoke(&tx, &ending.id).await.unwrap();
    world.leases.watch_token(&tx, &ending.id, Some(now), Some(clock::after(now, seconds(120))));
    tx.commit().await.unwrap();
    world.pass(seconds(1)).await;
    assert_eq!(world.keys("sys/lease/id/").await.len(), 1, "somebody else has claimed it");
    let (disk, time) = (Arc::clone(&world.disk), world.time.clone());
    drop(world);
    let world = World::over(disk, time).await;
    world.pass(Duration::from_millis(1)).await;
    world.pass(Duration::from_millis(1)).await;
    assert_eq!(world.keys("sys/lease/id/").await, [""; 0]);
    assert_eq!(world.keys("sys/due/").await.len(), 1, "that of the other token");
    assert!(world.alive(&other).await);
    world.pass(seconds(60)).await;
    assert!(!world.alive(&other).await);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_was_renewed_stays() {
    let world = World::new().await;
    let token = world.plain(30).await;
    world.pass(seconds(20)).await;
    let tx = world.tx();
    let (_, left, _) = world.tokens.renew(&tx, &token.id, Some(seconds(100)), seconds(3600)).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(left, seconds(100));
    world.pass(seconds(50)).await;
    assert!(world.alive(&token).await);
    assert_eq!(world.keys("sys/due/").await.len(), 1);
    world.pass(seconds(50)).await;
    world.nothing_left().await;
    let tx = world.tx();
    assert!(world.tokens.renew(&tx, &token.id, None, seconds(3600)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn renewals_follow_the_rules() {
    struct Case {
        new: New,
        wait: u64,
        increment: Option<u64>,
        left: Result<u64, &'static str>,
        warned: bool,
        hard: Option<(u64, &'static str)>,
    }
    let new = |ttl: u64| New { ttl: seconds(ttl), ..New::default() };
    let ok = |new, wait, increment, left, hard| Case { new, wait, increment, left: Ok(left), warned: false, hard };
    let mount_max = Some((1000, "max_lease_ttl of the mount"));
    let cases = [
        ok(new(100), 50, None, 100, mount_max),
        ok(new(100), 50, Some(10), 10, mount_max),
        Case { warned: true, ..ok(new(100), 50, Some(5000), 950, mount_max) },
        ok(New { period: seconds(100), ..new(100) }, 50, Some(5000), 100, None),
        ok(
            New { period: seconds(100), explicit_max_ttl: seconds(120), ..new(100) },
            10,
            None,
            100,
            Some((120, "explicit_max_ttl")),
        ),
        Case {
            warned: true,
            ..ok(
                New { period: seconds(100), explicit_max_ttl: seconds(120), ..new(100) },
                50,
                None,
                70,
                Some((120, "explicit_max_ttl")),
            )
        },
        Case {
            warned: true,
            ..ok(New { explicit_max_ttl: seconds(110), ..new(100) }, 50, None, 60, Some((110, "explicit_max_ttl")))
        },
        Case {
            warned: true,
            ..ok(New { max_ttl: seconds(120), ..new(100) }, 50, None, 70, Some((120, "max_ttl of the login")))
        },
        Case {
            left: Err("not renewable"),
            ..ok(New { renewable: false, ..new(100) }, 50, None, 0, Some((100, "not renewable")))
        },
    ];
    for (n, case) in cases.into_iter().enumerate() {
        let world = World::new().await;
        let token = world.issue(case.new).await;
        let record = world.tokens.find(&token.id).await.unwrap().unwrap();
        let hard = record.hard_expiry(seconds(1000));
        let hard = hard.map(|(end, why)| (clock::between(record.created, end).as_secs(), why));
        assert_eq!(hard, case.hard, "case {n}");
        world.pass(seconds(case.wait)).await;
        let tx = world.tx();
        let increment = case.increment.map(seconds);
        match (world.tokens.renew(&tx, &token.id, increment, seconds(1000)).await, case.left) {
            (Ok((_, left, warnings)), Ok(expected)) => {
                assert_eq!((left, !warnings.is_empty()), (seconds(expected), case.warned), "case {n}: {warnings:?}");
            }
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "case {n}: {error}"),
            (result, expected) => panic!("case {n}: {result:?} instead of {expected:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_maximum_of_the_login_mount_holds_for_renewals_too() {
    // A login mount with a maximum of an hour gave tokens that could be renewed for 32 days: a renewal knows only the
    // maximum of `auth/token/`.
    let world = World::new().await;
    let login = || Login { params: TokenParams { ttl: seconds(1800), ..TokenParams::default() }, ..Login::default() };
    let (new, _) = world.tokens.for_login(&mount("auth/jwt/", 3600), "auth/jwt/login", login()).unwrap();
    let token = world.issue(new).await;
    world.pass(seconds(1700)).await;
    let tx = world.tx();
    let (_, left, warnings) =
        world.tokens.renew(&tx, &token.id, Some(seconds(10_000)), tokens::SYSTEM_MAX_TTL).await.unwrap();
    assert_eq!(left, seconds(1900));
    assert!(!warnings.is_empty());
    // And one with a longer maximum than the system's keeps it.
    let long = 100 * 24 * 3600;
    let (new, _) = world.tokens.for_login(&mount("auth/jwt/", long), "auth/jwt/login", login()).unwrap();
    let token = world.issue(new).await;
    let tx = world.tx();
    let (_, left, _) = world.tokens.renew(&tx, &token.id, Some(seconds(long)), tokens::SYSTEM_MAX_TTL).await.unwrap();
    assert_eq!(left, seconds(long));
}

#[tokio::test(start_paused = true)]
async fn logins_cannot_make_root_tokens_nor_odd_batch_tokens() {
    let world = World::new().await;
    let login = |params| {
        let login = Login { params, ..Login::default() };
        world.tokens.for_login(&mount("auth/jwt/", 3600), "auth/jwt/login", login).map(drop)
    };
    for policy in ["root", " ROOT ", "response-wrapping"] {
        login(TokenParams { policies: vec![policy.to_owned()], ..TokenParams::default() }).unwrap_err();
    }
    let batch = TokenParams { kind: TokenKind::Batch, ..TokenParams::default() };
    login(batch.clone()).unwrap();
    for odd in [
        TokenParams { period: seconds(1), ..batch.clone() },
        TokenParams { num_uses: 1, ..batch.clone() },
        TokenParams { explicit_max_ttl: seconds(1), ..batch },
    ] {
        login(odd).unwrap_err();
    }
}

#[tokio::test(start_paused = true)]
async fn all_that_hangs_on_a_token_ends_with_it() {
    let world = World::new().await;
    let parent = world.plain(3600).await;
    let mut family = Vec::new();
    for _ in 0..300 {
        family.push(world.child(&parent, 3600).await);
    }
    let grandchild = world.child(&family[7], 3600).await;
    world.lease(&grandchild.id).await;
    world.lease(&parent.id).await;
    let tx = world.tx();
    for n in 0..600 {
        tx.put(
            storage::Key::new(format!("{}{n}", tokens::private_prefix(&parent.id))),
            bytes::Bytes::from_static(b"{}"),
        );
    }
    tx.commit().await.unwrap();
    assert!(world.tokens.revoke_now(&parent.id).await.unwrap());
    assert!(!world.alive(&parent).await, "revoking takes effect with its commit");
    for _ in 0..20 {
        world.settle().await;
    }
    world.nothing_left().await;
    assert!(!world.tokens.revoke_now(&parent.id).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn nothing_can_be_hung_on_a_token_whose_end_has_begun() {
    // A request that was let in just before its token was revoked made a child or a lease just after; nobody looked for
    // it any more.
    let world = World::new().await;
    let parent = world.plain(3600).await;
    let new = || New { ttl: seconds(60), parent: Some(parent.id.clone()), path: "p".to_owned(), ..New::default() };
    let (early, late) = (world.tx(), world.tx());
    world.tokens.issue(&early, new()).await.unwrap();
    world.tokens.hold(&late, &parent.id).await.unwrap();
    late.put(storage::Key::new("sys/lease/late"), bytes::Bytes::new());
    world.tokens.revoke_now(&parent.id).await.unwrap();
    world.settle().await;
    assert!(matches!(early.commit().await, Err(storage::CommitError::Conflict(_))));
    assert!(matches!(late.commit().await, Err(storage::CommitError::Conflict(_))));
    assert!(matches!(world.tokens.issue(&world.tx(), new()).await, Err(Error::Denied(_))));
    world.nothing_left().await;
    // Uses and renewals of the token are no reason to refuse.
    let token = world.issue(New { ttl: seconds(60), num_uses: 9, ..New::default() }).await;
    let tx = world.tx();
    world.tokens.hold(&tx, &token.id).await.unwrap();
    tx.put(storage::Key::new("x"), bytes::Bytes::new());
    world.tokens.holder(&token.token, None).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn children_can_outlive_their_parent_as_orphans() {
    let world = World::new().await;
    let parent = world.plain(3600).await;
    let mut children = Vec::new();
    for _ in 0..300 {
        children.push(world.child(&parent, 600).await);
    }
    let batch = world
        .issue(New { ttl: seconds(600), parent: Some(parent.id.clone()), kind: TokenKind::Batch, ..New::default() })
        .await;
    assert!(world.tokens.holder(&batch.token, None).await.is_ok());
    let tx = world.tx();
    assert!(world.tokens.revoke_orphan(&tx, &parent.id).await.unwrap());
    tx.commit().await.unwrap();
    world.leases.wake();
    world.settle().await;
    for child in &children {
        assert!(world.tokens.find(&child.id).await.unwrap().unwrap().is_orphan());
    }
    assert!(world.keys("sys/token/parent/").await.is_empty());
    // A batch token cannot be made an orphan: nobody knows where it is.
    assert!(world.tokens.holder(&batch.token, None).await.is_err());
    world.pass(seconds(600)).await;
    for _ in 0..10 {
        world.settle().await;
    }
    world.nothing_left().await;
}

#[tokio::test(start_paused = true)]
async fn batch_tokens_are_their_own_record() {
    let world = World::new().await;
    let before = world.keys("").await.len();
    let batch = world.issue(New { ttl: seconds(60), kind: TokenKind::Batch, ..New::default() }).await;
    assert_eq!(world.keys("").await.len(), before, "a batch token wrote something");
    let caller = world.tokens.holder(&batch.token, None).await.unwrap();
    assert!(caller.accessor.is_empty() && caller.kind == TokenKind::Batch);
    // EXPOSE: damaged on purpose.
    let text = batch.token.expose().clone();
    for n in [4, 20, text.len() - 1] {
        let mut bytes = text.clone().into_bytes();
        bytes[n] = if bytes[n] == b'A' { b'B' } else { b'A' };
        let damaged = SecretString::new(String::from_utf8(bytes).unwrap());
        assert!(matches!(world.tokens.holder(&damaged, None).await, Err(Error::Denied(Refusal::InvalidToken))), "{n}");
    }
    for odd in ["hvb.", "hvb.!!!", &format!("hvb.{}", "A".repeat(100_000))] {
        assert!(world.tokens.holder(&SecretString::new(odd.to_owned()), None).await.is_err());
    }
    world.pass(seconds(60)).await;
    assert!(world.tokens.holder(&batch.token, None).await.is_err());
    let root = New { policies: vec!["root".to_owned()], kind: TokenKind::Batch, ttl: seconds(9), ..New::default() };
    assert!(world.tokens.issue(&world.tx(), root).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_chosen_id_is_taken_once() {
    let world = World::new().await;
    let new = || New { id: Some(SecretString::new("mine".to_owned())), ttl: seconds(60), ..New::default() };
    let token = world.issue(new()).await;
    assert!(world.tokens.issue(&world.tx(), new()).await.unwrap_err().to_string().contains("duplicate"));
    assert_eq!(world.tokens.id(&SecretString::new("mine".to_owned())), token.id);
}

#[tokio::test(start_paused = true)]
async fn addresses_bind() {
    let world = World::new().await;
    let cidrs = tokens::parse_cidrs(&["10.0.0.0/8".to_owned(), "::1".to_owned()]).unwrap();
    let token = world.issue(New { ttl: seconds(60), bound_cidrs: cidrs, ..New::default() }).await;
    for (address, good) in [("10.1.2.3", true), ("::1", true), ("11.0.0.1", false)] {
        assert_eq!(world.tokens.holder(&token.token, Some(address.parse().unwrap())).await.is_ok(), good, "{address}");
    }
    assert!(matches!(world.tokens.holder(&token.token, None).await, Err(Error::Denied(Refusal::Address))));
    assert!(tokens::parse_cidrs(&["10.0.0.0/99".to_owned()]).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_commit_of_an_end_leaves_nothing_behind() {
    for when in [When::Before, When::After] {
        for n in 0.. {
            let disk: Arc<dyn Store> = Memory::new();
            let world =
                World::over(Arc::clone(&disk), clock::Simulated::new("2027-01-01T00:00:00Z".parse().unwrap())).await;
            let parent = world.plain(3600).await;
            let child = world.child(&parent, 3600).await;
            world.lease(&child.id).await;
            world.lease(&parent.id).await;
            let time = world.time.clone();
            drop(world);
            let store = CrashStore::new(Arc::clone(&disk), n, when);
            let ended = store
                .until_crash(async {
                    let world = World::over(Arc::clone(&store) as Arc<dyn Store>, time.clone()).await;
                    world.tokens.revoke_now(&parent.id).await.unwrap();
                    world.settle().await;
                    world.nothing_left().await;
                })
                .await;
            let world = World::over(disk, time).await;
            if ended.is_none() && n == 0 && when == When::Before {
                assert!(world.alive(&parent).await, "half revoked");
                world.tokens.revoke_now(&parent.id).await.unwrap();
            }
            for _ in 0..4 {
                world.pass(seconds(121)).await;
            }
            world.nothing_left().await;
            if ended.is_some() {
                assert!(n > 6, "the story has only {n} commits");
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_that_fails_half_way_goes_on() {
    for n in 0..8 {
        let store = FailingStore::new(Memory::new());
        let time = clock::Simulated::new("2027-01-01T00:00:00Z".parse().unwrap());
        let world = World::over(Arc::clone(&store) as Arc<dyn Store>, time).await;
        let parent = world.plain(3600).await;
        for _ in 0..5 {
            let child = world.child(&parent, 3600).await;
            world.lease(&child.id).await;
        }
        world.settle().await;
        world.tokens.revoke_now(&parent.id).await.unwrap();
        store.fail_commit_after(n);
        for _ in 0..6 {
            world.pass(seconds(60)).await;
        }
        world.nothing_left().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_login_keeps_is_not_shown() {
    let world = World::new().await;
    let login = Login { renewal: Some(SecretString::new("the-secret".to_owned())), ..Login::default() };
    let (new, _) = world.tokens.for_login(&mount("auth/jwt/", 3600), "auth/jwt/login", login).unwrap();
    assert!(!format!("{new:?}").contains("the-secret"));
    let token = world.issue(new).await;
    let record = world.tokens.find(&token.id).await.unwrap().unwrap();
    assert!(!format!("{record:?}").contains("the-secret"));
    assert!(record.login_renewal.secret().matches("the-secret"));
}
