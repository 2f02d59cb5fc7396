//! Initialise, unseal, seal, rekey, generate a root token: the routes that answer outside the pipeline.
//!
//! They need no token, because whoever calls them proves their right with key shares, or asks only how the server is.
//! Their replies have no envelope.

mod input;
mod kept;
mod routes;

use std::{net::IpAddr, sync::Arc};

use api::Verb;
use barrier::Sealed;
use bytes::Bytes;
use gate::{Error, RequestId};
use seal::{
    GenerateRoot, NewShares, Rekey, RekeyRequest, RekeyStep, RootRequest, RootStep, Stored, Unseal, Verification,
};
use secret::{Disclosed, SecretString, Zeroizing};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use storage::{Batch, CommitError, Key, Scan, Store, Tx};

use self::input::{InitInput, NonceInput, RekeyInput, RootInput, ShareInput, UnsealInput};
pub use self::kept::Seals;
use crate::{Core, Reply, first_start, format, restoring::Marker, running::Running, status};

/// A request to a route that answers outside the pipeline.
#[derive(Debug)]
pub struct Bare {
    /// Its id.
    pub id: RequestId,
    /// What it asks for.
    pub verb: Verb,
    /// The path below `/v1/`.
    pub path: String,
    /// The query parameters.
    pub query: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
    /// Where it comes from.
    pub remote: Option<(IpAddr, u16)>,
    /// What is not told in the reply.
    pub redact: Redact,
}

/// What is not told of the server where no token is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Redact {
    /// Its version.
    pub version: bool,
    /// The name of its cluster.
    pub cluster_name: bool,
    /// The addresses of its nodes.
    pub addresses: bool,
}

impl Bare {
    /// The paths below `/v1/` that are answered here.
    pub fn owns(path: &str) -> bool {
        let Some(inside) = path.strip_prefix("sys/") else { return false };
        let below = ["rekey/", "rekey-recovery-key/", "generate-root/"];
        let backups = ["rekey/backup", "rekey/recovery-key-backup"];
        routes::BARE.iter().any(|(_, pattern, ..)| *pattern == inside)
            || !backups.contains(&inside) && below.iter().any(|prefix| inside.starts_with(prefix))
    }

    /// Whether the audit log has it while the server is unsealed: all that key holders do. How the server is may be
    /// asked every second and by anybody, and is not written down.
    fn is_recorded(&self) -> bool {
        match self.path.as_str() {
            "sys/init" | "sys/unseal" => self.verb == Verb::Write,
            path => ["sys/rekey", "sys/generate-root/"].iter().any(|prefix| path.starts_with(prefix)),
        }
    }

    fn body<T: DeserializeOwned>(&self) -> Result<T, Error> {
        parse(&self.body)
    }
}

/// The state of the seal: what is collected from key holders.
#[derive(Default)]
pub(crate) struct Sealing {
    stored: Option<Stored>,
    unseal: Unseal,
    rekey: Rekey,
    root: GenerateRoot,
    /// The snapshot that is being put back.
    pub(crate) restoring: Option<Marker>,
}

/// How long the store is waited for before what is known of the seal counts.
const LOOK: std::time::Duration = std::time::Duration::from_secs(1);

/// A JSON value with its status.
pub(crate) type Answered = Result<(u16, Value), Error>;

impl Sealing {
    pub(crate) async fn load(store: &Arc<dyn Store>) -> Result<Self, Error> {
        let entry = store.get(&Key::new(seal::STORED_AT)).await?;
        let stored = entry.map(|entry| Stored::from_json(&entry.value)).transpose().map_err(invalid)?;
        let restoring = store.get(&Key::new(snapshot::MARKER)).await?;
        let restoring = restoring.map(|entry| serde_json::from_slice(&entry.value)).transpose();
        let restoring = restoring.map_err(|_| Error::internal("the note of a restore cannot be read"))?;
        Ok(Self { stored, restoring, ..Self::default() })
    }

    pub(crate) fn is_initialized(&self) -> bool {
        self.stored.is_some()
    }

    /// The server was just initialised.
    pub(crate) fn initialized_with(&mut self, stored: Stored) {
        self.stored = Some(stored);
    }

    /// How far the unseal is, in the fields of the API.
    pub(crate) fn progress(&self) -> serde_json::Map<String, Value> {
        status::progress(self.stored.as_ref().map(|stored| self.unseal.status(stored)))
    }

    fn stored(&self, missing: &str) -> Result<Stored, Error> {
        self.stored.clone().ok_or_else(|| Error::invalid(missing))
    }
}

