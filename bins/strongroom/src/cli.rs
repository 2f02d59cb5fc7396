//! Reading the arguments, and starting the command.

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use clap::{CommandFactory, FromArgMatches, Parser, error::ErrorKind};
use client::Config;

use crate::{
    argv,
    commands::{self, Command},
    contexts::{Chosen, Context, Contexts},
    failure::Failure,
    session::{Session, env},
    terminal::Terminal,
};

/// The program's name, and what follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Strongroom,
    /// Started as `vault`, for tools that call that.
    Vault,
}

impl Program {
    fn of(argv0: Option<&OsString>) -> Self {
        let name = argv0.map(PathBuf::from).and_then(|path| path.file_name().map(|name| name.to_owned()));
        if name.is_some_and(|name| name == "vault") { Self::Vault } else { Self::Strongroom }
    }

    /// The name that commands are shown with.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Strongroom => "strongroom",
            Self::Vault => "vault",
        }
    }
}

/// Keeps secrets, makes short-lived ones, and records who touched what
///
/// The same program is the server, the command line and the agent. It speaks the Vault HTTP API, takes Vault's flags
/// with one dash or two, and honours STRONGROOM_* and then VAULT_* variables.
#[derive(Parser)]
#[command(
    name = "strongroom",
    disable_version_flag = true,
    arg_required_else_help = true,
    subcommand_required = true,
    infer_long_args = false,
    max_term_width = 110,
    after_help = "EXAMPLES:
    Start a server in memory, for a first try:
        strongroom server -dev

    Store a secret and read one field of it:
        strongroom kv put -mount=secret app/db password=-
        strongroom kv get -mount=secret -field=password app/db

    Run a program with a database user that lives exactly as long as it does:
        DATABASE_URL='sr://database/creds/app#connection_url' strongroom run -- ./app"
)]
pub(crate) struct Cli {
    /// Print the version
    #[arg(long, short = 'v')]
    version: bool,

    #[command(flatten)]
    pub(crate) globals: Globals,

    #[command(subcommand)]
    pub(crate) command: Command,
}

// No doc comment: it would replace the description of the command that this is part of.
#[derive(clap::Args, Clone, Default)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Globals {
    /// The server's URL [env: STRONGROOM_ADDR, VAULT_ADDR]
    #[arg(long, global = true, value_name = "URL")]
    address: Option<String>,

    /// An agent's URL, instead of the server's [env: STRONGROOM_AGENT_ADDR, VAULT_AGENT_ADDR]
    #[arg(long, global = true, hide_short_help = true, value_name = "URL")]
    agent_address: Option<String>,

    /// A kept server, by its name, instead of the current one [env: STRONGROOM_CONTEXT]
    #[arg(long, global = true, hide_short_help = true, value_name = "NAME", conflicts_with_all = ["address", "agent_address"])]
    context: Option<String>,

    /// A PEM file of the authorities to trust [env: STRONGROOM_CACERT, VAULT_CACERT]
    #[arg(long, global = true, hide_short_help = true, value_name = "FILE")]
    ca_cert: Option<PathBuf>,

    /// A folder of such files [env: STRONGROOM_CAPATH, VAULT_CAPATH]
    #[arg(long, global = true, hide_short_help = true, value_name = "DIR")]
    ca_path: Option<PathBuf>,

    /// Our own certificate, PEM [env: STRONGROOM_CLIENT_CERT, VAULT_CLIENT_CERT]
    #[arg(long, global = true, hide_short_help = true, value_name = "FILE")]
    client_cert: Option<PathBuf>,

    /// The key of our own certificate, PEM [env: STRONGROOM_CLIENT_KEY, VAULT_CLIENT_KEY]
    #[arg(long, global = true, hide_short_help = true, value_name = "FILE")]
    client_key: Option<PathBuf>,

    /// Accept any certificate: anybody in between can read along [env: STRONGROOM_SKIP_VERIFY, VAULT_SKIP_VERIFY]
    #[arg(long, global = true, hide_short_help = true)]
    tls_skip_verify: bool,

    /// The name in the server's certificate [env: STRONGROOM_TLS_SERVER_NAME, VAULT_TLS_SERVER_NAME]
    #[arg(long, global = true, hide_short_help = true, value_name = "NAME")]
    tls_server_name: Option<String>,

    /// The namespace [env: STRONGROOM_NAMESPACE, VAULT_NAMESPACE]
    #[arg(long, global = true, hide_short_help = true, alias = "ns", value_name = "NAME")]
    namespace: Option<String>,

    /// table, json, yaml, pretty or raw [env: STRONGROOM_FORMAT, VAULT_FORMAT]
    #[arg(long, global = true, value_name = "FORM")]
    pub(crate) format: Option<String>,

    /// Print one field of the reply, without a line end when not on a terminal
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) field: Option<String>,

    /// Have the reply wrapped in a single-use token for so long, as in 5m [env: STRONGROOM_WRAP_TTL, VAULT_WRAP_TTL]
    #[arg(long, global = true, hide_short_help = true, value_name = "TIME", value_parser = crate::input::duration)]
    wrap_ttl: Option<String>,

    /// Another header to send; may be repeated
    #[arg(long, global = true, hide_short_help = true, value_name = "NAME=VALUE")]
    header: Vec<String>,

    /// A code for a login that needs a second factor, as METHOD:CODE with the method's id or name; may be repeated
    /// [env: STRONGROOM_MFA, VAULT_MFA]
    #[arg(long, global = true, hide_short_help = true, value_name = "METHOD:CODE")]
    mfa: Vec<String>,

    /// Never ask on the terminal
    #[arg(long, global = true, hide_short_help = true)]
    pub(crate) non_interactive: bool,

    /// Print the request as a curl command instead of sending it
    #[arg(long, global = true, hide_short_help = true, conflicts_with = "output_policy")]
    pub(crate) output_curl_string: bool,

    /// Print the policy that the request needs instead of sending it
    #[arg(long, global = true, hide_short_help = true)]
    pub(crate) output_policy: bool,

    /// No colours
    #[arg(long, global = true, hide_short_help = true)]
    pub(crate) no_color: bool,
}

