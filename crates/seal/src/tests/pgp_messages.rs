use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use pgp::{
    composed::{
        ArmorOptions, EncryptionCaps, KeyType, Message, SecretKeyParamsBuilder, SignedPublicKey, SignedSecretKey,
        SubkeyParamsBuilder,
    },
    crypto::ecc_curve::ECCCurve,
};

use super::*;
use crate::recipient::Randomness;

/// A key with a part for signatures and a part for messages.
fn key_pair() -> SignedSecretKey {
    key_pair_with(EncryptionCaps::All)
}

fn key_pair_with(capability: EncryptionCaps) -> SignedSecretKey {
    let subkey = SubkeyParamsBuilder::default()
        .key_type(KeyType::ECDH(ECCCurve::Curve25519Legacy))
        .can_encrypt(capability)
        .build()
        .unwrap();
    let mut params = SecretKeyParamsBuilder::default();
    params
        .key_type(KeyType::Ed25519Legacy)
        .can_certify(true)
        .can_sign(true)
        .primary_user_id("holder <holder@example.com>".to_owned())
        .subkeys(vec![subkey]);
    params.build().unwrap().generate(Randomness).unwrap()
}

fn armored(key: &SignedSecretKey) -> String {
    SignedPublicKey::from(key.clone()).to_armored_string(ArmorOptions::default()).unwrap()
}

fn binary_base64(key: &SignedSecretKey) -> String {
    use pgp::ser::Serialize;
    data_encoding::BASE64.encode(&SignedPublicKey::from(key.clone()).to_bytes().unwrap())
}

fn decrypt(key: &SignedSecretKey, message: &[u8]) -> String {
    let mut message = Message::from_bytes(message).unwrap().decrypt(&"".into(), key).unwrap();
    message.as_data_string().unwrap()
}

#[test]
fn shares_for_pgp_keys_are_readable_by_their_holders_alone() {
    let keys = [key_pair(), key_pair(), key_pair()];
    let pgp_keys =
        vec![armored(&keys[0]), binary_base64(&keys[1]), data_encoding::BASE64.encode(armored(&keys[2]).as_bytes())];
    let issue = init(&NewShares { secret_shares: 3, secret_threshold: 2, pgp_keys }, now()).unwrap();
    let mut unseal = Unseal::default();
    for (key, issued) in keys.iter().zip(&issue.shares).take(2) {
        let message = data_encoding::BASE64.decode(issued.base64().expose().as_bytes()).unwrap();
        assert_eq!(data_encoding::HEXLOWER.encode(&message), *issued.hex().expose());
        let share = decrypt(key, &message);
        assert_eq!(share.len(), 66);
        let opened = unseal.submit(&issue.stored, &text(share)).unwrap();
        assert!(opened.is_none_or(|opened| same(&opened, &issue.root_key)));
    }
    assert_eq!(unseal.status(&issue.stored).progress, 0);
    let Issued::Encrypted { message, fingerprint } = &issue.shares[0] else { panic!("a share in clear") };
    assert_eq!(fingerprint.len(), 40);
    assert!(Message::from_bytes(message.as_slice()).unwrap().decrypt(&"".into(), &keys[1]).is_err());
}

#[test]
fn a_root_token_can_be_ordered_for_a_pgp_key() {
    let (issue, key) = (init(&shares(1, 1), now()).unwrap(), key_pair());
    let mut generate = GenerateRoot::default();
    let request = RootRequest { otp: None, pgp_key: Some(binary_base64(&key)) };
    let (status, otp) = generate.start(&issue.stored, request, now()).unwrap();
    assert!(otp.is_none() && status.pgp_fingerprint.len() == 40);
    let step = generate.submit(&issue.stored, &status.nonce, &base64(&issue, 0)).unwrap();
    let RootStep::Granted(grant) = step else { panic!("{step:?}") };
    let encoded = grant.encode(&text("hvs.token")).unwrap();
    assert_eq!(encoded.pgp_fingerprint, status.pgp_fingerprint);
    let message = data_encoding::BASE64.decode(encoded.text.as_bytes()).unwrap();
    assert_eq!(decrypt(&key, &message), "hvs.token");
}

