//! Where the keys of tokens come from, and how long what was fetched is believed.
//!
//! Fetched keys are looked at for [`REFRESH`]; then the next login fetches them anew, so a key that its issuer removed
//! stops working within that time. A token whose key is not known leads to a fetch too, but at most one begins every
//! [`PAUSE`], however many such tokens come. One fetch at a time serves all who wait. While an issuer cannot be
//! reached, known keys go on working until they are [`MAX_STALENESS`] old; then logins fail until it is back.

use std::{sync::Arc, time::Duration};

use clock::{Clock, Timestamp};
use futures::{
    FutureExt,
    future::{BoxFuture, Shared, join_all},
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::{
    fetch::{Endpoint, FetchError, Fetcher},
    key::{Key, KeyError},
    refusal::Refusal,
    token::{SignedBytes, Unverified},
};

/// Where the keys of a mount come from, as it is configured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Source {
    /// Keys given in PEM form.
    Given(Vec<String>),
    /// Published keys.
    Published(Vec<Endpoint>),
}

/// The keys of a mount.
pub(crate) enum Keys {
    /// Given by hand.
    Given(Vec<Key>),
    /// Fetched.
    Published(Vec<Arc<Remote>>),
}

/// Why a source cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SourceError {
    /// A given key.
    #[error("error parsing public key: {0}")]
    Given(#[from] KeyError),
    /// A published one.
    #[error("{0}")]
    Published(#[from] FetchError),
}

impl Keys {
    /// Checks the configuration; fetches nothing yet.
    pub(crate) fn new(source: &Source, clock: &Clock) -> Result<Self, SourceError> {
        match source {
            Source::Given(texts) => {
                let mut keys = Vec::new();
                for text in texts {
                    keys.append(&mut Key::from_pem(text)?);
                }
                Ok(Self::Given(keys))
            }
            Source::Published(endpoints) => {
                let remote = |endpoint: &Endpoint| Remote::new(endpoint.clone(), clock.clone()).map(Arc::new);
                Ok(Self::Published(endpoints.iter().map(remote).collect::<Result<_, _>>()?))
            }
        }
    }

    /// Fetches once from everywhere, to find mistakes when they are made.
    pub(crate) async fn try_out(&self) -> Result<(), FetchError> {
        if let Self::Published(remotes) = self {
            for remote in remotes {
                remote.fetcher.keys().await?;
            }
        }
        Ok(())
    }

    /// The issuer that the source implies.
    pub(crate) fn issuer(&self) -> Option<&str> {
        match self {
            Self::Published(remotes) => remotes.first().and_then(|remote| remote.fetcher.issuer()),
            Self::Given(_) => None,
        }
    }

    /// Checks the signature of `token` with the keys that are known, or, if none of them made it, with newer ones.
    pub(crate) async fn verify<'a>(&self, token: &Unverified<'a>) -> Result<SignedBytes<'a>, Refusal> {
        let remotes = match self {
            Self::Given(keys) => return token.verify(keys),
            Self::Published(remotes) => remotes,
        };
        for remote in remotes {
            if let Some(keys) = remote.fresh()
                && let Ok(signed) = token.verify(&keys)
            {
                return Ok(signed);
            }
        }
        let answers = join_all(remotes.iter().map(|remote| remote.verify(token))).await;
        let mut refusal = Refusal::KeyUnknown;
        for answer in answers {
            match (answer, &refusal) {
                (Ok(signed), _) => return Ok(signed),
                // Of several reasons the one that says most: a wrong signature, then an outage, then an unknown key.
                (Err(Refusal::SignatureInvalid), _) => refusal = Refusal::SignatureInvalid,
                (Err(other @ Refusal::KeysUnavailable(_)), Refusal::KeyUnknown) => refusal = other,
                (Err(_), _) => {}
            }
        }
        Err(refusal)
    }
}

/// How long fetched keys are believed without asking again. A removed key works at most this long.
pub(crate) const REFRESH: Duration = Duration::from_secs(5 * 60);
/// The time between the beginnings of two fetches.
pub(crate) const PAUSE: Duration = Duration::from_secs(5);
/// How long known keys work while the issuer cannot be reached.
pub(crate) const MAX_STALENESS: Duration = Duration::from_secs(60 * 60);
/// How long after a failed fetch logins with known keys no longer wait for the next one.
const AFTERMATH: Duration = Duration::from_secs(30);

