//! The one table of faults: which status and which text each becomes.

use gate::{Error, Refusal, RequestId};

/// A fault and what the client sees of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// The name of the fault.
    pub fault: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// When it comes.
    pub when: &'static str,
    /// What `errors` of the body says.
    pub says: &'static str,
    /// What the caller can do.
    pub remedy: &'static str,
}

/// Every fault, in the order of its status.
pub const TABLE: &[&Row] = &[
    &INVALID,
    &DENIED,
    &ORIGIN,
    &NOT_FOUND,
    &NO_ROUTE,
    &UNSUPPORTED,
    &SLOW_BODY,
    &PRECONDITION,
    &TOO_LARGE,
    &MEDIA_TYPE,
    &QUOTA,
    &RATE_LIMIT,
    &LONG_HEADER,
    &TARGET,
    &UNAUDITED,
    &INTERNAL,
    &SEALED,
    &UNINITIALIZED,
    &UNAVAILABLE,
    &CONFLICT,
    &SLOW_ANSWER,
];

const INVALID: Row = Row {
    fault: "Invalid",
    status: 400,
    when: "The request makes no sense: a bad path, body, parameter or header, a failed login.",
    says: "a text that names the field and the remedy",
    remedy: "Change the request.",
};
const DENIED: Row = Row {
    fault: "Denied",
    status: 403,
    when: "No policy allows it, or the token is missing, unknown, expired, used up or sent from elsewhere.",
    says: "`permission denied`; the audit log has the reason",
    remedy: "Log in again, or ask for a policy; those who may can ask the server to explain the decision.",
};
const ORIGIN: Row = Row {
    fault: "Origin",
    status: 403,
    when: "A browser sends a request from the page of an origin that may not call.",
    says: "`origin not allowed`",
    remedy: "Allow the origin in `sys/config/cors`.",
};
const NOT_FOUND: Row = Row {
    fault: "NotFound",
    status: 404,
    when: "There is nothing at this path, or nothing to list below it.",
    says: "nothing: `{\"errors\":[]}`",
    remedy: "Check the name.",
};
const NO_ROUTE: Row = Row {
    fault: "NoRoute",
    status: 404,
    when: "Nothing is mounted at this path, or what is mounted has no such path.",
    says: "a text that names the path",
    remedy: "Check the path, for KV also its `data/` or `metadata/` part.",
};
const UNSUPPORTED: Row = Row {
    fault: "Unsupported",
    status: 405,
    when: "The path is there, but not for this method.",
    says: "`unsupported operation`",
    remedy: "Ask the path for its help: `?help=1`.",
};
const SLOW_BODY: Row = Row {
    fault: "SlowBody",
    status: 408,
    when: "The body did not arrive within the time for a request.",
    says: "a text with the time",
    remedy: "Send it again; look at the network.",
};
const PRECONDITION: Row = Row {
    fault: "Precondition",
    status: 412,
    when: "The state that the request demands is not there, or not yet.",
    says: "a text that names the state",
    remedy: "Try again soon.",
};
const TOO_LARGE: Row = Row {
    fault: "TooLarge",
    status: 413,
    when: "The body is larger than `max_request_size`.",
    says: "a text with the limit",
    remedy: "Send less at once.",
};
const MEDIA_TYPE: Row = Row {
    fault: "MediaType",
    status: 415,
    when: "A PATCH without the media type `application/merge-patch+json`.",
    says: "a text with the right type",
    remedy: "Set the `Content-Type` header.",
};
const QUOTA: Row = Row {
    fault: "Quota",
    status: 429,
    when: "A quota is used up.",
    says: "which one",
    remedy: "Wait as long as the `Retry-After` header says.",
};
const RATE_LIMIT: Row = Row {
    fault: "RateLimit",
    status: 429,
    when: "The client's address asks more often than a rate limit lets it.",
    says: "`rate limit quota exceeded` and the path",
    remedy: "Wait as long as the `Retry-After` header says, and ask less often.",
};
const LONG_HEADER: Row = Row {
    fault: "LongHeader",
    status: 431,
    when: "The token is longer than 8 KiB, or the head of the request than 64 KiB.",
    says: "a text with the limit",
    remedy: "Check what is sent as token.",
};
const TARGET: Row = Row {
    fault: "Target",
    status: 500,
    when: "A system behind an engine, such as a database, refused or failed.",
    says: "what that system said, as far as it is fit for the caller",
    remedy: "Look at that system and at the role's statements.",
};
const UNAUDITED: Row = Row {
    fault: "Unaudited",
    status: 500,
    when: "No audit device could record the request, so it was not carried out.",
    says: "that, without details",
    remedy: "Give an audit device room or reach; the server's log says what failed.",
};
const INTERNAL: Row = Row {
    fault: "Internal",
    status: 500,
    when: "A fault of the server.",
    says: "`internal error` and the id of the request",
    remedy: "Look for the id in the server's log, and report it.",
};
const SEALED: Row = Row {
    fault: "Sealed",
    status: 503,
    when: "The server is sealed.",
    says: "`Vault is sealed`",
    remedy: "Unseal it.",
};
const UNINITIALIZED: Row = Row {
    fault: "Uninitialized",
    status: 503,
    when: "The server was never initialised.",
    says: "`Vault is sealed: it is not initialized`",
    remedy: "Initialise it with `strongroom operator init`.",
};
const UNAVAILABLE: Row = Row {
    fault: "Unavailable",
    status: 503,
    when: "Something that passes: storage does not answer, or there is too much to do.",
    says: "a text that names the part",
    remedy: "Try again after `Retry-After`.",
};
const CONFLICT: Row = Row {
    fault: "Conflict",
    status: 503,
    when: "Other requests kept changing the same data first.",
    says: "that",
    remedy: "Try again.",
};
const SLOW_ANSWER: Row = Row {
    fault: "SlowAnswer",
    status: 503,
    when: "The answer was not ready within `max_request_duration`. The request may still be carried out.",
    says: "a text with the time",
    remedy: "Look whether it was carried out before sending it again.",
};

