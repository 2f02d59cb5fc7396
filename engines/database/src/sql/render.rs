//! From a template and values to the SQL that is sent.

use secret::Zeroizing;

use super::{Flaw, Form, Piece, Placeholder, Template};

/// What the placeholders stand for.
#[derive(Clone, Copy)]
pub struct Values<'a> {
    /// The user's name.
    pub name: &'a str,
    /// The password, or what is sent in its place.
    pub password: Option<&'a str>,
    /// The end of the user's life, in the form the database reads.
    pub expiration: Option<&'a str>,
}

impl Values<'_> {
    fn of(&self, placeholder: Placeholder) -> Result<&str, Flaw> {
        let value = match placeholder {
            Placeholder::Name => Some(self.name),
            Placeholder::Password => self.password,
            Placeholder::Expiration => self.expiration,
        };
        let value = value.ok_or(Flaw::NoValue(placeholder.as_str()))?;
        // No database takes it in a text, and some end the text there.
        if value.contains('\0') { Err(Flaw::Unsafe(placeholder.as_str())) } else { Ok(value) }
    }
}

impl std::fmt::Debug for Values<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Values").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Template {
    /// The statements with the values in them, separated by semicolons; empty if there are none.
    pub fn render(&self, values: &Values<'_>) -> Result<Zeroizing<String>, Flaw> {
        let mut sql = Zeroizing::new(String::new());
        for statement in &self.statements {
            let text = render(&statement.pieces, values)?;
            sql.push_str(text.trim());
            sql.push_str(";\n");
        }
        Ok(sql)
    }
}

fn render(pieces: &[Piece], values: &Values<'_>) -> Result<Zeroizing<String>, Flaw> {
    let mut sql = Zeroizing::new(String::new());
    for piece in pieces {
        match piece {
            Piece::Text(text) => sql.push_str(text),
            Piece::Value(placeholder, form) => value(&mut sql, *placeholder, *form, values)?,
            Piece::Identifier(body) => sql.push_str(&quote_identifier(&render(body, values)?)),
            Piece::Literal { escapes, body } => literal(&mut sql, &render(body, values)?, *escapes),
            Piece::Dollar { tag, body } => dollar(&mut sql, tag, &render(body, values)?)?,
        }
    }
    Ok(sql)
}

fn value(sql: &mut String, placeholder: Placeholder, form: Form, values: &Values<'_>) -> Result<(), Flaw> {
    let value = values.of(placeholder)?;
    match form {
        Form::Quoted => sql.push_str(&quote_identifier(value)),
        Form::Raw => sql.push_str(value),
        // The expiration is a date in our own form.
        Form::Plain if placeholder == Placeholder::Expiration || is_plain(value) => sql.push_str(value),
        Form::Plain => return Err(Flaw::Unsafe(placeholder.as_str())),
    }
    Ok(())
}

/// Whether a value can end no quote, word or comment wherever it stands.
fn is_plain(value: &str) -> bool {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "_.:@+=/$-".contains(c);
    value.chars().all(harmless) && !value.contains("--") && !value.contains("$$")
}

fn literal(sql: &mut String, body: &str, escapes: bool) {
    sql.push('\'');
    for c in body.chars() {
        match c {
            '\'' => sql.push_str("''"),
            '\\' if escapes => sql.push_str("\\\\"),
            c => sql.push(c),
        }
    }
    sql.push('\'');
}

fn dollar(sql: &mut String, tag: &str, body: &str) -> Result<(), Flaw> {
    // The tag may also arise across the end: a body that ends in `$` before `$$`.
    let text = Zeroizing::new(format!("{body}{tag}"));
    if text.find(tag) != Some(body.len()) {
        return Err(Flaw::Unsafe("a placeholder in dollar quotes"));
    }
    sql.push_str(tag);
    sql.push_str(&text);
    Ok(())
}

/// A name in double quotes, whatever is in it.
pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text in single quotes, whatever is in it. The database must take backslashes as they are, as standard SQL does.
pub fn quote_literal(text: &str) -> Zeroizing<String> {
    let mut sql = Zeroizing::new(String::with_capacity(text.len() + 2));
    literal(&mut sql, text, false);
    sql
}
