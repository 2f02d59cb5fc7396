//! What a namespace may be called.

use gate::Error;

/// Names that mean something else where a namespace's name stands, in whatever spelling.
const RESERVED: [&str; 7] = ["api-lock", "audit", "auth", "cubbyhole", "identity", "root", "sys"];
/// The longest name in bytes.
const LONGEST: usize = 128;
/// The longest path in bytes, so that the path and one inside of it are a path still.
const LONGEST_PATH: usize = 1024;

/// The name of a new namespace inside of one with the path `above`.
pub(crate) fn check<'n>(above: &str, name: &'n str) -> Result<&'n str, Error> {
    let name = name.strip_suffix('/').unwrap_or(name);
    if name.is_empty() {
        return Err(Error::invalid("path: name the namespace"));
    }
    if name.contains('/') {
        return Err(Error::invalid("path: one name without '/'; create a namespace in another by asking in that one"));
    }
    if RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) || name == "." || name == ".." {
        return Err(Error::invalid(format!(
            "path: {name:?} is a reserved path and cannot be used as a namespace path"
        )));
    }
    let fits = |c: char| !c.is_control() && !c.is_whitespace() && !matches!(c, '*' | '+' | '%' | '\\' | '\u{FFFD}');
    if !name.chars().all(fits) {
        return Err(Error::invalid("path: printable characters without blanks, '*', '+', '%' and '\\'"));
    }
    if name.len() > LONGEST || above.len() + name.len() > LONGEST_PATH {
        return Err(Error::invalid(format!(
            "path: a name has at most {LONGEST} bytes, the path of a namespace {LONGEST_PATH}"
        )));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_mean_something_else_are_refused() {
        for name in ["team", "team/", "Team-1", "a.b", "...", "équipe", "_", &"a".repeat(128)] {
            assert!(check("", name).is_ok(), "{name}");
        }
        for name in [
            "",
            "/",
            "a/b",
            "/a",
            "a//",
            ".",
            "..",
            "root",
            "Root",
            "SYS",
            "sys/",
            "auth",
            "audit",
            "cubbyhole",
            "identity",
            "api-lock",
            " a",
            "a ",
            "a b",
            "a\u{a0}b",
            "a\nb",
            "a\0",
            "a*",
            "+",
            "a%2fb",
            "a\\b",
            "\u{2028}",
            &"a".repeat(129),
        ] {
            assert!(matches!(check("", name), Err(Error::Invalid(_))), "{name:?}");
        }
        assert!(check(&"a".repeat(1020), "abcd").is_ok());
        assert!(check(&"a".repeat(1020), "abcde").is_err());
    }
}
