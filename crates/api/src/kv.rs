/// The first segments of the paths that a key-value engine with versions has. Policies are checked against them, and the
/// engine tells by them a path that is none of its own.
pub const KV_FAMILIES: &[&str] = &[
    "batch",
    "config",
    "copy",
    "data",
    "delete",
    "destroy",
    "detailed-metadata",
    "events",
    "metadata",
    "move",
    "references",
    "rotate",
    "rotation",
    "search",
    "subkeys",
    "undelete",
    "webhooks",
];