impl Core {
    /// Answers a route for which [`Bare::owns`] is true.
    pub async fn bare(self: &Arc<Self>, request: Bare) -> Reply {
        let id = Arc::clone(&request.id);
        let outcome = match request.is_recorded() {
            true => self.answer_recorded(&request).await,
            false => self.answer_bare(&request).await.and_then(to_bytes),
        };
        match outcome {
            Ok((status, json)) => Reply::bare(id, status, json),
            Err(error) => Reply::refused(id, error),
        }
    }

    /// Answers with an entry of the audit log before and one after. A sealed server has no devices; that it was unsealed
    /// is written down as soon as there are any.
    async fn answer_recorded(self: &Arc<Self>, request: &Bare) -> Result<(u16, Bytes), Error> {
        let before = self.running.load_full();
        let _guest = before.as_ref().map(|running| running.guests.enter());
        if let Some(running) = &before {
            running.record_bare(request, None).await?;
        }
        let outcome = self.answer_bare(request).await.and_then(to_bytes);
        let seen = outcome.as_ref().map(|(_, json)| json);
        match (&before, self.running.load_full()) {
            (Some(running), _) => running.record_bare(request, Some(seen)).await?,
            (None, Some(running)) => {
                // A log that cannot be written must not keep the server sealed: it could never be mended.
                for part in [None, Some(seen)] {
                    if running.record_bare(request, part).await.is_err() {
                        tracing::error!("that the server was unsealed could not be recorded");
                    }
                }
            }
            (None, None) => {}
        }
        outcome
    }

    async fn answer_bare(self: &Arc<Self>, request: &Bare) -> Answered {
        let (verb, body) = (request.verb, &request.body);
        if self.settings.sharing.is_some() {
            self.look_again().await;
        }
        match (request.path.as_str(), verb) {
            ("sys/health", Verb::Read) => self.health(request),
            ("sys/seal-status", Verb::Read) => self.seal_status(request.redact).await,
            ("sys/leader", Verb::Read) => Ok((200, self.leader(request.redact))),
            ("sys/init", Verb::Read) => Ok((200, json!({ "initialized": self.is_initialized() }))),
            ("sys/init", Verb::Write) => self.initialize(request).await,
            ("sys/unseal", Verb::Write) => self.unseal(request).await,
            ("sys/rekey/init", verb) => self.rekey(verb, body).await,
            ("sys/rekey/update", Verb::Write) => self.rekey_update(body).await,
            ("sys/rekey/verify", verb) => self.rekey_verify(verb, body).await,
            ("sys/generate-root/attempt", verb) => self.generate_root(verb, body).await,
            ("sys/generate-root/update", Verb::Write) => self.generate_root_update(body).await,
            ("sys/rekey-recovery-key/init", verb) => self.rekey_recovery(verb, body).await,
            ("sys/rekey-recovery-key/update", Verb::Write) => self.rekey_recovery_update(body).await,
            ("sys/rekey-recovery-key/verify", verb) => self.rekey_recovery_verify(verb, body).await,
            (path, _) if !Bare::paths().any(|known| known == path) => {
                Err(Error::NoRoute(format!("no handler for route \"{path}\". unsupported path")))
            }
            _ => Err(Error::Unsupported),
        }
    }

    /// Takes over what another node did to the seal: initialised the cluster, or made new key shares. If the store does not
    /// answer, what is known counts.
    async fn look_again(&self) {
        let key = Key::new(seal::STORED_AT);
        let read = tokio::time::timeout(LOOK, self.store.get(&key)).await;
        let Ok(Ok(Some(entry))) = read else { return };
        let Ok(stored) = Stored::from_json(&entry.value) else { return };
        // Who asks how the server is does not wait for an unseal that is under way.
        let Ok(mut sealing) = self.sealing.try_lock() else { return };
        if sealing.stored.as_ref() != Some(&stored) {
            *sealing = Sealing { stored: Some(stored), ..Sealing::default() };
            self.initialized.store(true, std::sync::atomic::Ordering::Release);
        }
    }

    /// A server whose seal is made of key shares has no recovery key, and one with another seal no other shares.
    pub(crate) async fn must_have_recovery(&self, wanted: bool) -> Result<(), Error> {
        let sealing = self.sealing.lock().await;
        let stored = sealing.stored("server is not yet initialized")?;
        match (wanted, stored.is_kept()) {
            (true, true) | (false, false) => Ok(()),
            (true, false) if self.is_sealed() => Err(Error::Sealed),
            (true, false) => {
                Err(Error::invalid("recovery rekeying not supported: this seal has key shares, not a recovery key"))
            }
            (false, true) => Err(Error::invalid(
                "this seal opens by itself and has recovery shares: replace them with sys/rekey-recovery-key/init (operator rekey -target=recovery)",
            )),
        }
    }

