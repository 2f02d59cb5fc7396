//! The OpenAPI document, made from the route tables. Operations that Vault has, too, are named as it names them, with its
//! names for the parts of their paths; the others after their paths.

mod operations;

use std::collections::BTreeSet;

use api::Verb;
use gate::{FieldType, MountClass, MountInfo, RouteInfo};
use serde_json::{Map, Value, json};

use operations::Operation;

/// A document that is being made.
pub(crate) struct Document {
    paths: Map<String, Value>,
    schemas: Map<String, Value>,
    ids: BTreeSet<String>,
}

/// The mount whose routes are put into a document.
pub(crate) struct Mount<'m> {
    /// The path with its slash.
    pub(crate) path: &'m str,
    /// `system`, `auth`, `secrets` or `identity`.
    tag: &'static str,
    /// What operations are named after that have no other name; the section of the table of those that have.
    section: String,
    /// The name of a parameter in place of the path.
    generic: Option<String>,
}

impl<'m> Mount<'m> {
    /// A mount, by its own path or, if `generic`, by a parameter that stands for the path of any mount of its kind.
    pub(crate) fn new(info: &'m MountInfo, generic: bool) -> Self {
        let tag = match (info.kind, info.class) {
            ("system", _) => "system",
            ("identity", _) => "identity",
            (_, MountClass::Auth) => "auth",
            (_, MountClass::Secret) => "secrets",
        };
        let movable = !matches!(&*info.path, "sys/" | "identity/" | "cubbyhole/" | "auth/token/");
        let section = match info.kind {
            "kv" if info.options.get("version").is_some_and(|version| version == "2") => "kv-v2",
            "kv" => "kv-v1",
            kind => kind,
        };
        let generic = (generic && movable).then(|| format!("{}_mount_path", section.replace('-', "_")));
        Self { path: &info.path, tag, section: section.to_owned(), generic }
    }

    /// The path of a route of the mount, with its captures as parameters.
    fn path_of(&self, pattern: &str) -> String {
        let pattern = pattern.replace("...}", "}");
        match &self.generic {
            None => format!("/{}{pattern}", self.path),
            Some(name) if self.path.starts_with("auth/") => format!("/auth/{{{name}}}/{pattern}"),
            Some(name) => format!("/{{{name}}}/{pattern}"),
        }
    }

    fn parameter(&self) -> Option<Value> {
        let name = self.generic.as_ref()?;
        let usual = self.path.strip_prefix("auth/").unwrap_or(self.path).trim_end_matches('/');
        Some(json!({
            "name": name,
            "description": "Path that the backend was mounted at",
            "in": "path",
            "required": true,
            "schema": { "type": "string", "default": usual },
        }))
    }
}

impl Document {
    pub(crate) fn new() -> Self {
        Self { paths: Map::new(), schemas: Map::new(), ids: BTreeSet::new() }
    }

    /// Adds the routes of a mount. The document's format has one reading operation for a path, and knows of no scans.
    pub(crate) fn add(&mut self, mount: &Mount<'_>, routes: &[&RouteInfo]) {
        let mut named = vec![false; routes.len()];
        for operation in operations::of(&mount.section) {
            let same =
                |route: &&RouteInfo| route.verb == operation.verb && shape(route.pattern) == shape(operation.path);
            let exact = routes.iter().position(same);
            if let Some(named) = exact.and_then(|at| named.get_mut(at)) {
                *named = true;
            }
            let covers = || routes.iter().position(|route| covers(route, &operation));
            if let Some(route) = exact.or_else(covers).and_then(|at| routes.get(at)) {
                self.put(mount, route, operation.path, Some(&operation));
            }
        }
        for (route, named) in routes.iter().zip(named) {
            if !named && route.verb != Verb::Scan {
                self.put(mount, route, route.pattern, None);
            }
        }
    }

    fn put(&mut self, mount: &Mount<'_>, route: &RouteInfo, pattern: &str, named: Option<&Operation>) {
        let mut path = mount.path_of(pattern);
        if route.verb == Verb::List && !path.ends_with('/') {
            path.push('/');
        }
        let operation = self.operation(mount, route, named);
        let entry = self.paths.entry(path).or_insert_with(|| item(mount, route, pattern));
        let Some(entry) = entry.as_object_mut() else { return };
        if route.sudo {
            entry.insert("x-vault-sudo".to_owned(), json!(true));
        }
        if route.open {
            entry.insert("x-vault-unauthenticated".to_owned(), json!(true));
        }
        if route.existence {
            entry.insert("x-vault-createSupported".to_owned(), json!(true));
        }
        entry.insert(method(route.verb).to_owned(), operation);
    }

    fn operation(&mut self, mount: &Mount<'_>, route: &RouteInfo, named: Option<&Operation>) -> Value {
        let id = self.id(mount, route, named);
        let mut parameters = Vec::new();
        if route.verb == Verb::List {
            parameters.push(json!({
                "name": "list",
                "description": "Must be set to `true`",
                "in": "query",
                "required": true,
                "schema": { "type": "string", "enum": ["true"] },
            }));
        }
        let fields =
            || route.fields.iter().copied().zip((route.types)().into_iter().chain(std::iter::repeat(FieldType::Any)));
        let takes_body = matches!(route.verb, Verb::Patch | Verb::Write);
        if !takes_body {
            parameters
                .extend(fields().map(|(name, kind)| json!({ "name": name, "in": "query", "schema": schema(kind) })));
        }
        let mut operation = json!({
            "summary": route.summary,
            "operationId": id,
            "tags": [mount.tag],
            "responses": self.responses(&id, route.verb, named),
        });
        let Some(object) = operation.as_object_mut() else { return operation };
        if !parameters.is_empty() {
            object.insert("parameters".to_owned(), json!(parameters));
        }
        if takes_body && !route.fields.is_empty() {
            let name = format!("{}Request", camel(&id));
            let properties: Map<_, _> = fields().map(|(name, kind)| (name.to_owned(), schema(kind))).collect();
            self.schemas.insert(name.clone(), json!({ "type": "object", "properties": properties }));
            let content_type =
                if route.verb == Verb::Patch { "application/merge-patch+json" } else { "application/json" };
            let schema = json!({ "$ref": format!("#/components/schemas/{name}") });
            object.insert(
                "requestBody".to_owned(),
                json!({ "required": true, "content": { content_type: { "schema": schema } } }),
            );
        }
        operation
    }

