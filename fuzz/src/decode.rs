//! Decodes a whole object through the streaming decoder, however it is cut, by one engine or the other.

use millrace::core::decode::{DecodeFault, Decoder, Engine, Progress};

/// Bytes of output at which a target leaves an input: a bomb has its test, and here only takes time.
pub const OUT_BYTES_MAX: usize = 1 << 20;

/// What came of an object.
pub type Decoded = (Vec<u8>, Result<(), DecodeFault>);

/// Decodes `input` in pieces and through windows of the sizes that are asked for in turn; `None` when the output grows
/// beyond [`OUT_BYTES_MAX`]. Holds on the way: progress is made while there is input, none goes beyond what was given, the
/// count of bytes taken is right, and a fault stays.
pub fn stream(input: &[u8], piece: impl FnMut() -> usize, window: impl FnMut() -> usize) -> Option<Decoded> {
    stream_by(Engine::Own, input, piece, window, || false)
}

/// The same by a decoder that is told to stop for a mark now and then, and each time another one goes on there.
pub fn stream_by_marks(
    input: &[u8],
    piece: impl FnMut() -> usize,
    window: impl FnMut() -> usize,
    halts: impl FnMut() -> bool,
) -> Option<Decoded> {
    stream_by(Engine::Own, input, piece, window, halts)
}

/// The same by an engine.
fn stream_by(
    engine: Engine,
    input: &[u8],
    mut piece: impl FnMut() -> usize,
    mut window: impl FnMut() -> usize,
    mut halts: impl FnMut() -> bool,
) -> Option<Decoded> {
    let mut decoder = Decoder::new().with_engine(engine);
    let mut out = Vec::new();
    let (mut taken, mut end, mut goes_on) = (0, 0, false);
    loop {
        if taken == end && !decoder.pending() {
            if end == input.len() {
                break;
            }
            end += piece().clamp(1, input.len() - end);
        }
        // It would stop where it begins.
        if !goes_on && halts() {
            decoder.halt();
        }
        let (made, room) = (out.len(), window().max(1));
        out.resize(made + room, 0xa5);
        let part = &input[taken..end];
        let decoded = decoder.decode(part, &mut out, made);
        out.truncate(made + decoded.map_or(0, |progress| progress.produced));
        match decoded {
            Ok(progress) => {
                assert!(progress.consumed <= part.len() && progress.produced <= room);
                taken += progress.consumed;
                assert_eq!(decoder.consumed(), taken as u64);
                let mark = decoder.mark(&out);
                let stalled = !part.is_empty() && progress == Progress::default();
                assert!(!stalled || mark.is_some(), "input, room, and no progress");
                goes_on = mark.is_some();
                if let Some(mark) = mark {
                    assert!(mark.stored() <= taken as u64 && out.ends_with(mark.before()));
                    decoder = Decoder::at(&mark);
                    taken = usize::try_from(mark.stored()).unwrap();
                }
            }
            Err(fault) => {
                assert!(matches!(fault, DecodeFault::Damaged { at, .. } if at <= input.len() as u64));
                assert_eq!(decoder.decode(part, &mut out.clone(), made), Err(fault), "a fault stays");
                assert_eq!(decoder.finish(), Err(fault), "a fault stays");
                return Some((out, Err(fault)));
            }
        }
        if out.len() > OUT_BYTES_MAX {
            return None;
        }
    }
    assert_eq!(taken, input.len(), "without a fault all is taken");
    let end = decoder.finish();
    assert!(end.is_ok() || end == Err(DecodeFault::Truncated { at: taken as u64 }));
    Some((out, end))
}

/// Decodes `input` at once.
#[must_use]
pub fn whole(input: &[u8]) -> Option<Decoded> {
    let own = stream(input, || usize::MAX, || 1 << 16)?;
    let zlib = stream_by(Engine::Zlib, input, || usize::MAX, || 1 << 16, || false)?;
    match (own.1, zlib.1) {
        // What the call had written that finds damage is not told, nor where zlib-rs had come.
        (Err(DecodeFault::Damaged { .. }), Err(DecodeFault::Damaged { .. })) => {
            assert!(own.0.starts_with(&zlib.0) || zlib.0.starts_with(&own.0));
        }
        _ => assert!(own == zlib, "{:?}, but {:?} by zlib-rs", own.1, zlib.1),
    }
    Some(own)
}