    /// As [`Core::rekey`], of recovery shares.
    pub(crate) async fn rekey_recovery(&self, verb: Verb, body: &[u8]) -> Answered {
        self.must_have_recovery(true).await?;
        self.rekey_any(verb, body).await
    }

    /// As [`Core::rekey_update`], of recovery shares.
    pub(crate) async fn rekey_recovery_update(&self, body: &[u8]) -> Answered {
        self.must_have_recovery(true).await?;
        self.rekey_update(body).await
    }

    /// As [`Core::rekey_verify`], of recovery shares.
    pub(crate) async fn rekey_recovery_verify(&self, verb: Verb, body: &[u8]) -> Answered {
        self.must_have_recovery(true).await?;
        self.rekey_verify(verb, body).await
    }

    async fn initialize(self: &Arc<Self>, request: &Bare) -> Answered {
        let input: InitInput = request.body()?;
        let kept = self.settings.seals.active.first().map(|keeper| keeper.kind());
        let break_glass = input.break_glass.is_some_and(|flag| flag.0);
        let new = input.shares(kept)?;
        let root_recipient = input.root_token_pgp_key.as_deref().filter(|key| !key.is_empty());
        let now = self.clock.now();
        let root_recipient = root_recipient.map(|key| seal::Recipient::parse(key, now)).transpose();
        let root_recipient = root_recipient.map_err(|why| Error::invalid(format!("root_token_pgp_key: {why}")))?;
        let mut sealing = self.sealing.lock().await;
        if sealing.restoring.is_some() {
            return Err(Error::Unavailable("a snapshot is being restored".to_owned()));
        }
        sealing.refresh(&self.store).await?;
        if sealing.is_initialized() {
            return Err(Error::invalid("Vault is already initialized"));
        }
        let issue = match kept {
            None => seal::init(&new, now).map_err(invalid)?,
            Some(_) => self.issue_kept(&new, break_glass).await?,
        };
        // Made in memory and stored in one commit: if there is no room for the whole of it, the server must not be left
        // with a root key whose shares nobody was given.
        let staged: Arc<dyn Store> = store_memory::Memory::new();
        let barrier = Sealed::new(Arc::clone(&staged), self.clock.clone());
        let record = (Key::new(seal::STORED_AT), Bytes::from(issue.stored.to_json()));
        let format = format::record(self.settings.version);
        barrier.initialize_with(&issue.root_key, vec![record, format]).await.map_err(barrier_error)?;
        let token = first_root_token(&barrier, &issue.root_key, self).await?;
        let token = match root_recipient {
            Some(recipient) => base64_text(&recipient.encrypt(&token).map_err(invalid)?),
            // EXPOSE: handed to the one who initialises the server.
            None => token.expose().clone(),
        };
        store_whole(&staged, &self.store).await?;
        sealing.stored = Some(issue.stored);
        self.initialized.store(true, std::sync::atomic::Ordering::Release);
        let shares = |text: &dyn Fn(&seal::Issued) -> SecretString| -> Vec<Disclosed<String>> {
            issue.shares.iter().map(|share| text(share).disclose()).collect()
        };
        let (hex, base64) = (shares(&seal::Issued::hex), shares(&seal::Issued::base64));
        let mut body = match kept {
            None => json!({ "keys": hex, "keys_base64": base64, "root_token": token }),
            Some(_) => json!({
                "keys": [],
                "keys_base64": [],
                "recovery_keys": hex,
                "recovery_keys_base64": base64,
                "root_token": token,
            }),
        };
        if !new.pgp_keys.is_empty()
            && let Some(object) = body.as_object_mut()
        {
            let prints: Vec<_> = issue.shares.iter().filter_map(seal::Issued::fingerprint).collect();
            object.insert("pgp_fingerprints".to_owned(), json!(prints));
        }
        if kept.is_some() {
            // Whoever has the shares now must get them, whatever comes of this.
            if let Err(error) = self.open_with(&issue.root_key).await {
                tracing::error!(%error, "the new server could not be opened; start it again");
            }
        }
        Ok((200, body))
    }

