//! Versioned key/value secrets.
