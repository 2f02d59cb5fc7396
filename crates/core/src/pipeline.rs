//! The way of a request, on a screen.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use gate::{Admitted, Answer, Body, Error, Facts, Inline, Refused, Request};
use storage::Tx;

use crate::{
    Content, Reply, Success,
    audit::Recorder,
    help,
    metrics::TokenRoute,
    namespaces::Placed,
    recall::Recalling,
    running::Running,
    services::{RequestServices, Router},
    wrapping,
};

/// What became of a request.
type Outcome = Result<(Admitted, Box<Success>), Refused>;

/// How often a request is tried when others keep changing what it read.
const TRIES: usize = 32;

impl Running {
    pub(crate) async fn serve(self: &Arc<Self>, request: Arc<Request>) -> Reply {
        if let Inline::Brings(login) = &request.inline {
            return Box::pin(self.serve_inline(&request, login)).await;
        }
        let (id, received) = (Arc::clone(&request.id), request.received);
        let of_tokens = tokens_route(request.path.as_str());
        let _guest = self.guests.enter();
        let _underway = self.in_flight.enter(&request);
        let mut recalling = self.recalling(&request);
        if let Some(recalling) = &mut recalling
            && let Some(reply) = self.recall(recalling, &request).await
        {
            return reply;
        }
        let recorder = Recorder::new(self);
        let Placed { space, request, found } = self.place(request).await;
        let services = RequestServices::for_request(self, &space, found);
        let tx = space.within(Tx::new(self.store()));
        let work = async {
            match self.admit(request, &services, &recorder, &tx).await {
                Ok(admitted) => self.answer(admitted, &services, &tx).await,
                Err(refused) => Err(refused),
            }
        };
        let outcome = match recalling.filter(Recalling::keeps) {
            Some(recalling) => Box::pin(self.witnessed(recalling, work, &recorder)).await,
            None => work.await,
        };
        let outcome = recorder.leave(outcome).await;
        if let Some(token) = services.spent_token() {
            Box::pin(self.end_spent(token)).await;
        }
        let made = outcome
            .as_ref()
            .is_ok_and(|success| success.auth.as_ref().is_some_and(|auth| !auth.client_token.is_empty()));
        self.metrics.request(outcome.is_ok(), made.then_some(of_tokens), clock::between(received, self.clock.now()));
        Reply { id, outcome, headers: services.limit_headers() }
    }

    /// Does the work of a request, and keeps the reply if that may be given again.
    async fn witnessed(
        &self,
        recalling: Recalling,
        work: impl Future<Output = Outcome>,
        recorder: &Recorder,
    ) -> Outcome {
        let (outcome, witness) = self.barrier.witness(work).await;
        if let Some((witness, (admitted, success))) = witness.zip(outcome.as_ref().ok()) {
            self.remember(recalling, witness, admitted.facts(), success, recorder);
        }
        outcome
    }

    pub(crate) async fn admit(
        self: &Arc<Self>,
        request: Arc<Request>,
        services: &Arc<RequestServices>,
        recorder: &Recorder,
        tx: &Arc<Tx>,
    ) -> Result<Admitted, Refused> {
        let router = Router::new(self, services);
        let routed = request.route(&router)?;
        let limited = routed.limit(&router, tx).await?;
        let authenticated = limited.authenticate(&router).await?;
        let permitted = authenticated.authorise(&router, tx).await?;
        permitted.enter(recorder).await
    }

    /// Calls the engine and commits, again if another request was quicker.
    pub(crate) async fn answer(
        self: &Arc<Self>,
        admitted: Admitted,
        services: &Arc<RequestServices>,
        tx: &Arc<Tx>,
    ) -> Result<(Admitted, Box<Success>), Refused> {
        for _ in 0..TRIES {
            match self.attempt(&admitted, tx).await {
                Ok(success) => {
                    if services.has_planned() {
                        self.rotations.wake();
                    }
                    if let Err(error) = services.leave_parts(None).await {
                        return Err(admitted.refuse(error));
                    }
                    return Ok((admitted, success));
                }
                Err(error) => {
                    tx.clear();
                    // A credential that was made for this try has no lease: it goes at once.
                    Box::pin(services.abandon_intents()).await;
                    if let Err(error) = services.leave_parts(Some(&error)).await {
                        return Err(admitted.refuse(error));
                    }
                    if !matches!(error, Error::Conflict) {
                        return Err(admitted.refuse(error));
                    }
                    Box::pin(self.after_conflict()).await;
                }
            }
        }
        Err(admitted.refuse(Error::Unavailable("too many requests change the same data; try again".to_owned())))
    }

