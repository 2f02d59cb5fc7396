//! What means the same as in Vault, under the names that dashboards and alerts know it by.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::times::{QUANTILES, Timing};

/// A value under its name in Vault's documentation.
pub(crate) struct Named {
    /// The name, with dots.
    pub(crate) name: &'static str,
    /// One line about it.
    pub(crate) help: &'static str,
    /// Labels with their values.
    pub(crate) labels: &'static [(&'static str, &'static str)],
    /// How much.
    pub(crate) amount: Amount,
}

/// How much of something there is, or was.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Amount {
    /// At the moment.
    Now(u64),
    /// Since the server was unsealed.
    Since(u64),
    /// How long something took since the server was unsealed.
    Timed(Timing),
}

impl Named {
    /// A value of the moment without labels.
    pub(crate) fn now(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, labels: &[], amount: Amount::Now(value) }
    }

    /// A count without labels.
    pub(crate) fn since(name: &'static str, help: &'static str, count: u64) -> Self {
        Self { name, help, labels: &[], amount: Amount::Since(count) }
    }

    fn labels(&self) -> Value {
        self.labels.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect::<Map<_, _>>().into()
    }

    /// Appends it to the list of the JSON form that it belongs to.
    pub(crate) fn put(&self, gauges: &mut Vec<Value>, counters: &mut Vec<Value>, samples: &mut Vec<Value>) {
        let Self { name, amount, .. } = self;
        let labels = self.labels();
        match *amount {
            Amount::Now(value) => gauges.push(json!({ "Name": name, "Value": value, "Labels": labels })),
            Amount::Since(count) => counters.push(super::counter(name, count, labels)),
            Amount::Timed(Timing { count, sum, min, max, mean, stddev, quantiles }) => {
                let quantiles: Map<_, _> =
                    QUANTILES.iter().zip(quantiles).map(|(part, took)| (part.to_string(), json!(took))).collect();
                samples.push(json!({
                    "Name": name, "Count": count, "Sum": sum, "Rate": 0, "Min": min, "Max": max, "Mean": mean,
                    "Stddev": stddev, "Quantiles": quantiles, "Labels": labels,
                }));
            }
        }
    }
}

/// All of them in the text format of Prometheus. Values of one name stand together.
pub(crate) fn text(all: &[Named]) -> String {
    let mut text = String::new();
    let mut last = "";
    for named in all {
        let name = named.name.replace(['.', '-'], "_");
        let kind = match named.amount {
            Amount::Now(_) => "gauge",
            Amount::Since(_) => "counter",
            Amount::Timed(_) => "summary",
        };
        if last != named.name {
            let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {kind}", named.help);
        }
        last = named.name;
        let labels: Vec<_> = named.labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        // Writing to a text does not fail.
        let _ = match named.amount {
            Amount::Now(value) | Amount::Since(value) => writeln!(text, "{name}{labels} {value}"),
            Amount::Timed(Timing { count, sum, quantiles, .. }) => {
                for (part, took) in QUANTILES.iter().zip(quantiles) {
                    // Of nothing there is no quantile.
                    let took = if count == 0 { f64::NAN } else { took };
                    let _ = writeln!(text, "{name}{{quantile=\"{part}\"}} {took}");
                }
                writeln!(text, "{name}_sum{labels} {sum}\n{name}_count{labels} {count}")
            }
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_one_name_share_its_head() {
        let entries = |labels, value| Named {
            name: "vault.core.mount_table.num_entries",
            help: "Mounts",
            labels,
            amount: Amount::Now(value),
        };
        let all = [
            entries(&[("type", "auth")], 1),
            entries(&[("type", "logical")], 2),
            Named::since("vault.audit.log_request_failure", "Failures", 3),
            Named {
                name: "vault.core.handle_request",
                help: "Times",
                labels: &[],
                amount: Amount::Timed(Timing { count: 2, sum: 1.5, quantiles: [0.5, 1.0, 1.0], ..Timing::default() }),
            },
            Named { name: "vault.x", help: "Never", labels: &[], amount: Amount::Timed(Timing::default()) },
        ];
        let expected = "\
# HELP vault_core_mount_table_num_entries Mounts
# TYPE vault_core_mount_table_num_entries gauge
vault_core_mount_table_num_entries{type=\"auth\"} 1
vault_core_mount_table_num_entries{type=\"logical\"} 2
# HELP vault_audit_log_request_failure Failures
# TYPE vault_audit_log_request_failure counter
vault_audit_log_request_failure 3
# HELP vault_core_handle_request Times
# TYPE vault_core_handle_request summary
vault_core_handle_request{quantile=\"0.5\"} 0.5
vault_core_handle_request{quantile=\"0.9\"} 1
vault_core_handle_request{quantile=\"0.99\"} 1
vault_core_handle_request_sum 1.5
vault_core_handle_request_count 2
# HELP vault_x Never
# TYPE vault_x summary
vault_x{quantile=\"0.5\"} NaN
vault_x{quantile=\"0.9\"} NaN
vault_x{quantile=\"0.99\"} NaN
vault_x_sum 0
vault_x_count 0
";
        assert_eq!(text(&all), expected);
    }
}
