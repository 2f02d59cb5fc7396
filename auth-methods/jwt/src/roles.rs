//! `role` and `role/{name}`: which tokens log in, and as what.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use api::{CommaList, Count, Flag, Name, Pairs, Ttl};
use auth::TokenSettings;
use engine::{Cx, Data, Done, Error, Keys, Scope};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Map, Value, json};

use crate::{
    Jwt,
    claims::{Bounds, MAX_LEEWAY, Matching},
};

/// A role, as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Role {
    pub(crate) bounds: Bounds,
    pub(crate) token: TokenSettings,
}

impl Role {
    pub(crate) async fn load(cx: &Scope<Jwt>, name: &Name) -> Result<Option<Self>, Error> {
        Ok(cx.view().get_json(&key(name)).await?)
    }
}

/// Role names do not depend on case.
fn key(name: &Name) -> String {
    format!("role/{}", name.to_lowercase())
}

/// The body of a write; what is absent stays as it is.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RoleFields {
    bound_audiences: Option<CommaList>,
    bound_claims: Option<BoundClaims>,
    bound_claims_type: Option<String>,
    bound_subject: Option<String>,
    claim_mappings: Option<Pairs>,
    clock_skew_leeway: Option<Seconds>,
    expiration_leeway: Option<Seconds>,
    groups_claim: Option<String>,
    max_token_life: Option<Ttl>,
    not_before_leeway: Option<Seconds>,
    role_type: Option<String>,
    single_use: Option<Flag>,
    user_claim: Option<String>,
    user_claim_json_pointer: Option<Flag>,
    // Fields of the browser login, known so that clients that always send them get along.
    allowed_redirect_uris: Option<CommaList>,
    max_age: Option<Seconds>,
    oidc_scopes: Option<CommaList>,
    verbose_oidc_logging: Option<Flag>,
}

/// The former names of shared fields that this method takes.
const OLD_NAMES: &[&str] = auth::OLD_NAMES;

/// Which part of a listing is wanted.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Paging {
    after: Option<String>,
    limit: Option<Count>,
}

pub(crate) async fn list(cx: Cx<Jwt>, (): (), paging: Paging) -> Result<Keys, Error> {
    let limit = paging.limit.and_then(|limit| usize::try_from(limit.0).ok()).filter(|limit| *limit > 0);
    Ok(cx.view().list("role/", paging.after.as_deref(), limit.unwrap_or(usize::MAX)).await?.into())
}

pub(crate) async fn exists(cx: Cx<Jwt>, name: Name) -> Result<bool, Error> {
    Ok(Role::load(cx.scope(), &name).await?.is_some())
}

pub(crate) async fn read(cx: Cx<Jwt>, name: Name) -> Result<Option<Data<Value>>, Error> {
    Ok(Role::load(cx.scope(), &name).await?.map(|role| Data(role.show())))
}

pub(crate) async fn delete(cx: Cx<Jwt>, name: Name) -> Result<Done, Error> {
    cx.view().delete(&key(&name));
    Ok(Done)
}

pub(crate) async fn write(cx: Cx<Jwt>, name: Name) -> Result<Done, Error> {
    let (fields, shared) = auth::role_body::<_, RoleFields>(&cx, OLD_NAMES)?;
    fields.check_type()?;
    if let Some(field) = fields.browser_field() {
        cx.warn(format!("{field} was ignored: it belongs to the OIDC browser login, which this server does not have"));
    }
    let mut role = Role::load(cx.scope(), &name).await?.unwrap_or_default();
    role.token.update(shared)?;
    fields.apply(&mut role.bounds)?;
    role.check()?;
    if role.bounds.audiences.is_empty() {
        cx.warn(
            "bound_audiences: is empty, so tokens without an audience are taken, whomever they were made for, and no others: name \
             the audience that is meant for this server",
        );
    }
    if role.bounds.matches_anything() {
        cx.warn("a bound claim with the glob \"*\" only asks that the claim is there");
    }
    cx.view().put_json(&key(&name), &role)?;
    Ok(Done)
}

