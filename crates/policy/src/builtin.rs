//! The policies that every server has from the start.

/// The name of the policy that allows everything. It has no text and cannot be written.
pub const ROOT_NAME: &str = "root";

/// The name of the policy that tokens get unless they ask to go without. It may be changed, not deleted.
pub const DEFAULT_NAME: &str = "default";

/// The name of the policy of wrapping tokens. It can be neither changed nor listed.
pub const RESPONSE_WRAPPING_NAME: &str = "response-wrapping";

/// The first text of the policy `default`: what a token may do with itself.
pub const DEFAULT: &str = r#"# What every token may do unless it was made without this policy.

# Its own life.
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self"  { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }
path "auth/token/liveness"    { capabilities = ["update"] }

# What it may do elsewhere.
path "sys/capabilities-self"          { capabilities = ["update"] }
path "sys/internal/ui/resultant-acl"  { capabilities = ["read"] }

# The identity behind it, by id and by name.
path "identity/entity/id/{{identity.entity.id}}"     { capabilities = ["read"] }
path "identity/entity/name/{{identity.entity.name}}" { capabilities = ["read"] }

# Leases whose id it knows.
path "sys/renew"         { capabilities = ["update"] }
path "sys/leases/renew"  { capabilities = ["update"] }
path "sys/leases/lookup" { capabilities = ["update"] }

# Its private store, which ends with it.
path "cubbyhole/*" { capabilities = ["create", "read", "update", "delete", "list"] }

# Wrapped replies.
path "sys/wrapping/wrap"   { capabilities = ["update"] }
path "sys/wrapping/lookup" { capabilities = ["update"] }
path "sys/wrapping/unwrap" { capabilities = ["update"] }

# Hashes of data it holds anyway.
path "sys/tools/hash"   { capabilities = ["update"] }
path "sys/tools/hash/*" { capabilities = ["update"] }

# Signing in elsewhere with this identity; the provider decides for whom.
path "identity/oidc/provider/+/authorize" { capabilities = ["read", "update"] }
"#;

/// The text of the policy `response-wrapping`: a wrapping token may fetch its reply, once.
pub const RESPONSE_WRAPPING: &str = r#"path "cubbyhole/response"    { capabilities = ["create", "read"] }
path "sys/wrapping/unwrap" { capabilities = ["update"] }
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Policy, lint};

    #[test]
    fn the_built_in_texts_parse_without_a_warning() {
        for (name, text) in [(DEFAULT_NAME, DEFAULT), (RESPONSE_WRAPPING_NAME, RESPONSE_WRAPPING)] {
            let policy = Policy::parse(name, text).unwrap();
            assert_eq!(policy.is_templated(), name == DEFAULT_NAME);
            assert!(lint(&policy, |_| None).is_empty(), "{name}");
        }
    }
}
