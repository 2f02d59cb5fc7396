//! Texts that were made of a value, kept beside it.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

use zeroize::Zeroizing;

/// What others wrote of a value, to be written again as long as the value is the same. A clone of the value is another
/// value, so a clone is empty. The texts are wiped when dropped.
#[derive(Default)]
pub struct Kept(Mutex<Vec<(u64, Zeroizing<Vec<u8>>)>>);

/// How many writers find their text again.
const WRITERS: usize = 8;

impl Kept {
    /// Appends the text of the writer with the number `writer` to `out`. What `make` appends the first time is kept.
    pub fn write(&self, writer: u64, out: &mut Vec<u8>, make: impl FnOnce(&mut Vec<u8>)) {
        let mut texts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, text)) = texts.iter().find(|(of, _)| *of == writer) {
            return out.extend_from_slice(text);
        }
        let start = out.len();
        make(out);
        let text = out.get(start..).unwrap_or_default().to_vec();
        if texts.len() >= WRITERS {
            texts.remove(0);
        }
        texts.push((writer, Zeroizing::new(text)));
    }
}

impl Clone for Kept {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(kept: &Kept, writer: u64, text: &str) -> String {
        let mut out = b"> ".to_vec();
        kept.write(writer, &mut out, |out| out.extend_from_slice(text.as_bytes()));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_writer_finds_its_own_first_text() {
        let kept = Kept::default();
        assert_eq!(written(&kept, 1, "one"), "> one");
        assert_eq!(written(&kept, 2, "two"), "> two");
        assert_eq!(written(&kept, 1, "other"), "> one");
        assert_eq!(written(&kept.clone(), 1, "other"), "> other");
    }

    #[test]
    fn only_the_last_writers_are_remembered() {
        let kept = Kept::default();
        (0..=WRITERS as u64).for_each(|writer| drop(written(&kept, writer, "first")));
        assert_eq!(written(&kept, 1, "again"), "> first");
        assert_eq!(written(&kept, 0, "again"), "> again");
    }
}
