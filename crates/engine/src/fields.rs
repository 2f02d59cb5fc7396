//! The names of a struct's fields, asked of its `Deserialize`.

use serde::{
    de::{DeserializeOwned, Error as _, Visitor, value::Error},
    forward_to_deserialize_any,
};

/// The fields that `T` reads; none if it is no struct, or one that also takes the fields of another (`flatten`).
pub(crate) fn of<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut fields: &'static [&'static str] = &[];
    // It always fails: there is nothing to read.
    let _ = T::deserialize(Asked(&mut fields));
    fields
}

struct Asked<'a>(&'a mut &'static [&'static str]);

impl<'de> serde::Deserializer<'de> for Asked<'_> {
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

#[cfg(test)]
mod tests {
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
        assert_eq!(super::of::<Input>(), ["wire_name", "second"]);
        assert!(super::of::<serde_json::Value>().is_empty());
    }
}
