//! Durations as the settings of KV write them: `3h25m19s`.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A duration that may be negative, which means "never". Reads what [`api::Ttl`] reads, with a minus sign too; writes
/// hours, minutes and seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    length: Duration,
    negative: bool,
}

impl Span {
    pub(crate) fn is_negative(self) -> bool {
        self.negative
    }

    /// The duration if it is more than zero.
    pub(crate) fn positive(self) -> Option<Duration> {
        (!self.negative && !self.length.is_zero()).then_some(self.length)
    }

    fn new(length: Duration, minus: bool) -> Self {
        Self { length, negative: minus && !length.is_zero() }
    }
}

impl From<Duration> for Span {
    fn from(length: Duration) -> Self {
        Self::new(length, false)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minus = if self.negative { "-" } else { "" };
        let (seconds, nanos) = (self.length.as_secs(), self.length.subsec_nanos());
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        f.write_str(minus)?;
        match (hours, minutes) {
            (0, 0) if seconds == 0 && nanos > 0 => {
                let (unit, digits) = match nanos {
                    0..1_000 => ("ns", 0),
                    1_000..1_000_000 => ("µs", 3),
                    _ => ("ms", 6),
                };
                write!(f, "{}{unit}", decimal(u64::from(nanos), digits))
            }
            (0, 0) => write!(f, "{}s", fraction(seconds, nanos)),
            (0, _) => write!(f, "{minutes}m{}s", fraction(seconds, nanos)),
            _ => write!(f, "{hours}h{minutes}m{}s", fraction(seconds, nanos)),
        }
    }
}

fn fraction(seconds: u64, nanos: u32) -> String {
    decimal(seconds * 1_000_000_000 + u64::from(nanos), 9)
}

/// `value` with `digits` of its digits behind the point, without zeros at the end.
fn decimal(value: u64, digits: usize) -> String {
    let scale = 10_u64.pow(digits.try_into().unwrap_or_default());
    let rest = format!("{:0digits$}", value % scale);
    match rest.trim_end_matches('0') {
        "" => (value / scale).to_string(),
        rest => format!("{}.{rest}", value / scale),
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SpanVisitor)
    }
}

struct SpanVisitor;

impl de::Visitor<'_> for SpanVisitor {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration, such as 90, \"90s\" or \"1h30m\"")
    }

    fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Span, E> {
        self.visit_str(&seconds.to_string())
    }

    fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Span, E> {
        self.visit_str(&seconds.to_string())
    }

    fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Span, E> {
        self.visit_str(&format!("{seconds}s"))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
        let text = text.trim();
        let (minus, length) = text.strip_prefix('-').map_or((false, text), |length| (true, length));
        if length.starts_with('-') {
            return Err(E::custom("a duration has at most one minus sign"));
        }
        api::parse_duration(length).map(|length| Span::new(length, minus)).map_err(E::custom)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Span, E> {
        Ok(Span::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_go_writes_them() {
        let cases = [
            ("0", "0s"),
            ("\"3h25m19s\"", "3h25m19s"),
            ("12319", "3h25m19s"),
            ("\"90m\"", "1h30m0s"),
            ("59", "59s"),
            ("60", "1m0s"),
            ("1.5", "1.5s"),
            ("\"250ms\"", "250ms"),
            ("\"1500us\"", "1.5ms"),
            ("\"10ns\"", "10ns"),
            ("\"2d\"", "48h0m0s"),
            ("-1", "-1s"),
            ("\"-1h\"", "-1h0m0s"),
            ("\"\"", "0s"),
            ("null", "0s"),
            ("-0", "0s"),
        ];
        for (read, written) in cases {
            let span: Span = serde_json::from_str(read).unwrap();
            assert_eq!(span.to_string(), written, "{read}");
            assert_eq!(serde_json::from_str::<Span>(&format!("\"{written}\"")).unwrap(), span);
        }
        for bad in ["\"h\"", "\"--1s\"", "[]", "true", "1e300", "\"5 s\""] {
            assert!(serde_json::from_str::<Span>(bad).is_err(), "{bad}");
        }
    }
}
