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
    stream_by(Engine::Own, input, piece, window)
}

/// The same by an engine.
pub fn stream_by(
    engine: Engine,
    input: &[u8],
    mut piece: impl FnMut() -> usize,
    mut window: impl FnMut() -> usize,
) -> Option<Decoded> {
    let mut decoder = Decoder::new().with_engine(engine);
    let mut out = Vec::new();
    let mut taken = 0;
    let mut rest = input;
    while !rest.is_empty() {
        let (mut part, after) = rest.split_at(piece().clamp(1, rest.len()));
        rest = after;
        while !part.is_empty() || decoder.pending() {
            let (made, room) = (out.len(), window().max(1));
            out.resize(made + room, 0xa5);
            let decoded = decoder.decode(part, &mut out, made);
            out.truncate(made + decoded.map_or(0, |progress| progress.produced));
            match decoded {
                Ok(progress) => {
                    assert!(part.is_empty() || progress != Progress::default(), "input, room, and no progress");
                    assert!(progress.consumed <= part.len() && progress.produced <= room);
                    part = &part[progress.consumed..];
                    taken += progress.consumed;
                    assert_eq!(decoder.consumed(), taken as u64);
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
    let zlib = stream_by(Engine::Zlib, input, || usize::MAX, || 1 << 16)?;
    match (own.1, zlib.1) {
        // What the call had written that finds damage is not told, nor where zlib-rs had come.
        (Err(DecodeFault::Damaged { .. }), Err(DecodeFault::Damaged { .. })) => {
            assert!(own.0.starts_with(&zlib.0) || zlib.0.starts_with(&own.0));
        }
        _ => assert!(own == zlib, "{:?}, but {:?} by zlib-rs", own.1, zlib.1),
    }
    Some(own)
}
