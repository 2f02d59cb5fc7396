//! From the text of a template to expressions whose functions and arguments fit.

use super::Error;

#[derive(Clone, Debug)]
pub(super) enum Node {
    Text(String),
    Expr(Expr),
}

#[derive(Clone, Debug)]
pub(super) enum Expr {
    DisplayName,
    RoleName,
    Text(String),
    Number(i64),
    Call(Box<Call>),
}

#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) function: Function,
    pub(super) args: Vec<Expr>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Random,
    Truncate,
    TruncateSha256,
    Uppercase,
    Lowercase,
    Replace,
    Sha256,
    Base64,
    UnixTime,
    UnixTimeMillis,
    Timestamp,
    Uuid,
    Printf(Vec<Format>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Text(String),
    Verb(Verb),
}

/// `%s`, `%v` or `%d` with an optional width and precision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verb {
    kind: char,
    left: bool,
    width: usize,
    precision: Option<usize>,
}

impl Verb {
    pub(super) fn format(&self, text: &str) -> String {
        let kept: String = text.chars().take(self.precision.unwrap_or(usize::MAX)).collect();
        match self.left {
            true => format!("{kept:<width$}", width = self.width),
            false => format!("{kept:>width$}", width = self.width),
        }
    }
}

impl Node {
    /// How many random characters at most go into what this makes.
    pub(super) fn random_chars(&self) -> u64 {
        match self {
            Self::Text(_) => 0,
            Self::Expr(expr) => expr.random_chars(),
        }
    }
}

impl Expr {
    fn random_chars(&self) -> u64 {
        let Self::Call(call) = self else { return 0 };
        let inner = call.args.iter().map(Self::random_chars).sum();
        match (&call.function, call.args.first()) {
            (Function::Random, Some(Self::Number(count))) => u64::try_from(*count).unwrap_or_default(),
            (Function::Uuid, _) => 30,
            (Function::Truncate | Function::TruncateSha256, Some(Self::Number(limit))) => {
                u64::try_from(*limit).unwrap_or_default().min(inner)
            }
            _ => inner,
        }
    }

    fn is_number(&self) -> bool {
        matches!(self, Self::Number(_))
    }
}