#[test]
fn rekeying_to_pgp_keys_tells_their_fingerprints() {
    let (old, key) = (init(&shares(1, 1), now()).unwrap(), key_pair());
    let mut rekey = Rekey::default();
    let shares = NewShares { secret_shares: 1, secret_threshold: 1, pgp_keys: vec![armored(&key)] };
    let request = RekeyRequest { shares, backup: true, require_verification: false };
    let status = rekey.start(&old.stored, &request, now()).unwrap();
    let fingerprints = status.pgp_fingerprints.unwrap();
    let step = rekey.submit(&old.stored, &status.nonce, &base64(&old, 0)).unwrap();
    let RekeyStep::Complete { issue, backup: true, .. } = step else { panic!("{step:?}") };
    assert_eq!(issue.shares[0].fingerprint(), Some(fingerprints[0].as_str()));
    let message = data_encoding::HEXLOWER.decode(issue.shares[0].hex().expose().as_bytes()).unwrap();
    let share = decrypt(&key, &message);
    assert!(same(&Unseal::default().submit(&issue.stored, &text(share)).unwrap().unwrap(), &issue.root_key));
}

#[test]
fn unusable_pgp_keys_are_refused_by_position_and_reason() {
    let good = armored(&key_pair());
    let signing_only = {
        let params = SecretKeyParamsBuilder::default()
            .key_type(KeyType::Ed25519Legacy)
            .can_sign(true)
            .primary_user_id("signer".to_owned())
            .build()
            .unwrap();
        armored(&params.generate(Randomness).unwrap())
    };
    let cases = [
        ("", "the base64 text holds no PGP public key"),
        ("%%%", "it is neither armored nor base64"),
        ("aGVsbG8=", "the base64 text holds no PGP public key"),
        ("keybase:somebody", "keybase names are not looked up; give the key itself"),
        ("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nnothing\n", "the armored text holds no PGP public key"),
        (signing_only.as_str(), "it has no valid part that may encrypt"),
    ];
    for (key, reason) in cases {
        let pgp_keys = vec![good.clone(), key.to_owned()];
        let error = init(&NewShares { secret_shares: 2, secret_threshold: 2, pgp_keys }, now()).unwrap_err();
        assert_eq!(error, Error::PgpKey { position: 2, reason });
    }
    let pgp_keys = vec![good];
    let error = init(&NewShares { secret_shares: 2, secret_threshold: 2, pgp_keys }, now()).unwrap_err();
    assert_eq!(error, Error::PgpCount { keys: 1, shares: 2 });
}

#[test]
fn a_subkey_that_another_key_bound_is_not_encrypted_to() {
    // Somebody who can change a key file must not be able to slip their own subkey in.
    let (victim, attacker) = (SignedPublicKey::from(key_pair()), SignedPublicKey::from(key_pair()));
    let mut forged = victim.clone();
    forged.public_subkeys = attacker.public_subkeys;
    let forged = forged.to_armored_string(ArmorOptions::default()).unwrap();
    assert_eq!(Recipient::parse(&forged, now()).unwrap_err(), "it has no valid part that may encrypt");
}

/// A private GnuPG home whose agent ends with it.
struct Gnupg(tempfile::TempDir);

impl Gnupg {
    /// `None` where GnuPG is not installed.
    fn new() -> Option<Self> {
        Command::new("gpg").arg("--version").output().ok()?;
        Some(Self(tempfile::tempdir().unwrap()))
    }

