//! `group`, `group/id`, `group/name`.

use api::{CommaList, Pairs};
use engine::{Answer, Cx, Data, Done, Error, IntoAnswer, Keys};
use identity::{Group, GroupInput, GroupKind, Listed};
use serde::{Deserialize, Serialize};

use crate::{Identity, Paging, Routes, Verb, directory, entity::named, given, shown};

pub(crate) fn routes(routes: Routes<Identity>) -> Routes<Identity> {
    routes
        .on(Verb::Write, "group", "Create a group, or change the one with this name or id.", write)
        .on(Verb::List, "group/id", "List the groups by id.", list)
        .on(Verb::Read, "group/id/{id}", "Show a group.", read)
        .on(Verb::Write, "group/id/{id}", "Change a group.", write_by_id)
        .on(Verb::Delete, "group/id/{id}", "Remove a group.", delete)
        .on(Verb::List, "group/name", "List the groups by name.", list_names)
        .on(Verb::Read, "group/name/{name...}", "Show the group with this name.", read_by_name)
        .on(Verb::Write, "group/name/{name...}", "Create or change the group with this name.", write_by_name)
        .on(Verb::Delete, "group/name/{name...}", "Remove the group with this name.", delete_by_name)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct GroupBody {
    id: Option<String>,
    name: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    policies: Option<CommaList>,
    metadata: Option<Pairs>,
    member_entity_ids: Option<CommaList>,
    member_group_ids: Option<CommaList>,
}

impl GroupBody {
    fn input(self) -> Result<GroupInput, Error> {
        Ok(GroupInput {
            id: given(self.id),
            name: given(self.name),
            kind: self.kind.as_deref().map(GroupKind::parse).transpose()?,
            policies: self.policies.map(|policies| policies.0),
            metadata: self.metadata.map(|pairs| pairs.0),
            member_entities: self.member_entity_ids.map(|ids| ids.0),
            member_groups: self.member_group_ids.map(|ids| ids.0),
        })
    }
}

#[derive(Serialize)]
struct Made {
    id: String,
    name: String,
}

async fn write(cx: Cx<Identity>, (): (), body: GroupBody) -> Result<Answer, Error> {
    put(&cx, body.input()?).await
}

async fn write_by_id(cx: Cx<Identity>, id: String, body: GroupBody) -> Result<Answer, Error> {
    put(&cx, GroupInput { id: Some(id), ..body.input()? }).await
}

async fn write_by_name(cx: Cx<Identity>, name: String, body: GroupBody) -> Result<Answer, Error> {
    put(&cx, GroupInput { id: None, name: Some(named(name)?), ..body.input()? }).await
}

async fn put(cx: &Cx<Identity>, input: GroupInput) -> Result<Answer, Error> {
    let (group, new) = directory(cx).write_group(input).await?;
    match new {
        true => Data(Made { id: group.id, name: group.name }).into_answer(),
        false => Ok(Answer::default()),
    }
}

/// A group as it is shown, with its members.
pub(crate) async fn show(cx: &Cx<Identity>, group: Group) -> Result<Data<shown::ShownGroup>, Error> {
    let members = directory(cx).members(&group).await?;
    Ok(Data(shown::group(cx, group, members)))
}

async fn read(cx: Cx<Identity>, id: String) -> Result<Data<shown::ShownGroup>, Error> {
    let group = directory(&cx).group(&id).await?.ok_or(Error::NotFound)?;
    show(&cx, group).await
}

async fn read_by_name(cx: Cx<Identity>, name: String) -> Result<Data<shown::ShownGroup>, Error> {
    let group = directory(&cx).group_named(&named(name)?).await?.ok_or(Error::NotFound)?;
    show(&cx, group).await
}

#[derive(Serialize)]
struct ListedGroup {
    id: String,
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    num_member_entities: usize,
    num_parent_groups: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    alias: Option<shown::ListedAlias>,
}

async fn listed(cx: &Cx<Identity>, (groups, _): Listed<Group>) -> Result<Keys, Error> {
    let mut all = Vec::with_capacity(groups.len());
    for (key, group) in groups {
        let members = directory(cx).members(&group).await?;
        let alias = group.alias.as_ref().map(|alias| shown::listed_group_alias(cx, &group.id, alias));
        let info = ListedGroup {
            alias,
            kind: group.kind.as_str(),
            num_member_entities: members.len(),
            num_parent_groups: group.above.len(),
            id: group.id,
            name: group.name,
        };
        all.push((key, info));
    }
    shown::keys(all)
}

async fn list(cx: Cx<Identity>, (): (), paging: Paging) -> Result<Keys, Error> {
    let page = directory(&cx).groups(paging.after(), paging.limit()).await?;
    listed(&cx, page).await
}

async fn list_names(cx: Cx<Identity>, (): (), paging: Paging) -> Result<Keys, Error> {
    let page = directory(&cx).groups_by_name(paging.after(), paging.limit()).await?;
    listed(&cx, page).await
}

async fn delete(cx: Cx<Identity>, id: String) -> Result<Done, Error> {
    directory(&cx).delete_group(&id).await?;
    Ok(Done)
}

async fn delete_by_name(cx: Cx<Identity>, name: String) -> Result<Done, Error> {
    let directory = directory(&cx);
    if let Some(group) = directory.group_named(&named(name)?).await? {
        directory.delete_group(&group.id).await?;
    }
    Ok(Done)
}
