//! What the server counts. Every metric is there from the start, at zero.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// The counters of the server.
#[derive(Default)]
pub(crate) struct Metrics {
    requests: Family<Labels, Counter>,
    revocations: Family<Labels, Counter>,
    rotations: Family<Labels, Counter>,
}

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

    pub(crate) fn request(&self, good: bool) {
        self.requests.get_or_create(&Outcome::of(good)).inc();
    }

    pub(crate) fn revocation(&self, good: bool) {
        self.revocations.get_or_create(&Outcome::of(good)).inc();
    }

    pub(crate) fn rotation(&self, good: bool) {
        self.rotations.get_or_create(&Outcome::of(good)).inc();
    }

    /// Everything in the text format of Prometheus. `gauges` are values that are known at the moment alone.
    pub(crate) fn text(&self, gauges: &[(String, &'static str, u64)]) -> Result<String, std::fmt::Error> {
        let mut registry = Registry::with_prefix("strongroom");
        registry.register("requests", "Requests that were answered, by outcome", self.requests.clone());
        registry.register("lease_revocations", "Tries to revoke a lease, by outcome", self.revocations.clone());
        registry.register("rotations", "Tries to rotate something, by outcome", self.rotations.clone());
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
