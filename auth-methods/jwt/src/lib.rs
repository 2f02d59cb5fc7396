//! Login with a signed identity token: a JWT of a CI system, a cloud, a cluster, or any OIDC issuer.
//!
//! A token is read distrustfully (`token`), its signature checked with keys from a configured source (`keys`), and its
//! claims held against a role (`claims`). Only asymmetric algorithms exist here, and the type of the key decides.

mod algorithm;
mod claims;
mod der;
mod fetch;
mod json;
mod key;
mod keys;
mod refusal;
mod token;

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod keys_tests;
#[cfg(test)]
mod testing;

pub use refusal::{Part, Refusal};
