//! From a mount without versions to one with: each secret becomes the first version of itself. Until all of them have,
//! the mount answers nothing.

use api::Verb;
use clock::Timestamp;
use engine::{Done, Engine, Error, Opening, Routes};
use storage::{BoxFuture, Scan, View};

use crate::{v1, v2};

/// A mount whose secrets are being taken over.
pub(crate) struct Upgrading;

impl Engine for Upgrading {
    fn open(_: Opening) -> Self {
        Self
    }

    fn routes() -> Routes<Self> {
        const SUMMARY: &str = "Say that the mount is being upgraded.";
        [Verb::List, Verb::Scan, Verb::Read, Verb::Write, Verb::Patch, Verb::Delete]
            .into_iter()
            .fold(Routes::default(), |routes, verb| routes.on(verb, "{path...}", SUMMARY, wait))
    }
}

async fn wait(_: engine::Cx<Upgrading>, _: String) -> Result<Done, Error> {
    // Clients know this text and ask again.
    Err(Error::invalid(
        "Upgrading from non-versioned to versioned data. This backend will be unavailable for a brief period and will \
         resume service shortly.",
    ))
}

/// Takes over some secrets; whether there may be more.
pub(crate) fn step(view: View, now: Timestamp) -> BoxFuture<'static, Result<bool, Error>> {
    Box::pin(async move {
        let base = view.key(v1::SECRETS);
        let scan = Scan { prefix: base.as_str().to_owned(), after: None, limit: SECRETS, values: false };
        let (entries, more) = view.tx().scan(&scan).await?;
        let mut bytes = 0;
        for (key, _) in &entries {
            if bytes > BYTES {
                return Ok(true);
            }
            let path = key.as_str().get(base.as_str().len()..).unwrap_or_default();
            bytes += take_over(&view, path, now).await?;
        }
        Ok(more)
    })
}

/// Makes a secret the first version of itself; the size of its value.
async fn take_over(view: &View, path: &str, now: Timestamp) -> Result<usize, Error> {
    let before = format!("{}{path}", v1::SECRETS);
    let Some(value) = view.get(&before).await? else { return Ok(0) };
    let size = value.len();
    v2::take_over(view, path, value, now).await?;
    view.delete(&before);
    Ok(size)
}

/// How many secrets are taken over in one unit of work, and about how many bytes.
const SECRETS: usize = 200;
const BYTES: usize = 4 << 20;
