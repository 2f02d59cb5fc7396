//! The socket between front and guardian: whole messages of eight bytes, and an end that both sides notice.

use std::{io, os::fd::OwnedFd};

use rustix::{
    io::Errno,
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType},
};

/// The variable that tells the guardian which descriptor its end is. The program never sees it.
pub(crate) const VARIABLE: &str = "STRONGROOM_GUARDIAN_LINK";

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// Front: my process group; the program makes its own.
    Apart(i32),
    /// Front: my process group; the program joins it.
    Together(i32),
    /// Front: pass this signal on.
    Pass(i32),
    /// Front: the program's group may run again.
    Continue,
    /// Guardian: the program runs, under this process id.
    Started(i32),
    /// Guardian: the program was stopped by this signal.
    Stopped(i32),
    /// Guardian: it is over; this code.
    Code(i32),
    /// Guardian: it is over; this signal.
    Signal(i32),
}

/// What reading gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    Message(Message),
    Nothing,
    Closed,
}

/// One end.
#[derive(Debug)]
pub(crate) struct Link(OwnedFd);

impl Link {
    /// Our end, and the other one as a descriptor that survives exec.
    pub(crate) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::empty(), None)?;
        rustix::io::fcntl_setfd(&ours, rustix::io::FdFlags::CLOEXEC)?;
        Ok((Self(ours), theirs))
    }

    /// The end that was inherited.
    pub(crate) fn inherited() -> Option<Self> {
        let number = std::env::var(VARIABLE).ok()?.parse().ok()?;
        crate::sys::inherited(number).map(Self)
    }

    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.0
    }

    /// Sends without waiting. An end that is gone is noticed when reading.
    pub(crate) fn send(&self, message: Message) {
        let (kind, value) = message.encode();
        let mut bytes = [0u8; 8];
        let (first, second) = bytes.split_at_mut(4);
        first.copy_from_slice(&kind.to_ne_bytes());
        second.copy_from_slice(&value.to_ne_bytes());
        while let Err(Errno::INTR) = rustix::net::send(&self.0, &bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {}
    }

    /// The next message, without waiting.
    pub(crate) fn receive(&self) -> Incoming {
        self.receive_with(RecvFlags::DONTWAIT)
    }

    /// The next message; waits for it.
    pub(crate) fn wait(&self) -> Incoming {
        self.receive_with(RecvFlags::empty())
    }

    fn receive_with(&self, flags: RecvFlags) -> Incoming {
        let mut bytes = [0u8; 8];
        loop {
            return match rustix::net::recv(&self.0, &mut bytes, flags) {
                Ok((8, _)) => {
                    let word =
                        |at: usize| bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, i32::from_ne_bytes);
                    Message::decode(word(0), word(4)).map_or(Incoming::Closed, Incoming::Message)
                }
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => Incoming::Nothing,
                _ => Incoming::Closed,
            };
        }
    }
}

impl Message {
    fn encode(self) -> (i32, i32) {
        match self {
            Self::Apart(group) => (1, group),
            Self::Together(group) => (2, group),
            Self::Pass(signal) => (3, signal),
            Self::Continue => (4, 0),
            Self::Started(pid) => (5, pid),
            Self::Stopped(signal) => (6, signal),
            Self::Code(code) => (7, code),
            Self::Signal(signal) => (8, signal),
        }
    }

    fn decode(kind: i32, value: i32) -> Option<Self> {
        Some(match kind {
            1 => Self::Apart(value),
            2 => Self::Together(value),
            3 => Self::Pass(value),
            4 => Self::Continue,
            5 => Self::Started(value),
            6 => Self::Stopped(value),
            7 => Self::Code(value),
            8 => Self::Signal(value),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_whole_and_in_order_and_the_end_is_noticed() {
        let (ours, theirs) = Link::pair().unwrap();
        let theirs = Link(theirs);
        let sent = [Message::Apart(7), Message::Pass(15), Message::Continue, Message::Code(255), Message::Signal(9)];
        for message in sent {
            ours.send(message);
        }
        for message in sent {
            assert_eq!(theirs.receive(), Incoming::Message(message));
        }
        assert_eq!(theirs.receive(), Incoming::Nothing);
        drop(ours);
        assert_eq!(theirs.receive(), Incoming::Closed);
        theirs.send(Message::Continue);
    }
}
