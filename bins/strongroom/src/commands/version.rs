use crate::{
    cli::Program,
    failure::{DONE, Outcome},
    session::Session,
    terminal::Terminal,
};

/// Print the version
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Which version is this, and which version of the Vault API does it speak?
        strongroom version")]
pub(crate) struct Version {}

impl Version {
    pub(crate) fn run(self, session: &Session) -> Outcome {
        print(session.program, &session.terminal)
    }
}

/// The version of the Vault API that we speak; tools read it from the output of `vault version`.
const VAULT_API: &str = "1.16.3";

/// When the program was built, as the release process says.
const BUILT: Option<&str> = option_env!("STRONGROOM_BUILD_DATE");

/// Prints the version as the program's name demands.
pub(crate) fn print(program: Program, terminal: &Terminal) -> Outcome {
    let own = env!("CARGO_PKG_VERSION");
    terminal.print(&match program {
        Program::Strongroom => format!("Strongroom v{own} (Vault API {VAULT_API})"),
        Program::Vault => format!("Vault v{VAULT_API} (strongroom-{own}), built {}", BUILT.unwrap_or("from source")),
    })?;
    Ok(DONE)
}
