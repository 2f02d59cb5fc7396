//! What the broker needs of a device.

use futures::future::BoxFuture;

use crate::error::Error;

/// The outcome of one write: `Ok` once the device has the whole line.
pub type Written = BoxFuture<'static, Result<(), Error>>;

/// A place that takes audit entries.
///
/// Writes are handed over in the order of the calls and may be in flight together. A device reports its faults at
/// once; that it does not answer at all is for the broker to notice. Futures that are dropped withdraw nothing.
pub trait Device: Send + Sync + 'static {
    /// The kind, as in `type` when it is enabled.
    fn kind(&self) -> &'static str;

    /// Hands over one line, which ends in a line feed and holds no other. It is taken before the call returns.
    fn write(&self, line: &[u8]) -> Written;

    /// Opens anew what the device writes to, as after a log rotation.
    fn reopen(&self) -> Written;

    /// Looks whether the device is well, and mends what it can.
    fn check(&self) -> Written;

    /// Takes no more lines; `Ok` once everything is written and closed.
    fn close(&self) -> Written;

    /// What the device noticed to be wrong by itself, while nothing was written.
    fn trouble(&self) -> Option<Error> {
        None
    }
}
