//! A block of the configuration: its entries are taken out by name, and what is left in the end was not known.

use std::{collections::BTreeMap, fmt, path::Path, sync::Arc, time::Duration};

use hcl1::{Item, Key, Value};
use secret::SecretString;

/// Where an entry stands.
#[derive(Clone, Debug)]
pub(super) struct Place {
    file: Arc<Path>,
    line: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// A block of the configuration, or all of it.
#[derive(Debug)]
pub(super) struct Section {
    /// The label, as in `listener "tcp"`; empty at the top.
    pub(super) label: String,
    /// How messages name it; empty at the top.
    name: String,
    place: Place,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    key: String,
    place: Place,
    labels: Vec<Key>,
    value: Value,
}

impl Section {
    /// The top of the configuration, with what `file` says.
    pub(super) fn top(file: &Path, text: &str) -> Result<Self, String> {
        let file: Arc<Path> = file.into();
        let items = hcl1::parse(text).map_err(|error| format!("{}:{}: {}", file.display(), error.line, error.what))?;
        let place = Place { file, line: 1 };
        Ok(Self { label: String::new(), name: String::new(), entries: entries(items, &place), place })
    }

    /// Adds what a later file says: it replaces what was said under the same name, except for `adding_up`.
    pub(super) fn merge(&mut self, later: Self, adding_up: &[&str]) {
        let adds = |entry: &Entry| adding_up.contains(&entry.key.as_str());
        let replaced = |entry: &Entry| !adds(entry) && later.entries.iter().any(|one| one.key == entry.key);
        self.entries.retain(|entry| !replaced(entry));
        self.entries.extend(later.entries);
    }

    /// Whether something is said under this name.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    /// The blocks under this name, with their labels, in each of the forms that HCL and JSON give them.
    pub(super) fn blocks(&mut self, key: &str) -> Result<Vec<Self>, String> {
        let (found, rest) = std::mem::take(&mut self.entries).into_iter().partition(|entry| entry.key == key);
        self.entries = rest;
        let mut blocks = Vec::new();
        for Entry { key, place, labels, value } in found {
            labelled(&key, &place, &labels, value, &mut blocks)
                .ok_or_else(|| format!("{place}: {key}: expected a block such as: {key} \"NAME\" {{ … }}"))?;
        }
        Ok(blocks)
    }

    /// The entries of the block without a label under this name, as names and values.
    pub(super) fn pairs(&mut self, key: &str) -> Result<Vec<(String, Place, Value)>, String> {
        let Some((place, value)) = self.take(key)? else { return Ok(Vec::new()) };
        match value {
            Value::Object(items) => {
                Ok(entries(items, &place).into_iter().map(|entry| (entry.key, entry.place, entry.value)).collect())
            }
            _ => Err(self.wrong(&place, key, "expected a block")),
        }
    }

    pub(super) fn text(&mut self, key: &str) -> Result<Option<String>, String> {
        match self.take(key)? {
            None => Ok(None),
            Some((_, Value::Text(text))) => Ok(Some(text)),
            Some((place, _)) => Err(self.wrong(&place, key, "expected a text in quotes")),
        }
    }

    pub(super) fn flag(&mut self, key: &str) -> Result<Option<bool>, String> {
        Ok(self.lenient::<api::Flag>(key, "expected true or false")?.map(|flag| flag.0))
    }

    pub(super) fn number(&mut self, key: &str) -> Result<Option<u64>, String> {
        Ok(self.lenient::<api::Count>(key, "expected a whole number that is not negative")?.map(|count| count.0))
    }

    /// A size; a negative one is no limit.
    pub(super) fn size(&mut self, key: &str) -> Result<Option<usize>, String> {
        if let Some(Entry { value: Value::Number(number), .. }) = self.entries.iter().find(|entry| entry.key == key)
            && number.as_i64().is_some_and(|number| number < 0)
        {
            self.take(key)?;
            return Ok(Some(usize::MAX));
        }
        Ok(self.number(key)?.map(|size| usize::try_from(size).unwrap_or(usize::MAX)))
    }

    /// A number of seconds, or a text such as `90s`. Zero is given as it is.
    pub(super) fn duration(&mut self, key: &str) -> Result<Option<Duration>, String> {
        Ok(self.lenient::<api::Ttl>(key, "expected a number of seconds or a text such as 90s")?.map(|ttl| ttl.0))
    }

    /// A list of texts, or one text with commas between them.
    pub(super) fn list(&mut self, key: &str) -> Result<Option<(Place, Vec<String>)>, String> {
        let Some((place, value)) = self.take(key)? else { return Ok(None) };
        let split = |text: &str| text.split(',').map(|one| one.trim().to_owned()).collect::<Vec<_>>();
        let mut texts = match &value {
            Value::Text(text) => Some(split(text)),
            Value::List(values) => values.iter().map(as_text).collect(),
            _ => None,
        }
        .ok_or_else(|| self.wrong(&place, key, "expected a list of texts"))?;
        texts.retain(|text| !text.is_empty());
        Ok(Some((place, texts)))
    }

