use clap::ValueEnum;
use serde_json::{Map, Value};

use super::{pgp, unseal};
use crate::{
    failure::{DONE, Failure, Outcome},
    output::{answer::Answer, json::Json, table},
    session::Session,
};

/// Replace the key shares by new ones
///
/// -init begins; then enough holders of the old shares each run the command and hand theirs in; the last one is shown
/// the new shares.
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Begin, with seven new shares of which four unseal:
        strongroom operator rekey -init -key-shares=7 -key-threshold=4

    Hand an old share in:
        strongroom operator rekey

    Give up:
        strongroom operator rekey -cancel")]
pub(crate) struct Rekey {
    /// The old key share; - reads standard input
    key: Option<String>,

    /// Begin
    #[arg(long)]
    init: bool,

    /// Give up
    #[arg(long, conflicts_with = "init")]
    cancel: bool,

    /// Show how far it is
    #[arg(long, conflicts_with_all = ["init", "cancel"])]
    status: bool,

    /// Hand new shares in, to prove that their holders have them
    #[arg(long, conflicts_with = "init")]
    verify: bool,

    /// The number that -init printed, for shares that are not asked for
    #[arg(long)]
    nonce: Option<String>,

    /// Into how many shares the key is split
    #[arg(long, short = 'n', value_name = "NUMBER", default_value_t = 5, requires = "init")]
    key_shares: u32,

    /// How many of them unseal
    #[arg(long, short = 't', value_name = "NUMBER", default_value_t = 3, requires = "init")]
    key_threshold: u32,

    /// Files of PGP public keys, one per share, to encrypt the shares for
    #[arg(long, value_name = "FILES", requires = "init")]
    pgp_keys: Vec<String>,

    /// Keep a copy of the encrypted shares on the server
    #[arg(long, requires = "pgp_keys")]
    backup: bool,

    /// The new shares count only once enough of them were handed in
    #[arg(long, requires = "init")]
    require_verification: bool,

    /// Which key: that of the barrier, or the recovery key of an automatic seal
    #[arg(long, default_value = "barrier")]
    target: Target,
}

#[derive(Clone, Copy, ValueEnum)]
enum Target {
    Barrier,
    Recovery,
}

impl Rekey {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        if self.init {
            return self.begin(session).await;
        }
        if self.cancel {
            let (path, what) = if self.verify { ("verify", "rekey verification") } else { ("init", "rekeying") };
            session.delete(&format!("canceling {what}"), &self.path(path)).await?;
            return session.success(&format!("Canceled {what} (if it was started)"));
        }
        let step = if self.verify { "verify" } else { "init" };
        let status = session.read("getting rekey status", &self.path(step), &[]).await?;
        let status = status.ok_or_else(|| Failure::local("Error getting rekey status: the reply is empty"))?;
        if self.status {
            return show(session, &status);
        }
        self.hand_in(session, &status).await
    }

    fn path(&self, step: &str) -> String {
        match self.target {
            Target::Barrier => format!("sys/rekey/{step}"),
            Target::Recovery => format!("sys/rekey-recovery-key/{step}"),
        }
    }

    async fn begin(&self, session: &Session) -> Outcome {
        let mut body = Map::from_iter([
            ("secret_shares".to_owned(), self.key_shares.into()),
            ("secret_threshold".to_owned(), self.key_threshold.into()),
            ("backup".to_owned(), self.backup.into()),
            ("require_verification".to_owned(), self.require_verification.into()),
        ]);
        if self.pgp_keys.is_empty() {
            session
                .terminal
                .warn("WARNING! Without -pgp-keys, whoever hands the last old share in sees all new ones.\n");
        } else {
            body.insert("pgp_keys".to_owned(), pgp::keys(&self.pgp_keys)?.into());
        }
        match session.write("initializing rekey", &self.path("init"), body).await? {
            Some(status) => show(session, &status),
            None => Ok(DONE),
        }
    }

    async fn hand_in(&self, session: &Session, status: &Answer) -> Outcome {
        let nonce = status.at("nonce").and_then(Json::text).unwrap_or_default();
        let started = self.verify || status.data.as_ref().is_some_and(|status| status.is_true("started"));
        if !started || nonce.is_empty() {
            return Err(Failure::local("No rekey is in progress. Begin one with `operator rekey -init`"));
        }
        let nonce = match (&self.key, &self.nonce) {
            (_, Some(nonce)) => nonce,
            // Somebody who cannot see the number must say which operation the share is for.
            (Some(_), None) => return Err(Failure::local("Missing nonce value: specify it via the -nonce flag")),
            (None, None) => {
                session.terminal.note(&format!("Rekey operation nonce: {nonce}"));
                nonce
            }
        };
        let key = unseal::share(session, self.key.as_deref())?;
        let body = Map::from_iter([("key".to_owned(), Value::String(key)), ("nonce".to_owned(), nonce.into())]);
        let step = if self.verify { "verify" } else { "update" };
        let answer = session.write("posting unseal key", &self.path(step), body).await?;
        let Some(answer) = answer else {
            return Err(Failure::local("Error posting unseal key: the reply is empty"));
        };
        let complete = answer.data.as_ref().is_some_and(|data| data.is_true("complete"));
        if session.terminal.field.is_some() || !session.terminal.is_table() {
            return session.terminal.object(answer.data.as_ref().unwrap_or(&Json::Null));
        }
        if !complete {
            // What is left to do is in the status; older servers answer a step with less.
            let status = session
                .read("getting rekey status", &self.path(if self.verify { "verify" } else { "init" }), &[])
                .await?;
            return show(session, &status.unwrap_or(answer));
        }
        if self.verify {
            return session.success("Rekey verification complete. The operation's new keys are now in use.");
        }
        finished(session, &answer)
    }
}

