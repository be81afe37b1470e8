//! Decodes a whole object through the streaming decoder, however it is cut.

use millrace::core::decode::{DecodeFault, Decoder, Progress};

/// Bytes of output at which a target leaves an input: a bomb has its test, and here only takes time.
pub const OUT_BYTES_MAX: usize = 1 << 20;

/// What came of an object.
pub type Decoded = (Vec<u8>, Result<(), DecodeFault>);

/// Decodes `input` in pieces and through windows of the sizes that are asked for in turn; `None` when the output grows
/// beyond [`OUT_BYTES_MAX`]. Holds on the way: progress is made while there is input, none goes beyond what was given, the
/// count of bytes taken is right, and a fault stays.
pub fn stream(input: &[u8], mut piece: impl FnMut() -> usize, mut window: impl FnMut() -> usize) -> Option<Decoded> {
    let mut decoder = Decoder::new();
    let mut out = Vec::new();
    let mut buffer = Vec::new();
    let mut taken = 0;
    let mut rest = input;
    while !rest.is_empty() {
        let (mut part, after) = rest.split_at(piece().clamp(1, rest.len()));
        rest = after;
        while !part.is_empty() || decoder.pending() {
            buffer.resize(window().max(1), 0xa5);
            match decoder.decode(part, &mut buffer) {
                Ok(progress) => {
                    assert!(part.is_empty() || progress != Progress::default(), "input, room, and no progress");
                    assert!(progress.consumed <= part.len() && progress.produced <= buffer.len());
                    out.extend_from_slice(&buffer[..progress.produced]);
                    part = &part[progress.consumed..];
                    taken += progress.consumed;
                    assert_eq!(decoder.consumed(), taken as u64);
                }
                Err(fault) => {
                    assert!(matches!(fault, DecodeFault::Damaged { at, .. } if at <= input.len() as u64));
                    assert_eq!(decoder.decode(part, &mut buffer), Err(fault), "a fault stays");
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
    stream(input, || usize::MAX, || 1 << 16)
}
