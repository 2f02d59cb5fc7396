//! Audit entries, keyed hashing, the broker that fails closed, the journal.
