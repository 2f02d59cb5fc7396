//! The table of the routes that answer outside the pipeline, for the OpenAPI document, the documents and tests.

use std::collections::BTreeSet;

use api::Verb;
use gate::RouteInfo;

use super::Bare;

impl Bare {
    /// The routes that answer outside the pipeline, below `sys/`.
    pub fn routes() -> Vec<RouteInfo> {
        let route = |(verb, pattern, summary, fields): &Row| RouteInfo {
            verb: *verb,
            pattern,
            summary,
            open: true,
            sudo: false,
            existence: false,
            only_reads: false,
            clear: &[],
            fields,
            types: Vec::new,
        };
        BARE.iter().map(route).collect()
    }

    /// Their paths below `/v1/`.
    pub(crate) fn paths() -> impl Iterator<Item = String> {
        let patterns: BTreeSet<_> = BARE.iter().map(|(_, pattern, ..)| *pattern).collect();
        patterns.into_iter().map(|pattern| format!("sys/{pattern}"))
    }
}

type Row = (Verb, &'static str, &'static str, &'static [&'static str]);

/// Verb, path below `sys/`, what it does, what it takes.
pub(super) const BARE: &[Row] = &[
    (Verb::Read, "generate-root/attempt", "Show how far the making of a root token is.", &[]),
    (Verb::Write, "generate-root/attempt", "Begin to make a root token.", &["otp", "pgp_key"]),
    (Verb::Delete, "generate-root/attempt", "Give up making a root token.", &["nonce"]),
    (Verb::Write, "generate-root/update", "Give a key share for a root token.", &["key", "nonce"]),
    (Verb::Read, "health", "Show how the server is, in the status too.", &[]),
    (Verb::Read, "init", "Show whether the server was initialised.", &[]),
    (
        Verb::Write,
        "init",
        "Initialise the server: make its root key, the key shares and a root token.",
        &[
            "secret_shares",
            "secret_threshold",
            "pgp_keys",
            "root_token_pgp_key",
            "recovery_shares",
            "recovery_threshold",
            "recovery_pgp_keys",
            "break_glass",
        ],
    ),
    (Verb::Read, "leader", "Show which node serves.", &[]),
    (Verb::Read, "rekey/init", "Show how far the rekey is.", &[]),
    (
        Verb::Write,
        "rekey/init",
        "Begin a rekey: a new root key with new key shares.",
        &["secret_shares", "secret_threshold", "pgp_keys", "backup", "require_verification"],
    ),
    (Verb::Delete, "rekey/init", "Give the rekey up.", &["nonce"]),
    (Verb::Write, "rekey/update", "Give a key share for the rekey.", &["key", "nonce"]),
    (Verb::Read, "rekey/verify", "Show how far the verification of the new key shares is.", &[]),
    (Verb::Write, "rekey/verify", "Show a new key share.", &["key", "nonce"]),
    (Verb::Delete, "rekey/verify", "Begin the verification of the new key shares again.", &["nonce"]),
    (Verb::Read, "rekey-recovery-key/init", "Show how far the replacement of the recovery shares is.", &[]),
    (
        Verb::Write,
        "rekey-recovery-key/init",
        "Begin to replace the recovery shares.",
        &["secret_shares", "secret_threshold", "pgp_keys", "backup", "require_verification"],
    ),
    (Verb::Delete, "rekey-recovery-key/init", "Give the replacement of the recovery shares up.", &["nonce"]),
    (Verb::Write, "rekey-recovery-key/update", "Give a recovery share for their replacement.", &["key", "nonce"]),
    (Verb::Read, "rekey-recovery-key/verify", "Show how far the verification of the new recovery shares is.", &[]),
    (Verb::Write, "rekey-recovery-key/verify", "Show a new recovery share.", &["key", "nonce"]),
    (Verb::Delete, "rekey-recovery-key/verify", "Begin the verification of the new recovery shares again.", &["nonce"]),
    (Verb::Read, "seal-status", "Show whether the server is sealed, and how far the unseal is.", &[]),
    (Verb::Write, "unseal", "Give a key share to unseal the server.", &["key", "reset", "migrate"]),
];
