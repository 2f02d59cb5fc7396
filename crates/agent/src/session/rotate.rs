//! While the program runs: renew, notice changes, and carry them out together.

use std::{sync::Arc, time::Duration};

use clock::Timestamp;
use serde_json::json;

use super::{Fetched, Held, Session, back_off, explain};
use crate::{
    manifest::OnRotation,
    reference::{Data, Source},
    supervise::{Event, Handle, say},
};

/// Changes that come together are carried out together: after the first one we wait this long and look again.
const SETTLE: Duration = Duration::from_secs(1);

impl Session {
    /// Does what is due: token first, as everything else needs it.
    pub(super) async fn maintain(&mut self, token_lost: bool) {
        self.maintain_token(token_lost).await;
        let now = self.now();
        let due: Vec<Source> =
            self.secrets.iter().filter(|(_, held)| is_due(held.due, now)).map(|(s, _)| s.clone()).collect();
        for source in due {
            self.maintain_secret(&source).await;
        }
        if is_due(self.next_refresh, now) {
            self.refresh().await;
            self.plan_refresh();
        }
    }

    async fn maintain_token(&mut self, lost: bool) {
        let now = self.now();
        let Some(token) = self.token.as_mut() else { return };
        if !lost && !is_due(token.due, now) {
            return;
        }
        if token.renewable && !lost {
            let renewed = token.client.write("auth/token/renew-self", &json!({})).await;
            match renewed.map(|response| response.envelope.and_then(|envelope| envelope.auth)) {
                Ok(auth) => {
                    let granted = Duration::from_secs(auth.map_or(0, |auth| auth.lease_duration));
                    token.attempt = 0;
                    // At its greatest age a token gets less and less; then a new one is needed.
                    token.renewable = granted * 2 >= token.duration;
                    token.due = (!granted.is_zero()).then(|| clock::after(now, granted * 2 / 3));
                    return self.trouble.ends("renewing the token");
                }
                Err(error) if error.status() == Some(403) => {}
                Err(error) => {
                    token.due = Some(clock::after(now, back_off(token.attempt)));
                    token.attempt += 1;
                    return self.trouble.begins("renewing the token", &explain(&error));
                }
            }
        }
        self.log_in_again(lost).await;
    }

    /// A new token, and with it every leased value anew: the old leases end with the old token.
    async fn log_in_again(&mut self, lost: bool) {
        const WHAT: &str = "logging in again";
        match self.enter().await {
            Ok(token) => {
                self.trouble.ends(WHAT);
                if let Some(old) = self.token.replace(token)
                    && !lost
                {
                    self.old_tokens.push(old);
                }
                let leased: Vec<Source> = self
                    .secrets
                    .iter()
                    .filter(|(_, held)| held.lease.is_some())
                    .map(|(source, _)| source.clone())
                    .collect();
                if leased.is_empty() {
                    self.release_old_tokens().await;
                }
                for source in leased {
                    self.fetch_anew(&source).await;
                }
            }
            Err(why) => {
                let now = self.now();
                if let Some(token) = self.token.as_mut() {
                    token.due = Some(clock::after(now, back_off(token.attempt)));
                    token.attempt += 1;
                    token.renewable = false;
                    if lost {
                        token.liveness = None;
                    }
                }
                self.trouble.begins(WHAT, &why);
            }
        }
    }

    async fn maintain_secret(&mut self, source: &Source) {
        let now = self.now();
        let (Some(token), Some(held)) = (&self.token, self.secrets.get_mut(source)) else { return };
        let Some(lease) = held.lease.as_mut().filter(|lease| lease.renewable) else {
            return self.fetch_anew(source).await;
        };
        let what = format!("renewing {source}");
        let body = json!({ "lease_id": lease.id });
        match token.client.write("sys/leases/renew", &body).await {
            Ok(response) => {
                let granted = response.envelope.map_or(0, |envelope| envelope.lease_duration);
                let granted = Duration::from_secs(granted);
                lease.renewable = granted * 2 >= lease.duration;
                held.attempt = 0;
                held.due = Some(clock::after(now, granted * 2 / 3));
                self.trouble.ends(&what);
            }
            // The lease is gone, or not ours any more: a new one is needed, and at once.
            Err(error) if error.status().is_some_and(|status| (400..429).contains(&status)) => {
                lease.renewable = false;
                self.fetch_anew(source).await;
            }
            Err(error) => {
                held.due = Some(clock::after(now, back_off(held.attempt)));
                held.attempt += 1;
                self.trouble.begins(&what, &explain(&error));
            }
        }
    }

