use serde_json::Map;

use crate::{commands::clean, failure::Outcome, session::Session};

/// End a lease, and what was made under it
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Remove a database user now, and wait until it is gone:
        strongroom lease revoke -sync database/creds/app/abcd1234

    Remove all users of a role:
        strongroom lease revoke -prefix database/creds/app

    Forget them although the database is gone for good:
        strongroom lease revoke -force -prefix database/creds/app")]
pub(crate) struct Revoke {
    /// The lease, or the beginning of its path with -prefix
    lease_id: String,

    /// End all leases whose path begins so
    #[arg(long)]
    prefix: bool,

    /// Forget the leases even if what was made under them cannot be removed
    #[arg(long, requires = "prefix")]
    force: bool,

    /// Wait until everything is removed
    #[arg(long)]
    sync: bool,
}

impl Revoke {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let id = clean(&self.lease_id);
        let mut body = Map::from_iter([("sync".to_owned(), self.sync.into())]);
        if self.force {
            session.terminal.warn(
                "Warning! What was made under these leases may stay behind where it was made: look there afterwards.",
            );
            session
                .write(
                    &format!("force revoking leases with prefix {id}"),
                    &format!("sys/leases/revoke-force/{id}"),
                    Map::new(),
                )
                .await?;
            return session.success(&format!("Force revoked any leases with prefix: {id}"));
        }
        if self.prefix {
            let doing = format!("revoking leases with prefix {id}");
            session.write(&doing, &format!("sys/leases/revoke-prefix/{id}"), body).await?;
        } else {
            body.insert("lease_id".to_owned(), id.into());
            session.write(&format!("revoking lease {id}"), "sys/leases/revoke", body).await?;
        }
        match (self.sync, self.prefix) {
            (false, _) => {
                session.terminal.print("All revocation operations queued successfully!")?;
                Ok(crate::failure::DONE)
            }
            (true, true) => session.success(&format!("Revoked any leases with prefix: {id}")),
            (true, false) => session.success(&format!("Revoked lease: {id}")),
        }
    }
}
