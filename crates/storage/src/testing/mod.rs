//! What tests of stores, and of everything above them, share: [`conforms`], which every store passes, and two stores
//! over a store that misbehave on demand: [`FailingStore`], which answers with errors, and [`CrashStore`], which stops
//! as a killed process does.
// A suite reports by panicking; it is never part of the product.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod conforms;
mod crash;
mod failing;

pub use conforms::conforms;
pub use crash::{CrashStore, When};
pub use failing::FailingStore;
