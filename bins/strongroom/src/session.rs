//! What a command talks through: the server, the terminal, the settings.

use std::{cell::OnceCell, future::Future, io::IsTerminal, path::PathBuf, time::Duration};

use api::Verb;
use client::{Client, Config, Error, Response};
use serde_json::{Map, Value};

use crate::{
    cli::{Globals, Program},
    contexts::Context,
    failure::{DONE, Failure, Outcome},
    output::{Format, answer::Answer},
    terminal::Terminal,
};

/// One run of a command.
pub(crate) struct Session {
    /// The name we were started under.
    pub(crate) program: Program,
    /// Whoever started us.
    pub(crate) terminal: Terminal,
    globals: Globals,
    client: OnceCell<Client>,
}

impl Session {
    /// Reads the settings that do not need a server.
    pub(crate) fn new(program: Program, globals: Globals) -> Result<Self, Failure> {
        let format = match &globals.format {
            Some(text) => text.clone(),
            None => env("STRONGROOM_FORMAT").or_else(|| env("VAULT_FORMAT")).unwrap_or_default(),
        };
        let format = Format::parse(&format).map_err(Failure::Local)?;
        let terminal = Terminal::new(format, globals.field.clone(), globals.non_interactive, globals.no_color);
        Ok(Self { program, terminal, globals, client: OnceCell::new() })
    }

    /// The connection's settings: flags first, then the environment.
    pub(crate) fn config(&self) -> Result<Config, Failure> {
        self.globals.config()
    }

