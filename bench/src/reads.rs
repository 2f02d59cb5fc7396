//! KV v2 reads with a file audit device on.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::json;
use testkit::server::Server;
use tokio::net::TcpStream;

use crate::{load, process::cpu_seconds, verdict};

const CONNECTIONS: usize = 16;
const DURATION: Duration = Duration::from_secs(5);
const ROUNDS: usize = 3;

pub(crate) fn run(binary: &Path) -> Result<()> {
    let server = Server::start_plain(binary);
    server.must_write(
        "sys/audit/file",
        json!({ "type": "file", "options": { "file_path": server.folder().join("audit.log") } }),
    );
    server.must_write("sys/mounts/kv", json!({ "type": "kv-v2" }));
    server.must_write(
        "kv/data/app/db",
        json!({ "data": { "username": "app", "password": "correct horse battery staple", "host": "db.internal" } }),
    );
    server.must_write(
        "sys/policies/acl/app",
        json!({ "policy": "path \"kv/data/app/*\" { capabilities = [\"read\"] }" }),
    );
    let made = server.must_write("auth/token/create", json!({ "policies": ["app"], "ttl": "1h" }));
    let token = made["auth"]["client_token"].as_str().context("a token")?.to_owned();
    let address = server.address().trim_start_matches("http://").to_owned();
    let ask = load::request("GET", "/v1/kv/data/app/db", &token, "");

    let runtime = tokio::runtime::Runtime::new()?;
    let body = runtime.block_on(async {
        let mut stream = TcpStream::connect(&address).await?;
        tokio::io::AsyncWriteExt::write_all(&mut stream, &ask).await?;
        load::read_reply(&mut stream, &mut Vec::new(), "HTTP/1.1 200").await
    })?;
    let mut peer = Command::new(std::env::current_exe()?)
        .arg("bare-server")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    peer.stdin.take().context("a pipe")?.write_all(&body)?;
    let mut bare = String::new();
    BufReader::new(peer.stdout.take().context("a pipe")?).read_line(&mut bare)?;
    let bare = bare.trim().to_owned();

    let measure = |address: &str, pid: u32| -> Result<f64> {
        let ask = ask.clone();
        let before = cpu_seconds(pid)?;
        let seen =
            runtime.block_on(load::run(address, CONNECTIONS, DURATION, "HTTP/1.1 200", move |_, _| ask.clone()))?;
        let used = cpu_seconds(pid)? - before;
        println!(
            "   {:>8.0} requests/s, {:>5.1} µs of processor each",
            seen.per_second(),
            used * 1e6 / seen.requests as f64
        );
        Ok(seen.requests as f64 / used)
    };
    let pid = server.pid().context("the server runs")?;
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        println!("   bare server:");
        let of_bare = measure(&bare, peer.id())?;
        println!("   strongroom:");
        ratios.push(measure(&address, pid)? / of_bare);
    }
    peer.kill()?;
    peer.wait()?;
    ratios.sort_by(f64::total_cmp);
    verdict("requests per CPU-second, ratio (median of 3)", ratios[ROUNDS / 2], 0.35, true);
    Ok(())
}
