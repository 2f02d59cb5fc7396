//! One rotation, from a new value to the new value in force.
//!
//! Without a hook nothing outside has to agree, so the change is one commit. With a hook the new value is stored as
//! pending before anybody outside learns of it, and each step that was done is stored before the next one begins. So a
//! crash or an error at any point leaves the old value in force, and the next try goes on where this one ended, with
//! the same value.

use bytes::Bytes;
use engine::{Error, Scope};
use secret::Zeroizing;

use super::{
    hook::{Hook, Message, Step},
    stored::{Last, Rotation, Stage},
};
use crate::{
    json::Node,
    v2::{
        Kv2,
        author::Author,
        config::Config,
        fingerprint,
        record::{Draft, Label, PREVIOUS, Record, damaged, value},
    },
};

/// Rotates the secret. What is done is durable when it returns. Refused if no rotation is set up.
pub(crate) async fn run(cx: &Scope<Kv2>, path: &str) -> Result<(), Error> {
    let Some(rotation) = Rotation::load(cx.view(), path).await? else {
        return Err(Error::invalid("no rotation is set up for this secret"));
    };
    let started_after = rotation.last;
    for _ in 0..TRIES {
        match turn(cx, path, started_after.as_ref()).await {
            Ok(Turn::Done) => return Ok(()),
            Ok(Turn::Going) => {}
            Err(Error::Conflict) => {
                cx.view().tx().clear();
                tokio::task::yield_now().await;
            }
            Err(error) => {
                cx.view().tx().clear();
                return Err(error);
            }
        }
    }
    Err(Error::Unavailable("too many requests change the same secret".to_owned()))
}

/// Records how a rotation by hand went, durably, so that a later conflict cannot bring about another one.
pub(crate) async fn note(cx: &Scope<Kv2>, path: &str, outcome: Result<(), String>) -> Result<(), Error> {
    for _ in 0..TRIES {
        let noted = async {
            cx.rotated(path, outcome.clone()).await?;
            cx.checkpoint().await
        };
        match noted.await {
            Err(Error::Conflict) => cx.view().tx().clear(),
            result => return result,
        }
    }
    Err(Error::Conflict)
}

const TRIES: usize = 64;

enum Turn {
    Done,
    Going,
}

/// What a turn works on: read anew in each, so that its commit notices every change by others.
struct Work<'a> {
    cx: &'a Scope<Kv2>,
    path: &'a str,
    rotation: Rotation,
    record: Record,
}

/// Does the next thing that is to be done, durably.
async fn turn(cx: &Scope<Kv2>, path: &str, started_after: Option<&Last>) -> Result<Turn, Error> {
    let rotation = Rotation::load(cx.view(), path).await?.ok_or_else(|| gone(path))?;
    let record = Record::load(cx.view(), path).await?.ok_or_else(|| gone(path))?;
    if rotation.last.as_ref() != started_after && rotation.stage.is_none() {
        // Somebody else rotated meanwhile; twice would cut the overlap short.
        return Ok(Turn::Done);
    }
    let mut work = Work { cx, path, rotation, record };
    let done = match (work.rotation.hook.take(), work.rotation.stage.take()) {
        (None, None) => work.replace().await?,
        // The hook was taken away while a rotation was under way: nobody is left to agree.
        (None, Some(stage)) => work.promote(&stage.id).await.map(|()| true)?,
        (Some(hook), None) => {
            let result = work.begin().await;
            work.rotation.hook = Some(hook);
            result?
        }
        (Some(hook), Some(stage)) => {
            let result = work.step(&hook, stage).await;
            work.rotation.hook = Some(hook);
            result?
        }
    };
    work.rotation.save(cx.view(), path)?;
    cx.checkpoint().await?;
    Ok(if done { Turn::Done } else { Turn::Going })
}

fn gone(_: &str) -> Error {
    Error::invalid("the secret or its rotation was removed meanwhile")
}

