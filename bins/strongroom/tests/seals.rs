//! Seals that open by themselves: a full stop without hands, recovery shares, several seals at once, the way from one seal to
//! another, and the way out when a seal is lost.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use testkit::{postgres::spare_port, server::Server, wire::Wire};

const PROGRAM: &str = env!("CARGO_BIN_EXE_strongroom");

const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const OTHER: &str = "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100";

fn seal(id: &str, key: &str, more: &str) -> String {
    format!("seal \"static\" {{\n  current_key_id = \"{id}\"\n  current_key = \"{key}\"\n  {more}\n}}\n")
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// Initialises a server with recovery shares, three of which two are needed.
fn init(server: &mut Server, break_glass: bool) -> Vec<String> {
    let wire = Wire::new(server, "");
    let body = json!({ "recovery_shares": 3, "recovery_threshold": 2, "break_glass": break_glass });
    let made = wire.post("sys/init", body).ok();
    assert_eq!((&made["keys"], &made["keys_base64"]), (&json!([]), &json!([])));
    let shares = texts(&made["recovery_keys_base64"]);
    assert_eq!((shares.len(), made["recovery_keys"].as_array().unwrap().len()), (3, 3));
    server.set_keys(shares.clone(), made["root_token"].as_str().unwrap());
    shares
}

fn status(server: &Server) -> Value {
    Wire::new(server, "").get("sys/seal-status").ok()
}

fn opens(server: &Server) {
    Server::eventually("the server opens by itself", || (status(server)["sealed"] == false).then_some(()));
}

fn put(server: &Server, value: &str) {
    server.must_write("cubbyhole/x", json!({ "value": value }));
}

fn has(server: &Server, value: &str) {
    assert_eq!(server.must_read("cubbyhole/x")["value"], value);
}

#[test]
fn a_server_with_a_seal_opens_after_a_full_stop_without_hands() {
    let mut server = Server::sealed_with(PROGRAM, &seal("1", KEY, ""));
    let before = status(&server);
    assert_eq!(
        (&before["type"], &before["recovery_seal"], &before["initialized"]),
        (&json!("static"), &json!(true), &json!(false))
    );
    let wire = Wire::new(&server, "");
    wire.post("sys/init", json!({ "secret_shares": 3, "secret_threshold": 2 }))
        .refused(400, "not applicable to seal type static; use recovery_shares");
    wire.post("sys/init", json!({})).refused(400, "recovery_shares must be 1 to 255");
    let shares = init(&mut server, false);
    // Opened by the initialisation itself.
    let open = status(&server);
    assert_eq!((&open["sealed"], &open["t"], &open["n"]), (&json!(false), &json!(2), &json!(3)));
    put(&server, "kept");
    for _ in 0..2 {
        server.kill();
        server.launch();
        opens(&server);
        has(&server, "kept");
    }
    // Who seals it by hand wants it closed; recovery shares do not open it.
    Wire::new(&server, server.root_token()).post("sys/seal", json!({})).done();
    // A connection that is made while the server seals may be closed before its request is read.
    let sealed = || {
        let reply = Wire::new(&server, "").try_send_to("GET", "/v1/sys/seal-status", &[], None).ok()?;
        (reply.ok()["sealed"] == true).then_some(())
    };
    Server::eventually("the server is sealed", sealed);
    wire.post("sys/unseal", json!({ "key": shares[0] })).refused(400, "these shares authorise and cannot open");
    server.launch();
    opens(&server);

    // Without its key it stays closed, says so, and is no worse for it.
    server.reconfigure(&seal("1", OTHER, ""));
    server.launch();
    Server::eventually("the log tells why", || server.log().contains("is not the one that wrapped it").then_some(()));
    assert_eq!(status(&server)["sealed"], true);
    server.reconfigure(&seal("1", KEY, ""));
    server.launch();
    opens(&server);
    has(&server, "kept");
    for secret in shares.iter().map(String::as_str).chain([KEY, OTHER]) {
        assert!(!server.log().contains(secret));
    }
}

#[test]
fn recovery_shares_make_root_tokens_and_are_replaced() {
    let mut server = Server::sealed_with(PROGRAM, &seal("1", KEY, ""));
    let shares = init(&mut server, false);
    let wire = Wire::new(&server, "");
    let attempt = wire.post("sys/generate-root/attempt", json!({})).ok();
    let give =
        |share: &str| wire.post("sys/generate-root/update", json!({ "key": share, "nonce": attempt["nonce"] })).ok();
    assert_eq!(give(&shares[0])["complete"], false);
    assert_eq!(give(&shares[2])["complete"], true);

    wire.post("sys/rekey/init", json!({ "secret_shares": 1, "secret_threshold": 1 }))
        .refused(400, "replace them with sys/rekey-recovery-key/init");
    let begun = wire.post("sys/rekey-recovery-key/init", json!({ "secret_shares": 5, "secret_threshold": 3 })).ok();
    assert_eq!((&begun["t"], &begun["n"], &begun["required"]), (&json!(3), &json!(5), &json!(2)));
    let update =
        |share: &str| wire.post("sys/rekey-recovery-key/update", json!({ "key": share, "nonce": begun["nonce"] })).ok();
    update(&shares[1]);
    let done = update(&shares[2]);
    let new = texts(&done["keys_base64"]);
    assert_eq!((done["complete"].clone(), new.len()), (json!(true), 5));
    let attempt = wire.post("sys/generate-root/attempt", json!({})).ok();
    let give = |share: &str| wire.post("sys/generate-root/update", json!({ "key": share, "nonce": attempt["nonce"] }));
    for share in &shares[..2] {
        give(share).ok();
    }
    give(&shares[2]).refused(400, "do not belong together");
    for share in &new[..2] {
        give(share).ok();
    }
    assert_eq!(give(&new[4]).ok()["complete"], true);
    put(&server, "kept");
    server.launch();
    opens(&server);
    has(&server, "kept");
}

#[test]
fn any_one_of_several_seals_opens_and_one_that_comes_later_too() {
    let first = seal("1", KEY, "name = \"first\"");
    let mut server = Server::sealed_with(PROGRAM, &first);
    init(&mut server, false);
    put(&server, "kept");
    // The second seal is added, and from then on enough.
    let second = seal("2", OTHER, "name = \"second\"");
    server.reconfigure(&format!("{first}{second}"));
    server.launch();
    opens(&server);
    Server::eventually("the root key is wrapped for it", || server.log().contains("was wrapped anew").then_some(()));
    server.reconfigure(&second);
    server.launch();
    opens(&server);
    has(&server, "kept");
    // Twice the same name is no configuration.
    server.reconfigure(&format!("{}{}", seal("1", KEY, ""), seal("2", OTHER, "")));
    server.stop();
    let refused = Command::new(PROGRAM)
        .arg("server")
        .arg(format!("-config={}", server.folder().join("config.hcl").display()))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && text.contains("two seals have this name"), "{text}");
}

