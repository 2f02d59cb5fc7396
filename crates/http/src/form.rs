//! Query strings and form bodies.

use std::{collections::BTreeMap, io};

use gate::Error;
use secret::Zeroizing;
use serde::{Serialize, Serializer};

/// The parameters of a query string in order, decoded. At most `most` of them.
pub(crate) fn pairs(text: &str, most: usize) -> Result<Vec<(String, String)>, Error> {
    let mut pairs = Vec::new();
    for part in text.split('&').filter(|part| !part.is_empty()) {
        if pairs.len() == most {
            return Err(Error::invalid(format!("more than {most} parameters")));
        }
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        pairs.push((decode(name)?, decode(value)?));
    }
    Ok(pairs)
}

/// A form body as the JSON object that it stands for: one value is a text, several are a list.
pub(crate) fn to_json(body: &[u8], most: usize) -> Result<Zeroizing<Vec<u8>>, Error> {
    let text = std::str::from_utf8(body).map_err(|_| Error::invalid("failed to parse form: it must be UTF-8"))?;
    let mut fields: BTreeMap<String, Vec<Zeroizing<String>>> = BTreeMap::new();
    for (name, value) in pairs(text, most)? {
        fields.entry(name).or_default().push(Zeroizing::new(value));
    }
    // Measured first, so that the buffer never moves and leaves a copy of a secret behind.
    let mut length = Length(0);
    write(&mut length, &fields)?;
    let mut json = Zeroizing::new(Vec::with_capacity(length.0));
    write(&mut *json, &fields)?;
    Ok(json)
}

fn write(to: impl io::Write, fields: &BTreeMap<String, Vec<Zeroizing<String>>>) -> Result<(), Error> {
    let mut json = serde_json::Serializer::new(to);
    let fields = fields.iter().map(|(name, values)| (name, Field(values)));
    json.collect_map(fields).map_err(|_| Error::internal("a form cannot be written as JSON"))
}

/// The values of a field: a text if there is one, else a list.
struct Field<'a>(&'a [Zeroizing<String>]);

impl Serialize for Field<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            [value] => serializer.serialize_str(value),
            values => serializer.collect_seq(values.iter().map(|value| value.as_str())),
        }
    }
}

/// Counts what is written to it.
struct Length(usize);

impl io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Decodes `+` and percent escapes, once.
fn decode(text: &str) -> Result<String, Error> {
    if !text.contains(['%', '+']) {
        return Ok(text.to_owned());
    }
    let escape = || Error::invalid("a parameter contains an incomplete percent escape");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16)).ok_or_else(escape);
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => u8::try_from(digit(rest.next())? * 16 + digit(rest.next())?).map_err(|_| escape())?,
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| Error::invalid("a parameter must be valid UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_once() {
        let decoded = pairs("a=1&b=x%20y+z&a=%2561&&flag&=v", 10).unwrap();
        let expected = [("a", "1"), ("b", "x y z"), ("a", "%61"), ("flag", ""), ("", "v")];
        assert_eq!(decoded, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn broken_parameters_are_refused() {
        for bad in ["a=%", "a=%4", "a=%zz", "%ff=1", "a=%c3"] {
            assert!(matches!(pairs(bad, 10), Err(Error::Invalid(_))), "{bad}");
        }
        assert!(pairs("a=1&b=2&c=3", 2).is_err());
    }

    #[test]
    fn a_form_becomes_an_object() {
        let json = to_json(b"name=a%22b&list=1&list=2&empty=", 10).unwrap();
        assert_eq!(std::str::from_utf8(&json).unwrap(), r#"{"empty":"","list":["1","2"],"name":"a\"b"}"#);
        assert_eq!(&**to_json(b"", 10).unwrap(), b"{}");
    }
}
