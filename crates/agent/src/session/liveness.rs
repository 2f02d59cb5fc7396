//! The stream that ties the token to this process.
//!
//! As long as it is open the server knows that we live. When this process dies, the kernel closes the connection, and
//! after the grace period the server revokes the token with all it leased. Beats on a second request tell the server
//! that we are not merely frozen; the server's own beats tell us that the connection is not merely forgotten.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::Duration,
};

use api::Verb;
use client::{ByteStream, Client};
use futures::StreamExt as _;
use serde_json::json;
use tokio::{sync::watch, task::JoinHandle, time};

const PATH: &str = "auth/token/liveness";
/// How long the server may take to open a stream, even where the grace period is shorter.
const PATIENCE: Duration = Duration::from_secs(10);

/// The tie of one token; cut when dropped.
pub(super) struct Liveness {
    task: JoinHandle<()>,
    lost: watch::Receiver<bool>,
}

impl Liveness {
    /// Opens the stream and waits until the server confirms the tie. `client` carries the token.
    pub(super) async fn attach(client: Client, grace: Duration) -> client::Result<Self> {
        let mut stream = open(&client, grace).await?;
        // The confirmation. A stream that ends before it is opened again like one that ends later.
        let _ = time::timeout(grace, stream.next()).await;
        let (tell, lost) = watch::channel(false);
        let task = tokio::spawn(hold(client, grace, stream, tell));
        Ok(Self { task, lost })
    }

    /// Resolves once the server does not know the token any more.
    pub(super) async fn lost(&mut self) {
        if self.lost.wait_for(|lost| *lost).await.is_err() {
            // The task was cut, and this side with it.
            std::future::pending().await
        }
    }
}

impl Drop for Liveness {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn hold(client: Client, grace: Duration, first: ByteStream, lost: watch::Sender<bool>) {
    let mut stream = Some(first);
    let mut attempt = 0;
    loop {
        if let Some(open) = stream.take() {
            let since = time::Instant::now();
            listen(&client, grace, open).await;
            // A stream that ends as soon as it is open is as good as none, and must not be asked for in a loop.
            if since.elapsed() > grace / 3 {
                attempt = 0;
            }
        }
        tracing::debug!(attempt, "the liveness stream ended; opening it again");
        if attempt > 0 {
            time::sleep(pause(attempt, grace)).await;
        }
        attempt += 1;
        match open(&client, grace).await {
            Ok(open) => stream = Some(open),
            Err(error) if error.status() == Some(403) => {
                let _ = lost.send(true);
                return;
            }
            Err(error) => tracing::debug!(%error, "the liveness stream could not be opened again"),
        }
    }
}

async fn open(client: &Client, grace: Duration) -> client::Result<ByteStream> {
    let body = json!({ "grace": format!("{}s", grace.as_secs().max(1)) });
    match time::timeout(grace.max(PATIENCE), client.stream(Verb::Write, PATH, Some(&body))).await {
        Ok(opened) => opened,
        Err(_) => Err(client::Error::Config { message: "no answer to the liveness request in time".to_owned() }),
    }
}

/// Reads the stream and beats until it ends, breaks, or stays silent for a grace period.
async fn listen(client: &Client, grace: Duration, mut stream: ByteStream) {
    let mut beats = time::interval(grace / 3);
    beats.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    let mut heard = time::Instant::now();
    loop {
        tokio::select! {
            line = stream.next() => match line {
                Some(Ok(_)) => heard = time::Instant::now(),
                _ => return,
            },
            _ = beats.tick() => {
                let body = json!({ "beat": true });
                // Silence or a refusal is no reason to stop: the stream itself decides.
                let _ = time::timeout(grace / 3, client.write(PATH, &body)).await;
            }
            () = time::sleep_until(heard + grace) => return,
        }
    }
}

/// Soon, because the grace period runs; not all at once, because every client has lost the same server.
fn pause(attempt: u32, grace: Duration) -> Duration {
    let longest = (grace / 4).max(Duration::from_millis(100));
    let wait = Duration::from_millis(50).saturating_mul(1 << attempt.min(10)).min(longest);
    let jitter = RandomState::new().build_hasher().finish() % u64::try_from(wait.as_millis()).unwrap_or(1).max(1);
    wait / 2 + Duration::from_millis(jitter / 2)
}
