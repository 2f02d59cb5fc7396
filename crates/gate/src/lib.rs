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
pub mod namespace;
mod request;
mod rooms;

pub use answer::{Answer, Body, Frames, LeaseGrant, Login, TokenKind, TokenParams};
pub use backend::{Attempt, Backend, Call, Endpoint, FieldType, LeaseCall, Matched, RotateCall, RouteInfo};
pub use backend::{IntentSpec, Plan, RotationStatus, RotationTry, Services};
pub use caller::{Caller, LeaseId, TokenId};
pub use error::{Error, Refusal};
pub use namespace::Namespace;
pub use request::{MountClass, MountInfo, Request, RequestId};
pub use rooms::{
    Admitted, Authenticate, Authenticated, Authorise, Decision, Facts, Limit, Limited, Permitted, Record, Refused,
    Route, Routed, Rule, Target, Unlimited,
};