    async fn unseal(self: &Arc<Self>, request: &Bare) -> Answered {
        let input: UnsealInput = request.body()?;
        let mut sealing = self.sealing.lock().await;
        if sealing.restoring.is_some() {
            return Err(Error::Unavailable("a snapshot is being restored".to_owned()));
        }
        sealing.refresh(&self.store).await?;
        let stored = sealing.stored("Vault is not initialized")?;
        let moves = input.migrate.is_some_and(|flag| flag.0);
        if moves && !self.moves(Some(&stored)) {
            return Err(Error::invalid("migrate: there is no other seal to migrate from or to"));
        }
        if input.reset.is_some_and(|flag| flag.0) {
            sealing.unseal.reset();
            return Ok((200, self.status_of(&sealing, request.redact)));
        }
        let key = input
            .key
            .ok_or_else(|| Error::invalid("'key' must be specified in request body as JSON, or 'reset' set to true"))?;
        if !self.is_sealed() {
            return Ok((200, self.status_of(&sealing, request.redact)));
        }
        let submitted = match moves {
            false => sealing.unseal.submit(&stored, &key).map(|root_key| root_key.map(Opener::Key)),
            true => sealing.unseal.submit_to_move(&stored, &key).map(|moving| moving.map(Opener::Moving)),
        };
        let submitted = match submitted {
            // Clients that give all shares again take this for no fault: nothing changes. It is told all the same.
            Err(again @ seal::Error::ShareRepeated) => {
                let mut status = self.status_of(&sealing, request.redact);
                if let Some(status) = status.as_object_mut() {
                    status.insert("warnings".to_owned(), json!([again.to_string()]));
                }
                return Ok((200, status));
            }
            submitted => submitted.map_err(invalid)?,
        };
        if let Some(opener) = submitted {
            let root_key = match opener {
                Opener::Key(root_key) => root_key,
                Opener::Moving(moving) => self.move_seal(&mut sealing, &stored, moving).await?,
            };
            self.open_with(&root_key).await?;
            tracing::info!("unsealed");
        }
        Ok((200, self.status_of(&sealing, request.redact)))
    }

    pub(crate) async fn rekey(&self, verb: Verb, body: &[u8]) -> Answered {
        if verb == Verb::Write {
            self.must_have_recovery(false).await?;
        }
        self.rekey_any(verb, body).await
    }

    async fn rekey_any(&self, verb: Verb, body: &[u8]) -> Answered {
        let mut sealing = self.sealing.lock().await;
        let stored = sealing.stored("server is not yet initialized")?;
        match verb {
            Verb::Read => to_json(&sealing.rekey.status(&stored)),
            Verb::Write => {
                self.must_be_unsealed()?;
                let input: RekeyInput = parse(body)?;
                let shares = NewShares {
                    secret_shares: input.secret_shares.map_or(0, |count| count.0),
                    secret_threshold: input.secret_threshold.map_or(0, |count| count.0),
                    pgp_keys: input.pgp_keys.unwrap_or_default(),
                };
                let wanted = RekeyRequest {
                    shares,
                    backup: input.backup.is_some_and(|flag| flag.0),
                    require_verification: input.require_verification.is_some_and(|flag| flag.0),
                };
                to_json(&sealing.rekey.start(&stored, &wanted, self.clock.now()).map_err(invalid)?)
            }
            Verb::Delete => {
                let input: NonceInput = parse(body)?;
                match input.nonce.as_str() {
                    "" => sealing.rekey.abandon(),
                    nonce => sealing.rekey.cancel(nonce).map_err(invalid)?,
                }
                Ok((204, Value::Null))
            }
            _ => Err(Error::Unsupported),
        }
    }