impl Globals {
    /// The context that is used: one that is asked for, else the current one if nothing else names a server.
    pub(crate) fn context(&self) -> Result<Option<Chosen>, Failure> {
        let named = self.names_server();
        match self.context.clone() {
            Some(name) => Contexts::load()?.choose(Some(&name)),
            None if named => Ok(None),
            None => Contexts::load()?.choose(env("STRONGROOM_CONTEXT").as_deref()),
        }
    }

    /// Whether a flag or a variable says where the server is.
    fn names_server(&self) -> bool {
        let variables = ["STRONGROOM_ADDR", "VAULT_ADDR", "STRONGROOM_AGENT_ADDR", "VAULT_AGENT_ADDR"];
        self.address.is_some() || self.agent_address.is_some() || variables.into_iter().any(|name| env(name).is_some())
    }

    /// Whether it is known where the server is, so that nothing else is to say it.
    pub(crate) fn knows_server(&self) -> Result<bool, Failure> {
        Ok(self.names_server() || self.context()?.is_some())
    }

    /// What the flags say of a server.
    pub(crate) fn given_context(&self) -> Result<Context, Failure> {
        let address =
            self.address.clone().ok_or_else(|| Failure::local("-address is missing: give the server's URL"))?;
        let absolute = |path: &Option<PathBuf>| path.as_ref().map(std::path::absolute).transpose();
        let failed = |error: std::io::Error| Failure::local(format!("cannot make a path absolute: {error}"));
        Ok(Context {
            address,
            namespace: self.namespace.clone(),
            ca_cert: absolute(&self.ca_cert).map_err(failed)?,
            ca_path: absolute(&self.ca_path).map_err(failed)?,
            client_cert: absolute(&self.client_cert).map_err(failed)?,
            client_key: absolute(&self.client_key).map_err(failed)?,
            tls_server_name: self.tls_server_name.clone(),
            tls_skip_verify: self.tls_skip_verify,
        })
    }

    /// The connection's settings: flags first, then the environment, then the context.
    pub(crate) fn config(&self) -> Result<Config, Failure> {
        let mut config = match self.context()? {
            // A context that is asked for wins over the environment's server.
            Some(context) if self.context.is_some() => Config::from_env(|name| context.lookup_first(name))?,
            Some(context) => Config::from_env(|name| context.lookup(name))?,
            None => Config::from_env(env)?,
        };
        if let Some(address) = self.agent_address.as_ref().or(self.address.as_ref()) {
            config.address.clone_from(address);
        }
        if self.ca_cert.is_some() || self.ca_path.is_some() {
            config.ca_bytes = None;
            config.ca_cert.clone_from(&self.ca_cert);
            config.ca_path.clone_from(&self.ca_path);
        }
        replace(&mut config.client_cert, &self.client_cert);
        replace(&mut config.client_key, &self.client_key);
        replace(&mut config.tls_server_name, &self.tls_server_name);
        replace(&mut config.namespace, &self.namespace);
        replace(&mut config.wrap_ttl, &self.wrap_ttl);
        config.skip_verify |= self.tls_skip_verify;
        for header in &self.header {
            let (name, value) = header
                .split_once('=')
                .ok_or_else(|| Failure::local(format!("invalid header {header:?}: use -header=NAME=VALUE")))?;
            config.headers.push((name.to_owned(), value.to_owned()));
        }
        let from_env = || env("STRONGROOM_MFA").or_else(|| env("VAULT_MFA")).into_iter().collect();
        let codes: Vec<String> = if self.mfa.is_empty() { from_env() } else { self.mfa.clone() };
        config.headers.extend(codes.into_iter().map(|code| ("X-Vault-MFA".to_owned(), code)));
        Ok(config)
    }
}

/// The tree of commands, for `name`.
pub(crate) fn command(name: &'static str) -> clap::Command {
    Cli::command().name(name).bin_name(name)
}

