//! Starts a server and a private PostgreSQL for tests.
