//! What means the same as in Vault, under the names that dashboards and alerts know it by.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

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
    /// How often something was timed since the server was unsealed, and the sum of the times in milliseconds.
    Timed(u64, f64),
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
            Amount::Timed(count, sum) => {
                let mean = if count == 0 { 0.0 } else { sum / count as f64 };
                let (rate, least, most, spread) = (0, 0, 0, 0);
                samples.push(json!({
                    "Name": name, "Count": count, "Sum": sum, "Rate": rate, "Min": least, "Max": most,
                    "Mean": mean, "Stddev": spread, "Labels": labels,
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
            Amount::Timed(..) => "summary",
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
            Amount::Timed(count, sum) => writeln!(text, "{name}_sum{labels} {sum}\n{name}_count{labels} {count}"),
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
            Named { name: "vault.core.handle_request", help: "Times", labels: &[], amount: Amount::Timed(2, 1.5) },
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
vault_core_handle_request_sum 1.5
vault_core_handle_request_count 2
";
        assert_eq!(text(&all), expected);
    }
}
