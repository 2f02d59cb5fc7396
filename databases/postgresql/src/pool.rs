//! A bounded set of connections, and a breaker that answers at once while the server does not.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use engine_database::target::{ConnectionConfig, Error};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{address::Address, error::Failure, session::Session};

/// The connections to one server.
pub(crate) struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    address: Arc<Address>,
    permits: Arc<Semaphore>,
    max_idle: usize,
    lifetime: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    idle: Vec<Idle>,
    breaker: Breaker,
    closed: bool,
}

struct Idle {
    session: Session,
    since: Instant,
}

impl Pool {
    pub(crate) fn new(address: Arc<Address>, config: &ConnectionConfig) -> Self {
        let max_open = config.max_open_connections.clamp(1, MAX_OPEN);
        let shared = Shared {
            address,
            permits: Arc::new(Semaphore::new(max_open)),
            max_idle: config.max_idle_connections.min(max_open),
            lifetime: config.max_connection_lifetime,
            state: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// A connection for one use. Fails at once while the server is known not to answer.
    pub(crate) async fn get(&self) -> Result<Lent, Failure> {
        self.shared.check_breaker()?;
        let waiting = Arc::clone(&self.shared.permits).acquire_owned();
        let permit = match tokio::time::timeout(WAIT, waiting).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) => return Err(closed()),
            Err(_) => {
                let text =
                    "all connections are in use: raise max_open_connections, or look at what the database waits for";
                return Err(Failure::of(Error::Unreachable(text.to_owned()), false));
            }
        };
        while let Some(idle) = self.shared.take_idle()? {
            // One that lay idle may have lost its server without noticing.
            if idle.since.elapsed() < FRESH || idle.session.batch("", &[]).await.is_ok() {
                return Ok(Lent { session: Some(idle.session), shared: Arc::clone(&self.shared), _permit: permit });
            }
        }
        let session = self.shared.connect().await?;
        Ok(Lent { session: Some(session), shared: Arc::clone(&self.shared), _permit: permit })
    }

    /// Runs statements as one transaction on any connection.
    pub(crate) async fn batch(&self, sql: &str, secrets: &[&str]) -> Result<(), Failure> {
        let lent = self.get().await?;
        let result = lent.batch(sql, secrets).await;
        lent.settle(&result);
        result
    }

    /// Runs statements as one transaction on any connection and gives the rows.
    pub(crate) async fn query(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, Failure> {
        let lent = self.get().await?;
        let result = lent.query(sql, &[]).await;
        lent.settle(&result);
        result
    }

    /// Closes what is idle now, and the rest when it comes back.
    pub(crate) fn close(&self) {
        let idle = {
            let mut state = self.shared.state.lock();
            state.closed = true;
            std::mem::take(&mut state.idle)
        };
        self.shared.permits.close();
        drop(idle);
    }
}

impl Shared {
    fn check_breaker(&self) -> Result<(), Failure> {
        let state = self.state.lock();
        if state.closed { Err(closed()) } else { state.breaker.check() }
    }

    fn take_idle(&self) -> Result<Option<Idle>, Failure> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(closed());
        }
        let lifetime = self.lifetime;
        state.idle.retain(|idle| {
            !idle.session.is_closed() && !outlived(&idle.session, lifetime) && idle.since.elapsed() < IDLE
        });
        Ok(state.idle.pop())
    }

    async fn connect(&self) -> Result<Session, Failure> {
        // Whoever waited for its turn meanwhile need not learn the hard way either; one at a time tries anew.
        let _probe = {
            let mut state = self.state.lock();
            state.breaker.check()?;
            state.breaker.begin(self)
        };
        // EXPOSE: to be taken out of error texts.
        let result =
            Session::open(&self.address.admin(), &self.address.connector, &[self.address.password().expose()]).await;
        let mut state = self.state.lock();
        match &result {
            Err(Failure { error: Error::Unreachable(text), .. }) => state.breaker.failed(text),
            _ => state.breaker = Breaker::default(),
        }
        result
    }
}

/// A connection in use. Unless it is settled it is closed when dropped: nobody knows what state it is in.
pub(crate) struct Lent {
    session: Option<Session>,
    shared: Arc<Shared>,
    _permit: OwnedSemaphorePermit,
}

impl Lent {
    /// Gives the connection back for others, if the result lets it be used again.
    pub(crate) fn settle<T>(mut self, result: &Result<T, Failure>) {
        if result.as_ref().is_err_and(|failure| failure.broken) {
            return;
        }
        let Some(session) = self.session.take() else { return };
        let mut state = self.shared.state.lock();
        let spare = state.idle.len() < self.shared.max_idle;
        if spare && !state.closed && !session.is_closed() && !outlived(&session, self.shared.lifetime) {
            state.idle.push(Idle { session, since: Instant::now() });
        }
    }
}

impl std::ops::Deref for Lent {
    type Target = Session;

    #[allow(clippy::expect_used, reason = "the session is taken only where the value ends")]
    fn deref(&self) -> &Session {
        self.session.as_ref().expect("the session is there until it is given back")
    }
}

/// While the server does not answer: when to ask it again. One asks, the others are told at once.
#[derive(Default)]
struct Breaker {
    failures: u32,
    retry: Option<Instant>,
    probing: bool,
    why: String,
}

impl Breaker {
    fn check(&self) -> Result<(), Failure> {
        let Some(retry) = self.retry else { return Ok(()) };
        let left = retry.saturating_duration_since(Instant::now());
        if left.is_zero() && !self.probing {
            return Ok(());
        }
        let text = format!("{} (tried again every {} s at most)", self.why, MAX_PAUSE.as_secs());
        Err(Failure::of(Error::Unreachable(text), false))
    }

    /// Marks the one who asks, if others are to wait for what it finds.
    fn begin<'a>(&mut self, shared: &'a Shared) -> Option<Probe<'a>> {
        self.probing = self.retry.is_some();
        self.probing.then(|| Probe { shared })
    }

    fn failed(&mut self, why: &str) {
        let pause = MIN_PAUSE.saturating_mul(1 << self.failures.min(10)).min(MAX_PAUSE);
        self.failures = self.failures.saturating_add(1);
        self.retry = Some(Instant::now() + pause);
        self.why = why.to_owned();
    }
}

/// Ends the marking also if the one who asks is cancelled.
struct Probe<'a> {
    shared: &'a Shared,
}

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        self.shared.state.lock().breaker.probing = false;
    }
}

fn outlived(session: &Session, lifetime: Duration) -> bool {
    !lifetime.is_zero() && session.age() >= lifetime
}

fn closed() -> Failure {
    Failure::of(Error::Unreachable("the connection was closed or configured anew: try again".to_owned()), false)
}

/// More connections only queue inside PostgreSQL.
const MAX_OPEN: usize = 64;
const WAIT: Duration = Duration::from_secs(20);
const FRESH: Duration = Duration::from_millis(50);
const IDLE: Duration = Duration::from_secs(300);
const MIN_PAUSE: Duration = Duration::from_millis(250);
const MAX_PAUSE: Duration = Duration::from_secs(5);
