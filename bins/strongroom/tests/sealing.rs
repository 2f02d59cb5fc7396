//! Initialise, unseal, seal, rekey, make a root token, rotate: over the wire, and across `kill -9`.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use serde_json::{Value, json};
use testkit::{server::Server, wire::Wire};

const PROGRAM: &str = env!("CARGO_BIN_EXE_strongroom");

/// Initialises with `shares` shares of which `threshold` are needed; the shares in base64 and the root token.
fn init(wire: &Wire, shares: u64, threshold: u64) -> (Vec<String>, String) {
    let made = wire.post("sys/init", json!({ "secret_shares": shares, "secret_threshold": threshold })).ok();
    (texts(&made["keys_base64"]), made["root_token"].as_str().unwrap().to_owned())
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn give(wire: &Wire, key: &str) -> testkit::wire::Reply {
    wire.post("sys/unseal", json!({ "key": key }))
}

#[test]
fn a_new_server_says_what_it_lacks_and_refuses_numbers_that_do_not_go_together() {
    let server = Server::sealed(PROGRAM);
    let wire = Wire::new(&server, "");
    assert_eq!(wire.get("sys/init").ok()["initialized"], false);
    let status = wire.get("sys/seal-status").ok();
    assert_eq!(
        (&status["initialized"], &status["sealed"], &status["type"]),
        (&json!(false), &json!(true), &json!("shamir"))
    );
    assert_eq!(wire.get("sys/health").status, 501);
    assert_eq!(wire.get("sys/health?uninitcode=299").status, 299);
    wire.get("kv/data/x").refused(503, "sealed");
    give(&wire, "AAAA").refused(400, "Vault is not initialized");
    wire.get("sys/rekey/init").refused(400, "server is not yet initialized");
    wire.get("sys/generate-root/attempt").refused(400, "server is not yet initialized");

    let rows = [
        (json!({}), "secret_shares must be 1 to 255"),
        (json!({ "secret_shares": 0, "secret_threshold": 0 }), "secret_shares must be 1 to 255"),
        (json!({ "secret_shares": 256, "secret_threshold": 3 }), "secret_shares must be 1 to 255, not 256"),
        (json!({ "secret_shares": 3, "secret_threshold": 4 }), "secret_threshold must be 2 to secret_shares"),
        (json!({ "secret_shares": 3, "secret_threshold": 1 }), "secret_threshold must be 2 to secret_shares"),
        (json!({ "secret_shares": 1, "secret_threshold": 2 }), "secret_threshold must be"),
        (json!({ "secret_shares": -1, "secret_threshold": 2 }), "secret_shares"),
        (json!({ "secret_shares": "many", "secret_threshold": 2 }), "secret_shares"),
        (json!({ "secret_shares": 3, "secret_threshold": 2, "pgp_keys": ["x"] }), "pgp_keys has 1 keys for 3 shares"),
        (json!({ "secret_shares": 1, "secret_threshold": 1, "pgp_keys": ["x"] }), "PGP key 1"),
        (json!({ "secret_shares": 3, "secret_threshold": 2, "root_token_pgp_key": "x" }), "root_token_pgp_key"),
        (json!({ "recovery_shares": 3, "recovery_threshold": 2 }), "not applicable to seal type shamir"),
    ];
    for (body, text) in rows {
        wire.post("sys/init", body).refused(400, text);
        assert_eq!(wire.get("sys/init").ok()["initialized"], false);
    }

    let (keys, root) = init(&wire, 5, 3);
    assert_eq!((keys.len(), root.len(), &root[..4]), (5, 28, "hvs."));
    wire.post("sys/init", json!({ "secret_shares": 1, "secret_threshold": 1 }))
        .refused(400, "Vault is already initialized");
    assert_eq!(wire.get("sys/init").ok()["initialized"], true);
    assert_eq!(wire.get("sys/health").status, 503);
    assert_eq!(wire.get("sys/health?sealedcode=200").status, 200);
}

#[test]
fn wrong_repeated_malformed_and_mixed_up_shares_each_have_their_own_error() {
    let server = Server::sealed(PROGRAM);
    let wire = Wire::new(&server, "");
    let (keys, root) = init(&wire, 4, 3);
    let other = Server::sealed(PROGRAM);
    let (foreign, _) = init(&Wire::new(&other, ""), 4, 3);
    let (single, _) = init(&Wire::new(&Server::sealed(PROGRAM), ""), 1, 1);

    wire.post("sys/unseal", json!({})).refused(400, "'key' must be specified");
    give(&wire, "").refused(400, "'key' must be given");
    give(&wire, "not a share!").refused(400, "'key' must be a valid hex or base64 string");
    give(&wire, &keys[0][..20]).refused(400, "a share of this seal has 33");
    give(&wire, &single[0]).refused(400, "the share has 32 bytes");
    wire.post("sys/unseal", json!({ "key": [1, 2] })).refused(400, "key");
    wire.post("sys/unseal", json!({ "key": keys[0], "migrate": true })).refused(400, "migrate");

    let status = give(&wire, &keys[0]).ok();
    assert_eq!((&status["progress"], &status["t"], &status["n"]), (&json!(1), &json!(3), &json!(4)));
    let nonce = status["nonce"].clone();
    assert_ne!(nonce, "");
    // Given again it changes nothing, which clients take for no fault; it is told all the same.
    let again = give(&wire, &keys[0]).ok();
    assert_eq!((&again["progress"], &again["nonce"], &again["sealed"]), (&json!(1), &nonce, &json!(true)));
    assert!(again["warnings"][0].as_str().unwrap().contains("was given already"), "{again}");
    let status = give(&wire, &keys[1]).ok();
    assert_eq!(status.get("warnings"), None);
    assert_eq!((&status["progress"], &status["nonce"], &status["sealed"]), (&json!(2), &nonce, &json!(true)));

    // A share of another server is only found out together with the others; then all are forgotten.
    give(&wire, &foreign[2]).refused(400, "do not belong together or to this server");
    assert_eq!(wire.get("sys/seal-status").ok()["progress"], 0);

    give(&wire, &keys[0]).ok();
    let status = wire.post("sys/unseal", json!({ "reset": true })).ok();
    assert_eq!((&status["progress"], &status["nonce"]), (&json!(0), &json!("")));

    // Hex does as well as base64, in any order.
    let hex = |key: &str| {
        let bytes = STANDARD_NO_PAD.decode(key.trim_end_matches('=')).unwrap();
        bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>()
    };
    give(&wire, &hex(&keys[3])).ok();
    give(&wire, &keys[1]).ok();
    let status = give(&wire, &hex(&keys[0])).ok();
    assert_eq!((&status["sealed"], &status["progress"]), (&json!(false), &json!(0)));
    // One more is no error.
    assert_eq!(give(&wire, &keys[2]).ok()["sealed"], false);
    assert_eq!(wire.get("sys/health").status, 200);
    assert_eq!(wire.get("sys/leader").ok()["is_self"], true);

    let log = server.log();
    assert!(!log.contains(&root), "the root token is in the log");
    for secret in keys.iter().chain(&foreign) {
        assert!(!log.contains(secret.as_str()) && !log.contains(&hex(secret)), "a share is in the log");
    }
}

#[test]
fn a_sealed_server_answers_nothing_else() {
    let mut server = Server::start(PROGRAM);
    let root = Wire::new(&server, server.root_token());
    root.post("sys/seal", json!({})).done();
    Server::eventually("the server is sealed", || (root.get("sys/seal-status").ok()["sealed"] == true).then_some(()));
    let anybody = root.with_token("");
    for path in ["sys/mounts", "auth/token/lookup-self", "cubbyhole/x", "nowhere/x", "sys/internal/ui/mounts"] {
        for wire in [&root, &anybody] {
            wire.get(path).refused(503, "Vault is sealed");
            wire.list(path).refused(503, "Vault is sealed");
            wire.post(path, json!({ "a": 1 })).refused(503, "Vault is sealed");
            wire.delete(path).refused(503, "Vault is sealed");
        }
    }
    root.post("sys/wrapping/unwrap", json!({ "token": "x" })).refused(503, "Vault is sealed");
    root.post("sys/seal", json!({})).refused(503, "Vault is sealed");
    anybody.post("sys/rekey/init", json!({ "secret_shares": 1, "secret_threshold": 1 })).refused(503, "sealed");
    anybody.post("sys/generate-root/attempt", json!({})).refused(503, "sealed");

    server.unseal();
    assert_eq!(root.get("auth/token/lookup-self").data()["policies"], json!(["root"]));
    // Sealing is for those who may.
    let plain = root.post("auth/token/create", json!({ "policies": ["default"] })).client_token();
    root.with_token(&plain).post("sys/seal", json!({})).refused(403, "permission denied");
    anybody.post("sys/seal", json!({})).refused(403, "permission denied");

    server.kill();
    server.launch();
    root.get("sys/mounts").refused(503, "Vault is sealed");
    assert_eq!(root.get("sys/seal-status").ok()["sealed"], true);
    server.unseal();
    root.get("sys/mounts").ok();
}

#[test]
fn new_shares_replace_the_old_ones_and_survive_a_crash() {
    let mut server = Server::start(PROGRAM);
    let root = Wire::new(&server, server.root_token());
    let anybody = root.with_token("");
    root.post("cubbyhole/kept", json!({ "a": "b" })).done();
    let old = server.keys().to_vec();

    anybody
        .post("sys/rekey/init", json!({ "secret_shares": 3, "secret_threshold": 9 }))
        .refused(400, "secret_threshold");
    anybody
        .post("sys/rekey/init", json!({ "secret_shares": 3, "secret_threshold": 2, "backup": true }))
        .refused(400, "backup needs pgp_keys");
    let begun = anybody.post("sys/rekey/init", json!({ "secret_shares": 5, "secret_threshold": 3 })).ok();
    let nonce = begun["nonce"].clone();
    assert_eq!(
        (&begun["started"], &begun["t"], &begun["n"], &begun["required"]),
        (&json!(true), &json!(3), &json!(5), &json!(2))
    );
    anybody
        .post("sys/rekey/init", json!({ "secret_shares": 5, "secret_threshold": 3 }))
        .refused(400, "rekey already in progress");
    anybody.post("sys/rekey/update", json!({ "key": old[0] })).refused(400, "incorrect nonce supplied");
    anybody.post("sys/rekey/update", json!({ "key": old[0], "nonce": "x" })).refused(400, "incorrect nonce supplied");
    anybody.post("sys/rekey/update", json!({ "nonce": nonce })).refused(400, "'key' must be given");
    let status = anybody.post("sys/rekey/update", json!({ "key": old[0], "nonce": nonce })).ok();
    assert_eq!(status["progress"], 1);
    anybody.post("sys/rekey/update", json!({ "key": old[0], "nonce": nonce })).refused(400, "was given already");
    let done = anybody.post("sys/rekey/update", json!({ "key": old[2], "nonce": nonce })).ok();
    assert_eq!(done["complete"], true);
    let new = texts(&done["keys_base64"]);
    assert_eq!((new.len(), texts(&done["keys"]).len()), (5, 5));
    assert_eq!(anybody.get("sys/rekey/init").ok()["started"], false);

    server.kill();
    server.launch();
    // The old shares are of the same length, so only their combination can tell.
    give(&anybody, &old[0]).ok();
    give(&anybody, &old[1]).ok();
    give(&anybody, &old[2]).refused(400, "do not belong together");
    for key in &new[1..4] {
        give(&anybody, key).ok();
    }
    assert_eq!(root.get("cubbyhole/kept").data()["a"], "b");
}

#[test]
fn new_shares_that_nobody_proved_to_hold_do_not_replace_the_old_ones() {
    let mut server = Server::start(PROGRAM);
    let anybody = Wire::new(&server, "");
    let old = server.keys().to_vec();
    let ask = json!({ "secret_shares": 2, "secret_threshold": 2, "require_verification": true });
    let nonce = anybody.post("sys/rekey/init", ask).ok()["nonce"].clone();
    anybody.post("sys/rekey/update", json!({ "key": old[0], "nonce": nonce })).ok();
    let issued = anybody.post("sys/rekey/update", json!({ "key": old[1], "nonce": nonce })).ok();
    assert_eq!((&issued["complete"], &issued["verification_required"]), (&json!(true), &json!(true)));
    let new = texts(&issued["keys_base64"]);
    let proof = issued["verification_nonce"].clone();
    anybody.post("sys/rekey/update", json!({ "key": old[2], "nonce": nonce })).refused(400, "awaits verification");

    // Until then the old ones count: a crash here changes nothing.
    let status = anybody.get("sys/rekey/verify").ok();
    assert_eq!((&status["started"], &status["progress"], &status["nonce"]), (&json!(true), &json!(0), &proof));
    anybody.post("sys/rekey/verify", json!({ "key": new[0], "nonce": nonce })).refused(400, "incorrect nonce supplied");
    assert_eq!(anybody.post("sys/rekey/verify", json!({ "key": new[0], "nonce": proof })).ok()["progress"], 1);
    server.kill();
    server.launch();
    server.unseal();
    anybody.get("sys/rekey/verify").refused(400, "no rekey");

    let ask = json!({ "secret_shares": 2, "secret_threshold": 2, "require_verification": true });
    let nonce = anybody.post("sys/rekey/init", ask).ok()["nonce"].clone();
    anybody.post("sys/rekey/update", json!({ "key": old[0], "nonce": nonce })).ok();
    let issued = anybody.post("sys/rekey/update", json!({ "key": old[1], "nonce": nonce })).ok();
    let (new, proof) = (texts(&issued["keys_base64"]), issued["verification_nonce"].clone());
    anybody.post("sys/rekey/verify", json!({ "key": new[0], "nonce": proof })).ok();
    // Beginning the proof again gives it a new nonce.
    let again = anybody.delete("sys/rekey/verify").ok();
    let proof = again["nonce"].clone();
    anybody.post("sys/rekey/verify", json!({ "key": new[0], "nonce": proof })).ok();
    let done = anybody.post("sys/rekey/verify", json!({ "key": new[1], "nonce": proof })).ok();
    assert_eq!(done["complete"], true);
    server.kill();
    server.launch();
    give(&anybody, &old[0]).ok();
    give(&anybody, &old[1]).refused(400, "do not belong together");
    give(&anybody, &new[0]).ok();
    assert_eq!(give(&anybody, &new[1]).ok()["sealed"], false);
}

#[test]
fn key_holders_make_a_root_token_that_only_the_asker_can_read() {
    let mut server = Server::start(PROGRAM);
    let anybody = Wire::new(&server, "");
    let keys = server.keys().to_vec();
    let status = anybody.get("sys/generate-root/attempt").ok();
    assert_eq!(
        (&status["started"], &status["required"], &status["otp_length"]),
        (&json!(false), &json!(2), &json!(28))
    );
    anybody.post("sys/generate-root/attempt", json!({ "otp": "short" })).refused(400, "otp must have 28 characters");
    anybody.post("sys/generate-root/attempt", json!({ "pgp_key": "x" })).refused(400, "PGP key");
    anybody
        .post("sys/generate-root/update", json!({ "key": keys[0], "nonce": "x" }))
        .refused(400, "no root generation in progress");

    let begun = anybody.post("sys/generate-root/attempt", json!({})).ok();
    let (otp, nonce) = (begun["otp"].as_str().unwrap().to_owned(), begun["nonce"].clone());
    assert_eq!(otp.len(), 28);
    assert_eq!(anybody.get("sys/generate-root/attempt").ok().get("otp"), None);
    anybody.post("sys/generate-root/attempt", json!({})).refused(400, "root generation already in progress");
    anybody
        .post("sys/generate-root/update", json!({ "key": keys[0], "nonce": "x" }))
        .refused(400, "incorrect nonce supplied");
    let more = anybody.post("sys/generate-root/update", json!({ "key": keys[0], "nonce": nonce })).ok();
    assert_eq!((&more["progress"], &more["complete"], &more["encoded_token"]), (&json!(1), &json!(false), &json!("")));
    let done = anybody.post("sys/generate-root/update", json!({ "key": keys[2], "nonce": nonce })).ok();
    assert_eq!((&done["complete"], &done["encoded_token"]), (&json!(true), &done["encoded_root_token"]));
    let encoded = STANDARD_NO_PAD.decode(done["encoded_token"].as_str().unwrap()).unwrap();
    let token: String = encoded.iter().zip(otp.bytes()).map(|(hidden, otp)| char::from(hidden ^ otp)).collect();
    assert!(token.starts_with("hvs."), "{token}");
    let root = anybody.with_token(&token);
    assert_eq!(root.get("auth/token/lookup-self").data()["policies"], json!(["root"]));
    server.kill();
    server.launch();
    server.unseal();
    root.get("sys/mounts").ok();

    // Wrong shares make nothing, and a cancelled attempt is over.
    let nonce = anybody.post("sys/generate-root/attempt", json!({})).ok()["nonce"].clone();
    let (foreign, _) = init(&Wire::new(&Server::sealed(PROGRAM), ""), 3, 2);
    anybody.post("sys/generate-root/update", json!({ "key": keys[0], "nonce": nonce })).ok();
    anybody
        .post("sys/generate-root/update", json!({ "key": foreign[1], "nonce": nonce }))
        .refused(400, "do not belong together");
    let cancel = json!({ "nonce": nonce }).to_string();
    anybody.send("DELETE", "sys/generate-root/attempt", &[], Some(cancel.as_bytes())).done();
    assert_eq!(anybody.get("sys/generate-root/attempt").ok()["started"], false);
}

/// A PGP key of an earlier year; `life` is how long it was good. `None` where GnuPG is not installed.
fn old_pgp_key(life: &str) -> Option<String> {
    let home = tempfile::tempdir().unwrap();
    let gpg = |arguments: &[&str]| {
        let mut command = std::process::Command::new("gpg");
        command.arg("--homedir").arg(home.path()).args(["--batch", "--quiet", "--pinentry-mode", "loopback"]);
        command.args(["--passphrase", "", "--faked-system-time", "20200101T000000!"]).args(arguments).output().ok()
    };
    let made = gpg(&["--quick-gen-key", "holder@example.com", "ed25519", "cert,sign", life])?;
    assert!(made.status.success(), "{made:?}");
    let listing = String::from_utf8(gpg(&["--with-colons", "--list-keys"])?.stdout).unwrap();
    let print = listing.lines().find_map(|line| line.strip_prefix("fpr:")).unwrap().trim_matches(':').to_owned();
    assert!(gpg(&["--quick-add-key", &print, "cv25519", "encr", life])?.status.success());
    let key = STANDARD_NO_PAD.encode(gpg(&["--export"])?.stdout);
    let _ = std::process::Command::new("gpgconf").arg("--homedir").arg(home.path()).args(["--kill", "all"]).output();
    Some(key)
}

#[test]
fn pgp_keys_that_are_good_for_nothing_get_no_shares() {
    let (Some(expired), Some(good)) = (old_pgp_key("1y"), old_pgp_key("never")) else {
        println!("GnuPG is not installed: nothing was tried");
        return;
    };
    let server = Server::sealed(PROGRAM);
    let wire = Wire::new(&server, "");
    let shares = |keys: [&str; 2]| json!({ "secret_shares": 2, "secret_threshold": 2, "pgp_keys": keys });
    for (keys, text) in [
        ([good.as_str(), expired.as_str()], "PGP key 2: it is expired"),
        ([expired.as_str(), good.as_str()], "PGP key 1: it is expired"),
        ([good.as_str(), "keybase:somebody"], "PGP key 2: keybase names are not looked up"),
        ([good.as_str(), &good[..40]], "PGP key 2: the base64 text holds no PGP public key"),
    ] {
        wire.post("sys/init", shares(keys)).refused(400, text);
    }
    // What the PGP library has to say of strange keys is not for the log: anybody could fill it.
    wire.post("sys/init", shares([&good, "eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4"])).refused(400, "PGP key 2");
    assert!(!server.log().contains("packet"), "{}", server.log());
    let mut ask = json!({ "secret_shares": 1, "secret_threshold": 1, "root_token_pgp_key": expired });
    wire.post("sys/init", ask.clone()).refused(400, "root_token_pgp_key: it is expired");
    assert_eq!(wire.get("sys/init").ok()["initialized"], false);
    ask["root_token_pgp_key"] = json!(good);
    let key = texts(&wire.post("sys/init", ask).ok()["keys_base64"]).remove(0);
    assert_eq!(give(&wire, &key).ok()["sealed"], false);

    wire.post("sys/rekey/init", shares([&good, &expired])).refused(400, "PGP key 2: it is expired");
    assert_eq!(wire.get("sys/rekey/init").ok()["started"], false);
    wire.post("sys/generate-root/attempt", json!({ "pgp_key": expired })).refused(400, "it is expired");
    assert_eq!(wire.get("sys/generate-root/attempt").ok()["started"], false);
    let begun = wire.post("sys/rekey/init", shares([&good, &good])).ok();
    assert_eq!(begun["pgp_fingerprints"].as_array().map(Vec::len), Some(2), "{begun}");
    let done = wire.post("sys/rekey/update", json!({ "key": key, "nonce": begun["nonce"] })).ok();
    assert_eq!((&done["complete"], &done["pgp_fingerprints"]), (&json!(true), &begun["pgp_fingerprints"]));
}

#[test]
fn a_new_barrier_key_leaves_everything_readable() {
    let mut server = Server::start(PROGRAM);
    let root = Wire::new(&server, server.root_token());
    root.post("cubbyhole/before", json!({ "a": 1 })).done();
    let status = root.get("sys/key-status").ok();
    assert_eq!((&status["data"]["term"], &status["term"]), (&json!(1), &json!(1)));
    assert!(status["data"]["encryptions"].as_u64().unwrap() > 0 && status["data"]["install_time"].is_string());
    let wire = root.with_token(&root.post("auth/token/create", json!({ "policies": ["default"] })).client_token());
    wire.post("sys/rotate", json!({})).refused(403, "permission denied");

    root.post("sys/rotate", json!({})).done();
    root.post("cubbyhole/between", json!({ "a": 2 })).done();
    root.post("sys/rotate", json!({})).done();
    root.post("cubbyhole/after", json!({ "a": 3 })).done();
    server.kill();
    server.launch();
    server.unseal();
    assert_eq!(root.get("sys/key-status").data()["term"], 3);
    for (name, value) in [("before", 1), ("between", 2), ("after", 3)] {
        assert_eq!(root.get(&format!("cubbyhole/{name}")).data()["a"], value);
    }
    let config = root.get("sys/rotate/config").data();
    assert_eq!(config["enabled"], true);
    root.post("sys/rotate/config", json!({ "max_operations": 5 })).refused(400, "max_operations");
    root.post("sys/rotate/config", json!({ "interval": "1h" })).refused(400, "interval");
    root.post("sys/rotate/config", json!({ "max_operations": 2_000_000, "interval": "48h" })).done();
    let config = root.get("sys/rotate/config").data();
    assert_eq!((&config["max_operations"], &config["interval"]), (&json!(2_000_000), &json!(172_800)));
}

#[test]
fn one_share_is_enough_if_there_is_only_one() {
    let mut server = Server::sealed(PROGRAM);
    let wire = Wire::new(&server, "");
    let (keys, root) = init(&wire, 1, 1);
    assert_eq!(give(&wire, &keys[0]).ok()["sealed"], false);
    wire.with_token(&root).post("cubbyhole/x", json!({ "a": 1 })).done();
    server.stop();
    server.launch();
    assert_eq!(give(&wire, &keys[0]).ok()["sealed"], false);
    assert_eq!(wire.with_token(&root).get("cubbyhole/x").data()["a"], 1);
}

#[test]
fn nothing_on_disk_shows_a_secret() {
    let mut server = Server::start(PROGRAM);
    let root = Wire::new(&server, server.root_token());
    let marker = "marker-that-must-not-be-found";
    root.post("cubbyhole/app", json!({ "value": marker })).done();
    let token = root.post("auth/token/create", json!({ "meta": { "note": marker } })).client_token();
    root.post(
        "sys/policies/acl/secretive",
        json!({ "policy": format!("# {marker}\npath \"a\" {{ capabilities = [\"read\"] }}") }),
    )
    .done();
    server.stop();
    let mut files = vec![server.folder().join("data")];
    let mut looked_at = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        looked_at += bytes.len();
        let secrets = [marker, &token, &token[4..24], server.root_token(), &server.root_token()[4..24]];
        for secret in secrets.into_iter().chain(server.keys().iter().map(String::as_str)) {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{} shows a secret", path.display());
        }
    }
    assert!(looked_at > 4096, "only {looked_at} bytes were looked at");
}

