//! Start and unseal do not depend on the number of leases.

use std::{path::Path, time::Instant};

use anyhow::{Context, Result};
use serde_json::json;
use testkit::server::Server;

use crate::{load, process::resident_mib, verdict};

const LEASES: u64 = 100_000;
const ROUNDS: usize = 7;

pub(crate) fn run(binary: &Path) -> Result<()> {
    let mut server = Server::start_plain(binary);
    server.must_write("sys/policies/acl/none", json!({ "policy": "path \"none\" { capabilities = [\"read\"] }" }));
    let empty = start_and_unseal(&mut server)?;
    let without = resident_mib(server.pid().context("the server runs")?)?;
    fill(&server)?;
    let full = start_and_unseal(&mut server)?;
    let with = resident_mib(server.pid().context("the server runs")?)?;
    println!("   start and unseal: {empty:.1} ms with none, {full:.1} ms with {LEASES} leases");
    println!("   resident memory afterwards: {without:.1} MiB with none, {with:.1} MiB with {LEASES}");
    verdict("start and unseal, ratio", full / empty, 1.2, false);
    Ok(())
}

/// The median time in milliseconds from the start of the process to the first reply to a request with a token.
fn start_and_unseal(server: &mut Server) -> Result<f64> {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        server.stop();
        let started = Instant::now();
        server.launch();
        server.unseal();
        server.must_read("auth/token/lookup-self");
        times.push(started.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[ROUNDS / 2])
}

/// Makes tokens that end: each is a lease, with its record and its place in the due index.
fn fill(server: &Server) -> Result<()> {
    const CLIENTS: usize = 64;
    let address = server.address().trim_start_matches("http://").to_owned();
    let ask =
        load::request("POST", "/v1/auth/token/create", server.root_token(), r#"{"policies":["none"],"ttl":"24h"}"#);
    let runtime = tokio::runtime::Runtime::new()?;
    let mut made = 0;
    while made < LEASES {
        let ask = ask.clone();
        let wait = std::time::Duration::from_secs(2);
        made += runtime.block_on(load::run(&address, CLIENTS, wait, "HTTP/1.1 200", move |_, _| ask.clone()))?.requests;
    }
    println!("   {made} leases made");
    Ok(())
}
