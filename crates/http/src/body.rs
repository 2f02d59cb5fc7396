//! Bodies on their way in: read within a limit, into memory that is wiped.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::StreamExt;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use secret::Zeroizing;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::status::Fault;

/// Reads a whole body of at most `limit` bytes. The bytes wipe themselves.
pub(crate) async fn read(mut body: Incoming, limit: usize, room: &Room) -> Result<Bytes, Fault> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limit {
        return Err(gate::Error::TooLarge(limit).into());
    }
    let mut read = Read::new(announced.min(FREE));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| gate::Error::invalid("the body ended before its announced end"))?;
        let Ok(data) = frame.into_data() else { continue };
        if read.bytes.len() + data.len() > limit {
            return Err(gate::Error::TooLarge(limit).into());
        }
        read.append(&data, limit, room)?;
    }
    Ok(if read.bytes.is_empty() { Bytes::new() } else { Bytes::from_owner(read) })
}

/// The body as it comes, for who reads it later; each piece has to come within `wait`.
pub(crate) fn pieces(body: Incoming, wait: Duration) -> gate::Pieces {
    let next = move |mut body: Incoming| async move {
        loop {
            let frame = match tokio::time::timeout(wait, body.frame()).await {
                Ok(None) => return None,
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(_))) => {
                    return Some((Err(gate::Error::invalid("the body ended before its announced end")), body));
                }
                Err(_) => return Some((Err(gate::Error::invalid("the body came too slowly")), body)),
            };
            if let Ok(data) = frame.into_data() {
                return Some((Ok(data), body));
            }
        }
    };
    Box::pin(futures::stream::unfold(body, next))
}

/// Reads a body that nobody wanted, as far as is decent: a client that is still sending does not hear the reply.
pub(crate) async fn drain(mut pieces: gate::Pieces) {
    let read = async {
        let mut left = DECENT;
        while let Some(Ok(piece)) = pieces.next().await {
            left = left.saturating_sub(piece.len());
            if left == 0 {
                break;
            }
        }
    };
    // What comes later is cut off with the connection.
    let _ = tokio::time::timeout(Duration::from_secs(5), read).await;
}

/// How much of a body is read that nobody wanted.
const DECENT: usize = 16 * 1024 * 1024;

/// The memory that large bodies share, so that many of them at once cannot exhaust it. Small ones are always taken.
pub(crate) struct Room(Arc<Semaphore>);

impl Room {
    /// Room for this many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new((bytes / UNIT).min(Semaphore::MAX_PERMITS))))
    }
}

/// What was read, and its share of the room.
struct Read {
    bytes: Zeroizing<Vec<u8>>,
    share: Option<OwnedSemaphorePermit>,
}

impl Read {
    fn new(capacity: usize) -> Self {
        Self { bytes: Zeroizing::new(Vec::with_capacity(capacity)), share: None }
    }

    /// Appends, and wipes the old memory where more is needed.
    fn append(&mut self, data: &[u8], limit: usize, room: &Room) -> Result<(), Fault> {
        let needed = self.bytes.len() + data.len();
        if needed > self.bytes.capacity() {
            let capacity = (self.bytes.capacity() * 2).min(limit).max(needed);
            if capacity > FREE {
                self.grow(capacity, room)?;
            }
            let mut larger = Zeroizing::new(Vec::with_capacity(capacity));
            larger.extend_from_slice(&self.bytes);
            self.bytes = larger;
        }
        self.bytes.extend_from_slice(data);
        Ok(())
    }

    fn grow(&mut self, capacity: usize, room: &Room) -> Result<(), Fault> {
        let held = self.share.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = capacity.div_ceil(UNIT).saturating_sub(held);
        let more = u32::try_from(more).ok().and_then(|more| Arc::clone(&room.0).try_acquire_many_owned(more).ok());
        let full = || gate::Error::Unavailable("too many large requests at once; try again".to_owned());
        let more = more.ok_or_else(full)?;
        match &mut self.share {
            Some(share) => share.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }
}

impl AsRef<[u8]> for Read {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Bodies up to this size need no share of the room; so much is also made ready before any of a body has come.
const FREE: usize = 64 * 1024;
/// The room is given out in pieces of this size.
const UNIT: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appending_keeps_what_was_there() {
        let room = Room::new(1 << 20);
        let mut all = Read::new(0);
        for round in 0..=255_u8 {
            all.append(&[round; 1037], 300_000, &room).unwrap();
        }
        assert!(all.bytes.chunks(1037).zip(0..=255).all(|(chunk, round)| chunk == [round; 1037]));
        assert!(all.bytes.capacity() <= 300_000);
    }

    #[test]
    fn large_bodies_share_their_room_and_give_it_back() {
        let room = Room::new(256 * 1024);
        let piece = vec![7; 200 * 1024];
        let read = |size: usize| {
            let mut read = Read::new(0);
            read.append(piece.get(..size).unwrap(), 1 << 20, &room).map(|()| read)
        };
        let first = read(200 * 1024).unwrap();
        assert_eq!(read(100 * 1024).err().unwrap().row().status, 503);
        assert!(read(64 * 1024).is_ok());
        let bytes = Bytes::from_owner(first);
        let part = bytes.slice(5..9);
        drop(bytes);
        assert!(read(100 * 1024).is_err(), "a part is still held");
        drop(part);
        assert!(read(100 * 1024).is_ok());
        assert_eq!(room.0.available_permits(), 256);
    }
}