impl RoleFields {
    fn check_type(&self) -> Result<(), Error> {
        match self.role_type.as_deref() {
            None | Some("" | "jwt") => Ok(()),
            Some("oidc") => Err(Error::invalid(
                "role_type \"oidc\" is the OIDC browser login, which this server does not have: use role_type \"jwt\" and log in with a token of the issuer",
            )),
            Some(_) => Err(Error::invalid("invalid 'role_type': use \"jwt\"")),
        }
    }

    fn browser_field(&self) -> Option<&'static str> {
        let listed = |list: &Option<CommaList>| list.as_ref().is_some_and(|list| !list.is_empty());
        let counted = |seconds: &Option<Seconds>| seconds.is_some_and(|seconds| seconds.0 != 0);
        let flagged = |flag: &Option<Flag>| flag.is_some_and(|flag| flag.0);
        let sent = [
            (listed(&self.allowed_redirect_uris), "allowed_redirect_uris"),
            (counted(&self.max_age), "max_age"),
            (listed(&self.oidc_scopes), "oidc_scopes"),
            (flagged(&self.verbose_oidc_logging), "verbose_oidc_logging"),
        ];
        sent.into_iter().find_map(|(sent, field)| sent.then_some(field))
    }

    fn apply(self, bounds: &mut Bounds) -> Result<(), Error> {
        fn set<T>(slot: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *slot = value;
            }
        }
        set(&mut bounds.audiences, self.bound_audiences.map(|list| list.0));
        set(&mut bounds.subject, self.bound_subject);
        set(&mut bounds.claims, self.bound_claims.map(|claims| claims.0));
        set(&mut bounds.mappings, self.claim_mappings.map(|pairs| pairs.0));
        set(&mut bounds.user_claim, self.user_claim);
        set(&mut bounds.user_claim_pointer, self.user_claim_json_pointer.map(|flag| flag.0));
        set(&mut bounds.groups_claim, self.groups_claim);
        set(&mut bounds.leeway.expiration, self.expiration_leeway.map(|seconds| seconds.0));
        set(&mut bounds.leeway.not_before, self.not_before_leeway.map(|seconds| seconds.0));
        set(&mut bounds.leeway.skew, self.clock_skew_leeway.map(|seconds| seconds.0));
        set(&mut bounds.max_life, self.max_token_life.map(Ttl::as_secs));
        set(&mut bounds.single_use, self.single_use.map(|flag| flag.0));
        set(&mut bounds.matching, self.bound_claims_type.as_deref().map(matching).transpose()?);
        Ok(())
    }
}

fn matching(text: &str) -> Result<Matching, Error> {
    match text {
        "" | "string" => Ok(Matching::String),
        "glob" => Ok(Matching::Glob),
        _ => Err(Error::invalid("invalid 'bound_claims_type': use string or glob")),
    }
}

impl Role {
    fn check(&self) -> Result<(), Error> {
        let bounds = &self.bounds;
        if bounds.user_claim.is_empty() {
            return Err(Error::invalid("a user claim must be defined on the role"));
        }
        if !bounds.constrain() && self.token.params.bound_cidrs.is_empty() {
            return Err(Error::invalid("must have at least one bound constraint when creating/updating a role"));
        }
        let mut targets = BTreeSet::new();
        for target in bounds.mappings.values() {
            if target == "role" {
                return Err(Error::invalid("metadata key \"role\" is reserved and may not be a mapping destination"));
            }
            if target.is_empty() || !targets.insert(target) {
                return Err(Error::invalid("claim_mappings must map each claim to a metadata key of its own"));
            }
        }
        let leeway = bounds.leeway;
        if [leeway.expiration, leeway.not_before, leeway.skew].into_iter().any(|seconds| seconds > MAX_LEEWAY) {
            return Err(Error::invalid(
                "expiration_leeway, not_before_leeway and clock_skew_leeway must not exceed 24h",
            ));
        }
        for (name, wanted) in &bounds.claims {
            check_bound_claim(name, wanted, bounds.matching)?;
        }
        Ok(())
    }

