//! Encodes the bodies of seat maps, and accounts for the memory that they take.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_web::web::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::config::values::Detail;
use crate::domain::{SeatId, SeatState};
use crate::http::response_memory::{Charge, ResponseMemory};

use super::counted::CountedSeats;
use super::json::{AvailabilityBody, JsonChunks, SEAT_BYTES, SeatSelection};

/// A low level: seat maps are repetitive, and level 6 saves a third at four times the cost.
const GZIP_LEVEL: u32 = 1;
/// The least factor by which that shrinks a map.
const GZIP_RATIO: usize = 8;

/// The content of a body.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    /// The inventory's bytes.
    Bytes,
    /// The counts.
    Availability,
    /// A range of seats (first seat and number), all or those in one state.
    Map(SeatId, u32, Option<SeatState>),
    /// The seats of a range that changed since an earlier version.
    Changes(u64, SeatId, u32),
    /// An empty list of changes.
    Unchanged,
}

/// One representation of an event's seats.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Representation {
    /// The content.
    pub content: Content,
    /// Whether it is compressed.
    pub gzip: bool,
    /// Whether it contains exact counts.
    pub detail: Detail,
}

impl Representation {
    /// The label in metrics.
    pub fn as_str(&self) -> &'static str {
        match (&self.content, self.gzip) {
            (Content::Bytes, false) => "bytes",
            (Content::Bytes, true) => "bytes_gzip",
            (Content::Availability, false) => "availability",
            (Content::Availability, true) => "availability_gzip",
            (Content::Map(..), false) => "map",
            (Content::Map(..), true) => "map_gzip",
            (Content::Changes(..) | Content::Unchanged, false) => "changes",
            (Content::Changes(..) | Content::Unchanged, true) => "changes_gzip",
        }
    }

    /// All labels.
    pub const LABELS: [&str; 8] = [
        "bytes",
        "bytes_gzip",
        "availability",
        "availability_gzip",
        "map",
        "map_gzip",
        "changes",
        "changes_gzip",
    ];

    /// An estimate of the body's size for an event with so many seats, bytes.
    pub fn estimated_bytes(&self, seats: u32) -> usize {
        let plain = match self.content {
            Content::Map(_, count, _) => count as usize * SEAT_BYTES,
            Content::Bytes => seats as usize,
            _ => 0,
        };
        if self.gzip { plain / GZIP_RATIO } else { plain }
    }
}

/// The number and bytes of the bodies in memory, including those that are only being sent.
pub struct BodyTotals {
    memory: Arc<ResponseMemory>,
    bytes: AtomicUsize,
    maps: AtomicUsize,
    availability: AtomicUsize,
}

impl BodyTotals {
    /// No bodies yet.
    pub fn new(memory: Arc<ResponseMemory>) -> Self {
        let zero = AtomicUsize::default;
        BodyTotals { memory, bytes: zero(), maps: zero(), availability: zero() }
    }

    /// Where bodies are charged.
    pub fn memory(&self) -> &Arc<ResponseMemory> {
        &self.memory
    }

    /// The bytes of all bodies.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The number of bodies with seats, and with counts.
    pub fn bodies(&self) -> (usize, usize) {
        (self.maps.load(Ordering::Relaxed), self.availability.load(Ordering::Relaxed))
    }

    fn counter(&self, content: &Content) -> &AtomicUsize {
        if *content == Content::Availability { &self.availability } else { &self.maps }
    }
}

/// A body's bytes, part of the totals until the last owner drops them.
struct CountedBytes {
    bytes: Vec<u8>,
    content: Content,
    totals: Arc<BodyTotals>,
    _charge: Charge,
}

impl CountedBytes {
    fn share(
        totals: &Arc<BodyTotals>,
        content: Content,
        bytes: Vec<u8>,
        mut charge: Charge,
    ) -> Bytes {
        charge.resize(bytes.len());
        totals.bytes.fetch_add(bytes.len(), Ordering::Relaxed);
        totals.counter(&content).fetch_add(1, Ordering::Relaxed);
        Bytes::from_owner(CountedBytes { bytes, content, totals: totals.clone(), _charge: charge })
    }
}