    async fn attempt(self: &Arc<Self>, admitted: &Admitted, tx: &Arc<Tx>) -> Result<Box<Success>, Error> {
        let facts = admitted.facts();
        let mut answer = match facts.request().help {
            true => help::answer(facts, &self.settings.compatibility)?,
            false => admitted.call(tx).await?,
        };
        let ended = answer.ends.take();
        let (lease, login) = (answer.lease.take(), answer.login.take());
        let wrap_ttl = facts.request().wrap_ttl.or(answer.wrap_ttl);
        let mut success = success(facts, answer);
        // What few requests need is kept out of the memory that all of them take.
        if let Some(lease) = lease {
            Box::pin(self.lease(facts, tx, lease, &mut success)).await?;
        }
        if let Some(login) = login {
            Box::pin(self.login(facts, tx, login, &mut success)).await?;
        }
        if let Some(ttl) = wrap_ttl {
            success = Box::pin(wrapping::wrap(self, facts, tx, ttl, success)).await?;
        }
        let waiter = ended.map(|token| self.ending(token));
        if tx.commit().await?.is_some() && waiter.is_some() {
            self.leases.wake();
        }
        if let Some(waiter) = waiter {
            // The token is refused from the commit on; what it leased is given this long to go before the reply.
            let _ = tokio::time::timeout(ENDING, waiter).await;
        }
        Ok(success)
    }

    /// The lease that an answer asks for becomes part of the commit.
    async fn lease(
        &self,
        facts: &Facts,
        tx: &Arc<Tx>,
        grant: gate::LeaseGrant,
        success: &mut Success,
    ) -> Result<(), Error> {
        if matches!(facts.request().inline, Inline::LoggedIn) {
            // The intent is given up with the request, and what it stands for revoked.
            return Err(Error::invalid("requests with inline authentication cannot generate leases: log in for that"));
        }
        let mount = facts.mount().ok_or_else(|| Error::internal("a lease was granted without a mount"))?;
        let caller = facts.caller();
        let batch = |caller: &&Arc<gate::Caller>| caller.accessor.is_empty();
        let owned = leases::Ownership {
            mount,
            path: facts.request().path.as_str(),
            owner: caller.filter(|caller| !batch(caller)).map(|caller| caller.id.clone()),
            owner_expires: caller.filter(batch).and_then(|caller| caller.expires),
        };
        if let Some(owner) = &owned.owner {
            self.tokens.hold(tx, owner).await?;
        }
        let granted = self.leases.grant(tx, owned, grant).await?;
        success.lease_id = granted.id.to_string();
        success.renewable = granted.renewable;
        success.lease_duration = granted.duration.as_secs();
        success.warnings.extend(granted.warnings);
        Ok(())
    }
}

/// What a route of the token store does with the token that it answers; `None` for all other routes.
fn tokens_route(path: &str) -> Option<TokenRoute> {
    let inside = path.strip_prefix("auth/token/")?;
    Some(if inside.starts_with("renew") { TokenRoute::Renews } else { TokenRoute::Makes })
}

/// What an answer says by itself.
pub(crate) fn success(facts: &Facts, answer: Answer) -> Box<Success> {
    let (lease_id, left, renewable) = match answer.renewed {
        Some((id, left, renewable)) => (id.to_string(), left, renewable),
        None => (String::new(), Duration::ZERO, false),
    };
    Box::new(Success {
        content: content(answer.body),
        kept: answer.kept,
        status: answer.status,
        lease_id,
        renewable,
        lease_duration: left.as_secs(),
        warnings: answer.warnings,
        auth: answer.auth,
        wrap_info: answer.wrap_info.map(|info| *info),
        mount_type: facts.mount().map_or("", |mount| mount.kind),
        flat: answer.flat,
        headers: answer.headers,
        steady: answer.steady,
    })
}

/// How long a revocation is waited for.
const ENDING: Duration = Duration::from_secs(5);

fn content(body: Body) -> Content {
    match body {
        Body::Empty => Content::Empty,
        Body::Json(json) => Content::Data(json),
        Body::Bare(json) => Content::Bare(json),
        Body::Raw { content_type, bytes } => Content::Raw(content_type, bytes),
        Body::Stream(frames) => Content::Stream(frames.into()),
    }
}

/// The JSON of a content, if it has one.
pub(crate) fn json_of(content: &Content) -> Option<&Bytes> {
    match content {
        Content::Data(json) | Content::Bare(json) => Some(json),
        Content::Empty | Content::Raw(..) | Content::Stream(_) => None,
    }
}
