//! What a new server is told by its configuration: requests that are made once, right after it is unsealed for the first
//! time and before anybody else is answered.
//!
//! They go through the rooms like all others, with a root token that nobody is handed, that ends within the hour and is
//! revoked when they are done. How far they are is stored, so that a server that dies in between goes on where it was:
//!
//! ```text
//! sys/first-start    which requests are done, and which one had begun
//! ```
//! The entry is made by the initialisation of a server that has such requests. A server without it has none to make, whatever
//! its configuration says later.

use std::{sync::Arc, time::Duration};

use api::{ReqPath, Verb};
use bytes::Bytes;
use gate::{Error, Inline, Namespace, Request, TokenId};
use secret::{SecretString, Zeroizing};
use serde::{Deserialize, Serialize};
use storage::{Key, Tx};
use tokens::New;

use crate::running::Running;

/// A request that a new server makes.
#[derive(Clone)]
pub struct FirstRequest {
    /// Its name, unlike that of any other.
    pub name: String,
    /// What it asks for.
    pub verb: Verb,
    /// Where, below `/v1/`.
    pub path: String,
    /// The body, put together when it is needed: what it refers to is read then.
    pub body: Body,
    /// Whether the others are made even if this one is refused.
    pub allow_failure: bool,
}

/// Makes a body, or says why it cannot.
pub type Body = Arc<dyn Fn() -> Result<Zeroizing<Vec<u8>>, String> + Send + Sync>;

impl std::fmt::Debug for FirstRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FirstRequest").field("name", &self.name).field("path", &self.path).finish_non_exhaustive()
    }
}

/// How far the requests are.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Progress {
    done: Vec<String>,
    begun: Option<String>,
    finished: bool,
}

fn key() -> Key {
    Key::new("sys/first-start")
}

/// How long the token of the requests is in force at the most.
const LIFE: Duration = Duration::from_secs(3600);

/// Notes, as part of the initialisation, that there are requests to make.
pub(crate) fn note(tx: &Tx, requests: &[FirstRequest]) -> Result<(), Error> {
    if !requests.is_empty() {
        tx.put_json(key(), &Progress::default())?;
    }
    Ok(())
}

impl Running {
    /// Makes the requests of a new server that are not made yet. One that fails ends it; it is tried again, and the others
    /// made, after the next unseal. A server that cannot be set up must still be reachable, so nothing here is an error.
    pub(crate) async fn first_start(self: &Arc<Self>) {
        let requests = &self.settings.first_requests;
        let outcome = match self.progress().await {
            Ok(Some(progress)) if !progress.finished => self.make_requests(requests, progress).await,
            Ok(_) => return,
            Err(error) => Err(error.to_string()),
        };
        match outcome {
            Ok(()) => tracing::info!("the requests of the first start are made"),
            Err(why) => tracing::error!("the first start is not finished, and goes on after the next unseal: {why}"),
        }
    }

    async fn progress(&self) -> Result<Option<Progress>, Error> {
        Ok(Tx::new(self.store()).get_json(&key()).await?)
    }

    async fn keep(&self, progress: &Progress) -> Result<(), String> {
        let tx = Tx::new(self.store());
        let put = tx.put_json(key(), progress).map_err(Error::from);
        put.map_err(|error| error.to_string())?;
        tx.commit().await.map(drop).map_err(|error| error.to_string())
    }

    async fn make_requests(self: &Arc<Self>, requests: &[FirstRequest], progress: Progress) -> Result<(), String> {
        if requests.is_empty() {
            return Err("the configuration has no initialize block any more".to_owned());
        }
        let (id, token) = self.first_token().await.map_err(|error| error.to_string())?;
        let made = self.make_each(requests, progress, &Arc::new(token)).await;
        // It ends by itself if this fails; nobody has it.
        if let Err(error) = self.tokens.revoke_now(&id).await {
            tracing::warn!(%error, "the token of the first start ends within the hour");
        }
        made
    }

    async fn make_each(
        self: &Arc<Self>,
        requests: &[FirstRequest],
        mut progress: Progress,
        token: &Arc<SecretString>,
    ) -> Result<(), String> {
        for request in requests {
            if progress.done.contains(&request.name) {
                continue;
            }
            let again = progress.begun.as_ref() == Some(&request.name);
            progress.begun = Some(request.name.clone());
            self.keep(&progress).await?;
            match self.make(request, token).await {
                Ok(()) => tracing::info!(request = request.name, "a request of the first start is made"),
                // An earlier run died before it could write down that this was done.
                Err(Error::Invalid(why)) if again => {
                    tracing::warn!(request = request.name, why, "the request had begun before, and is taken for done");
                }
                Err(error) if request.allow_failure => {
                    tracing::warn!(request = request.name, %error, "a request of the first start failed, as it may");
                }
                Err(error) => {
                    progress.begun = None;
                    self.keep(&progress).await?;
                    return Err(format!("{}: {error}", request.name));
                }
            }
            progress.done.push(request.name.clone());
            progress.begun = None;
            self.keep(&progress).await?;
        }
        progress.finished = true;
        self.keep(&progress).await
    }

    async fn make(self: &Arc<Self>, first: &FirstRequest, token: &Arc<SecretString>) -> Result<(), Error> {
        let path = ReqPath::new(&first.path).map_err(|why| Error::invalid(format!("path: {why}")))?;
        let body = (first.body)().map_err(Error::Precondition)?;
        let request = Request {
            id: crypto::random::uuid().into(),
            verb: first.verb,
            namespace: Namespace::root(),
            path,
            query: Vec::new(),
            body: if body.len() > 2 { Bytes::from_owner(body) } else { Bytes::new() },
            upload: gate::Upload::default(),
            token: Some(Arc::clone(token)),
            wrap_ttl: None,
            remote: None,
            headers: Vec::new(),
            help: false,
            received: self.clock.now(),
            inline: Inline::None,
        };
        let (_, outcome) = self.serve(Arc::new(request)).await.into_parts();
        match outcome?.status {
            Some(status) if status >= 400 => Err(Error::invalid(format!("it was answered with status {status}"))),
            _ => Ok(()),
        }
    }

    async fn first_token(&self) -> Result<(TokenId, SecretString), Error> {
        let tx = Tx::new(self.store());
        let new = New {
            policies: vec![policy::ROOT_NAME.to_owned()],
            path: "auth/token/root".to_owned(),
            display_name: "first-start".to_owned(),
            renewable: false,
            ttl: LIFE,
            explicit_max_ttl: LIFE,
            ..New::default()
        };
        let issued = self.tokens.issue(&tx, new).await?;
        tx.commit().await?;
        Ok((issued.id, issued.token))
    }
}
