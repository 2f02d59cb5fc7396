//! Login with a user name and a password: for people, where nothing better is at hand.
//!
//! Users are in `users`, the login in `login`, names in `names`, what is stored in `stored`. Passwords are kept as
//! argon2id; a bcrypt hash can be brought along and becomes argon2id at the first login.

mod login;
mod names;
mod stored;
mod users;

use api::Verb;
use engine::{Engine, Error, Kind, Lease, Opening, Routes, Scope};

/// The auth method, for the catalogue.
pub const KIND: Kind = Kind::auth::<Userpass>("userpass", "Login with a user name and a password.");

/// A mount; it holds nothing in memory.
#[derive(Debug)]
pub struct Userpass;

impl Engine for Userpass {
    fn open(_: Opening) -> Self {
        Self
    }

    fn routes() -> Routes<Self> {
        Routes::default()
            .on(Verb::List, "users", "List the users.", users::list)
            .on(Verb::Read, "users/{username}", "Show a user.", users::read)
            .on(Verb::Write, "users/{username}", "Create or change a user.", users::write)
            .exists(users::exists)
            .on(Verb::Delete, "users/{username}", "Delete a user.", users::delete)
            .on(Verb::Write, "users/{username}/password", "Change a user's password.", users::write_password)
            .on(Verb::Write, "users/{username}/policies", "Change a user's policies.", users::write_policies)
            .on(Verb::Write, "login/{username}", "Log in with a user name and a password.", login::login)
            .open()
    }

    /// A token is renewed as long as its user exists and has the same policies.
    async fn renew(cx: Scope<Self>, lease: Lease) -> Result<(), Error> {
        login::renew(&cx, &lease).await
    }
}
