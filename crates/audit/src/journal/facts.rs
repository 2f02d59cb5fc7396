//! What one entry says that the index is asked for.

use clock::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The facts of one entry.
pub(super) struct Facts {
    /// In microseconds since 1970.
    pub(super) time: i64,
    pub(super) response: bool,
    pub(super) operation: String,
    pub(super) failed: bool,
    pub(super) act: Act,
    pub(super) names: Vec<(Name, String)>,
}

/// What a record is found by. The numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Path = 1,
    Mount = 2,
    Entity = 3,
    Display = 4,
    Accessor = 5,
    Lease = 6,
    Username = 7,
    Request = 8,
}

/// Whether a record begins or ends the holding of a credential. The numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Other = 0,
    Issues = 1,
    Ends = 2,
}

impl Facts {
    pub(super) fn of(entry: &[u8]) -> Self {
        let said: Said<'_> = serde_json::from_slice(entry).unwrap_or_default();
        let time = said.time.as_deref().and_then(|text| text.parse::<Timestamp>().ok());
        let response = said.kind.as_deref() == Some("response");
        let failed = said.error.is_some();
        let content = fields(said.response.data);
        let asked = fields(said.request.data);
        let mut facts = Self {
            time: time.map_or(0, Timestamp::as_microsecond),
            response,
            operation: said.request.operation.unwrap_or_default(),
            failed,
            act: Act::Other,
            names: Vec::with_capacity(10),
        };
        let issued = said.response.auth.accessor;
        facts.add(Name::Path, said.request.path);
        facts.add(Name::Mount, said.request.mount_point);
        facts.add(Name::Entity, said.auth.entity_id);
        facts.add(Name::Entity, said.response.auth.entity_id);
        facts.add(Name::Display, said.auth.display_name);
        facts.add(Name::Display, said.response.auth.display_name);
        facts.add(Name::Accessor, said.auth.accessor.or(said.request.client_token_accessor));
        facts.add(Name::Accessor, issued);
        facts.add(Name::Lease, said.request.lease_id);
        facts.add(Name::Lease, asked.lease_id.and_then(text));
        facts.add(Name::Lease, said.response.secret.lease_id);
        facts.add(Name::Username, said.request.username);
        let username = content.username.and_then(text);
        let issues = username.is_some() && (facts.has(Name::Lease) || content.holds_credential());
        facts.add(Name::Username, username);
        facts.add(Name::Request, said.request.id);
        if response && !failed {
            facts.act = match facts.operation.as_str() {
                "revoke" | "rotate" => Act::Ends,
                _ if facts.is_revocation() => Act::Ends,
                _ if issues => Act::Issues,
                _ => Act::Other,
            };
        }
        facts
    }

    fn add(&mut self, kind: Name, value: Option<String>) {
        let Some(value) = value.filter(|value| !value.is_empty()) else { return };
        if !self.names.iter().any(|(known, text)| *known == kind && *text == value) {
            self.names.push((kind, value));
        }
    }

    fn has(&self, kind: Name) -> bool {
        self.names.iter().any(|(known, _)| *known == kind)
    }

    fn is_revocation(&self) -> bool {
        let path = self.names.iter().find(|(kind, _)| *kind == Name::Path).map_or("", |(_, path)| path.as_str());
        path.starts_with("sys/leases/revoke") || path == "sys/revoke" || path.starts_with("sys/revoke/")
    }
}

/// The value of a field if it is a text.
fn text(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

/// The fields of `data` that matter; none if it is no object.
fn fields(data: Option<&RawValue>) -> Fields<'_> {
    data.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

type Text = Option<String>;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Said<'e> {
    time: Text,
    #[serde(rename = "type")]
    kind: Text,
    auth: Who,
    #[serde(borrow)]
    request: Asked<'e>,
    #[serde(borrow)]
    response: Answered<'e>,
    error: Text,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Who {
    accessor: Text,
    display_name: Text,
    entity_id: Text,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Asked<'e> {
    id: Text,
    operation: Text,
    mount_point: Text,
    client_token_accessor: Text,
    path: Text,
    #[serde(borrow)]
    data: Option<&'e RawValue>,
    lease_id: Text,
    username: Text,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Answered<'e> {
    auth: Who,
    secret: Lease,
    #[serde(borrow)]
    data: Option<&'e RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Lease {
    lease_id: Text,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Fields<'e> {
    #[serde(borrow)]
    lease_id: Option<&'e RawValue>,
    #[serde(borrow)]
    username: Option<&'e RawValue>,
    #[serde(borrow)]
    password: Option<&'e RawValue>,
    #[serde(borrow)]
    private_key: Option<&'e RawValue>,
    #[serde(borrow)]
    rsa_private_key: Option<&'e RawValue>,
}

impl Fields<'_> {
    /// A user name beside a credential was handed out; one alone is only spoken of.
    fn holds_credential(&self) -> bool {
        self.password.is_some() || self.private_key.is_some() || self.rsa_private_key.is_some()
    }
}
