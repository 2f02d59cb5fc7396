//! The `token_*` settings of login roles: what is sent, what is stored, what is shown.

use std::{collections::BTreeSet, time::Duration};

use api::{CommaList, Count, Flag, Ttl};
use engine::{Error, TokenKind, TokenParams};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::cidr;

/// The former names of shared fields, which some methods still take: without the `token_` in front.
pub const OLD_NAMES: &[&str] = &["bound_cidrs", "max_ttl", "num_uses", "period", "policies", "ttl"];

/// The shared fields as a request gives them; what is absent stays as it is.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct TokenFields {
    token_bound_cidrs: Option<CommaList>,
    token_explicit_max_ttl: Option<Ttl>,
    token_max_ttl: Option<Ttl>,
    token_no_default_policy: Option<Flag>,
    token_num_uses: Option<Count>,
    token_period: Option<Ttl>,
    token_policies: Option<CommaList>,
    token_ttl: Option<Ttl>,
    token_type: Option<String>,
    bound_cidrs: Option<CommaList>,
    max_ttl: Option<Ttl>,
    num_uses: Option<Count>,
    period: Option<Ttl>,
    policies: Option<CommaList>,
    ttl: Option<Ttl>,
}

impl TokenFields {
    /// Forgets all but the policies, for routes that change nothing else.
    pub fn only_policies(self) -> Self {
        Self { token_policies: self.token_policies, policies: self.policies, ..Self::default() }
    }

    /// Forgets former names other than these.
    pub(crate) fn keep_old_names(&mut self, names: &[&str]) {
        fn keep<T>(kept: bool, field: &mut Option<T>) {
            if !kept {
                *field = None;
            }
        }
        let kept = |name| names.contains(&name);
        keep(kept("bound_cidrs"), &mut self.bound_cidrs);
        keep(kept("max_ttl"), &mut self.max_ttl);
        keep(kept("num_uses"), &mut self.num_uses);
        keep(kept("period"), &mut self.period);
        keep(kept("policies"), &mut self.policies);
        keep(kept("ttl"), &mut self.ttl);
    }
}

/// The shared settings of a role, as they are stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TokenSettings {
    /// The settings.
    pub params: TokenParams,
    /// The former names that were used, and are therefore shown too.
    old_names: BTreeSet<String>,
}

impl TokenSettings {
    /// Takes over what `fields` gives, and checks the whole. Where a field comes under both its names, the present one
    /// wins.
    pub fn update(&mut self, fields: TokenFields) -> Result<(), Error> {
        let mut new = self.clone();
        let params = &mut new.params;
        let old = &mut new.old_names;
        if let Some(cidrs) = choose("bound_cidrs", fields.token_bound_cidrs, fields.bound_cidrs, old) {
            params.bound_cidrs = cidr::checked("token_bound_cidrs", &cidrs)?;
        }
        if let Some(ttl) = choose("max_ttl", fields.token_max_ttl, fields.max_ttl, old) {
            params.max_ttl = ttl.0;
        }
        if let Some(uses) = choose("num_uses", fields.token_num_uses, fields.num_uses, old) {
            params.num_uses = uses.0;
        }
        if let Some(period) = choose("period", fields.token_period, fields.period, old) {
            params.period = period.0;
        }
        if let Some(policies) = choose("policies", fields.token_policies, fields.policies, old) {
            params.policies = clean_policies(&policies)?;
        }
        if let Some(ttl) = choose("ttl", fields.token_ttl, fields.ttl, old) {
            params.ttl = ttl.0;
        }
        if let Some(ttl) = fields.token_explicit_max_ttl {
            params.explicit_max_ttl = ttl.0;
        }
        if let Some(flag) = fields.token_no_default_policy {
            params.no_default_policy = flag.0;
        }
        if let Some(kind) = fields.token_type {
            params.kind = parse_kind(&kind)?;
        }
        check(params)?;
        *self = new;
        Ok(())
    }

    /// Adds the settings to the `data` of a reply.
    pub fn show(&self, data: &mut Map<String, Value>) {
        let params = &self.params;
        let secs = |duration: Duration| json!(duration.as_secs());
        let mut put = |name: &str, value: Value| {
            if self.old_names.contains(name) {
                data.insert(name.to_owned(), value.clone());
            }
            data.insert(format!("token_{name}"), value);
        };
        put("bound_cidrs", json!(cidr::shown(&params.bound_cidrs)));
        put("explicit_max_ttl", secs(params.explicit_max_ttl));
        put("max_ttl", secs(params.max_ttl));
        put("no_default_policy", json!(params.no_default_policy));
        put("num_uses", json!(params.num_uses));
        put("period", secs(params.period));
        put("policies", json!(params.policies));
        put("ttl", secs(params.ttl));
        put("type", json!(params.kind));
    }
}

fn choose<T>(name: &str, present: Option<T>, former: Option<T>, old_names: &mut BTreeSet<String>) -> Option<T> {
    match (present, former) {
        (Some(value), _) => {
            old_names.remove(name);
            Some(value)
        }
        (None, Some(value)) => {
            old_names.insert(name.to_owned());
            Some(value)
        }
        (None, None) => None,
    }
}

