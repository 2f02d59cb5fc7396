//! The shapes in which a value tends to turn up in output.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use secret::Zeroizing;

use super::SHORTEST;

/// Longer values are looked for in pieces of [`PIECE`] bytes, so that the patterns stay short.
const WHOLE: usize = 4096;
const PIECE: usize = 1024;

/// Gives `take` every form of `value`; nothing if it is too short.
pub(super) fn add(value: &[u8], take: &mut impl FnMut(Zeroizing<Vec<u8>>)) {
    let value = value.trim_ascii_end();
    if value.len() < SHORTEST {
        return;
    }
    if value.len() <= WHOLE {
        add_piece(value, take);
    } else {
        // A short rest is joined with the piece before it, so that the end is masked too.
        let pieces = value.len() / PIECE;
        for (n, start) in (0..pieces).map(|n| (n, n * PIECE)) {
            let end = if n + 1 == pieces { value.len() } else { start + PIECE };
            add_piece(value.get(start..end).unwrap_or_default(), take);
        }
    }
    for line in value.split(|&b| b == b'\n').map(<[u8]>::trim_ascii).filter(|line| line.len() != value.len()) {
        // The frame of a PEM file is no secret, and masking it would hide every certificate in the output.
        if line.len() >= SHORTEST && line.len() <= WHOLE && !line.starts_with(b"-----") {
            add_piece(line, take);
        }
    }
}

fn add_piece(value: &[u8], take: &mut impl FnMut(Zeroizing<Vec<u8>>)) {
    take(Zeroizing::new(value.to_vec()));
    add_base64(value, take);
    add_url(value, take);
    if let Ok(text) = std::str::from_utf8(value) {
        add_json(text, take);
    }
}

/// Base64 encodes groups of three bytes, so the same value has three looks, depending on what stands before it. Only
/// the digits that do not depend on the neighbours are taken.
fn add_base64(value: &[u8], take: &mut impl FnMut(Zeroizing<Vec<u8>>)) {
    for before in 0..3usize {
        let mut padded = Zeroizing::new(vec![0; before]);
        padded.reserve_exact(value.len());
        padded.extend_from_slice(value);
        let first = (before * 8).div_ceil(6);
        let last = padded.len() * 8 / 6;
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let encoded = Zeroizing::new(engine.encode(&*padded).into_bytes());
            if let Some(digits) = encoded.get(first..last).filter(|digits| digits.len() >= SHORTEST) {
                take(Zeroizing::new(digits.to_vec()));
            }
        }
    }
}

/// Percent-encoding, as the usual libraries do it: they differ in what they leave alone, in the case of the digits, and
/// in the space.
fn add_url(value: &[u8], take: &mut impl FnMut(Zeroizing<Vec<u8>>)) {
    for left_alone in [b"-_.~".as_slice(), b"-_.~/", b"-_.~!*'()", b"-_.*"] {
        for digits in [b"0123456789ABCDEF", b"0123456789abcdef"] {
            for plus in [false, true] {
                let mut encoded = Zeroizing::new(Vec::with_capacity(value.len() * 3));
                for &byte in value {
                    if byte.is_ascii_alphanumeric() || left_alone.contains(&byte) {
                        encoded.push(byte);
                    } else if plus && byte == b' ' {
                        encoded.push(b'+');
                    } else {
                        let digit = |n: u8| digits.get(usize::from(n)).copied().unwrap_or(b'0');
                        encoded.extend([b'%', digit(byte >> 4), digit(byte & 15)]);
                    }
                }
                if *encoded != *value {
                    take(encoded);
                }
            }
        }
    }
}

/// The inside of a JSON string: plain, all in ASCII, with escaped slashes, and safe for HTML.
fn add_json(text: &str, take: &mut impl FnMut(Zeroizing<Vec<u8>>)) {
    for (ascii, slash, html) in
        [(false, false, false), (true, false, false), (false, true, false), (true, true, false), (false, false, true)]
    {
        let mut escaped = Zeroizing::new(Vec::with_capacity(text.len() * 6));
        for c in text.chars() {
            match c {
                '"' => escaped.extend(b"\\\""),
                '\\' => escaped.extend(b"\\\\"),
                '\n' => escaped.extend(b"\\n"),
                '\r' => escaped.extend(b"\\r"),
                '\t' => escaped.extend(b"\\t"),
                '\u{8}' => escaped.extend(b"\\b"),
                '\u{c}' => escaped.extend(b"\\f"),
                '/' if slash => escaped.extend(b"\\/"),
                '<' | '>' | '&' if html => escape(c, &mut escaped),
                c if c < ' ' || (ascii && !c.is_ascii()) => escape(c, &mut escaped),
                c => escaped.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if *escaped != *text.as_bytes() {
            take(escaped);
        }
    }
}

fn escape(c: char, out: &mut Vec<u8>) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        out.extend(format!("\\u{unit:04x}").as_bytes());
    }
}
