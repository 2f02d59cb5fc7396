//! The route table: the one place where the types of handlers are erased.

use std::{collections::BTreeMap, future::Future, marker::PhantomData, sync::Arc};

use api::Verb;
use bytes::Bytes;
use gate::{Answer, Backend, Call, Endpoint, Error, FieldType, LeaseCall, Matched, RotateCall, RouteInfo, TendCall};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use storage::BoxFuture;

use crate::{Cx, Due, Engine, FromPath, IntoAnswer, Lease, Opening, Scope, fields, input};

type Erased<E, R> = Arc<dyn Fn(Arc<E>, Call) -> BoxFuture<'static, Result<R, Error>> + Send + Sync>;

struct Entry<E> {
    info: RouteInfo,
    captures: usize,
    handler: Erased<E, Answer>,
    exists: Option<Erased<E, bool>>,
}

/// What an engine answers: verbs and patterns with their handlers, in the order in which they are tried.
pub struct Routes<E> {
    entries: Vec<Entry<E>>,
}

impl<E> Default for Routes<E> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

impl<E: Engine> Routes<E> {
    /// Adds a route. `{name}` in the pattern captures a segment, a last `{path...}` the rest (which may be empty).
    pub fn on<M: 'static>(
        mut self,
        verb: Verb,
        pattern: &'static str,
        summary: &'static str,
        handler: impl Handler<E, M>,
    ) -> Self {
        let handler = Arc::new(handler);
        let (fields, types) = (handler.fields(), handler.types());
        let info = RouteInfo {
            verb,
            pattern,
            summary,
            open: false,
            sudo: false,
            existence: false,
            only_reads: false,
            clear: &[],
            fields,
            types,
        };
        let captures = handler.captures();
        let handler: Erased<E, Answer> = Arc::new(move |engine, call| handler.answer(engine, call));
        self.entries.push(Entry { info, captures, handler, exists: None });
        self
    }

    /// The route just added answers without a token.
    pub fn open(mut self) -> Self {
        self.last(|entry| entry.info.open = true);
        self
    }

    /// The route just added needs the `sudo` capability.
    pub fn sudo(mut self) -> Self {
        self.last(|entry| entry.info.sudo = true);
        self
    }

    /// The route just added only reads what is stored: its handler writes nothing, makes no intent and reaches nothing
    /// outside. It is then called before its first audit entry is written for good, and what it answers is held back
    /// until both entries are. What it writes all the same is refused.
    pub fn only_reads(mut self) -> Self {
        self.last(|entry| entry.info.only_reads = true);
        self
    }

    /// These top-level keys of the reply of the route just added stand in clear in the audit log: issued names, serial
    /// numbers; never values.
    pub fn clear(mut self, keys: &'static [&'static str]) -> Self {
        self.last(|entry| entry.info.clear = keys);
        self
    }

    /// A write to the route just added is a creation unless `exists` finds the target.
    pub fn exists<P, F, Fut>(mut self, exists: F) -> Self
    where
        P: FromPath + 'static,
        F: Fn(Cx<E>, P) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<bool, Error>> + Send + 'static,
    {
        let exists = Arc::new(exists);
        let erased: Erased<E, bool> = Arc::new(move |engine, call| {
            let exists = Arc::clone(&exists);
            Box::pin(async move {
                let at = P::from_path(&call.endpoint.captures)?;
                exists(Cx::new(engine, call, Arc::default()), at).await
            })
        });
        self.last(|entry| {
            entry.info.existence = true;
            entry.exists = Some(erased);
        });
        self
    }

    fn last(&mut self, change: impl FnOnce(&mut Entry<E>)) {
        if let Some(entry) = self.entries.last_mut() {
            change(entry);
        }
    }
}

/// A function that answers a route: `(Cx<E>, P)` or `(Cx<E>, P, B)`, where `P` comes from the path and `B` from the
/// body (or the query).
pub trait Handler<E, M>: Send + Sync + 'static {
    /// How many captures the pattern must have.
    fn captures(&self) -> usize;

    /// The fields of the input, where a struct describes it.
    fn fields(&self) -> &'static [&'static str] {
        &[]
    }

    /// Tells what each of the fields takes.
    fn types(&self) -> fn() -> Vec<FieldType> {
        Vec::new
    }

    /// Answers a call.
    fn answer(self: &Arc<Self>, engine: Arc<E>, call: Call) -> BoxFuture<'static, Result<Answer, Error>>;
}

impl<E, P, R, X, F, Fut> Handler<E, PhantomData<(P, R, X)>> for F
where
    E: Engine,
    P: FromPath + 'static,
    R: IntoAnswer + 'static,
    X: Into<Error> + 'static,
    F: Fn(Cx<E>, P) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<R, X>> + Send + 'static,
{
    fn captures(&self) -> usize {
        P::CAPTURES
    }

    fn answer(self: &Arc<Self>, engine: Arc<E>, call: Call) -> BoxFuture<'static, Result<Answer, Error>> {
        let handler = Arc::clone(self);
        Box::pin(async move {
            let at = P::from_path(&call.endpoint.captures)?;
            let warnings = Arc::new(Mutex::new(Vec::new()));
            let result = handler(Cx::new(engine, call, Arc::clone(&warnings)), at).await;
            finish(result, &warnings)
        })
    }
}

