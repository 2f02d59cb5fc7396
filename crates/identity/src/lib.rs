//! Entities, aliases and groups: who a workload is, whichever way it logs in, and what that lets it do.
//!
//! A login names its holder in the method's own terms; the alias of that name on that mount leads to the entity. Groups
//! have entities and other groups as members; what an entity may do is its own policies and those of all groups above
//! it. That is worked out for each request ([`Identities::standing`]), never written into a token.
//!
//! Every name is found by an index that lies beside the record and is written with it in one commit, under the name in
//! lower case. So no two records can have names that differ in case alone, whoever writes at the same time.
//!
//! ```text
//! sys/identity/entity/<id>                          the entity with its aliases and memberships
//! sys/identity/entity-name/<name>                   the id of the entity
//! sys/identity/merged/<id>                          the id of the entity that this one became a part of
//! sys/identity/alias/<mount accessor>/<name>        the id of the entity
//! sys/identity/alias-id/<alias id>                  the id of the entity and the mount accessor
//! sys/identity/group/<id>                           the group, with the groups below and above it
//! sys/identity/group-name/<name>                    the id of the group
//! sys/identity/group-alias/<mount accessor>/<name>  the id of the group
//! sys/identity/group-alias-id/<alias id>            the id of the group
//! sys/identity/member/<group id>/<entity id>        a direct member; how it became one
//! sys/identity/groups-changed                       written with every change of a group
//! sys/identity/mfa/…                                see [`mfa`]
//! ```

mod alias;
pub mod claims;
mod directory;
mod entity;
mod group;
mod keys;
mod login;
mod merge;
pub mod mfa;
mod names;
mod standing;

pub use alias::{Alias, AliasAt, AliasInput};
pub use directory::{Directory, Listed};
pub use entity::{Entity, EntityInput, External};
pub use group::{Group, GroupAlias, GroupAliasInput, GroupInput, GroupKind};
pub use keys::entity_key;
pub use login::Seen;
pub use merge::{Clash, Merge, Merged};
pub use names::fold;
pub use standing::{Identities, Memberships, Standing};
