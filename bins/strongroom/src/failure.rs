//! How a command ends when it does not succeed: what is said, and the exit code.

use client::Error;

/// The outcome of a command: its exit code, or why it failed.
pub(crate) type Outcome = Result<u8, Failure>;

/// Everything went well.
pub(crate) const DONE: u8 = 0;

/// The server refused or failed, or has nothing there.
pub(crate) const SERVER: u8 = 2;

/// Why a command ends early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server refused or failed while we were `doing` something, as in `reading secret/x`.
    Api { doing: String, error: Box<Error> },
    /// What was asked cannot be done here: exit code 1.
    Local(String),
    /// The server has nothing to show; the text says where: exit code 2.
    Nothing(String),
    /// The reader of our output has gone; nobody is left to tell.
    Pipe,
    /// What had to be said was said; ends with this exit code.
    Said(u8),
}

impl Failure {
    /// A failure of ours, with its remedy in the text.
    pub(crate) fn local(text: impl Into<String>) -> Self {
        Self::Local(text.into())
    }

    /// The exit code: 1 for what happened here, 2 for what the server said.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Api { error, .. } => match **error {
                Error::Config { .. } | Error::Path { .. } => 1,
                _ => SERVER,
            },
            Self::Local(_) => 1,
            Self::Nothing(_) => SERVER,
            Self::Pipe => DONE,
            Self::Said(code) => *code,
        }
    }

    /// What to print on standard error, if anything. `hints` adds what to do about it.
    pub(crate) fn text(&self, hints: bool) -> Option<String> {
        match self {
            Self::Api { doing, error } => {
                let mut text = format!("Error {doing}: {}", api_text(error));
                if let Some(hint) = hint(error).filter(|_| hints) {
                    text.truncate(text.trim_end().len());
                    text.push_str("\n\nHint: ");
                    text.push_str(&hint);
                }
                Some(text)
            }
            Self::Local(text) | Self::Nothing(text) => Some(text.clone()),
            Self::Pipe | Self::Said(_) => None,
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            Self::Pipe
        } else {
            Self::Local(format!("cannot write the output: {error}"))
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Local(error_chain(&error))
    }
}

/// A refusal in the shape that scripts around Vault's command line look for.
fn api_text(error: &Error) -> String {
    let Error::Api { status, errors, method, url, raw, .. } = error else { return error_chain(error) };
    let kind = if *raw { "Raw Message" } else { "Errors" };
    let body = if *raw {
        errors.join("\n")
    } else {
        errors.iter().map(|line| format!("* {line}")).collect::<Vec<_>>().join("\n")
    };
    format!("Error making API request.\n\nURL: {method} {url}\nCode: {status}. {kind}:\n\n{body}")
}

fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn hint(error: &Error) -> Option<String> {
    let Error::Api { status, errors, request_id, .. } = error else { return error.remedy() };
    let says = |word: &str| errors.iter().any(|line| line.to_ascii_lowercase().contains(word));
    let hint = match status {
        403 if says("missing client token") => "log in with `strongroom login`, or set STRONGROOM_TOKEN",
        403 if says("invalid token") => "the token has ended or was revoked: log in again with `strongroom login`",
        403 => "the token's policies do not grant this; `strongroom token capabilities PATH` shows what they grant",
        404 if says("no handler for route") => "nothing is mounted there; `strongroom secrets list` shows what is",
        429 => "too many requests: wait, or ask for a higher quota",
        503 if says("sealed") => "unseal the server with `strongroom operator unseal`",
        500.. => match request_id {
            Some(id) => return Some(format!("the server's log tells more under request id {id}")),
            None => "the server's log tells more",
        },
        _ => return None,
    };
    Some(hint.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, errors: &[&str], raw: bool) -> Failure {
        let error = Error::Api {
            status,
            errors: errors.iter().map(|line| (*line).to_owned()).collect(),
            request_id: Some("r-1".to_owned()),
            method: "GET",
            url: "https://127.0.0.1:8200/v1/secret/x".to_owned(),
            raw,
        };
        Failure::Api { doing: "reading secret/x".to_owned(), error: Box::new(error) }
    }

    #[test]
    fn refusals_have_the_known_shape() {
        assert_eq!(
            refusal(403, &["permission denied"], false).text(false).unwrap(),
            "Error reading secret/x: Error making API request.\n\nURL: GET https://127.0.0.1:8200/v1/secret/x\n\
             Code: 403. Errors:\n\n* permission denied"
        );
        assert_eq!(
            refusal(502, &["<h1>bad gateway</h1>"], true).text(false).unwrap(),
            "Error reading secret/x: Error making API request.\n\nURL: GET https://127.0.0.1:8200/v1/secret/x\n\
             Code: 502. Raw Message:\n\n<h1>bad gateway</h1>"
        );
    }

    #[test]
    fn hints_follow_the_message() {
        let text = refusal(503, &["Vault is sealed"], false).text(true).unwrap();
        assert!(text.ends_with("\n\nHint: unseal the server with `strongroom operator unseal`"), "{text}");
        assert!(refusal(500, &["internal error"], false).text(true).unwrap().contains("r-1"));
        assert!(!refusal(400, &["bad"], false).text(true).unwrap().contains("Hint"));
    }

    #[test]
    fn exit_codes_tell_ours_from_the_servers() {
        assert_eq!(refusal(403, &[], false).code(), 2);
        assert_eq!(Failure::local("x").code(), 1);
        assert_eq!(Failure::Nothing("x".to_owned()).code(), 2);
        assert_eq!(Failure::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe)).code(), 0);
    }
}
