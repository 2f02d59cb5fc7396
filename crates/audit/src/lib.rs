//! Audit entries, keyed hashing, the broker that fails closed, the journal.
//!
//! The core fills an [`Entry`] with borrowed parts and hands it to [`Broker::record`], which formats it for every
//! device with that device's own salt and writes to all of them in parallel. The call succeeds once a healthy device
//! has the entry; if there are devices and none of them can take it, the caller refuses the request. An entry can also be
//! handed over first and waited for later ([`Broker::hand_over`], [`Broker::settle`]). Values are
//! hashed by place: every string in `data` and every token is a keyed hash unless a rule says otherwise, so a secret
//! cannot be recorded in clear by forgetting. The [`journal`] is the device of our own: hash-chained, signed, indexed.

mod broker;
mod device;
mod entry;
mod error;
pub mod file;
mod format;
mod hashing;
pub mod journal;
mod json;
mod options;
mod scan;
mod split;
mod writer;

pub use broker::{Again, Broker, Condition, Handed, Health, Settings, Template, Unwritten};
pub use device::{Device, Written};
pub use entry::{
    Auth, Body, Data, Entry, Granting, Header, Kind, Memo, Namespace, Pairs, PolicyResults, Request, Response,
    Sensitive, Texts, WrapInfo,
};
pub use error::Error;
pub use format::Format;
pub use hashing::{Hasher, PREFIX, Tag};
pub use options::{Common, Options};
