use serde_json::{Map, Value};

use super::pgp;
use crate::{
    cli::Program,
    failure::{DONE, Failure, Outcome, SERVER},
    output::json::Json,
    session::Session,
};

/// Initialise a new server: makes its keys and its first root token
///
/// The key shares and the root token are printed once and kept nowhere: hand each share to another person at once.
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Five shares, any three of which unseal:
        strongroom operator init

    One share, for a machine of one's own:
        strongroom operator init -key-shares=1 -key-threshold=1

    Each share for the holder of one PGP key only:
        strongroom operator init -key-shares=3 -key-threshold=2 -pgp-keys=a.asc,b.asc,c.asc

    Only ask whether it is initialised (exit code 0 if so, 2 if not):
        strongroom operator init -status")]
pub(crate) struct Init {
    /// Into how many shares the key is split
    #[arg(long, short = 'n', value_name = "NUMBER")]
    key_shares: Option<u32>,

    /// How many of them unseal
    #[arg(long, short = 't', value_name = "NUMBER")]
    key_threshold: Option<u32>,

    /// Files of PGP public keys, one per share, to encrypt the shares for
    #[arg(long, value_name = "FILES")]
    pgp_keys: Vec<String>,

    /// A file of a PGP public key to encrypt the root token for
    #[arg(long, value_name = "FILE")]
    root_token_pgp_key: Option<String>,

    /// Into how many shares the recovery key of an automatic seal is split
    #[arg(long, value_name = "NUMBER")]
    recovery_shares: Option<u32>,

    /// How many of them are needed
    #[arg(long, value_name = "NUMBER")]
    recovery_threshold: Option<u32>,

    /// Files of PGP public keys, one per recovery share
    #[arg(long, value_name = "FILES")]
    recovery_pgp_keys: Vec<String>,

    /// With an automatic seal: recovery shares that open the server, too, should the seal be lost
    #[arg(long)]
    break_glass: bool,

    /// Only ask whether the server is initialised
    #[arg(long)]
    status: bool,
}

impl Init {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        if self.status {
            return status(session).await;
        }
        // Which shares there are depends on the seal.
        let kept = match session.look_up("sys/seal-status").await? {
            Ok(response) => response.json::<Value>().is_ok_and(|status| status["recovery_seal"] == true),
            Err(_) => false,
        };
        let body = self.body(kept)?;
        let answer = session.write("initializing", "sys/init", body).await?.and_then(|answer| answer.data);
        let Some(made) = answer else {
            return Err(Failure::local("Error initializing: the reply is empty"));
        };
        let keys = made.get("keys_base64").map(Json::items).unwrap_or_default().len();
        if kept {
            return self.finish_kept(session, &made);
        }
        let shares = self.key_shares.map_or(keys, |shares| shares as usize);
        let threshold = self.key_threshold.unwrap_or(if self.key_shares.is_some() { 1 } else { 3 });
        if session.terminal.field.is_some() || !session.terminal.is_table() {
            let recovery = (self.recovery_shares.unwrap_or(0), self.recovery_threshold.unwrap_or(0));
            return session.terminal.object(&whole(&made, shares, threshold, recovery));
        }
        print(session, &made, shares, threshold)
    }

    /// The recovery shares, unless told otherwise.
    fn recovery(&self) -> (u32, u32) {
        match (self.recovery_shares, self.recovery_threshold) {
            (None, None) => (5, 3),
            (Some(1), None) => (1, 1),
            (shares, threshold) => (shares.unwrap_or(5), threshold.unwrap_or(3)),
        }
    }

    fn finish_kept(&self, session: &Session, made: &Json) -> Outcome {
        if session.terminal.field.is_some() || !session.terminal.is_table() {
            return session.terminal.object(&whole(made, 0, 0, self.recovery()));
        }
        let (shares, threshold) = self.recovery();
        print_keys(session, made)?;
        let what = match self.break_glass {
            true => "authorise what they order together, and open the server if its seal is lost",
            false => "authorise what they order together; they cannot open the server if its seal is lost",
        };
        session.terminal.print(&format!(
            "\nThe server is initialized; its seal opens it by itself. Of the {shares} recovery shares any {threshold}\n\
             {what}.\n\
             They are printed here once and kept nowhere. Hand each to another person now."
        ))?;
        Ok(DONE)
    }

    fn body(&self, kept: bool) -> Result<Map<String, Value>, Failure> {
        let mut body = Map::new();
        let recovery = self.recovery_shares.is_some() || self.recovery_threshold.is_some();
        let (recovery_shares, recovery_threshold) = match kept && !recovery && self.key_shares.is_none() {
            true => (Some(self.recovery().0), Some(self.recovery().1)),
            false => (self.recovery_shares, self.recovery_threshold),
        };
        if self.break_glass {
            body.insert("break_glass".to_owned(), true.into());
        }
        let (shares, threshold) = match (self.key_shares, self.key_threshold) {
            (None, None) if recovery || kept => (None, None),
            (None, None) => (Some(5), Some(3)),
            (Some(shares), Some(threshold)) => (Some(shares), Some(threshold)),
            (Some(1), None) => (Some(1), Some(1)),
            _ => return Err(Failure::local("give both -key-shares and -key-threshold, or neither")),
        };
        let numbers = [
            ("secret_shares", shares),
            ("secret_threshold", threshold),
            ("recovery_shares", recovery_shares),
            ("recovery_threshold", recovery_threshold),
        ];
        for (name, number) in numbers {
            if let Some(number) = number {
                body.insert(name.to_owned(), number.into());
            }
        }
        for (name, files) in [("pgp_keys", &self.pgp_keys), ("recovery_pgp_keys", &self.recovery_pgp_keys)] {
            if !files.is_empty() {
                body.insert(name.to_owned(), pgp::keys(files)?.into());
            }
        }
        if let Some(file) = &self.root_token_pgp_key {
            body.insert("root_token_pgp_key".to_owned(), pgp::key(file)?.into());
        }
        Ok(body)
    }
}

