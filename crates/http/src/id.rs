//! Request ids: random UUIDs.

use std::cell::RefCell;

use gate::RequestId;

/// Random bytes are taken in stock, so that most ids cost no call into the generator.
const STOCK: usize = 64 * 16;

struct Stock {
    bytes: [u8; STOCK],
    used: usize,
}

thread_local! {
    static RANDOM: RefCell<Stock> = const { RefCell::new(Stock { bytes: [0; STOCK], used: STOCK }) };
}

/// A new id: a random UUID (version 4) in lower case.
pub(crate) fn make_request_id() -> RequestId {
    let random = RANDOM.with_borrow_mut(|stock| {
        if stock.used == STOCK {
            crypto::random::fill(&mut stock.bytes);
            stock.used = 0;
        }
        let mut random = [0; 16];
        if let Some(next) = stock.bytes.get(stock.used..stock.used + 16) {
            random.copy_from_slice(next);
        }
        stock.used += 16;
        random
    });
    let mut value = u128::from_be_bytes(random);
    value = value & !(0xf << 76) | 0x4 << 76; // the version
    value = value & !(0x3 << 62) | 0x2 << 62; // the variant
    let mut text = [b'-'; 36];
    let mut shift = 128;
    for (at, byte) in text.iter_mut().enumerate() {
        if matches!(at, 8 | 13 | 18 | 23) {
            continue;
        }
        shift -= 4;
        *byte = HEX.get((value >> shift) as usize & 0xf).copied().unwrap_or(b'0');
    }
    // Nothing but ASCII was written.
    std::str::from_utf8(&text).unwrap_or_default().into()
}

const HEX: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_uuids_and_differ() {
        let ids: std::collections::BTreeSet<_> = (0..1000).map(|_| make_request_id()).collect();
        assert_eq!(ids.len(), 1000);
        for id in ids {
            assert_eq!(id.len(), 36);
            let parts: Vec<_> = id.split('-').map(str::len).collect();
            assert_eq!(parts, [8, 4, 4, 4, 12]);
            assert_eq!(&id[14..15], "4", "{id}");
            assert!("89ab".contains(&id[19..20]), "{id}");
            assert!(id.chars().all(|c| c == '-' || c.is_ascii_hexdigit() && !c.is_uppercase()));
        }
    }
}
