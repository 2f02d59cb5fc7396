use super::*;

fn request(secret_shares: u64, secret_threshold: u64) -> RekeyRequest {
    RekeyRequest { shares: shares(secret_shares, secret_threshold), ..RekeyRequest::default() }
}

#[test]
fn a_rekey_replaces_root_key_and_shares() {
    let old = init(&shares(3, 2), now()).unwrap();
    let mut rekey = Rekey::default();
    let status = rekey.start(&old.stored, &request(5, 4), now()).unwrap();
    assert_eq!((status.started, status.t, status.n, status.progress, status.required), (true, 4, 5, 0, 2));
    assert_eq!(rekey.start(&old.stored, &request(5, 4), now()).unwrap_err(), Error::RekeyStarted);
    let more = rekey.submit(&old.stored, &status.nonce, &base64(&old, 0)).unwrap();
    assert!(matches!(more, RekeyStep::More(RekeyStatus { progress: 1, .. })));
    let step = rekey.submit(&old.stored, &status.nonce, &base64(&old, 2)).unwrap();
    let RekeyStep::Complete { issue: new, nonce, backup: false } = step else { panic!("{step:?}") };
    assert_eq!(nonce, status.nonce);
    assert!(!same(&new.root_key, &old.root_key));
    assert!(!rekey.status(&new.stored).started);

    let mut unseal = Unseal::default();
    for at in 1..4 {
        assert!(unseal.submit(&new.stored, &base64(&new, at)).unwrap().is_none());
    }
    assert!(same(&unseal.submit(&new.stored, &base64(&new, 4)).unwrap().unwrap(), &new.root_key));
    let mut rekey = Rekey::default();
    let status = rekey.start(&new.stored, &request(1, 1), now()).unwrap();
    for at in 0..3 {
        rekey.submit(&new.stored, &status.nonce, &base64(&new, at)).unwrap();
    }
    let old_share = rekey.submit(&new.stored, &status.nonce, &base64(&old, 0));
    assert_eq!(old_share.unwrap_err(), Error::SharesMixed);
}

#[test]
fn a_rekey_with_verification_counts_only_once_the_new_shares_were_shown() {
    let old = init(&shares(1, 1), now()).unwrap();
    let mut rekey = Rekey::default();
    let wanted = RekeyRequest { require_verification: true, ..request(3, 2) };
    let status = rekey.start(&old.stored, &wanted, now()).unwrap();
    assert_eq!(rekey.verify("x", &base64(&old, 0)).unwrap_err(), Error::NoVerification);
    let step = rekey.submit(&old.stored, &status.nonce, &base64(&old, 0)).unwrap();
    let RekeyStep::Verify { shares: new, status } = step else { panic!("{step:?}") };
    let nonce = status.verification_nonce.unwrap();
    let again = rekey.submit(&old.stored, &status.nonce, &base64(&old, 0));
    assert_eq!(again.unwrap_err(), Error::VerificationAwaited);

    assert!(matches!(rekey.verify("wrong", &new[0].hex()), Err(Error::Nonce { .. })));
    assert!(matches!(rekey.verify(&nonce, &new[0].hex()).unwrap(), Verification::More(_)));
    assert_eq!(rekey.verification().unwrap().progress, 1);
    assert_eq!(rekey.verify(&nonce, &new[0].hex()).unwrap_err(), Error::ShareRepeated);
    let strange = init(&shares(3, 2), now()).unwrap();
    assert_eq!(rekey.verify(&nonce, &base64(&strange, 0)).unwrap_err(), Error::SharesMixed);
    assert_eq!(rekey.verification().unwrap().progress, 0);

    rekey.verify(&nonce, &new[0].hex()).unwrap();
    let restarted = rekey.restart_verification().unwrap();
    assert_eq!((restarted.progress, restarted.t, restarted.n), (0, 2, 3));
    assert!(matches!(rekey.verify(&nonce, &new[1].hex()), Err(Error::Nonce { .. })));
    rekey.verify(&restarted.nonce, &new[1].hex()).unwrap();
    let done = rekey.verify(&restarted.nonce, &new[2].hex()).unwrap();
    let Verification::Complete { stored, root_key, .. } = done else { panic!("{done:?}") };
    let mut unseal = Unseal::default();
    unseal.submit(&stored, &new[0].hex()).unwrap();
    assert!(same(&unseal.submit(&stored, &new[2].hex()).unwrap().unwrap(), &root_key));
    assert_eq!(rekey.verify(&restarted.nonce, &new[1].hex()).unwrap_err(), Error::NoRekey);
}

#[test]
fn a_rekey_is_bound_to_its_nonce_and_can_be_ended() {
    let old = init(&shares(1, 1), now()).unwrap();
    let mut rekey = Rekey::default();
    assert_eq!(rekey.submit(&old.stored, "", &base64(&old, 0)).unwrap_err(), Error::NoRekey);
    assert_eq!(rekey.cancel("").unwrap_err(), Error::NoRekey);
    let expected = rekey.start(&old.stored, &request(1, 1), now()).unwrap().nonce;
    for wrong in ["", "another"] {
        let error = Error::Nonce { operation: "rekey", expected: expected.clone() };
        assert_eq!(rekey.submit(&old.stored, wrong, &base64(&old, 0)).unwrap_err(), error);
        assert_eq!(rekey.cancel(wrong).unwrap_err(), error);
    }
    rekey.cancel(&expected).unwrap();
    assert_eq!(rekey.status(&old.stored), RekeyStatus { required: 1, ..RekeyStatus::default() });
    rekey.start(&old.stored, &request(1, 1), now()).unwrap();
    rekey.abandon();
    assert!(!rekey.status(&old.stored).started);
}

#[test]
fn what_cannot_be_rekeyed_to_is_refused_at_the_start() {
    let old = init(&shares(1, 1), now()).unwrap();
    let mut rekey = Rekey::default();
    let threshold = Error::Threshold { shares: 3, threshold: 4 };
    assert_eq!(rekey.start(&old.stored, &request(3, 4), now()).unwrap_err(), threshold);
    let backup = RekeyRequest { backup: true, ..request(3, 2) };
    assert_eq!(rekey.start(&old.stored, &backup, now()).unwrap_err(), Error::BackupInClear);
    let mut few = request(3, 2);
    few.shares.pgp_keys = vec![String::new()];
    assert_eq!(rekey.start(&old.stored, &few, now()).unwrap_err(), Error::PgpCount { keys: 1, shares: 3 });
    assert!(!rekey.status(&old.stored).started);
}
