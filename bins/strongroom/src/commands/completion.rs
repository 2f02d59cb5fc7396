use crate::{
    failure::{DONE, Outcome},
    session::Session,
};

/// Print a shell's completion script
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Complete in this shell:
        source <(strongroom completion bash)

    Complete in every fish shell:
        strongroom completion fish > ~/.config/fish/completions/strongroom.fish")]
pub(crate) struct Completion {
    /// The shell
    shell: clap_complete::Shell,
}

impl Completion {
    pub(crate) fn run(self, session: &Session) -> Outcome {
        let name = session.program.name();
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut crate::cli::command(name), name, &mut script);
        session.terminal.print(String::from_utf8_lossy(&script).trim_end())?;
        Ok(DONE)
    }
}
