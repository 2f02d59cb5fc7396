//! The settings of a role one by one: `role/{name}/secret-id-ttl` and the like, to read, write and reset.

use api::{Name, Verb};
use engine::{Cx, Data, Done, Error, Routes, parse_body};
use serde_json::{Map, Value, json};

use crate::{
    AppRole,
    roles::{OLD_NAMES, RoleFields, canonical},
    stored::{Role, Stored},
};

/// A setting with a path of its own.
struct Field {
    pattern: &'static str,
    /// What help says of it.
    summary: &'static str,
    /// Its names in bodies and replies, the present one first.
    names: &'static [&'static str],
    show: fn(&Role) -> Value,
    reset: fn(&mut Role),
}

const FIELDS: &[Field] = &[
    Field {
        pattern: "role/{name}/bind-secret-id",
        summary: "Whether a login needs a secret id.",
        names: &["bind_secret_id"],
        show: |role| json!(role.bind_secret_id),
        reset: |role| role.bind_secret_id = true,
    },
    Field {
        pattern: "role/{name}/bound-cidr-list",
        summary: "From where logins may come (former name of secret-id-bound-cidrs).",
        names: &["bound_cidr_list"],
        show: |role| json!(auth::cidr::shown(&role.bound_cidrs)),
        reset: |role| role.bound_cidrs.clear(),
    },
    Field {
        pattern: "role/{name}/period",
        summary: "The period of tokens that can be renewed without end.",
        names: &["token_period", "period"],
        show: |role| json!(role.token.params.period.as_secs()),
        reset: |role| role.token.params.period = Default::default(),
    },
    Field {
        pattern: "role/{name}/policies",
        summary: "The policies of the tokens.",
        names: &["token_policies", "policies"],
        show: |role| json!(role.token.params.policies),
        reset: |role| role.token.params.policies.clear(),
    },
    Field {
        pattern: "role/{name}/secret-id-bound-cidrs",
        summary: "From where logins may come.",
        names: &["secret_id_bound_cidrs"],
        show: |role| json!(auth::cidr::shown(&role.bound_cidrs)),
        reset: |role| role.bound_cidrs.clear(),
    },
    Field {
        pattern: "role/{name}/secret-id-num-uses",
        summary: "How often a secret id may be used; 0 is without limit.",
        names: &["secret_id_num_uses"],
        show: |role| json!(role.secret_id_num_uses),
        reset: |role| role.secret_id_num_uses = 0,
    },
    Field {
        pattern: "role/{name}/secret-id-ttl",
        summary: "How long a secret id lives; 0 is without end.",
        names: &["secret_id_ttl"],
        show: |role| json!(role.secret_id_ttl.as_secs()),
        reset: |role| role.secret_id_ttl = Default::default(),
    },
    Field {
        pattern: "role/{name}/token-bound-cidrs",
        summary: "From where the tokens may be used.",
        names: &["token_bound_cidrs"],
        show: |role| json!(auth::cidr::shown(&role.token.params.bound_cidrs)),
        reset: |role| role.token.params.bound_cidrs.clear(),
    },
    Field {
        pattern: "role/{name}/token-max-ttl",
        summary: "The longest life of a token with renewals.",
        names: &["token_max_ttl"],
        show: |role| json!(role.token.params.max_ttl.as_secs()),
        reset: |role| role.token.params.max_ttl = Default::default(),
    },
    Field {
        pattern: "role/{name}/token-num-uses",
        summary: "How often a token may be used; 0 is without limit.",
        names: &["token_num_uses"],
        show: |role| json!(role.token.params.num_uses),
        reset: |role| role.token.params.num_uses = 0,
    },
    Field {
        pattern: "role/{name}/token-ttl",
        summary: "The life of a token.",
        names: &["token_ttl"],
        show: |role| json!(role.token.params.ttl.as_secs()),
        reset: |role| role.token.params.ttl = Default::default(),
    },
];

/// Adds the routes of all fields.
pub(crate) fn add(routes: Routes<AppRole>) -> Routes<AppRole> {
    FIELDS.iter().fold(routes, |routes, field| {
        routes
            .on(Verb::Read, field.pattern, field.summary, move |cx, name| read(field, cx, name))
            .on(Verb::Write, field.pattern, field.summary, move |cx, name| write(field, cx, name))
            .on(Verb::Delete, field.pattern, field.summary, move |cx, name| reset(field, cx, name))
    })
}

async fn read(field: &'static Field, cx: Cx<AppRole>, name: Name) -> Result<Option<Data<Value>>, Error> {
    let role = Role::load(cx.view(), &canonical(&name)).await?;
    Ok(role.map(|role| {
        let value = (field.show)(&role);
        Data(field.names.iter().map(|name| ((*name).to_owned(), value.clone())).collect())
    }))
}

async fn write(field: &'static Field, cx: Cx<AppRole>, name: Name) -> Result<Done, Error> {
    let (body, _) = parse_body::<Map<String, Value>>(cx.body())?;
    let (wanted, others): (Map<_, _>, Map<_, _>) =
        body.into_iter().partition(|(key, _)| field.names.contains(&key.as_str()));
    if !others.is_empty() {
        let names = others.keys().map(String::as_str).collect::<Vec<_>>().join(" ");
        cx.warn(format!("Endpoint ignored these unrecognized parameters: [{names}]"));
    }
    if wanted.values().all(Value::is_null) {
        return Err(Error::invalid(format!("missing {}", field.names.last().unwrap_or(&"value"))));
    }
    let body = serde_json::to_vec(&wanted).map_err(|_| Error::internal("a body cannot be written as JSON"))?;
    let (own, shared, _) = auth::role_fields::<RoleFields>(&body, OLD_NAMES)?;
    change(cx, &canonical(&name), |role| {
        own.apply(role)?;
        role.token.update(shared)
    })
    .await
}

async fn reset(field: &'static Field, cx: Cx<AppRole>, name: Name) -> Result<Done, Error> {
    change(cx, &canonical(&name), |role| {
        (field.reset)(role);
        Ok(())
    })
    .await
}

async fn change(
    cx: Cx<AppRole>,
    name: &str,
    change: impl FnOnce(&mut Role) -> Result<(), Error>,
) -> Result<Done, Error> {
    let before = Role::load(cx.view(), name).await?.ok_or(Error::NotFound)?;
    let mut role = before.clone();
    change(&mut role)?;
    role.check(&cx)?;
    Stored::open_or_begin(cx.view()).await?.save_role(name, &role, Some(&before)).await?;
    Ok(Done)
}
