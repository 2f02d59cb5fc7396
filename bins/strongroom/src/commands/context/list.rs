use crate::{
    contexts::{Contexts, has_token},
    failure::{Failure, Outcome},
    output::json::Json,
    session::Session,
};

/// List the contexts; the current one has an asterisk
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Which servers are kept, and which has a token?
        strongroom context list")]
pub(crate) struct List {}

impl List {
    pub(crate) fn run(self, session: &Session) -> Outcome {
        let contexts = Contexts::load()?;
        if contexts.contexts.is_empty() && session.terminal.is_table() {
            return Err(Failure::Nothing("No contexts are kept".to_owned()));
        }
        let (mut rows, mut whole) = (Vec::new(), Vec::new());
        for (name, context) in &contexts.contexts {
            let current = contexts.current.as_ref() == Some(name);
            let namespace = context.namespace.clone().unwrap_or_default();
            let kept = has_token(name);
            rows.push(vec![
                if current { "*" } else { "" }.to_owned(),
                name.clone(),
                context.address.clone(),
                namespace.clone(),
                if kept { "kept" } else { "none" }.to_owned(),
            ]);
            whole.push(Json::Map(vec![
                ("name".to_owned(), Json::Text(name.clone())),
                ("current".to_owned(), Json::Bool(current)),
                ("address".to_owned(), Json::Text(context.address.clone())),
                ("namespace".to_owned(), Json::Text(namespace)),
                ("has_token".to_owned(), Json::Bool(kept)),
            ]));
        }
        session.terminal.rows(&["Current", "Name", "Address", "Namespace", "Token"], &rows, &Json::List(whole))
    }
}
