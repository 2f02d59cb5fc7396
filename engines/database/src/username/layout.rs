//! Times in Go's way of writing formats: a layout is the moment "Mon Jan 2 15:04:05 2006" written as wanted.

use clock::Timestamp;

/// `now`, UTC, in the form of `layout`. What is no part of the reference moment stays as it is.
pub(super) fn format(layout: &str, now: Timestamp) -> String {
    let (mut out, mut rest) = (String::new(), layout);
    while let Some(first) = rest.chars().next() {
        let part = PARTS.iter().find(|(part, _)| rest.starts_with(part));
        let (step, text) = match part {
            Some((part, directive)) => (part.len(), render(directive, now)),
            None => (first.len_utf8(), first.to_string()),
        };
        out.push_str(&text);
        rest = rest.get(step..).unwrap_or_default();
    }
    out
}

fn render(directive: &str, now: Timestamp) -> String {
    match directive.strip_prefix('.') {
        Some(digits) => format!(".{}", now.strftime(digits)),
        None => now.strftime(directive).to_string(),
    }
}

/// The parts of the reference moment, longest first where one begins another, and how they are written here.
const PARTS: &[(&str, &str)] = &[
    ("January", "%B"),
    ("Jan", "%b"),
    ("Monday", "%A"),
    ("Mon", "%a"),
    ("MST", "UTC"),
    ("2006", "%Y"),
    ("002", "%j"),
    ("01", "%m"),
    ("02", "%d"),
    ("03", "%I"),
    ("04", "%M"),
    ("05", "%S"),
    ("06", "%y"),
    ("15", "%H"),
    ("_2", "%e"),
    ("PM", "%p"),
    ("pm", "%P"),
    ("-07:00", "+00:00"),
    ("-0700", "+0000"),
    ("-07", "+00"),
    ("Z07:00", "Z"),
    ("Z0700", "Z"),
    (".000000000", ".%9f"),
    (".000000", ".%6f"),
    (".000", ".%3f"),
    ("1", "%-m"),
    ("2", "%-d"),
    ("3", "%-I"),
    ("4", "%-M"),
    ("5", "%-S"),
];
