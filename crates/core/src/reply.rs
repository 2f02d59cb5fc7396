//! The reply to a request: the only thing that the listener can send.

use std::sync::Arc;

use bytes::Bytes;
use gate::{Error, RequestId};
use secret::Kept;

/// The reply to a request. Made by the pipeline, after the audit log has it, and by the few routes that answer while
/// sealed.
pub struct Reply {
    /// The id of the request.
    pub(crate) id: RequestId,
    pub(crate) outcome: Result<Box<Success>, Error>,
    /// Headers of the reply, whatever its outcome.
    pub(crate) headers: Vec<(&'static str, String)>,
}

/// A request that was answered.
#[derive(Default)]
pub struct Success {
    /// What to send.
    pub content: Content,
    /// How the audit log writes the content, where it is sent again and again.
    pub kept: Option<Arc<Kept>>,
    /// A status other than the usual one.
    pub status: Option<u16>,
    /// The lease, or empty.
    pub lease_id: String,
    /// Whether the lease can be renewed.
    pub renewable: bool,
    /// Seconds until the lease ends.
    pub lease_duration: u64,
    /// What the caller should know.
    pub warnings: Vec<String>,
    /// A token.
    pub auth: Option<Box<api::Auth>>,
    /// Where the reply can be fetched, if it was wrapped.
    pub wrap_info: Option<api::WrapInfo>,
    /// The type of the mount.
    pub mount_type: &'static str,
    /// Whether the data is repeated at the top level.
    pub flat: bool,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
    /// Whether the same question is answered the same again.
    pub steady: Option<gate::Steady>,
}

impl Success {
    /// Whether there is nothing in it but data: no token, no lease, no word to this one caller.
    pub(crate) fn is_plain(&self) -> bool {
        self.auth.is_none() && self.wrap_info.is_none() && self.lease_id.is_empty() && self.warnings.is_empty()
    }

    /// The same data, for another reply.
    pub(crate) fn again(&self) -> Box<Self> {
        let content = match &self.content {
            Content::Data(json) => Content::Data(json.clone()),
            _ => Content::Empty,
        };
        Box::new(Self {
            content,
            kept: self.kept.clone(),
            status: self.status,
            mount_type: self.mount_type,
            flat: self.flat,
            headers: self.headers.clone(),
            ..Self::default()
        })
    }
}

/// The body of a reply.
#[derive(Default)]
pub enum Content {
    /// No data.
    #[default]
    Empty,
    /// A JSON value for `data` of the envelope.
    Data(Bytes),
    /// A JSON text that is the whole body.
    Bare(Bytes),
    /// A whole body of another media type.
    Raw(&'static str, Bytes),
    /// A body without end. The lock is never taken: it lets a reply be looked at from several threads.
    Stream(std::sync::Mutex<gate::Frames>),
}

impl Reply {
    /// A reply that is no success.
    pub(crate) fn refused(id: RequestId, error: Error) -> Self {
        Self { id, outcome: Err(error), headers: Vec::new() }
    }

    /// A reply made by a route that answers outside the pipeline.
    pub(crate) fn bare(id: RequestId, status: u16, json: Bytes) -> Self {
        let content = if json.is_empty() { Content::Empty } else { Content::Bare(json) };
        let outcome = Ok(Box::new(Success { content, status: Some(status), ..Success::default() }));
        Self { id, outcome, headers: Vec::new() }
    }

    /// The id of the request.
    pub fn id(&self) -> &RequestId {
        &self.id
    }

    /// The headers that the reply has whatever its outcome; they are taken out.
    pub fn take_headers(&mut self) -> Vec<(&'static str, String)> {
        std::mem::take(&mut self.headers)
    }

    /// What to send.
    pub fn into_parts(self) -> (RequestId, Result<Box<Success>, Error>) {
        (self.id, self.outcome)
    }
}
