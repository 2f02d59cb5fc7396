//! Tokens: issue, look up, renew, revoke.
