//! `oidc/provider` and what belongs to it: signing people in elsewhere (OpenID Connect, authorisation code flow).
//!
//! ```text
//! sys/identity/oidc/provider/<name>        who is served, and which scopes
//! sys/identity/oidc/scope/<name>           which claims a scope adds
//! sys/identity/oidc/client/<name>          who signs people in with us
//! sys/identity/oidc/client-id/<id>         the name of the client
//! sys/identity/oidc/client-secret/<name>   its secret
//! sys/identity/oidc/assignment/<name>      which entities and groups may sign in at a client
//! sys/identity/oidc/code/<hash>            an authorisation code that was not used yet
//! sys/identity/oidc/code-due/<when>/<hash> until when it may be
//! sys/identity/oidc/access-key             the key of access tokens, which are stored nowhere
//! ```

mod access;
mod assignment;
mod authorize;
mod client;
mod code;
mod exchange;
mod record;
mod reply;
mod scope;
mod userinfo;
mod well_known;

use crate::{Identity, Routes};

pub(crate) fn routes(routes: Routes<Identity>) -> Routes<Identity> {
    let routes = record::routes(routes);
    let routes = scope::routes(routes);
    let routes = assignment::routes(routes);
    let routes = client::routes(routes);
    let routes = authorize::routes(routes);
    let routes = exchange::routes(routes);
    let routes = userinfo::routes(routes);
    well_known::routes(routes)
}
