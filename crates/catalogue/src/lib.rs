//! The lists of kinds.
