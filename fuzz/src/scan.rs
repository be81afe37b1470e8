//! Scans a whole object through windows, as the pipeline does.

use millrace::core::object::ObjectFault;
use millrace::core::scan::reference::{Content, Item, stamp_of, text_of};
use millrace::core::scan::{Record, ScanLimits, Scanner, Step};
use millrace::core::simd::Level;

/// Scans `input` in a window of kept bytes, to which as many are appended as `piece` says in turn. Holds on the way: the
/// position only moves on, a record is a piece of the object, offsets are the object's, no more is kept than a record may
/// have, more is never asked for at the end, and the last ordinal is the count of slots.
pub fn items(input: &[u8], limits: ScanLimits, mut piece: impl FnMut() -> usize) -> Vec<Item> {
    // All instructions with the same pieces.
    let mut pieces = Vec::new();
    let mut left = input.len();
    while left > 0 || pieces.is_empty() {
        let size = piece().min(left);
        pieces.push(size);
        left -= size;
    }
    let mut levels = Level::all().map(|level| items_by(level, input, limits, &pieces));
    let found = levels.next().unwrap();
    levels.for_each(|other| assert_eq!(other, found));
    found
}

fn items_by(level: Level, input: &[u8], limits: ScanLimits, pieces: &[usize]) -> Vec<Item> {
    let mut scanner = Scanner::new(limits).with_level(level);
    let mut pieces = pieces.iter();
    let mut taken_back = None;
    let mut items = Vec::new();
    let mut window = Vec::new();
    let mut rest = input;
    loop {
        let (fresh, after) = rest.split_at(pieces.next().copied().unwrap_or_default());
        rest = after;
        window.extend_from_slice(fresh);
        let last = rest.is_empty();
        let mut at = 0;
        loop {
            let (step, next) = scanner.next(&window, at, last);
            assert!(next >= at && next <= window.len());
            at = next;
            match step {
                Step::Record(record) => {
                    let offset = usize::try_from(record.offset).unwrap();
                    assert_eq!(record.text, &input[offset..][..record.text.len()]);
                    assert!(record.text.len() <= limits.record_bytes_max);
                    // Some are taken back once, as when there is no room for them yet.
                    if record.ordinal.0 % 5 == 1 && taken_back != Some(record.ordinal) {
                        taken_back = Some(record.ordinal);
                        at -= record.text.len();
                        scanner.take_back(&record);
                        continue;
                    }
                    items.push(item(&record));
                }
                Step::Bad(fault) => {
                    let (ordinal, offset) = (fault.ordinal(), fault.offset());
                    items.push(Item { ordinal, offset, content: Err(fault) });
                }
                Step::NeedMore => {
                    assert!(!last, "more is asked for, and there is no more");
                    break;
                }
                Step::End if last => {
                    assert_eq!(scanner.ordinal().0, items.len() as u64);
                    assert_eq!(scanner.offset(), input.len() as u64);
                    assert_eq!(scanner.next(&window, at, last), (Step::End, at), "the end stays");
                    return items;
                }
                Step::End => break,
            }
        }
        assert_eq!(&window[at..], &input[usize::try_from(scanner.offset()).unwrap()..][..window.len() - at]);
        window.drain(..at);
        assert!(window.len() <= limits.record_bytes_max);
    }
}

/// The record as the copier takes it: one whose message has an unsound escape is a bad one.
fn item(record: &Record<'_>) -> Item {
    let (ordinal, offset) = (record.ordinal, record.offset);
    let content = match text_of(record.message) {
        Some(message) => Ok(Content { message, timestamp: stamp_of(record.timestamp) }),
        None => Err(ObjectFault::BadRecord { ordinal, offset }),
    };
    Item { ordinal, offset, content }
}
