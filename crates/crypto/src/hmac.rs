//! Keyed hashing: HMAC-SHA-256.

use aws_lc_rs::hmac;

/// The length of a tag, in bytes.
pub const TAG: usize = 32;

/// An HMAC-SHA-256 key of any length, with its inner and outer state kept.
#[derive(Clone)]
pub struct Key(hmac::Key);

impl Key {
    /// A key from its bytes.
    pub fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The tag of `message`.
    pub fn sign(&self, message: &[u8]) -> [u8; TAG] {
        array(hmac::sign(&self.0, message))
    }

    /// The tag of a message of which nothing may stay behind: the computation leaves pieces of it on the stack, which are
    /// overwritten.
    pub fn sign_secret(&self, message: &[u8]) -> [u8; TAG] {
        let tag = self.sign_apart(message);
        overwrite_stack();
        tag
    }

    #[inline(never)]
    fn sign_apart(&self, message: &[u8]) -> [u8; TAG] {
        self.sign(message)
    }

    /// Whether `tag` is the tag of `message`; compared in constant time.
    pub fn verify(&self, message: &[u8], tag: &[u8]) -> bool {
        hmac::verify(&self.0, message, tag).is_ok()
    }

    /// Begins the tag of a message that comes in pieces.
    pub fn context(&self) -> Context {
        Context(hmac::Context::with_key(&self.0))
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

/// A tag in the making, see [`Key::context`].
#[derive(Clone)]
pub struct Context(hmac::Context);

impl Context {
    /// Adds a piece of the message.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The tag of all pieces.
    pub fn finish(self) -> [u8; TAG] {
        array(self.0.sign())
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Context(..)")
    }
}

/// Overwrites what a call before this one left below the frame of its caller.
#[inline(never)]
fn overwrite_stack() {
    // Of its own, and not a constant of the program.
    let room = [0_u8; LEFT_BEHIND];
    std::hint::black_box(&room);
}

/// More than the frames of a computation take, also in a build without optimisation.
const LEFT_BEHIND: usize = 4096;

fn array(tag: hmac::Tag) -> [u8; TAG] {
    let mut out = [0; TAG];
    out.copy_from_slice(tag.as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors;

    #[test]
    fn the_published_vectors_hold() {
        let blocks = vectors::read(include_str!("../../../vectors/crypto/hmac_sha256.txt"));
        assert_eq!(blocks.len(), 6);
        for block in blocks {
            let (key, message) = (Key::new(&block.bytes("key")), block.bytes("message"));
            let tag = key.sign(&message);
            assert_eq!(tag.to_vec(), block.bytes("tag"));
            assert!(key.verify(&message, &tag));
            assert!(!key.verify(&message, &tag[..31]));
            assert!(!key.verify(b"another message", &tag));
            let mut context = key.context();
            for piece in message.chunks(7) {
                context.update(piece);
            }
            assert_eq!(context.finish(), tag);
        }
    }
}
