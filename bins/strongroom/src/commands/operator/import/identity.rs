//! Entities, aliases and groups. They are found by name here; their ids are new.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    Brought,
    mounts::{self, Mounts},
    policies::pick,
    report::Report,
    source::{Source, Target, texts},
};
use crate::failure::Failure;

/// Ids there, with those here.
type Ids = BTreeMap<String, String>;

pub(super) async fn bring(found: &Mounts, source: &Source, target: &Target<'_>, report: &mut Report<'_>) -> Brought {
    let accessors = mounts::accessors(found, target).await?;
    let mut entities = Ids::new();
    for id in source.list("identity/entity/id", report).await? {
        let Some(entity) = source.read(&format!("identity/entity/id/{id}"), report).await? else { continue };
        if let Some(own) = entity_of(&entity, target, report).await? {
            aliases(&entity, &own, &accessors, target, report).await?;
            entities.insert(id, own);
        }
    }
    let mut groups = Ids::new();
    let mut members = Vec::new();
    for id in source.list("identity/group/id", report).await? {
        let Some(group) = source.read(&format!("identity/group/id/{id}"), report).await? else { continue };
        if let Some(own) = group_of(&group, (&entities, &accessors), target, report).await? {
            members.push((own.clone(), texts(Some(&group["member_group_ids"]))));
            groups.insert(id, own);
        }
    }
    for (group, below) in members {
        let below: Vec<_> = below.iter().filter_map(|id| groups.get(id)).collect();
        if !below.is_empty() {
            let body = json!({ "member_group_ids": below });
            target.write(&format!("identity/group/id/{group}"), body, "the members of a group", report).await?;
        }
    }
    Ok(())
}

/// What is under a name here, and its id.
async fn here(path: &str, target: &Target<'_>) -> Result<Option<(String, Value)>, Failure> {
    let found = target.read(path).await?;
    Ok(found.and_then(|found| Some((found["id"].as_str()?.to_owned(), found))))
}

fn made(answer: &Value, target: &Target<'_>, name: &str) -> Option<String> {
    let id = answer["id"].as_str().map(str::to_owned);
    // Where nothing is written, the name has to do.
    id.or_else(|| target.dry_run.then(|| name.to_owned()))
}

async fn entity_of(entity: &Value, target: &Target<'_>, report: &mut Report<'_>) -> Result<Option<String>, Failure> {
    let name = entity["name"].as_str().unwrap_or_default();
    if let Some((id, _)) = here(&format!("identity/entity/name/{name}"), target).await? {
        report.there("entity");
        return Ok(Some(id));
    }
    let body = Value::Object(pick(entity, &["name", "metadata", "policies", "disabled"]));
    let Some(answer) = target.write("identity/entity", body, &format!("entity {name}"), report).await? else {
        return Ok(None);
    };
    report.brought("entity", name);
    Ok(made(&answer, target, name))
}

async fn aliases(entity: &Value, own: &str, accessors: &Ids, target: &Target<'_>, report: &mut Report<'_>) -> Brought {
    let known = match target.dry_run {
        true => None,
        false => target.read(&format!("identity/entity/id/{own}")).await?,
    };
    let known = known.map(|known| known["aliases"].clone()).unwrap_or_default();
    for alias in entity["aliases"].as_array().into_iter().flatten() {
        let (name, there) =
            (alias["name"].as_str().unwrap_or_default(), alias["mount_accessor"].as_str().unwrap_or_default());
        let Some(accessor) = accessors.get(there) else {
            report.left(format!("alias {name}"), "its auth method is not here");
            continue;
        };
        let same = |one: &Value| one["mount_accessor"] == **accessor && one["name"] == name;
        if known.as_array().is_some_and(|known| known.iter().any(same)) {
            report.there("alias");
            continue;
        }
        let mut body = Map::from_iter([
            ("name".to_owned(), json!(name)),
            ("mount_accessor".to_owned(), json!(accessor)),
            ("canonical_id".to_owned(), json!(own)),
        ]);
        body.extend(pick(alias, &["custom_metadata"]));
        if target.write("identity/entity-alias", Value::Object(body), &format!("alias {name}"), report).await?.is_some()
        {
            report.brought("alias", name);
        }
    }
    Ok(())
}

async fn group_of(
    group: &Value,
    (entities, accessors): (&Ids, &Ids),
    target: &Target<'_>,
    report: &mut Report<'_>,
) -> Result<Option<String>, Failure> {
    let name = group["name"].as_str().unwrap_or_default();
    if let Some((id, _)) = here(&format!("identity/group/name/{name}"), target).await? {
        report.there("group");
        return Ok(Some(id));
    }
    let mut body = pick(group, &["name", "type", "metadata", "policies"]);
    let external = group["type"] == "external";
    let members: Vec<_> =
        texts(Some(&group["member_entity_ids"])).iter().filter_map(|id| entities.get(id)).cloned().collect();
    if !external && !members.is_empty() {
        body.insert("member_entity_ids".to_owned(), json!(members));
    }
    let Some(answer) = target.write("identity/group", Value::Object(body), &format!("group {name}"), report).await?
    else {
        return Ok(None);
    };
    report.brought("group", name);
    let Some(id) = made(&answer, target, name) else { return Ok(None) };
    if external && group["alias"].is_object() {
        group_alias(&group["alias"], &id, accessors, target, report).await?;
    }
    Ok(Some(id))
}

async fn group_alias(
    alias: &Value,
    group: &str,
    accessors: &Ids,
    target: &Target<'_>,
    report: &mut Report<'_>,
) -> Brought {
    let (name, there) =
        (alias["name"].as_str().unwrap_or_default(), alias["mount_accessor"].as_str().unwrap_or_default());
    let Some(accessor) = accessors.get(there) else {
        if !name.is_empty() {
            report.left(format!("group alias {name}"), "its auth method is not here");
        }
        return Ok(());
    };
    let body = json!({ "name": name, "mount_accessor": accessor, "canonical_id": group });
    if target.write("identity/group-alias", body, &format!("group alias {name}"), report).await?.is_some() {
        report.brought("group alias", name);
    }
    Ok(())
}
