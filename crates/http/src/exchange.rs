//! One request and its reply.

use std::{
    any::Any,
    net::SocketAddr,
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::FutureExt;
use gate::{Error, RequestId, Upload};
use http::{Method, Request, Response, request::Parts};
use hyper::body::{Body as _, Incoming};
use parking_lot::Mutex;
use strongroom_core::Core;
use tokio::{
    sync::watch,
    time::{Instant, Sleep},
};

use crate::{
    ListenerConfig, body,
    cors::Cross,
    id,
    reply::{self, ReplyBody},
    request::{self, Asked, Head},
    serve::{Alive, Phase},
    status::Fault,
};

/// What all requests of a listener share.
pub(crate) struct Exchange {
    pub(crate) core: Arc<Core>,
    pub(crate) config: ListenerConfig,
    pub(crate) room: body::Room,
    pub(crate) phase: watch::Receiver<Phase>,
}

impl Exchange {
    /// Answers a request, whatever happens.
    pub(crate) async fn answer(&self, from: &Arc<Connected>, request: Request<Incoming>) -> Response<ReplyBody> {
        let id = id::make_request_id();
        let head = request.method() == Method::HEAD;
        let namespace = request.headers().get(request::NAMESPACE).cloned();
        let cross = Cross::judge(&self.core, request.method(), request.headers());
        tracing::debug!(%id, method = %request.method(), path = request.uri().path(), "request");
        let answered = match &cross {
            Cross::Own | Cross::Allowed(_) => self.carry(from, request, &id).await,
            Cross::Asks(told) => Ok(reply::told(&id, told)),
            Cross::Refused => Err(Fault::Origin),
            Cross::NoMethod => Err(Error::Unsupported.into()),
        };
        let mut response = match answered {
            Ok(response) => response,
            Err(fault) => self.failed(&id, &fault),
        };
        cross.mark(&mut response);
        if let Some(namespace) = namespace {
            response.headers_mut().insert(request::NAMESPACE, namespace);
        }
        tracing::debug!(%id, status = response.status().as_u16(), "reply");
        self.config.response_headers.add_to(&mut response);
        if head {
            reply::without_body(&mut response);
        }
        response.body_mut().end_with(|| {
            let mut phase = self.phase.clone();
            async move {
                // An error means that the listener is gone, which is an end too.
                let _ = phase.wait_for(|phase| *phase != Phase::Open).await;
            }
        });
        response
    }

    /// The response to a request that has no answer; the log has what is the server's fault.
    fn failed(&self, id: &RequestId, fault: &Fault) -> Response<ReplyBody> {
        if let Fault::Room(error @ (Error::Internal(_) | Error::Unaudited)) = fault {
            tracing::error!(%id, %error, "a request failed");
        }
        reply::fault(id, fault)
    }

    async fn carry(
        &self,
        from: &Arc<Connected>,
        request: Request<Incoming>,
        id: &RequestId,
    ) -> Result<Response<ReplyBody>, Fault> {
        let (parts, incoming) = request.into_parts();
        let most = match Upload::is_wanted_at(parts.uri.path().strip_prefix("/v1/").unwrap_or_default()) {
            true => self.config.max_request_duration.max(UPLOAD),
            false => self.config.max_request_duration,
        };
        let mut deadline = from.deadline(most);
        let asked = match self.read(from.peer, &parts, incoming, id).await {
            Ok(Some(asked)) => asked,
            Ok(None) => return Ok(reply::root(id, self.core.ui_headers())),
            Err(fault) => {
                if let Some(misread) = request::misread(&parts, from.peer, id) {
                    Box::pin(self.core.turn_away(misread, &fault.text(id).unwrap_or_default())).await?;
                }
                return Err(fault);
            }
        };
        let upload = match &asked {
            Asked::Api(request) => request.upload.clone(),
            Asked::Bare(_) => Upload::default(),
        };
        let at = Arc::clone(from);
        let held = Arc::clone(from) as Held;
        let carried = Carried::new(Arc::clone(id), held, most, async move {
            let core = &at.exchange.core;
            match asked {
                Asked::Api(request) => core.handle(request).await,
                Asked::Bare(request) => Box::pin(core.bare(request)).await,
            }
        });
        let mut reply = deadline.hold(carried).await.ok_or(Fault::SlowAnswer(most))??;
        if let Some(unread) = upload.take() {
            body::drain(unread).await;
        }
        let headers = reply.take_headers();
        let (_, outcome) = reply.into_parts();
        let mut response = match outcome {
            Ok(success) => reply::success(id, *success),
            Err(error) => self.failed(id, &error.into()),
        };
        reply::add(&mut response, headers);
        Ok(response)
    }

    /// Reads a request to its end; `None` is the page at `/`.
    async fn read(
        &self,
        peer: SocketAddr,
        parts: &Parts,
        incoming: Incoming,
        id: &RequestId,
    ) -> Result<Option<Asked>, Fault> {
        let head = Head::parse(parts, peer, &self.config)?;
        let most = self.config.max_request_duration;
        let wait = Some(self.config.read_timeout).filter(|wait| !wait.is_zero()).map_or(most, |wait| wait.min(most));
        let Some(head) = head else { return Ok(None) };
        if head.takes_pieces() {
            let upload = Upload::new(body::pieces(incoming, wait));
            return Ok(Some(head.with(Bytes::new(), upload, id, self.core.clock().now(), &self.config.json)?));
        }
        let empty = incoming.is_end_stream();
        let read = body::read(incoming, self.config.max_request_size, &self.room);
        // What is there already needs no timer.
        let body = match empty {
            true => read.await?,
            false => tokio::time::timeout(wait, read).await.map_err(|_| Fault::SlowBody(wait))??,
        };
        Ok(Some(head.with(body, Upload::default(), id, self.core.clock().now(), &self.config.json)?))
    }
}

/// What the requests of one connection share.
pub(crate) struct Connected {
    pub(crate) exchange: Arc<Exchange>,
    peer: SocketAddr,
    /// A stop waits for whoever holds it.
    _alive: Alive,
    /// The timer of the last request: to move one that is set costs less than to make one.
    timer: Mutex<Option<Pin<Box<Sleep>>>>,
}

impl Connected {
    pub(crate) fn new(exchange: Arc<Exchange>, peer: SocketAddr, alive: Alive) -> Self {
        Self { exchange, peer, _alive: alive, timer: Mutex::default() }
    }

    fn deadline(&self, most: Duration) -> Deadline<'_> {
        Deadline { end: Instant::now() + most, timer: None, of: self }
    }

    fn timer(&self, end: Instant) -> Pin<Box<Sleep>> {
        match self.timer.lock().take() {
            Some(mut timer) => {
                timer.as_mut().reset(end);
                timer
            }
            None => Box::pin(tokio::time::sleep_until(end)),
        }
    }
}

