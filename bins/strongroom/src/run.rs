//! `strongroom run`: a program with its secrets, for exactly as long as it lives.
//!
//! The process that the user starts is the front; it starts this same program again as the guardian, which reads the
//! arguments once more and does the work. Neither may have a runtime or a thread before that: signals are theirs.

use std::{ffi::OsString, os::unix::process::CommandExt as _, path::PathBuf, process::ExitCode};

use agent::{
    manifest::{Manifest, Method, OnRotation},
    session::{self, Plan},
    supervise::{self, Exit},
};
use client::{Client, Config};

use crate::{cli::Globals, failure::Failure};

/// The guardian's name among the processes: not ours, so that who kills us by name does not kill it too.
const GUARDIAN: &str = "sr-guardian";

/// Run a program with its secrets, and revoke them when it ends
///
/// Secrets are named by references: variables of the environment, or of `strongroom.toml`, whose value is
/// `sr://MOUNT/PATH#FIELD`. The program starts when all of them are there, and not at all otherwise. It is run as a bare
/// shell would: same exit code, same signals, same terminal. When it ends, or is killed, what it got is revoked.
///
/// Exit codes: the program's own; 125 if the call makes no sense or a secret could not be had, 126 if the program cannot be executed, 127 if there
/// is none.
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    A database user for one run of a program:
        DATABASE_URL='sr://database/creds/app#connection_url' strongroom run -- ./app

    The same, logging in with the identity token of a CI job:
        strongroom run --method jwt --role ci --jwt-file /run/token --env API_KEY=sr://kv/ci#key -- make deploy

    All that a project needs, from its strongroom.toml:
        strongroom run -- npm start")]
pub(crate) struct Run {
    /// The manifest [default: strongroom.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// A variable for the program: a reference or plain text; may be repeated
    #[arg(long, value_name = "NAME=REFERENCE", value_parser = pair)]
    env: Vec<(String, String)>,

    /// Give the program nothing of this environment but what is named
    #[arg(long)]
    clean_env: bool,

    /// Mask secrets in the output, on a terminal too
    #[arg(long, conflicts_with = "no_mask")]
    mask: bool,

    /// Never mask; without this flag, output that does not go to a terminal is masked
    #[arg(long)]
    no_mask: bool,

    /// What to do when a value changes: restart, signal or ignore
    #[arg(long, value_name = "ACTION", value_parser = on_rotation)]
    on_rotation: Option<OnRotation>,

    /// How to log in: token, jwt or approle [default: token]
    #[arg(long, value_name = "METHOD", value_parser = method)]
    method: Option<Method>,

    /// Where the login method is mounted [default: its name]
    #[arg(long, value_name = "PATH")]
    mount: Option<String>,

    /// The role to log in to, for jwt
    #[arg(long, value_name = "NAME")]
    role: Option<String>,

    /// The file with the signed identity token, for jwt
    #[arg(long, value_name = "FILE")]
    jwt_file: Option<PathBuf>,

    /// The role's id, for approle
    #[arg(long, value_name = "ID")]
    role_id: Option<String>,

    /// A file with the secret id, for approle
    #[arg(long, value_name = "FILE")]
    secret_id_file: Option<PathBuf>,

    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Runs the command, in whichever of the two roles this process has. Must be called before any thread is started.
pub(crate) fn run(args: Run, globals: &Globals) -> ExitCode {
    if supervise::is_guardian() {
        let plan = args.plan(globals);
        return supervise::guard(move |handle| match plan {
            Ok(plan) => session::run(plan, handle),
            Err(why) => handle.refuse(Exit::NOT_STARTED, why),
        });
    }
    let mut guardian = std::process::Command::new("/proc/self/exe");
    guardian.arg0(GUARDIAN).args(std::env::args_os().skip(1));
    match supervise::front(&mut guardian) {
        Ok(exit) => exit.repeat(),
        Err(error) => {
            supervise::say(&supervise::chain(&error));
            ExitCode::from(125)
        }
    }
}

impl Run {
    fn plan(self, globals: &Globals) -> Result<Plan, String> {
        let manifest = match &self.config {
            Some(file) => Manifest::read(file),
            None => Manifest::read_default(),
        };
        let mut manifest = manifest.map_err(|error| supervise::chain(&error))?;
        let told = |failure: Failure| failure.text(true).unwrap_or_default();
        let config = globals.config().map_err(told)?;
        let config = complete(config, globals.knows_server().map_err(told)?, &manifest);
        let command = self.command.clone();
        self.apply(&mut manifest)?;
        let client = Client::new(config).map_err(|error| supervise::chain(&error))?;
        Ok(Plan { client, manifest, command, vars: std::env::vars_os().collect(), clock: clock::Clock::system() })
    }

