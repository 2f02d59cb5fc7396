//! `mfa/method`: the methods of whatever kind.

use engine::{Cx, Data, Error, Keys};
use identity::mfa::Method;
use serde::Serialize;

use crate::{Identity, Paging, Routes, Verb, directory, shown};

pub(crate) fn routes(routes: Routes<Identity>) -> Routes<Identity> {
    routes.on(Verb::List, "mfa/method", "List the MFA methods.", list).on(
        Verb::Read,
        "mfa/method/{id}",
        "Show an MFA method.",
        read,
    )
}

/// A method as the reply shows it.
#[derive(Serialize)]
pub(super) struct Shown {
    #[serde(rename = "type")]
    kind: &'static str,
    id: String,
    name: String,
    issuer: String,
    period: u64,
    key_size: usize,
    qr_size: usize,
    algorithm: &'static str,
    digits: u8,
    skew: u8,
    max_validation_attempts: u32,
    namespace_id: &'static str,
    namespace_path: &'static str,
}

pub(super) fn show(method: Method) -> Shown {
    Shown {
        kind: "totp",
        id: method.id,
        name: method.name,
        issuer: method.issuer,
        period: method.codes.period.as_secs(),
        key_size: method.key_size,
        qr_size: method.qr_size,
        algorithm: method.codes.algorithm.as_str(),
        digits: method.codes.digits,
        skew: method.codes.skew,
        max_validation_attempts: method.max_validation_attempts,
        namespace_id: "root",
        namespace_path: "",
    }
}

/// The only kind is TOTP, so this is the list of that kind, too.
pub(super) async fn list(cx: Cx<Identity>, (): (), paging: Paging) -> Result<Keys, Error> {
    let (methods, _) = directory(&cx).mfa_methods(paging.after(), paging.limit()).await?;
    shown::keys(methods.into_iter().map(|(id, method)| (id, show(method))))
}

pub(super) async fn read(cx: Cx<Identity>, id: String) -> Result<Option<Data<Shown>>, Error> {
    Ok(directory(&cx).mfa_method(&id).await?.map(|method| Data(show(method))))
}
