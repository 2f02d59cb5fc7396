//! Secrets in another place, with their history. Their values stay on the server.

use serde_json::{Map, Value, json};

use super::{Place, target::Target};
use crate::{
    commands::clean,
    failure::{DONE, Failure, Outcome},
    output::answer::Answer,
    session::Session,
};

/// Copy a secret or a tree with all its versions
///
/// Nobody sees a value. Needs the right to update `copy/` of where it is, and to write where it goes to.
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Copy a secret:
        strongroom kv copy -mount=secret app/db app/db-before

    Copy all secrets of an application into another mount:
        strongroom kv copy -mount=secret -tree -to-mount=archive app app-2026")]
pub(crate) struct Copy {
    #[command(flatten)]
    order: Order,
}

/// Move a secret or a tree with all its versions
///
/// Nobody sees a value. Needs the right to update `move/` of where it is and to delete its metadata, and to write where
/// it goes to.
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Move a secret:
        strongroom kv move -mount=secret app/db shop/db

    Move a tree, and go on after the secret at which it stopped:
        strongroom kv move -mount=secret -tree -after=db/main app shop")]
pub(crate) struct Move {
    #[command(flatten)]
    order: Order,
}

// No doc comment: it would replace the description of the command that this is part of.
#[derive(clap::Args)]
struct Order {
    #[command(flatten)]
    place: Place,

    /// The new path
    to: String,

    /// The mount of the new path; otherwise the same
    #[arg(long, value_name = "PATH")]
    to_mount: Option<String>,

    /// Take everything below the path
    #[arg(long)]
    tree: bool,

    /// Replace what is at the new path, with all its versions
    #[arg(long)]
    overwrite: bool,

    /// Go on with a tree behind this secret
    #[arg(long, value_name = "NAME", requires = "tree")]
    after: Option<String>,
}

impl Copy {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        self.order.run(session, "copy", "copied").await
    }
}

impl Move {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        self.order.run(session, "move", "moved").await
    }
}

impl Order {
    async fn run(self, session: &Session, act: &str, done: &str) -> Outcome {
        let target = Target::find(session, &self.place).await?;
        target.must_be_versioned("Copies and moves are")?;
        let path = target.at(act);
        if self.tree {
            return self.pages(session, &path, done).await;
        }
        let answer = session.write(&format!("asking {path}"), &path, self.body(None)).await?;
        let Some(answer) = answer else { return Err(nothing(&path)) };
        if !session.terminal.is_table() {
            return session.terminal.answer(&answer);
        }
        session.terminal.warnings(&answer);
        let (from, to) = (text(&answer, "from"), text(&answer, "to"));
        let versions = answer.at("versions").map_or(0, |versions| versions.integer().unwrap_or_default());
        session.success(&format!("{from} was {done} to {to} with {versions} versions"))
    }

    /// A tree goes page by page. Where one fails, what went before stays done, and the name to go on after is told.
    async fn pages(&self, session: &Session, path: &str, done: &str) -> Outcome {
        let mut after = self.after.clone();
        let (mut count, mut not_allowed, mut failed) = (0, 0, Vec::new());
        loop {
            let sent = session.write(&format!("asking {path}"), path, self.body(after.as_deref())).await;
            let answer = match sent {
                Ok(Some(answer)) => answer,
                Ok(None) => return Err(nothing(path)),
                Err(failure) => {
                    if let Some(after) = after {
                        session.terminal.print(&format!("{count} secrets were {done}; go on with -after={after}"))?;
                    }
                    return Err(failure);
                }
            };
            session.terminal.warnings(&answer);
            count += answer.at("done").map_or(0, |done| done.items().len());
            not_allowed += answer.at("not_allowed").and_then(|count| count.integer()).unwrap_or_default();
            for item in answer.at("failed").map(|failed| failed.items()).unwrap_or_default() {
                failed.push(format!("  {}: {}", item.text_at("path"), item.text_at("error")));
            }
            after = Some(text(&answer, "after")).filter(|after| !after.is_empty());
            if after.is_none() {
                break;
            }
        }
        session.success(&format!("{count} secrets were {done}"))?;
        if not_allowed > 0 {
            failed.push(format!("  {not_allowed} for lack of the right"));
        }
        if failed.is_empty() {
            return Ok(DONE);
        }
        Err(Failure::Nothing(format!("Not {done}:\n{}", failed.join("\n"))))
    }

    fn body(&self, after: Option<&str>) -> Map<String, Value> {
        let mut body = Map::from_iter([("to".to_owned(), json!(clean(&self.to)))]);
        if let Some(mount) = &self.to_mount {
            body.insert("to_mount".to_owned(), json!(clean(mount)));
        }
        for (name, flag) in [("tree", self.tree), ("overwrite", self.overwrite)] {
            if flag {
                body.insert(name.to_owned(), true.into());
            }
        }
        if let Some(after) = after {
            body.insert("after".to_owned(), after.into());
        }
        body
    }
}

fn text(answer: &Answer, name: &str) -> String {
    answer.at(name).and_then(|value| value.text()).unwrap_or_default().to_owned()
}

fn nothing(path: &str) -> Failure {
    Failure::Nothing(format!("There is no secret for {path}"))
}
