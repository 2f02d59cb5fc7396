//! A seal wraps and unwraps the root key.
