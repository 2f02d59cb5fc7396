//! The options of devices, as the API gives them: names with text values.

use std::collections::BTreeMap;

use crate::error::Error;

/// Takes options out one by one; [`Options::finish`] refuses what nobody took.
#[derive(Debug)]
pub struct Options(BTreeMap<String, String>);

impl Options {
    /// The options as given.
    pub fn new(given: &BTreeMap<String, String>) -> Self {
        Self(given.clone())
    }

    /// The value of `name`, if it is given and not empty.
    pub fn text(&mut self, name: &str) -> Option<String> {
        self.0.remove(name).filter(|value| !value.is_empty())
    }

    /// The value of `name` as a truth value: `1`, `t`, `true`, `0`, `f`, `false`.
    pub fn flag(&mut self, name: &str, default: bool) -> Result<bool, Error> {
        match self.text(name).as_deref() {
            None => Ok(default),
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            Some(_) => Err(Error::option(name, "must be true or false")),
        }
    }

    /// Refuses options that the device does not know: silently ignoring one could log more than was meant.
    pub fn finish(self) -> Result<(), Error> {
        match self.0.into_keys().next() {
            Some(name) => Err(Error::option(&name, "is not an option of this device; remove it")),
            None => Ok(()),
        }
    }
}

/// The options that all devices share.
#[derive(Clone, Debug)]
pub struct Common {
    /// Whether everything is written in clear, secrets included.
    pub log_raw: bool,
    /// Whether accessors are hashed.
    pub hmac_accessor: bool,
    /// Whether the `keys` and `key_info` of lists are replaced by how many there are.
    pub elide_list_responses: bool,
    /// Whether the device is enabled without a test entry.
    pub skip_test: bool,
    /// What stands before each line.
    pub prefix: String,
}

impl Common {
    /// Takes the shared options out of `options`. A `prefix` is refused unless the server's configuration has
    /// `allow_audit_log_prefixing`: with it, who may enable devices chooses how a file begins.
    pub fn take(options: &mut Options, allow_prefix: bool) -> Result<Self, Error> {
        if options.text("format").is_some_and(|format| format != "json") {
            return Err(Error::option("format", "only json is supported"));
        }
        let prefix = options.text("prefix").unwrap_or_default();
        if !prefix.is_empty() && !allow_prefix {
            return Err(Error::option("prefix", "is refused unless the server allows it (allow_audit_log_prefixing)"));
        }
        if prefix.contains(['\n', '\r']) {
            return Err(Error::option("prefix", "must not contain line breaks"));
        }
        Ok(Self {
            log_raw: options.flag("log_raw", false)?,
            hmac_accessor: options.flag("hmac_accessor", true)?,
            elide_list_responses: options.flag("elide_list_responses", false)?,
            skip_test: options.flag("skip_test", false)?,
            prefix,
        })
    }
}

impl Default for Common {
    fn default() -> Self {
        Self {
            log_raw: false,
            hmac_accessor: true,
            elide_list_responses: false,
            skip_test: false,
            prefix: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Row = (&'static [(&'static str, &'static str)], bool, &'static str);

    fn take(given: &[(&str, &str)], allow_prefix: bool) -> Result<Common, Error> {
        let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut options = Options::new(&given);
        let common = Common::take(&mut options, allow_prefix)?;
        options.finish().map(|()| common)
    }

    #[test]
    fn the_defaults_are_the_safe_ones() {
        let common = take(&[], false).unwrap();
        assert!(!common.log_raw && common.hmac_accessor && !common.elide_list_responses && !common.skip_test);
        assert_eq!(common.prefix, "");
    }

    #[test]
    fn options_are_checked() {
        assert!(take(&[("log_raw", "true"), ("hmac_accessor", "0"), ("format", "json")], false).unwrap().log_raw);
        let rows: &[Row] = &[
            (&[("log_raw", "yes")], false, "option log_raw: must be true or false"),
            (&[("format", "jsonx")], false, "option format: only json is supported"),
            (&[("filter", "x")], false, "option filter: is not an option of this device; remove it"),
            (
                &[("prefix", "#!")],
                false,
                "option prefix: is refused unless the server allows it (allow_audit_log_prefixing)",
            ),
            (&[("prefix", "a\nb")], true, "option prefix: must not contain line breaks"),
        ];
        for (given, allow, want) in rows {
            assert_eq!(take(given, *allow).unwrap_err().to_string(), *want);
        }
        assert_eq!(take(&[("prefix", "@cee: ")], true).unwrap().prefix, "@cee: ");
    }
}
