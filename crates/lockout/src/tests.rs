//! Guesses, one after the other and many at once, with time that is moved by hand.

use std::time::Duration;

use clock::Simulated;
use futures::future::join_all;

use super::*;

const USER: &str = "alice";

struct Door {
    lockout: Arc<Lockout>,
    store: Arc<dyn Store>,
    time: Simulated,
    rules: Rules,
}

impl Door {
    fn new() -> Self {
        let time = Simulated::new(Timestamp::from_second(1_800_000_000).unwrap());
        let store: Arc<dyn Store> = store_memory::Memory::new();
        let lockout = Lockout::new(Arc::clone(&store), time.clock());
        Self { lockout, store, time, rules: Rules::default() }
    }

    /// After a restart.
    fn again(&self) -> Self {
        let lockout = Lockout::new(Arc::clone(&self.store), self.time.clock());
        Self { lockout, store: Arc::clone(&self.store), time: self.time.clone(), rules: self.rules }
    }

    async fn login(&self, alias: &str, known: bool, right: bool) -> Result<(), Error> {
        self.lockout.check("mount", alias, &self.rules).await?;
        // The secret is checked meanwhile, and others come in.
        tokio::task::yield_now().await;
        self.lockout.settle("mount", alias, known, right, &self.rules)
    }

    async fn wrong(&self) -> bool {
        self.login(USER, true, false).await.is_ok()
    }

    async fn right(&self) -> bool {
        self.login(USER, true, true).await.is_ok()
    }

    /// Until what is stored in the background is stored.
    async fn settled(&self) {
        while self.lockout.stored("mount").await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn five_wrong_ones_lock_for_a_quarter_of_an_hour() {
    let door = Door::new();
    for _ in 0..5 {
        assert!(door.wrong().await);
    }
    assert!(!door.wrong().await && !door.right().await);
    assert!(door.login("bob", true, true).await.is_ok(), "others are not locked");
    door.time.advance(Duration::from_secs(15 * 60 - 1));
    assert!(!door.right().await);
    door.time.advance(Duration::from_secs(1));
    for _ in 0..4 {
        assert!(door.wrong().await, "the count begins anew");
    }
    assert!(door.right().await);
}

#[tokio::test]
async fn a_right_one_and_a_long_pause_forget_the_wrong_ones() {
    let door = Door::new();
    for _ in 0..3 {
        for _ in 0..4 {
            assert!(door.wrong().await);
        }
        assert!(door.right().await);
    }
    for _ in 0..20 {
        assert!(door.wrong().await);
        door.time.advance(Duration::from_secs(15 * 60));
    }
    assert!(door.right().await);
}

/// Were the guesses only looked at before their secrets are checked, all that come in together would be answered.
#[tokio::test]
async fn of_many_at_once_no_more_are_answered_than_one_after_the_other() {
    let door = Door::new();
    let wrong = join_all((0..200).map(|_| door.wrong())).await;
    assert_eq!(wrong.into_iter().filter(|answered| *answered).count(), 5);
    assert!(!door.right().await);
}

#[tokio::test]
async fn many_right_ones_at_once_do_not_stand_in_each_others_way() {
    let door = Door::new();
    let logins = (0..200).map(|n| door.login(USER, true, n % 50 != 0));
    let answered = join_all(logins).await;
    assert!(answered.iter().all(Result::is_ok));
}

#[tokio::test]
async fn a_right_guess_that_comes_too_late_is_refused_like_a_wrong_one() {
    let door = Door::new();
    let logins = (0..20).map(|n| door.login(USER, true, n == 10));
    let answered = join_all(logins).await;
    assert!(matches!(answered[10], Err(Error::Denied(Refusal::Locked))));
}

#[tokio::test]
async fn names_that_nobody_has_are_locked_too_and_push_nobody_out() {
    let door = Door::new();
    for _ in 0..4 {
        assert!(door.wrong().await);
    }
    for _ in 0..5 {
        assert!(door.login("nobody", false, false).await.is_ok());
    }
    assert!(door.login("nobody", false, false).await.is_err());
    // More names than the memory holds.
    let long = "x".repeat(400);
    for n in 0..20_000 {
        door.login(&format!("{n}{long}"), false, false).await.unwrap();
        door.time.advance(Duration::from_millis(1));
    }
    assert!(door.lockout.memory.lock().unknown.bytes() <= MEMORY);
    assert!(door.login("nobody", false, false).await.is_ok(), "the oldest are forgotten");
    assert!(door.wrong().await);
    assert!(!door.wrong().await, "the fifth wrong one of a real name locked it all the same");
}

#[tokio::test]
async fn a_lock_outlives_a_restart_until_it_ends_or_is_opened() {
    let door = Door::new();
    for _ in 0..5 {
        door.wrong().await;
        door.login("nobody", false, false).await.unwrap();
    }
    door.settled().await;
    let named = |alias: &str| Locked { mount: "mount".into(), alias: alias.into() };
    assert_eq!(door.lockout.locked().await.unwrap(), [named(USER), named("nobody")].into());

    let again = door.again();
    assert!(!again.right().await);
    assert_eq!(again.lockout.locked().await.unwrap(), [named(USER)].into());
    again.lockout.unlock("mount", USER).await.unwrap();
    assert!(again.right().await);
    assert!(again.again().right().await);
    assert!(again.lockout.locked().await.unwrap().is_empty());

    for _ in 0..5 {
        again.wrong().await;
    }
    again.settled().await;
    again.time.advance(Duration::from_secs(15 * 60));
    let later = again.again();
    assert!(later.right().await);
    assert!(later.lockout.locked().await.unwrap().is_empty());
    assert!(later.lockout.stored("mount").await.unwrap().is_empty(), "what has ended is removed when it is met");
}

#[tokio::test]
async fn a_mount_that_goes_takes_its_locks_along() {
    let door = Door::new();
    for _ in 0..5 {
        door.wrong().await;
    }
    door.settled().await;
    door.lockout.forget_mount("mount").await.unwrap();
    assert!(door.right().await && door.again().right().await);
}

#[tokio::test]
async fn where_it_is_turned_off_nobody_is_locked() {
    let door = Door { rules: Rules::none(), ..Door::new() };
    for _ in 0..50 {
        assert!(door.wrong().await);
    }
    assert!(door.lockout.locked().await.unwrap().is_empty());
}
