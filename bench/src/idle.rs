//! Memory when idle, and start to first answer.

use std::{path::Path, time::Instant};

use anyhow::{Context, Result};
use serde_json::json;
use testkit::server::Server;

use crate::{process::resident_mib, verdict};

const ROUNDS: usize = 7;

pub(crate) fn run(binary: &Path) -> Result<()> {
    let mut server = Server::start_plain(binary);
    server.must_write("sys/mounts/kv", json!({ "type": "kv-v2" }));
    server.must_write("sys/mounts/database", json!({ "type": "database" }));
    server.must_write(
        "sys/audit/file",
        json!({ "type": "file", "options": { "file_path": server.folder().join("audit.log") } }),
    );
    let mut starts = Vec::new();
    for _ in 0..ROUNDS {
        server.stop();
        let started = Instant::now();
        server.launch();
        starts.push(started.elapsed().as_secs_f64() * 1000.0);
    }
    server.unseal();
    server.must_read("sys/mounts");
    let memory = resident_mib(server.pid().context("the server runs")?)?;
    starts.sort_by(f64::total_cmp);
    verdict("resident memory when idle, MiB", memory, 30.0, false);
    verdict("start to first answer, ms (median of 7)", starts[ROUNDS / 2], 150.0, false);
    Ok(())
}
