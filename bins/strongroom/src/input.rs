//! The data of a request as it is given on the command line: `name=value`, `name=@file`, `name=-`, `@file`, `-`.

use std::{io::Read, path::Path};

use serde_json::{Map, Value};

use crate::failure::Failure;

/// Reads `args` into one JSON object. Each value is a text, as in Vault; a name given twice becomes a list. `@file` and
/// `-` (standard input) hold a whole JSON object; a value that begins with `\@` means a leading `@`.
pub(crate) fn data(args: &[String]) -> Result<Map<String, Value>, Failure> {
    let mut stdin = Stdin::default();
    let mut object = Map::new();
    for arg in args {
        if arg == "-" {
            merge(&mut object, "standard input", &stdin.read()?)?;
        } else if let Some(file) = arg.strip_prefix('@') {
            merge(&mut object, file, &read_file(file)?)?;
        } else {
            let Some((name, value)) = arg.split_once('=') else {
                return Err(Failure::local(format!(
                    "Failed to parse K=V data: invalid key/value pair {arg:?}: format must be key=value"
                )));
            };
            if name.is_empty() {
                return Err(Failure::local("Failed to parse K=V data: a name is empty: format must be key=value"));
            }
            let value = text_value(value, &mut stdin)?;
            insert(&mut object, name, Value::String(value));
        }
    }
    Ok(object)
}

/// Reads `name=value` texts into an object of texts, as flags such as `-metadata` take them.
pub(crate) fn pairs(args: &[String]) -> Result<Map<String, Value>, Failure> {
    args.iter()
        .map(|arg| match arg.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), Value::String(value.to_owned()))),
            _ => Err(Failure::local(format!("invalid pair {arg:?}: use NAME=VALUE"))),
        })
        .collect()
}

/// One value: a text, the text of a file (`@file`), or standard input (`-`).
pub(crate) fn value(text: &str) -> Result<String, Failure> {
    text_value(text, &mut Stdin::default())
}

/// Reads a text file.
pub(crate) fn read_file(path: &str) -> Result<String, Failure> {
    let bytes = read_bytes(Path::new(path))?;
    String::from_utf8(bytes).map_err(|_| Failure::local(format!("{path} is not UTF-8 text")))
}

/// Reads a file.
pub(crate) fn read_bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::local(format!("cannot read {}: {error}", path.display())))
}

/// Standard input to its end.
pub(crate) fn read_stdin() -> Result<String, Failure> {
    Stdin::default().read()
}

/// Checks a duration such as `1h30m` before it is sent.
pub(crate) fn duration(text: &str) -> Result<String, String> {
    api::parse_duration(text).map(|_| text.to_owned())
}

/// Standard input can be read once.
#[derive(Default)]
struct Stdin {
    taken: bool,
}

impl Stdin {
    fn read(&mut self) -> Result<String, Failure> {
        if std::mem::replace(&mut self.taken, true) {
            return Err(Failure::local("standard input can be used for one value only: '-' is given twice"));
        }
        let mut text = String::new();
        std::io::stdin()
            .lock()
            .read_to_string(&mut text)
            .map_err(|error| Failure::local(format!("cannot read standard input: {error}")))?;
        Ok(text)
    }
}

fn text_value(value: &str, stdin: &mut Stdin) -> Result<String, Failure> {
    if value == "-" {
        return stdin.read();
    }
    if let Some(file) = value.strip_prefix('@') {
        return read_file(file);
    }
    Ok(value.strip_prefix("\\@").map_or_else(|| value.to_owned(), |rest| format!("@{rest}")))
}

fn merge(object: &mut Map<String, Value>, name: &str, text: &str) -> Result<(), Failure> {
    let more: Map<String, Value> = serde_json::from_str(text).map_err(|error| {
        // The error's own text could repeat a value.
        Failure::local(format!(
            "Failed to parse K=V data: {name} is not a JSON object (line {}, column {})",
            error.line(),
            error.column()
        ))
    })?;
    for (name, value) in more {
        insert(object, &name, value);
    }
    Ok(())
}

fn insert(object: &mut Map<String, Value>, name: &str, value: Value) {
    match object.get_mut(name) {
        Some(Value::Array(list)) => list.push(value),
        Some(first) => *first = Value::Array(vec![first.take(), value]),
        None => {
            object.insert(name.to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<String, String> {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        data(&args).map(|object| Value::Object(object).to_string()).map_err(|failure| failure.text(false).unwrap())
    }

    #[test]
    fn pairs_are_texts_and_repeats_are_lists() {
        assert_eq!(parse(&["a=1", "b=x=y", "c="]).unwrap(), r#"{"a":"1","b":"x=y","c":""}"#);
        assert_eq!(parse(&["a=1", "a=2", "a=3"]).unwrap(), r#"{"a":["1","2","3"]}"#);
        assert_eq!(parse(&[r"a=\@x"]).unwrap(), r#"{"a":"@x"}"#);
    }

    #[test]
    fn files_hold_values_or_everything() {
        let folder = tempfile::tempdir().unwrap();
        let (text, json) = (folder.path().join("t"), folder.path().join("j"));
        std::fs::write(&text, "line\n").unwrap();
        std::fs::write(&json, r#"{"n": 12345678901234567890, "l": [1]}"#).unwrap();
        assert_eq!(parse(&[&format!("a=@{}", text.display())]).unwrap(), r#"{"a":"line\n"}"#);
        assert_eq!(
            parse(&[&format!("@{}", json.display()), "b=c"]).unwrap(),
            r#"{"b":"c","l":[1],"n":12345678901234567890}"#
        );
        let error = parse(&[&format!("@{}", text.display())]).unwrap_err();
        assert!(error.contains("is not a JSON object"), "{error}");
    }

    #[test]
    fn what_is_no_pair_is_named() {
        for bad in ["word", "=value"] {
            assert!(parse(&[bad]).unwrap_err().contains("format must be key=value"), "{bad}");
        }
        assert!(parse(&["a=@/nowhere/x"]).unwrap_err().contains("/nowhere/x"));
    }
}
