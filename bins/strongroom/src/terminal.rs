//! The person or program at the other end: output, colours, prompts.

use std::io::{IsTerminal, Write};

use secret::SecretString;

use crate::{
    failure::{Failure, Outcome},
    output::{Format, answer::Answer, json::Json, table},
};

/// How to talk to whoever started us.
pub(crate) struct Terminal {
    /// The form of the output.
    pub(crate) format: Format,
    /// The one field to print.
    pub(crate) field: Option<String>,
    /// Whether prompts are refused.
    pub(crate) non_interactive: bool,
    colour: bool,
}

impl Terminal {
    pub(crate) fn new(format: Format, field: Option<String>, non_interactive: bool, no_colour: bool) -> Self {
        let unwanted = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let colour =
            !no_colour && !unwanted("NO_COLOR") && !unwanted("VAULT_CLI_NO_COLOR") && std::io::stderr().is_terminal();
        Self { format, field, non_interactive, colour }
    }

    /// Prints a text and a line end.
    pub(crate) fn print(&self, text: &str) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.write_all(b"\n")?;
        Ok(out.flush()?)
    }

    /// Prints a value as it is; a line end follows for people only.
    pub(crate) fn print_raw(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        out.write_all(bytes)?;
        if out.is_terminal() {
            out.write_all(b"\n")?;
        }
        Ok(out.flush()?)
    }

    /// Says on standard error what went wrong.
    pub(crate) fn error(&self, text: &str) {
        self.say("31", text);
    }

    /// Says on standard error what to be aware of.
    pub(crate) fn warn(&self, text: &str) {
        self.say("33", text);
    }

    /// Says on standard error what is going on.
    pub(crate) fn note(&self, text: &str) {
        self.say("", text);
    }

    /// Prints a reply: the wanted field, or all of it in the wanted form.
    pub(crate) fn answer(&self, answer: &Answer) -> Outcome {
        if let Some(name) = &self.field {
            return self.field(name, answer.field(name));
        }
        match self.format {
            Format::Raw => self.print_raw(&answer.raw)?,
            Format::Table => {
                self.warnings(answer);
                if let Some(text) = answer.table() {
                    self.print(&text)?;
                }
            }
            Format::Json | Format::Yaml => self.structured(&answer.json())?,
        }
        Ok(crate::failure::DONE)
    }

    /// Prints an object that is no whole reply.
    pub(crate) fn object(&self, object: &Json) -> Outcome {
        if let Some(name) = &self.field {
            return self.field(name, object.get(name).cloned());
        }
        match self.format {
            Format::Table | Format::Raw => {
                if !object.entries().is_empty() {
                    self.print(&table::key_values(object.entries()))?;
                }
            }
            Format::Json | Format::Yaml => self.structured(object)?,
        }
        Ok(crate::failure::DONE)
    }

    /// Prints rows under headings, or `whole` in the other forms.
    pub(crate) fn rows(&self, headings: &[&str], rows: &[Vec<String>], whole: &Json) -> Outcome {
        match self.format {
            Format::Table | Format::Raw => self.table(headings, rows)?,
            Format::Json | Format::Yaml => self.structured(whole)?,
        }
        Ok(crate::failure::DONE)
    }

    /// Prints rows under headings; below each other where the terminal is too narrow.
    pub(crate) fn table(&self, headings: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
        let out = std::io::stdout();
        // What is read by a program has one shape only.
        let width = out.is_terminal().then(|| rustix::termios::tcgetwinsize(&out).ok()).flatten();
        let width = width.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0);
        self.print(&table::fitting(headings, rows, width))
    }

    /// Prints the names of a listing.
    pub(crate) fn names(&self, names: &Json) -> Outcome {
        let mut sorted: Vec<String> = names.items().iter().map(Json::plain).collect();
        sorted.sort();
        let rows: Vec<_> = sorted.into_iter().map(|name| vec![name]).collect();
        self.rows(&["Keys"], &rows, names)
    }

    /// Prints the value that `-field` asked for.
    pub(crate) fn field(&self, name: &str, value: Option<Json>) -> Outcome {
        let Some(value) = value else {
            return Err(Failure::local(format!("Field {name:?} not present in secret")));
        };
        let text = self.format.structured(&value).unwrap_or_else(|| value.plain());
        self.print_raw(text.as_bytes())?;
        Ok(crate::failure::DONE)
    }

    /// Prints a value as JSON or YAML.
    pub(crate) fn structured(&self, value: &Json) -> Result<(), Failure> {
        match self.format.structured(value) {
            Some(text) => self.print(&text),
            None => self.print(&value.plain()),
        }
    }

    /// Says the server's warnings on standard error.
    pub(crate) fn warnings(&self, answer: &Answer) {
        if answer.warnings.is_empty() {
            return;
        }
        self.warn("WARNING! The following warnings were returned from the server:\n");
        for warning in &answer.warnings {
            self.warn(&format!("  * {warning}\n"));
        }
    }

    /// Whether the output is a table.
    pub(crate) fn is_table(&self) -> bool {
        matches!(self.format, Format::Table)
    }

    /// Whether there is a person who could be asked.
    pub(crate) fn can_ask(&self) -> bool {
        !self.non_interactive && std::io::stdin().is_terminal()
    }

    /// Asks for a secret without showing it.
    pub(crate) fn ask_secret(&self, what: &str, remedy: &str) -> Result<SecretString, Failure> {
        if self.non_interactive {
            return Err(Failure::local(format!("{what} is missing and prompts are off (-non-interactive): {remedy}")));
        }
        let answer = rpassword::prompt_password(format!("{what} (will be hidden): "))
            .map_err(|error| Failure::local(format!("cannot ask for {what}: {error}; {remedy}")))?;
        let answer = secret::Zeroizing::new(answer);
        Ok(SecretString::new(answer.trim().to_owned()))
    }

    /// Asks a question that is no secret, of a person at a terminal; gives the answer without blanks around it.
    pub(crate) fn ask(&self, question: &str, remedy: &str) -> Result<String, Failure> {
        if !self.can_ask() {
            return Err(Failure::local(format!("there is nobody to ask: {remedy}")));
        }
        let failed = |error: std::io::Error| Failure::local(format!("cannot ask: {error}; {remedy}"));
        let mut err = std::io::stderr().lock();
        err.write_all(question.as_bytes()).and_then(|()| err.flush()).map_err(failed)?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).map_err(failed)?;
        Ok(answer.trim().to_owned())
    }

    fn say(&self, colour: &str, text: &str) {
        let mut err = std::io::stderr().lock();
        // Nobody can be told when standard error is gone.
        let _ = if self.colour && !colour.is_empty() {
            writeln!(err, "\u{1b}[{colour}m{text}\u{1b}[0m")
        } else {
            writeln!(err, "{text}")
        };
    }
}
