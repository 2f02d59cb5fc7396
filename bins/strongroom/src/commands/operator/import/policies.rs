//! Access and password policies.

use serde_json::{Map, Value, json};

use super::{
    Brought,
    report::Report,
    source::{Source, Target},
};

pub(super) async fn bring(source: &Source, target: &Target<'_>, report: &mut Report<'_>) -> Brought {
    for name in source.list("sys/policies/acl", report).await? {
        if !matches!(name.as_str(), "root" | "response-wrapping") {
            one(("policy", "sys/policies/acl"), &name, source, target, report).await?;
        }
    }
    for name in source.list("sys/policies/password", report).await? {
        one(("password policy", "sys/policies/password"), &name, source, target, report).await?;
    }
    Ok(())
}

async fn one(
    (kind, folder): (&'static str, &str),
    name: &str,
    source: &Source,
    target: &Target<'_>,
    report: &mut Report<'_>,
) -> Brought {
    let path = format!("{folder}/{name}");
    let Some(policy) = source.read(&path, report).await? else { return Ok(()) };
    let wanted = Map::from_iter([("policy".to_owned(), policy["policy"].clone())]);
    // Every server has one under this name; only what an operator changed is worth a word.
    if name == "default" && kind == "policy" {
        let here = target.read(&path).await?.unwrap_or(Value::Null);
        if here["policy"] != policy["policy"] {
            report.left("policy default", "it differs from the one here; compare the two by hand");
        }
        return Ok(());
    }
    target.settle(&path, wanted, (kind, name), report).await?;
    Ok(())
}

/// Lists are given as they are; nothing is made up for what is absent.
pub(super) fn pick(from: &Value, fields: &[&str]) -> Map<String, Value> {
    let set = |value: &Value| !matches!(value, Value::Null) && *value != json!("") && *value != json!([]);
    let pairs =
        fields.iter().filter_map(|field| Some(((*field).to_owned(), from.get(*field).filter(|v| set(v))?.clone())));
    pairs.collect()
}
