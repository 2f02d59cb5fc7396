//! As much DER as a public key needs.

/// The public key in a SubjectPublicKeyInfo structure.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum KeyInfo<'a> {
    /// The 32 bytes of an Ed25519 key.
    Ed25519(&'a [u8]),
    /// A point on P-256.
    P256(&'a [u8]),
    /// A point on P-384.
    P384(&'a [u8]),
    /// An RSA key.
    Rsa {
        /// The modulus, big-endian.
        modulus: &'a [u8],
        /// The public exponent, big-endian.
        exponent: &'a [u8],
    },
    /// A key of another type.
    Other,
}

/// Reads a SubjectPublicKeyInfo; `None` if it is damaged.
pub(crate) fn public_key(der: &[u8]) -> Option<KeyInfo<'_>> {
    let mut outer = Reader(der);
    let body = outer.take(SEQUENCE)?;
    outer.end()?;
    key_info(body)
}

/// Reads the public key out of an X.509 certificate. Its signature and dates are not looked at: who configures a
/// certificate here trusts the key in it.
pub(crate) fn certificate_key(der: &[u8]) -> Option<KeyInfo<'_>> {
    let mut certificate = Reader(Reader(der).take(SEQUENCE)?);
    let mut fields = Reader(certificate.take(SEQUENCE)?);
    if fields.peek() == Some(VERSION) {
        fields.take(VERSION)?;
    }
    fields.take(INTEGER)?;
    // Signature algorithm, issuer, validity, subject.
    for _ in 0..4 {
        fields.take(SEQUENCE)?;
    }
    key_info(fields.take(SEQUENCE)?)
}

fn key_info(body: &[u8]) -> Option<KeyInfo<'_>> {
    let mut info = Reader(body);
    let mut algorithm = Reader(info.take(SEQUENCE)?);
    let oid = algorithm.take(OID)?;
    let (unused, bits) = info.take(BIT_STRING)?.split_first()?;
    info.end()?;
    if *unused != 0 {
        return None;
    }
    match oid {
        RSA => {
            let mut outer = Reader(bits);
            let mut numbers = Reader(outer.take(SEQUENCE)?);
            outer.end()?;
            let (modulus, exponent) = (numbers.take(INTEGER)?, numbers.take(INTEGER)?);
            numbers.end()?;
            Some(KeyInfo::Rsa { modulus, exponent })
        }
        EC => Some(match algorithm.take(OID)? {
            P256 => KeyInfo::P256(bits),
            P384 => KeyInfo::P384(bits),
            _ => KeyInfo::Other,
        }),
        ED25519 => Some(KeyInfo::Ed25519(bits)),
        _ => Some(KeyInfo::Other),
    }
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The body of the next element, which must have this tag.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, rest) = self.0.split_first()?;
        let (length, rest) = rest.split_first()?;
        let (length, rest) = match *length {
            short @ 0..=0x7f => (usize::from(short), rest),
            // 0x80 would be the indefinite length, which DER does not have.
            long @ 0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
                (bytes.iter().fold(0_usize, |sum, byte| sum * 256 + usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (body, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        (*found == tag).then_some(body)
    }

    fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}
