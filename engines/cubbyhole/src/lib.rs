//! Private storage of one token.
