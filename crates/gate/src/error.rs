//! Why a request got no answer. The listener's status table gives each variant its status and text.

use std::time::Duration;

/// A fault, named by whose it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller asked for something that makes no sense; the text names the field and the remedy. 400.
    #[error("{0}")]
    Invalid(String),
    /// The caller may not do this, or is not known. What the caller reads is always "permission denied"; the reason
    /// goes to the audit log. 403.
    #[error("permission denied")]
    Denied(Refusal),
    /// There is nothing at this path. 404 without a text.
    #[error("not found")]
    NotFound,
    /// There is no mount or no route at this path. 404 with a text.
    #[error("{0}")]
    NoRoute(String),
    /// The path is there, the verb is not. 405.
    #[error("unsupported operation")]
    Unsupported,
    /// The state the caller demanded is not there (yet). 412.
    #[error("{0}")]
    Precondition(String),
    /// The body is larger than allowed. 413.
    #[error("request body is larger than {0} bytes")]
    TooLarge(usize),
    /// The body is of a type that this route does not take. 415.
    #[error("{0}")]
    MediaType(String),
    /// A quota is used up. 429.
    #[error("{text}")]
    Quota {
        /// Which quota.
        text: String,
        /// When it may be worth trying again.
        retry_after: Duration,
    },
    /// The client asked more often than a rate limit lets it. 429.
    #[error("{text}")]
    RateLimit {
        /// What was asked for.
        text: String,
        /// When it may ask again.
        retry_after: Duration,
    },
    /// A system behind an engine refused or failed; the text is fit for the caller. 500, as Vault answers.
    #[error("{0}")]
    Target(String),
    /// The server is sealed. 503.
    #[error("the server is sealed")]
    Sealed,
    /// The server is not initialised. 503 (it counts as sealed).
    #[error("the server is not initialized")]
    Uninitialized,
    /// Something passing: storage, overload. 503 with Retry-After.
    #[error("{0}")]
    Unavailable(String),
    /// A part of the request was refused, and with it the whole. The status is that of the part.
    #[error("{place}: {error}")]
    Part {
        /// Which part, in the words of the request.
        place: String,
        /// Why.
        error: Box<Error>,
    },
    /// Another request changed the same data first; the pipeline tries again.
    #[error("another request changed the same data")]
    Conflict,
    /// No audit device could write. 500.
    #[error("no audit device could record the request")]
    Unaudited,
    /// A fault of the server. The caller reads "internal error"; the text goes to the log. 500.
    #[error("internal error: {0}")]
    Internal(String),
}

/// Why a caller was turned away; for the audit log and for `explain`, never for the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The token does not come from an allowed address.
    #[error("the address is outside the token's bound CIDRs")]
    Address,
    /// The entity is disabled or gone.
    #[error("the entity is disabled")]
    Entity,
    /// The token is unknown, expired or revoked.
    #[error("the token is unknown, expired or revoked")]
    InvalidToken,
    /// Too many wrong secrets were sent for this user.
    #[error("the user is locked after too many failed logins")]
    Locked,
    /// No token was sent.
    #[error("no token was sent")]
    MissingToken,
    /// The token's namespace is neither that of the request nor above it.
    #[error("the token belongs to another namespace")]
    Namespace,
    /// The policies do not allow it; the text is the policy room's reason.
    #[error("{0}")]
    Policy(String),
    /// The token's uses are spent.
    #[error("the token's uses are spent")]
    Spent,
    /// Any other reason.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// A caller's fault.
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }

    /// This error as that of a part of a request. One that concerns the whole stays what it is.
    pub fn of_part(self, place: impl Into<String>) -> Self {
        match self {
            Self::Conflict | Self::Internal(_) | Self::Sealed | Self::Unaudited | Self::Unavailable(_) => self,
            Self::NotFound => Self::NoRoute(format!("{}: there is no such secret", place.into())),
            error => Self::Part { place: place.into(), error: Box::new(error) },
        }
    }

    /// Our fault.
    pub fn internal(text: impl Into<String>) -> Self {
        Self::Internal(text.into())
    }
}

impl From<storage::Error> for Error {
    fn from(error: storage::Error) -> Self {
        match error {
            storage::Error::Sealed => Self::Sealed,
            storage::Error::Full(_) | storage::Error::Unavailable(_) => Self::Unavailable(error.to_string()),
            storage::Error::TooLarge { size, limit } => {
                Self::Invalid(format!("value of {size} bytes is larger than the limit of {limit} bytes"))
            }
            error => Self::Internal(error.to_string()),
        }
    }
}

impl From<storage::CommitError> for Error {
    fn from(error: storage::CommitError) -> Self {
        match error {
            storage::CommitError::Conflict(_) => Self::Conflict,
            storage::CommitError::Store(error) => error.into(),
            error => Self::Internal(error.to_string()),
        }
    }
}
