//! `mfa/`: a second factor for logins. The kinds that ask another company's servers are not served.

mod enforcement;
mod method;
mod totp;

use engine::{Cx, Done, Error};

use crate::{Identity, Routes, Verb};

pub(crate) fn routes(routes: Routes<Identity>) -> Routes<Identity> {
    let routes = totp::routes(routes);
    let routes = foreign(routes);
    let routes = method::routes(routes);
    enforcement::routes(routes)
}

/// The kinds that other programs have, refused with a text that says so.
fn foreign(mut routes: Routes<Identity>) -> Routes<Identity> {
    const REFUSED: &str = "Refused: codes of an authenticator (totp) are the only second factor.";
    for pattern in ["mfa/method/duo", "mfa/method/okta", "mfa/method/pingid"] {
        routes = routes.on(Verb::Write, pattern, REFUSED, refuse);
    }
    for pattern in ["mfa/method/duo/{id}", "mfa/method/okta/{id}", "mfa/method/pingid/{id}"] {
        routes = routes.on(Verb::Write, pattern, REFUSED, refuse_one);
    }
    routes
}

async fn refuse(_: Cx<Identity>, (): ()) -> Result<Done, Error> {
    Err(Error::invalid("this kind of MFA method is not served; use identity/mfa/method/totp"))
}

async fn refuse_one(cx: Cx<Identity>, _: String) -> Result<Done, Error> {
    refuse(cx, ()).await
}
