//! What stands between a workload and the server: it obtains secrets, hands them to a process and watches that process.
//!
//! - [`supervise`] runs a program so that it behaves as if it had been started by a bare shell, and so that nothing of
//!   it outlives its supervisor.
//! - [`deliver`] carries secrets to the program: environment, files, sealed memory.
//! - [`mask`] keeps the values out of captured output.
//! - [`reference`](mod@reference) and [`manifest`] say which secrets are wanted.
//! - [`session`] logs in, fetches, renews, rotates and revokes.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

pub mod deliver;
pub mod manifest;
pub mod mask;
pub mod reference;
pub mod session;
pub mod supervise;
#[allow(unsafe_code, reason = "fork, exec, signal masks and signalfd have no safe form")]
mod sys;
