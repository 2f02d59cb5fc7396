use crate::{
    commands::list::show,
    failure::{DONE, Outcome},
    session::Session,
};

/// List the namespaces right below this one
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    List the namespaces:
        strongroom namespace list

    List those inside of one, with all that is known of them:
        strongroom namespace list -namespace=team -detailed -format=json")]
pub(crate) struct List {
    /// Show all that is known of each
    #[arg(long)]
    detailed: bool,
}

impl List {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let answer = session.list("listing namespaces", "sys/namespaces").await?;
        match answer.as_ref().and_then(|answer| answer.at("key_info")).filter(|_| self.detailed) {
            Some(details) => session.terminal.structured(details).map(|()| DONE),
            None => show(session, "sys/namespaces", answer.as_ref()),
        }
    }
}
