//! What can be wrong with shares, keys, nonces and requests.

/// Why a step of the seal was refused. All of these are the caller's to read; none tells anything of a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A backup of the shares was asked for, but without PGP keys they would lie in the open.
    #[error("backup needs pgp_keys: shares in clear are not kept")]
    BackupInClear,
    /// What is stored of the seal cannot be understood.
    #[error("the stored seal configuration is damaged: {0}")]
    Damaged(&'static str),
    /// The encoded root token is no base64, or not as long as the one-time password.
    #[error("the encoded token is not base64, or does not belong to this one-time password")]
    EncodedToken,
    /// No rekey is in progress.
    #[error("no rekey in progress")]
    NoRekey,
    /// No generation of a root token is in progress.
    #[error("no root generation in progress")]
    NoRootGeneration,
    /// The rekey in progress does not await verification.
    #[error("no rekey verification in progress")]
    NoVerification,
    /// The nonce is not that of the operation in progress.
    #[error("incorrect nonce supplied; nonce for this {operation} operation is {expected:?}")]
    Nonce {
        /// What is in progress.
        operation: &'static str,
        /// The nonce it has.
        expected: String,
    },
    /// A one-time password and a PGP key were both given.
    #[error("give either otp or pgp_key, not both")]
    OtpAndPgp,
    /// The one-time password has a wrong length.
    #[error("otp must have {expected} characters, like the token it hides; it has {got}")]
    OtpLength {
        /// The number of bytes given.
        got: usize,
        /// The number of bytes a root token has.
        expected: usize,
    },
    /// The number of PGP keys is not the number of shares.
    #[error("pgp_keys has {keys} keys for {shares} shares; give one key for each share, or none")]
    PgpCount {
        /// How many keys were given.
        keys: usize,
        /// How many shares there will be.
        shares: u8,
    },
    /// A PGP key cannot be read or cannot be encrypted to.
    #[error("PGP key {position}: {reason}")]
    PgpKey {
        /// Which of the given keys, from 1 on.
        position: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A rekey is in progress already.
    #[error("rekey already in progress")]
    RekeyStarted,
    /// A generation of a root token is in progress already.
    #[error("root generation already in progress")]
    RootGenerationStarted,
    /// No share was given.
    #[error("'key' must be given: a share in hex or base64")]
    ShareEmpty,
    /// The text is a share of another length.
    #[error(
        "the share has {got} bytes, but a share of this seal has {expected}; it may be cut off or of another server"
    )]
    ShareLength {
        /// The number of bytes given.
        got: usize,
        /// The number of bytes a share of this seal has.
        expected: usize,
    },
    /// The text is neither hex nor base64.
    #[error("'key' must be a valid hex or base64 string")]
    ShareMalformed,
    /// The share was given already.
    #[error("this share was given already; another one is needed")]
    ShareRepeated,
    /// Enough shares were given, but they do not restore the key.
    #[error("the shares do not belong together or to this server; all of them were forgotten, begin again")]
    SharesMixed,
    /// The shares were given to open the seal, but cannot.
    #[error(
        "these shares authorise and cannot open: the seal opens by itself. Mend the way to it, or move to key shares with -migrate while it can still be reached"
    )]
    SharesOnlyAuthorise,
    /// The number of shares is out of range.
    #[error("secret_shares must be 1 to 255, not {0}")]
    SharesRange(u64),
    /// The threshold does not go with the number of shares.
    #[error("secret_threshold must be 2 to secret_shares ({shares}), or both must be 1; it is {threshold}")]
    Threshold {
        /// The number of shares.
        shares: u64,
        /// The threshold given.
        threshold: u64,
    },
    /// The root token to encode is not as long as the one-time password.
    #[error("the token does not have the length of the one-time password")]
    TokenLength,
    /// The rekey waits for its verification; more shares of the old set are of no use.
    #[error("the rekey awaits verification with the new shares")]
    VerificationAwaited,
}
