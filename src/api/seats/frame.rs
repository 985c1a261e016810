//! A frame: an event's seats at one version, and what was rendered of it, each form once for all who
//! ask for it.

use std::collections::HashMap;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_web::web::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::future::{BoxFuture, Shared};

use crate::config::values::Detail;
use crate::domain::{SeatCounts, SeatId, SeatState};
use crate::sale::SeatMap;

use super::render::{AvailabilityBody, Pieces, SEAT_BYTES, Which};
use crate::http::response_memory::{Charge, ResponseMemory};

/// Seats beyond which a map is not kept rendered, but streamed to each who asks: some 28 MB of JSON.
pub const SHARED_SEATS_MAX: u32 = 200_000;
/// Bodies of one frame that are kept: parts of the map, and as many lists of changes.
const PARTS_MAX: usize = 64;
/// Callers in one frame's time that make it worth having the next one rendered ahead.
const CROWD: u32 = 2;
/// Little work: seats are much alike, and level 6 saves a third at four times the cost.
const GZIP_LEVEL: u32 = 1;
/// By how much that shrinks a map, at the least.
const GZIP_RATIO: usize = 8;

/// Seats, counted.
pub struct Seats {
    /// The seats.
    pub map: SeatMap,
    /// Counts over the event.
    pub totals: SeatCounts,
    /// Counts over its sections, in order.
    pub sections: Vec<SeatCounts>,
    /// What its bytes count as in memory.
    _charge: Option<Charge>,
}

impl Seats {
    /// Counts a map's seats.
    pub fn of(map: SeatMap) -> Self {
        let ranges = map.event.layout.section_ranges();
        let count = |range: &(&_, SeatId, u32)| map.inventory.counts(range.1, range.2);
        let sections: Vec<SeatCounts> = ranges.iter().map(count).collect();
        let totals = sections.iter().copied().sum();
        Seats { map, totals, sections, _charge: None }
    }

    /// Counts what they take as memory of responses.
    pub fn counted(self, memory: &Arc<ResponseMemory>) -> Self {
        let charge = memory.charge(self.map.inventory.as_bytes().len());
        Seats { _charge: Some(charge), ..self }
    }
}

/// What is rendered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// The inventory's bytes.
    Bytes,
    /// The counts.
    Availability,
    /// So many seats from this one, all or those in one state.
    Map(SeatId, u32, Option<SeatState>),
    /// Of so many seats from this one, those that changed since an earlier version.
    Changes(u64, SeatId, u32),
    /// That nothing changed since this version.
    Unchanged,
}

/// How it is rendered, and for whose eyes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Form {
    /// What.
    pub what: What,
    /// Whether it is compressed.
    pub gzip: bool,
    /// Whether there are numbers in it.
    pub detail: Detail,
}

impl Form {
    /// The word in metrics.
    pub fn as_str(&self) -> &'static str {
        match (&self.what, self.gzip) {
            (What::Bytes, false) => "bytes",
            (What::Bytes, true) => "bytes_gzip",
            (What::Availability, false) => "availability",
            (What::Availability, true) => "availability_gzip",
            (What::Map(..), false) => "map",
            (What::Map(..), true) => "map_gzip",
            (What::Changes(..) | What::Unchanged, false) => "changes",
            (What::Changes(..) | What::Unchanged, true) => "changes_gzip",
        }
    }

    /// All words.
    pub const WORDS: [&str; 8] = [
        "bytes",
        "bytes_gzip",
        "availability",
        "availability_gzip",
        "map",
        "map_gzip",
        "changes",
        "changes_gzip",
    ];
}

/// What all frames keep in memory.
pub struct Shelf {
    memory: Arc<ResponseMemory>,
    bytes: AtomicUsize,
    maps: AtomicUsize,
    availability: AtomicUsize,
}

impl Shelf {
    /// Nothing is kept yet.
    pub fn new(memory: Arc<ResponseMemory>) -> Self {
        let none = AtomicUsize::default;
        Shelf { memory, bytes: none(), maps: none(), availability: none() }
    }

    /// What bodies count as.
    pub fn memory(&self) -> &Arc<ResponseMemory> {
        &self.memory
    }

    /// Bytes of bodies, those included that are being sent and are kept for nobody else.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Bodies: of seats, and of counts.
    pub fn bodies(&self) -> (usize, usize) {
        (self.maps.load(Ordering::Relaxed), self.availability.load(Ordering::Relaxed))
    }

    fn kind(&self, what: &What) -> &AtomicUsize {
        if *what == What::Availability { &self.availability } else { &self.maps }
    }
}

/// A body's bytes, on the shelf until the last who sends them is done.
struct Kept {
    bytes: Vec<u8>,
    what: What,
    shelf: Arc<Shelf>,
    _charge: Charge,
}