    /// Reads a secret again that has its own time: a lease that ends, an account that the server rotates.
    async fn fetch_anew(&mut self, source: &Source) {
        let what = format!("reading {source}");
        let Some(token) = &self.token else { return };
        match self.reader.read(&token.client, source).await {
            Ok(fetched) => {
                self.trouble.ends(&what);
                let due = self.due(&fetched);
                self.take(source, fetched);
                if let Some(held) = self.secrets.get_mut(source) {
                    held.due = due;
                    held.attempt = 0;
                }
            }
            Err(why) => {
                let now = self.now();
                if let Some(held) = self.secrets.get_mut(source) {
                    held.due = Some(clock::after(now, back_off(held.attempt)));
                    held.attempt += 1;
                }
                self.trouble.begins(&what, &why);
            }
        }
    }

    /// Reads every secret again that has neither lease nor time of its own, nor is pinned to a version.
    async fn refresh(&mut self) {
        let unleased =
            |(source, held): &(&Source, &Held)| held.lease.is_none() && held.due.is_none() && source.version.is_none();
        let sources: Vec<Source> = self.secrets.iter().filter(unleased).map(|(source, _)| source.clone()).collect();
        let Some(client) = self.token.as_ref().map(|token| token.client.clone()) else { return };
        for source in sources {
            let what = format!("reading {source}");
            match self.reader.read(&client, &source).await {
                Ok(fetched) => {
                    self.trouble.ends(&what);
                    self.take(&source, fetched);
                }
                Err(why) => self.trouble.begins(&what, &why),
            }
        }
    }

    /// Notes what was read. Only different data counts as a change.
    fn take(&mut self, source: &Source, fetched: Fetched) {
        let now = self.now();
        let Some(held) = self.secrets.get_mut(source) else { return };
        let new = fetched.lease.as_ref().map(|lease| &lease.id);
        if let Some(old) = held.lease.as_ref().filter(|old| Some(&old.id) != new) {
            held.old_leases.push(old.id.clone());
        }
        held.lease = fetched.lease;
        let present: &Arc<Data> = held.fresh.as_ref().unwrap_or(&held.data);
        if present.is(&fetched.data) {
            return;
        }
        // Changed back to what the program has: nothing to do.
        held.fresh = (!held.data.is(&fetched.data)).then(|| Arc::new(fetched.data));
        self.pending = self.secrets.values().any(|held| held.fresh.is_some()).then(|| self.pending.unwrap_or(now));
    }

    pub(super) fn plan_refresh(&mut self) {
        let every = self.plan.manifest.run.refresh;
        let wanted = !every.is_zero()
            && self.secrets.iter().any(|(source, held)| held.lease.is_none() && source.version.is_none());
        self.next_refresh = wanted.then(|| clock::after(self.now(), every));
    }

    /// When the pending changes are to be carried out: after they have settled, and not too soon after the last time.
    pub(super) fn rotation_due(&self) -> Option<Timestamp> {
        let settled = clock::after(self.pending?, SETTLE);
        let spaced = self.rotated.map(|last| clock::after(last, self.plan.manifest.run.min_interval));
        Some(spaced.map_or(settled, |spaced| spaced.max(settled)))
    }

    pub(super) fn rotation_is_due(&self) -> bool {
        is_due(self.rotation_due(), self.now())
    }

