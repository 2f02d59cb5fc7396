//! JSON as a signed token may carry it: an object without duplicate members at any level, of bounded depth, whose
//! numbers every reader understands alike.

use std::{cell::Cell, fmt};

use serde::de::{self, DeserializeSeed, Deserializer};
use serde_json::{Map, Number, Value};

/// Reads `bytes` as one JSON object and nothing behind it.
pub(crate) fn object(bytes: &[u8]) -> Result<Map<String, Value>, Fault> {
    let fault = Cell::new(Fault::Syntax);
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { depth: MAX_DEPTH, fault: &fault }.deserialize(&mut reader).map_err(|_| fault.get())?;
    reader.end().map_err(|_| Fault::Syntax)?;
    match value {
        Value::Object(members) => Ok(members),
        _ => Err(Fault::NotAnObject),
    }
}

/// Why bytes are no acceptable JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// An object names a member twice: two readers may choose different ones.
    Duplicate,
    /// A number that a reader could round to another one.
    Inexact,
    /// Something else than an object.
    NotAnObject,
    /// Not JSON, or more than one value.
    Syntax,
    /// Arrays and objects nested deeper than [`MAX_DEPTH`].
    TooDeep,
}

/// The deepest nesting of arrays and objects; the outermost object counts as one.
pub(crate) const MAX_DEPTH: usize = 16;

/// Whole numbers from here on cannot all be told apart by readers that keep numbers as floats.
const EXACT: f64 = 9_007_199_254_740_992.0;

#[derive(Clone, Copy)]
struct Strict<'a> {
    depth: usize,
    fault: &'a Cell<Fault>,
}

impl Strict<'_> {
    fn refuse<E: de::Error>(self, fault: Fault) -> E {
        self.fault.set(fault);
        E::custom("refused")
    }

    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Self { depth, ..self }),
            None => Err(self.refuse(Fault::TooDeep)),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> de::Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Value, E> {
        if number.abs() >= EXACT {
            return Err(self.refuse(Fault::Inexact));
        }
        Number::from_f64(number).map(Value::Number).ok_or_else(|| self.refuse(Fault::Inexact))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(inner)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut members = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value_seed(inner)?;
            if members.insert(name, value).is_some() {
                return Err(self.refuse(Fault::Duplicate));
            }
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_objects_are_read() {
        let read = object(br#"{"a":[1,-2,1.5,true,null,"x"],"b":{"a":1}}"#).unwrap();
        assert_eq!(Value::Object(read), serde_json::json!({"a":[1,-2,1.5,true,null,"x"],"b":{"a":1}}));
    }

    #[test]
    fn what_readers_may_understand_differently_is_refused() {
        let deep = format!("{}1{}", "{\"a\":".repeat(MAX_DEPTH + 1), "}".repeat(MAX_DEPTH + 1));
        let deep_list = format!("{{\"a\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
        let cases: [(&str, Fault); 17] = [
            (r#"{"a":1,"a":1}"#, Fault::Duplicate),
            (r#"{"a":1,"\u0061":2}"#, Fault::Duplicate),
            (r#"{"x":[{"y":{"a":1,"a":2}}]}"#, Fault::Duplicate),
            (r#"{"a":18446744073709551616}"#, Fault::Inexact),
            (r#"{"a":1e300}"#, Fault::Inexact),
            (r#"{"a":-9007199254740993.0}"#, Fault::Inexact),
            (r#"{"a":1e400}"#, Fault::Syntax),
            (r#"[]"#, Fault::NotAnObject),
            (r#""text""#, Fault::NotAnObject),
            (r#"null"#, Fault::NotAnObject),
            (r#""#, Fault::Syntax),
            (r#"{"a":1}{"#, Fault::Syntax),
            (r#"{"a":1} x"#, Fault::Syntax),
            ("{\"a\":\"\u{1}\"}", Fault::Syntax),
            (r#"{"a":"\ud800"}"#, Fault::Syntax),
            (&deep, Fault::TooDeep),
            (&deep_list, Fault::TooDeep),
        ];
        for (text, fault) in cases {
            assert_eq!(object(text.as_bytes()), Err(fault), "{text:.60}");
        }
        assert_eq!(object(b"{\"a\":\"\xff\"}"), Err(Fault::Syntax));
        assert_eq!(object("\u{feff}{}".as_bytes()), Err(Fault::Syntax));
    }
}
