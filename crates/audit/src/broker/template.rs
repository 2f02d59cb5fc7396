//! Both records of a request that was answered, as the devices of the moment write them.

use std::sync::Arc;

use clock::Timestamp;

use super::{Broker, Handed, hand_over, slot::Slot};
use crate::{entry::Entry, split::Split};

/// The two records of a request, ready to be written again when the same is asked again by the same and answered the same.
///
/// It holds what the devices write: keyed hashes, or what they write in clear. It is wiped when dropped.
pub struct Template {
    slots: Arc<Vec<Arc<Slot>>>,
    /// For each device, the record of the way in and of the way out.
    lines: Box<[[Split; 2]]>,
}

/// What is another each time the same is asked.
#[derive(Clone, Copy, Debug)]
pub struct Again<'a> {
    /// The id of the request.
    pub id: &'a str,
    /// The port that it came from; not zero.
    pub port: u16,
    /// When it came in.
    pub asked: Timestamp,
    /// When it was answered.
    pub answered: Timestamp,
}

impl Broker {
    /// The records of a request, both of which are about the same id and port. `None` if the broker is closed.
    pub fn template(&self, request: &Entry<'_>, response: &Entry<'_>) -> Option<Template> {
        let slots = self.slots.load_full();
        if slots.is_empty() && !self.is_empty() {
            return None;
        }
        let lines = slots.iter().map(|slot| [slot.format.split(request), slot.format.split(response)]).collect();
        Some(Template { slots, lines })
    }

    /// Gives both records to all devices, as [`Broker::hand_over`] does with each. `None` if the devices are no longer
    /// those that the template was made for: then nothing was given to any.
    pub fn hand_over_again(&self, template: &Template, again: &Again<'_>) -> Option<Handed> {
        let slots = self.slots.load();
        if !Arc::ptr_eq(&slots, &template.slots) {
            return None;
        }
        let pending = hand_over(&slots, RECORDS, |at, _, out| {
            let Some([request, response]) = template.lines.get(at) else { return };
            request.write(again.asked, again.id, again.port, out);
            response.write(again.answered, again.id, again.port, out);
        });
        Some(Handed { pending, taken: slots.is_empty() && self.is_empty() })
    }
}

impl Template {
    /// The bytes it takes in memory, about.
    pub fn size(&self) -> usize {
        self.lines.iter().flatten().map(Split::size).sum::<usize>() + size_of::<Self>()
    }
}

/// The way in, and the way out.
const RECORDS: u64 = 2;
