//! Brings what another server holds over to this one.
#![allow(clippy::indexing_slicing, reason = "what a JSON value lacks reads as null; no slice is indexed here")]

mod auth;
mod identity;
mod kv;
mod mounts;
mod policies;
mod report;
mod source;

use std::path::PathBuf;

use self::{
    report::Report,
    source::{Source, Target},
};
use crate::{
    failure::{Failure, Outcome, SERVER},
    session::Session,
};

/// Bring over what a running Vault or OpenBao holds
///
/// Reads another server through its API and writes to this one: mounts, policies, KV secrets with their versions, the
/// configuration of auth methods, and identity. What is here already and the same is passed over, so after an interruption
/// the same command goes on; what is here and differs is left as it is and reported. What no API gives out (passwords,
/// secret ids, private keys, tokens, leases) is reported, too. The exit code is 2 if anything was.
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    What would be brought over, and what could not be?
        SOURCE_TOKEN=$(vault print token) strongroom operator import -from-vault=https://vault.example:8200 -dry-run

    Bring it over:
        strongroom operator import -from-vault=https://vault.example:8200 -source-token-file=token

    Only policies and the secrets below one mount:
        strongroom operator import -from-vault=https://vault.example:8200 -source-token-file=token -only=policies -only=kv -mount=secret")]
pub(crate) struct Import {
    /// The URL of the server to read
    #[arg(long, value_name = "URL")]
    from_vault: String,

    /// A file with the token to read it with; without it, the variable SOURCE_TOKEN is taken
    #[arg(long, value_name = "FILE")]
    source_token_file: Option<PathBuf>,

    /// A PEM file of the authorities to trust for the server that is read
    #[arg(long, value_name = "FILE")]
    source_ca_cert: Option<PathBuf>,

    /// The namespace to read there
    #[arg(long, value_name = "NAME")]
    source_namespace: Option<String>,

    /// Accept any certificate of the server that is read
    #[arg(long)]
    source_tls_skip_verify: bool,

    /// Bring over only this part; may be repeated
    #[arg(long, value_name = "PART")]
    only: Vec<Part>,

    /// Only these mounts of secrets, by their paths; may be repeated
    #[arg(long, value_name = "PATH")]
    mount: Vec<String>,

    /// Write nothing; say what would be done
    #[arg(long)]
    dry_run: bool,
}

/// A part of what a server holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Access and password policies
    Policies,
    /// Mounts of secrets engines and auth methods
    Mounts,
    /// The secrets in KV mounts
    Kv,
    /// Roles and settings of auth methods
    Auth,
    /// Entities, aliases and groups
    Identity,
}

impl Import {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let source = Source::connect(&self)?;
        let target = Target { session, dry_run: self.dry_run };
        let mut report = Report::new(session, self.dry_run);
        source.check().await?;
        let wanted = |part: Part| self.only.is_empty() || self.only.contains(&part);
        if wanted(Part::Policies) {
            policies::bring(&source, &target, &mut report).await?;
        }
        let found = mounts::read(&source, &self.mount, &mut report).await?;
        if wanted(Part::Mounts) {
            mounts::bring(&found, &target, &mut report).await?;
        }
        if wanted(Part::Kv) {
            for mount in found.secrets.iter().filter(|mount| mount.is_kv()) {
                kv::bring(mount, &source, &target, &mut report).await?;
            }
        }
        if wanted(Part::Auth) {
            auth::bring(&found, &source, &target, &mut report).await?;
        }
        if wanted(Part::Identity) {
            identity::bring(&found, &source, &target, &mut report).await?;
        }
        report.nothing_of("tokens and leases", "they end with the server that made them; log in anew");
        report.finish()
    }
}

/// A failure of this side ends the import; what the other side refuses is reported.
type Brought = Result<(), Failure>;

/// The exit code where something was left behind.
const LEFT: u8 = SERVER;
