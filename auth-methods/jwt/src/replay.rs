//! Tokens that are taken once: which have been used, until they would have expired anyway.
//!
//! The mark of use is written in the same commit as the new login's token. Two logins with one token read the same
//! missing mark, so at most one of them can commit; the other runs again and finds it.

use engine::{Error, Scope};
use serde::{Deserialize, Serialize};

use crate::{Jwt, refusal::Refusal};

#[derive(Serialize, Deserialize)]
struct Mark {
    until: i64,
}

/// Marks the token `id` as used until `until` (seconds since 1970), unless it is marked already.
pub(crate) async fn use_once(cx: &Scope<Jwt>, id: &str, until: i64) -> Result<Result<(), Refusal>, Error> {
    let id = hex(&crypto::hash::sha256(id.as_bytes()));
    let view = cx.view();
    if view.get(&mark(&id)).await?.is_some() {
        return Ok(Err(Refusal::AlreadyUsed));
    }
    view.put_json(&mark(&id), &Mark { until })?;
    view.put_json(&due(until, &id), &Mark { until })?;
    forget_some(cx).await?;
    Ok(Ok(()))
}

/// Removes a few marks of tokens that have expired. Each login adds one mark and removes up to [`SWEEP`], so the rest
/// cannot grow beyond the tokens in force.
async fn forget_some(cx: &Scope<Jwt>) -> Result<(), Error> {
    let now = cx.clock().now_seconds();
    let (entries, _) = cx.view().scan(DUE, None, SWEEP).await?;
    for (path, _) in entries {
        let mut parts = path.split('/').skip(1);
        let (Some(until), Some(id)) = (parts.next().and_then(|until| until.parse::<i64>().ok()), parts.next()) else {
            continue;
        };
        if until >= now {
            break;
        }
        cx.view().delete(&mark(id));
        cx.view().delete(&path);
    }
    Ok(())
}

const DUE: &str = "used-until/";
const SWEEP: usize = 8;

fn mark(id: &str) -> String {
    format!("used/{id}")
}

fn due(until: i64, id: &str) -> String {
    format!("{DUE}{until:020}/{id}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
