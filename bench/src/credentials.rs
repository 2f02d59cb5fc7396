//! Database credentials against what PostgreSQL itself can do.

use std::{path::Path, time::Duration, time::Instant};

use anyhow::{Context, Result};
use serde_json::json;
use testkit::{postgres::Postgres, server::Server};
use tokio_postgres::NoTls;

use crate::{load, verdict};

/// Connections to PostgreSQL: of the server's pool, and of the raw load.
const AT_ONCE: usize = 4;
/// Clients of the server; they wait for the pool, as the raw load waits for its connections.
const CLIENTS: usize = 16;
const DURATION: Duration = Duration::from_secs(6);
const ROUNDS: usize = 3;

pub(crate) fn run(binary: &Path) -> Result<()> {
    let postgres = Postgres::start_durable();
    postgres.psql("CREATE ROLE readers NOLOGIN");
    postgres.admin("bench_admin", "bench-password");
    postgres.psql("GRANT readers TO bench_admin WITH ADMIN OPTION");
    let server = Server::start_plain(binary);
    server.must_write("sys/mounts/database", json!({ "type": "database" }));
    let url = format!(
        "postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{}/postgres?sslmode=disable",
        postgres.port()
    );
    server.must_write(
        "database/config/bench",
        json!({
            "plugin_name": "postgresql-database-plugin", "connection_url": url, "username": "bench_admin",
            "password": "bench-password", "allowed_roles": "*", "max_open_connections": AT_ONCE,
        }),
    );
    server.must_write("database/roles/reader", json!({
        "db_name": "bench", "default_ttl": "1h",
        "creation_statements": "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'; GRANT readers TO \"{{name}}\";",
    }));
    let runtime = tokio::runtime::Runtime::new()?;
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let raw = runtime.block_on(raw(postgres.port()))?;
        let address = server.address().trim_start_matches("http://").to_owned();
        let token = server.root_token().to_owned();
        let ask = load::request("GET", "/v1/database/creds/reader", &token, "");
        let seen = runtime.block_on(load::run(&address, CLIENTS, DURATION, "HTTP/1.1 200", move |_, _| ask.clone()))?;
        println!("   raw CREATE ROLE + GRANT: {raw:.0}/s; credentials: {:.0}/s", seen.per_second());
        ratios.push(seen.per_second() / raw);
    }
    ratios.sort_by(f64::total_cmp);
    verdict("credentials against raw (median of 3)", ratios[ROUNDS / 2], 0.8, true);
    Ok(())
}

/// The same statements by plain connections, a second.
async fn raw(port: u16) -> Result<f64> {
    let started = Instant::now();
    let mut tasks = Vec::new();
    for connection in 0..AT_ONCE {
        let config = format!(
            "host=127.0.0.1 port={port} user=bench_admin password=bench-password dbname=postgres sslmode=disable"
        );
        let (client, driver) = tokio_postgres::connect(&config, NoTls).await.context("a raw connection")?;
        tokio::spawn(driver);
        let stamp = started.elapsed().as_nanos();
        tasks.push(tokio::spawn(async move {
            let mut count = 0_u32;
            while started.elapsed() < DURATION {
                let name = format!("raw_{stamp}_{connection}_{count}");
                let sql = format!(
                    "BEGIN; CREATE ROLE \"{name}\" LOGIN PASSWORD 'aDa1-0123456789abcdefgh' VALID UNTIL '2036-01-01'; \
                     GRANT readers TO \"{name}\"; COMMIT"
                );
                client.batch_execute(&sql).await?;
                count += 1;
            }
            anyhow::Ok(count)
        }));
    }
    let mut all = 0;
    for task in tasks {
        all += task.await??;
    }
    Ok(f64::from(all) / started.elapsed().as_secs_f64())
}
