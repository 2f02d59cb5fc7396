//! A request that brings its login along.

use api::{ReqPath, Verb};
use bytes::Bytes;

use crate::Namespace;

/// Whether a request has to do with a login that serves one request.
#[derive(Debug, Default)]
pub enum Inline {
    /// It has not: it brings a token, or none.
    #[default]
    None,
    /// It brings a login, which is carried out first.
    Brings(Box<InlineLogin>),
    /// It is such a login: its token is not stored, and not handed out.
    LogsIn,
    /// Its token is that of such a login: there is nothing for leases to hang on.
    LoggedIn,
}

impl Inline {
    /// The same for the request at another place. A login that is brought along is carried out before that.
    pub(crate) fn moved(&self) -> Self {
        match self {
            Self::None | Self::Brings(_) => Self::None,
            Self::LogsIn => Self::LogsIn,
            Self::LoggedIn => Self::LoggedIn,
        }
    }
}

/// The login that a request brings along.
#[derive(Debug)]
pub struct InlineLogin {
    /// Where it logs in, below `auth/`.
    pub path: ReqPath,
    /// How.
    pub verb: Verb,
    /// In which namespace.
    pub namespace: Namespace,
    /// What it shows: a JSON object. The bytes wipe themselves.
    pub body: Bytes,
}