/// Runs the command that `args` (with the program's name) ask for.
pub(crate) fn start(args: Vec<OsString>) -> ExitCode {
    let program = Program::of(args.first());
    let mut tree = command(program.name());
    tree.build();
    let fallback = Terminal::new(crate::output::Format::Table, None, true, false);
    let misuse = misuse(&args);
    let words = match argv::normalise(&tree, args.into_iter().skip(1).collect()) {
        Ok(words) => words,
        Err(text) => {
            fallback.error(&text);
            return ExitCode::from(misuse);
        }
    };
    if asks_version(&words) {
        return report(&fallback, true, commands::version::print(program, &fallback));
    }
    let words = std::iter::once(OsString::from(program.name())).chain(words);
    let parsed = tree.try_get_matches_from(words).and_then(|matches| Cli::from_arg_matches(&matches));
    match parsed {
        Ok(cli) => run(program, cli),
        Err(error) => {
            // Nobody can be told when the output is gone.
            let _ = error.print();
            if error.kind() == ErrorKind::DisplayHelp { ExitCode::SUCCESS } else { ExitCode::from(misuse) }
        }
    }
}

/// The exit code of a call that makes no sense. That of `run` is none that the program it runs is likely to have.
fn misuse(args: &[OsString]) -> u8 {
    let first = args.iter().skip(1).find(|word| !word.to_string_lossy().starts_with('-'));
    if first.is_some_and(|word| word == "run") { 125 } else { 1 }
}

/// Whether the first word asks for the version; no command is needed then.
fn asks_version(words: &[OsString]) -> bool {
    words.first().is_some_and(|word| word == "--version" || word == "-v")
}

fn run(program: Program, cli: Cli) -> ExitCode {
    // The server brings its own threads.
    let ask = match cli.command {
        Command::Server(args) => return crate::server::run(args),
        // The supervisor must not have a thread yet.
        Command::Run(args) => return crate::run::run(args, &cli.globals),
        Command::Ask(ask) => ask,
    };
    let hints = program == Program::Strongroom;
    let session = match Session::new(program, cli.globals) {
        Ok(session) => session,
        Err(failure) => {
            let terminal = Terminal::new(crate::output::Format::Table, None, true, false);
            return report(&terminal, hints, Err(failure));
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            session.terminal.error(&format!("cannot start: {error}"));
            return ExitCode::from(1);
        }
    };
    let outcome = runtime.block_on(ask.run(&session));
    report(&session.terminal, hints, outcome)
}

fn report(terminal: &Terminal, hints: bool, outcome: crate::failure::Outcome) -> ExitCode {
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            if let Some(text) = failure.text(hints) {
                terminal.error(&text);
            }
            ExitCode::from(failure.code())
        }
    }
}

fn replace<T: Clone>(setting: &mut Option<T>, flag: &Option<T>) {
    if flag.is_some() {
        setting.clone_from(flag);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All commands below `command`, with their full names.
    fn walk<'a>(command: &'a clap::Command, name: &str, found: &mut Vec<(String, &'a clap::Command)>) {
        for child in command.get_subcommands().filter(|child| child.get_name() != "help" || child.has_about()) {
            let name = format!("{name} {}", child.get_name());
            walk(child, &name, found);
            found.push((name, child));
        }
    }

    trait About {
        fn has_about(&self) -> bool;
    }

    impl About for clap::Command {
        /// Clap's own `help` has no examples of ours.
        fn has_about(&self) -> bool {
            self.get_after_help().is_some()
        }
    }

    #[test]
    fn the_command_tree_is_consistent() {
        command("strongroom").debug_assert();
    }

    #[test]
    fn every_command_explains_itself_with_examples() {
        let tree = command("strongroom");
        let mut found = vec![("strongroom".to_owned(), &tree)];
        walk(&tree, "strongroom", &mut found);
        assert!(found.len() > 70, "{}", found.len());
        for (name, command) in found {
            let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(examples.starts_with("EXAMPLES:\n"), "{name} has no examples");
            assert!(examples.contains("strongroom "), "{name}: {examples}");
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(!about.is_empty() && !about.ends_with('.'), "{name}: {about:?}");
            for flag in command.get_arguments() {
                assert!(flag.get_help().is_some(), "{name}: {} has no help", flag.get_id());
            }
        }
    }

    /// An example that does not parse is worse than none.
    #[test]
    fn every_example_can_be_parsed() {
        let tree = command("strongroom");
        let mut found = vec![("strongroom".to_owned(), &tree)];
        walk(&tree, "strongroom", &mut found);
        for (name, command) in found {
            let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for line in examples.lines().map(str::trim) {
                let Some(start) = line.strip_prefix("strongroom ") else { continue };
                // What follows is for the shell.
                let words = start.split_whitespace().take_while(|word| !word.starts_with(['<', '>', '|']));
                let words: Vec<OsString> = words.map(OsString::from).collect();
                let mut tree = super::command("strongroom");
                tree.build();
                let words = argv::normalise(&tree, words).unwrap();
                let parsed = tree.try_get_matches_from(std::iter::once("strongroom".into()).chain(words));
                assert!(
                    parsed.is_ok(),
                    "{name}: {line}\n{}",
                    parsed.err().map(|error| error.to_string()).unwrap_or_default()
                );
            }
        }
    }
}
