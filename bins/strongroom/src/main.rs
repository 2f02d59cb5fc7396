//! The server, the command line and the agent in one binary.
//!
//! `cli` reads the arguments (after `argv` made Vault's spelling of flags into ours), `commands` holds one file per
//! command, `session` is what a command talks through to the server and the terminal, `output` prints replies.
//! Started under the name `vault`, the program answers as Vault's own command line would.

mod argv;
mod cli;
mod commands;
mod contexts;
mod failure;
mod input;
mod output;
mod run;
mod server;
mod server_args;
mod session;
mod terminal;

/// Nothing that a secret passed through on its way keeps it.
#[global_allocator]
static ALLOCATOR: secret::WipingAllocator = secret::WipingAllocator;

fn main() -> std::process::ExitCode {
    cli::start(std::env::args_os().collect())
}
