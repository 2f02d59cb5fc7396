use serde_json::Map;

use crate::{commands::clean, failure::Outcome, input, session::Session};

/// Make a namespace
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Make a namespace:
        strongroom namespace create team

    With notes, inside of another:
        strongroom namespace create -namespace=team -custom-metadata=owner=ops web")]
pub(crate) struct Create {
    /// Its name
    name: String,

    /// A note, NAME=VALUE; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    custom_metadata: Vec<String>,
}

impl Create {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let name = clean(&self.name);
        let mut body = Map::new();
        if !self.custom_metadata.is_empty() {
            body.insert("custom_metadata".to_owned(), input::pairs(&self.custom_metadata)?.into());
        }
        let answer = session.write("creating namespace", &format!("sys/namespaces/{name}"), body).await?;
        session.written(answer.as_ref(), &format!("Namespace created at: {name}/"))
    }
}
