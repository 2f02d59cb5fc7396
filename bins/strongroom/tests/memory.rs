//! What a sealed server still has in its memory: nothing that somebody could use.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod kit;

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use memchr::memmem;
use secret::SecretString;
use serde_json::{Value, json};
use storage::Store as _;
use store_embedded::{Embedded, Options};
use testkit::{server::Server, wire::Wire};

use crate::kit::{PROGRAM, approle};

/// Everything in the memory of a process that can be read; `None` where this is not allowed.
fn memory_of(pid: u32) -> Option<Vec<Vec<u8>>> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let mut memory = File::open(format!("/proc/{pid}/mem")).ok()?;
    let mut regions = Vec::new();
    for line in maps.lines().filter(|line| !line.contains("[v")) {
        let mut words = line.split_whitespace();
        let (from, to) = words.next().unwrap().split_once('-').unwrap();
        let (from, to) = (u64::from_str_radix(from, 16).unwrap(), u64::from_str_radix(to, 16).unwrap());
        if !words.next().unwrap().starts_with('r') {
            continue;
        }
        let mut region = vec![0; usize::try_from(to - from).unwrap()];
        memory.seek(SeekFrom::Start(from)).unwrap();
        // A region that went away meanwhile, or a file that is shorter than its mapping.
        if memory.read_exact(&mut region).is_ok() {
            regions.push(region);
        }
    }
    Some(regions)
}

/// Where the secrets are found, by name, with what surrounds them.
fn found(memory: &[Vec<u8>], secrets: &[(String, Vec<u8>)]) -> Vec<String> {
    let mut found = Vec::new();
    for (name, secret) in secrets {
        let finder = memmem::Finder::new(secret);
        for region in memory {
            for at in finder.find_iter(region) {
                let around = &region[at.saturating_sub(48)..(at + secret.len() + 16).min(region.len())];
                found.push(format!("{name}: {}", String::from_utf8_lossy(around).escape_debug()));
            }
        }
    }
    found
}

struct Secrets(Vec<(String, Vec<u8>)>);

impl Secrets {
    fn add(&mut self, name: &str, secret: impl AsRef<[u8]>) {
        assert!(secret.as_ref().len() >= 16, "{name} is too short to be told from chance");
        self.0.push((name.to_owned(), secret.as_ref().to_vec()));
    }

    /// A new secret text.
    fn make(&mut self, name: &str) -> String {
        let text = format!("{name}-{}", crypto::random::base62(24).as_str());
        self.add(name, &text);
        text
    }

    fn add_share(&mut self, name: &str, base64: &str) {
        let bytes = STANDARD.decode(base64).unwrap();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        self.add(&format!("{name}, base64"), base64);
        self.add(&format!("{name}, hex"), hex);
        self.add(&format!("{name}, bytes"), bytes);
    }
}

/// The key that the shares stand for and the root key that it wraps, as only an attacker with enough shares could know.
fn keys_behind(server: &Server, shares: &[String]) -> [Vec<u8>; 2] {
    let bytes: Vec<Vec<u8>> = shares.iter().map(|share| STANDARD.decode(share).unwrap()).collect();
    let parts: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
    let seal_key = crypto::shamir::combine(&parts).unwrap().to_vec();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let record = runtime.block_on(async {
        let store = Embedded::open(&server.folder().join("data"), Options::default()).unwrap();
        store.get(&storage::Key::new(seal::STORED_AT)).await.unwrap().unwrap()
    });
    let stored = seal::Stored::from_json(&record.value).unwrap();
    let mut unseal = seal::Unseal::default();
    let opened = shares.iter().find_map(|share| unseal.submit(&stored, &SecretString::new(share.clone())).unwrap());
    [seal_key, opened.unwrap().expose().to_vec()]
}

