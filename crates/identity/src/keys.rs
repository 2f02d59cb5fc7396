//! Where things lie.

use storage::Key;

use crate::names::fold;

pub(crate) const ENTITY: &str = "sys/identity/entity/";
pub(crate) const ENTITY_NAME: &str = "sys/identity/entity-name/";
pub(crate) const ALIAS_ID: &str = "sys/identity/alias-id/";
pub(crate) const GROUP: &str = "sys/identity/group/";
pub(crate) const GROUP_NAME: &str = "sys/identity/group-name/";
pub(crate) const GROUP_ALIAS_ID: &str = "sys/identity/group-alias-id/";

/// Where an entity is stored.
pub fn entity_key(id: &str) -> Key {
    Key::from(format!("{ENTITY}{id}"))
}

pub(crate) fn entity_name(name: &str) -> Key {
    Key::from(format!("{ENTITY_NAME}{}", fold(name)))
}

pub(crate) fn merged(id: &str) -> Key {
    Key::from(format!("sys/identity/merged/{id}"))
}

pub(crate) fn alias(accessor: &str, name: &str) -> Key {
    Key::from(format!("sys/identity/alias/{accessor}/{}", fold(name)))
}

pub(crate) fn alias_id(id: &str) -> Key {
    Key::from(format!("{ALIAS_ID}{id}"))
}

pub(crate) fn group(id: &str) -> Key {
    Key::from(format!("{GROUP}{id}"))
}

pub(crate) fn group_name(name: &str) -> Key {
    Key::from(format!("{GROUP_NAME}{}", fold(name)))
}

pub(crate) fn group_alias(accessor: &str, name: &str) -> Key {
    Key::from(format!("sys/identity/group-alias/{accessor}/{}", fold(name)))
}

pub(crate) fn group_alias_id(id: &str) -> Key {
    Key::from(format!("{GROUP_ALIAS_ID}{id}"))
}

pub(crate) fn members(group: &str) -> String {
    format!("sys/identity/member/{group}/")
}

pub(crate) fn member(group: &str, entity: &str) -> Key {
    Key::from(format!("{}{entity}", members(group)))
}

/// Written with every change of a group, so that its revision tells whether any has changed.
pub(crate) fn groups_changed() -> Key {
    Key::new("sys/identity/groups-changed")
}
