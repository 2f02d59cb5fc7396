//! Requests that bring their login along.
//!
//! The login goes through the rooms like any other, with its own two entries in the audit log, and then the request does,
//! with a token that is its own record: nothing is stored, nobody is handed it, and it ends soon. What hangs on a token,
//! leases above all, cannot be had this way.

use std::{sync::Arc, time::Duration};

use gate::{Error, Inline, InlineLogin, Request, TokenKind};
use secret::SecretString;
use storage::Tx;
use tokens::New;

use crate::{Reply, audit::Recorder, namespaces::Placed, running::Running, services::RequestServices};

/// How long the token of such a login is in force: longer than any request takes.
const LIFE: Duration = Duration::from_secs(300);
/// Tells clients that it is the login that failed.
const FAILED: &str = "x-vault-inline-auth-failed";

impl Running {
    /// Carries out the login that a request brings, and then the request.
    pub(crate) async fn serve_inline(self: &Arc<Self>, request: &Request, login: &InlineLogin) -> Reply {
        let logged_in = match &request.token {
            Some(_) => Err(Error::invalid(
                "cannot layer inline authentication with token authentication: send a token or the X-Vault-Inline-Auth headers",
            )),
            None => self.log_in(request, login).await,
        };
        match logged_in {
            Ok(token) => Box::pin(self.serve(Arc::new(with_token(request, token)))).await,
            Err(error) => {
                Reply { id: Arc::clone(&request.id), outcome: Err(error), headers: vec![(FAILED, "true".to_owned())] }
            }
        }
    }

    async fn log_in(self: &Arc<Self>, request: &Request, login: &InlineLogin) -> Result<Arc<SecretString>, Error> {
        let recorder = Recorder::new(self);
        let Placed { space, request, found } = self.place(Arc::new(as_request(request, login))).await;
        let services = RequestServices::for_request(self, &space, found);
        let tx = space.within(Tx::new(self.store()));
        let outcome = match self.admit(request, &services, &recorder, &tx).await {
            Ok(admitted) => self.answer(admitted, &services, &tx).await,
            Err(refused) => Err(refused),
        };
        let success = recorder.leave(outcome).await?;
        let auth = success.auth.filter(|auth| !auth.client_token.is_empty());
        let auth = auth.ok_or_else(|| Error::invalid("X-Vault-Inline-Auth-Path: nobody logs in at this path"))?;
        Ok(Arc::new(SecretString::new(auth.client_token)))
    }
}

/// What the token of a login becomes if it serves one request.
pub(crate) fn for_one_request(new: New) -> New {
    New {
        kind: TokenKind::Batch,
        ttl: new.ttl.min(LIFE),
        explicit_max_ttl: Duration::ZERO,
        period: Duration::ZERO,
        num_uses: 0,
        renewable: false,
        ..new
    }
}

/// The login as a request. Its id is that of the request that brings it, and says so.
fn as_request(request: &Request, login: &InlineLogin) -> Request {
    Request {
        id: format!("{}-login", request.id).into(),
        verb: login.verb,
        namespace: login.namespace.clone(),
        path: login.path.clone(),
        query: Vec::new(),
        body: login.body.clone(),
        upload: gate::Upload::default(),
        token: None,
        wrap_ttl: None,
        remote: request.remote,
        headers: request.headers.clone(),
        help: false,
        received: request.received,
        inline: Inline::LogsIn,
    }
}

fn with_token(request: &Request, token: Arc<SecretString>) -> Request {
    Request {
        id: Arc::clone(&request.id),
        verb: request.verb,
        namespace: request.namespace.clone(),
        path: request.path.clone(),
        query: request.query.clone(),
        body: request.body.clone(),
        upload: request.upload.clone(),
        token: Some(token),
        wrap_ttl: request.wrap_ttl,
        remote: request.remote,
        headers: request.headers.clone(),
        help: request.help,
        received: request.received,
        inline: Inline::LoggedIn,
    }
}
