//! SQL with placeholders, filled in so that no value can become SQL.
//!
//! The text of a template is its author's and is sent as it is. The values are not: where a placeholder stands decides
//! how its value is quoted, also where quotes stand within quotes (a `DO $$ … EXECUTE '… "{{name}}" …' $$`). A
//! placeholder at a place where no quoting is safe is refused when the template is written.
//!
//! The rules are those of standard SQL and PostgreSQL: `'…'`, `E'…'`, `"…"`, `$tag$…$tag$`, `-- …`, nested `/* … */`.

mod render;

use crate::statements::Statements;
use crate::target::Purpose;

pub use render::{Values, quote_identifier, quote_literal};

/// Statements that were read and found safe to fill in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    statements: Vec<Statement>,
}

impl Template {
    /// Reads the statements of a role, several in a text or not.
    pub fn parse(statements: &Statements, purpose: Purpose) -> Result<Self, Flaw> {
        let mut all = Vec::new();
        for text in statements.iter() {
            all.extend(Reader::new(text, Inside::Statement, 0).read()?);
        }
        let template = Self { statements: all };
        template.check(purpose)?;
        Ok(template)
    }

    /// Whether some statement changes rows that all users of the database share, such as the rights on a table. Two of
    /// those at once fail, so they must be serialised. Statements whose effect cannot be seen count as such.
    pub fn touches_shared_objects(&self) -> bool {
        self.statements.iter().any(Statement::touches_shared_objects)
    }

    /// Whether some statement grants rights on an object to a user of its own, instead of through a group.
    pub fn grants_on_objects(&self) -> bool {
        self.statements.iter().any(|statement| statement.is_grant() && statement.has_word("ON"))
    }

    /// Whether some statement makes a user or group that is not named by `{{name}}`.
    pub fn makes_others(&self) -> bool {
        self.statements.iter().any(|statement| statement.makes_user() && !statement.names_exactly())
    }

    /// Whether some statement may leave the session changed, such as `SET ROLE`: then nobody else may use it.
    pub fn may_change_session(&self) -> bool {
        let definition = ["CREATE", "ALTER", "DROP", "GRANT", "REVOKE", "REASSIGN", "COMMENT"];
        self.statements.iter().any(|statement| !definition.contains(&statement.word(0)))
    }

    /// Whether the placeholder occurs.
    pub fn uses(&self, placeholder: Placeholder) -> bool {
        self.statements.iter().any(|statement| uses(&statement.pieces, placeholder))
    }

    fn check(&self, purpose: Purpose) -> Result<(), Flaw> {
        for statement in &self.statements {
            if let Some(word) = statement.forbidden() {
                return Err(Flaw::Forbidden(word));
            }
        }
        for placeholder in [Placeholder::Password, Placeholder::Expiration] {
            if self.uses(placeholder) && !placeholder.has_value(purpose) {
                return Err(Flaw::NoValue(placeholder.as_str()));
            }
        }
        match purpose {
            Purpose::Create if self.statements.is_empty() => Err(Flaw::Missing("a statement that makes the user")),
            Purpose::Create if !self.uses(Placeholder::Name) => Err(Flaw::Missing("{{name}}")),
            Purpose::Rotate if !self.statements.is_empty() && !self.uses(Placeholder::Password) => {
                Err(Flaw::Missing("{{password}}"))
            }
            _ => Ok(()),
        }
    }
}

/// What a template may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placeholder {
    /// `{{name}}` or `{{username}}`.
    Name,
    /// `{{password}}`.
    Password,
    /// `{{expiration}}`.
    Expiration,
}

impl Placeholder {
    fn from_name(name: &str) -> Option<Self> {
        match name {
            "name" | "username" => Some(Self::Name),
            "password" => Some(Self::Password),
            "expiration" => Some(Self::Expiration),
            _ => None,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Name => "{{name}}",
            Self::Password => "{{password}}",
            Self::Expiration => "{{expiration}}",
        }
    }