impl Kept {
    fn on(shelf: &Arc<Shelf>, what: What, bytes: Vec<u8>, mut charge: Charge) -> Bytes {
        charge.resize(bytes.len());
        shelf.bytes.fetch_add(bytes.len(), Ordering::Relaxed);
        shelf.kind(&what).fetch_add(1, Ordering::Relaxed);
        Bytes::from_owner(Kept { bytes, what, shelf: shelf.clone(), _charge: charge })
    }
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.shelf.bytes.fetch_sub(self.bytes.len(), Ordering::Relaxed);
        self.shelf.kind(&self.what).fetch_sub(1, Ordering::Relaxed);
    }
}

/// A body that is rendered, or being rendered; `None` if that failed.
pub type Rendering = Shared<BoxFuture<'static, Option<Bytes>>>;

/// An event's seats at one version.
pub struct Frame {
    /// The seats.
    pub seats: Arc<Seats>,
    bodies: Mutex<HashMap<Form, Body>>,
}

struct Body {
    rendering: Rendering,
    /// Callers since the frame was looked up, or looked up again and found to be the newest.
    asked: u32,
}

impl Frame {
    /// Nothing is rendered of it yet.
    pub fn new(seats: Seats) -> Self {
        Frame { seats: Arc::new(seats), bodies: Mutex::default() }
    }

    /// Its generation and version.
    pub fn mark(&self) -> (u64, u64) {
        (self.seats.map.generation, self.seats.map.version)
    }

    /// A body that was asked for before.
    pub fn body(&self, form: &Form) -> Option<Rendering> {
        let mut bodies = self.lock();
        let body = bodies.get_mut(form)?;
        body.asked = body.asked.saturating_add(1);
        Some(body.rendering.clone())
    }

    /// Has a body rendered, unless somebody else had; `None` if the frame keeps enough of its kind.
    pub fn begin(&self, form: &Form, render: impl FnOnce() -> Rendering) -> Option<Rendering> {
        let mut bodies = self.lock();
        if let Some(body) = bodies.get_mut(form) {
            body.asked = body.asked.saturating_add(1);
            return Some(body.rendering.clone());
        }
        let whole = self.seats.map.inventory.seats();
        let is_part = |form: &Form| match form.what {
            What::Map(_, count, status) => count < whole || status.is_some(),
            _ => false,
        };
        let is_change = |form: &Form| matches!(form.what, What::Changes(..));
        let is_alike =
            |other: &&Form| is_part(form) && is_part(other) || is_change(form) && is_change(other);
        if bodies.keys().filter(is_alike).count() >= PARTS_MAX {
            return None;
        }
        let rendering = render();
        bodies.insert(form.clone(), Body { rendering: rendering.clone(), asked: 1 });
        Some(rendering)
    }

    /// What a crowd asks for. Lists of changes are not among it: nobody will ask for the same.
    pub fn of_the_crowd(&self) -> Vec<Form> {
        let bodies = self.lock();
        let crowded = bodies
            .iter()
            .filter(|(form, body)| body.asked >= CROWD && !matches!(form.what, What::Changes(..)));
        crowded.map(|(form, _)| form.clone()).collect()
    }

