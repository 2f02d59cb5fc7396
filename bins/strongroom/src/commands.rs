//! The commands: one file each, groups in folders.

mod apply;
mod audit;
mod auth;
mod completion;
mod context;
mod delete;
mod inventory;
mod kv;
mod lease;
mod list;
mod login;
mod mount_options;
mod namespace;
mod operator;
mod patch;
mod path_help;
mod policy;
mod print;
mod read;
mod remount;
mod rotation;
mod secrets;
mod status;
mod token;
mod unwrap;
pub(crate) mod version;
mod write;

use crate::{failure::Outcome, session::Session};

/// What the program can be asked to do.
#[derive(clap::Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one of them in a run")]
pub(crate) enum Command {
    Server(crate::server_args::ServerArgs),
    Run(crate::run::Run),
    #[command(flatten)]
    Ask(Ask),
}

/// The commands that ask a server, or nobody.
#[derive(clap::Subcommand)]
pub(crate) enum Ask {
    Read(read::Read),
    Write(write::Write),
    List(list::List),
    Delete(delete::Delete),
    Patch(patch::Patch),
    #[command(subcommand)]
    Kv(kv::Kv),
    Login(login::Login),
    #[command(subcommand)]
    Token(token::Token),
    #[command(subcommand)]
    Policy(policy::Policy),
    #[command(subcommand)]
    Secrets(secrets::Secrets),
    #[command(subcommand)]
    Auth(auth::Auth),
    #[command(subcommand)]
    Lease(lease::Lease),
    #[command(subcommand)]
    Namespace(namespace::Namespace),
    #[command(subcommand)]
    Audit(audit::Audit),
    #[command(subcommand)]
    Rotation(rotation::Rotation),
    Apply(apply::Apply),
    Status(status::Status),
    #[command(subcommand)]
    Operator(operator::Operator),
    Unwrap(unwrap::Unwrap),
    #[command(subcommand)]
    Print(print::Print),
    PathHelp(path_help::PathHelp),
    #[command(subcommand)]
    Context(context::Context),
    Completion(completion::Completion),
    Version(version::Version),
}

impl Ask {
    /// Runs the command.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        match self {
            Self::Read(command) => command.run(session).await,
            Self::Write(command) => command.run(session).await,
            Self::List(command) => command.run(session).await,
            Self::Delete(command) => command.run(session).await,
            Self::Patch(command) => command.run(session).await,
            Self::Kv(command) => command.run(session).await,
            Self::Login(command) => command.run(session).await,
            Self::Token(command) => command.run(session).await,
            Self::Policy(command) => command.run(session).await,
            Self::Secrets(command) => command.run(session).await,
            Self::Auth(command) => command.run(session).await,
            Self::Lease(command) => command.run(session).await,
            Self::Namespace(command) => command.run(session).await,
            Self::Audit(command) => command.run(session).await,
            Self::Rotation(command) => command.run(session).await,
            Self::Apply(command) => command.run(session).await,
            Self::Status(command) => command.run(session).await,
            Self::Operator(command) => command.run(session).await,
            Self::Unwrap(command) => command.run(session).await,
            Self::Print(command) => command.run(session),
            Self::PathHelp(command) => command.run(session).await,
            Self::Context(command) => command.run(session),
            Self::Completion(command) => command.run(session),
            Self::Version(command) => command.run(session),
        }
    }
}

/// A path without the slashes and blanks around it.
fn clean(path: &str) -> &str {
    path.trim().trim_matches('/')
}

/// A mount's path with the slash at its end, as it is shown.
fn folder(path: &str) -> String {
    format!("{}/", clean(path))
}
