//! A line that was written once, kept to be written again for the same request asked once more.

use clock::Timestamp;
use secret::Zeroizing;

use crate::json::{write_number, write_text, write_time};

/// A line without what is another in each request: the moment, the id and the port.
pub(crate) struct Split {
    text: Zeroizing<Vec<u8>>,
    /// Where each of them stands in the text.
    time: usize,
    id: Option<usize>,
    port: Option<usize>,
}

/// Where in a line a value stands that is another in each request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// The places of a line, in this order; none of what is not written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Places {
    pub(crate) time: Place,
    pub(crate) id: Option<Place>,
    pub(crate) port: Option<Place>,
}

impl Split {
    /// Takes out of a line what stands at the places.
    pub(crate) fn new(line: &[u8], places: &Places) -> Self {
        let Places { time, id, port } = *places;
        let mut text = Zeroizing::new(Vec::with_capacity(line.len()));
        let mut from = 0;
        let mut take = |place: Place| {
            text.extend_from_slice(line.get(from..place.start).unwrap_or_default());
            from = place.end;
            text.len()
        };
        let (time, id, port) = (take(time), id.map(&mut take), port.map(&mut take));
        take(Place { start: line.len(), end: line.len() });
        Self { text, time, id, port }
    }

    /// Appends the line of another request. What the line did not say the first time, it does not say now.
    pub(crate) fn write(&self, time: Timestamp, id: &str, port: u16, out: &mut Vec<u8>) {
        let mut written = 0;
        let mut text_to = |out: &mut Vec<u8>, end: usize| {
            out.extend_from_slice(self.text.get(written..end).unwrap_or_default());
            written = end;
        };
        text_to(out, self.time);
        write_time(out, time);
        if let Some(at) = self.id {
            text_to(out, at);
            write_text(out, id);
        }
        if let Some(at) = self.port {
            text_to(out, at);
            write_number(out, u64::from(port));
        }
        text_to(out, self.text.len());
    }

    /// The bytes it takes in memory, about.
    pub(crate) fn size(&self) -> usize {
        self.text.len() + size_of::<Self>()
    }
}