    /// It is still the newest: who asks is counted from now on.
    pub fn count_anew(&self) {
        self.lock().values_mut().for_each(|body| body.asked = 0);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Form, Body>> {
        // Nothing under this lock panics half-way through a change.
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes that a form of it may take, roughly.
pub fn estimated_bytes(form: &Form, seats: u32) -> usize {
    let plain = match form.what {
        What::Map(_, count, _) => count as usize * SEAT_BYTES,
        What::Bytes => seats as usize,
        _ => 0,
    };
    if form.gzip { plain / GZIP_RATIO } else { plain }
}

/// Renders a form. `which` are the seats of a map or a list of changes; `charge` is what was
/// reserved for it.
pub fn render(
    seats: &Arc<Seats>,
    form: &Form,
    which: Option<Which>,
    shelf: &Arc<Shelf>,
    charge: Charge,
) -> Bytes {
    let mut pieces: Box<dyn Iterator<Item = Bytes>> = match which {
        Some(which) => Box::new(Pieces::new(seats.clone(), which, form.detail)),
        None if form.what == What::Availability => {
            // Texts and numbers always serialize.
            let body = serde_json::to_vec(&AvailabilityBody::new(seats, form.detail));
            Box::new(std::iter::once(body.unwrap_or_default().into()))
        }
        None => {
            let bytes = Bytes::copy_from_slice(seats.map.inventory.as_bytes());
            Box::new(std::iter::once(bytes))
        }
    };
    let bytes = match form.gzip {
        true => gzipped(&mut pieces),
        false => {
            let mut bytes = Vec::with_capacity(estimated_bytes(form, seats.map.inventory.seats()));
            pieces.for_each(|piece| bytes.extend_from_slice(&piece));
            bytes.shrink_to_fit();
            bytes
        }
    };
    Kept::on(shelf, form.what.clone(), bytes, charge)
}

fn gzipped(pieces: &mut dyn Iterator<Item = Bytes>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(GZIP_LEVEL));
    for piece in pieces {
        // A Vec takes everything.
        let _ = encoder.write_all(&piece);
    }
    let mut bytes = encoder.finish().unwrap_or_default();
    bytes.shrink_to_fit();
    bytes
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use futures_util::FutureExt;

    use super::*;
    use crate::api::fixtures;

    fn frame() -> Frame {
        Frame::new(Seats::of(fixtures::seat_map()))
    }

    fn form(what: What, gzip: bool) -> Form {
        Form { what, gzip, detail: Detail::Exact }
    }

    fn shelf() -> Arc<Shelf> {
        let metrics = crate::telemetry::Metrics::new("test");
        let memory = ResponseMemory::new(&crate::config::Config::default(), &metrics);
        Arc::new(Shelf::new(Arc::new(memory)))
    }

    fn rendered(frame: &Frame, form: &Form, which: Option<Which>, shelf: &Arc<Shelf>) -> Bytes {
        render(&frame.seats, form, which, shelf, shelf.memory().charge(0))
    }

    fn nothing() -> Rendering {
        futures_util::future::ready(None).boxed().shared()
    }

    #[test]
    fn packed_forms_are_the_plain_ones() {
        let (frame, shelf) = (frame(), shelf());
        let all = Which::Range(SeatId(1), 7, None);
        let forms = [
            (What::Bytes, None),
            (What::Availability, None),
            (What::Map(SeatId(1), 7, None), Some(all)),
            (What::Unchanged, Some(Which::Changed(Vec::new()))),
        ];
        for (what, which) in forms {
            let [plain, packed] = [false, true]
                .map(|gzip| rendered(&frame, &form(what.clone(), gzip), which.clone(), &shelf));
            let mut unpacked = Vec::new();
            GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).unwrap();
            assert_eq!(unpacked, plain, "{what:?}");
        }
    }

    /// A body counts until the last who sends it is done.
    #[test]
    fn bodies_in_memory_are_counted() {
        let (frame, shelf) = (frame(), shelf());
        let bytes = rendered(&frame, &form(What::Bytes, false), None, &shelf);
        let counts = rendered(&frame, &form(What::Availability, false), None, &shelf);
        assert_eq!(shelf.memory().bytes(), 8 + counts.len());
        assert_eq!(bytes, "1AhBaAax");
        assert_eq!((shelf.bytes(), shelf.bodies()), (8 + counts.len(), (1, 1)));
        let part = bytes.slice(2..4);
        drop((bytes, counts));
        assert_eq!((shelf.bytes(), shelf.bodies()), (8, (1, 0)));
        drop(part);
        assert_eq!((shelf.bytes(), shelf.bodies()), (0, (0, 0)));
    }

    #[test]
    fn parts_and_changes_are_bounded_apart_and_the_whole_is_never_refused() {
        let frame = frame();
        let part = |n: u32| form(What::Map(SeatId(1), n % 6 + 1, None), n > 5);
        for n in 0..12 {
            assert!(frame.begin(&part(n), nothing).is_some());
        }
        let changes = |since| form(What::Changes(since, SeatId(1), 7), false);
        for since in 0..PARTS_MAX as u64 {
            assert!(frame.begin(&changes(since), nothing).is_some());
        }
        assert!(frame.begin(&changes(1_000), nothing).is_none(), "too many");
        assert!(frame.begin(&changes(3), nothing).is_some(), "one that is there");
        let state = Some(SeatState::Hold);
        assert!(frame.begin(&form(What::Map(SeatId(1), 7, state), false), nothing).is_some());
        for what in [What::Map(SeatId(1), 7, None), What::Bytes, What::Availability] {
            assert!(frame.begin(&form(what, true), nothing).is_some());
        }
    }

    #[test]
    fn a_crowd_is_two_who_ask_since_the_frame_was_found_to_be_the_newest() {
        let frame = frame();
        let (map, counts) = (form(What::Bytes, true), form(What::Availability, true));
        let changes = form(What::Changes(1, SeatId(1), 7), false);
        for form in [&map, &map, &counts, &changes, &changes] {
            frame.begin(form, nothing);
        }
        assert_eq!(frame.of_the_crowd(), std::slice::from_ref(&map));
        frame.count_anew();
        assert!(frame.of_the_crowd().is_empty());
        assert!(frame.body(&counts).is_some() && frame.body(&counts).is_some());
        assert_eq!(frame.of_the_crowd(), [counts]);
        assert!(frame.body(&form(What::Unchanged, false)).is_none());
    }
}