#[test]
fn the_routes_of_key_holders_meet_values_of_every_kind() {
    let server = Server::start_plain(PROGRAM);
    let wire = Wire::new(&server, "");
    let values = [
        json!([]),
        json!({}),
        json!([[1]]),
        json!(["a", 1, null]),
        json!(""),
        json!("\u{0}"),
        json!("x".repeat(3000)),
        json!(-1),
        json!(1.5),
        json!(u64::MAX),
        json!(true),
        json!(null),
        json!("-5s"),
        json!(256),
        json!("3"),
    ];
    let routes: [(&str, &[&str]); 7] = [
        ("sys/init", &["secret_shares", "secret_threshold", "pgp_keys", "root_token_pgp_key", "recovery_shares"]),
        ("sys/unseal", &["key", "reset", "migrate"]),
        ("sys/rekey/init", &["secret_shares", "pgp_keys", "backup", "require_verification", "nonce"]),
        ("sys/rekey/update", &["key", "nonce"]),
        ("sys/rekey/verify", &["key", "nonce"]),
        ("sys/generate-root/attempt", &["otp", "pgp_key", "nonce"]),
        ("sys/generate-root/update", &["key", "nonce"]),
    ];
    let mut asked = 0;
    for (path, fields) in routes {
        for (field, value) in fields.iter().flat_map(|field| values.iter().map(move |value| (*field, value))) {
            let body = json!({ field: value }).to_string();
            for method in ["POST", "DELETE"] {
                let reply = wire.send(method, path, &[], Some(body.as_bytes()));
                assert!(matches!(reply.status, 200 | 204 | 400 | 405), "{reply}: {body}");
                reply.must_be_lawful();
                asked += 1;
            }
            // Whatever was begun by chance is given up.
            for begun in ["sys/rekey/init", "sys/generate-root/attempt"] {
                wire.delete(begun).done();
            }
        }
        for method in ["LIST", "PUT"] {
            assert!(wire.send(method, path, &[], Some(b"{")).status >= 400, "{method} {path}");
        }
        wire.send("PATCH", path, &[("Content-Type", "application/merge-patch+json")], Some(b"{}")).fails(405);
    }
    assert!(asked > 600, "{asked}");
    for path in ["sys/rekey", "sys/rekey/odd", "sys/generate-root/odd/x", "sys/generate-root"] {
        let reply = wire.get(path);
        assert!(matches!(reply.status, 403 | 404), "{reply}");
    }
    // None of it did anything.
    assert_eq!(wire.get("sys/seal-status").ok()["sealed"], false);
    assert_eq!(wire.get("sys/rekey/init").ok()["started"], false);
    let log = server.log();
    assert!(!log.contains("panicked") && !log.contains("ERROR"), "{log}");
}