    /// The client; made at its first use, since commands that ask no server need no certificate.
    pub(crate) fn client(&self) -> Result<&Client, Failure> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = Client::new(self.config()?)?;
        Ok(self.client.get_or_init(|| client))
    }

    /// Reads a path. `doing` says what for, as in `reading secret/x`.
    pub(crate) async fn read(
        &self,
        doing: &str,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Option<Answer>, Failure> {
        self.ask(doing, Verb::Read, path, query, None).await
    }

    /// Lists a path.
    pub(crate) async fn list(&self, doing: &str, path: &str) -> Result<Option<Answer>, Failure> {
        self.ask(doing, Verb::List, path, &[], None).await
    }

    /// Lists a path with everything below.
    pub(crate) async fn scan(&self, doing: &str, path: &str) -> Result<Option<Answer>, Failure> {
        self.ask(doing, Verb::Scan, path, &[], None).await
    }

    /// Writes an object.
    pub(crate) async fn write(
        &self,
        doing: &str,
        path: &str,
        body: Map<String, Value>,
    ) -> Result<Option<Answer>, Failure> {
        self.ask(doing, Verb::Write, path, &[], Some(Value::Object(body))).await
    }

    /// Deletes a path.
    pub(crate) async fn delete(&self, doing: &str, path: &str) -> Result<Option<Answer>, Failure> {
        self.ask(doing, Verb::Delete, path, &[], None).await
    }

    /// Asks the server. No body, and a 404 that says nothing, are `None`.
    pub(crate) async fn ask(
        &self,
        doing: &str,
        verb: Verb,
        path: &str,
        query: &[(&str, &str)],
        body: Option<Value>,
    ) -> Result<Option<Answer>, Failure> {
        let failed = |error| Failure::Api { doing: doing.to_owned(), error: Box::new(error) };
        match self.attempt(verb, path, query, body).await? {
            Ok(response) => Answer::read(&response).map_err(|why| Failure::Local(format!("Error {doing}: {why}"))),
            Err(Error::Api { status: 404, errors, .. }) if errors.is_empty() => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Asks the server and hands its refusal over as it is. Where the caller wants to see the request instead of
    /// sending it, shows it and ends.
    pub(crate) async fn attempt(
        &self,
        verb: Verb,
        path: &str,
        query: &[(&str, &str)],
        body: Option<Value>,
    ) -> Result<Result<Response, Error>, Failure> {
        self.show_instead(verb, path, query, body.as_ref())?;
        let client = self.client()?;
        Ok(self.patiently(client.request(verb, path, query, body.as_ref())).await)
    }

    /// Asks the server for what the command itself needs to know, also when the request is only to be shown.
    pub(crate) async fn look_up(&self, path: &str) -> Result<Result<Response, Error>, Failure> {
        let client = self.client()?.with_wrap_ttl(None);
        Ok(self.patiently(client.read(path, &[])).await)
    }

    /// Waits; for people, with a sign of life once it takes long.
    pub(crate) async fn patiently<T>(&self, work: impl Future<Output = T>) -> T {
        if !std::io::stderr().is_terminal() {
            return work.await;
        }
        tokio::pin!(work);
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(Duration::from_millis(700)) => {}
        }
        let spinner = indicatif::ProgressBar::new_spinner().with_message("waiting for the server");
        spinner.enable_steady_tick(Duration::from_millis(100));
        let done = work.await;
        spinner.finish_and_clear();
        done
    }

    /// Prints a success that scripts look for.
    pub(crate) fn success(&self, text: &str) -> Outcome {
        self.terminal.print(&format!("Success! {text}"))?;
        Ok(DONE)
    }

    /// Prints the reply to a write: as it is, or the fact that it succeeded.
    pub(crate) fn written(&self, answer: Option<&Answer>, success: &str) -> Outcome {
        match answer {
            Some(answer) => self.terminal.answer(answer),
            None if self.terminal.is_table() => self.success(success),
            None => Ok(DONE),
        }
    }

    /// What the flags say of a server.
    pub(crate) fn given_context(&self) -> Result<Context, Failure> {
        self.globals.given_context()
    }

    /// The token file of `login`: that of the context, if one is used.
    pub(crate) fn token_file(&self) -> Result<PathBuf, Failure> {
        if let Some(context) = self.globals.context()? {
            return Ok(context.token_file());
        }
        client::token_file(env)
            .ok_or_else(|| Failure::local("there is no home folder to keep the token in: set HOME, or use -no-store"))
    }

    /// Where the caller wants to see the request instead of sending it, shows it and ends.
    pub(crate) fn show_instead(
        &self,
        verb: Verb,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<(), Failure> {
        let text = if self.globals.output_curl_string {
            self.curl(verb, path, query, body)?
        } else if self.globals.output_policy {
            let capabilities = match verb {
                Verb::Delete => "\"delete\"",
                Verb::List => "\"list\"",
                Verb::Patch => "\"patch\"",
                Verb::Read => "\"read\"",
                Verb::Scan => "\"scan\"",
                Verb::Write => "\"create\", \"update\"",
            };
            format!("path {:?} {{\n  capabilities = [{capabilities}]\n}}", path.trim_matches('/'))
        } else {
            return Ok(());
        };
        self.terminal.print(&text)?;
        Err(Failure::Said(DONE))
    }

    /// The request as a `curl` command. The token is named, not shown.
    fn curl(&self, verb: Verb, path: &str, query: &[(&str, &str)], body: Option<&Value>) -> Result<String, Failure> {
        let client = self.client()?;
        let config = self.config()?;
        let mut words = vec!["curl".to_owned()];
        if !matches!(verb, Verb::Read | Verb::List | Verb::Scan) {
            words.push(format!("-X {}", client::method_name(verb)));
        }
        let files = [
            ("--cacert", &config.ca_cert),
            ("--capath", &config.ca_path),
            ("--cert", &config.client_cert),
            ("--key", &config.client_key),
        ];
        for (flag, file) in files {
            words.extend(file.as_ref().map(|file| format!("{flag} {}", quoted(&file.display().to_string()))));
        }
        if config.skip_verify {
            words.push("--insecure".to_owned());
        }
        words.extend(client.socket().map(|path| format!("--unix-socket {}", quoted(&path.display().to_string()))));
        let headers = [("X-Vault-Namespace", client.namespace()), ("X-Vault-Wrap-Ttl", client.wrap_ttl())];
        for (name, value) in headers {
            words.extend(value.map(|value| format!("-H {}", quoted(&format!("{name}: {value}")))));
        }
        let more = config.headers.iter();
        words.extend(more.map(|(name, value)| format!("-H {}", quoted(&format!("{name}: {value}")))));
        if verb == Verb::Patch {
            words.push("-H \"Content-Type: application/merge-patch+json\"".to_owned());
        }
        words.push("-H \"X-Vault-Request: true\"".to_owned());
        words.push(format!("-H \"X-Vault-Token: $({} print token)\"", self.program.name()));
        if let Some(body) = body {
            words.push(format!("-d {}", quoted(&body.to_string())));
        }
        let url = client.url(verb, path, query)?.to_string();
        words.push(if url.contains(SPECIAL) { quoted(&url) } else { url });
        Ok(words.join(" "))
    }
}

/// A variable of the environment, unless it is empty or no text.
pub(crate) fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// What means something to a shell.
const SPECIAL: [char; 14] = ['&', '\'', ';', '(', ')', '*', '?', '!', '$', '~', '[', ']', '#', ' '];

/// A word for a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