    fn responses(&mut self, id: &str, verb: Verb, named: Option<&Operation>) -> Value {
        let Some(reply) = named.and_then(Operation::reply) else { return responses(verb) };
        let plain = named.is_some_and(Operation::is_plain_list);
        let name = if plain { "StandardListResponse".to_owned() } else { format!("{}Response", camel(id)) };
        self.schemas.insert(name.clone(), reply);
        let schema = json!({ "$ref": format!("#/components/schemas/{name}") });
        json!({ "200": { "description": "OK", "content": { "application/json": { "schema": schema } } } })
    }

    /// A name for the operation that no other has.
    fn id(&mut self, mount: &Mount<'_>, route: &RouteInfo, named: Option<&Operation>) -> String {
        let verb = match route.verb {
            Verb::Delete => "delete",
            Verb::List => "list",
            Verb::Patch => "patch",
            Verb::Read => "read",
            Verb::Scan => "scan",
            Verb::Write => "write",
        };
        let words = format!("{}/{verb}/{}", mount.section, route.pattern);
        let words = words.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        let own = || words.collect::<Vec<_>>().join("-").to_ascii_lowercase();
        let base = named.map_or_else(own, |named| named.id.to_owned());
        let numbered = (2..).map(|number| format!("{base}{number}"));
        let free = std::iter::once(base.clone()).chain(numbered).find(|id| !self.ids.contains(id)).unwrap_or(base);
        self.ids.insert(free.clone());
        free
    }

    /// The whole document.
    pub(crate) fn finish(self, version: &str) -> Value {
        json!({
            "openapi": "3.0.2",
            "info": {
                "title": "HashiCorp Vault API",
                "description": "The HTTP API of Strongroom, which is that of Vault. All API routes are prefixed with `/v1/`.",
                "version": version,
                "license": { "name": "Apache License, Version 2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0" },
            },
            "servers": [{ "url": "/v1" }],
            "paths": self.paths,
            "components": { "schemas": self.schemas },
        })
    }
}

/// A pattern without the names of its captures.
fn shape(pattern: &str) -> String {
    let part = |part: &str| if part.starts_with('{') { "{}".to_owned() } else { part.to_owned() };
    pattern.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// Whether a route that takes the rest of a path answers an operation at a path of its own, such as `mounts/{path...}` does
/// `mounts/{path}/tune`.
fn covers(route: &RouteInfo, operation: &Operation) -> bool {
    let Some((fixed, capture)) = route.pattern.rsplit_once('{') else { return false };
    let rest = operation.path.strip_prefix(fixed.trim_end_matches('/'));
    let below = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    route.verb == operation.verb && capture.ends_with("...}") && !fixed.is_empty() && below
}

/// What all operations of a path share.
fn item(mount: &Mount<'_>, route: &RouteInfo, pattern: &str) -> Value {
    let captured = |name: &str| json!({ "name": name, "description": captured_text(name), "in": "path", "required": true, "schema": { "type": "string" } });
    let names = pattern.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let names = names.map(|name| name.trim_end_matches("..."));
    let parameters: Vec<_> = mount.parameter().into_iter().chain(names.map(captured)).collect();
    match parameters.is_empty() {
        true => json!({ "description": route.summary }),
        false => json!({ "description": route.summary, "parameters": parameters }),
    }
}

fn captured_text(name: &str) -> String {
    match name {
        "path" => "The rest of the path; it may have slashes in it.".to_owned(),
        name => format!("The {} in the path.", name.replace('_', " ")),
    }
}

fn method(verb: Verb) -> &'static str {
    match verb {
        Verb::Delete => "delete",
        Verb::List | Verb::Read | Verb::Scan => "get",
        Verb::Patch => "patch",
        Verb::Write => "post",
    }
}

fn responses(verb: Verb) -> Value {
    match verb {
        Verb::List | Verb::Read | Verb::Scan => json!({ "200": { "description": "OK" } }),
        Verb::Delete => json!({ "204": { "description": "empty body" } }),
        Verb::Patch | Verb::Write => {
            json!({ "200": { "description": "OK" }, "204": { "description": "empty body" } })
        }
    }
}

fn schema(kind: FieldType) -> Value {
    match kind {
        FieldType::Any => json!({}),
        FieldType::Array => json!({ "type": "array", "items": { "type": "string" } }),
        FieldType::Boolean => json!({ "type": "boolean" }),
        FieldType::Duration => json!({ "type": "string", "format": "duration" }),
        FieldType::Integer => json!({ "type": "integer" }),
        FieldType::Number => json!({ "type": "number" }),
        FieldType::Object => json!({ "type": "object" }),
        FieldType::String => json!({ "type": "string" }),
    }
}

/// `system-write-mounts-path` as `SystemWriteMountsPath`.
fn camel(id: &str) -> String {
    let word = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
    };
    id.split('-').map(word).collect()
}
