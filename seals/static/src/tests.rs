#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use seal::{NewShares, RootKey, Unseal, copies_anew, init_kept, open_by};

use super::*;

const OLD: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const NEW: &str = "ERERERERERERERERERERERERERERERERERERERERERE=";

fn options(pairs: &[(&str, &str)]) -> Options {
    let secret = |(name, value): &(&str, &str)| ((*name).to_owned(), SecretString::new((*value).to_owned()));
    Options::new("static", pairs.iter().map(secret).collect::<BTreeMap<_, _>>())
}

fn keeper(pairs: &[(&str, &str)]) -> Arc<dyn Keeper> {
    make(options(pairs)).unwrap()
}

fn same(one: &RootKey, other: &RootKey) -> bool {
    secret::equal(one.expose(), other.expose())
}

#[tokio::test]
async fn keys_are_exchanged_with_the_previous_one_beside_the_current() {
    let old = keeper(&[("current_key_id", "1"), ("current_key", OLD)]);
    let root_key = RootKey::make();
    let copies = vec![seal::Copy::make(&*old, &root_key).await.unwrap()];
    let new = NewShares { secret_shares: 3, secret_threshold: 2, pgp_keys: vec![] };
    let kept = RootKey::from_bytes(root_key.expose());
    let issue = init_kept(&new, false, root_key, copies, clock::Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!((issue.stored.kind(), issue.stored.is_kept(), issue.stored.shares_open()), ("static", true, false));
    let json = issue.stored.to_json();
    let stored = seal::Stored::from_json(&json).unwrap();
    assert_eq!(stored, issue.stored);
    assert!(same(&open_by(&[Arc::clone(&old)], &stored).await.unwrap(), &kept));
    // The shares authorise and do not open.
    let share = issue.shares.first().unwrap().base64();
    assert!(matches!(Unseal::default().submit(&stored, &share), Err(seal::Error::SharesOnlyAuthorise)));

    let only_new = keeper(&[("current_key_id", "2"), ("current_key", NEW)]);
    let error = open_by(&[Arc::clone(&only_new)], &stored).await.unwrap_err();
    assert!(error.to_string().contains("it was wrapped with the key \"1\""), "{error}");
    let both =
        keeper(&[("current_key_id", "2"), ("current_key", NEW), ("previous_key_id", "1"), ("previous_key", OLD)]);
    assert!(same(&open_by(&[Arc::clone(&both)], &stored).await.unwrap(), &kept));
    let (copies, errors) = copies_anew(&[both], &stored, &kept).await;
    assert!(errors.is_empty());
    let moved = stored.with_copies(copies.unwrap());
    assert!(same(&open_by(&[Arc::clone(&only_new)], &moved).await.unwrap(), &kept));
    assert!(open_by(&[old], &moved).await.is_err());
    assert_eq!(copies_anew(&[only_new], &moved, &kept).await.0, None, "nothing to do");
}

#[tokio::test]
async fn shares_that_break_the_glass_open_and_any_one_of_several_seals_does() {
    let one = keeper(&[("current_key_id", "1"), ("current_key", OLD)]);
    let mut other = options(&[("current_key_id", "1"), ("current_key", NEW)]);
    other.name = "other".to_owned();
    let other = make(other).unwrap();
    let root_key = RootKey::make();
    let kept = RootKey::from_bytes(root_key.expose());
    let mut copies = Vec::new();
    for keeper in [&one, &other] {
        copies.push(seal::Copy::make(&**keeper, &root_key).await.unwrap());
    }
    let new = NewShares { secret_shares: 3, secret_threshold: 2, pgp_keys: vec![] };
    let issue = init_kept(&new, true, root_key, copies, clock::Timestamp::UNIX_EPOCH).unwrap();
    for keepers in [vec![Arc::clone(&one)], vec![Arc::clone(&other)], vec![one, other]] {
        assert!(same(&open_by(&keepers, &issue.stored).await.unwrap(), &kept));
    }
    assert!(open_by(&[], &issue.stored).await.is_err());
    let mut unseal = Unseal::default();
    let [first, .., last] = issue.shares.as_slice() else { panic!() };
    assert!(unseal.submit(&issue.stored, &first.base64()).unwrap().is_none());
    assert!(same(&unseal.submit(&issue.stored, &last.base64()).unwrap().unwrap(), &kept));
}

#[test]
fn a_key_comes_from_where_it_is_said_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let wrapped_with = |key: &str| keeper(&[("current_key_id", "1"), ("current_key", key)]);
    let raw = folder.path().join("raw");
    std::fs::write(&raw, [0x11; 32]).unwrap();
    let hex = folder.path().join("hex");
    std::fs::write(&hex, format!("{}\n", "11".repeat(32))).unwrap();
    let wrapped = futures_ready(wrapped_with(NEW).wrap(&SecretBytes::new(vec![7; 32]))).unwrap();
    for key in [format!("file://{}", raw.display()), format!("file://{}", hex.display()), "11".repeat(32)] {
        let opened = futures_ready(wrapped_with(&key).unwrap(&wrapped)).unwrap();
        assert!(opened.matches([7; 32]));
    }
}

/// The answer of a seal that waits for nothing.
fn futures_ready<T>(kept: Kept<'_, T>) -> Result<T, KeeperError> {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(kept)
}

#[test]
fn what_cannot_be_a_key_is_told_by_its_option() {
    let rows: &[(&[(&str, &str)], &str)] = &[
        (&[], "current_key is missing"),
        (&[("current_key", NEW)], "current_key_id is missing"),
        (&[("current_key_id", "1")], "current_key is missing, but its id is there"),
        (&[("current_key_id", "1"), ("current_key", "short")], "current_key: it must be 32 bytes"),
        (&[("current_key_id", "1"), ("current_key", "file:///nowhere")], "current_key: cannot read /nowhere"),
        (&[("current_key_id", "1"), ("current_key", "env://STRONGROOM_NO_SUCH")], "STRONGROOM_NO_SUCH is not set"),
        (&[("current_key_id", "1"), ("current_key", "credential://../x")], "CREDENTIALS_DIRECTORY"),
        (&[("current_key_id", "1"), ("current_key", NEW), ("key", "x")], "key: this seal has no such option"),
        (
            &[("current_key_id", "1"), ("current_key", NEW), ("previous_key_id", "1"), ("previous_key", OLD)],
            "previous_key_id: the previous key needs another id",
        ),
    ];
    for (given, text) in rows {
        let error = make(options(given)).err().unwrap();
        assert!(error.contains(text), "{error}");
        assert!(!error.contains(NEW) && !error.contains("short"), "{error}");
    }
}
