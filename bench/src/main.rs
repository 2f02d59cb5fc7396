//! Measures the server against limits and peers of the same run. Prints ratios; the absolute figures depend on the
//! machine and its other work.
//!
//! ```text
//! cargo run --release -p strongroom-bench            all of them
//! cargo run --release -p strongroom-bench -- reads   one: reads, writes, credentials, idle, leases, namespaces
//! ```
//! The release binary of the server must have been built.

mod bare;
mod credentials;
mod idle;
mod leases;
mod load;
mod namespaces;
mod process;
mod reads;
mod writes;

use std::path::PathBuf;

use anyhow::{Context, Result};

/// One measurement: a name, what is measured, and the program.
type Bench = (&'static str, &'static str, fn(&std::path::Path) -> Result<()>);

const BENCHES: &[Bench] = &[
    ("reads", "KV v2 reads with a file audit device, against a bare HTTP server with the same bytes", reads::run),
    ("writes", "durable KV v2 writes of 64 clients, against the raw rate of syncs", writes::run),
    ("credentials", "database credentials, against raw CREATE ROLE on the same PostgreSQL", credentials::run),
    ("idle", "resident memory when idle, and start to first answer", idle::run),
    ("leases", "start and unseal with no and with 100,000 leases", leases::run),
    ("namespaces", "start, unseal and idle memory with one and with 1,000 namespaces", namespaces::run),
];

fn main() -> Result<()> {
    let wanted = std::env::args().nth(1);
    if wanted.as_deref() == Some("bare-server") {
        return bare::serve();
    }
    let binary = binary()?;
    for (name, what, run) in BENCHES {
        if wanted.as_deref().is_none_or(|wanted| wanted == *name) {
            println!("== {name}: {what}");
            run(&binary).with_context(|| format!("the bench {name} failed"))?;
            println!();
        }
    }
    Ok(())
}

/// The server's release binary, beside this one.
fn binary() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let binary = own.parent().context("a binary lies in a folder")?.join("strongroom");
    anyhow::ensure!(binary.exists(), "{} is missing; run: cargo build --release -p strongroom", binary.display());
    Ok(binary)
}

/// Prints a ratio and the limit it is held against.
pub(crate) fn verdict(what: &str, value: f64, limit: f64, at_least: bool) {
    let good = if at_least { value >= limit } else { value <= limit };
    let sign = if at_least { "at least" } else { "at most" };
    println!("   {what}: {value:.3} ({sign} {limit}) {}", if good { "ok" } else { "FALLS SHORT" });
}
