//! A second factor for logins: which logins need one, and what each holder shows as one.
//!
//! A method says how codes are made; an enforcement says which logins need a code of one of its methods. The secret that an
//! entity shares with its authenticator lies with the entity. A login that needs more than it brought waits, in the
//! store, until the rest is shown.
//!
//! ```text
//! sys/identity/mfa/method/<id>                      a method
//! sys/identity/mfa/method-name/<name>               the id of the method
//! sys/identity/mfa/enforcement/<name>               which logins need which methods
//! sys/identity/mfa/enforcements-changed             written with every change of one
//! sys/identity/mfa/secret/<entity id>/<method id>   what the entity's authenticator knows
//! sys/identity/mfa/guard/<entity id>/<method id>    the last code taken, and how many were tried since
//! sys/identity/mfa/waiting/<hash of the id>         a login that waits for its codes
//! sys/identity/mfa/waiting-due/<seconds>/<hash>     when it is forgotten
//! ```

mod enforcement;
mod guard;
mod method;
mod secret;
mod waiting;

pub use enforcement::{Demand, Enforcement, EnforcementInput, Enforcements, LoginBy};
pub use guard::Rejected;
pub use method::{Method, MethodInput};
pub use secret::Enrolled;
pub use waiting::Waiting;

use storage::Key;

fn guard_key(entity: &str, method: &str) -> Key {
    Key::from(format!("sys/identity/mfa/guard/{entity}/{method}"))
}

fn secrets(entity: &str) -> String {
    format!("sys/identity/mfa/secret/{entity}/")
}

fn secret_key(entity: &str, method: &str) -> Key {
    Key::from(format!("{}{method}", secrets(entity)))
}
