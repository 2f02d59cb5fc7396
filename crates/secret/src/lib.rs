//! A secret value: silent, wiped when dropped, with one exit.
//!
//! [`Secret`] has no `Clone`, no `PartialEq`, no `Display`, no `Deref` and no `Serialize`. Its value is seen through
//! [`Secret::expose`], which every caller marks with an `// EXPOSE:` comment, and leaves the program through
//! [`Disclosed`], the one type that serialises. [`WipingAllocator`] sees to the memory that secrets pass through on
//! their way.

mod kept;
mod wiped;
#[allow(unsafe_code, reason = "an allocator has no safe form")]
mod wiping;

use std::fmt;

pub use kept::Kept;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use subtle::ConstantTimeEq;
pub use wiped::WipedBytes;
pub use wiping::WipingAllocator;
pub use zeroize::{Zeroize, Zeroizing};

/// A value that must not be seen by accident. `Debug` prints `Secret(..)`; the memory is wiped on drop.
pub struct Secret<T: Zeroize>(Box<T>);

/// A secret text.
pub type SecretString = Secret<String>;
/// Secret bytes of any length.
pub type SecretBytes = Secret<Vec<u8>>;

impl<T: Zeroize> Secret<T> {
    /// Takes `value` into custody.
    pub fn new(value: T) -> Self {
        Self(Box::new(value))
    }

    /// Makes the value in place, so that no copy stays behind on the stack.
    pub fn init_with(make: impl FnOnce(&mut T)) -> Self
    where
        T: Default,
    {
        let mut value = Box::<T>::default();
        make(&mut value);
        Self(value)
    }

    /// The value itself. Say why at the call: `// EXPOSE: …`.
    pub fn expose(&self) -> &T {
        &self.0
    }

    /// Lets the value leave the program, as part of a reply to somebody who may have it.
    pub fn disclose(self) -> Disclosed<T> {
        Disclosed(self)
    }
}

impl<T: Zeroize + AsRef<[u8]>> Secret<T> {
    /// Whether `other` has the same bytes, in time that depends on the lengths alone.
    pub fn matches(&self, other: impl AsRef<[u8]>) -> bool {
        (*self.0).as_ref().ct_eq(other.as_ref()).into()
    }

    /// The number of bytes.
    pub fn len(&self) -> usize {
        (*self.0).as_ref().len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: Zeroize> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<'de, T: Zeroize + Deserialize<'de>> Deserialize<'de> for Secret<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<T>::deserialize(deserializer).map(Self)
    }
}

/// A secret on its way out: the one wrapper that serialises.
pub struct Disclosed<T: Zeroize>(Secret<T>);

impl<T: Zeroize> Disclosed<T> {
    /// The value on its way out.
    pub fn expose(&self) -> &T {
        self.0.expose()
    }
}

impl<T: Zeroize + Serialize> Serialize for Disclosed<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.expose().serialize(serializer)
    }
}

impl<T: Zeroize> fmt::Debug for Disclosed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Disclosed(..)")
    }
}

/// Whether two byte strings are equal, in time that depends on the lengths alone.
pub fn equal(a: impl AsRef<[u8]>, b: impl AsRef<[u8]>) -> bool {
    a.as_ref().ct_eq(b.as_ref()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_silent() {
        let secret = SecretString::new("hunter2".to_owned());
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        assert_eq!(format!("{:?}", secret.disclose()), "Disclosed(..)");
    }

    #[test]
    fn a_secret_compares_by_value() {
        let secret = SecretBytes::new(b"abc".to_vec());
        assert!(secret.matches(b"abc"));
        assert!(!secret.matches(b"abd"));
        assert!(!secret.matches(b"abcd"));
    }
}
