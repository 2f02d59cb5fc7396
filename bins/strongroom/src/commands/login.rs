use api::Verb;
use secret::SecretString;
use serde_json::{Map, Value};

use crate::{
    commands::clean,
    contexts,
    failure::{DONE, Failure, Outcome},
    input,
    output::{Format, answer::Answer, json::Json},
    session::{Session, env},
};

/// Log in and keep the token for the commands that follow
///
/// Without -method, a token is asked for, checked and kept. With another method, the data that it needs is given as
/// NAME=VALUE (NAME=@FILE and NAME=- keep it off the command line); a password that a method needs is asked for, and so is
/// the code of a second factor, unless -mfa gives it.
/// The token is kept in ~/.vault-token, or with the context that is used; only its owner can read it.
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    With a token, asked for without showing it:
        strongroom login

    With a signed identity token from a file:
        strongroom login -method=jwt role=app jwt=@/var/run/token

    With a role id and a secret id, printing the token only and keeping nothing:
        strongroom login -method=approle -token-only role_id=@role-id secret_id=-")]
pub(crate) struct Login {
    /// The token (- reads standard input; given here it stays in the shell's history), or the method's data
    #[arg(value_name = "TOKEN | NAME=VALUE")]
    data: Vec<String>,

    /// The kind of login: token, jwt, approle, userpass, ldap, …
    #[arg(long, default_value = "token")]
    method: String,

    /// Where the method is mounted, if not at its name
    #[arg(long)]
    path: Option<String>,

    /// Do not keep the token
    #[arg(long)]
    no_store: bool,

    /// Print nothing
    #[arg(long, conflicts_with = "token_only")]
    no_print: bool,

    /// Print the token alone and do not keep it
    #[arg(long)]
    token_only: bool,
}

impl Login {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let answer =
            if self.method == "token" { self.with_token(session).await? } else { self.with_method(session).await? };
        let answer = second_factor(session, answer).await?;
        let Some(auth) = &answer.auth else {
            // Wrapped: the token is for whoever unwraps it.
            return session.terminal.answer(&answer);
        };
        if let Some(wanted) = requirement(auth) {
            return waits(session, &answer, wanted);
        }
        let token = SecretString::new(auth.text_at("client_token").to_owned());
        let keep = !self.no_store && !self.token_only;
        if keep {
            // EXPOSE: the token file is where the user wants it kept.
            contexts::replace(&session.token_file()?, token.expose())?;
        }
        self.report(session, &answer, keep)
    }

    async fn with_token(&self, session: &Session) -> Result<Answer, Failure> {
        let token = match self.data.as_slice() {
            [] => session.terminal.ask_secret("Token", "give it on standard input: strongroom login -")?,
            [one] if one == "-" => SecretString::new(input::read_stdin()?.trim().to_owned()),
            [one] => SecretString::new(one.strip_prefix("token=").unwrap_or(one).trim().to_owned()),
            _ => return Err(Failure::local("too many arguments: one token is needed")),
        };
        if token.is_empty() {
            return Err(Failure::local("the token is empty"));
        }
        session.show_instead(Verb::Read, "auth/token/lookup-self", &[], None)?;
        let client = session.client()?.with_token(token).with_wrap_ttl(None);
        let found = session.patiently(client.read("auth/token/lookup-self", &[])).await;
        let response =
            found.map_err(|error| Failure::Api { doing: "authenticating".to_owned(), error: Box::new(error) })?;
        let looked_up = Answer::read(&response).map_err(Failure::Local)?.and_then(|answer| answer.data);
        let looked_up = looked_up.ok_or_else(|| Failure::local("Error authenticating: the reply is empty"))?;
        let get = |name: &str| looked_up.get(name).cloned().unwrap_or(Json::Null);
        let auth = Json::Map(vec![
            // EXPOSE: the login prints the token that it was given, as Vault's does.
            (
                "client_token".to_owned(),
                Json::Text(client.token().map(|token| token.expose().clone()).unwrap_or_default()),
            ),
            ("accessor".to_owned(), get("accessor")),
            ("policies".to_owned(), all_policies(&looked_up)),
            ("token_policies".to_owned(), get("policies")),
            ("identity_policies".to_owned(), get("identity_policies")),
            ("metadata".to_owned(), get("meta")),
            ("orphan".to_owned(), get("orphan")),
            ("entity_id".to_owned(), get("entity_id")),
            ("lease_duration".to_owned(), Json::Number(looked_up.integer_at("ttl").to_string())),
            ("renewable".to_owned(), Json::Bool(looked_up.is_true("renewable"))),
        ]);
        Ok(Answer::of_auth(auth))
    }

    async fn with_method(&self, session: &Session) -> Result<Answer, Failure> {
        let mut data = input::data(&self.data)?;
        for value in data.values_mut() {
            // Files and pipes end in a line end that no credential has.
            if let Value::String(text) = value {
                text.truncate(text.trim_end_matches(['\n', '\r']).len());
            }
        }
        let path = login_path(session, &self.method, self.path.as_deref(), &mut data)?;
        let body = Value::Object(data);
        session.show_instead(Verb::Write, &path, &[], Some(&body))?;
        let client = session.client()?.without_token();
        let reply = session.patiently(client.write(&path, &body)).await;
        let response =
            reply.map_err(|error| Failure::Api { doing: "authenticating".to_owned(), error: Box::new(error) })?;
        let answer = Answer::read(&response).map_err(Failure::Local)?;
        answer
            .filter(|answer| answer.auth.is_some() || answer.wrap_info.is_some())
            .ok_or_else(|| Failure::local(format!("Error authenticating: {path} gave no token")))
    }

    fn report(&self, session: &Session, answer: &Answer, kept: bool) -> Outcome {
        let terminal = &session.terminal;
        if self.token_only {
            return terminal.field("token", answer.field("token"));
        }
        if self.no_print {
            return Ok(DONE);
        }
        for name in ["STRONGROOM_TOKEN", "VAULT_TOKEN"] {
            if env(name).is_some() && kept {
                terminal.warn(&format!(
                    "WARNING! {name} is set and wins over the token that was just kept: unset it to use the new one.\n"
                ));
            }
        }
        if terminal.field.is_none() && terminal.format == Format::Table {
            let fate = if kept {
                "The token below is kept; the commands that\nfollow use it."
            } else {
                "The token below was not kept;\nset STRONGROOM_TOKEN to use it."
            };
            terminal.print(&format!("Success! You are now authenticated. {fate}\n"))?;
        }
        terminal.answer(answer)
    }
}