/// One place that publishes keys, and what is known of them.
pub(crate) struct Remote {
    fetcher: Fetcher,
    clock: Clock,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    began: Option<Timestamp>,
    failure: Option<(Timestamp, FetchError)>,
    flight: Option<Flight>,
}

#[derive(Clone)]
struct Held {
    keys: Arc<[Key]>,
    at: Timestamp,
}

type Flight = Shared<BoxFuture<'static, ()>>;

/// What to do about a token that the fresh keys do not explain.
enum Step {
    Wait(Flight),
    Use(Arc<[Key]>),
    Refuse(Refusal),
}

impl Remote {
    fn new(endpoint: Endpoint, clock: Clock) -> Result<Self, FetchError> {
        Ok(Self { fetcher: Fetcher::new(endpoint, clock.clone())?, clock, state: Arc::default() })
    }

    /// The keys, if they need not be asked for again.
    fn fresh(&self) -> Option<Arc<[Key]>> {
        let now = self.clock.now();
        let state = self.state.lock();
        state.held.as_ref().filter(|held| clock::between(held.at, now) < REFRESH).map(|held| Arc::clone(&held.keys))
    }

    /// The keys, if they may still be used.
    fn usable(&self) -> Option<Arc<[Key]>> {
        let now = self.clock.now();
        let state = self.state.lock();
        let held = state.held.as_ref().filter(|held| clock::between(held.at, now) < MAX_STALENESS);
        held.map(|held| Arc::clone(&held.keys))
    }

    async fn verify<'a>(&self, token: &Unverified<'a>) -> Result<SignedBytes<'a>, Refusal> {
        // Checked outside the lock: signatures cost time.
        let before = self.usable().map(|keys| token.verify(&keys));
        let good = matches!(before, Some(Ok(_)));
        match self.next_step(good) {
            Step::Use(keys) => token.verify(&keys),
            Step::Refuse(refusal) => Err(match before {
                Some(Err(known)) => known,
                _ => refusal,
            }),
            Step::Wait(flight) => {
                flight.await;
                match self.usable() {
                    Some(keys) => token.verify(&keys),
                    None => Err(self.unavailable()),
                }
            }
        }
    }

    /// Begins or joins a fetch where one is needed. `good` says whether the keys held explain the token.
    fn next_step(&self, good: bool) -> Step {
        let now = self.clock.now();
        let within = |since: Option<Timestamp>, span| since.is_some_and(|since| clock::between(since, now) < span);
        let mut state = self.state.lock();
        if good && let Some(held) = state.held.clone() {
            if within(Some(held.at), REFRESH) {
                return Step::Use(held.keys);
            }
            // The issuer was just found to be out: do not let every login wait for the next try.
            if within(state.failure.as_ref().map(|(at, _)| *at), AFTERMATH) {
                if state.flight.is_none() && !within(state.began, PAUSE) {
                    drop(self.begin(&mut state, now));
                }
                return Step::Use(held.keys);
            }
        }
        if let Some(flight) = &state.flight {
            return Step::Wait(flight.clone());
        }
        if within(state.began, PAUSE) {
            return Step::Refuse(match (&state.held, &state.failure) {
                (_, Some((_, error))) => Refusal::KeysUnavailable(error.to_string()),
                (Some(_), None) => Refusal::KeyUnknown,
                (None, None) => Refusal::KeysUnavailable("the keys are being fetched".to_owned()),
            });
        }
        Step::Wait(self.begin(&mut state, now))
    }

    /// Starts a fetch that ends by itself, whoever stops waiting for it.
    fn begin(&self, state: &mut State, now: Timestamp) -> Flight {
        let (fetcher, clock, shared) = (self.fetcher.clone(), self.clock.clone(), Arc::clone(&self.state));
        let work = async move {
            let outcome = fetcher.keys().await;
            let mut state = shared.lock();
            state.flight = None;
            match outcome {
                Ok(keys) => {
                    // Dated to the beginning: what the issuer removed since then may still be among them.
                    state.held = Some(Held { keys: keys.into(), at: now });
                    state.failure = None;
                }
                Err(error) => {
                    tracing::warn!(%error, "the keys of an issuer could not be fetched");
                    state.failure = Some((clock.now(), error));
                }
            }
        };
        let flight = work.boxed().shared();
        state.began = Some(now);
        state.flight = Some(flight.clone());
        tokio::spawn(flight.clone());
        flight
    }

    fn unavailable(&self) -> Refusal {
        let state = self.state.lock();
        let why = state.failure.as_ref().map_or_else(String::new, |(_, error)| error.to_string());
        Refusal::KeysUnavailable(why)
    }
}
