//! The seals that open the server by themselves.

use std::collections::BTreeMap;

use secret::SecretString;
use strongroom_core::Seals;

use super::section::Section;

/// Makes the seals of all `seal` blocks. A block of `shamir` says only what holds anyway.
pub(super) fn seals(top: &mut Section) -> Result<Seals, String> {
    let mut seals = Seals::default();
    let mut names = BTreeMap::new();
    for mut body in top.blocks("seal")? {
        if body.label == "shamir" {
            continue;
        }
        let kind = catalogue::seal(&body.label).ok_or_else(|| {
            let known = catalogue::SEALS.iter().map(|kind| kind.name).collect::<Vec<_>>().join(", ");
            body.says(&format!("this seal is not known; the seals are {known}, and shamir without a block"))
        })?;
        let disabled = body.flag("disabled")?.unwrap_or(false);
        let name = body.text("name")?.filter(|name| !name.is_empty()).unwrap_or_else(|| kind.name.to_owned());
        // The order of the blocks is the order in which they are asked.
        body.pass_over("priority");
        if names.insert(name.clone(), ()).is_some() {
            return Err(body.says("two seals have this name: give each its own name = \"…\""));
        }
        let words = body.says("");
        let values: BTreeMap<String, SecretString> = body.texts()?;
        let made = (kind.make)(seal::Options::new(name, values));
        let keeper = made.map_err(|why| format!("{words}{why}"))?;
        if disabled { &mut seals.disabled } else { &mut seals.active }.push(keeper);
    }
    Ok(seals)
}