#[test]
fn a_server_moves_from_key_shares_to_a_seal_and_back() {
    let mut server = Server::start(PROGRAM);
    put(&server, "kept");
    let shares = server.keys().to_vec();
    server.reconfigure(&seal("1", KEY, ""));
    server.launch();
    let waiting = status(&server);
    assert_eq!(
        (&waiting["type"], &waiting["migration"], &waiting["sealed"]),
        (&json!("shamir"), &json!(true), &json!(true))
    );
    let give =
        |server: &Server, share: &str| server.cli("", &["operator", "unseal", "-migrate", "-format=json", share]);
    for share in &shares[..2] {
        give(&server, share);
    }
    let moved = status(&server);
    assert_eq!(
        (&moved["type"], &moved["sealed"], &moved["migration"], &moved["recovery_seal"]),
        (&json!("static"), &json!(false), &json!(false), &json!(true))
    );
    has(&server, "kept");
    server.launch();
    opens(&server);
    has(&server, "kept");

    // Back, while the seal can still be reached.
    server.reconfigure(&seal("1", KEY, "disabled = \"true\""));
    server.launch();
    assert_eq!((status(&server)["sealed"].clone(), status(&server)["migration"].clone()), (json!(true), json!(true)));
    for share in &shares[1..] {
        give(&server, share);
    }
    let back = status(&server);
    assert_eq!(
        (&back["type"], &back["sealed"], &back["recovery_seal"]),
        (&json!("shamir"), &json!(false), &json!(false))
    );
    server.reconfigure("");
    server.launch();
    server.unseal();
    has(&server, "kept");
    Wire::new(&server, "")
        .post("sys/unseal", json!({ "key": shares[0], "migrate": true }))
        .refused(400, "there is no other seal");
}