/// Policy names are compared in lower case; each stands once, in order.
fn clean_policies(policies: &[String]) -> Result<Vec<String>, Error> {
    let names: BTreeSet<String> =
        policies.iter().map(|name| name.trim().to_lowercase()).filter(|name| !name.is_empty()).collect();
    for forbidden in ["root", "response-wrapping"] {
        if names.contains(forbidden) {
            return Err(Error::invalid(format!("token_policies must not contain {forbidden:?}: no login may give it")));
        }
    }
    Ok(names.into_iter().collect())
}

fn parse_kind(text: &str) -> Result<TokenKind, Error> {
    match text {
        "" | "default" => Ok(TokenKind::Default),
        "service" => Ok(TokenKind::Service),
        "batch" => Ok(TokenKind::Batch),
        "default-service" => Ok(TokenKind::DefaultService),
        "default-batch" => Ok(TokenKind::DefaultBatch),
        _ => Err(Error::invalid(
            "invalid 'token_type' value: use default, service, batch, default-service or default-batch",
        )),
    }
}

fn check(params: &TokenParams) -> Result<(), Error> {
    let set = |duration: Duration| !duration.is_zero();
    if set(params.max_ttl) && params.ttl > params.max_ttl {
        return Err(Error::invalid("'token_ttl' cannot be greater than 'token_max_ttl'"));
    }
    if set(params.explicit_max_ttl) && params.ttl > params.explicit_max_ttl {
        return Err(Error::invalid("'token_ttl' cannot be greater than 'token_explicit_max_ttl'"));
    }
    if params.kind == TokenKind::Batch {
        let refuse =
            |why| Err(Error::invalid(format!("'token_type' cannot be 'batch' when set to generate tokens with {why}")));
        if params.num_uses != 0 {
            return refuse("limited use count");
        }
        if set(params.period) {
            return refuse("a period");
        }
        if set(params.explicit_max_ttl) {
            return refuse("an explicit max TTL");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(body: Value) -> TokenFields {
        serde_json::from_value(body).unwrap()
    }

    fn shown(settings: &TokenSettings) -> Value {
        let mut data = Map::new();
        settings.show(&mut data);
        Value::Object(data)
    }

    #[test]
    fn an_untouched_role_shows_every_setting() {
        let expected = json!({
            "token_bound_cidrs": [], "token_explicit_max_ttl": 0, "token_max_ttl": 0, "token_no_default_policy": false,
            "token_num_uses": 0, "token_period": 0, "token_policies": [], "token_ttl": 0, "token_type": "default",
        });
        assert_eq!(shown(&TokenSettings::default()), expected);
    }

    #[test]
    fn what_is_absent_stays() {
        let mut settings = TokenSettings::default();
        settings
            .update(fields(json!({"token_ttl": "1h", "token_policies": "B, a,b", "token_bound_cidrs": ["::1"]})))
            .unwrap();
        settings
            .update(fields(json!({"token_max_ttl": 7200, "token_num_uses": "5", "token_type": "service"})))
            .unwrap();
        let data = shown(&settings);
        assert_eq!(data["token_ttl"], 3600);
        assert_eq!(data["token_max_ttl"], 7200);
        assert_eq!(data["token_policies"], json!(["a", "b"]));
        assert_eq!(data["token_bound_cidrs"], json!(["::1"]));
        assert_eq!(data["token_num_uses"], 5);
        assert_eq!(data["token_type"], "service");
        assert!(data.get("ttl").is_none());
    }

    #[test]
    fn former_names_work_and_are_shown_until_the_present_one_is_used() {
        let mut settings = TokenSettings::default();
        settings.update(fields(json!({"ttl": 60, "policies": "a"}))).unwrap();
        let data = shown(&settings);
        assert_eq!((&data["ttl"], &data["token_ttl"]), (&json!(60), &json!(60)));
        assert_eq!((&data["policies"], &data["token_policies"]), (&json!(["a"]), &json!(["a"])));
        settings.update(fields(json!({"ttl": 60, "token_ttl": 90}))).unwrap();
        let data = shown(&settings);
        assert_eq!(data["token_ttl"], 90);
        assert!(data.get("ttl").is_none());
        let mut dropped = fields(json!({"ttl": 60, "policies": "a"}));
        dropped.keep_old_names(&["policies"]);
        assert!(dropped.ttl.is_none() && dropped.policies.is_some());
    }

    #[test]
    fn settings_that_contradict_are_refused_and_change_nothing() {
        let mut settings = TokenSettings::default();
        settings.update(fields(json!({"token_ttl": 60}))).unwrap();
        let before = settings.clone();
        let cases = [
            (json!({"token_max_ttl": 30}), "'token_ttl' cannot be greater"),
            (json!({"token_explicit_max_ttl": 30}), "'token_ttl' cannot be greater"),
            (json!({"token_type": "batch", "token_num_uses": 1}), "limited use count"),
            (json!({"token_type": "batch", "token_period": 1}), "a period"),
            (json!({"token_type": "eternal"}), "invalid 'token_type' value"),
            (json!({"token_policies": ["a", " Root "]}), "must not contain \"root\""),
            (json!({"token_bound_cidrs": "10.0.0.0/99"}), "token_bound_cidrs"),
        ];
        for (body, text) in cases {
            let error = settings.update(fields(body)).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
            assert_eq!(settings, before);
        }
    }
}
