//! Keeps secrets out of captured output.
//!
//! A guard against accidents (a debug print, a stack trace, a curl -v), and not against a program that wants to tell:
//! whoever encodes a value in a way that is not listed in `forms` gets it through. Every other byte passes unchanged.

mod forms;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use secret::Zeroizing;

/// What stands in the place of a secret.
pub const MARK: &[u8] = b"***";
/// Shorter values are not masked: they occur by chance, and masking them would tell more than it hides.
pub const SHORTEST: usize = 6;

/// What to look for.
#[derive(Default)]
pub struct Patterns {
    automaton: Option<AhoCorasick>,
    /// The same patterns in order, to see whether a text may be the beginning of one.
    sorted: Vec<Zeroizing<Vec<u8>>>,
    longest: usize,
}

impl Patterns {
    /// The forms of all `values` that are long enough. Memory grows with the values, up to a fixed limit; what is
    /// beyond it is left out, with a warning.
    pub fn of<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut sorted = Vec::new();
        let mut size = 0;
        for value in values {
            forms::add(value, &mut |form| {
                size += form.len();
                if size <= MEMORY {
                    sorted.push(form);
                }
            });
        }
        if size > MEMORY {
            tracing::warn!(bytes = size, limit = MEMORY, "there is too much to mask; some forms are left out");
        }
        sorted.sort_by(|a: &Zeroizing<Vec<u8>>, b| a.as_slice().cmp(b.as_slice()));
        sorted.dedup();
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(sorted.iter().map(|pattern| pattern.as_slice()))
            .inspect_err(|error| tracing::error!(%error, "masking is not possible"))
            .ok()
            .filter(|_| !sorted.is_empty());
        let longest = sorted.iter().map(|pattern| pattern.len()).max().unwrap_or(0);
        Self { automaton, sorted, longest }
    }

    /// Whether nothing is looked for.
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// Every stretch of `text` that is covered by a match, in order; matches that overlap make one stretch.
    fn covered(&self, text: &[u8]) -> Vec<(usize, usize)> {
        let Some(matches) = self.automaton.as_ref().and_then(|found| found.try_find_overlapping_iter(text).ok()) else {
            return Vec::new();
        };
        // They come ordered by their ends.
        let mut stretches: Vec<(usize, usize)> = Vec::new();
        for found in matches {
            let mut start = found.start();
            while let Some(&(previous, end)) = stretches.last() {
                if start >= end {
                    break;
                }
                start = start.min(previous);
                stretches.pop();
            }
            stretches.push((start, found.end()));
        }
        stretches
    }

    /// Where the longest end of `text` starts that is the beginning of a pattern and not yet all of it.
    fn unfinished(&self, text: &[u8]) -> usize {
        let first = text.len().saturating_sub(self.longest.saturating_sub(1));
        (first..text.len()).find(|&at| text.get(at..).is_some_and(|end| self.begins(end))).unwrap_or(text.len())
    }

    fn begins(&self, text: &[u8]) -> bool {
        let at = self.sorted.partition_point(|pattern| pattern.as_slice() <= text);
        self.sorted.get(at).is_some_and(|pattern| pattern.starts_with(text))
    }
}

/// The state of one stream. Holds back no more than the possible beginning of a secret.
#[derive(Default)]
pub struct Masker {
    held: Zeroizing<Vec<u8>>,
    /// So many bytes of `held` are already out: as a mark, or because of a flush. They are kept to recognise the rest.
    shown: usize,
    /// Whether the last thing that went out was a mark for the bytes up to `shown`.
    marked: bool,
}

impl Masker {
    /// Takes the next bytes and appends to `out` what may be seen.
    pub fn feed(&mut self, patterns: &Patterns, bytes: &[u8], out: &mut Vec<u8>) {
        if patterns.is_empty() && self.held.is_empty() {
            out.extend_from_slice(bytes);
            return;
        }
        self.held.extend_from_slice(bytes);
        let keep = patterns.unfinished(&self.held);
        self.advance(patterns, keep, out);
        self.held.drain(..keep);
        self.shown = self.shown.saturating_sub(keep);
    }

