//! Namespaces: trees of tenants in one server, each with mounts, policies, identities and tokens of its own.
//!
//! What a namespace has lies in its part of the store, `ns/<id>/`, and its services are given that part and nothing else:
//! they cannot name a key of another. Only tokens, leases and rotations are kept by one service for all, which finds the
//! place of a record by the namespace that its id names.
//!
//! A namespace is loaded when it is first asked for, so their number costs nothing at the start.
//!
//! ```text
//! sys/namespace/<name>                        a namespace, in the part of the store of the one above it
//! sys/namespace-id/<id>                       its path; at the top of the store
//! sys/namespace-work/<id>/                    it is being deleted; at the top of the store
//! sys/namespace-work/<id>/<mount uuid>        work on this mount of it is not finished; at the top of the store
//! sys/namespace-tended/<id>/<mount uuid>      this mount of it has work in the background; at the top of the store
//! ```

mod name;
mod place;
mod record;
mod removal;
mod space;
mod spaces;
mod transfer;

pub(crate) use name::check as check_name;
pub(crate) use place::{Found, Placed, check_open};
pub(crate) use record::{BELOW, Change, Stored, tended_key};
pub(crate) use space::Space;
pub(crate) use spaces::{Makings, Spaces};
pub(crate) use transfer::{Journey, Moved, SUCCESS};