    pub(crate) async fn rekey_update(&self, body: &[u8]) -> Answered {
        let input: ShareInput = parse(body)?;
        let running = self.must_be_unsealed()?;
        let mut sealing = self.sealing.lock().await;
        let stored = sealing.stored("server is not yet initialized")?;
        match sealing.rekey.submit(&stored, &input.nonce, &input.key()?).map_err(invalid)? {
            RekeyStep::More(status) => to_json(&status),
            RekeyStep::Verify { shares, status } => {
                let mut body = issued(&shares, &status.nonce);
                if let Some(object) = body.as_object_mut() {
                    object.insert("verification_required".to_owned(), json!(true));
                    object.insert("verification_nonce".to_owned(), json!(status.verification_nonce));
                }
                Ok((200, body))
            }
            RekeyStep::Recovered { stored, shares, nonce, backup } => {
                self.store_record(&mut sealing, &stored).await?;
                if backup {
                    keep_backup(&running, &shares, &nonce).await?;
                }
                let mut body = issued(&shares, &nonce);
                if let Some(object) = body.as_object_mut() {
                    object.insert("backup".to_owned(), json!(backup));
                    object.insert("verification_required".to_owned(), json!(false));
                }
                Ok((200, body))
            }
            RekeyStep::Complete { issue, nonce, backup } => {
                let record = (Key::new(seal::STORED_AT), Bytes::from(issue.stored.to_json()));
                running.barrier.change_root_key(&issue.root_key, vec![record]).await.map_err(barrier_error)?;
                if backup {
                    keep_backup(&running, &issue.shares, &nonce).await?;
                }
                sealing.stored = Some(issue.stored);
                let mut body = issued(&issue.shares, &nonce);
                if let Some(object) = body.as_object_mut() {
                    object.insert("backup".to_owned(), json!(backup));
                    object.insert("verification_required".to_owned(), json!(false));
                }
                Ok((200, body))
            }
            _ => Err(Error::internal("the rekey took a step that is not known")),
        }
    }

    pub(crate) async fn rekey_verify(&self, verb: Verb, body: &[u8]) -> Answered {
        let running = self.must_be_unsealed()?;
        let mut sealing = self.sealing.lock().await;
        match verb {
            Verb::Read => to_json(&sealing.rekey.verification().map_err(invalid)?),
            Verb::Delete => to_json(&sealing.rekey.restart_verification().map_err(invalid)?),
            Verb::Write => {
                let input: ShareInput = parse(body)?;
                match sealing.rekey.verify(&input.nonce, &input.key()?).map_err(invalid)? {
                    Verification::More(status) => to_json(&status),
                    Verification::Recovered { stored, nonce } => {
                        self.store_record(&mut sealing, &stored).await?;
                        Ok((200, json!({ "nonce": nonce, "complete": true })))
                    }
                    Verification::Complete { stored, root_key, nonce } => {
                        let record = (Key::new(seal::STORED_AT), Bytes::from(stored.to_json()));
                        running.barrier.change_root_key(&root_key, vec![record]).await.map_err(barrier_error)?;
                        sealing.stored = Some(stored);
                        Ok((200, json!({ "nonce": nonce, "complete": true })))
                    }
                    _ => Err(Error::internal("the verification took a step that is not known")),
                }
            }
            _ => Err(Error::Unsupported),
        }
    }

    pub(crate) async fn generate_root(&self, verb: Verb, body: &[u8]) -> Answered {
        let mut sealing = self.sealing.lock().await;
        let stored = sealing.stored("server is not yet initialized")?;
        match verb {
            Verb::Read => to_json(&sealing.root.status(&stored)),
            Verb::Write => {
                self.must_be_unsealed()?;
                let input: RootInput = parse(body)?;
                let wanted = RootRequest {
                    otp: input.otp.filter(|otp| !otp.is_empty()),
                    pgp_key: input.pgp_key.filter(|key| !key.is_empty()),
                };
                let (status, otp) = sealing.root.start(&stored, wanted, self.clock.now()).map_err(invalid)?;
                let (status, mut body) = to_json(&status)?;
                if let Some(object) = body.as_object_mut() {
                    let otp = otp.map(SecretString::disclose);
                    object.insert("otp".to_owned(), otp.map_or(json!(""), |otp| json!(otp)));
                }
                Ok((status, body))
            }
            Verb::Delete => {
                let input: NonceInput = parse(body)?;
                match input.nonce.as_str() {
                    "" => sealing.root.abandon(),
                    nonce => sealing.root.cancel(nonce).map_err(invalid)?,
                }
                Ok((204, Value::Null))
            }
            _ => Err(Error::Unsupported),
        }
    }

    pub(crate) async fn generate_root_update(&self, body: &[u8]) -> Answered {
        let input: ShareInput = parse(body)?;
        let running = self.must_be_unsealed()?;
        let mut sealing = self.sealing.lock().await;
        let stored = sealing.stored("server is not yet initialized")?;
        match sealing.root.submit(&stored, &input.nonce, &input.key()?).map_err(invalid)? {
            RootStep::More(status) => to_json(&status),
            RootStep::Granted(grant) => {
                let tx = Tx::new(running.store());
                let issued = running.tokens.issue_root(&tx).await?;
                let encoded = grant.encode(&issued.token).map_err(invalid)?;
                tx.commit().await?;
                let mut status = grant.status;
                status.encoded_token = encoded.text.clone();
                status.encoded_root_token = encoded.text;
                status.pgp_fingerprint = encoded.pgp_fingerprint;
                to_json(&status)
            }
            _ => Err(Error::internal("the root generation took a step that is not known")),
        }
    }

