//! What can go wrong, and what to do about it.

use std::error::Error as _;

use api::InvalidPath;

/// The outcome of a request.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server answered with a refusal or a failure.
    #[error("{method} {url} answered {status}{}", listed(errors))]
    Api {
        /// The HTTP status.
        status: u16,
        /// The server's own words, or the body as it is if it is not the API's (`raw`).
        errors: Vec<String>,
        /// The request's id, as in the audit log, if the server gave one.
        request_id: Option<String>,
        /// The HTTP method that was used.
        method: &'static str,
        /// The URL that was asked.
        url: String,
        /// Whether `errors` holds a body that is not the API's.
        raw: bool,
    },
    /// The configuration cannot be used; nothing was sent.
    #[error("{message}")]
    Config {
        /// What is wrong, and the remedy.
        message: String,
    },
    /// The reply is not what the API says.
    #[error("cannot understand {what}: {message}")]
    Decode {
        /// What was to be read.
        what: String,
        /// Why it could not be.
        message: String,
    },
    /// The path can be no path of the API; nothing was sent.
    #[error("invalid path {path:?}")]
    Path {
        /// As it was given.
        path: String,
        /// What is wrong with it.
        source: InvalidPath,
    },
    /// The server was not reached, or the connection broke.
    #[error("{}", unreached(*fault, address, cause))]
    Transport {
        /// The kind of failure.
        fault: Fault,
        /// The server's scheme, host and port.
        address: String,
        /// The innermost cause, in words.
        cause: String,
    },
}

/// The ways in which a server is not reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The server's name is unknown.
    Dns,
    /// The connection broke, after the request may have been received.
    Lost,
    /// The server speaks no TLS although the address says `https`.
    NotTls,
    /// Nothing listens there, or the network is not passable.
    Refused,
    /// No answer in time.
    Timeout,
    /// The server's certificate, or ours, is not accepted.
    Tls,
}

impl Error {
    /// The HTTP status, if the server answered.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Api { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the server says that there is nothing at the path.
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    /// Whether the server refuses the caller.
    pub fn is_denied(&self) -> bool {
        self.status() == Some(403)
    }

    /// What the person or program can do about it, if we know.
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::Transport { fault, address, .. } => Some(match fault {
                Fault::Dns => "check the host name in STRONGROOM_ADDR (or -address)".to_owned(),
                Fault::Lost => "the server may have done what was asked; look before asking again".to_owned(),
                Fault::NotTls => {
                    format!("the server speaks plain HTTP; use {} instead", address.replacen("https:", "http:", 1))
                }
                Fault::Refused => {
                    "start the server, or set STRONGROOM_ADDR (or -address) to where it listens".to_owned()
                }
                Fault::Timeout => {
                    "the server is slow or not reachable; STRONGROOM_CLIENT_TIMEOUT sets the limit".to_owned()
                }
                Fault::Tls => {
                    "name the authority's certificate with STRONGROOM_CACERT (or -ca-cert), or the name it was \
                               made for with STRONGROOM_TLS_SERVER_NAME (or -tls-server-name)"
                        .to_owned()
                }
            }),
            _ => None,
        }
    }

    /// Sorts a failure of the connection to `address`.
    pub(crate) fn transport(address: &str, error: reqwest::Error) -> Self {
        let mut chain = Vec::new();
        let mut source = error.source();
        while let Some(cause) = source {
            chain.push(cause.to_string());
            source = cause.source();
        }
        if error.is_builder() {
            let why = chain.last().map(|cause| format!(": {cause}")).unwrap_or_default();
            return Self::Config { message: format!("the request cannot be made from these settings{why}") };
        }
        let cause = chain.last().cloned().unwrap_or_else(|| error.without_url_text());
        Self::Transport { fault: sort(&error, &chain.join(": ")), address: address.to_owned(), cause }
    }
}

/// The text of an error without the URL, whose query the message need not repeat.
trait WithoutUrl {
    fn without_url_text(&self) -> String;
}

impl WithoutUrl for reqwest::Error {
    fn without_url_text(&self) -> String {
        let text = self.to_string();
        match self.url() {
            Some(url) => text.replace(&format!(" for url ({url})"), ""),
            None => text,
        }
    }
}

/// The crates between us and the socket tell their failures apart by text only.
fn sort(error: &reqwest::Error, chain: &str) -> Fault {
    let lower = chain.to_ascii_lowercase();
    if lower.contains("invalidcontenttype") || lower.contains("corrupt message") {
        Fault::NotTls
    } else if lower.contains("certificate") || lower.contains("tls") || lower.contains("handshake") {
        Fault::Tls
    } else if error.is_timeout() {
        Fault::Timeout
    } else if lower.contains("dns error") || lower.contains("failed to lookup") {
        Fault::Dns
    } else if error.is_connect() {
        Fault::Refused
    } else {
        Fault::Lost
    }
}

/// On one line: some servers make a list with line ends and asterisks of each.
fn listed(errors: &[String]) -> String {
    let lines = errors.iter().flat_map(|error| error.lines());
    let counted = |line: &&str| !line.is_empty() && !line.ends_with(" occurred:");
    let told: Vec<_> = lines.map(|line| line.trim().trim_start_matches("* ")).filter(counted).collect();
    if told.is_empty() { String::new() } else { format!(": {}", told.join("; ")) }
}

fn unreached(fault: Fault, address: &str, cause: &str) -> String {
    match fault {
        Fault::Timeout => format!("no answer from {address} in time"),
        Fault::Lost => format!("lost the connection to {address}: {cause}"),
        _ => format!("cannot reach {address}: {cause}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_says_is_told_on_one_line() {
        let told = |errors: &[&str]| listed(&errors.iter().map(|error| (*error).to_owned()).collect::<Vec<_>>());
        assert_eq!(told(&["1 error occurred:\n\t* permission denied\n\n"]), ": permission denied");
        assert_eq!(told(&["2 errors occurred:\n\t* one\n\t* two\n\n", "three"]), ": one; two; three");
        assert_eq!(told(&["role \"x\" could not be found"]), ": role \"x\" could not be found");
        assert_eq!(told(&[]), "");
    }
}