    /// Carries the changes out, all in one. `false` if the program ended meanwhile.
    pub(super) async fn rotate(&mut self, handle: &mut Handle) -> bool {
        // Others may have changed since the first one was seen.
        tokio::select! {
            event = handle.event() => if is_end(event.as_ref()) { return false },
            () = self.refresh() => {}
        }
        let changed: Vec<Source> =
            self.secrets.iter().filter(|(_, held)| held.fresh.is_some()).map(|(source, _)| source.clone()).collect();
        self.pending = None;
        if changed.is_empty() {
            return true;
        }
        self.rotated = Some(self.now());
        const WHAT: &str = "the new values";
        let spec = self.wants.compose(&self.plan.command, &self.plan.manifest, &self.values());
        let spec = match spec {
            Ok(spec) => spec,
            Err(why) => {
                // Tried again when it is its turn: what is missing now may be there then.
                self.pending = Some(self.now());
                self.trouble.begins(WHAT, &why);
                return true;
            }
        };
        self.trouble.ends(WHAT);
        let mode = self.plan.manifest.run.on_rotation;
        let names: Vec<String> = changed.iter().map(ToString::to_string).collect();
        tracing::info!(changed = names.join(", "), ?mode, "rotating");
        if mode == OnRotation::Restart {
            say(&format_args!("{} changed: restarting the program", names.join(", ")));
            handle.replace(spec);
            if !started(handle).await {
                return false;
            }
        } else {
            handle.deliver(spec.files);
            match delivered(handle).await {
                None => return false,
                Some(Ok(())) => self.notify(handle, mode),
                Some(Err(why)) => {
                    self.pending = Some(self.now());
                    self.trouble.begins(WHAT, &why);
                    return true;
                }
            }
        }
        self.settle(&changed, mode == OnRotation::Restart).await;
        true
    }

    fn notify(&self, handle: &Handle, mode: OnRotation) {
        let run = &self.plan.manifest.run;
        match mode {
            OnRotation::Signal => handle.signal(run.signal),
            OnRotation::Hook => handle.hook(run.hook.iter().map(Into::into).collect()),
            OnRotation::Ignore | OnRotation::Restart => {}
        }
    }

    /// The program has the new values: the old ones are not needed any more, where it can have let go of them.
    async fn settle(&mut self, changed: &[Source], restarted: bool) {
        let mut all_free = true;
        for source in changed {
            let free = restarted || self.wants.is_live(source, &self.plan.manifest);
            let Some(held) = self.secrets.get_mut(source) else { continue };
            held.data = held.fresh.take().unwrap_or_else(|| held.data.clone());
            if !free {
                // Its environment still holds the old value. Its lease ends when it ends.
                all_free = false;
                held.old_leases.clear();
                continue;
            }
            let leases = std::mem::take(&mut held.old_leases);
            let Some(client) = self.token.as_ref().map(|token| token.client.clone()) else { continue };
            for lease in leases {
                // Not every policy allows it; then the lease ends by itself, or with the token.
                if let Err(error) = client.write("sys/leases/revoke", &json!({ "lease_id": lease })).await {
                    tracing::debug!(%error, "the old lease of {source} was not revoked");
                }
            }
        }
        if all_free {
            self.release_old_tokens().await;
        }
    }

    /// Gives up the tokens before the present one.
    async fn release_old_tokens(&mut self) {
        for token in std::mem::take(&mut self.old_tokens) {
            self.give_up(&token).await;
        }
    }
}

fn is_due(due: Option<Timestamp>, now: Timestamp) -> bool {
    due.is_some_and(|due| due <= now)
}

fn is_end(event: Option<&Event>) -> bool {
    matches!(event, Some(Event::Ended(_) | Event::Interrupted) | None)
}

async fn started(handle: &mut Handle) -> bool {
    loop {
        match handle.event().await {
            Some(Event::Started) => return true,
            event if is_end(event.as_ref()) => return false,
            _ => {}
        }
    }
}

async fn delivered(handle: &mut Handle) -> Option<Result<(), String>> {
    loop {
        match handle.event().await {
            Some(Event::Delivered(result)) => return Some(result),
            event if is_end(event.as_ref()) => return None,
            _ => {}
        }
    }
}