pub(super) fn parse(text: &str) -> Result<Vec<Node>, Error> {
    let (mut nodes, mut rest, mut trim) = (Vec::new(), text, false);
    loop {
        let (plain, action) = match rest.split_once("{{") {
            Some((plain, action)) => (plain, Some(action)),
            None => (rest, None),
        };
        let plain = if trim { plain.trim_start() } else { plain };
        let cut_before = action.is_some_and(|action| action.starts_with("- "));
        let plain = if cut_before { plain.trim_end() } else { plain };
        if !plain.is_empty() {
            nodes.push(Node::Text(plain.to_owned()));
        }
        let Some(action) = action else { return Ok(nodes) };
        let tokens = Tokens::read(if cut_before { action.get(1..).unwrap_or_default() } else { action })?;
        trim = tokens.trim;
        rest = tokens.rest;
        if !tokens.comment {
            let mut parser = Parser { tokens: tokens.list.into_iter().peekable(), depth: 0 };
            nodes.push(Node::Expr(parser.pipeline(false)?));
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Field(String),
    Text(String),
    Number(i64),
    Open,
    Close,
    Pipe,
}

struct Tokens<'a> {
    list: Vec<Token>,
    comment: bool,
    trim: bool,
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    /// The tokens up to `}}`, and what follows.
    fn read(text: &'a str) -> Result<Self, Error> {
        let open = || Error::Syntax("{{ does not end".to_owned());
        if let Some(comment) = text.trim_start().strip_prefix("/*") {
            let (_, rest) = comment.split_once("*/").ok_or_else(open)?;
            let (between, rest) = rest.split_once("}}").ok_or_else(open)?;
            return Ok(Self { list: Vec::new(), comment: true, trim: between.trim_start() == "-", rest });
        }
        let (mut list, mut rest) = (Vec::new(), text);
        loop {
            rest = rest.trim_start();
            if let Some(end) = rest.strip_prefix("-}}") {
                return Ok(Self { list, comment: false, trim: true, rest: end });
            }
            if let Some(end) = rest.strip_prefix("}}") {
                return Ok(Self { list, comment: false, trim: false, rest: end });
            }
            let first = rest.chars().next().ok_or_else(open)?;
            let (token, step) = match first {
                '(' => (Token::Open, 1),
                ')' => (Token::Close, 1),
                '|' => (Token::Pipe, 1),
                '"' => quoted(rest)?,
                '`' => {
                    let end = rest.get(1..).and_then(|inner| inner.find('`')).ok_or_else(open)?;
                    (Token::Text(rest.get(1..=end).unwrap_or_default().to_owned()), end + 2)
                }
                c if c == '.' || c.is_ascii_alphanumeric() || c == '_' => word(rest)?,
                c => return Err(Error::Syntax(format!("{c:?} is not understood"))),
            };
            list.push(token);
            rest = rest.get(step..).unwrap_or_default();
        }
    }
}

fn word(text: &str) -> Result<(Token, usize), Error> {
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let start = usize::from(text.starts_with('.'));
    let end = text.get(start..).unwrap_or_default().find(|c| !inner(c)).map_or(text.len(), |at| at + start);
    let word = text.get(..end).unwrap_or_default();
    let token = match word.parse::<i64>() {
        Ok(number) => Token::Number(number),
        Err(_) if word.starts_with(|c: char| c.is_ascii_digit()) => {
            return Err(Error::Syntax(format!("{word} is not understood")));
        }
        Err(_) if start == 1 => Token::Field(word.to_owned()),
        Err(_) => Token::Word(word.to_owned()),
    };
    Ok((token, end))
}

/// A text in double quotes. Its escapes are those that JSON also has.
fn quoted(text: &str) -> Result<(Token, usize), Error> {
    let mut escaped = true;
    for (at, c) in text.char_indices() {
        match c {
            '"' if !escaped => {
                let literal = text.get(..=at).unwrap_or_default();
                let text = serde_json::from_str(literal)
                    .map_err(|_| Error::Syntax("a text in quotes has an escape that is not understood".to_owned()))?;
                return Ok((Token::Text(text), at + 1));
            }
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    Err(Error::Syntax("a text in quotes does not end".to_owned()))
}

struct Parser {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
    depth: u8,
}

impl Parser {
    /// Commands joined by `|`: the value of each becomes the last argument of the next.
    fn pipeline(&mut self, nested: bool) -> Result<Expr, Error> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Error::Syntax("parentheses are nested too deeply".to_owned()));
        }
        let mut value = self.command(None)?;
        loop {
            match self.tokens.next() {
                Some(Token::Pipe) => value = self.command(Some(value))?,
                Some(Token::Close) if nested => break,
                None if !nested => break,
                Some(token) => return Err(not_understood(&token)),
                None => return Err(Error::Syntax("( does not end, it is not understood".to_owned())),
            }
        }
        self.depth -= 1;
        Ok(value)
    }

    fn command(&mut self, piped: Option<Expr>) -> Result<Expr, Error> {
        let name = match self.tokens.next() {
            Some(Token::Word(name)) => name,
            Some(token) if piped.is_none() => return self.operand(token),
            Some(token) => return Err(not_understood(&token)),
            None if piped.is_none() => return Err(Error::Syntax("{{ }} is empty".to_owned())),
            None => return Err(Error::Syntax("a | at the end is not understood".to_owned())),
        };
        let mut args = Vec::new();
        while let Some(token) = self.tokens.next_if(|token| !matches!(token, Token::Pipe | Token::Close)) {
            args.push(match token {
                Token::Word(word) => call(&word, Vec::new())?,
                token => self.operand(token)?,
            });
        }
        args.extend(piped);
        call(&name, args)
    }

    fn operand(&mut self, token: Token) -> Result<Expr, Error> {
        match token {
            Token::Field(name) if name == ".DisplayName" => Ok(Expr::DisplayName),
            Token::Field(name) if name == ".RoleName" => Ok(Expr::RoleName),
            Token::Field(name) => {
                Err(Error::Syntax(format!("{name} is unknown: there are .DisplayName and .RoleName")))
            }
            Token::Text(text) => Ok(Expr::Text(text)),
            Token::Number(number) => Ok(Expr::Number(number)),
            Token::Open => self.pipeline(true),
            token => Err(not_understood(&token)),
        }
    }
}

fn not_understood(token: &Token) -> Error {
    let text = match token {
        Token::Word(text) | Token::Field(text) => text.clone(),
        Token::Text(_) => "a text in quotes here".to_owned(),
        Token::Number(number) => number.to_string(),
        Token::Open => "(".to_owned(),
        Token::Close => ")".to_owned(),
        Token::Pipe => "|".to_owned(),
    };
    Error::Syntax(format!("{text} is not understood"))
}

