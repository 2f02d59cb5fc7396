//! Login with a role id and a secret id: for machines that somebody trusted sets up.
//!
//! Roles are in `roles` (and, field by field, in `fields`), secret ids in `secret_ids`, what is stored in `stored`.
//! A secret id is kept as a keyed hash only; a login and the use it spends are one commit.

mod fields;
mod login;
mod roles;
mod secret_ids;
mod stored;
mod tidy;

use std::future::Future;

use api::Verb;
use engine::{Cx, Engine, Error, Kind, Lease, Opening, Routes, Scope};

/// The auth method, for the catalogue.
pub const KIND: Kind = Kind::auth::<AppRole>("approle", "Login with a role id and a secret id.");

/// What a mount holds in memory: whether it is being tidied.
#[derive(Default)]
pub struct AppRole {
    tidying: tidy::Tidying,
}

impl Engine for AppRole {
    fn open(_: Opening) -> Self {
        Self::default()
    }

    fn routes() -> Routes<Self> {
        let routes = Routes::default()
            .on(Verb::List, "role", "List the roles.", roles::list)
            .on(Verb::Read, "role/{name}", "Show a role.", roles::read)
            .on(Verb::Write, "role/{name}", "Create or change a role.", roles::write)
            .exists(roles::exists)
            .on(Verb::Delete, "role/{name}", "Delete a role and its secret ids.", roles::delete)
            .on(Verb::Read, "role/{name}/role-id", "Show the role id.", roles::read_id)
            .on(Verb::Write, "role/{name}/role-id", "Change the role id.", roles::write_id)
            .on(
                Verb::Read,
                "role/{name}/local-secret-ids",
                "Whether secret ids stay in this cluster.",
                roles::read_local,
            )
            .on(Verb::List, "role/{name}/secret-id", "List the accessors of the secret ids.", secret_ids::list)
            .on(Verb::Write, "role/{name}/secret-id", "Make a secret id.", secret_ids::issue)
            .clear(&["secret_id_accessor"])
            .on(Verb::Write, "role/{name}/custom-secret-id", "Take a given text as a secret id.", secret_ids::register)
            .clear(&["secret_id_accessor"])
            .on(Verb::Write, "role/{name}/secret-id/lookup", "Show what is known of a secret id.", secret_ids::lookup)
            .clear(&["secret_id_accessor"])
            .on(Verb::Write, "role/{name}/secret-id/destroy", "Destroy a secret id.", secret_ids::destroy)
            .on(
                Verb::Write,
                "role/{name}/secret-id-accessor/lookup",
                "Show what is known of the secret id with this accessor.",
                secret_ids::lookup_accessor,
            )
            .clear(&["secret_id_accessor"])
            .on(
                Verb::Write,
                "role/{name}/secret-id-accessor/destroy",
                "Destroy the secret id with this accessor.",
                secret_ids::destroy_accessor,
            )
            .on(Verb::Write, "tidy/secret-id", "Remove what expired secret ids left behind.", tidy::start)
            .on(Verb::Write, "login", "Log in with a role id and a secret id.", login::login)
            .open();
        fields::add(routes)
    }

    /// A token is renewed as long as its role exists.
    async fn renew(cx: Scope<Self>, lease: Lease) -> Result<(), Error> {
        login::renew(&cx, &lease).await
    }

    async fn role(cx: Cx<Self>) -> Result<String, Error> {
        login::role(&cx).await
    }

    fn close(&self) -> impl Future<Output = ()> + Send {
        self.tidying.stop();
        async {}
    }
}
