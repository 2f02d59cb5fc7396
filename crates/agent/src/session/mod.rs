//! The run's dealings with the server: log in, fetch, keep alive, rotate, revoke.
//!
//! One token for this run alone, tied to this process, and everything fetched with it: revoking it ends it all. Nothing
//! that goes wrong while the program runs stops the program.

mod fetch;
mod liveness;
mod login;
mod rotate;
#[cfg(test)]
mod tests;
mod wants;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    sync::Arc,
    time::Duration,
};

use client::Client;
use clock::{Clock, Timestamp};
use serde_json::json;

use self::{
    fetch::{Fetched, Lease, Reader},
    liveness::Liveness,
    wants::{Values, Wants},
};
use crate::{
    manifest::{Bound, Manifest},
    reference::{Data, Source},
    supervise::{Event, Exit, Handle, say},
};

/// Everything a run needs to know.
pub struct Plan {
    /// The server, with the caller's own token if there is one.
    pub client: Client,
    /// What is wanted, and how.
    pub manifest: Manifest,
    /// The program and its arguments.
    pub command: Vec<OsString>,
    /// The caller's environment, references included.
    pub vars: Vec<(OsString, OsString)>,
    /// The time.
    pub clock: Clock,
}

impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plan").field("client", &self.client).finish_non_exhaustive()
    }
}

/// Runs the plan to its end. To be handed to [`crate::supervise::guard`]; brings its own runtime.
pub fn run(plan: Plan, handle: Handle) {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(attend(plan, handle)),
        Err(error) => handle.refuse(Exit::NOT_STARTED, format!("the session could not start: {error}")),
    }
}

/// As [`run`], for a caller that has a runtime.
pub async fn attend(plan: Plan, mut handle: Handle) {
    let wants = match Wants::gather(plan.vars.clone(), &plan.manifest) {
        Ok(wants) => wants,
        Err(why) => return handle.refuse(Exit::NOT_STARTED, why),
    };
    let mut session = Session::new(plan, wants);
    let prepared = tokio::select! {
        prepared = session.prepare() => prepared,
        // Only an end can come before the start.
        _ = handle.event() => return session.finish().await,
    };
    let spec =
        prepared.and_then(|()| session.wants.compose(&session.plan.command, &session.plan.manifest, &session.values()));
    match spec {
        Ok(spec) => {
            handle.start(spec);
            session.keep(&mut handle).await;
        }
        Err(why) => handle.refuse(Exit::NOT_STARTED, format!("{why}; the program was not started")),
    }
    session.finish().await;
}

struct Session {
    plan: Plan,
    wants: Wants,
    reader: Reader,
    /// `None` where nothing is wanted, and so no login needed.
    token: Option<Token>,
    /// Earlier tokens that could not be given up yet, because the program still uses what came with them.
    old_tokens: Vec<Token>,
    secrets: BTreeMap<Source, Held>,
    /// When the last rotation was carried out, and since when the next one is due.
    rotated: Option<Timestamp>,
    pending: Option<Timestamp>,
    /// When secrets without a lease are read again.
    next_refresh: Option<Timestamp>,
    trouble: Trouble,
}

/// A token and what is known of its end.
struct Token {
    client: Client,
    duration: Duration,
    renewable: bool,
    due: Option<Timestamp>,
    attempt: u32,
    liveness: Option<Liveness>,
}

/// One secret: what the program has, and what is to come.
struct Held {
    data: Arc<Data>,
    /// Fetched, different, and not yet with the program.
    fresh: Option<Arc<Data>>,
    lease: Option<Lease>,
    /// Leases of values that the program still has, or had.
    old_leases: Vec<String>,
    /// When the lease, or the value itself, wants attention.
    due: Option<Timestamp>,
    attempt: u32,
}

impl Session {
    fn new(plan: Plan, wants: Wants) -> Self {
        Self {
            plan,
            wants,
            reader: Reader::default(),
            token: None,
            old_tokens: Vec::new(),
            secrets: BTreeMap::new(),
            rotated: None,
            pending: None,
            next_refresh: None,
            trouble: Trouble::default(),
        }
    }

