//! What the server counts. Every metric is there from the start, at zero.

mod named;
mod times;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use clock::Timestamp;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use serde_json::{Value, json};

pub(crate) use self::named::{Amount, Named};
use self::times::Times;
use crate::sharded::Sharded;

/// What the name of each of our own metrics begins with.
const PREFIX: &str = "strongroom";

fn counter(name: &str, count: u64, labels: Value) -> Value {
    json!({
        "Name": name,
        "Count": count,
        "Sum": count,
        "Rate": 0,
        "Min": 0,
        "Max": 0,
        "Mean": 0,
        "Stddev": 0,
        "Labels": labels,
    })
}

/// The counters of the server.
#[derive(Default)]
pub(crate) struct Metrics {
    requests: Family<Labels, Counter>,
    /// The two counts of `requests`, which take them over when somebody asks.
    answered: Sharded,
    refused: Sharded,
    revocations: Family<Labels, Counter>,
    rotations: Family<Labels, Counter>,
    limited: Counter,
    /// Replies that were given again.
    recalled: Sharded,
    /// Counts of what Vault has a name for, too.
    pub(crate) unaudited_requests: AtomicU64,
    pub(crate) unaudited_replies: AtomicU64,
    tokens_made: AtomicU64,
    pub(crate) leases_refused: AtomicU64,
    /// How long requests took, logins apart.
    handled: Times,
    logins: Times,
}

/// What a route of the token store does with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenRoute {
    Makes,
    Renews,
}

/// A value of a moment: its name, what it is, the value.
pub(crate) type Gauged = (String, &'static str, u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum Outcome {
    #[allow(non_camel_case_types, reason = "the label as it is written")]
    failure,
    #[allow(non_camel_case_types, reason = "the label as it is written")]
    success,
}

impl Outcome {
    fn of(good: bool) -> Labels {
        Labels { outcome: if good { Self::success } else { Self::failure } }
    }
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let metrics = Self::default();
        for family in [&metrics.requests, &metrics.revocations, &metrics.rotations] {
            for good in [true, false] {
                let _ = family.get_or_create(&Outcome::of(good));
            }
        }
        metrics
    }

    /// A request came to its end after `took`. If a token was answered, `token` says by which route of the token store,
    /// or with `None` that it was a login.
    pub(crate) fn request(&self, good: bool, token: Option<Option<TokenRoute>>, took: Duration) {
        let count = if good { &self.answered } else { &self.refused };
        count.add(1);
        if matches!(token, Some(None | Some(TokenRoute::Makes))) {
            self.tokens_made.fetch_add(1, Ordering::Relaxed);
        }
        let times = if token == Some(None) { &self.logins } else { &self.handled };
        times.add(took);
    }

    /// The requests, as they are counted by now.
    fn requests(&self) -> &Family<Labels, Counter> {
        for (good, count) in [(true, &self.answered), (false, &self.refused)] {
            self.requests.get_or_create(&Outcome::of(good)).inner().store(count.sum(), Ordering::Relaxed);
        }
        &self.requests
    }

    /// What was counted under the names that Vault has for it.
    pub(crate) fn named(&self) -> Vec<Named> {
        let since = |name, help, counter: &AtomicU64| Named::since(name, help, counter.load(Ordering::Relaxed));
        let timed =
            |name, help, times: &Times| Named { name, help, labels: &[], amount: Amount::Timed(times.timing()) };
        vec![
            since("vault.audit.log_request_failure", "Requests that no audit device took", &self.unaudited_requests),
            since("vault.audit.log_response_failure", "Replies that no audit device took", &self.unaudited_replies),
            since("vault.token.creation", "Tokens that were made", &self.tokens_made),
            since("vault.quota.lease_count.violation", "Leases that a quota refused", &self.leases_refused),
            Named::since("vault.quota.rate_limit.violation", "Requests that a rate limit refused", self.limited.get()),
            timed("vault.core.handle_request", "Milliseconds that requests took, logins apart", &self.handled),
            timed("vault.core.handle_login_request", "Milliseconds that logins took", &self.logins),
        ]
    }

    pub(crate) fn revocation(&self, good: bool) {
        self.revocations.get_or_create(&Outcome::of(good)).inc();
    }

    pub(crate) fn rotation(&self, good: bool) {
        self.rotations.get_or_create(&Outcome::of(good)).inc();
    }

    /// A reply was given again, after `took`, or could not be written down.
    pub(crate) fn recalled(&self, good: bool, took: Duration) {
        self.recalled.add(1);
        self.request(good, None, took);
    }

    /// A request was refused by a rate limit.
    pub(crate) fn limited(&self) {
        self.limited.inc();
    }

    /// Everything as JSON, in the form of Vault's own memory of metrics: this process counts from its start.
    pub(crate) fn json(&self, gauges: &[Gauged], named: &[Named], now: Timestamp) -> Value {
        let gauge =
            |(name, _, value): &Gauged| json!({ "Name": format!("{PREFIX}.{name}"), "Value": value, "Labels": {} });
        let by_outcome = |name: &'static str, family: &Family<Labels, Counter>| {
            let counted = |good| {
                let outcome = if good { "success" } else { "failure" };
                counter(
                    &format!("{PREFIX}.{name}"),
                    family.get_or_create(&Outcome::of(good)).get(),
                    json!({ "outcome": outcome }),
                )
            };
            [counted(true), counted(false)]
        };
        let mut counters = Vec::new();
        counters.extend(by_outcome("requests", self.requests()));
        counters.extend(by_outcome("lease_revocations", &self.revocations));
        counters.extend(by_outcome("rotations", &self.rotations));
        counters.push(counter(&format!("{PREFIX}.rate_limited"), self.limited.get(), json!({})));
        counters.push(counter(&format!("{PREFIX}.recalled"), self.recalled.sum(), json!({})));
        let (mut gauges, mut samples) = (gauges.iter().map(gauge).collect::<Vec<_>>(), Vec::new());
        for each in named {
            each.put(&mut gauges, &mut counters, &mut samples);
        }
        json!({
            "Timestamp": now.to_string(),
            "Gauges": gauges,
            "Points": [],
            "Counters": counters,
            "Samples": samples,
        })
    }

    /// Everything in the text format of Prometheus. `gauges` are values that are known at the moment alone.
    pub(crate) fn text(&self, gauges: &[Gauged], named: &[Named]) -> Result<String, std::fmt::Error> {
        let mut registry = Registry::with_prefix(PREFIX);
        registry.register("requests", "Requests that were answered, by outcome", self.requests().clone());
        registry.register("lease_revocations", "Tries to revoke a lease, by outcome", self.revocations.clone());
        registry.register("rotations", "Tries to rotate something, by outcome", self.rotations.clone());
        registry.register("rate_limited", "Requests that a rate limit refused", self.limited.clone());
        let recalled = Counter::<u64>::default();
        recalled.inc_by(self.recalled.sum());
        registry.register("recalled", "Replies that were given again, since nothing had changed", recalled);
        for (name, help, value) in gauges {
            let gauge = Gauge::<u64, AtomicU64>::default();
            gauge.set(*value);
            registry.register(name, *help, gauge);
        }
        let mut text = named::text(named);
        encode(&mut text, &registry)?;
        Ok(text)
    }
}
