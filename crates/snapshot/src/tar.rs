//! Parts of a tar archive (POSIX ustar): plain files alone.

use std::io::{self, Read};

use crate::{Error, error::damaged};

/// Writes the head of a part. Names have at most 100 bytes and sizes at most 8 GiB; all of ours do.
pub(crate) fn head(name: &str, size: usize) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    put(&mut block, 0, name.as_bytes());
    put(&mut block, 100, b"0000600\0");
    put(&mut block, 108, b"0000000\0");
    put(&mut block, 116, b"0000000\0");
    put(&mut block, 124, format!("{size:011o}\0").as_bytes());
    put(&mut block, 136, b"00000000000\0");
    put(&mut block, 148, b"        ");
    put(&mut block, 156, b"0");
    put(&mut block, 257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    put(&mut block, 148, format!("{sum:06o}\0 ").as_bytes());
    block
}

/// How many zeros follow a part of this size.
pub(crate) fn padding(size: usize) -> usize {
    size.next_multiple_of(BLOCK) - size
}

fn put(block: &mut [u8; BLOCK], at: usize, bytes: &[u8]) {
    for (to, from) in block.iter_mut().skip(at).zip(bytes) {
        *to = *from;
    }
}

/// Reads the next part, of at most as many bytes as `most` allows for its name; `None` at the end of the archive.
pub(crate) fn next(
    from: &mut impl Read,
    most: impl Fn(&str) -> Option<usize>,
) -> Result<Option<(String, Vec<u8>)>, Error> {
    let mut block = [0; BLOCK];
    from.read_exact(&mut block).map_err(cut)?;
    if block == [0; BLOCK] {
        return Ok(None);
    }
    let mut plain = block;
    put(&mut plain, 148, b"        ");
    let sum: u32 = plain.iter().map(|byte| u32::from(*byte)).sum();
    if octal(&block, 148, 8) != Some(u64::from(sum)) {
        return Err(damaged("the head of a part is wrong"));
    }
    let name = block.get(..100).and_then(|name| name.split(|byte| *byte == 0).next()).unwrap_or_default();
    let name = String::from_utf8_lossy(name).into_owned();
    let size = octal(&block, 124, 12).and_then(|size| usize::try_from(size).ok());
    let size = size.ok_or_else(|| damaged("the size of a part cannot be read"))?;
    let most = most(&name).ok_or_else(|| damaged(format!("it has an unknown part {name:?}")))?;
    if size > most || block.get(156).is_none_or(|kind| !matches!(kind, b'0' | 0)) {
        return Err(damaged(format!("the part {name:?} is none that a snapshot has")));
    }
    let mut bytes = vec![0; size];
    from.read_exact(&mut bytes).map_err(cut)?;
    let mut padding = vec![0; padding(size)];
    from.read_exact(&mut padding).map_err(cut)?;
    Ok(Some((name, bytes)))
}

fn octal(block: &[u8; BLOCK], at: usize, length: usize) -> Option<u64> {
    let field = std::str::from_utf8(block.get(at..at + length)?).ok()?;
    u64::from_str_radix(field.trim_matches(['\0', ' ']), 8).ok()
}

/// What a fault while reading means: the file ends too soon, or its own checks fail.
pub(crate) fn cut(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => damaged("it is cut off"),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => damaged("its compression is broken"),
        _ => Error::Io(error),
    }
}

pub(crate) const BLOCK: usize = 512;
