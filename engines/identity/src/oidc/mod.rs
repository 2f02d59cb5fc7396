//! `oidc/`: tokens that tell others who somebody is, signed with named keys.
//!
//! ```text
//! sys/identity/oidc/config          the issuer
//! sys/identity/oidc/key/<name>      a named key: its settings, what signs now and next, what still verifies
//! sys/identity/oidc/private/<kid>   a private key, removed when it no longer signs
//! sys/identity/oidc/kid/<kid>       the name of the key that a key id is of
//! sys/identity/oidc/role/<name>     what a token says and by which key it is signed
//! ```

mod config;
mod introspect;
pub(crate) mod key;
pub(crate) mod ring;
mod role;
mod token;
mod well_known;

use crate::{Identity, Routes};

pub(crate) use key::rotate;
pub(crate) use ring::Keys;
pub(crate) use role::checked as checked_template;
pub(crate) use token::sign;

pub(crate) fn routes(routes: Routes<Identity>) -> Routes<Identity> {
    let routes = config::routes(routes);
    let routes = key::routes(routes);
    let routes = role::routes(routes);
    let routes = token::routes(routes);
    let routes = introspect::routes(routes);
    well_known::routes(routes)
}