    /// Drops what is under this name; where it stands, if it is there.
    pub(super) fn pass_over(&mut self, key: &str) -> Option<Place> {
        let place = self.entries.iter().find(|entry| entry.key == key).map(|entry| entry.place.clone());
        self.entries.retain(|entry| entry.key != key);
        place
    }

    /// All that is left, as texts that may be secrets: numbers and switches by their names.
    pub(super) fn texts(self) -> Result<BTreeMap<String, SecretString>, String> {
        let mut texts = BTreeMap::new();
        for Entry { key, place, labels, value } in self.entries {
            let text = match value {
                Value::Text(text) if labels.is_empty() => text,
                Value::Flag(flag) if labels.is_empty() => flag.to_string(),
                Value::Number(number) if labels.is_empty() => number.to_string(),
                Value::Null => continue,
                _ => return Err(format!("{place}: {}: {key}: expected a text in quotes", self.name)),
            };
            texts.insert(key, SecretString::new(text));
        }
        Ok(texts)
    }

    /// A message about an entry that was taken.
    pub(super) fn wrong(&self, place: &Place, key: &str, why: &str) -> String {
        let within = if self.name.is_empty() { String::new() } else { format!("{}: ", self.name) };
        format!("{place}: {within}{key}: {why}")
    }

    /// A message about the block as a whole.
    pub(super) fn says(&self, why: &str) -> String {
        match self.name.as_str() {
            "" => format!("{}: {why}", self.place.file.display()),
            name => format!("{}: {name}: {why}", self.place),
        }
    }

    /// Warnings of what was not taken.
    pub(super) fn unknown(self) -> Vec<String> {
        let within = if self.name.is_empty() { String::new() } else { format!(" of {}", self.name) };
        let warning = |entry: Entry| {
            let Entry { key, place, .. } = entry;
            format!("{place}: unknown or unsupported field {key}{within}; it is passed over")
        };
        self.entries.into_iter().map(warning).collect()
    }

    /// What is said under this name, once.
    fn take(&mut self, key: &str) -> Result<Option<(Place, Value)>, String> {
        let Some(at) = self.entries.iter().position(|entry| entry.key == key) else { return Ok(None) };
        let Entry { place, labels, value, .. } = self.entries.remove(at);
        if let Some(again) = self.entries.iter().find(|entry| entry.key == key) {
            return Err(self.wrong(&again.place, key, &format!("it stands in line {} already", place.line)));
        }
        if !labels.is_empty() {
            return Err(self.wrong(&place, key, "it takes no label"));
        }
        Ok(Some((place, value)).filter(|(_, value)| !matches!(value, Value::Null)))
    }

    fn lenient<T: serde::de::DeserializeOwned>(&mut self, key: &str, wanted: &str) -> Result<Option<T>, String> {
        let Some((place, value)) = self.take(key)? else { return Ok(None) };
        let scalar = match value {
            Value::Flag(flag) => serde_json::Value::Bool(flag),
            Value::Number(number) => serde_json::Value::Number(number),
            Value::Text(text) => serde_json::Value::String(text),
            Value::List(_) | Value::Null | Value::Object(_) => return Err(self.wrong(&place, key, wanted)),
        };
        serde_json::from_value(scalar).map(Some).map_err(|_| self.wrong(&place, key, wanted))
    }
}

/// The text of a value that is one.
pub(super) fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::Flag(_) | Value::List(_) | Value::Null | Value::Number(_) | Value::Object(_) => None,
    }
}

fn entries(items: Vec<Item>, within: &Place) -> Vec<Entry> {
    let entry = |item: Item| {
        let mut keys = item.keys.into_iter();
        let key = keys.next()?;
        let place = Place { file: Arc::clone(&within.file), line: key.line };
        Some(Entry { key: key.text, place, labels: keys.collect(), value: item.value })
    };
    items.into_iter().filter_map(entry).collect()
}

/// `key "label" { … }`, `key = { label = { … } }`, and lists of either.
fn labelled(key: &str, place: &Place, labels: &[Key], value: Value, blocks: &mut Vec<Section>) -> Option<()> {
    match (labels, value) {
        (_, Value::List(values)) => {
            values.into_iter().try_for_each(|value| labelled(key, place, labels, value, blocks))
        }
        ([label], Value::Object(items)) => {
            let name = format!("{key} {:?}", label.text);
            let entries = entries(items, place);
            blocks.push(Section { label: label.text.clone(), name, place: place.clone(), entries });
            Some(())
        }
        ([], Value::Object(items)) => items.into_iter().try_for_each(|item| {
            let line = item.keys.first().map_or(place.line, |key| key.line);
            let place = Place { file: Arc::clone(&place.file), line };
            labelled(key, &place, &item.keys, item.value, blocks)
        }),
        _ => None,
    }
}