    fn show(&self) -> Value {
        let Bounds { leeway, .. } = self.bounds;
        let bounds = &self.bounds;
        let mut data = Map::new();
        let mut put = |name: &str, value: Value| data.insert(name.to_owned(), value);
        put("allowed_redirect_uris", json!([]));
        put("bound_audiences", json!(bounds.audiences));
        put("bound_claims", unless_empty(bounds.claims.is_empty(), json!(bounds.claims)));
        put("bound_claims_type", json!(bounds.matching));
        put("bound_subject", json!(bounds.subject));
        put("claim_mappings", unless_empty(bounds.mappings.is_empty(), json!(bounds.mappings)));
        put("clock_skew_leeway", json!(leeway.skew));
        put("expiration_leeway", json!(leeway.expiration));
        put("groups_claim", json!(bounds.groups_claim));
        put("max_age", json!(0));
        put("max_token_life", json!(bounds.max_life));
        put("not_before_leeway", json!(leeway.not_before));
        put("oidc_scopes", json!([]));
        put("role_type", json!("jwt"));
        put("single_use", json!(bounds.single_use));
        put("user_claim", json!(bounds.user_claim));
        put("user_claim_json_pointer", json!(bounds.user_claim_pointer));
        put("verbose_oidc_logging", json!(false));
        self.token.show(&mut data);
        Value::Object(data)
    }
}

/// Empty maps are null, as clients of Vault expect.
fn unless_empty(empty: bool, value: Value) -> Value {
    if empty { Value::Null } else { value }
}

fn check_bound_claim(name: &str, wanted: &Value, matching: Matching) -> Result<(), Error> {
    let values = match wanted {
        Value::Array(values) => values.as_slice(),
        one => std::slice::from_ref(one),
    };
    let fits = |value: &Value| match value {
        Value::String(_) => true,
        Value::Bool(_) | Value::Number(_) => matching == Matching::String,
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    };
    if values.is_empty() || !values.iter().all(fits) {
        let kinds = match matching {
            Matching::String => "a text, a number, a truth value, or a list of those with at least one value",
            Matching::Glob => "a text or a list of texts, as bound_claims_type is glob",
        };
        return Err(Error::invalid(format!("the bound claim {name:?} must be {kinds}")));
    }
    Ok(())
}

/// The claims that are bound: an object, or the text of one.
#[derive(Debug)]
struct BoundClaims(BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for BoundClaims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wrong = || de::Error::custom("expected an object of claims and their values");
        let object = match Value::deserialize(deserializer)? {
            Value::String(text) if text.trim().is_empty() => Value::Object(Map::new()),
            Value::String(text) => serde_json::from_str(&text).map_err(|_| wrong())?,
            other => other,
        };
        match object {
            Value::Object(claims) => Ok(Self(claims.into_iter().collect())),
            Value::Null => Ok(Self(BTreeMap::new())),
            _ => Err(wrong()),
        }
    }
}

/// Seconds that may be negative: a number, its text, or a duration.
#[derive(Clone, Copy, Debug)]
struct Seconds(i64);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SecondsVisitor;
        impl de::Visitor<'_> for SecondsVisitor {
            type Value = Seconds;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of seconds or a duration; negative for none")
            }

            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Seconds, E> {
                Ok(Seconds(seconds))
            }

            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Seconds, E> {
                i64::try_from(seconds).map(Seconds).map_err(|_| E::custom("too many seconds"))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Seconds, E> {
                let (sign, rest) = match text.trim().strip_prefix('-') {
                    Some(rest) => (-1, rest),
                    None => (1, text.trim()),
                };
                let length = api::parse_duration(rest).map_err(|_| E::custom("expected seconds or a duration"))?;
                i64::try_from(length.as_secs()).map(|seconds| Seconds(sign * seconds)).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(SecondsVisitor)
    }
}
