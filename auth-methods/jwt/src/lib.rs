//! Login with a signed identity token.
