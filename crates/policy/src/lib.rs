//! Policies: text in, decision with its reason out. Pure: no I/O, no clock, no locks.
//!
//! [`Policy::parse`] reads Vault's policy language (HCL or JSON); [`Acl::compile`] merges the policies of one token into
//! an index whose lookups do not slow down with the number of rules; [`Acl::decide`] answers an [`Ask`] with a
//! [`Decision`] that names the policy, the path block and the line that decided. [`lint`] finds rules that do not mean
//! what their author probably thinks.
//!
//! A policy grants nothing by default. Among all rules that match a path exactly one decides (see [`Acl`]); `deny` in it
//! beats everything else in it.

mod acl;
mod builtin;
mod capability;
mod conditions;
mod decision;
mod lint;
mod merged;
mod name;
mod parameters;
mod pattern;
mod read;
mod rule;
mod template;
mod trie;

pub use acl::Acl;
pub use builtin::{DEFAULT, DEFAULT_NAME, RESPONSE_WRAPPING, RESPONSE_WRAPPING_NAME, ROOT_NAME};
pub use capability::{Capabilities, Capability};
pub use conditions::Conditions;
pub use decision::{Ask, Decision, Reason, RuleRef};
pub use lint::{MountKind, Warning, lint};
pub use name::{InvalidPolicyName, PolicyName};
pub use parameters::{Given, Parameters, RequestParameters, Unreadable};
pub use read::{MAX_TEXT, ParseError, decode_text};
pub use rule::{Policy, Rule};
pub use template::{Subject, SubjectAlias, SubjectGroup};