    /// Everything before the start: a token, its tie, all values.
    async fn prepare(&mut self) -> Result<(), String> {
        let sources = self.wants.sources();
        if sources.is_empty() {
            return Ok(());
        }
        // Kept before it is tied: whatever ends the run from here on gives it back.
        let token = self.log_in().await?;
        let token = self.token.insert(token);
        tie(&self.plan, token).await?;
        let client = token.client.clone();
        for source in sources {
            let fetched = self.reader.read(&client, &source).await?;
            let held = self.hold(fetched);
            self.secrets.insert(source, held);
        }
        self.plan_refresh();
        Ok(())
    }

    async fn log_in(&self) -> Result<Token, String> {
        let mut auth = login::login(&self.plan.client, &self.plan.manifest.login).await?;
        let client = self.plan.client.with_token(login::token(&mut auth));
        let duration = Duration::from_secs(auth.lease_duration);
        let due = self.two_thirds(duration);
        Ok(Token { client, duration, renewable: auth.renewable, due, attempt: 0, liveness: None })
    }

    /// Logs in and ties the token.
    async fn enter(&self) -> Result<Token, String> {
        let mut token = self.log_in().await?;
        if let Err(why) = tie(&self.plan, &mut token).await {
            self.give_up(&token).await;
            return Err(why);
        }
        Ok(token)
    }

    fn hold(&self, fetched: Fetched) -> Held {
        let due = self.due(&fetched);
        Held {
            data: Arc::new(fetched.data),
            fresh: None,
            lease: fetched.lease,
            old_leases: Vec::new(),
            due,
            attempt: 0,
        }
    }

    /// When a value just read wants attention.
    fn due(&self, fetched: &Fetched) -> Option<Timestamp> {
        match (&fetched.lease, fetched.changes_in) {
            (Some(lease), _) => self.two_thirds(lease.duration),
            // A moment later than promised, so that the new value is there.
            (None, Some(wait)) => Some(clock::after(self.now(), wait + Duration::from_secs(1))),
            (None, None) => None,
        }
    }

    /// What the program has, or is to get.
    fn values(&self) -> Values {
        let value = |held: &Held| held.fresh.as_ref().unwrap_or(&held.data).clone();
        self.secrets.iter().map(|(source, held)| (source.clone(), value(held))).collect()
    }

    /// Waits for what is due and does it, until the program has ended.
    async fn keep(&mut self, handle: &mut Handle) {
        loop {
            let clock = self.plan.clock.clone();
            let due = self.next_due();
            let lost = tokio::select! {
                event = handle.event() => match event {
                    Some(Event::Ended(_) | Event::Interrupted) | None => return,
                    Some(_) => continue,
                },
                () = wait_until(&clock, due) => false,
                () = token_lost(self.token.as_mut()) => true,
            };
            tokio::select! {
                event = handle.event() => match event {
                    Some(Event::Ended(_) | Event::Interrupted) | None => return,
                    Some(_) => {}
                },
                () = self.maintain(lost) => {}
            }
            if self.rotation_is_due() && !self.rotate(handle).await {
                return;
            }
        }
    }

    fn next_due(&self) -> Option<Timestamp> {
        let token = self.token.as_ref().and_then(|token| token.due);
        let secrets = self.secrets.values().filter_map(|held| held.due);
        let rotation = self.rotation_due();
        secrets.chain(token).chain(self.next_refresh).chain(rotation).min()
    }

    fn now(&self) -> Timestamp {
        self.plan.clock.now()
    }

    /// When two thirds of a life are over. `None` for an endless one.
    fn two_thirds(&self, life: Duration) -> Option<Timestamp> {
        (!life.is_zero()).then(|| clock::after(self.now(), life * 2 / 3))
    }

