//! A reply's envelope, and its printing.

use client::Response;

use super::{
    json::Json,
    table::{duration, exact_duration, table, value_text},
};

/// A reply: the parts of its envelope, objects in the order of their keys.
#[derive(Clone, Default)]
pub(crate) struct Answer {
    /// The body as it came.
    pub(crate) raw: bytes::Bytes,
    request_id: String,
    lease_id: String,
    lease_duration: i64,
    renewable: bool,
    /// What was asked for.
    pub(crate) data: Option<Json>,
    /// What the server says beside it.
    pub(crate) warnings: Vec<String>,
    /// A new token.
    pub(crate) auth: Option<Json>,
    /// Where a wrapped reply can be fetched.
    pub(crate) wrap_info: Option<Json>,
    mount_type: String,
}

impl Answer {
    /// Reads a reply; `None` if it has no body, or is a bare 404.
    pub(crate) fn read(response: &Response) -> Result<Option<Self>, String> {
        if response.is_empty() {
            return Ok(None);
        }
        let text = std::str::from_utf8(&response.raw).map_err(|_| "the reply is not UTF-8 text".to_owned())?;
        let body = Json::parse(text)?;
        let raw = response.raw.clone();
        if response.envelope.is_none() {
            return Ok(Some(Self { raw, data: Some(body), ..Self::default() }));
        }
        let warnings = body.get("warnings").map(Json::items).unwrap_or_default();
        Ok(Some(Self {
            raw,
            request_id: body.text_at("request_id").to_owned(),
            lease_id: body.text_at("lease_id").to_owned(),
            lease_duration: body.integer_at("lease_duration"),
            renewable: body.is_true("renewable"),
            data: body.get("data").cloned().map(Json::sorted),
            warnings: warnings.iter().filter_map(Json::text).map(str::to_owned).collect(),
            auth: body.get("auth").cloned(),
            wrap_info: body.get("wrap_info").cloned(),
            mount_type: body.text_at("mount_type").to_owned(),
        }))
    }

    /// An answer made here, of a new token.
    pub(crate) fn of_auth(auth: Json) -> Self {
        Self { auth: Some(auth), ..Self::default() }
    }

    /// The value under `name` in the data.
    pub(crate) fn at(&self, name: &str) -> Option<&Json> {
        self.data.as_ref().and_then(|data| data.get(name))
    }

    /// The whole envelope, as `-format=json` shows it.
    pub(crate) fn json(&self) -> Json {
        let list = |lines: &[String]| Json::List(lines.iter().map(|line| Json::Text(line.clone())).collect());
        let mut entries = vec![
            ("request_id".to_owned(), Json::Text(self.request_id.clone())),
            ("lease_id".to_owned(), Json::Text(self.lease_id.clone())),
            ("lease_duration".to_owned(), Json::Number(self.lease_duration.to_string())),
            ("renewable".to_owned(), Json::Bool(self.renewable)),
            ("data".to_owned(), self.data.clone().unwrap_or(Json::Null)),
            ("warnings".to_owned(), if self.warnings.is_empty() { Json::Null } else { list(&self.warnings) }),
        ];
        entries.extend(self.auth.clone().map(|auth| ("auth".to_owned(), auth)));
        entries.extend(self.wrap_info.clone().map(|wrap| ("wrap_info".to_owned(), wrap)));
        if !self.mount_type.is_empty() {
            entries.push(("mount_type".to_owned(), Json::Text(self.mount_type.clone())));
        }
        Json::Map(entries)
    }

    /// The table for people; `None` if there is nothing to show.
    pub(crate) fn table(&self) -> Option<String> {
        let mut rows = self.lease_rows();
        rows.extend(self.auth.iter().flat_map(auth_rows));
        rows.extend(self.wrap_info.iter().flat_map(wrap_rows));
        let data = self.data.as_ref().map(Json::entries).unwrap_or_default();
        rows.extend(data.iter().map(|(key, value)| vec![key.clone(), value_text(key, value)]));
        (!rows.is_empty()).then(|| table(&["Key", "Value"], &rows))
    }

