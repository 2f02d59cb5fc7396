//! A key holder's share, and its two spellings.

use data_encoding::{BASE64, BASE64_NOPAD, HEXLOWER, HEXLOWER_PERMISSIVE};
use secret::{SecretBytes, SecretString, Zeroizing};

use crate::Error;

/// One share: the bytes of [`crypto::shamir`], or the key itself if there is only one share.
#[derive(Debug)]
pub struct KeyShare(SecretBytes);

impl KeyShare {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self(SecretBytes::new(bytes))
    }

    /// The share from its hexadecimal or base64 text; space around it is ignored.
    pub(crate) fn parse(text: &SecretString, length: usize) -> Result<Self, Error> {
        // EXPOSE: the spelling has to be read; what it decodes to is a secret again.
        let text = text.expose().trim().as_bytes();
        if text.is_empty() {
            return Err(Error::ShareEmpty);
        }
        // Both spellings are tried against the length, as a base64 text may happen to consist of hexadecimal digits.
        let decoded: Vec<Zeroizing<Vec<u8>>> = [&HEXLOWER_PERMISSIVE, &BASE64, &BASE64_NOPAD]
            .into_iter()
            .filter_map(|spelling| spelling.decode(text).ok().map(Zeroizing::new))
            .collect();
        let first = decoded.first().ok_or(Error::ShareMalformed)?;
        let (got, expected) = (first.len(), length);
        let mut share =
            decoded.into_iter().find(|share| share.len() == length).ok_or(Error::ShareLength { got, expected })?;
        Ok(Self::new(std::mem::take(&mut *share)))
    }

    /// The share in hexadecimal digits.
    pub fn hex(&self) -> SecretString {
        // EXPOSE: written out for its holder; the text is a secret again.
        SecretString::new(HEXLOWER.encode(self.0.expose()))
    }

    /// The share in base64.
    pub fn base64(&self) -> SecretString {
        // EXPOSE: written out for its holder; the text is a secret again.
        SecretString::new(BASE64.encode(self.0.expose()))
    }

    pub(crate) fn expose(&self) -> &[u8] {
        // EXPOSE: to be combined with the others.
        self.0.expose()
    }

    /// Whether both are the same, in constant time.
    pub(crate) fn matches(&self, other: &Self) -> bool {
        // EXPOSE: compared, in constant time.
        self.0.matches(other.expose())
    }
}
