//! Columns of text as Vault's command line lays them out: four spaces between columns, dashes under the headings.

use super::json::Json;

/// Rows under their headings. A cell with nothing in it shows `n/a`.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let mut lines = vec![headings.iter().map(|heading| (*heading).to_owned()).collect::<Vec<_>>()];
    lines.push(headings.iter().map(|heading| "-".repeat(heading.chars().count())).collect());
    lines.extend(rows.iter().cloned());
    columns(&lines)
}

/// As [`table`], but each row as a paragraph of keys and values where a line would be longer than `width`.
pub(crate) fn fitting(headings: &[&str], rows: &[Vec<String>], width: Option<usize>) -> String {
    let flat = table(headings, rows);
    let longest = flat.lines().map(|line| line.chars().count()).max().unwrap_or(0);
    if headings.len() < 3 || width.is_none_or(|width| longest <= width) {
        return flat;
    }
    let paragraph = |row: &Vec<String>| {
        let pairs = headings.iter().zip(row).filter(|(_, cell)| !cell.is_empty());
        columns(&pairs.map(|(heading, cell)| vec![(*heading).to_owned(), cell.clone()]).collect::<Vec<_>>())
    };
    rows.iter().map(paragraph).collect::<Vec<_>>().join("\n\n")
}

/// Rows without headings.
pub(crate) fn columns(rows: &[Vec<String>]) -> String {
    let cells: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| shown(cell)).collect()).collect();
    let mut widths = Vec::new();
    for row in &cells {
        for (index, cell) in row.iter().enumerate() {
            let width = cell.chars().count();
            match widths.get_mut(index) {
                Some(widest) => *widest = width.max(*widest),
                None => widths.push(width),
            }
        }
    }
    let mut lines = Vec::with_capacity(cells.len());
    for row in &cells {
        let mut line = String::new();
        for (index, (cell, width)) in row.iter().zip(&widths).enumerate() {
            line.push_str(cell);
            if index + 1 < row.len() {
                line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 4));
            }
        }
        lines.push(line);
    }
    lines.join("\n")
}

/// A table of keys and values; durations are shown as such.
pub(crate) fn key_values(entries: &[(String, Json)]) -> String {
    let rows: Vec<_> = entries.iter().map(|(key, value)| vec![key.clone(), value_text(key, value)]).collect();
    table(&["Key", "Value"], &rows)
}

/// A value as a table shows it under `key`.
pub(crate) fn value_text(key: &str, value: &Json) -> String {
    match value.integer().filter(|_| is_duration(key)) {
        Some(seconds) => duration(seconds),
        None => value.plain(),
    }
}

/// A heading in equal signs, as wide as what stands below.
pub(crate) fn heading(title: &str, width: usize) -> String {
    let signs = match width.saturating_sub(title.chars().count() + 2) {
        0 => 4,
        signs => signs,
    };
    let side = "=".repeat(signs.div_ceil(2));
    format!("{side} {title} {side}")
}

/// A heading over a table of keys and values.
pub(crate) fn heading_for(title: &str, entries: &[(String, Json)]) -> String {
    let longest = entries.iter().map(|(key, _)| key.chars().count()).max().unwrap_or_default();
    heading(title, longest + "    Value".len())
}

/// Whole seconds as `768h`, `1h30m`, `45s`.
pub(crate) fn duration(seconds: i64) -> String {
    let text = exact_duration(seconds);
    let text = if text.ends_with("m0s") { text.strip_suffix("0s").unwrap_or(&text) } else { &text };
    let text = if text.ends_with("h0m") { text.strip_suffix("0m").unwrap_or(text) } else { text };
    text.to_owned()
}

/// Whole seconds with every unit below the first: `768h0m0s`.
pub(crate) fn exact_duration(seconds: i64) -> String {
    let sign = if seconds < 0 { "-" } else { "" };
    let total = seconds.unsigned_abs();
    let (hours, minutes, seconds) = (total / 3600, total / 60 % 60, total % 60);
    match (hours, minutes) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, _) => format!("{sign}{minutes}m{seconds}s"),
        _ => format!("{sign}{hours}h{minutes}m{seconds}s"),
    }
}

/// A cell without the blanks around it, so that columns line up whatever the value holds.
fn shown(cell: &str) -> String {
    let cell = cell.trim();
    if cell.is_empty() { "n/a".to_owned() } else { cell.to_owned() }
}

fn is_duration(key: &str) -> bool {
    ["period", "ttl", "duration"]
        .iter()
        .any(|word| key == *word || key.strip_suffix(word).is_some_and(|rest| rest.ends_with('_')))
        || key == "lease_max"
        || key == "ttl_max"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [vec!["a".to_owned(), "1".to_owned()], vec!["longer".to_owned(), String::new()]];
        assert_eq!(table(&["Key", "Value"], &rows), "Key       Value\n---       -----\na         1\nlonger    n/a");
    }

    #[test]
    fn a_table_that_is_too_wide_becomes_paragraphs() {
        let row = |name: &str| vec![name.to_owned(), "read".to_owned(), String::new()];
        let (headings, rows) = (["Who", "Operation", "Rule"], [row("app"), row("web")]);
        let flat = table(&headings, &rows);
        assert_eq!(fitting(&headings, &rows, None), flat);
        assert_eq!(fitting(&headings, &rows, Some(80)), flat);
        assert_eq!(
            fitting(&headings, &rows, Some(20)),
            "Who          app\nOperation    read\n\nWho          web\nOperation    read"
        );
        // Keys and values are that already.
        let pair = [vec!["a".to_owned(), "x".repeat(99)]];
        assert_eq!(fitting(&["Key", "Value"], &pair, Some(20)), table(&["Key", "Value"], &pair));
    }

    #[test]
    fn durations_read_as_people_say_them() {
        let cases = [
            (0, "0s"),
            (45, "45s"),
            (60, "1m"),
            (90, "1m30s"),
            (3600, "1h"),
            (5400, "1h30m"),
            (2_764_800, "768h"),
            (-60, "-1m"),
        ];
        for (seconds, wanted) in cases {
            assert_eq!(duration(seconds), wanted);
        }
        assert_eq!(exact_duration(300), "5m0s");
    }

    #[test]
    fn keys_that_name_durations_are_known() {
        for key in ["ttl", "token_ttl", "period", "rotation_period", "lease_duration"] {
            assert!(is_duration(key), "{key}");
        }
        for key in ["max_ttls", "battle", "version"] {
            assert!(!is_duration(key), "{key}");
        }
    }

    #[test]
    fn headings_fit_what_is_below() {
        assert_eq!(heading("Secret Path", "secret/data/creds".len()), "== Secret Path ==");
        assert_eq!(heading("Metadata", 24), "======= Metadata =======");
        assert_eq!(heading("Data", 17), "====== Data ======");
        assert_eq!(heading("Secret Path", 3), "== Secret Path ==");
    }
}
