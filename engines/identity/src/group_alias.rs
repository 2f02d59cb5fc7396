//! `group-alias`: which names of groups in a login lead to which group.

use engine::{Answer, Cx, Data, Done, Error, IntoAnswer, Keys};
use identity::GroupAliasInput;
use serde::{Deserialize, Serialize};

use crate::{Identity, Paging, Routes, Verb, check_mount, directory, given, shown};

pub(crate) fn routes(routes: Routes<Identity>) -> Routes<Identity> {
    routes
        .on(Verb::Write, "group-alias", "Create an alias of an external group, or change or move it.", write)
        .on(Verb::List, "group-alias/id", "List the aliases of groups.", list)
        .on(Verb::Read, "group-alias/id/{id}", "Show an alias of a group.", read)
        .on(Verb::Write, "group-alias/id/{id}", "Change an alias of a group, or move it.", write_by_id)
        .on(Verb::Delete, "group-alias/id/{id}", "Remove an alias of a group, and the members by it.", delete)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct GroupAliasBody {
    id: Option<String>,
    name: Option<String>,
    mount_accessor: Option<String>,
    canonical_id: Option<String>,
}

#[derive(Serialize)]
struct Made {
    id: String,
    canonical_id: String,
}

async fn write(cx: Cx<Identity>, (): (), body: GroupAliasBody) -> Result<Answer, Error> {
    put(&cx, body).await
}

async fn write_by_id(cx: Cx<Identity>, id: String, body: GroupAliasBody) -> Result<Answer, Error> {
    put(&cx, GroupAliasBody { id: Some(id), ..body }).await
}

async fn put(cx: &Cx<Identity>, body: GroupAliasBody) -> Result<Answer, Error> {
    let input = GroupAliasInput {
        id: given(body.id),
        name: given(body.name),
        accessor: given(body.mount_accessor),
        group: given(body.canonical_id),
    };
    if let Some(accessor) = &input.accessor {
        check_mount(cx, accessor)?;
    }
    let group = directory(cx).write_group_alias(input).await?;
    let alias = group.alias.ok_or_else(|| Error::internal("an alias just written is not there"))?;
    Data(Made { id: alias.id, canonical_id: group.id }).into_answer()
}

async fn read(cx: Cx<Identity>, id: String) -> Result<Data<shown::ShownAlias>, Error> {
    let group = directory(&cx).group_with_alias(&id).await?.ok_or(Error::NotFound)?;
    let alias = group.alias.ok_or(Error::NotFound)?;
    Ok(Data(shown::group_alias(&cx, &group.id, &alias)))
}

async fn list(cx: Cx<Identity>, (): (), paging: Paging) -> Result<Keys, Error> {
    let (groups, _) = directory(&cx).group_aliases(paging.after(), paging.limit()).await?;
    let listed = groups.into_iter().filter_map(|(id, group)| {
        let alias = group.alias.as_ref()?;
        Some((id, shown::listed_group_alias(&cx, &group.id, alias)))
    });
    shown::keys(listed)
}

async fn delete(cx: Cx<Identity>, id: String) -> Result<Done, Error> {
    directory(&cx).delete_group_alias(&id).await?;
    Ok(Done)
}
