//! Text to tokens.

use super::SyntaxError;

/// Which language the text is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    Hcl,
    Json,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Close,
    Colon,
    Comma,
    End,
    Equals,
    ListClose,
    ListOpen,
    Number(serde_json::Number),
    Open,
    Text(String),
    Word(String),
}

impl Token {
    /// The token as an error message names it.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Close => "'}'".into(),
            Self::Colon => "':'".into(),
            Self::Comma => "','".into(),
            Self::End => "the end of the text".into(),
            Self::Equals => "'='".into(),
            Self::ListClose => "']'".into(),
            Self::ListOpen => "'['".into(),
            Self::Number(number) => format!("the number {number}"),
            Self::Open => "'{'".into(),
            Self::Text(text) => format!("the string {text:?}"),
            Self::Word(word) => format!("{word:?}"),
        }
    }
}

pub(super) struct Scanner<'a> {
    rest: &'a str,
    language: Language,
    /// Counted from one.
    line: u32,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str, language: Language) -> Self {
        Self { rest: text, language, line: 1 }
    }

    pub(super) fn language(&self) -> Language {
        self.language
    }

    /// The next token and the line on which it begins.
    pub(super) fn token(&mut self) -> Result<(Token, u32), SyntaxError> {
        self.skip_blanks()?;
        let line = self.line;
        let Some(first) = self.rest.chars().next() else { return Ok((Token::End, line)) };
        let token = match first {
            '{' => self.mark(Token::Open),
            '}' => self.mark(Token::Close),
            '[' => self.mark(Token::ListOpen),
            ']' => self.mark(Token::ListClose),
            ',' => self.mark(Token::Comma),
            '=' if self.language == Language::Hcl => self.mark(Token::Equals),
            ':' if self.language == Language::Json => self.mark(Token::Colon),
            '"' => Token::Text(self.string()?),
            '<' if self.language == Language::Hcl => Token::Text(self.heredoc()?),
            '-' | '0'..='9' => self.number()?,
            letter if letter == '_' || letter.is_alphabetic() => Token::Word(self.word()),
            other => return Err(self.fail(format!("unexpected character {other:?}"))),
        };
        Ok((token, line))
    }

    fn fail(&self, what: impl Into<String>) -> SyntaxError {
        SyntaxError { line: self.line, what: what.into() }
    }

    fn bump(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next()?;
        if next == '\n' {
            self.line = self.line.saturating_add(1);
        }
        self.rest = chars.as_str();
        Some(next)
    }

    fn take(&mut self, prefix: &str) -> bool {
        let taken = self.rest.strip_prefix(prefix);
        self.rest = taken.unwrap_or(self.rest);
        taken.is_some()
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !wanted(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn mark(&mut self, token: Token) -> Token {
        self.bump();
        token
    }

    fn skip_blanks(&mut self) -> Result<(), SyntaxError> {
        loop {
            match self.rest.chars().next() {
                Some(' ' | '\t' | '\r' | '\n') => {
                    self.bump();
                }
                Some('#' | '/') if self.language == Language::Hcl => self.comment()?,
                _ => return Ok(()),
            }
        }
    }

    fn comment(&mut self) -> Result<(), SyntaxError> {
        if self.rest.starts_with('#') || self.rest.starts_with("//") {
            self.take_while(|c| c != '\n');
            return Ok(());
        }
        let opened = self.fail("comment is not closed with '*/'");
        if !self.take("/*") {
            return Err(self.fail("unexpected '/': a comment begins with '#', '//' or '/*'"));
        }
        while !self.take("*/") {
            if self.bump().is_none() {
                return Err(opened);
            }
        }
        Ok(())
    }

    fn word(&mut self) -> String {
        self.take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.')).to_owned()
    }

    fn number(&mut self) -> Result<Token, SyntaxError> {
        let text = self.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-'));
        let hex = text.strip_prefix("0x").filter(|_| self.language == Language::Hcl);
        let number = match hex {
            Some(digits) => u64::from_str_radix(digits, 16).ok().map(serde_json::Number::from),
            None => text.parse::<serde_json::Number>().ok(),
        };
        number.map(Token::Number).ok_or_else(|| self.fail(format!("invalid number {text:?}: write it in quotes")))
    }

    fn string(&mut self) -> Result<String, SyntaxError> {
        let unclosed = self.fail("string is not closed with '\"' on its line");
        self.bump();
        let mut text = String::new();
        loop {
            if self.language == Language::Hcl && self.rest.starts_with("${") {
                self.dollar_brace(&mut text)?;
                continue;
            }
            match self.bump() {
                Some('"') => return Ok(text),
                Some('\\') => text.push(self.escape()?),
                None | Some('\n') => return Err(unclosed),
                Some(c) if c.is_control() && c != '\t' => {
                    return Err(self.fail(format!("string holds the control character {c:?}")));
                }
                Some(c) => text.push(c),
            }
        }
    }

    /// `${…}` is text like any other, but the language lets quotes stand inside. Nobody means that, so it is
    /// refused instead of read in one of two ways.
    fn dollar_brace(&mut self, text: &mut String) -> Result<(), SyntaxError> {
        let mut open = 0_u32;
        loop {
            match self.rest.chars().next() {
                None | Some('"' | '\n') => return Err(self.fail("'${' in a string is not closed with '}'")),
                Some('{') => open += 1,
                Some('}') => open = open.saturating_sub(1),
                Some(_) => {}
            }
            let c = self.bump();
            text.extend(c);
            if c == Some('}') && open == 0 {
                return Ok(());
            }
        }
    }

    fn escape(&mut self) -> Result<char, SyntaxError> {
        let hcl = self.language == Language::Hcl;
        let escaped = self.bump();
        Ok(match escaped {
            Some(c @ ('"' | '\\')) => c,
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('/') if !hcl => '/',
            Some('a') if hcl => '\u{7}',
            Some('v') if hcl => '\u{b}',
            Some('u') => return self.unicode(4),
            Some('U') if hcl => return self.unicode(8),
            Some(other) => return Err(self.fail(format!("unknown escape '\\{other}' in a string"))),
            None => return Err(self.fail("string ends in '\\'")),
        })
    }

    fn unicode(&mut self, digits: usize) -> Result<char, SyntaxError> {
        let unit = self.hex(digits)?;
        let code = match unit {
            // JSON writes characters beyond the basic plane as two halves.
            0xD800..=0xDBFF if self.take("\\u") => match self.hex(4)? {
                low @ 0xDC00..=0xDFFF => 0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00),
                _ => return Err(self.fail("unpaired surrogate in a '\\u' escape")),
            },
            unit => unit,
        };
        char::from_u32(code).ok_or_else(|| self.fail("a '\\u' escape names no character"))
    }

    fn hex(&mut self, digits: usize) -> Result<u32, SyntaxError> {
        let value = self.rest.get(..digits).filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let code = value.and_then(|text| u32::from_str_radix(text, 16).ok());
        let code = code.ok_or_else(|| self.fail(format!("a '\\u' escape needs {digits} hexadecimal digits")))?;
        self.rest = self.rest.get(digits..).unwrap_or_default();
        Ok(code)
    }

    /// `<<END` or `<<-END`, lines, and a line that holds only `END`.
    fn heredoc(&mut self) -> Result<String, SyntaxError> {
        let unclosed = |end: &str, line| SyntaxError { line, what: format!("no line {end:?} closes the heredoc") };
        let line = self.line;
        if !self.take("<<") {
            return Err(self.fail("unexpected '<'"));
        }
        let indented = self.take("-");
        let end = self.take_while(|c| c.is_ascii_alphanumeric() || c == '_');
        self.take("\r");
        if end.is_empty() || self.bump() != Some('\n') {
            return Err(SyntaxError { line, what: "a heredoc begins with '<<' and a word, alone on the line".into() });
        }
        let mut lines = Vec::new();
        while !self.rest.is_empty() {
            let text = self.take_while(|c| c != '\n');
            if text.trim() == end {
                let indent = if indented { text.split(|c| c != ' ' && c != '\t').next() } else { None };
                return Ok(join(&lines, indent.unwrap_or_default()));
            }
            lines.push(text);
            self.bump();
        }
        Err(unclosed(end, line))
    }
}

/// The lines with the indentation of the closing word removed, provided that all of them have it.
fn join(lines: &[&str], indent: &str) -> String {
    let indent = if lines.iter().all(|line| line.starts_with(indent)) { indent } else { "" };
    lines.iter().flat_map(|line| [line.strip_prefix(indent).unwrap_or(line), "\n"]).collect()
}
