//! Who is told of the changes of secrets without holding a stream open.

use serde_json::Map;

use super::{Place, target::Target};
use crate::{
    failure::{Failure, Outcome},
    input,
    session::Session,
};

/// Have others told of the changes of secrets
#[derive(clap::Subcommand)]
#[command(after_help = "EXAMPLES:
    Tell a build server of the changes below app/:
        strongroom kv webhook put -mount=secret -url=https://ci.example/hook -secret=@hook.key -prefix=app/ ci

    See whether it took the last call:
        strongroom kv webhook get -mount=secret ci")]
pub(crate) enum Webhook {
    List(List),
    Get(Get),
    Put(Put),
    Delete(Delete),
}

impl Webhook {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        match self {
            Self::List(command) => command.run(session).await,
            Self::Get(command) => command.run(session).await,
            Self::Put(command) => command.run(session).await,
            Self::Delete(command) => command.run(session).await,
        }
    }
}

// No doc comment: it would replace the description of the command that this is part of.
#[derive(clap::Args)]
struct Named {
    /// Where the engine is mounted
    #[arg(long, value_name = "PATH", required = true)]
    mount: String,

    /// The webhook's name
    name: String,
}

/// List the webhooks of a mount
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    List who is told of changes:
        strongroom kv webhook list -mount=secret")]
pub(crate) struct List {
    /// Where the engine is mounted
    #[arg(long, value_name = "PATH", required = true)]
    mount: String,
}

impl List {
    async fn run(self, session: &Session) -> Outcome {
        let path = route(session, self.mount, String::new()).await?;
        let answer = session.list(&format!("listing {path}"), &path).await?;
        crate::commands::list::show(session, &path, answer.as_ref())
    }
}

/// Show a webhook and how it stands; its secret is never shown
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    See whether a webhook took the last call:
        strongroom kv webhook get -mount=secret ci

    Why it did not:
        strongroom kv webhook get -mount=secret -field=last_error ci")]
pub(crate) struct Get {
    #[command(flatten)]
    named: Named,
}

impl Get {
    async fn run(self, session: &Session) -> Outcome {
        let path = route(session, self.named.mount, self.named.name).await?;
        match session.read(&format!("reading {path}"), &path, &[]).await? {
            Some(answer) => session.terminal.answer(&answer),
            None => Err(Failure::Nothing(format!("No webhook at {path}"))),
        }
    }
}

/// Make a webhook, or change what is given of it
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Tell a build server of the changes below app/:
        strongroom kv webhook put -mount=secret -url=https://ci.example/hook -secret=@hook.key -prefix=app/ ci

    Give it another key, from standard input:
        strongroom kv webhook put -mount=secret -secret=- ci")]
pub(crate) struct Put {
    #[command(flatten)]
    named: Named,

    /// Where the changes are sent
    #[arg(long, value_name = "URL")]
    url: Option<String>,

    /// What the calls are signed with: @FILE, or - for standard input
    #[arg(long, value_name = "@FILE|-")]
    secret: Option<String>,

    /// Which changes: those below this folder, or whose names begin so
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,

    /// Who vouches for the receiver's certificate, in PEM: @FILE, or - for standard input
    #[arg(long, value_name = "@FILE|-")]
    ca_cert: Option<String>,

    /// How long a call may take
    #[arg(long, value_name = "TIME", value_parser = input::duration)]
    timeout: Option<String>,
}

impl Put {
    async fn run(self, session: &Session) -> Outcome {
        if self.secret.as_deref().is_some_and(|secret| secret != "-" && !secret.starts_with('@')) {
            return Err(Failure::local("-secret: use @FILE or -; what stands on the command line is seen by others"));
        }
        if self.secret.as_deref() == Some("-") && self.ca_cert.as_deref() == Some("-") {
            return Err(Failure::local("standard input can be used for one value only: '-' is given twice"));
        }
        let read = |given: Option<String>| given.map(|given| input::value(&given)).transpose();
        let secret = read(self.secret)?.map(|secret| secret.trim_end_matches(['\n', '\r']).to_owned());
        let given = [
            ("url", self.url),
            ("secret", secret),
            ("prefix", self.prefix),
            ("ca_cert", read(self.ca_cert)?),
            ("timeout", self.timeout),
        ];
        let given = given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into())));
        let body = Map::from_iter(given);
        let path = route(session, self.named.mount, self.named.name).await?;
        let answer = session.write(&format!("writing {path}"), &path, body).await?;
        session.written(answer.as_ref(), &format!("Data written to: {path}"))
    }
}

/// Tell somebody no more
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Tell the build server no more:
        strongroom kv webhook delete -mount=secret ci")]
pub(crate) struct Delete {
    #[command(flatten)]
    named: Named,
}

impl Delete {
    async fn run(self, session: &Session) -> Outcome {
        let path = route(session, self.named.mount, self.named.name).await?;
        let answer = session.delete(&format!("deleting {path}"), &path).await?;
        session.written(answer.as_ref(), &format!("Data deleted (if it existed) at: {path}"))
    }
}

async fn route(session: &Session, mount: String, name: String) -> Result<String, Failure> {
    let target = Target::find(session, &Place { mount: Some(mount), path: name }).await?;
    target.must_be_versioned("Webhooks are")?;
    Ok(target.at("webhooks"))
}
