//! A PGP public key to which shares and root tokens are encrypted. The only module that names the PGP library.

use std::{borrow::Borrow, io::Cursor};

use bytes::Bytes;
use clock::Timestamp;
use data_encoding::{BASE64, BASE64_NOPAD};
use pgp::{
    composed::{Deserializable, MessageBuilder, SignedPublicKey, SignedPublicSubKey},
    crypto::sym::SymmetricKeyAlgorithm,
    packet::{KeyFlags, Signature, SignatureType},
    types::{EncryptionKey, KeyDetails, Tag},
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
    /// valid signature, may encrypt, and is neither revoked nor, at the time `now`, expired. The error says what is wrong with it.
    pub fn parse(text: &str, now: Timestamp) -> Result<Self, &'static str> {
        let text = text.trim();
        if text.starts_with("keybase:") {
            return Err("keybase names are not looked up; give the key itself");
        }
        let key = if text.starts_with(ARMOR) { armored(text)? } else { encoded(text)? };
        let target = target(&key, now)?;
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
fn target(key: &SignedPublicKey, now: Timestamp) -> Result<Target, &'static str> {
    if !key.details.revocation_signatures.is_empty() {
        return Err("it is revoked");
    }
    let (primary, own) = (&key.primary_key, own_signatures(key));
    if is_over(primary, newest(&own), now) {
        return Err("it is expired; give one that is still good, or the same one with a later end");
    }
    let usable = |(_, subkey): &(usize, &SignedPublicSubKey)| may_receive(key, subkey);
    let (over, good): (Vec<_>, Vec<_>) = key
        .public_subkeys
        .iter()
        .enumerate()
        .filter(usable)
        .partition(|(_, subkey)| is_over(&subkey.key, newest(&subkey.signatures), now));
    if let Some((at, _)) = good.into_iter().max_by_key(|(_, subkey)| subkey.key.created_at()) {
        return Ok(Target::Subkey(at));
    }
    if primary.algorithm().can_encrypt() && own.iter().any(|signature| encrypts(&signature.key_flags())) {
        return Ok(Target::Primary);
    }
    match over.is_empty() {
        true => Err("it has no valid part that may encrypt"),
        false => Err("the part of it that may encrypt is expired; give a key that is still good"),
    }
}

/// What the key says of itself, by valid signatures: those of others prove nothing.
fn own_signatures(key: &SignedPublicKey) -> Vec<&Signature> {
    let primary = &key.primary_key;
    let direct = key.details.direct_signatures.iter().filter(|signature| signature.verify_key(primary).is_ok());
    let users = key.details.users.iter().flat_map(|user| {
        let valid = |signature: &&Signature| signature.verify_certification(primary, Tag::UserId, &user.id).is_ok();
        user.signatures.iter().filter(valid)
    });
    direct.chain(users).collect()
}

/// The signature that counts: a later one replaces what an earlier one said.
fn newest<'s>(signatures: impl IntoIterator<Item = &'s (impl Borrow<Signature> + 's)>) -> Option<&'s Signature> {
    signatures.into_iter().map(Borrow::borrow).max_by_key(|signature: &&Signature| signature.created())
}

/// Whether the life that `signature` gives to `key` has ended.
fn is_over(key: &impl KeyDetails, signature: Option<&Signature>, now: Timestamp) -> bool {
    let life = signature.and_then(Signature::key_expiration_time).map(|life| life.as_secs()).filter(|life| *life > 0);
    life.is_some_and(|life| i64::from(key.created_at().as_secs()) + i64::from(life) <= now.as_second())
}

fn may_receive(key: &SignedPublicKey, subkey: &SignedPublicSubKey) -> bool {
    let revoked = subkey.signatures.iter().any(|signature| signature.typ() == Some(SignatureType::SubkeyRevocation));
    let allowed = newest(&subkey.signatures).is_some_and(|signature| encrypts(&signature.key_flags()));
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
