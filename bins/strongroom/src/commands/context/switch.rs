use crate::{
    contexts::Contexts,
    failure::{Failure, Outcome},
    session::{Session, env},
};

/// Use a context from now on
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Work with another server:
        strongroom context use lab

    Use none:
        strongroom context use -none")]
pub(crate) struct Use {
    /// The name
    #[arg(required_unless_present = "none")]
    name: Option<String>,

    /// Use none: the server is what flags and the environment say
    #[arg(long, conflicts_with = "name")]
    none: bool,
}

impl Use {
    pub(crate) fn run(self, session: &Session) -> Outcome {
        let mut contexts = Contexts::load()?;
        let said = match self.name {
            None => "No context is used.".to_owned(),
            Some(ref name) if contexts.contexts.contains_key(name) => format!("The context {name} is used."),
            Some(name) => {
                return Err(Failure::local(format!("there is no context {name:?}; see strongroom context list")));
            }
        };
        contexts.current = self.name;
        contexts.save()?;
        for name in ["STRONGROOM_ADDR", "VAULT_ADDR", "STRONGROOM_AGENT_ADDR", "VAULT_AGENT_ADDR"] {
            if contexts.current.is_some() && env(name).is_some() {
                session.terminal.warn(&format!("WARNING! {name} is set and wins over every context: unset it."));
            }
        }
        session.success(&said)
    }
}
