//! Durable KV v2 writes of many clients.

use std::{
    io::{Seek, SeekFrom, Write},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde_json::json;
use testkit::server::Server;

use crate::{load, verdict};

const CLIENTS: usize = 64;
const DURATION: Duration = Duration::from_secs(8);

pub(crate) fn run(binary: &Path) -> Result<()> {
    let server = Server::start_plain(binary);
    server.must_write("sys/mounts/kv", json!({ "type": "kv-v2" }));
    let address = server.address().trim_start_matches("http://").to_owned();
    let token = server.root_token().to_owned();
    let runtime = tokio::runtime::Runtime::new()?;
    let raw_before = sync_rate(server.folder())?;
    let client = server.client(server.root_token());
    let counted = |name: &str| -> Result<f64> {
        let ask = client.request(api::Verb::Read, "sys/metrics", &[("format", "prometheus")], None);
        let reply = runtime.block_on(ask)?;
        let (text, start) = (String::from_utf8_lossy(&reply.raw), format!("strongroom_storage_{name} "));
        let value = text.lines().find_map(|line| line.strip_prefix(&start));
        Ok(value.with_context(|| format!("the metrics have no {start}"))?.parse()?)
    };
    let (commits, syncs) = (counted("commits")?, counted("syncs")?);
    let seen = runtime.block_on(load::run(&address, CLIENTS, DURATION, "HTTP/1.1 200", move |connection, count| {
        let path = format!("/v1/kv/data/load/{connection}/{}", count % 100);
        load::request("POST", &path, &token, r#"{"data":{"value":"0123456789abcdef0123456789abcdef0123456789abcdef"}}"#)
    }))?;
    let raw = (raw_before + sync_rate(server.folder())?) / 2.0;
    println!(
        "   raw syncs: {raw:.0}/s; durable writes: {:.0}/s; writes per raw sync: {:.1}",
        seen.per_second(),
        seen.per_second() / raw
    );
    let (commits, syncs) = (counted("commits")? - commits, counted("syncs")? - syncs);
    verdict("commits per sync", commits / syncs, 20.0, true);
    Ok(())
}

/// Appends of 4 KiB with fdatasync, a second.
fn sync_rate(folder: &Path) -> Result<f64> {
    let mut file = std::fs::File::create(folder.join("sync-rate"))?;
    file.seek(SeekFrom::Start(0))?;
    let (started, mut count) = (Instant::now(), 0_u32);
    while started.elapsed() < Duration::from_secs(1) {
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        count += 1;
    }
    Ok(f64::from(count) / started.elapsed().as_secs_f64())
}
