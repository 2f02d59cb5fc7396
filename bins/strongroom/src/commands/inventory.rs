//! What `token list` and `lease list` have in common: pages of an inventory, with filters.

use crate::{failure::Failure, input, output::json::Json, session::Session};

/// Which ones are wanted
#[derive(clap::Args)]
pub(super) struct Filter {
    /// Only those of this entity
    #[arg(long, value_name = "ID")]
    entity: Option<String>,

    /// Only those that this role made
    #[arg(long, value_name = "NAME")]
    role: Option<String>,

    /// Only those made at this path or below it, such as auth/userpass or database/creds/app
    #[arg(long, value_name = "PATH")]
    mount: Option<String>,

    /// Only those that are at least so old, as in 24h
    #[arg(long, value_name = "TIME", value_parser = input::duration)]
    older_than: Option<String>,

    /// Only those that no renewal keeps longer than this
    #[arg(long, value_name = "TIME", value_parser = input::duration)]
    ends_within: Option<String>,

    /// At most so many
    #[arg(long, value_name = "NUMBER", default_value_t = 1000)]
    limit: usize,
}

impl Filter {
    /// All that fit, page by page, up to the limit; says so if there are more.
    pub(super) async fn all(&self, session: &Session, what: &str) -> Result<Vec<Json>, Failure> {
        let path = format!("sys/inventory/{what}");
        let given = [
            ("entity_id", &self.entity),
            ("role", &self.role),
            ("mount", &self.mount),
            ("older_than", &self.older_than),
            ("ends_within", &self.ends_within),
        ];
        let mut found = Vec::new();
        let mut after = String::new();
        loop {
            let limit = self.limit.saturating_sub(found.len()).clamp(1, 1000).to_string();
            let mut query: Vec<(&str, &str)> = vec![("limit", &limit)];
            query.extend(given.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))));
            if !after.is_empty() {
                query.push(("after", &after));
            }
            let page = session.read(&format!("listing {what}"), &path, &query).await?.and_then(|answer| answer.data);
            let Some(page) = page else { return Ok(found) };
            found.extend(page.get(what).map(Json::items).unwrap_or_default().iter().cloned());
            let next = page.text_at("after").to_owned();
            // A server that repeats itself must not keep us here.
            if !page.is_true("more") || next.is_empty() || next == after {
                return Ok(found);
            }
            if found.len() >= self.limit {
                session.terminal.note(&format!("There are more than {}; give -limit or a filter.", self.limit));
                return Ok(found);
            }
            after = next;
        }
    }
}

/// A span of seconds under `name`, for people.
pub(super) fn span(of: &Json, name: &str) -> String {
    crate::output::table::duration(of.integer_at(name))
}

/// A moment under `name`; nothing is never.
pub(super) fn moment(of: &Json, name: &str) -> String {
    match of.text_at(name) {
        "" => "never".to_owned(),
        // To the second is enough in a table.
        text => text.split_once('.').map_or(text.to_owned(), |(seconds, _)| format!("{seconds}Z")),
    }
}