    /// The value that `-field` asks for.
    pub(crate) fn field(&self, name: &str) -> Option<Json> {
        let of = |part: &Json, key: &str| part.get(key).cloned();
        let special = match (&self.auth, &self.wrap_info) {
            (Some(auth), _) => match name {
                "token" => of(auth, "client_token"),
                "token_accessor" => of(auth, "accessor"),
                "token_duration" => of(auth, "lease_duration"),
                "token_renewable" => of(auth, "renewable"),
                "token_policies" | "identity_policies" | "policies" => of(auth, name),
                _ => None,
            },
            (None, Some(wrap)) => match name {
                "wrapping_token" => of(wrap, "token"),
                "wrapping_accessor" => of(wrap, "accessor"),
                "wrapping_token_ttl" => of(wrap, "ttl"),
                "wrapping_token_creation_time" => of(wrap, "creation_time"),
                "wrapping_token_creation_path" => of(wrap, "creation_path"),
                "wrapped_accessor" => of(wrap, name),
                _ => None,
            },
            (None, None) => None,
        };
        let envelope = || match name {
            "data" => self.data.clone(),
            "lease_id" if !self.lease_id.is_empty() => Some(Json::Text(self.lease_id.clone())),
            "lease_duration" | "refresh_interval" => Some(Json::Number(self.lease_duration.to_string())),
            "lease_renewable" | "renewable" => Some(Json::Bool(self.renewable)),
            "request_id" => Some(Json::Text(self.request_id.clone())),
            _ => None,
        };
        special.or_else(|| self.at(name).cloned()).or_else(envelope)
    }

    fn lease_rows(&self) -> Vec<Vec<String>> {
        if self.lease_duration <= 0 {
            return Vec::new();
        }
        let length = duration(self.lease_duration);
        if self.lease_id.is_empty() {
            return vec![row("refresh_interval", length)];
        }
        vec![
            row("lease_id", self.lease_id.clone()),
            row("lease_duration", length),
            row("lease_renewable", self.renewable.to_string()),
        ]
    }
}

fn auth_rows(auth: &Json) -> Vec<Vec<String>> {
    let length = match auth.integer_at("lease_duration") {
        // A root token has no end.
        0 => "∞".to_owned(),
        seconds => duration(seconds),
    };
    let mut rows = vec![
        row("token", auth.text_at("client_token").to_owned()),
        row("token_accessor", auth.text_at("accessor").to_owned()),
        row("token_duration", length),
        row("token_renewable", auth.is_true("renewable").to_string()),
        row("token_policies", quoted_list(auth, "token_policies")),
        row("identity_policies", quoted_list(auth, "identity_policies")),
        row("policies", quoted_list(auth, "policies")),
    ];
    let mut metadata: Vec<_> = auth.get("metadata").map(Json::entries).unwrap_or_default().iter().collect();
    metadata.sort_by(|a, b| a.0.cmp(&b.0));
    rows.extend(metadata.iter().map(|(key, value)| row(&format!("token_meta_{key}"), value.plain())));
    rows
}

fn wrap_rows(wrap: &Json) -> Vec<Vec<String>> {
    let mut rows = vec![
        row("wrapping_token:", wrap.text_at("token").to_owned()),
        row("wrapping_accessor:", wrap.text_at("accessor").to_owned()),
        row("wrapping_token_ttl:", exact_duration(wrap.integer_at("ttl"))),
        row("wrapping_token_creation_time:", spaced_time(wrap.text_at("creation_time"))),
        row("wrapping_token_creation_path:", wrap.text_at("creation_path").to_owned()),
    ];
    let accessor = wrap.text_at("wrapped_accessor");
    if !accessor.is_empty() {
        rows.push(row("wrapped_accessor:", accessor.to_owned()));
    }
    rows
}

fn row(key: &str, value: String) -> Vec<String> {
    vec![key.to_owned(), value]
}

/// `["a" "b"]`.
fn quoted_list(object: &Json, name: &str) -> String {
    let items: Vec<_> = object
        .get(name)
        .map(Json::items)
        .unwrap_or_default()
        .iter()
        .map(|item| format!("{:?}", item.plain()))
        .collect();
    format!("[{}]", items.join(" "))
}

/// `2026-01-02T03:04:05.6Z` as `2026-01-02 03:04:05.6 +0000 UTC`.
fn spaced_time(text: &str) -> String {
    match text.strip_suffix('Z').and_then(|text| text.split_once('T')) {
        Some((date, time)) => format!("{date} {time} +0000 UTC"),
        None => text.to_owned(),
    }
}
