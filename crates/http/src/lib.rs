//! Listener, TLS, limits and codec.
