//! Which mount keeps a secret, and of which version it is.

use api::Verb;
use client::Error;

use super::Place;
use crate::{
    commands::{clean, folder},
    failure::Failure,
    output::answer::Answer,
    session::Session,
};

/// Where a secret is.
pub(super) struct Target {
    /// The mount's path with a slash at its end; empty if the server did not say.
    mount: String,
    /// The secret's path below the mount.
    path: String,
    /// Whether the mount keeps versions.
    pub(super) versioned: bool,
}

impl Target {
    /// Asks the server which mount keeps the secret. A caller who may not ask is most likely refused the secret too,
    /// so the usual layout is assumed then and the secret's own answer decides.
    pub(super) async fn find(session: &Session, place: &Place) -> Result<Self, Failure> {
        let path = clean(&place.path);
        let asked = place.mount.as_deref().map_or(path, clean);
        let found = session.look_up(&format!("sys/internal/ui/mounts/{asked}")).await?;
        let (mount, versioned) = match found {
            Ok(response) => {
                let answer = Answer::read(&response).map_err(Failure::Local)?.unwrap_or_default();
                let mount = answer.at("path").and_then(|path| path.text()).unwrap_or_default().to_owned();
                let options = answer.at("options");
                (mount, options.is_some_and(|options| options.text_at("version") == "2"))
            }
            Err(Error::Api { status: 404, .. }) => (place.mount.as_deref().map(folder).unwrap_or_default(), false),
            Err(Error::Api { status: 403, .. }) => (folder(place.mount.as_deref().unwrap_or(first(path))), true),
            Err(error) => {
                return Err(Failure::Api { doing: format!("looking up the mount of {asked}"), error: Box::new(error) });
            }
        };
        let path = match &place.mount {
            Some(_) => path,
            None => format!("{path}/").strip_prefix(&mount).map_or(path, |rest| {
                let start = path.len() + 1 - rest.len();
                path.get(start..).unwrap_or_default()
            }),
        };
        Ok(Self { mount, path: path.to_owned(), versioned })
    }

    /// The API's path of the secret: below `part` of a versioned mount, or the secret's own.
    pub(super) fn at(&self, part: &str) -> String {
        let Self { mount, path, versioned } = self;
        let full = if *versioned { format!("{mount}{part}/{path}") } else { format!("{mount}{path}") };
        clean(&full).to_owned()
    }

    /// Refuses what only versioned mounts can do.
    pub(super) fn must_be_versioned(&self, what: &str) -> Result<(), Failure> {
        if self.versioned { Ok(()) } else { Err(Failure::local(format!("{what} not supported on KV Version 1"))) }
    }

    /// Reads the secret at `version`, or the current one.
    pub(super) async fn read(&self, session: &Session, version: Option<u64>) -> Result<Option<Answer>, Failure> {
        self.read_with(session, version, &[]).await
    }

    /// As [`Target::read`], to write it again: without values that come from other secrets.
    pub(super) async fn read_own(&self, session: &Session, version: Option<u64>) -> Result<Option<Answer>, Failure> {
        self.read_with(session, version, &[("references", "false")]).await
    }

    async fn read_with(
        &self,
        session: &Session,
        version: Option<u64>,
        more: &[(&str, &str)],
    ) -> Result<Option<Answer>, Failure> {
        let path = self.at("data");
        let version = version.filter(|_| self.versioned).map(|version| version.to_string());
        let mut query: Vec<(&str, &str)> = version.iter().map(|version| ("version", version.as_str())).collect();
        query.extend(more);
        session.ask(&format!("reading {path}"), Verb::Read, &path, &query, None).await
    }
}

fn first(path: &str) -> &str {
    path.split('/').next().unwrap_or(path)
}