    /// Nothing came for a while, or nothing will: shows what is held back. If the rest of a secret follows after all,
    /// that rest is still masked.
    pub fn flush(&mut self, patterns: &Patterns, out: &mut Vec<u8>) {
        self.advance(patterns, self.held.len(), out);
    }

    /// Shows the held bytes up to `until`, each secret as a mark. A secret that starts later stays held as well: it may
    /// be a part of a longer one.
    fn advance(&mut self, patterns: &Patterns, until: usize, out: &mut Vec<u8>) {
        for (start, end) in patterns.covered(&self.held) {
            if start > until {
                break;
            }
            if end <= self.shown {
                continue;
            }
            // A stretch that began before is one with the mark that stands there already.
            if !(start < self.shown && self.marked) {
                self.show(start, out);
                out.extend_from_slice(MARK);
            }
            self.shown = end;
            self.marked = true;
        }
        self.show(until, out);
    }

    fn show(&mut self, until: usize, out: &mut Vec<u8>) {
        if let Some(bytes) = self.held.get(self.shown..until).filter(|bytes| !bytes.is_empty()) {
            out.extend_from_slice(bytes);
            self.shown = until;
            self.marked = false;
        }
    }
}

/// The limit for all forms of all values, in bytes. The automaton needs a small multiple of it.
const MEMORY: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn masked(secrets: &[&str], pieces: &[&[u8]]) -> Vec<u8> {
        let patterns = Patterns::of(secrets.iter().map(|s| s.as_bytes()));
        let (mut masker, mut out) = (Masker::default(), Vec::new());
        for piece in pieces {
            masker.feed(&patterns, piece, &mut out);
        }
        masker.flush(&patterns, &mut out);
        out
    }

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8_lossy(&bytes).into_owned()
    }

    #[test]
    fn a_secret_is_replaced_and_the_rest_is_not_touched() {
        assert_eq!(text(masked(&["hunter2!"], &[b"a hunter2! b"])), "a *** b");
        assert_eq!(text(masked(&["hunter2!"], &[b"hunter2!hunter2!"])), "******");
        assert_eq!(text(masked(&["short"], &[b"a short one"])), "a short one");
        assert_eq!(text(masked(&[], &[b"any\0\xffthing"])), "any\0\u{fffd}thing");
    }

    #[test]
    fn overlapping_secrets_leave_no_rest() {
        let whole = "xabcdefghix";
        for at in 0..=whole.len() {
            let (a, b) = whole.as_bytes().split_at(at);
            assert_eq!(text(masked(&["abcdef", "defghi"], &[a, b])), "x***x", "split at {at}");
            assert_eq!(text(masked(&["abcdefghi", "cdefgh"], &[a, b])), "x***x", "split at {at}");
        }
    }

    #[test]
    fn every_form_is_masked_at_every_split() {
        let secret = "pä\"ss/w+rd&=<7>\\ end";
        let base64 = |padding: &str| {
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD.encode(format!("{padding}{secret}--tail"))
        };
        let forms = [
            secret.to_owned(),
            "p%C3%A4%22ss%2Fw%2Brd%26%3D%3C7%3E%5C%20end".to_owned(),
            "p%c3%a4%22ss%2fw%2brd%26%3d%3c7%3e%5c%20end".to_owned(),
            "p%C3%A4%22ss%2Fw%2Brd%26%3D%3C7%3E%5C+end".to_owned(),
            "p%C3%A4%22ss/w%2Brd%26%3D%3C7%3E%5C%20end".to_owned(),
            "pä\\\"ss/w+rd&=<7>\\\\ end".to_owned(),
            "p\\u00e4\\\"ss/w+rd&=<7>\\\\ end".to_owned(),
            "pä\\\"ss\\/w+rd&=<7>\\\\ end".to_owned(),
            "pä\\\"ss/w+rd\\u0026=\\u003c7\\u003e\\\\ end".to_owned(),
        ];
        for form in &forms {
            let whole = format!("before {form} after");
            for at in 0..=whole.len() {
                let (a, b) = whole.as_bytes().split_at(at);
                assert_eq!(text(masked(&[secret], &[a, b])), "before *** after", "{form} split at {at}");
            }
        }
        for padding in ["", "x", "xy"] {
            let whole = base64(padding);
            // The middle of the encoded secret, which does not depend on its neighbours.
            let middle = &whole[8..whole.len() - 14];
            for at in 0..=whole.len() {
                let (a, b) = whole.as_bytes().split_at(at);
                let seen = text(masked(&[secret], &[a, b]));
                assert!(seen.contains("***") && !seen.contains(middle), "{seen}");
            }
        }
    }

    #[test]
    fn lines_of_a_long_secret_are_masked_alone_and_pem_frames_are_not() {
        let key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\r\nkqhkiG9w0BAQ\n-----END PRIVATE KEY-----\n";
        assert_eq!(text(masked(&[key], &[b"> MIIEvQIBADANBg <\n> kqhkiG9w0BAQ <"])), "> *** <\n> *** <");
        assert_eq!(text(masked(&[key], &[b"-----BEGIN PRIVATE KEY-----"])), "-----BEGIN PRIVATE KEY-----");
        assert_eq!(text(masked(&["value-with-newline\n"], &[b"[value-with-newline]"])), "[***]");
    }

    #[test]
    fn a_prompt_is_shown_after_the_pause_and_the_rest_of_a_secret_still_masked() {
        let patterns = Patterns::of([b"secret-value".as_slice()]);
        let (mut masker, mut out) = (Masker::default(), Vec::new());
        masker.feed(&patterns, b"your s", &mut out);
        assert_eq!(out, b"your ");
        masker.flush(&patterns, &mut out);
        assert_eq!(out, b"your s");
        masker.feed(&patterns, b"ecret-value!", &mut out);
        assert_eq!(text(out.clone()), "your s***!");
    }

    #[test]
    fn a_very_long_secret_is_masked_in_bounded_memory() {
        let secret: String = (0..200_000).map(|i| char::from(b'!' + (i * 7 % 89) as u8)).collect();
        let whole = format!("<{secret}>");
        let patterns = Patterns::of([secret.as_bytes()]);
        let (mut masker, mut out) = (Masker::default(), Vec::new());
        for piece in whole.as_bytes().chunks(777) {
            masker.feed(&patterns, piece, &mut out);
            assert!(masker.held.len() <= patterns.longest);
        }
        masker.flush(&patterns, &mut out);
        let seen = text(out);
        assert!(seen.starts_with("<***") && seen.ends_with("***>"), "{} bytes", seen.len());
        assert!(seen.trim_matches(['<', '>', '*']).is_empty());
    }

    proptest! {
        /// Against the plain definition: a byte is masked if and only if some whole match covers it.
        #[test]
        fn masking_does_not_depend_on_the_pieces(
            parts in prop::collection::vec(prop_oneof![
                Just("alphabet".to_owned()), Just("betamax!".to_owned()), Just("xxxxxx".to_owned()), "[a-x!]{0,9}",
            ], 0..12),
            cuts in prop::collection::vec(0usize..80, 0..12),
        ) {
            let secrets = ["alphabet", "betamax!", "xxxxxx"];
            let whole = parts.concat();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(whole.len())).collect();
            cuts.extend([0, whole.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &whole.as_bytes()[w[0]..w[1]]).collect();
            let seen = text(masked(&secrets, &pieces));
            prop_assert_eq!(&seen, &text(masked(&secrets, &[whole.as_bytes()])));
            for secret in secrets {
                prop_assert!(!seen.contains(secret));
            }
            let mut covered = vec![false; whole.len()];
            for secret in secrets {
                for at in 0..whole.len() {
                    if whole[at..].starts_with(secret) {
                        covered[at..at + secret.len()].fill(true);
                    }
                }
            }
            let kept: String = whole.chars().zip(&covered).filter(|(_, c)| !**c).map(|(b, _)| b).collect();
            prop_assert_eq!(seen.replace("***", ""), kept);
        }

        #[test]
        fn bytes_without_a_secret_pass_exactly(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20),
        ) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(masked(&["\u{1}never-there\u{2}"], &pieces), pieces.concat());
        }
    }
}
