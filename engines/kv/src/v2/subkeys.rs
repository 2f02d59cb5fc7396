//! `subkeys/{path...}`: what a secret consists of, without the values.

use engine::{Answer, Cx, Error};

use super::{Kv2, glance};
use crate::{json::Node, path::SecretPath};

pub(crate) async fn read(cx: Cx<Kv2>, path: SecretPath) -> Result<Answer, Error> {
    let depth = match cx.query("depth") {
        None | Some("") => 0,
        Some(depth) => depth.parse().map_err(|_| Error::invalid("depth: use a number of levels, or 0 for all"))?,
    };
    let names = |value: bytes::Bytes| {
        let value = Node::parse(&value).ok_or_else(|| Error::invalid("the secret is nested too deeply to be shown"))?;
        Ok(value.names(depth))
    };
    glance::read(&cx, &path, "subkeys", names).await
}
