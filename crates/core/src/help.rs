//! What a path can do, told out of the route table; nothing is called for it.

use std::fmt::Write as _;

use api::Verb;
use gate::{Answer, Body, Decision, Error, Facts, RouteInfo};
use policy::Acl;
use serde_json::json;

/// Whoever has any right on a path or below it may know what it can do.
pub(crate) fn decision(acl: &Acl, path: &str) -> Decision {
    let allowed = acl.grants_below(path);
    let reason = if allowed { String::new() } else { "no policy grants anything at this path or below it".to_owned() };
    Decision { allowed, rules: Vec::new(), reason }
}

/// The help of the request's path.
pub(crate) fn answer(facts: &Facts) -> Result<Answer, Error> {
    let mount = facts.mount().ok_or_else(|| Error::internal("help was asked of no mount"))?;
    let text = text(facts.request().path.as_str(), mount.kind, &mount.path, &facts.routes());
    let json = serde_json::to_vec(&json!({ "help": text, "see_also": [] }));
    let json = json.map_err(|_| Error::internal("help cannot be written as JSON"))?;
    Ok(Answer { body: Body::Bare(json.into()), ..Answer::default() })
}

fn text(path: &str, kind: &str, mount: &str, routes: &[&RouteInfo]) -> String {
    let mut text = format!("Request:  {path}\nMount:    {mount} ({kind})\n");
    let mut pattern = None;
    for route in routes {
        if pattern != Some(route.pattern) {
            pattern = Some(route.pattern);
            // Writing to a text does not fail.
            let _ = write!(text, "\n## {mount}{}\n\n", route.pattern);
        }
        let sudo = if route.sudo { " Needs sudo." } else { "" };
        let _ = writeln!(text, "    {:<8}{}{sudo}", verb(route.verb), route.summary);
        if !route.fields.is_empty() {
            let _ = writeln!(text, "            takes: {}", route.fields.join(", "));
        }
    }
    text
}

fn verb(verb: Verb) -> &'static str {
    match verb {
        Verb::Delete => "delete",
        Verb::List => "list",
        Verb::Patch => "patch",
        Verb::Read => "read",
        Verb::Write => "write",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_of_one_pattern_stand_together() {
        let route = |verb, summary, sudo, fields| RouteInfo {
            verb,
            pattern: "roles/{name}",
            summary,
            open: false,
            sudo,
            existence: false,
            clear: &[],
            fields,
        };
        let (read, write) = (route(Verb::Read, "Read.", false, &[]), route(Verb::Write, "Write.", true, &["a", "b"]));
        let text = text("database/roles/x", "database", "database/", &[&read, &write]);
        let expected = "Request:  database/roles/x\nMount:    database/ (database)\n\n## database/roles/{name}\n\n    \
            read    Read.\n    write   Write. Needs sudo.\n            takes: a, b\n";
        assert_eq!(text, expected);
    }
}