/// When a request must be answered. What is answered at once needs no timer.
struct Deadline<'c> {
    end: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    of: &'c Connected,
}

impl Deadline<'_> {
    /// What comes of `work`, or `None` if that takes too long.
    async fn hold<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        std::future::poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending => {
                let timer = self.timer.get_or_insert_with(|| self.of.timer(self.end));
                timer.as_mut().poll(cx).map(|()| None)
            }
        })
        .await
    }
}

impl Drop for Deadline<'_> {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            // Several requests at once, as over HTTP/2, leave one timer behind.
            *self.of.timer.lock() = Some(timer);
        }
    }
}

/// A request that the core has begun. If nobody waits for it any more, because the client hung up or the time is over, it
/// goes on by itself: it may have written to a database or to the audit log, and must come to its end there.
struct Carried<T: Send + 'static> {
    work: Option<Work<T>>,
    id: RequestId,
    /// Held by what goes on, so that a stop waits for it.
    held: Held,
    most: Duration,
}

/// Something that is to live as long as the work does.
type Held = Arc<dyn Any + Send + Sync>;

type Work<T> = Pin<Box<dyn Future<Output = Result<T, Box<dyn Any + Send>>> + Send>>;

impl<T: Send + 'static> Carried<T> {
    fn new(id: RequestId, held: Held, most: Duration, work: impl Future<Output = T> + Send + 'static) -> Self {
        // Whatever a handler held is dropped by the unwinding; shared state is behind locks that are not poisoned.
        Self { work: Some(Box::pin(AssertUnwindSafe(work).catch_unwind())), id, held, most }
    }
}

impl<T: Send + 'static> Future for Carried<T> {
    type Output = Result<T, Fault>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(work) = &mut self.work else {
            return Poll::Ready(Err(Error::internal("a request was asked for its reply twice").into()));
        };
        let done = std::task::ready!(work.as_mut().poll(cx));
        self.work = None;
        Poll::Ready(done.map_err(|_| Error::internal("a handler panicked").into()))
    }
}

impl<T: Send + 'static> Drop for Carried<T> {
    fn drop(&mut self) {
        let Some(work) = self.work.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (id, held, most) = (Arc::clone(&self.id), Arc::clone(&self.held), self.most);
        runtime.spawn(async move {
            match tokio::time::timeout(most, work).await {
                Ok(Ok(_)) => tracing::debug!(%id, "a request without a client came to its end"),
                Ok(Err(_)) => tracing::error!(%id, "a handler panicked"),
                Err(_) => tracing::warn!(%id, "a request without a client took too long and was given up"),
            }
            drop(held);
        });
    }
}

/// How long a request may take whose body is handed on in pieces; each piece has its own limit besides.
const UPLOAD: Duration = Duration::from_secs(6 * 60 * 60);

#[cfg(test)]
mod tests;
