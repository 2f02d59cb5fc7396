//! Bytes that are wiped at once.

use std::{
    fmt,
    ops::{Deref, DerefMut},
};

/// A buffer that is wiped when dropped, all of its room in one go. [`Zeroizing`](zeroize::Zeroizing) does the same byte by byte,
/// which takes as long as all else that is done with a short reply.
#[derive(Default)]
pub struct WipedBytes(Vec<u8>);

impl WipedBytes {
    /// An empty buffer with room for so many bytes. One that grows leaves a copy behind, so ask for enough.
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }
}

impl Deref for WipedBytes {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for WipedBytes {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl AsRef<[u8]> for WipedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for WipedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WipedBytes(..)")
    }
}

impl Drop for WipedBytes {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

fn wipe(bytes: &mut Vec<u8>) {
    bytes.clear();
    bytes.resize(bytes.capacity(), 0);
    // To the compiler, somebody may look at the zeros: else it leaves out what is written right before a free.
    std::hint::black_box(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_the_room_is_wiped() {
        let mut bytes = vec![7; 100];
        bytes.truncate(10);
        wipe(&mut bytes);
        assert_eq!(bytes, vec![0; bytes.capacity()]);
    }

    #[test]
    fn it_is_silent() {
        let mut bytes = WipedBytes::with_capacity(8);
        bytes.extend_from_slice(b"secret");
        assert_eq!((format!("{bytes:?}").as_str(), bytes.as_ref()), ("WipedBytes(..)", b"secret".as_slice()));
    }
}
