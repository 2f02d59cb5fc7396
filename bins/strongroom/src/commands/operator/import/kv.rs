//! The secrets of a KV mount. With versions, each keeps its number: what is gone there is written as nothing here and
//! then removed in the same way. Times are those of the import.

use serde_json::{Map, Value, json};

use super::{
    Brought,
    mounts::Mount,
    policies::pick,
    report::Report,
    source::{Source, Target, same},
};

pub(super) async fn bring(mount: &Mount, source: &Source, target: &Target<'_>, report: &mut Report<'_>) -> Brought {
    let root = mount.path.trim_end_matches('/').to_owned();
    let listing = if mount.has_versions() { format!("{root}/metadata/") } else { format!("{root}/") };
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let mut names = source.list(&format!("{listing}{folder}"), report).await?;
        names.sort();
        for name in names {
            let path = format!("{folder}{name}");
            match (name.ends_with('/'), mount.has_versions()) {
                (true, _) => folders.push(path),
                (false, true) => versions(&root, &path, source, target, report).await?,
                (false, false) => plain(&root, &path, source, target, report).await?,
            }
        }
    }
    Ok(())
}

async fn plain(root: &str, path: &str, source: &Source, target: &Target<'_>, report: &mut Report<'_>) -> Brought {
    let at = format!("{root}/{path}");
    if let Some(Value::Object(secret)) = source.read(&at, report).await? {
        target.settle(&at, secret, ("secret", &at), report).await?;
    }
    Ok(())
}

/// More versions than this that are gone are not made up only to keep the numbers of those that are there.
const MOST_GONE: u64 = 200;

/// A version as its metadata has it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    There,
    Deleted,
    Destroyed,
}

async fn versions(root: &str, path: &str, source: &Source, target: &Target<'_>, report: &mut Report<'_>) -> Brought {
    let (data, name) = (format!("{root}/data/{path}"), format!("{root}/{path}"));
    let at = format!("{root}/metadata/{path}");
    let Some(metadata) = source.read(&at, report).await? else { return Ok(()) };
    let current = metadata["current_version"].as_u64().unwrap_or_default();
    let here = target.read(&at).await?;
    let done = here.as_ref().and_then(|here| here["current_version"].as_u64()).unwrap_or_default();
    if done > current || !continues(&data, done, source, target, report).await? {
        report.left(format!("secret {name}"), "another secret is at this path here; it is left as it is");
        return Ok(());
    }
    if here.is_some() && done == current {
        report.there("secret");
        return Ok(());
    }
    let fates: Vec<Fate> = (1..=current).map(|version| fate(&metadata["versions"][version.to_string()])).collect();
    if fates.iter().filter(|fate| **fate != Fate::There).count() as u64 > MOST_GONE {
        report.left(
            format!("secret {name}"),
            format!("more than {MOST_GONE} of its versions are gone; write the last one by hand"),
        );
        return Ok(());
    }
    let settings = pick(&metadata, &["max_versions", "delete_version_after", "custom_metadata"]);
    if target.write(&at, Value::Object(settings), &format!("secret {name}"), report).await?.is_none() {
        return Ok(());
    }
    let (mut deleted, mut destroyed) = (Vec::new(), Vec::new());
    for (version, mut fate) in (1..=current).zip(fates) {
        if version <= done {
            continue;
        }
        let value = match fate {
            Fate::There => source.version(&data, version, report).await?,
            Fate::Deleted | Fate::Destroyed => None,
        };
        if fate == Fate::There && value.is_none() {
            report.left(format!("secret {name}, version {version}"), "it cannot be read");
            fate = Fate::Destroyed;
        }
        let value = value.map_or_else(|| json!({}), |value| value["data"].clone());
        let body = json!({ "data": value, "options": { "cas": version - 1 } });
        if target.write(&data, body, &format!("secret {name}, version {version}"), report).await?.is_none() {
            return Ok(());
        }
        match fate {
            Fate::There => {}
            Fate::Deleted => deleted.push(version),
            Fate::Destroyed => destroyed.push(version),
        }
    }
    for (verb, gone) in [("delete", deleted), ("destroy", destroyed)] {
        if !gone.is_empty() {
            let what = format!("secret {name}, versions that are gone");
            target.write(&format!("{root}/{verb}/{path}"), json!({ "versions": gone }), &what, report).await?;
        }
    }
    if metadata["cas_required"] == true {
        let body = Map::from_iter([("cas_required".to_owned(), json!(true))]);
        target.write(&at, Value::Object(body), &format!("secret {name}"), report).await?;
    }
    report.brought("secret", &name);
    Ok(())
}

/// Whether what is here so far is the beginning of what is there.
async fn continues(
    data: &str,
    done: u64,
    source: &Source,
    target: &Target<'_>,
    report: &mut Report<'_>,
) -> Result<bool, crate::failure::Failure> {
    if done == 0 {
        return Ok(true);
    }
    let (there, here) = (source.version(data, done, report).await?, target.version(data, done).await?);
    // What is gone there was written as nothing here.
    let value = |found: Option<Value>| found.map(|found| found["data"].clone()).filter(|data| !data.is_null());
    Ok(match (value(there), value(here)) {
        (Some(there), Some(here)) => same(&here, &there),
        (None, here) => here.is_none_or(|here| same(&here, &json!({}))),
        (Some(_), None) => false,
    })
}

fn fate(version: &Value) -> Fate {
    if version.is_null() || version["destroyed"] == true {
        return Fate::Destroyed;
    }
    // A time in the future is that of a deletion to come; such a version can still be read.
    match version["deletion_time"].as_str().unwrap_or_default() {
        "" => Fate::There,
        text => match text.parse::<clock::Timestamp>() {
            Ok(at) if at > clock::Clock::system().now() => Fate::There,
            _ => Fate::Deleted,
        },
    }
}