impl AsRef<[u8]> for CountedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for CountedBytes {
    fn drop(&mut self) {
        self.totals.bytes.fetch_sub(self.bytes.len(), Ordering::Relaxed);
        self.totals.counter(&self.content).fetch_sub(1, Ordering::Relaxed);
    }
}

/// Encodes a representation. `selection` are the seats of a map or a list of changes; `charge` is the
/// memory reserved for the body.
pub fn encode(
    seats: &Arc<CountedSeats>,
    representation: &Representation,
    selection: Option<SeatSelection>,
    totals: &Arc<BodyTotals>,
    charge: Charge,
) -> Bytes {
    let mut chunks: Box<dyn Iterator<Item = Bytes>> = match selection {
        Some(selection) => {
            Box::new(JsonChunks::new(seats.clone(), selection, representation.detail))
        }
        None if representation.content == Content::Availability => {
            // Strings and numbers always serialize.
            let body = serde_json::to_vec(&AvailabilityBody::new(seats, representation.detail));
            Box::new(std::iter::once(body.unwrap_or_default().into()))
        }
        None => {
            let bytes = Bytes::copy_from_slice(seats.map.inventory.as_bytes());
            Box::new(std::iter::once(bytes))
        }
    };
    let bytes = match representation.gzip {
        true => gzipped(&mut chunks),
        false => {
            let estimate = representation.estimated_bytes(seats.map.inventory.seats());
            let mut bytes = Vec::with_capacity(estimate);
            chunks.for_each(|chunk| bytes.extend_from_slice(&chunk));
            bytes.shrink_to_fit();
            bytes
        }
    };
    CountedBytes::share(totals, representation.content.clone(), bytes, charge)
}

fn gzipped(chunks: &mut dyn Iterator<Item = Bytes>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(GZIP_LEVEL));
    for chunk in chunks {
        // Writes to a Vec do not fail.
        let _ = encoder.write_all(&chunk);
    }
    let mut bytes = encoder.finish().unwrap_or_default();
    bytes.shrink_to_fit();
    bytes
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;
    use crate::api::fixtures;

    fn seats() -> Arc<CountedSeats> {
        Arc::new(CountedSeats::new(fixtures::seat_map()))
    }

    fn totals() -> Arc<BodyTotals> {
        let metrics = crate::telemetry::Metrics::new("test");
        let memory = ResponseMemory::new(&crate::config::Config::default(), &metrics);
        Arc::new(BodyTotals::new(Arc::new(memory)))
    }

    fn encoded(
        content: Content,
        gzip: bool,
        selection: Option<SeatSelection>,
        totals: &Arc<BodyTotals>,
    ) -> Bytes {
        let representation = Representation { content, gzip, detail: Detail::Exact };
        encode(&seats(), &representation, selection, totals, totals.memory().charge(0))
    }

    #[test]
    fn compressed_bodies_unpack_to_the_plain_ones() {
        let totals = totals();
        let all = SeatSelection::Range(SeatId(1), 7, None);
        let contents = [
            (Content::Bytes, None),
            (Content::Availability, None),
            (Content::Map(SeatId(1), 7, None), Some(all)),
            (Content::Unchanged, Some(SeatSelection::Changed(Vec::new()))),
        ];
        for (content, selection) in contents {
            let [plain, packed] = [false, true]
                .map(|gzip| encoded(content.clone(), gzip, selection.clone(), &totals));
            let mut unpacked = Vec::new();
            GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).unwrap();
            assert_eq!(unpacked, plain, "{content:?}");
        }
    }

    #[test]
    fn body_counts_as_memory_until_its_last_owner_drops_it() {
        let totals = totals();
        let bytes = encoded(Content::Bytes, false, None, &totals);
        let counts = encoded(Content::Availability, false, None, &totals);
        assert_eq!(totals.memory().bytes(), 8 + counts.len());
        assert_eq!(bytes, "1AhBaAax");
        assert_eq!((totals.bytes(), totals.bodies()), (8 + counts.len(), (1, 1)));
        let part = bytes.slice(2..4);
        drop((bytes, counts));
        assert_eq!((totals.bytes(), totals.bodies()), (8, (1, 0)));
        drop(part);
        assert_eq!((totals.bytes(), totals.bodies()), (0, (0, 0)));
    }
}
