//! The values a request becomes on its way, and the small traits that the services behind each room implement.
//!
//! ```text
//! Request ─ route ─► Routed ─ authenticate ─► Authenticated ─ authorise ─► Permitted ─ enter ─► Admitted ─ call ─► Answer
//! ```
//! The fields of each value are private to this crate and each is made in one place, out of the one before it. So the
//! compiler checks that no room is left out and that they are entered in order. A request that is turned away in any
//! room becomes a [`Refused`], which keeps what was known by then, for the audit log.

mod answer;
mod backend;
mod caller;
mod error;
mod inline;
pub mod namespace;
mod part;
mod request;
mod rooms;
mod upload;
mod watch;

pub use answer::{Answer, Body, Frames, LeaseGrant, Login, Steady, TokenKind, TokenParams};
pub use backend::{Attempt, Backend, Call, Endpoint, FieldType, LeaseCall, Matched, RotateCall, RouteInfo, TendCall};
pub use backend::{IntentSpec, Plan, RotationStatus, RotationTry, Services};
pub use caller::{Caller, LeaseId, TokenId};
pub use error::{Error, Refusal};
pub use inline::{Inline, InlineLogin};
pub use namespace::Namespace;
pub use part::{MAX_DEPTH, MAX_PARTS, Neighbour, PartAnswer, PartId, PartRequest};
pub use request::{MountClass, MountInfo, Request, RequestId};
pub use rooms::{
    Admitted, Authenticate, Authenticated, Authorise, Conditions, Decision, Facts, Limit, Limited, Permitted, Record,
    Refused, Route, Routed, Rule, Target, Unlimited,
};
pub use upload::{Pieces, Upload};
pub use watch::{Sight, Watch};
