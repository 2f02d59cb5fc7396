//! `subkeys/{path...}`: what a secret consists of, without the values.

use engine::{Answer, Cx, Error};

use super::{
    Kv2,
    glance::{self, Show},
};
use crate::path::SecretPath;

pub(crate) async fn read(cx: Cx<Kv2>, path: SecretPath) -> Result<Answer, Error> {
    let depth = match cx.query("depth") {
        None | Some("") => 0,
        Some(depth) => depth.parse().map_err(|_| Error::invalid("depth: use a number of levels, or 0 for all"))?,
    };
    glance::read(&cx, &path, Show::Names(depth)).await
}
