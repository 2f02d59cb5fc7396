//! `entity`, `entity/id`, `entity/name`, `entity/batch-delete`, `entity/merge`.

use api::{CommaList, Flag, Pairs};
use engine::{Answer, Body, Cx, Data, Done, Error, IntoAnswer, Keys};
use identity::{Clash, Entity, EntityInput, Listed, Merge, Merged};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{Identity, Paging, Routes, Verb, directory, given, shown};

pub(crate) fn routes(routes: Routes<Identity>) -> Routes<Identity> {
    routes
        .on(Verb::Write, "entity", "Create an entity, or change the one with this name or id.", write)
        .on(Verb::List, "entity/id", "List the entities by id.", list)
        .on(Verb::Read, "entity/id/{id}", "Show an entity.", read)
        .on(Verb::Write, "entity/id/{id}", "Change an entity.", write_by_id)
        .on(Verb::Delete, "entity/id/{id}", "Remove an entity and its aliases; its tokens are refused.", delete)
        .on(Verb::List, "entity/name", "List the entities by name.", list_names)
        .on(Verb::Read, "entity/name/{name...}", "Show the entity with this name.", read_by_name)
        .on(Verb::Write, "entity/name/{name...}", "Create or change the entity with this name.", write_by_name)
        .on(Verb::Delete, "entity/name/{name...}", "Remove the entity with this name.", delete_by_name)
        .on(Verb::Write, "entity/batch-delete", "Remove several entities at once.", delete_many)
        .on(Verb::Write, "entity/merge", "Make one entity out of several.", merge)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct EntityBody {
    id: Option<String>,
    name: Option<String>,
    metadata: Option<Pairs>,
    policies: Option<CommaList>,
    disabled: Option<Flag>,
}

impl EntityBody {
    fn input(self) -> EntityInput {
        EntityInput {
            id: given(self.id),
            name: given(self.name),
            metadata: self.metadata.map(|pairs| pairs.0),
            policies: self.policies.map(|policies| policies.0),
            disabled: self.disabled.map(|flag| flag.0),
        }
    }
}

#[derive(Serialize)]
struct Made {
    id: String,
    name: String,
    aliases: Option<Vec<String>>,
}

async fn write(cx: Cx<Identity>, (): (), body: EntityBody) -> Result<Answer, Error> {
    put(&cx, body.input()).await
}

async fn write_by_id(cx: Cx<Identity>, id: String, body: EntityBody) -> Result<Answer, Error> {
    put(&cx, EntityInput { id: Some(id), ..body.input() }).await
}

async fn write_by_name(cx: Cx<Identity>, name: String, body: EntityBody) -> Result<Answer, Error> {
    put(&cx, EntityInput { id: None, name: Some(named(name)?), ..body.input() }).await
}

/// The name in a path.
pub(crate) fn named(name: String) -> Result<String, Error> {
    given(Some(name)).ok_or_else(|| Error::invalid("missing name: give it as the last part of the path"))
}

async fn put(cx: &Cx<Identity>, input: EntityInput) -> Result<Answer, Error> {
    let (entity, new) = directory(cx).write_entity(input).await?;
    match new {
        true => Data(Made { id: entity.id, name: entity.name, aliases: None }).into_answer(),
        false => Ok(Answer::default()),
    }
}

/// An entity as it is shown, with its groups.
pub(crate) async fn show(cx: &Cx<Identity>, entity: Entity) -> Result<Data<shown::ShownEntity>, Error> {
    let memberships = directory(cx).memberships(&entity).await?;
    Ok(Data(shown::entity(cx, entity, memberships)))
}

async fn read(cx: Cx<Identity>, id: String) -> Result<Data<shown::ShownEntity>, Error> {
    let entity = directory(&cx).entity(&id).await?.ok_or(Error::NotFound)?;
    show(&cx, entity).await
}

async fn read_by_name(cx: Cx<Identity>, name: String) -> Result<Data<shown::ShownEntity>, Error> {
    let entity = directory(&cx).entity_named(&named(name)?).await?.ok_or(Error::NotFound)?;
    show(&cx, entity).await
}

#[derive(Serialize)]
struct ListedEntity {
    id: String,
    name: String,
    aliases: Vec<shown::ListedAlias>,
}

fn listed(cx: &Cx<Identity>, (entities, _): Listed<Entity>) -> Result<Keys, Error> {
    shown::keys(entities.into_iter().map(|(key, entity)| {
        let aliases = entity.aliases.iter().map(|(accessor, alias)| shown::listed(cx, accessor, alias)).collect();
        (key, ListedEntity { id: entity.id, name: entity.name, aliases })
    }))
}

async fn list(cx: Cx<Identity>, (): (), paging: Paging) -> Result<Keys, Error> {
    listed(&cx, directory(&cx).entities(paging.after(), paging.limit()).await?)
}

async fn list_names(cx: Cx<Identity>, (): (), paging: Paging) -> Result<Keys, Error> {
    listed(&cx, directory(&cx).entities_by_name(paging.after(), paging.limit()).await?)
}

async fn delete(cx: Cx<Identity>, id: String) -> Result<Done, Error> {
    directory(&cx).delete_entity(&id).await?;
    Ok(Done)
}

async fn delete_by_name(cx: Cx<Identity>, name: String) -> Result<Done, Error> {
    let directory = directory(&cx);
    if let Some(entity) = directory.entity_named(&named(name)?).await? {
        directory.delete_entity(&entity.id).await?;
    }
    Ok(Done)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Several {
    entity_ids: CommaList,
}

async fn delete_many(cx: Cx<Identity>, (): (), several: Several) -> Result<Done, Error> {
    if several.entity_ids.is_empty() {
        return Err(Error::invalid("missing entity ids to delete: give them in the field \"entity_ids\""));
    }
    let directory = directory(&cx);
    for id in several.entity_ids.iter() {
        directory.delete_entity(id).await?;
    }
    Ok(Done)
}

/// `force` chooses between the login secrets of several factors; there are none to choose between.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct MergeBody {
    from_entity_ids: CommaList,
    to_entity_id: String,
    #[serde(rename = "force")]
    _force: Flag,
    conflicting_alias_ids_to_keep: CommaList,
}

async fn merge(cx: Cx<Identity>, (): (), body: MergeBody) -> Result<Answer, Error> {
    if body.from_entity_ids.is_empty() {
        return Err(Error::invalid("missing entity ids to merge from: give them in the field \"from_entity_ids\""));
    }
    if body.to_entity_id.is_empty() {
        return Err(Error::invalid("missing entity id to merge to: give it in the field \"to_entity_id\""));
    }
    let merge =
        Merge { from: body.from_entity_ids.0, to: body.to_entity_id, keep: body.conflicting_alias_ids_to_keep.0 };
    match directory(&cx).merge(&merge).await? {
        Merged::Done => Ok(Answer::default()),
        Merged::Clashes(clashes) => clash(&clashes),
    }
}

/// A refusal that says which aliases stand in the way; nothing was written.
fn clash(clashes: &[Clash]) -> Result<Answer, Error> {
    let each = clashes.iter().map(|clash| {
        format!(
            "mountAccessor: {}, toEntity ID: {}, fromEntity ID: {}, conflicting toEntity alias ID: {}, conflicting \
             fromEntity alias ID: {}",
            clash.accessor, clash.to, clash.from, clash.to_alias, clash.from_alias
        )
    });
    let text = format!(
        "toEntity and at least one fromEntity have aliases with the same mount accessor, repeat the merge request \
         specifying exactly one fromEntity and the aliases to keep in conflicting_alias_ids_to_keep, clashes: {}",
        each.collect::<Vec<_>>().join("; ")
    );
    let data = clashes.iter().map(|clash| {
        json!({
            "mount_accessor": clash.accessor,
            "from_entity_id": clash.from,
            "from_alias_id": clash.from_alias,
            "to_entity_id": clash.to,
            "to_alias_id": clash.to_alias,
        })
    });
    let body = json!({ "errors": [text], "data": data.collect::<Vec<_>>() });
    Ok(Answer { status: Some(400), body: Body::Bare(body.to_string().into()), ..Answer::default() })
}
