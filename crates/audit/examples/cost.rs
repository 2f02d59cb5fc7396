//! What two audit entries of a KV read cost, in CPU time of the whole process.
//!
//! `cargo run --release -p strongroom-audit --example cost` prints microseconds per request for the formatting alone,
//! for a file, and for the journal with its index.

use std::{
    error::Error,
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use audit::{
    Auth, Body, Broker, Common, Data, Device, Entry, Format, Granting, Hasher, Memo, Namespace, PolicyResults, Request,
    Response, Sensitive, Settings, Texts, file, journal,
};
use clock::Clock;
use crypto::ed25519::KeyPair;

#[allow(clippy::print_stdout, reason = "the figures are what the program is for")]
fn main() -> Result<(), Box<dyn Error>> {
    let clock = Clock::system();
    let format = Format::new(Hasher::new(&[7; 32]), Common::default());
    let start = cpu();
    for _ in 0..REQUESTS {
        with_entries(&clock, |request, response| {
            black_box(format.line(request));
            black_box(format.line(response));
        });
    }
    println!("format      {:6.2} µs CPU per request", per_request(cpu() - start));

    let dir = tempfile::tempdir()?;
    let wanted = std::env::args().nth(1);
    let wanted = |name: &str| wanted.as_ref().is_none_or(|wanted| wanted == name);
    let settings = file::Settings { target: file::Target::Path(dir.path().join("audit.log")), mode: Some(0o600) };
    if wanted("file") {
        through("file", Arc::new(file::File::new(settings)?), &format)?;
    }
    if !wanted("journal") {
        return Ok(());
    }
    let settings = journal::Settings::new(dir.path().join("journal"));
    let journal = journal::Journal::open(settings, KeyPair::generate(), &format, clock)?;
    through("journal", Arc::new(journal), &format)
}

/// Records the entries of many requests from 64 clients at once.
#[allow(clippy::print_stdout, reason = "the figures are what the program is for")]
fn through(name: &str, device: Arc<dyn Device>, format: &Format) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let broker = Arc::new(Broker::new(Clock::system(), Settings::default()));
        broker.enable(name, device, format.clone()).await?;
        let (left, start, began) = (Arc::new(AtomicU64::new(REQUESTS)), cpu(), Instant::now());
        let clients: Vec<_> = (0..CLIENTS).map(|_| tokio::spawn(client(broker.clone(), left.clone()))).collect();
        for client in clients {
            client.await?;
        }
        let rate = REQUESTS as f64 / began.elapsed().as_secs_f64();
        println!("{name:<11} {:6.2} µs CPU per request, {rate:.0} requests per second", per_request(cpu() - start));
        broker.close().await;
        Ok(())
    })
}

async fn client(broker: Arc<Broker>, left: Arc<AtomicU64>) {
    let clock = Clock::system();
    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
        let (auth, request, response) = parts();
        let memo = Memo::default();
        let entered = Entry::request(clock.now(), &request).auth(Some(&auth)).memo(&memo);
        let entered = broker.hand_over(&entered);
        let left = Entry::response(clock.now(), &request, Some(&response)).auth(Some(&auth)).memo(&memo);
        if let Err(error) = broker.settle([entered, broker.hand_over(&left)]).await {
            tracing::error!(%error, "refused");
        }
    }
}

fn with_entries(clock: &Clock, act: impl FnOnce(&Entry<'_>, &Entry<'_>)) {
    let (auth, request, response) = parts();
    let memo = Memo::default();
    let entered = Entry::request(clock.now(), &request).auth(Some(&auth)).memo(&memo);
    let left = Entry::response(clock.now(), &request, Some(&response)).auth(Some(&auth)).memo(&memo);
    act(&entered, &left);
}

fn parts() -> (Auth<'static>, Request<'static>, Response<'static>) {
    let auth = Auth {
        client_token: Sensitive::new(TOKEN),
        accessor: "V3Wd4mGgqxIzMTOl5cDyaB5U",
        display_name: "approle",
        policies: Texts::Borrowed(&["app-prod", "default"]),
        token_policies: Texts::Borrowed(&["app-prod", "default"]),
        policy_results: Some(PolicyResults {
            allowed: true,
            granting_policies: &[Granting {
                name: "app-prod",
                namespace_id: "root",
                namespace_path: "",
                kind: "acl",
                rule: "secret/data/app/*",
                line: 1,
            }],
        }),
        entity_id: "6a4c1d6b-1a86-4c1c-bc7e-6f31f2f0a111",
        token_type: "service",
        token_ttl: 3600,
        ..Auth::default()
    };
    let request = Request {
        id: "3c7a1b1e-97a4-4a90-a7b1-1d4f3f6f7c55",
        operation: "read",
        mount_point: "secret/",
        mount_type: "kv",
        mount_accessor: "kv_1a2b3c4d",
        mount_class: "secret",
        client_token: Sensitive::new(TOKEN),
        client_token_accessor: "V3Wd4mGgqxIzMTOl5cDyaB5U",
        namespace: Namespace { id: "root", path: "" },
        path: "secret/data/app/config",
        remote_address: "127.0.0.1",
        remote_port: 40112,
        ..Request::default()
    };
    let response = Response {
        mount_point: "secret/",
        mount_type: "kv",
        mount_accessor: "kv_1a2b3c4d",
        mount_class: "secret",
        data: Data { body: Body::Json(BODY), ..Data::default() },
        ..Response::default()
    };
    (auth, request, response)
}

/// User and system time of the process so far.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    // In hundredths of a second, behind the eleven fields after the name.
    let ticks: u64 = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

fn per_request(spent: Duration) -> f64 {
    spent.as_secs_f64() * 1e6 / REQUESTS as f64
}

const REQUESTS: u64 = 200_000;
const CLIENTS: usize = 64;
const TOKEN: &str = "hvs.CAESIJlU9JMYEhOPYv4igdhm9PnZDrabYTobQ4Ymnlq1qY-LGh4KHGh2cy40NFhlN0d2";
const BODY: &[u8] = br#"{"data":{"username":"app","password":"correct horse battery staple"},"metadata":{"created_time":"2026-01-02T03:04:05.123456789Z","custom_metadata":null,"deletion_time":"","destroyed":false,"version":3}}"#;
