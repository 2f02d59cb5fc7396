//! The text of a policy, in HCL or JSON, as names and values that are not checked yet.

use serde_json::Value;

use super::Error;

/// A policy as it is written.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) fields: Fields,
    /// The label and the fields of each block.
    pub(super) rules: Vec<(String, Fields)>,
}

pub(super) type Fields = Vec<(String, Scalar)>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    Text(String),
    Number(i64),
}

pub(super) fn read(text: &str) -> Result<Written, Error> {
    if text.trim_start().starts_with('{') {
        return read_json(text).ok_or_else(|| {
            Error::Invalid(
                "policy: not a policy in JSON: use {\"length\": 20, \"rule\": [{\"charset\": {…}}]}".to_owned(),
            )
        });
    }
    Reader { rest: text, line: 1 }.policy()
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Number(i64),
    Sign(char),
    End,
}

impl Reader<'_> {
    fn policy(&mut self) -> Result<Written, Error> {
        let mut written = Written::default();
        loop {
            match self.token()? {
                Token::End => return Ok(written),
                Token::Word(name) | Token::Text(name) => match self.token()? {
                    Token::Sign('=') => written.fields.push((name, self.scalar()?)),
                    Token::Text(label) | Token::Word(label) if name == "rule" => {
                        self.expect('{')?;
                        written.rules.push((label, self.block()?));
                    }
                    _ => return Err(self.wrong("expected = after a name, or rule \"charset\" {")),
                },
                _ => return Err(self.wrong("expected a name")),
            }
        }
    }

    fn block(&mut self) -> Result<Fields, Error> {
        let mut fields = Vec::new();
        loop {
            match self.token()? {
                Token::Sign('}') => return Ok(fields),
                Token::Sign(',') => {}
                Token::Word(name) | Token::Text(name) => {
                    self.expect('=')?;
                    fields.push((name, self.scalar()?));
                }
                _ => return Err(self.wrong("expected a name or }")),
            }
        }
    }

    fn scalar(&mut self) -> Result<Scalar, Error> {
        match self.token()? {
            Token::Text(text) => Ok(Scalar::Text(text)),
            Token::Number(number) => Ok(Scalar::Number(number)),
            _ => Err(self.wrong("expected a text in double quotes or a whole number")),
        }
    }

    fn expect(&mut self, sign: char) -> Result<(), Error> {
        if self.token()? == Token::Sign(sign) { Ok(()) } else { Err(self.wrong(&format!("expected {sign}"))) }
    }

    fn token(&mut self) -> Result<Token, Error> {
        self.skip_blank()?;
        let Some(first) = self.rest.chars().next() else { return Ok(Token::End) };
        match first {
            '=' | '{' | '}' | ',' => {
                self.advance(1);
                Ok(Token::Sign(first))
            }
            '"' => self.text(),
            c if c.is_ascii_digit() || c == '-' => {
                let end = self.rest.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(self.rest.len());
                let number = self.rest.get(..end).and_then(|digits| digits.parse().ok());
                self.advance(end);
                number.map(Token::Number).ok_or_else(|| self.wrong("a number is not understood"))
            }
            c if c.is_ascii_alphabetic() || c == '_' => {
                let inner = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
                let end = self.rest.find(|c| !inner(c)).unwrap_or(self.rest.len());
                let word = self.rest.get(..end).unwrap_or_default().to_owned();
                self.advance(end);
                Ok(Token::Word(word))
            }
            c => Err(self.wrong(&format!("{c:?} is not understood"))),
        }
    }

    /// A text in double quotes. Its escapes are those that JSON also has.
    fn text(&mut self) -> Result<Token, Error> {
        let mut escaped = true;
        for (at, c) in self.rest.char_indices() {
            match c {
                '\n' => break,
                '"' if !escaped => {
                    let literal = self.rest.get(..=at).unwrap_or_default();
                    let text = serde_json::from_str(literal).map_err(|_| self.wrong("an escape is not understood"))?;
                    self.advance(at + 1);
                    return Ok(Token::Text(text));
                }
                '\\' => escaped = !escaped,
                _ => escaped = false,
            }
        }
        Err(self.wrong("a text in quotes does not end on its line"))
    }

    fn skip_blank(&mut self) -> Result<(), Error> {
        loop {
            let start = self.rest.find(|c: char| !c.is_whitespace()).unwrap_or(self.rest.len());
            self.advance(start);
            if self.rest.starts_with('#') || self.rest.starts_with("//") {
                self.advance(self.rest.find('\n').unwrap_or(self.rest.len()));
            } else if self.rest.starts_with("/*") {
                let end = self.rest.find("*/").ok_or_else(|| self.wrong("a comment does not end"))?;
                self.advance(end + 2);
            } else {
                return Ok(());
            }
        }
    }

    fn advance(&mut self, bytes: usize) {
        let (skipped, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.line += skipped.matches('\n').count();
        self.rest = rest;
    }

    fn wrong(&self, what: &str) -> Error {
        Error::Invalid(format!("policy: line {}: {what}", self.line))
    }
}

/// `{"length": 20, "rule": {"charset": {"charset": "abc", "min-chars": 1}}}`, each level also as a list.
fn read_json(text: &str) -> Option<Written> {
    let Value::Object(top) = serde_json::from_str(text).ok()? else { return None };
    let mut written = Written::default();
    for (name, value) in top {
        if name != "rule" {
            written.fields.push((name, scalar(value)?));
            continue;
        }
        for block in list(value) {
            let Value::Object(block) = block else { return None };
            for (label, rules) in block {
                for fields in list(rules) {
                    let Value::Object(fields) = fields else { return None };
                    let fields = fields.into_iter().map(|(field, value)| Some((field, scalar(value)?)));
                    written.rules.push((label.clone(), fields.collect::<Option<Fields>>()?));
                }
            }
        }
    }
    Some(written)
}

fn list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        one => vec![one],
    }
}

fn scalar(value: Value) -> Option<Scalar> {
    match value {
        Value::String(text) => Some(Scalar::Text(text)),
        Value::Number(number) => number.as_i64().map(Scalar::Number),
        _ => None,
    }
}
