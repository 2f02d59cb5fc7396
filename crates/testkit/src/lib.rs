//! Starts a server and a private PostgreSQL for tests.
//!
//! Everything here listens on a spare loopback port, keeps its files in a directory of its own, and is gone when the
//! test that started it ends, however it ends. A part that cannot start fails the test with the reason.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "what goes wrong here is to fail the test, and say why"
)]

pub mod identity;
/// A private PostgreSQL.
pub mod postgres;
pub mod server;
pub mod wire;
