//! The layout of HCL: two blanks per level, `=` of neighbouring lines below each other, at most one empty line.

/// Lays out `text`, which must be valid HCL. Only blanks at the ends of lines and around `=` change.
pub(super) fn format(text: &str) -> String {
    let mut lines: Vec<Line> = Vec::new();
    let mut scan = Scan::default();
    for raw in text.lines() {
        if scan.is_literal() {
            // Inside a heredoc or a comment of several lines, every blank counts.
            scan.line(raw);
            lines.push(Line { text: raw.trim_end_matches('\r').to_owned(), depth: None, equals: None });
            continue;
        }
        let text = raw.trim();
        let before = scan.depth;
        let equals = scan.line(text);
        let closing = text.chars().take_while(|c| "}])".contains(*c)).count();
        let depth = before.saturating_sub(closing);
        if text.is_empty() && lines.last().is_none_or(|last| last.text.is_empty()) {
            continue;
        }
        let single = scan.depth == before && !scan.is_literal();
        lines.push(Line {
            text: text.to_owned(),
            depth: Some(depth),
            equals: equals.filter(|_| single && before == depth),
        });
    }
    while lines.last().is_some_and(|line| line.text.is_empty()) {
        lines.pop();
    }
    align(&mut lines);
    let mut out = String::with_capacity(text.len());
    for line in &lines {
        if !line.text.is_empty() {
            out.extend(std::iter::repeat_n("  ", line.depth.unwrap_or(0)));
            out.push_str(&line.text);
        }
        out.push('\n');
    }
    out
}

struct Line {
    text: String,
    /// The level, unless the line is not to be touched.
    depth: Option<usize>,
    /// Where the `=` of an attribute on this line alone is.
    equals: Option<usize>,
}

/// Puts the `=` of neighbouring attributes below each other.
fn align(lines: &mut [Line]) {
    let mut start = 0;
    while start < lines.len() {
        let rest = lines.get_mut(start..).unwrap_or_default();
        let depth = rest.first().and_then(|line| line.depth);
        let group = rest.iter().take_while(|line| line.equals.is_some() && line.depth == depth).count();
        let block = rest.get_mut(..group).unwrap_or_default();
        let name = |line: &Line| line.text.split_at(line.equals.unwrap_or(0)).0.trim_end().to_owned();
        let width = block.iter().map(|line| name(line).chars().count()).max().unwrap_or(0);
        for line in block {
            let value = line.text.split_at(line.equals.unwrap_or(0)).1.trim_start_matches('=').trim_start().to_owned();
            line.text = format!("{:width$} = {value}", name(line));
        }
        start += group.max(1);
    }
}

/// What the text so far has opened.
#[derive(Default)]
struct Scan {
    depth: usize,
    heredoc: Option<String>,
    comment: bool,
}

impl Scan {
    /// Whether the next line's blanks belong to the text.
    fn is_literal(&self) -> bool {
        self.heredoc.is_some() || self.comment
    }

    /// Reads a line. Returns where its first `=` outside of brackets is.
    fn line(&mut self, line: &str) -> Option<usize> {
        if let Some(end) = &self.heredoc {
            if line.trim() == end {
                self.heredoc = None;
            }
            return None;
        }
        let mut equals = None;
        let mut nested = 0_usize;
        let mut chars = line.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            let next = chars.peek().map(|(_, c)| *c);
            match c {
                '*' if self.comment && next == Some('/') => {
                    chars.next();
                    self.comment = false;
                }
                _ if self.comment => {}
                '#' => break,
                '/' if next == Some('/') => break,
                '/' if next == Some('*') => {
                    chars.next();
                    self.comment = true;
                }
                '"' => {
                    while let Some((_, c)) = chars.next() {
                        match c {
                            '\\' => {
                                chars.next();
                            }
                            '"' => break,
                            _ => {}
                        }
                    }
                }
                '<' if next == Some('<') => {
                    let word = line.get(at + 2..).unwrap_or_default().trim_start_matches('-').trim();
                    self.heredoc = Some(word.to_owned());
                    break;
                }
                '{' | '[' | '(' => {
                    self.depth += 1;
                    nested += 1;
                }
                '}' | ']' | ')' => {
                    self.depth = self.depth.saturating_sub(1);
                    nested = nested.saturating_sub(1);
                }
                '=' if equals.is_none() && nested == 0 && next != Some('=') && at > 0 => equals = Some(at),
                _ => {}
            }
        }
        equals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_follow_the_structure() {
        let given = "\n\n# what the app may do\npath \"secret/data/app/*\" {\ncapabilities=[\"read\",\n\"list\"]\n   min_wrapping_ttl = \"1s\"\n max_wrapping_ttl=\"90s\" # not longer\n}\n\n\n\npath \"a=b\"   { capabilities = [\"deny\"] }\n\n";
        let wanted = "# what the app may do\npath \"secret/data/app/*\" {\n  capabilities=[\"read\",\n    \"list\"]\n  min_wrapping_ttl = \"1s\"\n  max_wrapping_ttl = \"90s\" # not longer\n}\n\npath \"a=b\"   { capabilities = [\"deny\"] }\n";
        assert_eq!(format(given), wanted);
        assert_eq!(format(wanted), wanted);
    }

    #[test]
    fn text_in_comments_and_heredocs_stays() {
        let given = "/* a {\n     b = c\n*/\nx = <<EOF\n   {  keep   =  this\nEOF\ny=1\n";
        let wanted = "/* a {\n     b = c\n*/\nx = <<EOF\n   {  keep   =  this\nEOF\ny = 1\n";
        assert_eq!(format(given), wanted);
    }
}
