//! The names of a struct's fields and their types, asked of its `Deserialize`.

use std::cell::Cell;

use gate::FieldType;
use serde::{
    Deserializer,
    de::{DeserializeOwned, Error as _, MapAccess, Visitor, value::Error, value::StrDeserializer},
    forward_to_deserialize_any,
};

/// The fields that `T` reads; none if it is no struct, or one that also takes the fields of another (`flatten`).
pub(crate) fn of<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut fields: &'static [&'static str] = &[];
    // It always fails: there is nothing to read.
    let _ = T::deserialize(Asked(&mut fields));
    fields
}

/// What the value of each field of `T` is, in the order of [`of`]: each is read out of an object that has it alone, with
/// a value that asks its reader what it expects.
pub(crate) fn types_of<T: DeserializeOwned>() -> Vec<FieldType> {
    let ask = |field: &&'static str| {
        let told = Cell::new(FieldType::Any);
        // Whether it succeeds does not matter: other fields are missing.
        let _ = T::deserialize(OneField { name: field, told: &told });
        told.get()
    };
    of::<T>().iter().map(ask).collect()
}

struct Asked<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Asked<'_> {
    type Error = Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("there is nothing to read"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// An object with one field.
struct OneField<'a> {
    name: &'static str,
    told: &'a Cell<FieldType>,
}

impl<'de> Deserializer<'de> for OneField<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_map(OneEntry { name: Some(self.name), told: self.told })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

struct OneEntry<'a> {
    name: Option<&'static str>,
    told: &'a Cell<FieldType>,
}

impl<'de> MapAccess<'de> for OneEntry<'_> {
    type Error = Error;

    fn next_key_seed<K: serde::de::DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        self.name.take().map(|name| seed.deserialize(StrDeserializer::new(name))).transpose()
    }

    fn next_value_seed<S: serde::de::DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        seed.deserialize(Value(self.told))
    }
}

/// A value that is not there: it notes as what it was to be read.
struct Value<'a>(&'a Cell<FieldType>);

/// What a reader of any type says it expects. Our own lenient types say it in words.
fn expected<'de, V: Visitor<'de>>(visitor: &V) -> FieldType {
    let text = Error::invalid_type(serde::de::Unexpected::Unit, visitor).to_string();
    let words = text.rsplit_once("expected ").map_or(text.as_str(), |(_, words)| words);
    match words {
        _ if words.contains("duration") => FieldType::Duration,
        _ if words.contains("true or false") => FieldType::Boolean,
        _ if words.contains("whole number") => FieldType::Integer,
        _ if words.contains("list") => FieldType::Array,
        _ if words.contains("object") => FieldType::Object,
        _ if words.contains("text") => FieldType::String,
        _ => FieldType::Any,
    }
}

macro_rules! noted {
    ($($method:ident => $kind:ident,)*) => {
        $(fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
            self.0.set(FieldType::$kind);
            Err(Error::custom("there is nothing to read"))
        })*
    };
}

impl<'de> Deserializer<'de> for Value<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.0.set(expected(&visitor));
        Err(Error::custom("there is nothing to read"))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        self.0.set(FieldType::Object);
        Err(Error::custom("there is nothing to read"))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        self.0.set(FieldType::String);
        Err(Error::custom("there is nothing to read"))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Error> {
        self.0.set(FieldType::Array);
        Err(Error::custom("there is nothing to read"))
    }

    noted! {
        deserialize_bool => Boolean,
        deserialize_i8 => Integer,
        deserialize_i16 => Integer,
        deserialize_i32 => Integer,
        deserialize_i64 => Integer,
        deserialize_i128 => Integer,
        deserialize_u8 => Integer,
        deserialize_u16 => Integer,
        deserialize_u32 => Integer,
        deserialize_u64 => Integer,
        deserialize_u128 => Integer,
        deserialize_f32 => Number,
        deserialize_f64 => Number,
        deserialize_char => String,
        deserialize_str => String,
        deserialize_string => String,
        deserialize_bytes => String,
        deserialize_byte_buf => String,
        deserialize_seq => Array,
        deserialize_map => Object,
    }

    forward_to_deserialize_any! { unit unit_struct tuple_struct identifier ignored_any }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_those_on_the_wire() {
        #[derive(serde::Deserialize)]
        #[allow(dead_code, reason = "only the names matter")]
        struct Input {
            #[serde(rename = "wire_name")]
            first: String,
            #[serde(default)]
            second: Option<u8>,
        }
        assert_eq!(of::<Input>(), ["wire_name", "second"]);
        assert_eq!(types_of::<Input>(), [FieldType::String, FieldType::Integer]);
        assert!(of::<serde_json::Value>().is_empty() && types_of::<serde_json::Value>().is_empty());
    }

    #[test]
    fn types_are_those_on_the_wire() {
        #[derive(Default, serde::Deserialize)]
        #[serde(default)]
        #[allow(dead_code, reason = "only the types matter")]
        struct Input {
            flag: api::Flag,
            count: Option<api::Count>,
            ttl: api::Ttl,
            list: Option<api::CommaList>,
            pairs: api::Pairs,
            texts: Vec<String>,
            map: std::collections::BTreeMap<String, String>,
            plain: bool,
            number: f64,
            secret: Option<secret::SecretString>,
            any: Option<serde_json::Value>,
        }
        let expected = [
            FieldType::Boolean,
            FieldType::Integer,
            FieldType::Duration,
            FieldType::Array,
            FieldType::Object,
            FieldType::Array,
            FieldType::Object,
            FieldType::Boolean,
            FieldType::Number,
            FieldType::String,
            FieldType::Any,
        ];
        assert_eq!(types_of::<Input>(), expected);
    }
}
