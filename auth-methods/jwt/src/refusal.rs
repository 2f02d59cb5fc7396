//! Why a token was not accepted: exact for the audit log, in the usual words for the caller, never quoting the token.

use std::fmt;

/// Why a token was refused. `Display` is what the caller reads; [`Refusal::code`] is what the audit log keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The header's algorithm is absent, not asymmetric, unknown, or not among the configured ones.
    AlgorithmNotAllowed,
    /// The token was used before and the role takes each token once.
    AlreadyUsed,
    /// `aud` names no audience of the role, or is missing.
    AudienceMismatch,
    /// The token has an audience and the role has none.
    AudienceUnbound,
    /// A bound claim has none of the values wanted.
    BoundClaimMismatch(String),
    /// A bound claim is missing.
    BoundClaimMissing(String),
    /// A registered claim does not have its type.
    ClaimMalformed(&'static str),
    /// The header asks for an extension.
    CriticalHeader,
    /// A member occurs twice in one object.
    DuplicateMember(Part),
    /// The header brings its own key.
    EmbeddedKey,
    /// The token is encrypted or compressed.
    Encrypted,
    /// `exp` lies in the past.
    Expired,
    /// There is no `exp`.
    ExpiryMissing,
    /// The groups claim is missing or no list of texts.
    Groups(String),
    /// A number that readers may round differently.
    InexactNumber(Part),
    /// `iat` lies in the future.
    IssuedInFuture,
    /// `iss` is not the one wanted.
    IssuerMismatch,
    /// The role takes each token once and the token has no usable `jti`.
    JtiMissing,
    /// The key id is no text of reasonable length.
    KeyIdMalformed,
    /// No held key of a fitting type has the token's key id.
    KeyUnknown,
    /// The keys could not be fetched and none are held that are recent enough.
    KeysUnavailable(String),
    /// The token lives longer than the role allows, or does not say from when.
    LivesTooLong,
    /// A mapped claim cannot be written as text.
    MappedClaim(String),
    /// A token within a token.
    Nested,
    /// Not a JSON object.
    NotAJsonObject(Part),
    /// Not base64url without padding.
    NotBase64Url(Part),
    /// `nbf` lies in the future.
    NotYetValid,
    /// Not three parts separated by dots.
    NotThreeParts,
    /// No held key made the signature.
    SignatureInvalid,
    /// The third part is empty.
    SignatureMissing,
    /// `sub` is not the one wanted.
    SubjectMismatch,
    /// Nested too deeply.
    TooDeep(Part),
    /// Longer than 16 KiB.
    TooLong,
    /// The user claim is missing, empty or no usable text.
    UserClaim(String),
    /// `typ` names another kind of token.
    WrongType,
}

/// A part of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The first part.
    Header,
    /// The second part.
    Claims,
    /// The third part.
    Signature,
}

impl Refusal {
    /// A stable, machine-readable reason without any of the caller's data.
    pub fn code(&self) -> &'static str {
        match self {
            Self::AlgorithmNotAllowed => "algorithm-not-allowed",
            Self::AlreadyUsed => "already-used",
            Self::AudienceMismatch => "audience-mismatch",
            Self::AudienceUnbound => "audience-unbound",
            Self::BoundClaimMismatch(_) => "bound-claim-mismatch",
            Self::BoundClaimMissing(_) => "bound-claim-missing",
            Self::ClaimMalformed(_) => "claim-malformed",
            Self::CriticalHeader => "critical-header",
            Self::DuplicateMember(_) => "duplicate-member",
            Self::EmbeddedKey => "embedded-key",
            Self::Encrypted => "encrypted",
            Self::Expired => "expired",
            Self::ExpiryMissing => "expiry-missing",
            Self::Groups(_) => "groups-claim",
            Self::InexactNumber(_) => "inexact-number",
            Self::IssuedInFuture => "issued-in-future",
            Self::IssuerMismatch => "issuer-mismatch",
            Self::JtiMissing => "jti-missing",
            Self::KeyIdMalformed => "key-id-malformed",
            Self::KeyUnknown => "key-unknown",
            Self::KeysUnavailable(_) => "keys-unavailable",
            Self::LivesTooLong => "lives-too-long",
            Self::MappedClaim(_) => "mapped-claim",
            Self::Nested => "nested",
            Self::NotAJsonObject(_) => "not-a-json-object",
            Self::NotBase64Url(_) => "not-base64url",
            Self::NotYetValid => "not-yet-valid",
            Self::NotThreeParts => "not-three-parts",
            Self::SignatureInvalid => "signature-invalid",
            Self::SignatureMissing => "signature-missing",
            Self::SubjectMismatch => "subject-mismatch",
            Self::TooDeep(_) => "too-deep",
            Self::TooLong => "too-long",
            Self::UserClaim(_) => "user-claim",
            Self::WrongType => "wrong-type",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Claims => "claims",
            Self::Signature => "signature",
        })
    }
}