    /// Everything is over: give back what was obtained, within a bound.
    async fn finish(mut self) {
        let tokens: Vec<Token> = self.token.take().into_iter().chain(std::mem::take(&mut self.old_tokens)).collect();
        futures::future::join_all(tokens.iter().map(|token| self.give_up(token))).await;
    }

    /// Revokes a token and with it all that it leased. Only then is its stream closed.
    async fn give_up(&self, token: &Token) {
        let mut last = None;
        let why = match tokio::time::timeout(REVOCATION, revoke(token, &mut last)).await {
            Ok(Ok(())) => return,
            Ok(Err(why)) => why,
            Err(_) => last.unwrap_or_else(|| format!("no answer within {} s", REVOCATION.as_secs())),
        };
        let end = if token.liveness.is_some() {
            format!("the server revokes them {} s after this process has ended", self.plan.manifest.run.grace.as_secs())
        } else {
            format!("they end by themselves within {} s", token.duration.as_secs())
        };
        say(&format_args!("the credentials of this run could not be revoked ({why}); {end}"));
    }
}

/// Ties a token to this process, as far as the run wants it and the server can.
async fn tie(plan: &Plan, token: &mut Token) -> Result<(), String> {
    let run = &plan.manifest.run;
    if run.bound == Bound::Off {
        return Ok(());
    }
    match Liveness::attach(token.client.clone(), run.grace).await {
        Ok(liveness) => token.liveness = Some(liveness),
        Err(error) if run.bound == Bound::Auto && error.status().is_some() => {
            say(&format_args!(
                "the server does not tie this token to the process ({error}); if the machine dies, the credentials live until their leases end"
            ));
        }
        Err(error) => return Err(format!("tying the token to this process: {}", explain(&error))),
    }
    Ok(())
}

/// Revokes a token, again and again while the server cannot be reached or is not ready: that may be over in a moment, and
/// to revoke twice does no harm. `last` says why it has not succeeded yet.
async fn revoke(token: &Token, last: &mut Option<String>) -> Result<(), String> {
    loop {
        let error = match token.client.write("auth/token/revoke-self", &json!({})).await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        match error.status() {
            // It is gone already, and that is what we want.
            Some(403) => return Ok(()),
            None | Some(429 | 500..) => *last = Some(explain(&error)),
            Some(_) => return Err(explain(&error)),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// One line when trouble begins and one when it is over, however often it is tried in between.
#[derive(Default)]
struct Trouble(BTreeSet<String>);

impl Trouble {
    fn begins(&mut self, what: &str, why: &str) {
        if self.0.insert(what.to_owned()) {
            say(&format_args!("{what}: {why}; the program keeps running, trying again"));
        }
    }

    fn ends(&mut self, what: &str) {
        if self.0.remove(what) {
            say(&format_args!("{what}: works again"));
        }
    }
}

async fn wait_until(clock: &Clock, due: Option<Timestamp>) {
    match due {
        Some(due) => clock.sleep_until(due).await,
        None => std::future::pending().await,
    }
}

async fn token_lost(token: Option<&mut Token>) {
    match token.and_then(|token| token.liveness.as_mut()) {
        Some(liveness) => liveness.lost().await,
        None => std::future::pending().await,
    }
}

/// 1 s, doubling up to 1 min, minus up to a quarter.
fn back_off(attempt: u32) -> Duration {
    let wait = Duration::from_secs(1 << attempt.min(6)).min(Duration::from_secs(60));
    let quarter = u64::try_from(wait.as_millis() / 4).unwrap_or(0).max(1);
    wait - Duration::from_millis(RandomState::new().build_hasher().finish() % quarter)
}

/// An error of the client with its causes and the remedy.
fn explain(error: &client::Error) -> String {
    let text = crate::supervise::chain(error);
    match error.remedy() {
        Some(remedy) => format!("{text} ({remedy})"),
        None => text,
    }
}

/// How long a revocation may take at the end.
const REVOCATION: Duration = Duration::from_secs(5);
/// How long to wait before it is tried again.
const AGAIN: Duration = Duration::from_millis(250);
