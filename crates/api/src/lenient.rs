//! The spellings that clients rely on: a duration may be `90`, `"90"`, `"1h30m"`; a list may be `"a, b"`.

use std::{collections::BTreeMap, fmt, marker::PhantomData, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A duration. Reads seconds as a number or text, or text with units (`ns us ms s m h d w`, as in `1h30m`); negative
/// ones are refused. Writes whole seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ttl(pub Duration);

impl Ttl {
    /// A duration of whole seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Whether the duration is zero, which most settings take for "not set".
    pub fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    /// Whole seconds, rounded down.
    pub fn as_secs(self) -> u64 {
        self.0.as_secs()
    }

    /// The duration unless it is zero.
    pub fn set(self) -> Option<Duration> {
        (!self.is_zero()).then_some(self.0)
    }
}

impl From<Duration> for Ttl {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl Serialize for Ttl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.as_secs())
    }
}

impl<'de> Deserialize<'de> for Ttl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TtlVisitor)
    }
}

struct TtlVisitor;

impl de::Visitor<'_> for TtlVisitor {
    type Value = Ttl;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration, such as 90, \"90s\" or \"1h30m\"")
    }

    fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Ttl, E> {
        if seconds > MAX_SECONDS { Err(E::custom(TOO_LONG)) } else { Ok(Ttl::seconds(seconds)) }
    }

    fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Ttl, E> {
        self.visit_u64(u64::try_from(seconds).map_err(|_| E::custom("a duration must not be negative"))?)
    }

    fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Ttl, E> {
        if seconds > 0.0 && seconds as u64 > MAX_SECONDS {
            return Err(E::custom(TOO_LONG));
        }
        Duration::try_from_secs_f64(seconds).map(Ttl).map_err(|_| E::custom("a duration must be a positive number"))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Ttl, E> {
        parse_duration(text).map(Ttl).map_err(E::custom)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Ttl, E> {
        Ok(Ttl::default())
    }
}

/// Longer durations than a hundred years are a mistake of the caller.
const MAX_SECONDS: u64 = 100 * 366 * 24 * 3600;
const TOO_LONG: &str = "a duration must not exceed 100 years";

/// Reads a duration: `90` (seconds), `90s`, `1h30m`, `1.5h`, `2d`, `1w`; the empty text is zero.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    // The text itself is not repeated: it may be a secret in the wrong field.
    let wrong = || "invalid duration: use seconds or units, such as 90, 90s, 1h30m or 2d".to_owned();
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Ok(Duration::ZERO);
    }
    if trimmed.starts_with('-') {
        return Err("invalid duration: it must not be negative".to_owned());
    }
    if let Ok(seconds) = trimmed.parse::<u64>() {
        return if seconds > MAX_SECONDS { Err(TOO_LONG.to_owned()) } else { Ok(Duration::from_secs(seconds)) };
    }
    let mut total = 0.0_f64;
    let mut rest = trimmed;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, next) = tail.split_at(letters);
        let unit = match unit {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            "w" => 604_800.0,
            _ => return Err(wrong()),
        };
        total += number.parse::<f64>().map_err(|_| wrong())? * unit;
        rest = next;
    }
    if total > MAX_SECONDS as f64 {
        return Err(TOO_LONG.to_owned());
    }
    // Rounded to the nanosecond, so that 1.1s does not become 1.099999999s.
    Ok(Duration::from_nanos((total * 1e9).round() as u64))
}

/// A list of texts. Reads an array, or text separated by commas; spaces around items and empty items are dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct CommaList(pub Vec<String>);

impl std::ops::Deref for CommaList {
    type Target = Vec<String>;

    fn deref(&self) -> &Vec<String> {
        &self.0
    }
}

impl From<Vec<String>> for CommaList {
    fn from(items: Vec<String>) -> Self {
        Self(items)
    }
}

impl<'de> Deserialize<'de> for CommaList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CommaListVisitor)
    }
}

struct CommaListVisitor;

impl<'de> de::Visitor<'de> for CommaListVisitor {
    type Value = CommaList;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of texts, as an array or separated by commas")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<CommaList, E> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        Ok(CommaList(items.map(str::to_owned).collect()))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<CommaList, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element::<Scalar>()? {
            let item = item.0.trim();
            if !item.is_empty() {
                items.push(item.to_owned());
            }
        }
        Ok(CommaList(items))
    }

    fn visit_unit<E: de::Error>(self) -> Result<CommaList, E> {
        Ok(CommaList::default())
    }
}

/// A text, or a number or truth value written as one.
struct Scalar(String);