impl<E, P, B, R, X, F, Fut> Handler<E, PhantomData<(P, B, R, X)>> for F
where
    E: Engine,
    P: FromPath + 'static,
    B: DeserializeOwned + Send + 'static,
    R: IntoAnswer + 'static,
    X: Into<Error> + 'static,
    F: Fn(Cx<E>, P, B) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<R, X>> + Send + 'static,
{
    fn captures(&self) -> usize {
        P::CAPTURES
    }

    fn fields(&self) -> &'static [&'static str] {
        fields::of::<B>()
    }

    fn types(&self) -> fn() -> Vec<FieldType> {
        fields::types_of::<B>
    }

    fn answer(self: &Arc<Self>, engine: Arc<E>, call: Call) -> BoxFuture<'static, Result<Answer, Error>> {
        let handler = Arc::clone(self);
        Box::pin(async move {
            let at = P::from_path(&call.endpoint.captures)?;
            let (body, unknown) = input::parse_input(&source(&call)?)?;
            let warnings = Arc::new(Mutex::new(Vec::from_iter(input::unknown_warning(&unknown))));
            let result = handler(Cx::new(engine, call, Arc::clone(&warnings)), at, body).await;
            finish(result, &warnings)
        })
    }
}

/// Where the input of a handler comes from: a body if there is one, else the query.
fn source(call: &Call) -> Result<Bytes, Error> {
    let request = &call.request;
    if request.body.is_empty() { input::query_body(&request.query) } else { Ok(request.body.clone()) }
}

fn finish<R: IntoAnswer, X: Into<Error>>(result: Result<R, X>, warnings: &Mutex<Vec<String>>) -> Result<Answer, Error> {
    let mut answer = result.map_err(Into::into)?.into_answer()?;
    answer.warnings.append(&mut warnings.lock());
    Ok(answer)
}

/// Makes the engine of a mount.
pub(crate) fn open<E: Engine>(opening: Opening) -> Arc<dyn Backend> {
    backend(E::open(opening))
}

/// An engine with the types of its routes erased, for engines that are part of the program itself and hold its parts.
pub fn backend<E: Engine>(engine: E) -> Arc<dyn Backend> {
    let entries = E::routes().entries;
    let infos = entries.iter().map(|entry| entry.info.clone()).collect();
    let reads = |entry: &Entry<E>| matches!(entry.info.verb, Verb::List | Verb::Read | Verb::Scan);
    debug_assert!(entries.iter().all(|entry| !entry.info.only_reads || reads(entry)));
    debug_assert!(entries.iter().all(|entry| entry.captures == entry.info.pattern.matches('{').count()));
    Arc::new(Table { engine: Arc::new(engine), entries, infos })
}

struct Table<E> {
    engine: Arc<E>,
    entries: Vec<Entry<E>>,
    infos: Vec<RouteInfo>,
}

impl<E: Engine> Backend for Table<E> {
    fn matches(&self, verb: Verb, path: &str) -> Matched {
        let path = if matches!(verb, Verb::List | Verb::Scan) { path.strip_suffix('/').unwrap_or(path) } else { path };
        let mut found = Matched::Nothing;
        for (index, info) in self.infos.iter().enumerate() {
            if info.verb != verb && !matches!(found, Matched::Nothing) {
                continue;
            }
            let Some(captures) = input::fit(info.pattern, path) else { continue };
            if info.verb == verb {
                let RouteInfo { open, sudo, existence, only_reads, clear, .. } = *info;
                return Matched::Found(Endpoint { index, open, sudo, existence, only_reads, clear, captures });
            }
            found = Matched::OtherVerb;
        }
        found
    }

    fn exists(&self, call: Call) -> BoxFuture<'_, Result<bool, Error>> {
        let exists = self.entries.get(call.endpoint.index).and_then(|entry| entry.exists.clone());
        match exists {
            Some(exists) => exists(Arc::clone(&self.engine), call),
            None => Box::pin(async { Ok(true) }),
        }
    }

    fn role(&self, call: Call) -> BoxFuture<'_, Result<String, Error>> {
        Box::pin(E::role(Cx::new(Arc::clone(&self.engine), call, Arc::default())))
    }

    fn metadata(&self, call: Call) -> BoxFuture<'_, Result<Option<BTreeMap<String, String>>, Error>> {
        Box::pin(E::metadata(Cx::new(Arc::clone(&self.engine), call, Arc::default())))
    }

    fn hides_fields(&self) -> bool {
        E::HIDES_FIELDS
    }

    fn call(&self, call: Call) -> BoxFuture<'_, Result<Answer, Error>> {
        match self.entries.get(call.endpoint.index) {
            Some(entry) => (entry.handler)(Arc::clone(&self.engine), call),
            None => Box::pin(async { Err(Error::internal("a call came with a route of another engine")) }),
        }
    }

    fn revoke(&self, call: LeaseCall) -> BoxFuture<'_, Result<(), Error>> {
        let (scope, lease) = self.lease(call);
        Box::pin(E::revoke(scope, lease))
    }

    fn renew(&self, call: LeaseCall) -> BoxFuture<'_, Result<(), Error>> {
        let (scope, lease) = self.lease(call);
        Box::pin(E::renew(scope, lease))
    }

    fn rotate(&self, call: RotateCall) -> BoxFuture<'_, Result<(), Error>> {
        let scope = Scope::new(Arc::clone(&self.engine), call.view, call.mount, call.services);
        Box::pin(E::rotate(scope, Due { id: call.id, failures: call.failures }))
    }

    fn is_tended(&self) -> bool {
        E::TENDED
    }

    fn tend(&self, call: TendCall) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(E::tend(Scope::new(Arc::clone(&self.engine), call.view, call.mount, call.services)))
    }

    fn routes(&self) -> &[RouteInfo] {
        &self.infos
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.engine.close())
    }
}

impl<E: Engine> Table<E> {
    fn lease(&self, call: LeaseCall) -> (Scope<E>, Lease) {
        let lease = Lease { id: call.lease, data: call.data, until: call.until, pending: call.pending };
        (Scope::new(Arc::clone(&self.engine), call.view, call.mount, call.services), lease)
    }
}
