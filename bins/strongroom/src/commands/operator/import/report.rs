//! What was brought over, what was there, and what could not be.

use std::collections::BTreeMap;

use crate::{
    failure::{DONE, Outcome},
    output::json::Json,
    session::Session,
};

pub(super) struct Report<'s> {
    session: &'s Session,
    dry_run: bool,
    brought: BTreeMap<&'static str, usize>,
    there: BTreeMap<&'static str, usize>,
    left: Vec<(String, String)>,
}

impl<'s> Report<'s> {
    pub(super) fn new(session: &'s Session, dry_run: bool) -> Self {
        Self { session, dry_run, brought: BTreeMap::new(), there: BTreeMap::new(), left: Vec::new() }
    }

    /// Something is brought over, or would be.
    pub(super) fn brought(&mut self, kind: &'static str, name: &str) {
        *self.brought.entry(kind).or_default() += 1;
        let verb = if self.dry_run { "would bring" } else { "brought" };
        self.session.terminal.note(&format!("{verb} {kind}: {name}"));
    }

    /// Something is here already, and the same.
    pub(super) fn there(&mut self, kind: &'static str) {
        *self.there.entry(kind).or_default() += 1;
    }

    /// Something could not be brought over.
    pub(super) fn left(&mut self, what: impl Into<String>, why: impl Into<String>) {
        let (what, why) = (what.into(), why.into());
        self.session.terminal.warn(&format!("not brought: {what}: {why}"));
        self.left.push((what, why));
    }

    /// Something that is never brought over; said at the end, and no fault.
    pub(super) fn nothing_of(&mut self, what: &str, why: &str) {
        self.session.terminal.note(&format!("not brought: {what}: {why}"));
    }

    /// Prints the end of it.
    pub(super) fn finish(self) -> Outcome {
        let code = if self.left.is_empty() { DONE } else { super::LEFT };
        let number = |count: usize| Json::Number(count.to_string());
        let counts = |map: &BTreeMap<&'static str, usize>| {
            Json::Map(map.iter().map(|(kind, count)| ((*kind).to_owned(), number(*count))).collect())
        };
        let left = self.left.iter().map(|(what, why)| {
            Json::Map(vec![("what".to_owned(), Json::Text(what.clone())), ("why".to_owned(), Json::Text(why.clone()))])
        });
        let whole = Json::Map(vec![
            ("dry_run".to_owned(), Json::Bool(self.dry_run)),
            ("brought".to_owned(), counts(&self.brought)),
            ("there_already".to_owned(), counts(&self.there)),
            ("left_behind".to_owned(), Json::List(left.collect())),
        ]);
        if !self.session.terminal.is_table() {
            self.session.terminal.structured(&whole)?;
            return Ok(code);
        }
        let kinds: std::collections::BTreeSet<_> = self.brought.keys().chain(self.there.keys()).collect();
        let count = |map: &BTreeMap<&'static str, usize>, kind| map.get(kind).copied().unwrap_or_default().to_string();
        let rows: Vec<_> = kinds
            .into_iter()
            .map(|kind| vec![(*kind).to_owned(), count(&self.brought, *kind), count(&self.there, *kind)])
            .collect();
        let heading = if self.dry_run { "Would Be Brought" } else { "Brought" };
        self.session.terminal.table(&["Kind", heading, "There Already"], &rows)?;
        if !self.left.is_empty() {
            self.session.terminal.print(&format!("\n{} things were left behind:\n", self.left.len()))?;
            let rows: Vec<_> = self.left.into_iter().map(|(what, why)| vec![what, why]).collect();
            self.session.terminal.table(&["What", "Why"], &rows)?;
        }
        Ok(code)
    }
}
