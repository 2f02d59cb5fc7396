//! Start, unseal and idle memory do not depend on the number of namespaces.

use std::{path::Path, time::Instant};

use anyhow::{Context, Result};
use serde_json::json;
use testkit::server::Server;

use crate::{process::resident_mib, verdict};

const NAMESPACES: usize = 1000;
const ROUNDS: usize = 7;

pub(crate) fn run(binary: &Path) -> Result<()> {
    let mut server = Server::start_plain(binary);
    make(&server, 0);
    let (few, without) = start_and_unseal(&mut server)?;
    for number in 1..NAMESPACES {
        make(&server, number);
    }
    let (many, with) = start_and_unseal(&mut server)?;
    println!("   start and unseal: {few:.1} ms with one, {many:.1} ms with {NAMESPACES} namespaces");
    println!("   resident memory when idle: {without:.1} MiB with one, {with:.1} MiB with {NAMESPACES}");
    verdict("start and unseal, ratio", many / few, 1.2, false);
    verdict("resident memory when idle, ratio", with / without, 1.2, false);
    Ok(())
}

/// A namespace with a mount, a policy and a secret of its own.
fn make(server: &Server, number: usize) {
    let at = format!("n{number}");
    server.must_write(&format!("sys/namespaces/{at}"), json!({}));
    server.must_write(&format!("{at}/sys/mounts/kv"), json!({ "type": "kv-v2" }));
    let policy = "path \"kv/*\" { capabilities = [\"read\"] }";
    server.must_write(&format!("{at}/sys/policies/acl/app"), json!({ "policy": policy }));
    server.must_write(&format!("{at}/kv/data/app"), json!({ "data": { "password": "x" } }));
}

/// The median time in milliseconds from the start of the process to the first reply to a request with a token, and the
/// least memory in MiB that it took then.
fn start_and_unseal(server: &mut Server) -> Result<(f64, f64)> {
    let (mut times, mut least) = (Vec::new(), f64::MAX);
    for _ in 0..ROUNDS {
        server.stop();
        let started = Instant::now();
        server.launch();
        server.unseal();
        server.must_read("auth/token/lookup-self");
        times.push(started.elapsed().as_secs_f64() * 1000.0);
        least = least.min(resident_mib(server.pid().context("the server runs")?)?);
    }
    times.sort_by(f64::total_cmp);
    Ok((times[ROUNDS / 2], least))
}
