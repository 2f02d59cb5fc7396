use crate::{
    contexts::{Contexts, forget_token},
    failure::{Failure, Outcome},
    session::Session,
};

/// Forget a context and its token
///
/// The token is not revoked: `strongroom token revoke -self` does that, before.
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    End the token, then forget the server:
        strongroom token revoke -self -context=lab
        strongroom context remove lab")]
pub(crate) struct Remove {
    /// The name
    name: String,
}

impl Remove {
    pub(crate) fn run(self, session: &Session) -> Outcome {
        let mut contexts = Contexts::load()?;
        if contexts.contexts.remove(&self.name).is_none() {
            return Err(Failure::local(format!("there is no context {:?}; see strongroom context list", self.name)));
        }
        if contexts.current.as_ref() == Some(&self.name) {
            contexts.current = None;
        }
        let token = forget_token(&self.name)?;
        contexts.save()?;
        let fate = if token { " Its token is removed here, and still in force." } else { "" };
        session.success(&format!("Forgot the context {}.{fate}", self.name))
    }
}
