//! The seal as its callers use it.

mod pgp_messages;
mod rekeying;
mod root_tokens;

use super::*;
use clock::Timestamp;
use secret::SecretString;

/// A moment at which the keys of these tests are good, as they are made with the time of the machine.
fn now() -> Timestamp {
    clock::Clock::system().now()
}

/// A request for shares in clear.
fn shares(secret_shares: u64, secret_threshold: u64) -> NewShares {
    NewShares { secret_shares, secret_threshold, pgp_keys: Vec::new() }
}

fn text(text: impl Into<String>) -> SecretString {
    SecretString::new(text.into())
}

/// The spelling that holders are given first.
fn base64(issue: &Issue, at: usize) -> SecretString {
    issue.shares[at].base64()
}

fn same(a: &RootKey, b: &RootKey) -> bool {
    a.expose() == b.expose()
}

#[test]
fn every_shape_of_a_set_opens_with_its_threshold_and_either_spelling() {
    for (n, t) in [(1, 1), (2, 2), (3, 2), (5, 3), (5, 5), (255, 2), (255, 255)] {
        let issue = init(&shares(n, t), now()).unwrap();
        assert_eq!(issue.shares.len() as u64, n);
        let stored = Stored::from_json(&issue.stored.to_json()).unwrap();
        assert_eq!(stored, issue.stored);
        let mut unseal = Unseal::default();
        for given in 0..t {
            let share = &issue.shares[given as usize];
            let spelled = if given % 2 == 0 { share.hex() } else { share.base64() };
            let opened = unseal.submit(&stored, &spelled).unwrap();
            assert_eq!(opened.is_some(), given + 1 == t);
            if let Some(opened) = opened {
                assert!(same(&opened, &issue.root_key));
            }
        }
        assert_eq!(unseal.status(&stored).progress, 0);
    }
}

#[test]
fn spellings_are_read_leniently() {
    let issue = init(&shares(3, 2), now()).unwrap();
    let mut unseal = Unseal::default();
    let upper = text(format!(" {}\n", issue.shares[0].hex().expose().to_uppercase()));
    assert!(unseal.submit(&issue.stored, &upper).unwrap().is_none());
    let single = init(&shares(1, 1), now()).unwrap();
    let unpadded = text(base64(&single, 0).expose().trim_end_matches('='));
    assert!(unseal.submit(&issue.stored, &base64(&issue, 2)).unwrap().is_some());
    assert!(Unseal::default().submit(&single.stored, &unpadded).unwrap().is_some());
}

#[test]
fn impossible_sets_are_refused() {
    assert_eq!(init(&shares(0, 0), now()).unwrap_err(), Error::SharesRange(0));
    assert_eq!(init(&shares(0, 1), now()).unwrap_err(), Error::SharesRange(0));
    assert_eq!(init(&shares(256, 3), now()).unwrap_err(), Error::SharesRange(256));
    for (shares, threshold) in [(1, 0), (1, 2), (5, 0), (5, 1), (5, 6), (5, 300)] {
        let error = init(&self::shares(shares, threshold), now()).unwrap_err();
        assert_eq!(error, Error::Threshold { shares, threshold });
    }
}

#[test]
fn each_wrong_share_has_its_own_error_and_leaves_the_progress() {
    let issue = init(&shares(5, 3), now()).unwrap();
    let mut unseal = Unseal::default();
    unseal.submit(&issue.stored, &base64(&issue, 0)).unwrap();
    let nonce = unseal.status(&issue.stored).nonce;
    assert!(!nonce.is_empty());
    let cases = [
        (text(""), Error::ShareEmpty),
        (text(" \n"), Error::ShareEmpty),
        (text("no share at all!"), Error::ShareMalformed),
        (text("abcde"), Error::ShareMalformed),
        (text("abcd"), Error::ShareLength { got: 2, expected: 33 }),
        (text(&base64(&issue, 1).expose()[..40]), Error::ShareLength { got: 30, expected: 33 }),
        (text(&issue.shares[1].hex().expose()[..64]), Error::ShareLength { got: 32, expected: 33 }),
        (base64(&issue, 0), Error::ShareRepeated),
        (issue.shares[0].hex(), Error::ShareRepeated),
    ];
    for (share, expected) in cases {
        assert_eq!(unseal.submit(&issue.stored, &share).unwrap_err(), expected);
        let status = unseal.status(&issue.stored);
        assert_eq!((status.t, status.n, status.progress, &status.nonce), (3, 5, 1, &nonce));
    }
    unseal.submit(&issue.stored, &base64(&issue, 3)).unwrap();
    assert!(same(&unseal.submit(&issue.stored, &base64(&issue, 4)).unwrap().unwrap(), &issue.root_key));
}

