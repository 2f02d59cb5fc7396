//! Database users made on demand.

pub mod password_policy;
pub mod sql;
pub mod statements;
pub mod target;
pub mod username;

pub use password_policy::PasswordPolicy;