#[test]
fn when_the_seal_is_lost_shares_that_break_the_glass_open_a_backup_on_an_empty_server() {
    let mut server = Server::sealed_with(PROGRAM, &seal("1", KEY, ""));
    let shares = init(&mut server, true);
    put(&server, "kept");
    let file = server.folder().join("backup.snap");
    let saved = server.cli(server.root_token(), &["operator", "snapshot", "save", file.to_str().unwrap()]);
    assert!(saved.status.success());
    // The key is gone, and so is the machine.
    server.stop();
    let mut other = Server::sealed(PROGRAM);
    let restored = other.cli("", &["operator", "snapshot", "restore", file.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&restored.stdout).into_owned();
    assert!(text.contains("the seal static (static) opens it, and so do 2 of the 3 key shares"), "{text}");
    other.set_keys(shares, server.root_token());
    other.unseal();
    has(&other, "kept");
}

/// A KMS that others made: moto from the Python package index. Killed when this is dropped.
struct Moto(Child, u16);

impl Moto {
    /// Starts one; `None` where it is not installed.
    fn start() -> Option<Self> {
        let port = spare_port();
        let mut command = Command::new("moto_server");
        let child =
            command.args(["-p", &port.to_string()]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let moto = Self(child.spawn().ok()?, port);
        Server::eventually("moto answers", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        Some(moto)
    }

    /// Has it stand still, or go on.
    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.0.id().to_string()]).status().unwrap().success());
    }

    /// Asks for something of KMS as an administrator would; it checks no signature.
    fn ask(&self, act: &str, body: &Value) -> Value {
        let body = body.to_string();
        let output = Command::new("curl")
            .args(["-s", "-X", "POST", &format!("http://127.0.0.1:{}/", self.1)])
            .args(["-H", &format!("X-Amz-Target: TrentService.{act}"), "-H", "Content-Type: application/x-amz-json-1.1"])
            .args(["-H", "Authorization: AWS4-HMAC-SHA256 Credential=a/20260101/eu-central-1/kms/aws4_request, SignedHeaders=host, Signature=x"])
            .args(["-d", &body])
            .output()
            .unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_key_of_aws_kms_opens_the_server_and_is_asked_until_it_does() {
    let Some(moto) = Moto::start() else {
        eprintln!("moto_server is not installed (pip install 'moto[server]'): not tried");
        return;
    };
    let key = moto.ask("CreateKey", &json!({}))["KeyMetadata"]["KeyId"].as_str().expect("a key").to_owned();
    let config = format!(
        "seal \"awskms\" {{\n  region = \"eu-central-1\"\n  kms_key_id = \"{key}\"\n  endpoint = \"http://127.0.0.1:{}\"\n  \
         access_key = \"AKIDEXAMPLE\"\n  secret_key = \"never-shown\"\n}}\n",
        moto.1
    );
    let mut server = Server::sealed_with(PROGRAM, &config);
    init(&mut server, false);
    put(&server, "kept");
    server.launch();
    opens(&server);
    has(&server, "kept");
    assert_eq!(status(&server)["type"], "awskms");
    moto.signal("-STOP");
    server.launch();
    assert_eq!(status(&server)["sealed"], true, "nobody answers");
    moto.signal("-CONT");
    // No hands: it tries again.
    opens(&server);
    has(&server, "kept");
    assert!(!server.log().contains("never-shown"));
}
