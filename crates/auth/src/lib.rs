//! What the author of an auth method imports besides `engine`: the `token_*` settings that all login roles share
//! ([`TokenSettings`]), the body of a role that has them ([`role_body`]), address ranges ([`cidr`]) and passwords
//! ([`passwords`]). With the feature `testing`, a mount of the method for its tests.

pub mod cidr;
pub mod passwords;
mod settings;
#[cfg(feature = "testing")]
pub mod testing;

use std::net::IpAddr;

use engine::{Cx, Error, Refusal, parse_input};
use serde::de::DeserializeOwned;

pub use settings::{OLD_NAMES, TokenFields, TokenSettings};

/// Reads the body of a role: the method's own fields and the shared `token_*` fields beside them. `old_names` are the
/// former names of shared fields that this method takes (see [`OLD_NAMES`]). A field that neither knows becomes a
/// warning.
pub fn role_body<E, T: DeserializeOwned>(cx: &Cx<E>, old_names: &[&str]) -> Result<(T, TokenFields), Error> {
    let (own, shared, ignored) = role_fields(cx.body(), old_names)?;
    if !ignored.is_empty() {
        cx.warn(format!("Endpoint ignored these unrecognized parameters: [{}]", ignored.join(" ")));
    }
    Ok((own, shared))
}

/// As [`role_body`], from the bytes of a JSON object. Gives the names of the unknown fields last.
pub fn role_fields<T: DeserializeOwned>(
    body: &[u8],
    old_names: &[&str],
) -> Result<(T, TokenFields, Vec<String>), Error> {
    let (own, mut unknown) = parse_input::<T>(body)?;
    let (mut shared, unknown_too) = parse_input::<TokenFields>(body)?;
    shared.keep_old_names(old_names);
    let not_taken = |field: &str| OLD_NAMES.contains(&field) && !old_names.contains(&field);
    unknown.retain(|field| unknown_too.contains(field) || not_taken(field));
    Ok((own, shared, unknown.into_iter().collect()))
}

/// Turns a login away that comes from outside the addresses its token would be bound to.
pub fn check_address(bound_cidrs: &[String], remote: Option<IpAddr>) -> Result<(), Error> {
    if cidr::allows(bound_cidrs, remote) { Ok(()) } else { Err(Error::Denied(Refusal::Address)) }
}
