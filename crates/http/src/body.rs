//! Bodies on their way in: read within a limit, into memory that is wiped.

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use secret::Zeroizing;

use crate::status::Fault;

/// Reads a whole body of at most `limit` bytes. The bytes wipe themselves.
pub(crate) async fn read(mut body: Incoming, limit: usize) -> Result<Bytes, Fault> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let announced = body.size_hint().lower();
    if announced > limit as u64 {
        return Err(gate::Error::TooLarge(limit).into());
    }
    // What is announced is believed only so far; more room is made as bytes come in.
    let mut read = Zeroizing::new(Vec::with_capacity((announced as usize).min(FIRST)));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| gate::Error::invalid("the body ended before its announced end"))?;
        let Ok(data) = frame.into_data() else { continue };
        if read.len() + data.len() > limit {
            return Err(gate::Error::TooLarge(limit).into());
        }
        append(&mut read, &data);
    }
    Ok(if read.is_empty() { Bytes::new() } else { Bytes::from_owner(read) })
}

/// Appends like `extend_from_slice`, but wipes the old memory when it needs more.
fn append(to: &mut Zeroizing<Vec<u8>>, data: &[u8]) {
    if to.capacity() - to.len() < data.len() {
        let mut larger = Zeroizing::new(Vec::with_capacity((to.len() + data.len()).max(to.capacity() * 2)));
        larger.extend_from_slice(to);
        *to = larger;
    }
    to.extend_from_slice(data);
}

/// How much room is made for a body before any of it has come.
const FIRST: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appending_keeps_what_was_there() {
        let mut all = Zeroizing::new(Vec::new());
        for round in 0..100_u8 {
            append(&mut all, &[round; 37]);
        }
        assert_eq!(all.len(), 3700);
        assert!(all.chunks(37).zip(0..).all(|(chunk, round)| chunk == [round; 37]));
    }
}
