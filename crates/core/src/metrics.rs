//! What the server counts. Every metric is there from the start, at zero.

use std::sync::atomic::AtomicU64;

use clock::Timestamp;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use serde_json::{Value, json};

/// What the name of each metric begins with.
const PREFIX: &str = "strongroom";

fn counter(name: &str, count: u64, labels: Value) -> Value {
    json!({
        "Name": format!("{PREFIX}.{name}"),
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
    /// The two counters of `requests`, which are counted too often to be looked up.
    answered: Counter,
    refused: Counter,
    revocations: Family<Labels, Counter>,
    rotations: Family<Labels, Counter>,
    limited: Counter,
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
        let requests = Family::<Labels, Counter>::default();
        let counter = |good| requests.get_or_create(&Outcome::of(good)).clone();
        let (answered, refused) = (counter(true), counter(false));
        let metrics = Self { requests, answered, refused, ..Self::default() };
        for family in [&metrics.revocations, &metrics.rotations] {
            for good in [true, false] {
                let _ = family.get_or_create(&Outcome::of(good));
            }
        }
        metrics
    }

    pub(crate) fn request(&self, good: bool) {
        let counter = if good { &self.answered } else { &self.refused };
        counter.inc();
    }

    pub(crate) fn revocation(&self, good: bool) {
        self.revocations.get_or_create(&Outcome::of(good)).inc();
    }

    pub(crate) fn rotation(&self, good: bool) {
        self.rotations.get_or_create(&Outcome::of(good)).inc();
    }

    /// A request was refused by a rate limit.
    pub(crate) fn limited(&self) {
        self.limited.inc();
    }

    /// Everything as JSON, in the form of Vault's own memory of metrics: this process counts from its start.
    pub(crate) fn json(&self, gauges: &[Gauged], now: Timestamp) -> Value {
        let gauge =
            |(name, _, value): &Gauged| json!({ "Name": format!("{PREFIX}.{name}"), "Value": value, "Labels": {} });
        let by_outcome = |name: &'static str, family: &Family<Labels, Counter>| {
            let counted = |good| {
                let outcome = if good { "success" } else { "failure" };
                counter(name, family.get_or_create(&Outcome::of(good)).get(), json!({ "outcome": outcome }))
            };
            [counted(true), counted(false)]
        };
        let mut counters = Vec::new();
        counters.extend(by_outcome("requests", &self.requests));
        counters.extend(by_outcome("lease_revocations", &self.revocations));
        counters.extend(by_outcome("rotations", &self.rotations));
        counters.push(counter("rate_limited", self.limited.get(), json!({})));
        json!({
            "Timestamp": now.to_string(),
            "Gauges": gauges.iter().map(gauge).collect::<Vec<_>>(),
            "Points": [],
            "Counters": counters,
            "Samples": [],
        })
    }

    /// Everything in the text format of Prometheus. `gauges` are values that are known at the moment alone.
    pub(crate) fn text(&self, gauges: &[Gauged]) -> Result<String, std::fmt::Error> {
        let mut registry = Registry::with_prefix(PREFIX);
        registry.register("requests", "Requests that were answered, by outcome", self.requests.clone());
        registry.register("lease_revocations", "Tries to revoke a lease, by outcome", self.revocations.clone());
        registry.register("rotations", "Tries to rotate something, by outcome", self.rotations.clone());
        registry.register("rate_limited", "Requests that a rate limit refused", self.limited.clone());
        for (name, help, value) in gauges {
            let gauge = Gauge::<u64, AtomicU64>::default();
            gauge.set(*value);
            registry.register(name, *help, gauge);
        }
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }
}