    /// What the flags say goes before what the manifest says.
    fn apply(self, manifest: &mut Manifest) -> Result<(), String> {
        manifest.env.extend(self.env);
        let run = &mut manifest.run;
        run.clean_env |= self.clean_env;
        if self.mask || self.no_mask {
            run.mask = Some(self.mask);
        }
        run.on_rotation = self.on_rotation.unwrap_or(run.on_rotation);
        if self.on_rotation.is_some() {
            run.hook.clear();
        }
        let login = &mut manifest.login;
        if let Some(method) = self.method.filter(|method| *method != login.method) {
            *login = agent::manifest::Login { method, ..Default::default() };
        }
        login.mount = self.mount.or(login.mount.take());
        login.role = self.role.or(login.role.take());
        login.jwt_file = self.jwt_file.or(login.jwt_file.take());
        if self.role_id.is_some() {
            login.role_id_file = None;
        }
        login.role_id = self.role_id.or(login.role_id.take());
        login.secret_id_file = self.secret_id_file.or(login.secret_id_file.take());
        login.check().map_err(|why| format!("login: {why}"))
    }
}

/// What the manifest knows about the server, where neither flags nor environment say anything. `known` is whether they
/// say where it is.
fn complete(mut config: Config, known: bool, manifest: &Manifest) -> Config {
    let server = &manifest.server;
    if let Some(address) = server.address.as_ref().filter(|_| !known) {
        config.address.clone_from(address);
    }
    if config.ca_cert.is_none() && config.ca_bytes.is_none() && config.ca_path.is_none() {
        config.ca_cert.clone_from(&server.ca_cert);
    }
    if config.namespace.is_none() {
        config.namespace.clone_from(&server.namespace);
    }
    // A wrapped secret is none.
    config.wrap_ttl = None;
    config
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("use NAME=REFERENCE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn on_rotation(text: &str) -> Result<OnRotation, String> {
    match text {
        "ignore" => Ok(OnRotation::Ignore),
        "restart" => Ok(OnRotation::Restart),
        "signal" => Ok(OnRotation::Signal),
        _ => Err("use restart, signal or ignore; a hook is set in strongroom.toml".to_owned()),
    }
}

fn method(text: &str) -> Result<Method, String> {
    match text {
        "approle" => Ok(Method::Approle),
        "jwt" => Ok(Method::Jwt),
        "token" => Ok(Method::Token),
        _ => Err("use token, jwt or approle".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, FromArgMatches as _, Parser};

    use super::*;

    #[derive(Parser)]
    struct Probe {
        #[command(flatten)]
        run: Run,
    }

    fn parse(line: &str) -> Run {
        let matches = Probe::command().try_get_matches_from(line.split(' ')).unwrap();
        Probe::from_arg_matches(&matches).unwrap().run
    }

    #[test]
    fn the_programs_own_flags_stay_its_own() {
        let run = parse("run --clean-env -- app --mask -x --config y");
        assert_eq!(run.command, ["app", "--mask", "-x", "--config", "y"]);
        assert!(run.clean_env && !run.mask && run.config.is_none());
        let run = parse("run app --mask");
        assert_eq!(run.command, ["app", "--mask"]);
    }

    #[test]
    fn flags_go_before_the_manifest() {
        let text = "[login]\nmethod = \"approle\"\nrole_id = \"x\"\n[env]\nA = \"sr://kv/a#x\"\n[run]\nmask = true";
        let mut manifest = Manifest::parse("strongroom.toml".as_ref(), text).unwrap();
        let run = parse("run --method jwt --jwt-file /t --role ci --env A=sr://kv/b#x --no-mask app");
        run.apply(&mut manifest).unwrap();
        assert_eq!(manifest.login.method, Method::Jwt);
        assert_eq!(manifest.login.role_id, None);
        assert_eq!(manifest.env["A"], "sr://kv/b#x");
        assert_eq!(manifest.run.mask, Some(false));
        let error = parse("run --method jwt app").apply(&mut Manifest::default()).unwrap_err();
        assert!(error.contains("jwt_file"), "{error}");
    }

    #[test]
    fn the_manifest_tells_where_the_server_is_if_nobody_else_does() {
        let text = "[server]\naddress = \"https://vault.example:8200\"\nca_cert = \"/ca.pem\"";
        let manifest = Manifest::parse("strongroom.toml".as_ref(), text).unwrap();
        assert_eq!(complete(Config::default(), false, &manifest).address, "https://vault.example:8200");
        // An address that was given and happened to be the default one was passed over, and the token went elsewhere.
        for address in ["https://other:8200", client::DEFAULT_ADDRESS] {
            let given = Config { address: address.to_owned(), ..Config::default() };
            assert_eq!(complete(given, true, &manifest).address, address);
        }
    }
}
