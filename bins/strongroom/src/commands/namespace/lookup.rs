use crate::{
    commands::clean,
    failure::{Failure, Outcome},
    session::Session,
};

/// Show what is known of a namespace
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Show a namespace:
        strongroom namespace lookup team")]
pub(crate) struct Lookup {
    /// Its name
    name: String,
}

impl Lookup {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let name = clean(&self.name);
        match session.read("looking up namespace", &format!("sys/namespaces/{name}"), &[]).await? {
            Some(answer) => session.terminal.answer(&answer),
            None => Err(Failure::Nothing(format!("Namespace not found: {name}/"))),
        }
    }
}
