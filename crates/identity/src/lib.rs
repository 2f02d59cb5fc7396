//! Entities, aliases and groups.
