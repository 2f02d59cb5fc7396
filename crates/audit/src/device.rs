//! What the broker needs of a device.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use futures::future::BoxFuture;

use crate::{error::Error, writer::Line};

/// The outcome of one write: `Ok` once the device has the whole line.
pub struct Written(Outcome);

enum Outcome {
    /// `None` once it was told.
    Known(Option<Result<(), Error>>),
    /// The line lies in the queue of a device's thread.
    Queued(Line),
    Other(BoxFuture<'static, Result<(), Error>>),
}

impl Written {
    /// What is known already.
    pub fn known(outcome: Result<(), Error>) -> Self {
        Self(Outcome::Known(Some(outcome)))
    }

    pub(crate) fn queued(line: Line) -> Self {
        Self(Outcome::Queued(line))
    }
}

impl From<BoxFuture<'static, Result<(), Error>>> for Written {
    fn from(outcome: BoxFuture<'static, Result<(), Error>>) -> Self {
        Self(Outcome::Other(outcome))
    }
}

impl Future for Written {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Outcome::Known(outcome) => outcome.take().map_or(Poll::Pending, Poll::Ready),
            Outcome::Queued(line) => Pin::new(line).poll(cx),
            Outcome::Other(outcome) => outcome.as_mut().poll(cx),
        }
    }
}

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Written(..)")
    }
}

/// A place that takes audit entries.
///
/// Writes are handed over in the order of the calls and may be in flight together. A device reports its faults at
/// once; that it does not answer at all is for the broker to notice. Futures that are dropped withdraw nothing; one that
/// is not polled may let its line wait until the device looks after itself, or another line comes.
pub trait Device: Send + Sync + 'static {
    /// The kind, as in `type` when it is enabled.
    fn kind(&self) -> &'static str;

    /// Hands over lines, each of which ends in a line feed. They are taken before the call returns.
    fn write(&self, lines: &[u8]) -> Written;

    /// As [`Device::write`]; a device that can do so at no greater cost has written the lines when the call returns.
    fn write_through(&self, lines: &[u8]) -> Written {
        self.write(lines)
    }

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