fn finished(session: &Session, answer: &Answer) -> Outcome {
    let list = |name: &str| answer.at(name).map(Json::items).unwrap_or_default();
    let mut lines = Vec::new();
    for (index, key) in list("keys_base64").iter().enumerate() {
        let number = index + 1;
        lines.push(match list("pgp_fingerprints").get(index) {
            Some(print) => format!("Key {number} fingerprint: {}; value: {}", print.plain(), key.plain()),
            None => format!("Key {number}: {}", key.plain()),
        });
    }
    lines.push(String::new());
    lines.push(format!("Operation nonce: {}", answer.at("nonce").map(Json::plain).unwrap_or_default()));
    session.terminal.print(&lines.join("\n"))?;
    if answer.data.as_ref().is_some_and(|data| data.is_true("verification_required")) {
        let nonce = answer.at("verification_nonce").map(Json::plain).unwrap_or_default();
        session.terminal.print(&format!(
            "Verification nonce: {nonce}\n\nThe new shares do not count yet: their holders hand enough of them in with\n\
             `operator rekey -verify`. Until then the old ones unseal."
        ))?;
    } else {
        session.terminal.print(
            "\nThe new shares count from now on, the old ones no longer do. Hand each to another person now:\n\
             they are printed here once and kept nowhere.",
        )?;
    }
    Ok(DONE)
}

fn show(session: &Session, answer: &Answer) -> Outcome {
    let status = answer.data.clone().unwrap_or(Json::Null);
    if session.terminal.field.is_some() || !session.terminal.is_table() {
        return session.terminal.object(&status);
    }
    let mut rows = vec![
        vec!["Nonce".to_owned(), status.text_at("nonce").to_owned()],
        vec!["Started".to_owned(), status.is_true("started").to_string()],
    ];
    if status.is_true("started") {
        let progress = format!("{}/{}", status.integer_at("progress"), status.integer_at("required"));
        rows.push(vec!["Rekey Progress".to_owned(), progress]);
        rows.push(vec!["New Shares".to_owned(), status.integer_at("n").to_string()]);
        rows.push(vec!["New Threshold".to_owned(), status.integer_at("t").to_string()]);
        rows.push(vec!["Verification Required".to_owned(), status.is_true("verification_required").to_string()]);
        if !status.text_at("verification_nonce").is_empty() {
            rows.push(vec!["Verification Nonce".to_owned(), status.text_at("verification_nonce").to_owned()]);
        }
    }
    if let Some(prints) = status.get("pgp_fingerprints") {
        rows.push(vec!["PGP Fingerprints".to_owned(), prints.plain()]);
        rows.push(vec!["Backup".to_owned(), status.is_true("backup").to_string()]);
    }
    session.terminal.print(&table::table(&["Key", "Value"], &rows))?;
    Ok(DONE)
}