impl Scalar {
    /// Reads one; `expected` says what it is to be.
    fn read<'de, D: Deserializer<'de>>(deserializer: D, expected: &'static str) -> Result<Self, D::Error> {
        struct ScalarVisitor(&'static str);
        impl de::Visitor<'_> for ScalarVisitor {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.0)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar(text.to_owned()))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Scalar, E> {
                Ok(Scalar(number.to_string()))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Scalar, E> {
                Ok(Scalar(number.to_string()))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Scalar, E> {
                Ok(Scalar(number.to_string()))
            }

            fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Scalar, E> {
                Ok(Scalar(flag.to_string()))
            }
        }
        deserializer.deserialize_any(ScalarVisitor(expected))
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::read(deserializer, "a text or a number")
    }
}

/// A truth value. Reads `true`, `"true"`, `"1"`, `"t"`, `1` and their opposites.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Flag(pub bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Scalar(text) = Scalar::read(deserializer, "true or false")?;
        match text.to_ascii_lowercase().as_str() {
            "true" | "t" | "1" => Ok(Self(true)),
            "false" | "f" | "0" | "" => Ok(Self(false)),
            _ => Err(de::Error::custom("expected true or false")),
        }
    }
}

/// A whole number that is not negative. Reads numbers and their text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Count(pub u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Scalar(text) = Scalar::read(deserializer, "a whole number that is not negative")?;
        text.trim().parse().map(Self).map_err(|_| de::Error::custom("expected a whole number that is not negative"))
    }
}

/// Texts by name. Reads an object, or an array of `name=value` texts, or one such text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Pairs(pub BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor(PhantomData<()>);
        fn pair<E: de::Error>(text: &str) -> Result<(String, String), E> {
            let (name, value) = text.split_once('=').ok_or_else(|| E::custom("expected name=value"))?;
            Ok((name.trim().to_owned(), value.to_owned()))
        }
        impl<'de> de::Visitor<'de> for PairsVisitor {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts, or name=value texts")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Pairs, E> {
                let text = text.trim();
                if text.is_empty() {
                    return Ok(Pairs::default());
                }
                if text.starts_with('{') {
                    return serde_json::from_str(text).map(Pairs).map_err(|_| E::custom("expected an object of texts"));
                }
                text.split(',').map(pair).collect::<Result<_, E>>().map(Pairs)
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Pairs, A::Error> {
                let mut pairs = BTreeMap::new();
                while let Some(item) = seq.next_element::<String>()? {
                    let (name, value) = pair(&item)?;
                    pairs.insert(name, value);
                }
                Ok(Pairs(pairs))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = BTreeMap::new();
                while let Some((name, Scalar(value))) = map.next_entry::<String, Scalar>()? {
                    pairs.insert(name, value);
                }
                Ok(Pairs(pairs))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Pairs, E> {
                Ok(Pairs::default())
            }
        }
        deserializer.deserialize_any(PairsVisitor(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_accept_every_spelling() {
        let cases = [
            ("90", 90.0),
            ("\"90\"", 90.0),
            ("\"90s\"", 90.0),
            ("\"1h30m\"", 5400.0),
            ("\"1.5h\"", 5400.0),
            ("\"72h0m0s\"", 259_200.0),
            ("\"2d\"", 172_800.0),
            ("\"250ms\"", 0.25),
            ("\"\"", 0.0),
            ("null", 0.0),
            ("1.5", 1.5),
        ];
        for (json, seconds) in cases {
            let ttl: Ttl = serde_json::from_str(json).unwrap();
            assert_eq!(ttl.0, Duration::from_secs_f64(seconds), "{json}");
        }
    }

    #[test]
    fn durations_that_make_no_sense_are_refused() {
        for json in
            ["-1", "\"-5s\"", "\"h\"", "\"5x\"", "\"5 s\"", "\"1h30\"", "true", "[]", "\"999999999999999\"", "1e300"]
        {
            assert!(serde_json::from_str::<Ttl>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn lists_flags_counts_and_pairs_accept_every_spelling() {
        let list = |json| serde_json::from_str::<CommaList>(json).unwrap().0;
        assert_eq!(list("\"a, b,,c\""), ["a", "b", "c"]);
        assert_eq!(list("[\"a\", 1]"), ["a", "1"]);
        assert!(list("null").is_empty());
        for json in ["true", "\"true\"", "\"1\"", "1", "\"T\""] {
            assert!(serde_json::from_str::<Flag>(json).unwrap().0, "{json}");
        }
        assert!(serde_json::from_str::<Flag>("\"maybe\"").is_err());
        assert_eq!(serde_json::from_str::<Count>("\"7\"").unwrap(), Count(7));
        assert!(serde_json::from_str::<Count>("-7").is_err());
        let pairs = |json| serde_json::from_str::<Pairs>(json).unwrap().0.into_iter().collect::<Vec<_>>();
        let expected = [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "x".to_owned())];
        assert_eq!(pairs("{\"a\":1,\"b\":\"x\"}"), expected);
        assert_eq!(pairs("[\"a=1\",\"b=x\"]"), expected);
        assert_eq!(pairs("\"a=1,b=x\""), expected);
    }
}