/// A function with arguments that fit it.
fn call(name: &str, args: Vec<Expr>) -> Result<Expr, Error> {
    let numbers = |from, to| Some((from, to));
    let (function, count, first) = match name {
        "printf" => return printf(args),
        "random" => (Function::Random, 1, numbers(1, 128)),
        "truncate" => (Function::Truncate, 2, numbers(1, 1024)),
        "truncate_sha256" => (Function::TruncateSha256, 2, numbers(9, 1024)),
        "uppercase" => (Function::Uppercase, 1, None),
        "lowercase" => (Function::Lowercase, 1, None),
        "replace" => (Function::Replace, 3, None),
        "sha256" => (Function::Sha256, 1, None),
        "base64" => (Function::Base64, 1, None),
        "unix_time" => (Function::UnixTime, 0, None),
        "unix_time_millis" => (Function::UnixTimeMillis, 0, None),
        "timestamp" => (Function::Timestamp, 1, None),
        "uuid" => (Function::Uuid, 0, None),
        other => return Err(Error::Syntax(format!("{other} is unknown: it is no function of username templates"))),
    };
    if args.len() != count {
        return Err(Error::Syntax(format!("{name} takes {count} argument(s) and got {}", args.len())));
    }
    for (index, arg) in args.iter().enumerate() {
        match (arg, first.filter(|_| index == 0)) {
            (Expr::Number(number), Some((from, to))) if (from..=to).contains(number) => {}
            (Expr::Number(_), Some((from, to))) => return Err(Error::Syntax(format!("{name}: from {from} to {to}"))),
            (_, Some(_)) => return Err(Error::Syntax(format!("{name} takes a number first"))),
            (Expr::Number(_), None) => return Err(Error::Syntax(format!("{name} takes a text in place of a number"))),
            (_, None) => {}
        }
    }
    Ok(Expr::Call(Box::new(Call { function, args })))
}

fn printf(args: Vec<Expr>) -> Result<Expr, Error> {
    let mut args = args.into_iter();
    let Some(Expr::Text(format)) = args.next() else {
        return Err(Error::Syntax("printf takes a text in quotes first".to_owned()));
    };
    let args: Vec<Expr> = args.collect();
    let pieces = read_format(&format)?;
    let verbs: Vec<&Verb> =
        pieces.iter().filter_map(|piece| if let Format::Verb(verb) = piece { Some(verb) } else { None }).collect();
    if verbs.len() != args.len() {
        return Err(Error::Syntax(format!("printf has {} placeholder(s) and {} value(s)", verbs.len(), args.len())));
    }
    for (verb, arg) in verbs.iter().zip(&args) {
        match verb.kind {
            'd' if !arg.is_number() => return Err(Error::Syntax("%d takes a number".to_owned())),
            's' if arg.is_number() => return Err(Error::Syntax("%s takes a text".to_owned())),
            _ => {}
        }
    }
    Ok(Expr::Call(Box::new(Call { function: Function::Printf(pieces), args })))
}

fn read_format(format: &str) -> Result<Vec<Format>, Error> {
    let (mut pieces, mut plain, mut chars) = (Vec::new(), String::new(), format.chars().peekable());
    while let Some(c) = chars.next() {
        if c != '%' {
            plain.push(c);
            continue;
        }
        if chars.next_if_eq(&'%').is_some() {
            plain.push('%');
            continue;
        }
        let left = chars.next_if_eq(&'-').is_some();
        let number = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>| {
            let mut value = 0_usize;
            while let Some(digit) = chars.next_if(char::is_ascii_digit).and_then(|c| c.to_digit(10)) {
                value = value.saturating_mul(10).saturating_add(digit as usize).min(128);
            }
            value
        };
        let width = number(&mut chars);
        let precision = chars.next_if_eq(&'.').is_some().then(|| number(&mut chars));
        let kind = chars.next().ok_or_else(|| Error::Syntax("printf: % at the end".to_owned()))?;
        if !matches!(kind, 's' | 'v' | 'd') {
            return Err(Error::Syntax(format!("printf: %{kind} is unknown: there are %s, %v and %d")));
        }
        if !plain.is_empty() {
            pieces.push(Format::Text(std::mem::take(&mut plain)));
        }
        pieces.push(Format::Verb(Verb { kind, left, width, precision }));
    }
    if !plain.is_empty() {
        pieces.push(Format::Text(plain));
    }
    Ok(pieces)
}

const MAX_DEPTH: u8 = 16;