#[test]
fn mixed_up_shares_are_told_and_forgotten() {
    let (ours, theirs) = (init(&shares(5, 3), now()).unwrap(), init(&shares(5, 3), now()).unwrap());
    let mut unseal = Unseal::default();
    for (issue, at) in [(&ours, 0), (&ours, 1)] {
        assert!(unseal.submit(&ours.stored, &base64(issue, at)).unwrap().is_none());
    }
    assert_eq!(unseal.submit(&ours.stored, &base64(&theirs, 2)).unwrap_err(), Error::SharesMixed);
    assert_eq!(unseal.status(&ours.stored), UnsealStatus { t: 3, n: 5, progress: 0, nonce: String::new() });
    for at in 0..2 {
        assert!(unseal.submit(&ours.stored, &base64(&ours, at)).unwrap().is_none());
    }
    assert!(unseal.submit(&ours.stored, &base64(&ours, 2)).unwrap().is_some());
}

#[test]
fn two_shares_with_one_coordinate_or_none_are_mixed_up() {
    let issue = init(&shares(3, 2), now()).unwrap();
    for tamper in [|share: &mut [u8]| share[0] ^= 1, |share: &mut [u8]| share[32] = 0] {
        let mut unseal = Unseal::default();
        unseal.submit(&issue.stored, &base64(&issue, 0)).unwrap();
        let mut bytes = data_encoding::BASE64.decode(base64(&issue, 0).expose().as_bytes()).unwrap();
        tamper(&mut bytes);
        let twisted = text(data_encoding::BASE64.encode(&bytes));
        assert_eq!(unseal.submit(&issue.stored, &twisted).unwrap_err(), Error::SharesMixed);
    }
    // A wrong single key is found out in the same way.
    let (single, other) = (init(&shares(1, 1), now()).unwrap(), init(&shares(1, 1), now()).unwrap());
    assert_eq!(Unseal::default().submit(&single.stored, &base64(&other, 0)).unwrap_err(), Error::SharesMixed);
}

#[test]
fn a_reset_forgets_the_shares() {
    let issue = init(&shares(2, 2), now()).unwrap();
    let mut unseal = Unseal::default();
    unseal.submit(&issue.stored, &base64(&issue, 0)).unwrap();
    unseal.reset();
    assert_eq!(unseal.status(&issue.stored).progress, 0);
    assert!(unseal.submit(&issue.stored, &base64(&issue, 1)).unwrap().is_none());
}

#[test]
fn shares_of_a_set_that_was_replaced_meanwhile_do_not_count() {
    let (old, new) = (init(&shares(3, 2), now()).unwrap(), init(&shares(3, 2), now()).unwrap());
    let mut unseal = Unseal::default();
    unseal.submit(&old.stored, &base64(&old, 0)).unwrap();
    assert!(unseal.submit(&new.stored, &base64(&new, 0)).unwrap().is_none());
    assert!(unseal.submit(&new.stored, &base64(&new, 1)).unwrap().is_some());
}

#[test]
fn a_damaged_record_is_told_from_wrong_shares() {
    let issue = init(&shares(1, 1), now()).unwrap();
    let json = String::from_utf8(issue.stored.to_json()).unwrap();
    let change = |from: &str, to: &str| Stored::from_json(json.replacen(from, to, 1).as_bytes());
    assert!(matches!(Stored::from_json(b"{}"), Err(Error::Damaged(_))));
    assert!(matches!(change("\"version\":1", "\"version\":2"), Err(Error::Damaged(_))));
    assert!(matches!(change("shamir", "awskms"), Err(Error::Damaged(_))));
    assert!(matches!(change("\"secret_shares\":1", "\"secret_shares\":0"), Err(Error::Damaged(_))));
    let cut = change("\"root_key\":\"", "\"root_key\":\"!").unwrap();
    assert!(matches!(Unseal::default().submit(&cut, &base64(&issue, 0)), Err(Error::Damaged(_))));
    // Numbers that were changed in the store do not pass for the ones the key was wrapped under.
    let more = change("\"secret_threshold\":1", "\"secret_threshold\":2");
    assert!(matches!(more, Err(Error::Damaged(_))));
}

#[test]
fn the_record_and_debug_output_hold_no_key() {
    let issue = init(&shares(1, 1), now()).unwrap();
    let shown = format!("{issue:?} {}", String::from_utf8(issue.stored.to_json()).unwrap());
    let root = data_encoding::BASE64.encode(issue.root_key.expose());
    for secret in [base64(&issue, 0).expose(), issue.shares[0].hex().expose(), &root] {
        assert!(!shown.contains(secret.as_str()));
    }
    assert!(format!("{:?}", issue.root_key).contains("Secret(..)"));
}
