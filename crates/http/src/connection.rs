//! One connection, and who watches that it does not linger.

use std::{
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use http::Request;
use hyper::{body::Incoming, server::conn::http1, server::conn::http2, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::graceful::GracefulConnection,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::MissedTickBehavior,
};

use crate::{
    ListenerConfig,
    exchange::{Connected, Exchange},
    serve::{Alive, Phase},
};

/// Serves a connection until it ends.
pub(crate) async fn serve<S>(exchange: Arc<Exchange>, alive: Alive, peer: SocketAddr, stream: S, http2: bool)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let activity = Arc::new(Activity::new(http2));
    let io = TokioIo::new(Watched { stream, activity: Arc::clone(&activity) });
    let watched = Arc::clone(&activity);
    // Shared by the requests of this connection alone, so that its count of holders stays on one processor.
    let connected = Arc::new(Connected::new(Arc::clone(&exchange), peer, alive));
    let service = service_fn(move |request: Request<Incoming>| {
        let connected = Arc::clone(&connected);
        let busy = Busy::new(Arc::clone(&watched));
        async move {
            let mut response = connected.exchange.answer(&connected, request).await;
            response.body_mut().hold(busy);
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    if http2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(HEAD as u32)
            .keep_alive_interval(PROBE)
            .keep_alive_timeout(PROBE);
        drive(builder.serve_connection(io, service), &activity, &exchange).await;
    } else {
        let mut builder = http1::Builder::new();
        // The time for a head is kept below: hyper's own would also end connections that are merely idle.
        builder.timer(TokioTimer::new()).header_read_timeout(None).max_header_size(HEAD);
        drive(builder.serve_connection(io, service), &activity, &exchange).await;
    }
}

/// Waits for the end of a connection, and brings it about if it lingers or the listener closes.
async fn drive<C: GracefulConnection>(connection: C, activity: &Activity, exchange: &Exchange) {
    let mut connection = pin!(connection);
    let mut phase = exchange.phase.clone();
    let mut sealings = exchange.core.sealings();
    let mut open = true;
    let period = tick(&exchange.config);
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            _ = connection.as_mut() => return,
            now = phase_after(&mut phase, open) => match now {
                Phase::Closed => return,
                _ => {
                    open = false;
                    connection.as_mut().graceful_shutdown();
                }
            },
            // Its buffers hold what was last said on it, tokens for one.
            Ok(()) = sealings.changed() => connection.as_mut().graceful_shutdown(),
            _ = ticks.tick() => match activity.judge(&exchange.config) {
                Verdict::Fine => {}
                Verdict::Idle => connection.as_mut().graceful_shutdown(),
                Verdict::Late => return,
            },
        }
    }
}

/// The phase once it is another one than open, or, if that was seen, once it is closed.
async fn phase_after(phase: &mut tokio::sync::watch::Receiver<Phase>, open: bool) -> Phase {
    let reached = phase.wait_for(|now| *now == Phase::Closed || open && *now == Phase::Draining).await;
    reached.map_or(Phase::Closed, |now| *now)
}

/// How often a connection is looked at.
fn tick(config: &ListenerConfig) -> Duration {
    let writing = Some(config.write_timeout).filter(|time| !time.is_zero()).unwrap_or(Duration::MAX);
    let shortest = config.header_read_timeout.min(config.idle_timeout).min(writing);
    (shortest / 2).clamp(Duration::from_millis(10), Duration::from_secs(10))
}

/// What goes on on a connection. Times are milliseconds since its start, plus one; zero is none.
pub(crate) struct Activity {
    start: Instant,
    /// Whether it speaks HTTP/2, where bytes may come without a request: its heads come in frames of bounded number.
    http2: bool,
    under_way: AtomicUsize,
    /// Since when the head of a request has been coming in.
    head_since: AtomicU64,
    /// When the last reply was sent.
    idle_since: AtomicU64,
    /// Since when the client has taken in nothing of what is to be sent.
    stuck_since: AtomicU64,
}

enum Verdict {
    Fine,
    Idle,
    Late,
}

impl Activity {
    fn new(http2: bool) -> Self {
        Self {
            start: Instant::now(),
            http2,
            under_way: AtomicUsize::new(0),
            // The first request has to come at once.
            head_since: AtomicU64::new(u64::from(!http2)),
            idle_since: AtomicU64::new(1),
            stuck_since: AtomicU64::new(0),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }

    fn bytes_came(&self) {
        if !self.http2 && self.under_way.load(Ordering::Relaxed) == 0 && self.head_since.load(Ordering::Relaxed) == 0 {
            self.head_since.store(self.now(), Ordering::Relaxed);
        }
    }

    /// Bytes were to be sent; `stuck` is whether the client has no room for them.
    fn bytes_go(&self, stuck: bool) {
        if !stuck {
            self.stuck_since.store(0, Ordering::Relaxed);
        } else if self.stuck_since.load(Ordering::Relaxed) == 0 {
            self.stuck_since.store(self.now(), Ordering::Relaxed);
        }
    }

    fn judge(&self, config: &ListenerConfig) -> Verdict {
        let over = |since: u64, most: Duration| u128::from(self.now().saturating_sub(since)) > most.as_millis();
        let stuck = self.stuck_since.load(Ordering::Relaxed);
        if stuck > 0 && !config.write_timeout.is_zero() && over(stuck, config.write_timeout) {
            return Verdict::Late;
        }
        if self.under_way.load(Ordering::Relaxed) > 0 {
            return Verdict::Fine;
        }
        match self.head_since.load(Ordering::Relaxed) {
            0 if over(self.idle_since.load(Ordering::Relaxed), config.idle_timeout) => Verdict::Idle,
            0 => Verdict::Fine,
            since if over(since, config.header_read_timeout) => Verdict::Late,
            _ => Verdict::Fine,
        }
    }
}

/// A request that is under way, up to the end of its reply.
pub(crate) struct Busy(Arc<Activity>);

impl Busy {
    fn new(activity: Arc<Activity>) -> Self {
        activity.under_way.fetch_add(1, Ordering::Relaxed);
        activity.head_since.store(0, Ordering::Relaxed);
        Self(activity)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.idle_since.store(self.0.now(), Ordering::Relaxed);
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream that notes when bytes come in, and whether they go out.
struct Watched<S> {
    stream: S,
    activity: Arc<Activity>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.activity.bytes_came();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.activity.bytes_go(polled.is_pending());
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.activity.bytes_go(polled.is_pending());
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.activity.bytes_go(polled.is_pending());
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// The greatest head of a request in bytes.
const HEAD: usize = 64 * 1024;
/// How many requests may be under way on one HTTP/2 connection.
const STREAMS: u32 = 128;
/// How often, and how long, an HTTP/2 connection is asked whether it is alive.
const PROBE: Duration = Duration::from_secs(15);
