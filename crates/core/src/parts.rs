//! Requests that are a part of another one: a batch, a copy, a reference. Each goes through the rooms by itself and has
//! its own two audit entries; what it writes is committed with the whole.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use api::ReqPath;
use bytes::Bytes;
use gate::{
    Admitted, Call, Error, Inline, MAX_DEPTH, MAX_PARTS, Neighbour, PartAnswer, PartId, PartRequest, Request, Route,
};
use parking_lot::Mutex;
use storage::Tx;

use crate::{
    Content, Success,
    audit::Recorder,
    pipeline::success,
    services::{RequestServices, Router},
};

/// The parts of one request, in the order in which they were admitted.
#[derive(Default)]
pub(crate) struct Parts {
    admitted: Mutex<Vec<Part>>,
    /// How many there were, on all tries and with those that were turned away.
    made: AtomicUsize,
}

struct Part {
    recorder: Recorder,
    /// Taken out while its engine answers.
    admitted: Option<Admitted>,
    outcome: Outcome,
}

/// How far a part came.
enum Outcome {
    /// Its right was asked for and nothing else.
    Unasked,
    Answered(Box<Success>),
    Failed(Error),
}

impl Parts {
    /// Lets a part into the rooms. One that is turned away is written down at once.
    pub(crate) async fn admit(
        &self,
        services: &Arc<RequestServices>,
        call: &Call,
        part: PartRequest,
    ) -> Result<PartId, Error> {
        if call.depth >= MAX_DEPTH {
            return Err(Error::invalid(format!("the request leads to others more than {MAX_DEPTH} times in a row")));
        }
        let number = self.made.fetch_add(1, Ordering::Relaxed) + 1;
        if self.admitted.lock().len() >= MAX_PARTS {
            return Err(Error::invalid(format!("the request leads to more than {MAX_PARTS} others; ask for less")));
        }
        let recorder = Recorder::new(services.running());
        let router = Router::new(services.running(), services);
        let tx = call.view.tx();
        let request = request(call, part, number)?;
        let admitted = async {
            let limited = Arc::new(request).route(&router)?.limit(&router, tx).await?;
            limited.join(call)?.authorise(&router, tx).await?.enter(&recorder).await
        };
        match admitted.await {
            Ok(admitted) => {
                let mut parts = self.admitted.lock();
                parts.push(Part { recorder, admitted: Some(admitted), outcome: Outcome::Unasked });
                Ok(PartId(parts.len() - 1))
            }
            Err(refused) => match recorder.leave(Err(refused)).await {
                Err(error) => Err(error),
                Ok(_) => Err(Error::internal("a refused part of a request came through")),
            },
        }
    }

    /// Has the engine of a part answer it.
    pub(crate) async fn answer(&self, call: &Call, part: PartId) -> Result<PartAnswer, Error> {
        let admitted = self.admitted.lock().get_mut(part.0).and_then(|part| part.admitted.take());
        let admitted = admitted.ok_or_else(|| Error::internal("there is no such part of the request"))?;
        // One that only reads gets a unit of work of its own, so that it can be held to that.
        let own;
        let tx = match admitted.facts().only_reads() {
            true => {
                own = Tx::new(Arc::clone(call.view.tx().store()));
                &own
            }
            false => call.view.tx(),
        };
        let (outcome, answer) = match admitted.call(tx).await {
            Ok(answer) if answer.lease.is_some() || answer.login.is_some() => {
                let text = "what makes leases and tokens cannot be a part of another request";
                (Outcome::Failed(Error::internal(text)), Err(Error::internal(text)))
            }
            Ok(answer) => {
                let success = success(admitted.facts(), answer);
                let answer = PartAnswer {
                    status: success.status,
                    json: json_of(&success.content),
                    warnings: success.warnings.clone(),
                };
                (Outcome::Answered(success), Ok(answer))
            }
            Err(error) => (Outcome::Failed(same(&error)), Err(error)),
        };
        if let Some(part) = self.admitted.lock().get_mut(part.0) {
            part.admitted = Some(admitted);
            part.outcome = outcome;
        }
        answer
    }

    /// Writes down how the parts ended, after the whole was committed or had `failed`.
    pub(crate) async fn leave(&self, failed: Option<&Error>) -> Result<(), Error> {
        let parts = std::mem::take(&mut *self.admitted.lock());
        for Part { recorder, admitted, outcome } in parts {
            let Some(admitted) = admitted else { continue };
            let outcome = match (outcome, failed) {
                (Outcome::Failed(error), _) => Err(admitted.refuse(error)),
                (_, Some(error)) => {
                    let why = format!("not carried out, for the request that it is a part of failed: {error}");
                    Err(admitted.refuse(Error::Invalid(why)))
                }
                (Outcome::Answered(success), None) => Ok((admitted, success)),
                (Outcome::Unasked, None) => Ok((admitted, Box::default())),
            };
            if let Err(error @ (Error::Unaudited | Error::Sealed)) = recorder.leave(outcome).await {
                return Err(error);
            }
        }
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.admitted.lock().is_empty()
    }
}

impl RequestServices {
    /// The mount of the same kind at a path.
    pub(crate) fn neighbour_of(self: &Arc<Self>, call: &Call, path: &str) -> Option<Neighbour> {
        let part = PartRequest { verb: api::Verb::Read, path: path.to_owned(), query: Vec::new(), body: Bytes::new() };
        let request = request(call, part, 0).ok()?;
        let target = Router::new(self.running(), self).find(&request).ok()?;
        let view = call.view.tx().view(Arc::clone(&target.prefix));
        let same = target.info.kind == call.mount.kind;
        same.then(|| Neighbour { mount: target.info, path: target.path, view })
    }
}

/// A part as a request: all but what it asks for is as in the whole.
fn request(call: &Call, part: PartRequest, number: usize) -> Result<Request, Error> {
    let whole = &call.request;
    let path = ReqPath::new(&part.path).map_err(|error| Error::invalid(error.to_string()))?;
    let inline = if matches!(whole.inline, Inline::LoggedIn) { Inline::LoggedIn } else { Inline::None };
    let headers = whole.headers.iter().filter(|(name, _)| name != "if-none-match").cloned().collect();
    Ok(Request {
        id: format!("{}.{number}", whole.id).into(),
        verb: part.verb,
        namespace: whole.namespace.clone(),
        path,
        query: part.query,
        body: part.body,
        upload: gate::Upload::default(),
        token: whole.token.clone(),
        wrap_ttl: whole.wrap_ttl,
        remote: whole.remote,
        headers,
        help: false,
        inline,
        received: whole.received,
    })
}

fn json_of(content: &Content) -> Bytes {
    crate::pipeline::json_of(content).cloned().unwrap_or_default()
}

/// The error once more, for the audit log.
fn same(error: &Error) -> Error {
    match error {
        Error::NotFound => Error::NotFound,
        Error::Denied(refusal) => Error::Denied(refusal.clone()),
        Error::Internal(text) => Error::Internal(text.clone()),
        error => Error::Invalid(error.to_string()),
    }
}