impl Work<'_> {
    /// Makes a new value and puts it in force.
    async fn replace(&mut self) -> Result<bool, Error> {
        let new = self.rotation.generator.make(self.cx).await?;
        let id = crypto::random::uuid();
        self.put_in_force(&id, &new).await?;
        Ok(true)
    }

    /// Makes a new value and stores it as pending.
    async fn begin(&mut self) -> Result<bool, Error> {
        let new = self.rotation.generator.make(self.cx).await?;
        let id = crypto::random::uuid();
        self.put_pending(&id, &new).await?;
        self.rotation.stage = Some(Stage { id, next: Step::Create });
        Ok(false)
    }

    /// Calls the hook for the next step and stores that it was done.
    async fn step(&mut self, hook: &Hook, stage: Stage) -> Result<bool, Error> {
        let new = self.pending_value().await?;
        let current = match stage.next {
            Step::Set => self.field_of(&self.current_value().await?)?,
            _ => None,
        };
        let version = self.record.versions.iter().find(|version| version.id == stage.id);
        let message = Message {
            step: stage.next,
            id: &stage.id,
            mount: &self.cx.mount().path,
            path: self.path,
            field: &self.rotation.field,
            version: version.map_or_else(|| self.record.current(), |version| version.n),
            value: new.as_ref().map(|new| new.as_str()),
            current_value: current.as_ref().map(|current| current.as_str()),
            overlap: self.rotation.overlap.as_secs(),
        };
        let named = hook.call(self.cx.now(), &message).await?;
        let next = match stage.next {
            Step::Create => {
                if let Some(named) = named {
                    self.record.take_pending(self.cx.view(), self.path).await?;
                    self.put_pending(&stage.id, &named).await?;
                }
                Step::Set
            }
            Step::Set => Step::Test,
            Step::Test => {
                self.promote(&stage.id).await?;
                Step::Finish
            }
            Step::Finish => return Ok(true),
        };
        self.rotation.stage = Some(Stage { id: stage.id, next });
        Ok(false)
    }

    /// Puts the pending value in force, if it is not yet.
    async fn promote(&mut self, id: &str) -> Result<(), Error> {
        let Some(new) = self.pending_value().await? else { return Ok(()) };
        self.record.take_pending(self.cx.view(), self.path).await?;
        self.put_in_force(id, &new).await
    }

    /// Makes a version out of the one in force and the new value of the field.
    async fn put_in_force(&mut self, id: &str, new: &str) -> Result<(), Error> {
        let config = Config::load(self.cx).await?;
        let draft = self.draft(id, new, config.life(self.record.delete_version_after)).await?;
        let (before, now) = (self.record.current(), self.cx.now());
        let keep = self.record.kept(&config);
        self.record.add(self.cx.view(), self.path, draft, keep).await?;
        let end = clock::after(now, self.rotation.overlap);
        if before > 0 && self.record.version(before).is_some() {
            let until = (!self.rotation.overlap.is_zero()).then_some(end);
            self.record.labels.insert(PREVIOUS.to_owned(), Label { version: before, until });
        }
        if let Some(version) = self.record.version_mut(before).filter(|_| self.rotation.delete_previous) {
            version.deletion = Some(version.deletion.map_or(end, |deletion| deletion.min(end)));
            version.deleted_by = Some(Author::rotation());
        }
        self.record.updated_by = Some(Author::rotation());
        self.record.save(self.cx.view(), self.path)?;
        self.rotation.last = Some(Last { id: id.to_owned(), at: now });
        Ok(())
    }

    async fn put_pending(&mut self, id: &str, new: &str) -> Result<(), Error> {
        let draft = self.draft(id, new, None).await?;
        self.record.add_pending(self.cx.view(), self.path, draft);
        self.record.save(self.cx.view(), self.path)?;
        Ok(())
    }

    async fn draft(&self, id: &str, new: &str, life: Option<std::time::Duration>) -> Result<Draft, Error> {
        let base = self.current_value().await?;
        let base = Node::parse(&base).ok_or_else(|| damaged(self.path))?;
        let value = base.with(&self.rotation.field, new);
        Ok(Draft {
            id: id.to_owned(),
            fingerprint: fingerprint(self.cx, &value).await?,
            value,
            author: Author::rotation(),
            now: self.cx.now(),
            life,
        })
    }

    /// The value in force; an empty object if there never was one.
    async fn current_value(&self) -> Result<Bytes, Error> {
        let current = self.record.current();
        match self.record.version(current) {
            None if current == 0 => Ok(Bytes::from_static(b"{}")),
            Some(version) if version.is_live(self.cx.now()) => value(self.cx.view(), self.path, current).await,
            _ => Err(Error::invalid(
                "the current version of the secret is deleted: undelete it, write a new one, or end its rotation",
            )),
        }
    }

    /// The new value of the field, as JSON, while it is not in force.
    async fn pending_value(&self) -> Result<Option<Zeroizing<String>>, Error> {
        let Some(pending) = self.record.pending() else { return Ok(None) };
        let value = value(self.cx.view(), self.path, pending).await?;
        self.field_of(&value)
    }

    fn field_of(&self, value: &[u8]) -> Result<Option<Zeroizing<String>>, Error> {
        let value = Node::parse(value).ok_or_else(|| damaged(self.path))?;
        Ok(value.member(&self.rotation.field).map(|field| Zeroizing::new(field.text().to_owned())))
    }
}