/// What the login still has to show, if anything.
fn requirement(auth: &Json) -> Option<&Json> {
    auth.get("mfa_requirement").filter(|wanted| !matches!(wanted, Json::Null))
}

/// The methods of which one is enough, by the name of what wants it.
fn wanted_methods(wanted: &Json) -> Vec<(&str, &[Json])> {
    let constraints = wanted.get("mfa_constraints").map(Json::entries).unwrap_or_default();
    constraints.iter().map(|(name, constraint)| (name.as_str(), any_of(constraint))).collect()
}

fn any_of(constraint: &Json) -> &[Json] {
    constraint.get("any").map(Json::items).unwrap_or_default()
}

/// Asks for the codes that the login needs besides, where there is somebody to ask, and finishes it with them.
async fn second_factor(session: &Session, answer: Answer) -> Result<Answer, Failure> {
    let Some(wanted) = answer.auth.as_ref().and_then(requirement) else { return Ok(answer) };
    if !session.terminal.can_ask() {
        return Ok(answer);
    }
    let mut payload = Map::new();
    for (enforcement, methods) in wanted_methods(wanted) {
        let known = methods.iter().any(|method| payload.contains_key(method.text_at("id")));
        let Some(method) = methods.first().filter(|_| !known) else { continue };
        let name = if method.text_at("name").is_empty() { method.text_at("id") } else { method.text_at("name") };
        let what = format!("Code of the {} method {name:?} for {enforcement:?}", method.text_at("type"));
        let code = session.terminal.ask_secret(&what, "give it as -mfa=METHOD:CODE")?;
        // EXPOSE: the code goes into the request that finishes the login.
        payload.insert(method.text_at("id").to_owned(), serde_json::json!([code.expose()]));
    }
    let body = serde_json::json!({ "mfa_request_id": wanted.text_at("mfa_request_id"), "mfa_payload": payload });
    let client = session.client()?.without_token();
    let reply = session.patiently(client.write("sys/mfa/validate", &body)).await;
    let response =
        reply.map_err(|error| Failure::Api { doing: "validating the code".to_owned(), error: Box::new(error) })?;
    let finished = Answer::read(&response).map_err(Failure::Local)?;
    finished.ok_or_else(|| Failure::local("Error validating the code: the reply is empty"))
}

/// Says how a login that waits is finished.
fn waits(session: &Session, answer: &Answer, wanted: &Json) -> Outcome {
    if !session.terminal.is_table() {
        return session.terminal.answer(answer);
    }
    let id = wanted.text_at("mfa_request_id");
    let mut rows = vec![vec!["mfa_request_id".to_owned(), id.to_owned()]];
    let mut payload = Vec::new();
    for (enforcement, methods) in wanted_methods(wanted) {
        let ids: Vec<_> = methods.iter().map(|method| method.text_at("id")).collect();
        rows.push(vec![format!("mfa_constraint_{enforcement}"), ids.join(", ")]);
        payload.extend(ids.first().map(|id| format!("\"{id}\": [\"CODE\"]")));
    }
    session.terminal.warn(&format!(
        "The login waits for a second factor, for five minutes. Finish it with\n\n    \
         echo '{{\"mfa_request_id\": \"{id}\", \"mfa_payload\": {{{}}}}}' | {} write sys/mfa/validate -\n\n\
         or log in again with -mfa=METHOD:CODE.\n",
        payload.join(", "),
        session.program.name(),
    ));
    session.terminal.table(&["Key", "Value"], &rows)?;
    Ok(DONE)
}

/// Where the method logs in; asks for what it needs beside the given data.
fn login_path(
    session: &Session,
    method: &str,
    path: Option<&str>,
    data: &mut Map<String, Value>,
) -> Result<String, Failure> {
    let mount = path.map_or(method, clean);
    let mount = mount.strip_prefix("auth/").unwrap_or(mount);
    if !matches!(method, "userpass" | "ldap" | "okta" | "radius") {
        return Ok(format!("auth/{mount}/login"));
    }
    let name = match data.remove("username") {
        Some(Value::String(name)) if !name.is_empty() => name,
        _ => env("USER").ok_or_else(|| Failure::local("username is missing: give username=NAME"))?,
    };
    if !data.contains_key("password") {
        let password = session.terminal.ask_secret("Password", "give password=- and the password on standard input")?;
        // EXPOSE: the password goes into the login request.
        data.insert("password".to_owned(), Value::String(password.expose().clone()));
    }
    Ok(format!("auth/{mount}/login/{name}"))
}

fn all_policies(looked_up: &Json) -> Json {
    let mut names = Vec::new();
    for list in ["policies", "identity_policies"] {
        for name in looked_up.get(list).map(Json::items).unwrap_or_default() {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
    }
    Json::List(names)
}
