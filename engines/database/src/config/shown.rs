//! A connection as it is read: without secrets.

use std::collections::BTreeMap;

use api::Name;
use clock::Timestamp;
use engine::{Data, Error};
use serde::Serialize;

use super::load;
use crate::{
    Call, Targets,
    plan::{ROOT, Standing, Timing},
    statements::Statements,
    target::PasswordAuthentication,
};

/// A connection as it is shown: without secrets.
#[derive(Serialize)]
pub(crate) struct Shown {
    plugin_name: String,
    plugin_version: String,
    allowed_roles: Vec<String>,
    connection_details: Details,
    password_policy: String,
    root_credentials_rotate_statements: Statements,
    verify_connection: bool,
    password_owned_by_server: bool,
    last_vault_rotation: Option<Timestamp>,
    #[serde(flatten)]
    timing: Timing,
    #[serde(flatten)]
    standing: Standing,
}

#[derive(Serialize)]
struct Details {
    connection_url: String,
    username: String,
    max_open_connections: u64,
    max_idle_connections: u64,
    max_connection_lifetime: String,
    username_template: String,
    password_authentication: PasswordAuthentication,
    disable_escaping: bool,
    terminate_sessions: bool,
    #[serde(flatten)]
    tls: BTreeMap<&'static str, String>,
}

pub(crate) async fn read<T: Targets>(cx: Call<T>, name: Name) -> Result<Option<Data<Shown>>, Error> {
    let Some(connection) = load(cx.view(), name.as_str()).await? else { return Ok(None) };
    let status = cx.rotation(&format!("{ROOT}/{name}")).await?;
    let tls = [
        ("tls_ca", &connection.tls_ca),
        ("tls_certificate", &connection.tls_certificate),
        ("tls_server_name", &connection.tls_server_name),
    ];
    let details = Details {
        connection_url: without_password(&connection.connection_url),
        username: connection.username,
        max_open_connections: connection.max_open_connections,
        max_idle_connections: connection.max_idle_connections,
        max_connection_lifetime: format!("{}s", connection.max_connection_lifetime.as_secs()),
        username_template: connection.username_template,
        password_authentication: connection.password_authentication,
        disable_escaping: connection.disable_escaping,
        terminate_sessions: connection.terminate_sessions,
        tls: tls.into_iter().filter(|(_, text)| !text.is_empty()).map(|(field, text)| (field, text.clone())).collect(),
    };
    Ok(Some(Data(Shown {
        plugin_name: connection.plugin_name,
        plugin_version: connection.plugin_version,
        allowed_roles: connection.allowed_roles,
        connection_details: details,
        password_policy: connection.password_policy,
        root_credentials_rotate_statements: connection.root_rotation_statements,
        verify_connection: connection.verify_connection,
        password_owned_by_server: connection.owned,
        last_vault_rotation: connection.last_rotation,
        timing: connection.timing,
        standing: status.into(),
    })))
}

/// A URL or key=value text without a password that stands in it.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        let words = url.split(' ').map(|word| match word.split_once('=') {
            Some((name, value)) if name.eq_ignore_ascii_case("password") && !value.contains("{{") => {
                "password=*****".to_owned()
            }
            _ => word.to_owned(),
        });
        return words.collect::<Vec<_>>().join(" ");
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at_checked(end).unwrap_or((rest, ""));
    match authority.rsplit_once('@').map(|(login, host)| (login.split_once(':'), host)) {
        Some((Some((user, password)), host)) if !password.contains("{{") => {
            format!("{scheme}://{user}:*****@{host}{tail}")
        }
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_is_not_shown() {
        let cases = [
            ("postgresql://{{username}}:{{password}}@db/app", "postgresql://{{username}}:{{password}}@db/app"),
            ("postgresql://root:p@ss@db:5432/app?x=1", "postgresql://root:*****@db:5432/app?x=1"),
            ("postgresql://db/app", "postgresql://db/app"),
            ("host=db password=secret user=a", "host=db password=***** user=a"),
            ("host=db password={{password}}", "host=db password={{password}}"),
        ];
        for (url, wanted) in cases {
            assert_eq!(without_password(url), wanted);
        }
    }
}
