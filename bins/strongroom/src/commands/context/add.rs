use crate::{
    contexts::{Contexts, check_name},
    failure::{Failure, Outcome},
    session::Session,
};

/// Keep a server under a name
///
/// The flags of every command say how it is reached: -address, -namespace, -ca-cert, -ca-path, -client-cert, -client-key,
/// -tls-server-name, -tls-skip-verify. The first one that is kept is used from then on.
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    A server with an authority of its own:
        strongroom context add lab -address=https://lab.example:8200 -ca-cert=lab.pem

    Change where it is; its token stays:
        strongroom context add lab -address=https://lab2.example:8200 -replace -keep-token")]
pub(crate) struct Add {
    /// The name
    name: String,

    /// Replace the one with this name, and forget its token
    #[arg(long)]
    replace: bool,

    /// With -replace, keep the token: it will go to the new address
    #[arg(long, requires = "replace")]
    keep_token: bool,
}

impl Add {
    pub(crate) fn run(self, session: &Session) -> Outcome {
        check_name(&self.name)?;
        let context = session.given_context()?;
        let mut contexts = Contexts::load()?;
        if contexts.contexts.contains_key(&self.name) && !self.replace {
            return Err(Failure::local(format!("there is a context {:?} already; give -replace", self.name)));
        }
        if !self.keep_token {
            crate::contexts::forget_token(&self.name)?;
        }
        contexts.contexts.insert(self.name.clone(), context);
        let first = contexts.current.is_none();
        contexts.current.get_or_insert_with(|| self.name.clone());
        contexts.save()?;
        let used = if first { " It is used from now on." } else { "" };
        session.success(&format!("Kept the context {}.{used}", self.name))
    }
}
