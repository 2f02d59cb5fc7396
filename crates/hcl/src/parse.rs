//! Tokens to items.

use super::{
    Item, Key, MAX_DEPTH, SyntaxError, Value,
    scan::{Language, Scanner, Token},
};

/// Reads a whole text. It is JSON if its first character is `{`.
pub fn parse(text: &str) -> Result<Vec<Item>, SyntaxError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let language = if text.trim_start().starts_with('{') { Language::Json } else { Language::Hcl };
    let mut scanner = Scanner::new(text, language);
    let (token, line) = scanner.token()?;
    let mut parser = Parser { scanner, token, line, depth: 0 };
    let items = match language {
        Language::Hcl => parser.items(&Token::End)?,
        Language::Json => {
            parser.advance()?;
            parser.members()?
        }
    };
    match parser.token {
        Token::End => Ok(items),
        _ => Err(parser.unexpected("the end of the text")),
    }
}

struct Parser<'a> {
    scanner: Scanner<'a>,
    token: Token,
    line: u32,
    depth: usize,
}

impl Parser<'_> {
    fn advance(&mut self) -> Result<Token, SyntaxError> {
        let (token, line) = self.scanner.token()?;
        self.line = line;
        Ok(std::mem::replace(&mut self.token, token))
    }

    fn unexpected(&self, wanted: &str) -> SyntaxError {
        SyntaxError { line: self.line, what: format!("expected {wanted}, found {}", self.token.describe()) }
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, SyntaxError>) -> Result<T, SyntaxError> {
        if self.depth == MAX_DEPTH {
            return Err(SyntaxError { line: self.line, what: format!("nested more than {MAX_DEPTH} deep") });
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    /// HCL: items up to the closing token, which is consumed unless it is the end. One comma may follow each item.
    fn items(&mut self, close: &Token) -> Result<Vec<Item>, SyntaxError> {
        let mut items = Vec::new();
        while self.token != *close {
            items.push(self.item()?);
            if self.token == Token::Comma {
                self.advance()?;
            }
        }
        if *close != Token::End {
            self.advance()?;
        }
        Ok(items)
    }

    fn item(&mut self) -> Result<Item, SyntaxError> {
        let mut keys = Vec::new();
        loop {
            let line = self.line;
            match &self.token {
                Token::Word(_) | Token::Text(_) => {
                    if let Token::Word(text) | Token::Text(text) = self.advance()? {
                        keys.push(Key { text, line });
                    }
                }
                Token::Equals if keys.len() == 1 => {
                    self.advance()?;
                    return Ok(Item { keys, value: self.value()? });
                }
                Token::Equals if keys.len() > 1 => return Err(self.unexpected("'{' after several keys")),
                Token::Open if !keys.is_empty() => {
                    self.advance()?;
                    let items = self.deeper(|parser| parser.items(&Token::Close))?;
                    return Ok(Item { keys, value: Value::Object(items) });
                }
                _ if keys.is_empty() => return Err(self.unexpected("a key")),
                _ => return Err(self.unexpected("'=' or '{'")),
            }
        }
    }

    fn value(&mut self) -> Result<Value, SyntaxError> {
        let json = self.json();
        match &self.token {
            Token::Open => {
                self.advance()?;
                self.deeper(|parser| if json { parser.members() } else { parser.items(&Token::Close) })
                    .map(Value::Object)
            }
            Token::ListOpen => {
                self.advance()?;
                self.deeper(Self::list).map(Value::List)
            }
            Token::Text(_) | Token::Number(_) | Token::Word(_) => self.scalar(),
            _ => Err(self.unexpected("a value")),
        }
    }

    fn scalar(&mut self) -> Result<Value, SyntaxError> {
        let value = match &self.token {
            Token::Text(text) => Value::Text(text.clone()),
            Token::Number(number) => Value::Number(number.clone()),
            Token::Word(word) => match word.as_str() {
                "true" => Value::Flag(true),
                "false" => Value::Flag(false),
                "null" if self.json() => Value::Null,
                _ => return Err(self.unexpected("a value in quotes")),
            },
            _ => return Err(self.unexpected("a value")),
        };
        self.advance()?;
        Ok(value)
    }

    /// The elements after `[`. HCL allows a comma after the last one.
    fn list(&mut self) -> Result<Vec<Value>, SyntaxError> {
        let mut values = Vec::new();
        loop {
            let closes = values.is_empty() || !self.json();
            if closes && self.token == Token::ListClose {
                break;
            }
            values.push(self.value()?);
            match self.token {
                Token::Comma => self.advance()?,
                Token::ListClose => break,
                _ => return Err(self.unexpected("',' or ']'")),
            };
        }
        self.advance()?;
        Ok(values)
    }

    /// JSON: the members after `{`. Repeated keys are kept.
    fn members(&mut self) -> Result<Vec<Item>, SyntaxError> {
        let mut items = Vec::new();
        while !(items.is_empty() && self.token == Token::Close) {
            let line = self.line;
            let Token::Text(text) = &self.token else { return Err(self.unexpected("a key in quotes")) };
            let key = Key { text: text.clone(), line };
            self.advance()?;
            if self.token != Token::Colon {
                return Err(self.unexpected("':'"));
            }
            self.advance()?;
            items.push(Item { keys: vec![key], value: self.value()? });
            match self.token {
                Token::Comma => self.advance()?,
                Token::Close => break,
                _ => return Err(self.unexpected("',' or '}'")),
            };
        }
        self.advance()?;
        Ok(items)
    }

    fn json(&self) -> bool {
        self.scanner.language() == Language::Json
    }
}
