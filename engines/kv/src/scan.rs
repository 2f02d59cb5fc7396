//! Names at any depth below a folder. Folders that the caller may not scan are passed over.

use api::Operation;
use engine::{Cx, Error};
use storage::Scan;

use crate::path::{FolderPath, Paging};

/// The names below `folder`, relative to it, ascending, where `family` is the route that they are asked for at (with
/// its slash, or empty) and `prefix` where they are kept.
pub(crate) async fn below<E>(
    cx: &Cx<E>,
    family: &str,
    prefix: &str,
    folder: &FolderPath,
    paging: &Paging,
) -> Result<Vec<String>, Error> {
    let (after, limit) = paging.bounds();
    let base = cx.view().key(&format!("{prefix}{}", folder.as_str()));
    let base = base.as_str();
    let mut after = after.map(|after| format!("{base}{after}"));
    let mut allowed = Allowed { cx, place: format!("{family}{}", folder.as_str()), last: None };
    let mut names = Vec::new();
    loop {
        let scan = Scan { prefix: base.to_owned(), after, limit: PAGE, values: false };
        let (entries, more) = cx.view().tx().scan(&scan).await?;
        for (key, _) in &entries {
            let name = key.as_str().get(base.len()..).unwrap_or_default();
            if allowed.folder_of(name) {
                names.push(name.to_owned());
            }
            if names.len() == limit {
                return Ok(names);
            }
        }
        match entries.last().filter(|_| more) {
            Some((key, _)) => after = Some(key.as_str().to_owned()),
            None => return Ok(names),
        }
    }
}

/// What the caller may scan; of the folder before it is known already.
struct Allowed<'a, E> {
    cx: &'a Cx<E>,
    place: String,
    last: Option<(String, bool)>,
}

impl<E> Allowed<'_, E> {
    fn folder_of(&mut self, name: &str) -> bool {
        // The folder itself was allowed before the engine was called.
        let Some((folder, _)) = name.rsplit_once('/') else { return true };
        match &self.last {
            Some((last, allowed)) if last == folder => *allowed,
            _ => {
                let allowed = self.cx.allows(&format!("{}{folder}/", self.place), Operation::Scan);
                self.last = Some((folder.to_owned(), allowed));
                allowed
            }
        }
    }
}

/// How many names are read in one step.
const PAGE: usize = 1000;
