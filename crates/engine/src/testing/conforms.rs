//! What every kind must keep, whatever it does.

use std::{collections::BTreeSet, net::IpAddr};

use api::Verb;
use bytes::Bytes;
use gate::{Error, Matched, RouteInfo};
use serde_json::json;

use super::Mounted;
use crate::Kind;

/// The suite of a kind that is mounted without options, see [`Mounted::conforms`].
pub async fn conforms(kind: Kind) {
    Mounted::new(kind).conforms().await;
}

impl Mounted {
    /// Walks the route table: every route is there once, can be reached, is described and well formed; every input
    /// that makes no sense is the caller's fault, is told without quoting it, and does not end in a panic.
    ///
    /// # Panics
    /// Where the kind does not keep this.
    pub async fn conforms(&self) {
        assert!(self.kind.summary.ends_with('.'), "the kind's summary is a sentence");
        let mut seen = BTreeSet::new();
        for route in self.routes() {
            let RouteInfo { verb, pattern, summary, .. } = route;
            let at = format!("{verb:?} {pattern}");
            assert!(seen.insert((*verb, *pattern)), "{at}: twice in the table");
            assert!(summary.len() > 2 && summary.ends_with('.'), "{at}: the summary is a sentence");
            assert!(summary.starts_with(char::is_uppercase), "{at}: the summary begins with a capital");
            well_formed(&at, pattern);
            self.reachable(&at, route);
        }
        for route in self.routes().to_vec() {
            self.takes_bad_input(&route).await;
        }
    }

    fn reachable(&self, at: &str, route: &RouteInfo) {
        let path = example(route.pattern);
        match self.backend.matches(route.verb, &path) {
            Matched::Found(endpoint) => {
                let found = self.routes().get(endpoint.index).map(|route| route.pattern);
                assert_eq!(found, Some(route.pattern), "{at}: {path} leads elsewhere");
            }
            other => panic!("{at}: {path} leads to {other:?}"),
        }
    }

    async fn takes_bad_input(&self, route: &RouteInfo) {
        let path = example(route.pattern);
        let mut bodies: Vec<Bytes> = vec![Bytes::new()];
        if matches!(route.verb, Verb::Write | Verb::Patch) {
            for text in ["[]", "[1]", "\"marker\"", "7", "{", "{\"a\":", "{} {}", "{\"marker\":\"marker\"}"] {
                bodies.push(text.into());
            }
            for field in route.fields {
                for value in [json!({"a": [{"b": "marker"}]}), json!([["marker"]]), json!(-1.5), json!(null), json!("")]
                {
                    bodies.push(json!({ *field: value }).to_string().into());
                }
            }
        }
        for body in bodies {
            let shown = String::from_utf8_lossy(&body).into_owned();
            let at = format!("{:?} {path} {shown}", route.verb);
            let result = self.send_bytes(None, IpAddr::from([127, 0, 0, 1]), route.verb, &path, body).await;
            let no_object = matches!(shown.trim_start().chars().next(), Some('[' | '"' | '7'));
            match result {
                Ok(_) => assert!(!no_object || route.fields.is_empty(), "{at}: taken for an object"),
                Err(Error::Internal(text)) => panic!("{at}: a fault of the server: {text}"),
                Err(error) => assert!(!error.to_string().contains("marker"), "{at}: quoted in {error}"),
            }
        }
    }
}

fn well_formed(at: &str, pattern: &str) {
    let parts: Vec<&str> = pattern.split('/').collect();
    for (place, part) in parts.iter().enumerate() {
        assert!(!part.is_empty(), "{at}: an empty segment");
        if let Some(name) = part.strip_prefix('{') {
            let name = name.strip_suffix('}').unwrap_or_default();
            let rest = name.ends_with("...");
            assert!(name.trim_end_matches("...").chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{at}: {part}");
            assert!(!rest || place + 1 == parts.len(), "{at}: only the last capture takes the rest");
        }
    }
}

/// A path that fits the pattern.
fn example(pattern: &str) -> String {
    let part = |part: &str| match part.strip_prefix('{') {
        Some(name) if name.ends_with("...}") => "some/path".to_owned(),
        Some(name) => format!("some-{}", name.trim_end_matches('}').replace('_', "-")),
        None => part.to_owned(),
    };
    pattern.split('/').map(part).collect::<Vec<_>>().join("/")
}
