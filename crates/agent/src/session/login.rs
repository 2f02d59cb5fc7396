//! A token for this run alone.

use std::path::Path;

use api::Auth;
use client::Client;
use secret::{SecretString, Zeroizing};
use serde_json::json;

use super::explain;
use crate::manifest::{Login, Method};

/// What a child token is asked to live; it is renewed while the program runs. The server may give less.
const CHILD_TTL: &str = "1h";

/// Gets a token of its own for this run. The files with proofs are read anew each time.
pub(super) async fn login(client: &Client, login: &Login) -> Result<Auth, String> {
    match login.method {
        Method::Jwt => {
            let file = login.jwt_file.as_deref().ok_or("method \"jwt\" needs `jwt_file`")?;
            let token = read(file)?;
            let mut body = json!({ "jwt": token.as_str() });
            if let (Some(role), Some(body)) = (&login.role, body.as_object_mut()) {
                body.insert("role".to_owned(), json!(role));
            }
            enter(client, login.mount.as_deref().unwrap_or("jwt"), &body).await
        }
        Method::Approle => {
            let role_id = match (&login.role_id, &login.role_id_file) {
                (Some(id), _) => Zeroizing::new(id.clone()),
                (None, Some(file)) => read(file)?,
                (None, None) => return Err("method \"approle\" needs `role_id` or `role_id_file`".to_owned()),
            };
            let mut body = json!({ "role_id": role_id.as_str() });
            if let (Some(file), Some(body)) = (&login.secret_id_file, body.as_object_mut()) {
                body.insert("secret_id".to_owned(), json!(read(file)?.as_str()));
            }
            enter(client, login.mount.as_deref().unwrap_or("approle"), &body).await
        }
        Method::Token => child(client).await,
    }
}

async fn enter(client: &Client, mount: &str, body: &serde_json::Value) -> Result<Auth, String> {
    let mount = mount.trim_matches('/');
    client
        .login(&format!("{mount}/login"), body)
        .await
        .map_err(|error| format!("login at {mount}: {}", explain(&error)))
}

/// A child of the token that is there, so that this run's end takes this run's credentials and nothing else.
async fn child(client: &Client) -> Result<Auth, String> {
    if client.token().is_none() {
        return Err("there is no token; set STRONGROOM_TOKEN, run `strongroom login`, or name a method under [login]"
            .to_owned());
    }
    let body = json!({ "ttl": CHILD_TTL, "renewable": true, "display_name": "run" });
    let response = client.write("auth/token/create", &body).await;
    let response = response.map_err(|error| format!("making a token for this run: {}", explain(&error)))?;
    let auth = response.envelope.and_then(|envelope| envelope.auth);
    auth.ok_or_else(|| "making a token for this run: the reply holds no token".to_owned())
}

fn read(file: &Path) -> Result<Zeroizing<String>, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let text = Zeroizing::new(text);
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err(format!("{} is empty", file.display()));
    }
    Ok(Zeroizing::new(trimmed.to_owned()))
}

/// The token in a login's reply.
pub(super) fn token(auth: &mut Auth) -> SecretString {
    SecretString::new(std::mem::take(&mut auth.client_token))
}