/// What keeps a request from its answer: a fault of the rooms, or of the transport.
#[derive(Debug)]
pub(crate) enum Fault {
    Room(Error),
    LongToken(usize),
    Origin,
    SlowAnswer(std::time::Duration),
    SlowBody(std::time::Duration),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Room(error)
    }
}

impl Fault {
    /// The row of the table.
    pub(crate) fn row(&self) -> &'static Row {
        match self {
            Self::Room(error) => row(error),
            Self::LongToken(_) => &LONG_HEADER,
            Self::Origin => &ORIGIN,
            Self::SlowAnswer(_) => &SLOW_ANSWER,
            Self::SlowBody(_) => &SLOW_BODY,
        }
    }

    /// What `errors` says.
    pub(crate) fn text(&self, id: &RequestId) -> Option<String> {
        match self {
            Self::Room(error) => text(error, id),
            Self::LongToken(most) => Some(format!("the token is longer than {most} bytes")),
            Self::Origin => Some("origin not allowed".to_owned()),
            Self::SlowAnswer(most) => Some(format!(
                "the answer was not ready within {} seconds; the request may still be carried out",
                most.as_secs_f64()
            )),
            Self::SlowBody(most) => Some(format!("the body did not arrive within {} seconds", most.as_secs_f64())),
        }
    }

    /// After how many seconds it is worth trying again.
    pub(crate) fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Room(Error::Quota { retry_after, .. } | Error::RateLimit { retry_after, .. }) => {
                Some(retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0)).map(|seconds| seconds.max(1))
            }
            Self::Room(Error::Unavailable(_) | Error::Conflict) => Some(1),
            _ => None,
        }
    }
}

/// The row of a fault of the rooms. A variant that is not known here counts as internal until it has its row; a test
/// sees to that.
fn row(error: &Error) -> &'static Row {
    match error {
        Error::Invalid(_) => &INVALID,
        Error::Denied(_) => &DENIED,
        Error::NotFound => &NOT_FOUND,
        Error::NoRoute(_) => &NO_ROUTE,
        Error::Unsupported => &UNSUPPORTED,
        Error::Precondition(_) => &PRECONDITION,
        Error::TooLarge(_) => &TOO_LARGE,
        Error::MediaType(_) => &MEDIA_TYPE,
        Error::Quota { .. } => &QUOTA,
        Error::RateLimit { .. } => &RATE_LIMIT,
        Error::Target(_) => &TARGET,
        Error::Unaudited => &UNAUDITED,
        Error::Sealed => &SEALED,
        Error::Uninitialized => &UNINITIALIZED,
        Error::Unavailable(_) => &UNAVAILABLE,
        Error::Conflict => &CONFLICT,
        Error::Part { error, .. } => row(error),
        _ => &INTERNAL,
    }
}

fn text(error: &Error, id: &RequestId) -> Option<String> {
    Some(match error {
        Error::NotFound => return None,
        Error::Part { place, error } => format!("{place}: {}", text(error, id)?.trim_end()),
        Error::Denied(refusal) => denied(refusal),
        Error::Unsupported => listed(&["unsupported operation"]),
        Error::Sealed => "Vault is sealed".to_owned(),
        Error::Uninitialized => "Vault is sealed: it is not initialized".to_owned(),
        Error::Conflict => "other requests changed the same data first; try again".to_owned(),
        Error::Unaudited => "no audit device could record the request, so it was not carried out".to_owned(),
        error if row(error) == &INTERNAL => format!("internal error; the server's log has it under request id {id}"),
        error => error.to_string(),
    })
}

/// What somebody who was turned away reads: never the reason, but for refusals that tell no more than was asked.
fn denied(refusal: &Refusal) -> String {
    match refusal {
        Refusal::InvalidToken => listed(&["permission denied", "invalid token"]),
        Refusal::MissingToken => {
            listed(&["permission denied", "missing client token: send it in the X-Vault-Token header"])
        }
        Refusal::Other(text) if text.starts_with("login MFA") => listed(&[text]),
        Refusal::Other(text) if SPOKEN.contains(&text.as_str()) || text.starts_with("preflight") => text.clone(),
        _ => listed(&["permission denied"]),
    }
}

/// Refusals whose text the caller may read.
const SPOKEN: &[&str] = &["bad token", "invalid accessor"];

/// Errors in the form that clients search for "permission denied" and the like.
fn listed(errors: &[&str]) -> String {
    let noun = if errors.len() == 1 { "error" } else { "errors" };
    let lines: String = errors.iter().map(|error| format!("\t* {error}\n")).collect();
    format!("{} {noun} occurred:\n{lines}\n", errors.len())
}

#[cfg(test)]
mod tests;
