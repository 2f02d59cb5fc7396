//! A picture of dots in black and white as PNG (ISO/IEC 15948), one bit a point and without compression: a QR code is
//! small, and a picture that is drawn once needs no more.

/// The picture of a square of `width` dots each way, dark where `dark` says so, with a margin of four dots, in `size`
/// points each way; in one point a dot if that is not enough.
pub(crate) fn of_dots(dark: &[bool], width: usize, size: usize) -> Vec<u8> {
    let with_margin = width + 2 * MARGIN;
    let size = size.max(with_margin);
    let scale = size / with_margin;
    let before = (size - width * scale) / 2;
    let dot = |at: usize| at.checked_sub(before).map(|at| at / scale).filter(|at| *at < width);
    let is_dark = |x: usize, y: usize| match (dot(x), dot(y)) {
        (Some(x), Some(y)) => dark.get(y * width + x).copied().unwrap_or_default(),
        _ => false,
    };
    let mut lines = Vec::with_capacity(size * (size / 8 + 2));
    for y in 0..size {
        // Each line begins with the number of its filter: none.
        lines.push(0);
        for byte in 0..size.div_ceil(8) {
            let bits = (0..8).map(|bit| byte * 8 + bit);
            lines.push(bits.fold(0, |bits, x| bits << 1 | u8::from(x >= size || !is_dark(x, y))));
        }
    }
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let side = u32::try_from(size).unwrap_or_default().to_be_bytes();
    // One bit a point, grey, and the only ways there are to compress, filter and interlace (not at all).
    chunk(&mut png, b"IHDR", &[&side[..], &side, &[1, 0, 0, 0, 0]].concat());
    chunk(&mut png, b"IDAT", &stored(&lines));
    chunk(&mut png, b"IEND", &[]);
    png
}

/// How much room a reader needs around the dots.
const MARGIN: usize = 4;

fn chunk(png: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    png.extend(u32::try_from(data.len()).unwrap_or_default().to_be_bytes());
    png.extend(kind);
    png.extend(data);
    let crc = kind.iter().chain(data).fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    });
    png.extend((!crc).to_be_bytes());
}

/// The zlib form (RFC 1950) of `data` in blocks that are stored as they are (RFC 1951).
fn stored(data: &[u8]) -> Vec<u8> {
    let mut out = vec![0x78, 0x01];
    let mut blocks = data.chunks(usize::from(u16::MAX)).peekable();
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).unwrap_or_default();
        out.push(u8::from(blocks.peek().is_none()));
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend(block);
    }
    let (low, high) = data.iter().fold((1_u32, 0_u32), |(low, high), byte| {
        let low = (low + u32::from(*byte)) % 65_521;
        (low, (high + low) % 65_521)
    });
    out.extend((high << 16 | low).to_be_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every byte was compared with what another program (`zlib` and `crc32` of Python's library) makes of it.
    #[test]
    fn a_dot_is_drawn_in_its_place() {
        let png = of_dots(&[true], 1, 9);
        assert_eq!(png.get(12..24), Some(&b"IHDR\x00\x00\x00\x09\x00\x00\x00\x09"[..]));
        let line = [0, 0xff, 0xff];
        let dot = [0, 0b1111_0111, 0xff];
        let lines = [line, line, line, line, dot, line, line, line, line].concat();
        let data = stored(&lines);
        assert_eq!(png.get(37..41), Some(&b"IDAT"[..]));
        assert_eq!(png.get(41..41 + data.len()), Some(&data[..]));
        assert_eq!(data.get(..7), Some(&[0x78, 0x01, 1, 27, 0, 228, 255][..]));
        // The sums of an empty chunk and of nothing are known from everywhere.
        assert_eq!(png.get(png.len() - 12..), Some(&b"\x00\x00\x00\x00IEND\xae\x42\x60\x82"[..]));
        assert_eq!(stored(b"Wikipedia").get(16..), Some(&0x11e6_0398_u32.to_be_bytes()[..]));
    }

    #[test]
    fn a_large_picture_takes_several_blocks() {
        let png = of_dots(&[true; 441], 21, 1000);
        let lines = 1000 * 126;
        assert!(png.len() > lines && png.len() < lines + 200);
    }
}
