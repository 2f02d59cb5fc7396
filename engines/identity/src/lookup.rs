//! `lookup/entity` and `lookup/group`: by any name. What is not found is answered with nothing.

use engine::{Answer, Cx, Error, IntoAnswer};
use serde::Deserialize;

use crate::{Identity, Routes, Verb, directory, entity, group};

pub(crate) fn routes(routes: Routes<Identity>) -> Routes<Identity> {
    routes.on(Verb::Write, "lookup/entity", "Find an entity by id, name or alias.", find_entity).on(
        Verb::Write,
        "lookup/group",
        "Find a group by id, name or alias.",
        find_group,
    )
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct By {
    id: String,
    name: String,
    alias_id: String,
    alias_name: String,
    alias_mount_accessor: String,
}

/// The one thing that is asked by.
enum Key {
    Id(String),
    Name(String),
    AliasId(String),
    Alias(String, String),
}

impl By {
    fn key(self) -> Result<Key, Error> {
        let given = [&self.id, &self.name, &self.alias_id, &self.alias_name, &self.alias_mount_accessor];
        let [id, name, alias_id, alias_name, accessor] = given.map(|text| !text.is_empty());
        match (id, name, alias_id, alias_name, accessor) {
            (true, false, false, false, false) => Ok(Key::Id(self.id)),
            (false, true, false, false, false) => Ok(Key::Name(self.name)),
            (false, false, true, false, false) => Ok(Key::AliasId(self.alias_id)),
            (false, false, false, true, true) => Ok(Key::Alias(self.alias_mount_accessor, self.alias_name)),
            (false, false, false, false, false) => Err(Error::invalid(
                "query parameter not supplied: give id, name, alias_id, or alias_name with alias_mount_accessor",
            )),
            (false, false, false, true, false) | (false, false, false, false, true) => {
                Err(Error::invalid("both 'alias_name' and 'alias_mount_accessor' needs to be set"))
            }
            _ => Err(Error::invalid("query parameter conflict; please supply distinct set of query parameters")),
        }
    }
}

async fn find_entity(cx: Cx<Identity>, (): (), by: By) -> Result<Answer, Error> {
    let directory = directory(&cx);
    let found = match by.key()? {
        Key::Id(id) => directory.entity(&id).await?,
        Key::Name(name) => directory.entity_named(&name).await?,
        Key::AliasId(id) => directory.alias(&id).await?.map(|(entity, _)| entity),
        Key::Alias(accessor, name) => directory.entity_of_alias(&accessor, &name).await?,
    };
    match found {
        Some(found) => entity::show(&cx, found).await?.into_answer(),
        None => Ok(Answer::default()),
    }
}

async fn find_group(cx: Cx<Identity>, (): (), by: By) -> Result<Answer, Error> {
    let directory = directory(&cx);
    let found = match by.key()? {
        Key::Id(id) => directory.group(&id).await?,
        Key::Name(name) => directory.group_named(&name).await?,
        Key::AliasId(id) => directory.group_with_alias(&id).await?,
        Key::Alias(accessor, name) => directory.group_of_alias(&accessor, &name).await?,
    };
    match found {
        Some(found) => group::show(&cx, found).await?.into_answer(),
        None => Ok(Answer::default()),
    }
}