    fn has_value(self, purpose: Purpose) -> bool {
        match self {
            Self::Name => true,
            Self::Password => matches!(purpose, Purpose::Create | Purpose::Rotate),
            Self::Expiration => matches!(purpose, Purpose::Create | Purpose::Renew),
        }
    }
}

/// Why a template is refused, or cannot be filled in with these values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Flaw {
    /// A placeholder where its value cannot be quoted.
    #[error("{0} stands where it cannot be quoted: put it in {1} quotes")]
    Bare(&'static str, &'static str),
    /// A placeholder in a text with escapes.
    #[error("a placeholder cannot stand in a text with backslashes or in U&'…': use a plain '…'")]
    Escapes,
    /// A statement that must not be used.
    #[error("{0} cannot be used: the statements run in one transaction of the server's own")]
    Forbidden(String),
    /// Something that must be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// Quotes within quotes within quotes.
    #[error("quotes are nested too deeply")]
    Nesting,
    /// The placeholder has no value in statements of this purpose.
    #[error("{0} has no value in these statements")]
    NoValue(&'static str),
    /// A placeholder that does not exist.
    #[error("{{{{{0}}}}} is unknown: there are {{{{name}}}}, {{{{password}}}} and {{{{expiration}}}}")]
    Unknown(String),
    /// A quote or comment that does not end.
    #[error("{0} does not end")]
    Unterminated(&'static str),
    /// The value has characters that cannot be put at this place.
    #[error("the value of {0} has characters that are not safe at its place: put the placeholder in quotes of its own")]
    Unsafe(&'static str),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Statement {
    pieces: Vec<Piece>,
    /// The bare words in upper case, in order.
    words: Vec<String>,
}

impl Statement {
    fn has_word(&self, word: &str) -> bool {
        self.words.iter().any(|own| own == word)
    }

    fn word(&self, index: usize) -> &str {
        self.words.get(index).map(String::as_str).unwrap_or_default()
    }

    fn makes_user(&self) -> bool {
        let mapping = self.word(1) == "USER" && self.word(2) == "MAPPING";
        self.word(0) == "CREATE" && matches!(self.word(1), "ROLE" | "USER" | "GROUP") && !mapping
    }

    /// Whether the name after two words is `{{name}}` and nothing else.
    fn names_exactly(&self) -> bool {
        let is_name = |piece: &Piece| matches!(piece, Piece::Value(Placeholder::Name, _));
        match self.pieces.get(..2) {
            Some([Piece::Text(words), named]) if !words.contains('"') && words.split_whitespace().count() == 2 => {
                match named {
                    Piece::Identifier(body) => body.iter().all(|piece| is_name(piece) || piece.is_empty()),
                    named => is_name(named),
                }
            }
            _ => false,
        }
    }

    fn is_grant(&self) -> bool {
        matches!(self.word(0), "GRANT" | "REVOKE")
    }

    fn touches_shared_objects(&self) -> bool {
        match (self.word(0), self.word(1), self.word(2)) {
            ("CREATE" | "ALTER" | "DROP", "USER", "MAPPING") => true,
            ("CREATE" | "ALTER" | "DROP", "ROLE" | "USER" | "GROUP", _) => false,
            ("COMMENT", "ON", "ROLE") => false,
            ("GRANT" | "REVOKE", ..) => self.has_word("ON"),
            ("SET" | "RESET" | "SHOW", ..) => false,
            _ => true,
        }
    }

    /// The words of a statement that would end our transaction or wait for data.
    fn forbidden(&self) -> Option<String> {
        let first = self.word(0);
        match first {
            "BEGIN" | "COMMIT" | "ROLLBACK" | "END" | "START" | "ABORT" | "SAVEPOINT" | "RELEASE" | "COPY" => {
                Some(first.to_owned())
            }
            "PREPARE" if self.word(1) == "TRANSACTION" => Some("PREPARE TRANSACTION".to_owned()),
            // These refuse to be part of a transaction.
            "VACUUM" => Some(first.to_owned()),
            "CREATE" | "DROP" if matches!(self.word(1), "DATABASE" | "TABLESPACE") => {
                Some(format!("{first} {}", self.word(1)))
            }
            "ALTER" if self.word(1) == "SYSTEM" => Some("ALTER SYSTEM".to_owned()),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// The author's text.
    Text(String),
    /// A value.
    Value(Placeholder, Form),
    /// A text in double quotes with values in it.
    Identifier(Vec<Piece>),
    /// A text in single quotes with values in it.
    Literal { escapes: bool, body: Vec<Piece> },
    /// A text in dollar quotes with values in it.
    Dollar { tag: String, body: Vec<Piece> },
}

impl Piece {
    fn is_empty(&self) -> bool {
        matches!(self, Self::Text(text) if text.is_empty())
    }
}

/// How a value is put where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// With double quotes around it.
    Quoted,
    /// Only if it has nothing but harmless characters.
    Plain,
    /// As it is: what surrounds it quotes it.
    Raw,
}

fn uses(pieces: &[Piece], wanted: Placeholder) -> bool {
    pieces.iter().any(|piece| match piece {
        Piece::Text(_) => false,
        Piece::Value(placeholder, _) => *placeholder == wanted,
        Piece::Identifier(body) | Piece::Literal { body, .. } | Piece::Dollar { body, .. } => uses(body, wanted),
    })
}

/// What surrounds the text that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inside {
    Statement,
    Literal,
    Dollar,
}

struct Reader<'a> {
    rest: &'a str,
    inside: Inside,
    depth: u8,
    text: String,
    current: Statement,
    done: Vec<Statement>,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str, inside: Inside, depth: u8) -> Self {
        Self { rest: text, inside, depth, text: String::new(), current: Statement::default(), done: Vec::new() }
    }

    /// The statements of the text; for a text inside quotes, one.
    fn read(mut self) -> Result<Vec<Statement>, Flaw> {
        if self.depth > MAX_DEPTH {
            return Err(Flaw::Nesting);
        }
        while let Some(first) = self.rest.chars().next() {
            match first {
                '-' if self.rest.starts_with("--") => self.line_comment()?,
                '/' if self.rest.starts_with("/*") => self.block_comment()?,
                '\'' => self.literal()?,
                '"' => self.identifier()?,
                '$' => self.dollar()?,
                '{' if self.rest.starts_with("{{") => self.bare()?,
                ';' if self.inside == Inside::Statement => {
                    self.skip(1);
                    self.end_statement();
                }
                c if is_word_start(c) => self.word(),
                c => self.copy(c.len_utf8()),
            }
        }
        self.end_statement();
        Ok(self.done)
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    fn copy(&mut self, bytes: usize) {
        self.text.push_str(self.rest.get(..bytes).unwrap_or_default());
        self.skip(bytes);
    }

    fn push(&mut self, piece: Piece) {
        let text = std::mem::take(&mut self.text);
        if !text.is_empty() {
            self.current.pieces.push(Piece::Text(text));
        }
        self.current.pieces.push(piece);
    }

    fn end_statement(&mut self) {
        let mut statement = std::mem::take(&mut self.current);
        let text = std::mem::take(&mut self.text);
        if !text.is_empty() {
            statement.pieces.push(Piece::Text(text));
        }
        let blank = |piece: &Piece| matches!(piece, Piece::Text(text) if text.trim().is_empty());
        if self.inside != Inside::Statement || !statement.pieces.iter().all(blank) {
            self.done.push(statement);
        }
    }

    fn word(&mut self) {
        let end = self.rest.find(|c: char| !is_word(c)).unwrap_or(self.rest.len());
        self.current.words.push(self.rest.get(..end).unwrap_or_default().to_uppercase());
        self.copy(end);
    }

    fn line_comment(&mut self) -> Result<(), Flaw> {
        let end = self.rest.find('\n').unwrap_or(self.rest.len());
        self.comment(end)
    }

    fn block_comment(&mut self) -> Result<(), Flaw> {
        let (mut depth, mut at) = (0_u32, 0_usize);
        loop {
            let rest = self.rest.get(at..).unwrap_or_default();
            let step = match rest.chars().next() {
                None => return Err(Flaw::Unterminated("a comment")),
                Some('/') if rest.starts_with("/*") => {
                    depth += 1;
                    2
                }
                Some('*') if rest.starts_with("*/") => {
                    depth -= 1;
                    2
                }
                Some(c) => c.len_utf8(),
            };
            at += step;
            if depth == 0 {
                return self.comment(at);
            }
        }
    }

    /// A comment says nothing to the database. Inside quotes it may be no comment at all, so there it stays.
    fn comment(&mut self, bytes: usize) -> Result<(), Flaw> {
        if self.inside == Inside::Statement {
            self.text.push(' ');
        } else {
            let comment = self.rest.get(..bytes).unwrap_or_default().to_owned();
            for piece in split(&comment, Form::Plain)? {
                self.push(piece);
            }
        }
        self.skip(bytes);
        Ok(())
    }

    fn literal(&mut self) -> Result<(), Flaw> {
        let escapes = self.after_prefix("E");
        let (raw, bytes) = self.quoted('\'', escapes).ok_or(Flaw::Unterminated("a text in single quotes"))?;
        if !has_placeholder(raw) {
            self.copy(bytes);
            return Ok(());
        }
        if (escapes && raw.contains('\\')) || self.after_prefix("U&") {
            return Err(Flaw::Escapes);
        }
        let decoded = raw.replace("''", "'");
        let body = match whole(&decoded)? {
            Some(placeholder) => vec![Piece::Value(placeholder, Form::Raw)],
            None => match Reader::new(&decoded, Inside::Literal, self.depth + 1).read() {
                Ok(inner) => inner.into_iter().flat_map(|statement| statement.pieces).collect(),
                Err(Flaw::Unterminated(_)) => split(&decoded, Form::Plain)?,
                Err(flaw) => return Err(flaw),
            },
        };
        self.skip(bytes);
        self.push(Piece::Literal { escapes, body });
        Ok(())
    }

    fn identifier(&mut self) -> Result<(), Flaw> {
        let (raw, bytes) = self.quoted('"', false).ok_or(Flaw::Unterminated("a name in double quotes"))?;
        if !has_placeholder(raw) {
            self.copy(bytes);
            return Ok(());
        }
        if self.after_prefix("U&") {
            return Err(Flaw::Escapes);
        }
        let body = split(&raw.replace("\"\"", "\""), Form::Raw)?;
        for placeholder in [Placeholder::Password, Placeholder::Expiration] {
            if uses(&body, placeholder) {
                return Err(Flaw::Bare(placeholder.as_str(), "single"));
            }
        }
        self.skip(bytes);
        self.push(Piece::Identifier(body));
        Ok(())
    }

    fn dollar(&mut self) -> Result<(), Flaw> {
        let Some(tag) = self.dollar_tag() else {
            self.copy(1);
            return Ok(());
        };
        let body = self.rest.get(tag.len()..).unwrap_or_default();
        let end = body.find(&tag).ok_or(Flaw::Unterminated("a text in dollar quotes"))?;
        let (body, bytes) = (body.get(..end).unwrap_or_default(), end + 2 * tag.len());
        if !has_placeholder(body) {
            self.copy(bytes);
            return Ok(());
        }
        let body = match whole(body)? {
            Some(placeholder) => vec![Piece::Value(placeholder, Form::Raw)],
            None => {
                let inner = Reader::new(body, Inside::Dollar, self.depth + 1).read()?;
                inner.into_iter().flat_map(|statement| statement.pieces).collect()
            }
        };
        self.skip(bytes);
        self.push(Piece::Dollar { tag, body });
        Ok(())
    }

    /// The `$tag$` that begins here, unless the dollar is part of a word or a parameter.
    fn dollar_tag(&self) -> Option<String> {
        if self.text.chars().next_back().is_some_and(is_word) {
            return None;
        }
        let inner = self.rest.strip_prefix('$')?;
        let end = inner.find('$')?;
        let name = inner.get(..end)?;
        let valid = name.chars().all(|c| is_word(c) && c != '$') && !name.starts_with(|c: char| c.is_ascii_digit());
        valid.then(|| format!("${name}$"))
    }

    fn bare(&mut self) -> Result<(), Flaw> {
        let Some((placeholder, bytes)) = placeholder(self.rest)? else {
            self.copy(1);
            return Ok(());
        };
        let form = match (self.inside, placeholder) {
            (Inside::Literal, _) => Form::Plain,
            (_, Placeholder::Name) => Form::Quoted,
            (_, placeholder) => return Err(Flaw::Bare(placeholder.as_str(), "single")),
        };
        let before = self.text.chars().next_back();
        self.skip(bytes);
        let touches = |c: Option<char>| c.is_some_and(|c| is_word(c) || matches!(c, '\'' | '"' | '{'));
        let follows_value = before.is_none() && !self.current.pieces.is_empty();
        if form == Form::Quoted && (touches(before) || follows_value || touches(self.rest.chars().next())) {
            return Err(Flaw::Bare(placeholder.as_str(), "double"));
        }
        self.push(Piece::Value(placeholder, form));
        Ok(())
    }

    /// The inner text of the quotes that begin here, and the bytes with the quotes.
    fn quoted(&self, quote: char, escapes: bool) -> Option<(&'a str, usize)> {
        let inner = self.rest.get(1..)?;
        let mut chars = inner.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            if escapes && c == '\\' {
                chars.next();
            } else if c == quote && chars.next_if(|(_, next)| *next == quote).is_none() {
                return Some((inner.get(..at)?, at + 2));
            }
        }
        None
    }

    /// Whether the word or sign directly before the cursor is `prefix`, in any case.
    fn after_prefix(&self, prefix: &str) -> bool {
        let Some(start) = self.text.len().checked_sub(prefix.len()) else { return false };
        let (Some(before), Some(last)) = (self.text.get(..start), self.text.get(start..)) else { return false };
        last.eq_ignore_ascii_case(prefix) && !before.chars().next_back().is_some_and(is_word)
    }
}

