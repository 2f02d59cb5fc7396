//! Key/value secrets: with versions ([`v2`], the mount's option `version` is `2`) or without ([`v1`]).
//!
//! Values are the JSON bytes that came in: they are looked into only by those routes that must (`PATCH`, `subkeys`, and
//! the rotation of one field), and then as pieces of the text, not as copies.

mod json;
mod path;
mod scan;
mod upgrade;
mod v1;
mod v2;

use std::sync::Arc;

use engine::{Backend, Engine as _, Kind, Opening};

/// The engine, for the catalogue.
pub const KIND: Kind =
    Kind::choose("kv", "Key/value secrets, with versions or without.", open).upgraded_by(upgrade::step);

/// As in Vault, a mount that says nothing has no versions.
fn open(opening: Opening) -> Arc<dyn Backend> {
    match opening.mount.options.get("version").map(String::as_str) {
        Some("2") if opening.upgrading => engine::backend(upgrade::Upgrading),
        Some("2") => engine::backend(v2::Kv2::open(opening)),
        _ => engine::backend(v1::Kv1::open(opening)),
    }
}
