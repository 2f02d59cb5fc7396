//! What a path can do, told out of the route table; nothing is called for it.

use std::fmt::Write as _;

use api::Verb;
use gate::{Answer, Body, Decision, Error, Facts, RouteInfo};
use policy::Acl;
use serde_json::json;

use crate::openapi::{Document, Mount};

/// Whoever has any right on a path or below it may know what it can do.
pub(crate) fn decision(acl: &Acl, path: &str) -> Decision {
    let allowed = acl.grants_below(path);
    let reason = if allowed { String::new() } else { "no policy grants anything at this path or below it".to_owned() };
    Decision { allowed, rules: Vec::new(), reason, conditions: None }
}

/// The help of the request's path.
pub(crate) fn answer(facts: &Facts, version: &str) -> Result<Answer, Error> {
    let mount = facts.mount().ok_or_else(|| Error::internal("help was asked of no mount"))?;
    let routes = facts.routes();
    let text = text(facts.request().path.as_str(), mount.kind, &mount.path, &routes);
    let mut document = Document::new();
    document.add(&Mount::new(mount, false), &routes);
    let json = json!({ "help": text, "see_also": [], "openapi": document.finish(version) });
    let json = serde_json::to_vec(&json);
    let json = json.map_err(|_| Error::internal("help cannot be written as JSON"))?;
    Ok(Answer { body: Body::Bare(json.into()), ..Answer::default() })
}

fn text(path: &str, kind: &str, mount: &str, routes: &[&RouteInfo]) -> String {
    let mut text = format!("Request:        {path}\n");
    // Of several that fit, such as one that takes every path, the one that says most.
    let longest = routes.iter().map(|route| route.pattern).max_by_key(|pattern| pattern.len());
    if let Some(pattern) = longest.filter(|_| path.trim_end_matches('/') != mount.trim_end_matches('/')) {
        // Writing to a text does not fail.
        let _ = writeln!(text, "Matching Route: {}", expression(pattern));
    }
    let _ = writeln!(text, "Mount:          {mount} ({kind})");
    let mut pattern = None;
    for route in routes {
        if pattern != Some(route.pattern) {
            pattern = Some(route.pattern);
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

/// The pattern as the regular expression that clients know.
fn expression(pattern: &str) -> String {
    let part = |part: &str| match part.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
        None => part.to_owned(),
        Some(name) => match name.strip_suffix("...") {
            Some(rest) => format!("(?P<{rest}>.*)"),
            None => format!("(?P<{name}>[^/]+)"),
        },
    };
    format!("^{}$", pattern.split('/').map(part).collect::<Vec<_>>().join("/"))
}

fn verb(verb: Verb) -> &'static str {
    match verb {
        Verb::Delete => "delete",
        Verb::List => "list",
        Verb::Patch => "patch",
        Verb::Read => "read",
        Verb::Scan => "scan",
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
            only_reads: false,
            clear: &[],
            fields,
            types: Vec::new,
        };
        let (read, write) = (route(Verb::Read, "Read.", false, &[]), route(Verb::Write, "Write.", true, &["a", "b"]));
        let text = text("database/roles/x", "database", "database/", &[&read, &write]);
        let expected = "Request:        database/roles/x\nMatching Route: ^roles/(?P<name>[^/]+)$\n\
            Mount:          database/ (database)\n\n## database/roles/{name}\n\n    \
            read    Read.\n    write   Write. Needs sudo.\n            takes: a, b\n";
        assert_eq!(text, expected);
    }
}
