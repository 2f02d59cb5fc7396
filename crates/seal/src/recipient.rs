//! A PGP public key to which shares and root tokens are encrypted. The only module that names the PGP library.

use std::io::Cursor;

use bytes::Bytes;
use data_encoding::{BASE64, BASE64_NOPAD};
use pgp::{
    composed::{Deserializable, MessageBuilder, SignedPublicKey, SignedPublicSubKey},
    crypto::sym::SymmetricKeyAlgorithm,
    packet::{KeyFlags, Signature, SignatureType},
    types::{EncryptionKey, KeyDetails},
};
use secret::{SecretString, Zeroizing};

/// A PGP public key that can be encrypted to.
#[derive(Debug)]
pub struct Recipient {
    key: SignedPublicKey,
    target: Target,
}

/// Which of the keys inside a PGP key takes messages.
#[derive(Clone, Copy, Debug)]
enum Target {
    Primary,
    Subkey(usize),
}

impl Recipient {
    /// Reads a key: armored, or base64 of the binary or armored form. It must have a part that is bound to it by a
    /// valid signature, may encrypt, and is not revoked. The error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        if text.starts_with("keybase:") {
            return Err("keybase names are not looked up; give the key itself");
        }
        let key = if text.starts_with(ARMOR) { armored(text)? } else { encoded(text)? };
        let target = target(&key)?;
        Ok(Self { key, target })
    }

    /// The fingerprint of the primary key, in lower-case hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        format!("{:x}", self.key.primary_key.fingerprint())
    }

    /// A PGP message (binary, not armored) that only the holder of the key can read.
    pub fn encrypt(&self, text: &SecretString) -> Result<Vec<u8>, &'static str> {
        // EXPOSE: encrypted on the spot; the copy wipes itself.
        let plain = Bytes::from_owner(Zeroizing::new(text.expose().clone().into_bytes()));
        let result = match self.target {
            Target::Primary => encrypt(&self.key.primary_key, plain),
            Target::Subkey(at) => {
                let subkey = self.key.public_subkeys.get(at).ok_or("its encryption subkey is gone")?;
                encrypt(&subkey.key, plain)
            }
        };
        result.map_err(|_| "it cannot be encrypted to")
    }
}

fn armored(text: &str) -> Result<SignedPublicKey, &'static str> {
    let (key, _) = SignedPublicKey::from_string(text).map_err(|_| "the armored text holds no PGP public key")?;
    Ok(key)
}

fn encoded(text: &str) -> Result<SignedPublicKey, &'static str> {
    let compact: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let bytes = BASE64.decode(&compact).or_else(|_| BASE64_NOPAD.decode(&compact));
    let bytes = bytes.map_err(|_| "it is neither armored nor base64")?;
    match std::str::from_utf8(&bytes) {
        Ok(text) if text.trim_start().starts_with(ARMOR) => armored(text.trim_start()),
        _ => SignedPublicKey::from_bytes(Cursor::new(bytes)).map_err(|_| "the base64 text holds no PGP public key"),
    }
}

fn encrypt(key: &impl EncryptionKey, plain: Bytes) -> pgp::errors::Result<Vec<u8>> {
    let mut builder = MessageBuilder::from_bytes("", plain).seipd_v1(Randomness, SymmetricKeyAlgorithm::AES256);
    builder.encrypt_to_key(Randomness, key)?;
    builder.to_vec(Randomness)
}

/// The newest subkey that may encrypt; the primary key only if it says that it may.
fn target(key: &SignedPublicKey) -> Result<Target, &'static str> {
    if !key.details.revocation_signatures.is_empty() {
        return Err("it is revoked");
    }
    let usable = |(_, subkey): &(usize, &SignedPublicSubKey)| may_receive(key, subkey);
    let subkeys = key.public_subkeys.iter().enumerate().filter(usable);
    if let Some((at, _)) = subkeys.max_by_key(|(_, subkey)| subkey.key.created_at()) {
        return Ok(Target::Subkey(at));
    }
    let primary = &key.primary_key;
    let says_so = |signature: &Signature| encrypts(&signature.key_flags());
    let users = key.details.users.iter().filter(|user| user.verify_bindings(primary).is_ok());
    let mut signatures = users.flat_map(|user| &user.signatures).chain(&key.details.direct_signatures);
    match primary.algorithm().can_encrypt() && signatures.any(says_so) {
        true => Ok(Target::Primary),
        false => Err("it has no valid part that may encrypt"),
    }
}

fn may_receive(key: &SignedPublicKey, subkey: &SignedPublicSubKey) -> bool {
    let revoked = subkey.signatures.iter().any(|signature| signature.typ() == Some(SignatureType::SubkeyRevocation));
    let newest = subkey.signatures.iter().max_by_key(|signature| signature.created());
    let allowed = newest.is_some_and(|signature| encrypts(&signature.key_flags()));
    let bound = || subkey.verify_bindings(&key.primary_key).is_ok();
    subkey.key.algorithm().can_encrypt() && !revoked && allowed && bound()
}

fn encrypts(flags: &KeyFlags) -> bool {
    flags.encrypt_comms() || flags.encrypt_storage()
}

/// The randomness of [`crypto::random`] in the form the PGP library asks for.
pub(crate) struct Randomness;

impl rand_core::RngCore for Randomness {
    fn next_u32(&mut self) -> u32 {
        u32::from_ne_bytes(crypto::random::bytes())
    }

    fn next_u64(&mut self) -> u64 {
        u64::from_ne_bytes(crypto::random::bytes())
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        crypto::random::fill(out);
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), rand_core::Error> {
        crypto::random::fill(out);
        Ok(())
    }
}

impl rand_core::CryptoRng for Randomness {}

const ARMOR: &str = "-----BEGIN PGP";