async fn status(session: &Session) -> Outcome {
    let answer = session.read("checking initialization status", "sys/init", &[]).await?;
    let initialised = answer.and_then(|answer| answer.data).is_some_and(|data| data.is_true("initialized"));
    if session.terminal.is_table() {
        let name = match session.program {
            Program::Strongroom => "Strongroom",
            Program::Vault => "Vault",
        };
        session.terminal.print(&format!("{name} is {}initialized", if initialised { "" } else { "not " }))?;
    } else {
        session.terminal.structured(&Json::Map(vec![("initialized".to_owned(), Json::Bool(initialised))]))?;
    }
    Ok(if initialised { DONE } else { SERVER })
}

fn print_keys(session: &Session, made: &Json) -> Outcome {
    let mut lines = Vec::new();
    for (title, list) in [("Unseal Key", "keys_base64"), ("Recovery Key", "recovery_keys_base64")] {
        let keys = made.get(list).map(Json::items).unwrap_or_default();
        for (number, key) in (1..).zip(keys) {
            lines.push(format!("{title} {number}: {}", key.plain()));
        }
    }
    lines.push(String::new());
    lines.push(format!("Initial Root Token: {}", made.text_at("root_token")));
    session.terminal.print(&lines.join("\n"))?;
    Ok(DONE)
}

fn print(session: &Session, made: &Json, shares: usize, threshold: u32) -> Outcome {
    print_keys(session, made)?;
    session.terminal.print(&format!(
        "\nThe server is initialized with {shares} key shares; any {threshold} of them unseal it.\n\
         They are printed here once and kept nowhere. Hand each to another person now: with fewer\n\
         than {threshold} left, nobody can ever open this server again. `operator rekey` makes new ones."
    ))?;
    Ok(DONE)
}

/// The names and order that scripts know.
fn whole(made: &Json, shares: usize, threshold: u32, recovery: (u32, u32)) -> Json {
    let list = |name: &str| made.get(name).cloned().unwrap_or_else(|| Json::List(Vec::new()));
    let entries = vec![
        ("unseal_keys_b64", list("keys_base64")),
        ("unseal_keys_hex", list("keys")),
        ("unseal_shares", (shares as u64).into()),
        ("unseal_threshold", u64::from(threshold).into()),
        ("recovery_keys_b64", list("recovery_keys_base64")),
        ("recovery_keys_hex", list("recovery_keys")),
        ("recovery_keys_shares", u64::from(recovery.0).into()),
        ("recovery_keys_threshold", u64::from(recovery.1).into()),
        ("root_token", made.text_at("root_token").into()),
    ];
    Json::Map(entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}