    fn run(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let mut child = gpg(self.0.path())
            .args(["--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "gpg {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }
}

impl Drop for Gnupg {
    fn drop(&mut self) {
        let home = self.0.path();
        let _ = Command::new("gpgconf").arg("--homedir").arg(home).args(["--kill", "gpg-agent"]).output();
    }
}

fn gpg(home: &Path) -> Command {
    let mut command = Command::new("gpg");
    command.arg("--homedir").arg(home);
    command
}

#[test]
fn gnupg_reads_what_is_encrypted_to_its_keys() {
    let Some(gnupg) = Gnupg::new() else { return };
    for (name, algorithms) in
        [("curve@example.com", ["ed25519", "cv25519"]), ("rsa@example.com", ["rsa2048", "rsa2048"])]
    {
        gnupg.run(&["--quick-gen-key", name, algorithms[0], "cert,sign", "never"], b"");
        let listing = gnupg.run(&["--with-colons", "--list-keys", name], b"");
        let listing = String::from_utf8(listing).unwrap();
        let fingerprint = listing.lines().find_map(|line| line.strip_prefix("fpr:")).unwrap().trim_matches(':');
        gnupg.run(&["--quick-add-key", fingerprint, algorithms[1], "encr", "never"], b"");
        let key = data_encoding::BASE64.encode(&gnupg.run(&["--export", name], b""));
        let issue = init(&NewShares { secret_shares: 1, secret_threshold: 1, pgp_keys: vec![key] }, now()).unwrap();
        assert_eq!(issue.shares[0].fingerprint().unwrap().to_uppercase(), fingerprint);
        let Issued::Encrypted { message, .. } = &issue.shares[0] else { panic!("a share in clear") };
        let share = String::from_utf8(gnupg.run(&["--decrypt"], message)).unwrap();
        let opened = Unseal::default().submit(&issue.stored, &text(share)).unwrap().unwrap();
        assert!(same(&opened, &issue.root_key));
        let armor = String::from_utf8(gnupg.run(&["--armor", "--export", name], b"")).unwrap();
        assert_eq!(Recipient::parse(&armor, now()).unwrap().fingerprint(), fingerprint.to_lowercase());
    }
}

#[test]
fn expired_and_revoked_keys_are_refused() {
    let Some(gnupg) = Gnupg::new() else { return };
    let (day, later) = (Duration::from_secs(24 * 3600), clock::after(now(), Duration::from_secs(10 * 24 * 3600)));
    let refused = |name: &str, at: Timestamp| {
        let key = String::from_utf8(gnupg.run(&["--armor", "--export", name], b"")).unwrap();
        Recipient::parse(&key, at).err()
    };
    let made = |name: &str, life: &str, part_life: &str| {
        gnupg.run(&["--quick-gen-key", name, "ed25519", "cert,sign", life], b"");
        let listing = String::from_utf8(gnupg.run(&["--with-colons", "--list-keys", name], b"")).unwrap();
        let print = listing.lines().find_map(|line| line.strip_prefix("fpr:")).unwrap().trim_matches(':').to_owned();
        gnupg.run(&["--quick-add-key", &print, "cv25519", "encr", part_life], b"");
        print
    };
    let print = made("whole@example.com", "2d", "0");
    assert_eq!(refused("whole@example.com", now()), None);
    assert_eq!(refused("whole@example.com", clock::after(now(), day)), None);
    let expired = "it is expired; give one that is still good, or the same one with a later end";
    assert_eq!(refused("whole@example.com", later), Some(expired));
    // A later end replaces the earlier one.
    gnupg.run(&["--quick-set-expire", &print, "30d"], b"");
    assert_eq!(refused("whole@example.com", later), None);

    made("part@example.com", "0", "2d");
    assert_eq!(refused("part@example.com", now()), None);
    let expired = "the part of it that may encrypt is expired; give a key that is still good";
    assert_eq!(refused("part@example.com", later), Some(expired));

    let certificate = std::fs::read_to_string(gnupg.0.path().join(format!("openpgp-revocs.d/{print}.rev"))).unwrap();
    gnupg.run(&["--import"], certificate.replace("\n:-----BEGIN", "\n-----BEGIN").as_bytes());
    assert_eq!(refused("whole@example.com", now()), Some("it is revoked"));

    // Whoever asks for shares is told which key it is; nothing has begun.
    let key = String::from_utf8(gnupg.run(&["--armor", "--export", "part@example.com"], b"")).unwrap();
    let old = init(&shares(1, 1), now()).unwrap();
    let mut rekey = Rekey::default();
    let shares = NewShares { secret_shares: 2, secret_threshold: 2, pgp_keys: vec![armored(&key_pair()), key.clone()] };
    let request = RekeyRequest { shares, backup: false, require_verification: false };
    let error = rekey.start(&old.stored, &request, later).unwrap_err();
    assert_eq!(error, Error::PgpKey { position: 2, reason: expired });
    assert!(!rekey.status(&old.stored).started);
    let request = RootRequest { otp: None, pgp_key: Some(key) };
    let error = GenerateRoot::default().start(&old.stored, request, later).unwrap_err();
    assert_eq!(error, Error::PgpKey { position: 1, reason: expired });
}