impl fmt::Display for Refusal {
    /// Names of claims come from the role, so they may be told; values come from the token, so they may not.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AudienceUnbound => f.write_str("audience claim found in JWT but no audiences bound to the role"),
            Self::BoundClaimMismatch(name) => {
                write!(f, "error validating claims: claim {name:?} does not match any associated bound claim values")
            }
            Self::BoundClaimMissing(name) => write!(f, "error validating claims: claim {name:?} is missing"),
            Self::Groups(name) => write!(f, "{name:?} claim not found in token or not a list of strings"),
            Self::MappedClaim(name) => write!(f, "error converting claim {name:?} to a string"),
            Self::UserClaim(name) => write!(f, "claim {name:?} not found in token or not a usable string"),
            other => {
                f.write_str("error validating token: ")?;
                other.describe(f)
            }
        }
    }
}

impl Refusal {
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AlgorithmNotAllowed => "unsupported signing algorithm (alg)",
            Self::AlreadyUsed => "token was already used and the role accepts each token once",
            Self::AudienceMismatch => {
                "invalid audience (aud) claim: audience claim does not match any expected audience"
            }
            Self::ClaimMalformed(name) => return write!(f, "claim {name:?} does not have the type it must have"),
            Self::CriticalHeader => "critical header extensions are not supported",
            Self::DuplicateMember(part) => return write!(f, "duplicate member in the {part}"),
            Self::EmbeddedKey => "tokens must not bring their own key (jwk)",
            Self::Encrypted => "encrypted or compressed tokens are not supported",
            Self::Expired => "invalid expiration time (exp) claim: token is expired",
            Self::ExpiryMissing => "invalid expiration time (exp) claim: it is required",
            Self::InexactNumber(part) => return write!(f, "number out of range in the {part}"),
            Self::IssuedInFuture => "invalid issued at (iat) claim: token was issued in the future",
            Self::IssuerMismatch => "invalid issuer (iss) claim",
            Self::JtiMissing => "invalid token id (jti) claim: the role accepts each token once and needs it",
            Self::KeyIdMalformed => "malformed key id (kid)",
            Self::KeyUnknown | Self::SignatureInvalid => {
                "error verifying token signature: no known key successfully validated the token signature"
            }
            Self::KeysUnavailable(_) => "error verifying token signature: the issuer's keys cannot be fetched",
            Self::LivesTooLong => "token lifetime is longer than the role's max_token_life, or unknown",
            Self::Nested => "nested tokens are not supported",
            Self::NotAJsonObject(part) => return write!(f, "the {part} must be a JSON object"),
            Self::NotBase64Url(part) => return write!(f, "the {part} must be base64url without padding"),
            Self::NotYetValid => "invalid not before (nbf) claim: token is not yet valid",
            Self::NotThreeParts => "malformed jwt: it must have three parts",
            Self::SignatureMissing => "malformed jwt: it must be signed",
            Self::SubjectMismatch => "invalid subject (sub) claim",
            Self::TooDeep(part) => return write!(f, "the {part} is nested too deeply"),
            Self::TooLong => "token is longer than 16 KiB",
            Self::WrongType => "wrong token type (typ)",
            Self::AudienceUnbound
            | Self::BoundClaimMismatch(_)
            | Self::BoundClaimMissing(_)
            | Self::Groups(_)
            | Self::MappedClaim(_)
            | Self::UserClaim(_) => "refused",
        })
    }
}