/// Has all kinds of secrets pass through the server.
fn work(server: &Server, root: &Wire, secrets: &mut Secrets) {
    root.post("sys/mounts/kv", json!({ "type": "kv-v2" })).done();
    let audit = server.folder().join("audit.log");
    root.post("sys/audit/file", json!({ "type": "file", "options": { "file_path": audit } })).done();
    root.post("sys/audit/journal", json!({ "type": "journal" })).done();
    root.post("kv/data/app", json!({ "data": { "password": secrets.make("a KV value") } })).ok();
    for _ in 0..3 {
        root.get("kv/data/app").ok();
    }
    root.patch("kv/data/app", json!({ "data": { "more": secrets.make("a patched KV value") } })).ok();
    root.get("kv/data/app").ok();
    let large = secrets.make("part of a large KV value").repeat(2000);
    root.post("kv/data/large", json!({ "data": { "text": large } })).ok();
    root.get("kv/data/large").ok();
    root.post("cubbyhole/own", json!({ "value": secrets.make("a private value") })).done();
    let asked = json!({ "policies": ["default"], "meta": { "note": secrets.make("a note at a token") } });
    let child = root.with_token(&root.post("auth/token/create", asked).client_token());
    secrets.add("a child's token", child.token());
    child.get("auth/token/lookup-self").ok();
    child.post("cubbyhole/own", json!({ "value": secrets.make("a child's private value") })).done();
    let batch = root.post("auth/token/create", json!({ "policies": ["default"], "type": "batch" })).client_token();
    root.with_token(&batch).get("auth/token/lookup-self").ok();
    secrets.add("a batch token", &batch);
    let (role_id, secret_id) = approle(root, "web", "default");
    let login = json!({ "role_id": role_id, "secret_id": secret_id });
    secrets.add("a login's token", root.with_token("").post("auth/approle/login", login).client_token());
    secrets.add("a secret id", &secret_id);
    let wrapped = root.wrapped("60s", "sys/wrapping/wrap", json!({ "k": secrets.make("a wrapped value") })).ok();
    let wrapping = wrapped["wrap_info"]["token"].as_str().unwrap().to_owned();
    root.post("sys/wrapping/unwrap", json!({ "token": wrapping })).ok();
    secrets.add("a wrapping token", &wrapping);
    // What is refused was in memory too.
    let garbage = format!("hvs.{}", secrets.make("a token that is none").replace(' ', "-"));
    root.with_token(&garbage).get("kv/data/app").fails(403);
    secrets.add("a token that is none", &garbage);
    root.send("POST", "kv/data/app", &[], Some(format!("{{\"data\": \"{}", secrets.make("half a body")).as_bytes()))
        .fails(400);
}

#[test]
fn a_sealed_server_has_forgotten_every_secret() {
    let mut server = Server::sealed(PROGRAM);
    let nobody = Wire::new(&server, "");
    let made = nobody.post("sys/init", json!({ "secret_shares": 3, "secret_threshold": 2 })).ok();
    let texts = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let shares = texts(&made["keys_base64"]);
    server.set_keys(shares.clone(), made["root_token"].as_str().unwrap());
    server.unseal();
    let root = Wire::new(&server, server.root_token());
    let mut secrets = Secrets(Vec::new());
    work(&server, &root, &mut secrets);

    // New shares in place of the old, and one more root token.
    let ask = json!({ "secret_shares": 3, "secret_threshold": 2 });
    let nonce = nobody.post("sys/rekey/init", ask).ok()["nonce"].clone();
    nobody.post("sys/rekey/update", json!({ "key": shares[0], "nonce": nonce })).ok();
    let done = nobody.post("sys/rekey/update", json!({ "key": shares[1], "nonce": nonce })).ok();
    let new = texts(&done["keys_base64"]);
    let begun = nobody.post("sys/generate-root/attempt", json!({})).ok();
    secrets.add("a one-time password", begun["otp"].as_str().unwrap());
    let give = |key: &str| nobody.post("sys/generate-root/update", json!({ "key": key, "nonce": begun["nonce"] }));
    give(&new[0]).ok();
    let encoded = give(&new[2]).ok()["encoded_token"].as_str().unwrap().to_owned();
    secrets.add("an encoded root token", &encoded);
    secrets.add("a root token", server.root_token());
    for (nth, share) in shares.iter().enumerate() {
        secrets.add_share(&format!("old share {nth}"), share);
    }
    for (nth, share) in new.iter().enumerate() {
        secrets.add_share(&format!("new share {nth}"), share);
    }

    let pid = server.pid().unwrap();
    let Some(open) = memory_of(pid) else {
        println!("only root may read the memory of the server: nothing was looked for");
        return;
    };
    // While it is open its cache holds what was read: this shows that the search can find something.
    assert!(!found(&open, &secrets.0).is_empty(), "the search finds nothing even in an open server");
    drop(open);
    root.post("sys/seal", json!({})).done();
    Server::eventually("the server is sealed", || (nobody.get("sys/seal-status").ok()["sealed"] == true).then_some(()));
    // The status tells of the intent; the log tells when the keys are gone.
    Server::eventually("the keys are wiped", || (!server.logged(" sealed").is_empty()).then_some(()));
    // The last connections may take a moment to close. What was wiped does not come back.
    let mut sealed = memory_of(pid).unwrap();
    let begun = std::time::Instant::now();
    while !found(&sealed, &secrets.0).is_empty() && begun.elapsed() < std::time::Duration::from_secs(60) {
        std::thread::sleep(std::time::Duration::from_millis(300));
        sealed = memory_of(pid).unwrap();
    }
    server.stop();
    server.set_keys(new.clone(), "");
    let [seal_key, root_key] = keys_behind(&server, &new[..2]);
    secrets.add("the key behind the shares", seal_key);
    secrets.add("the root key", root_key);
    let left = found(&sealed, &secrets.0);
    assert!(left.is_empty(), "a sealed server remembers:\n{}", left.join("\n"));
}