fn is_word_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || !c.is_ascii()
}

fn is_word(c: char) -> bool {
    is_word_start(c) || c.is_ascii_digit() || c == '$'
}

/// The placeholder that the text begins with, and its length.
fn placeholder(text: &str) -> Result<Option<(Placeholder, usize)>, Flaw> {
    let Some(inner) = text.strip_prefix("{{") else { return Ok(None) };
    let Some(end) = inner.find("}}") else { return Ok(None) };
    let name = inner.get(..end).unwrap_or_default().trim();
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphabetic() || c == '_') {
        return Ok(None);
    }
    match Placeholder::from_name(name) {
        Some(placeholder) => Ok(Some((placeholder, end + 4))),
        None => Err(Flaw::Unknown(name.to_owned())),
    }
}

fn has_placeholder(text: &str) -> bool {
    text.match_indices("{{").any(|(at, _)| !matches!(placeholder(text.get(at..).unwrap_or_default()), Ok(None)))
}

/// The placeholder, if the text is nothing else.
fn whole(text: &str) -> Result<Option<Placeholder>, Flaw> {
    Ok(placeholder(text)?.filter(|(_, bytes)| *bytes == text.len()).map(|(placeholder, _)| placeholder))
}

/// A text that is not read as SQL: only its placeholders count.
fn split(text: &str, form: Form) -> Result<Vec<Piece>, Flaw> {
    let (mut pieces, mut plain, mut rest) = (Vec::new(), String::new(), text);
    while let Some(c) = rest.chars().next() {
        let step = match placeholder(rest)? {
            Some((placeholder, bytes)) => {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
                pieces.push(Piece::Value(placeholder, form));
                bytes
            }
            None => {
                plain.push(c);
                c.len_utf8()
            }
        };
        rest = rest.get(step..).unwrap_or_default();
    }
    pieces.push(Piece::Text(plain));
    Ok(pieces)
}

const MAX_DEPTH: u8 = 4;

#[cfg(test)]
mod tests;
