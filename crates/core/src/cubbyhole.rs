//! The cubbyhole: storage that belongs to one token and ends with it. Carries wrapped replies.

use api::Verb;
use engine::{Answer, Body, Cx, Done, Engine, Error, Keys, Opening, Routes, TokenKind};
use storage::View;

/// The engine at `cubbyhole/`.
pub(crate) struct Cubbyhole;

impl Engine for Cubbyhole {
    fn open(_: Opening) -> Self {
        Self
    }

    fn routes() -> Routes<Self> {
        Routes::default()
            .on(Verb::List, "{path...}", "List the names at a path.", list)
            .only_reads()
            .on(Verb::Read, "{path...}", "Read what was written at a path.", read)
            .only_reads()
            .on(Verb::Write, "{path...}", "Write at a path.", write)
            .exists(exists)
            .on(Verb::Delete, "{path...}", "Delete what was written at a path.", delete)
    }
}

/// The caller's cubbyhole, which lies in the namespace of the token, wherever it is asked for.
fn own(cx: &Cx<Cubbyhole>) -> Result<View, Error> {
    let caller = cx.holder()?;
    if caller.kind == TokenKind::Batch {
        return Err(Error::invalid("cubbyhole operations are only supported by \"service\" type tokens"));
    }
    Ok(cx.view().tx().outer().view(tokens::private_prefix(&caller.id)))
}

async fn list(cx: Cx<Cubbyhole>, path: String) -> Result<Keys, Error> {
    let folder = match path.trim_end_matches('/') {
        "" => String::new(),
        path => format!("{path}/"),
    };
    Ok(own(&cx)?.list(&folder, None, 100_000).await?.into())
}

async fn read(cx: Cx<Cubbyhole>, path: String) -> Result<Answer, Error> {
    let value = own(&cx)?.get(&path).await?.ok_or(Error::NotFound)?;
    Ok(Answer { body: Body::Json(value), ..Answer::default() })
}

async fn exists(cx: Cx<Cubbyhole>, path: String) -> Result<bool, Error> {
    Ok(own(&cx)?.get(&path).await?.is_some())
}

async fn write(cx: Cx<Cubbyhole>, path: String) -> Result<Done, Error> {
    if path.is_empty() {
        return Err(Error::invalid("missing path"));
    }
    let body = cx.body().clone();
    if body.is_empty() || body.as_ref() == b"{}" {
        return Err(Error::invalid("missing data fields"));
    }
    own(&cx)?.put(&path, body);
    Ok(Done)
}

async fn delete(cx: Cx<Cubbyhole>, path: String) -> Result<Done, Error> {
    own(&cx)?.delete(&path);
    Ok(Done)
}