    fn must_be_unsealed(&self) -> Result<Arc<Running>, Error> {
        self.running.load_full().ok_or(Error::Sealed)
    }

    pub(crate) fn barrier(&self) -> Sealed {
        let cache = usize::try_from(self.settings.cache_bytes).unwrap_or(barrier::DEFAULT_CACHE);
        Sealed::new(Arc::clone(&self.store), self.clock.clone()).with_cache(cache)
    }
}

/// Puts all that `staged` holds into a store that has none of it, in one commit.
async fn store_whole(staged: &Arc<dyn Store>, store: &Arc<dyn Store>) -> Result<(), Error> {
    let scan = Scan { prefix: String::new(), after: None, limit: usize::MAX, values: true };
    let entries = staged.scan(&scan).await?.entries;
    let batch = Batch {
        expect: entries.iter().map(|(key, _)| (key.clone(), None)).collect(),
        writes: entries.into_iter().map(|(key, entry)| (key, Some(entry.value))).collect(),
    };
    match store.commit(batch).await {
        Ok(_) => Ok(()),
        Err(CommitError::Conflict(_)) => Err(Error::invalid("Vault is already initialized")),
        Err(error) => Err(error.into()),
    }
}

/// Opens the new barrier just long enough to store a root token.
async fn first_root_token(barrier: &Sealed, root_key: &seal::RootKey, core: &Core) -> Result<SecretString, Error> {
    let opened = barrier.open(root_key).await.map_err(barrier_error)?;
    let store = Arc::clone(&opened) as Arc<dyn Store>;
    let leases = leases::Leases::new(Arc::clone(&store), core.clock.clone());
    let tokens = tokens::Tokens::open(Arc::clone(&store), core.clock.clone(), leases).await?;
    let tx = Tx::new(store);
    let issued = tokens.issue_root(&tx).await?;
    first_start::note(&tx, &core.settings.first_requests)?;
    tx.commit().await?;
    opened.close();
    Ok(issued.token)
}

/// Where the encrypted shares of the last rekey are kept.
pub(crate) const BACKUP: &str = "sys/rekey/backup";

async fn keep_backup(running: &Running, shares: &[seal::Issued], nonce: &str) -> Result<(), Error> {
    let tx = Tx::new(running.store());
    tx.put_json(Key::new(BACKUP), &issued(shares, nonce))?;
    tx.commit().await?;
    Ok(())
}

fn issued(shares: &[seal::Issued], nonce: &str) -> Value {
    let hex: Vec<_> = shares.iter().map(|share| share.hex().disclose()).collect();
    let base64: Vec<_> = shares.iter().map(|share| share.base64().disclose()).collect();
    let prints: Vec<_> = shares.iter().filter_map(seal::Issued::fingerprint).collect();
    let prints = if prints.is_empty() { Value::Null } else { json!(prints) };
    json!({ "nonce": nonce, "complete": true, "keys": hex, "keys_base64": base64, "pgp_fingerprints": prints })
}

fn to_bytes((status, json): (u16, Value)) -> Result<(u16, Bytes), Error> {
    let json = match json {
        Value::Null => Zeroizing::default(),
        json => serde_json::to_vec(&json).map(Zeroizing::new).map_err(|_| unwritable())?,
    };
    Ok((status, if json.is_empty() { Bytes::new() } else { Bytes::from_owner(json) }))
}

fn unwritable() -> Error {
    Error::internal("a reply cannot be written as JSON")
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    engine::parse_input(body).map(|(body, _)| body)
}

fn to_json<T: Serialize>(value: &T) -> Answered {
    let json = serde_json::to_value(value).map_err(|_| unwritable())?;
    Ok((200, json))
}

fn invalid(error: impl std::fmt::Display) -> Error {
    Error::invalid(error.to_string())
}

fn barrier_error(error: barrier::Error) -> Error {
    match error {
        barrier::Error::Storage(error) => error.into(),
        barrier::Error::AlreadyInitialized => Error::invalid("Vault is already initialized"),
        error => Error::internal(error.to_string()),
    }
}

fn base64_text(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// What enough shares gave.
enum Opener {
    Key(seal::RootKey),
    Moving(seal::Moving),
}
