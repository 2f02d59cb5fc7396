//! `entity-alias`, and its old names `alias` and `persona`.

use api::Pairs;
use engine::{Answer, Cx, Data, Done, Error, IntoAnswer, Keys};
use identity::AliasInput;
use serde::{Deserialize, Serialize};

use crate::{Identity, Paging, Routes, Verb, check_mount, directory, given, shown};

pub(crate) fn routes(routes: Routes<Identity>) -> Routes<Identity> {
    let routes = routes
        .on(Verb::Write, "entity-alias", "Create an alias of an entity, or change or move it.", write)
        .on(Verb::List, "entity-alias/id", "List the aliases of entities.", list)
        .on(Verb::Read, "entity-alias/id/{id}", "Show an alias.", read)
        .on(Verb::Write, "entity-alias/id/{id}", "Change an alias, or move it to another entity.", write_by_id)
        .on(Verb::Delete, "entity-alias/id/{id}", "Remove an alias; its entity stays.", delete);
    let routes = routes
        .on(Verb::Write, "alias", "The old name of entity-alias.", write)
        .on(Verb::List, "alias/id", "The old name of entity-alias/id.", list)
        .on(Verb::Read, "alias/id/{id}", "The old name of entity-alias/id.", read)
        .on(Verb::Write, "alias/id/{id}", "The old name of entity-alias/id.", write_by_id)
        .on(Verb::Delete, "alias/id/{id}", "The old name of entity-alias/id.", delete);
    routes
        .on(Verb::Write, "persona", "The oldest name of entity-alias.", write)
        .on(Verb::List, "persona/id", "The oldest name of entity-alias/id.", list)
        .on(Verb::Read, "persona/id/{id}", "The oldest name of entity-alias/id.", read)
        .on(Verb::Write, "persona/id/{id}", "The oldest name of entity-alias/id.", write_by_id)
        .on(Verb::Delete, "persona/id/{id}", "The oldest name of entity-alias/id.", delete)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct AliasBody {
    id: Option<String>,
    name: Option<String>,
    canonical_id: Option<String>,
    entity_id: Option<String>,
    mount_accessor: Option<String>,
    custom_metadata: Option<Pairs>,
}

#[derive(Serialize)]
struct Made {
    id: String,
    canonical_id: String,
}

async fn write(cx: Cx<Identity>, (): (), body: AliasBody) -> Result<Answer, Error> {
    put(&cx, body).await
}

async fn write_by_id(cx: Cx<Identity>, id: String, body: AliasBody) -> Result<Answer, Error> {
    put(&cx, AliasBody { id: Some(id), ..body }).await
}

async fn put(cx: &Cx<Identity>, body: AliasBody) -> Result<Answer, Error> {
    let input = AliasInput {
        id: given(body.id),
        name: given(body.name),
        accessor: given(body.mount_accessor),
        entity: given(body.canonical_id).or_else(|| given(body.entity_id)),
        custom_metadata: body.custom_metadata.map(|pairs| pairs.0),
    };
    if let Some(accessor) = &input.accessor {
        check_mount(cx, accessor)?;
    }
    let (entity, accessor) = directory(cx).write_alias(input).await?;
    let alias = entity.aliases.get(&accessor).ok_or_else(|| Error::internal("an alias just written is not there"))?;
    Data(Made { id: alias.id.clone(), canonical_id: entity.id.clone() }).into_answer()
}

async fn read(cx: Cx<Identity>, id: String) -> Result<Data<shown::ShownAlias>, Error> {
    let (entity, accessor) = directory(&cx).alias(&id).await?.ok_or(Error::NotFound)?;
    let alias = entity.aliases.get(&accessor).ok_or(Error::NotFound)?;
    Ok(Data(shown::alias(&cx, &entity.id, &accessor, alias)))
}

async fn list(cx: Cx<Identity>, (): (), paging: Paging) -> Result<Keys, Error> {
    let (aliases, _) = directory(&cx).aliases(paging.after(), paging.limit()).await?;
    let listed = aliases.into_iter();
    shown::keys(listed.map(|(id, (at, alias))| (id, shown::listed_alone(&cx, &at.entity, &at.accessor, &alias))))
}

async fn delete(cx: Cx<Identity>, id: String) -> Result<Done, Error> {
    directory(&cx).delete_alias(&id).await?;
    Ok(Done)
}
