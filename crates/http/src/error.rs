//! Why a listener cannot be had.

use std::{io, path::PathBuf};

use crate::Address;

/// A fault of the operator's making, with what to look at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address cannot be bound.
    #[error("cannot listen on {address}: {source}; choose an address of this machine that is free")]
    Bind {
        /// Which address.
        address: Address,
        /// What the operating system said.
        source: io::Error,
    },
    /// A PEM file does not hold what it should.
    #[error("{what} {}: {why}", path.display())]
    File {
        /// What the file is for: the name of its setting.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The key is not that of the certificate, or cannot be used.
    #[error("tls_cert_file {} and tls_key_file {} do not fit: {why}", certificate.display(), key.display())]
    Mismatch {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The TLS library refuses the settings.
    #[error("tls: {0}")]
    Tls(String),
}
