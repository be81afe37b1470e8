//! Against flate2's decoder, which is zlib-rs, however input and room are cut.

use std::io::Write as _;

use flate2::write::DeflateEncoder;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use proptest::prelude::*;

use super::*;

/// What came out, and how it ended: whole with so much input, in want of more, or wrong.
type Outcome = (Vec<u8>, Result<Option<usize>, ()>);

/// Input and room as large as may be, or cut into pieces by turns.
#[derive(Clone, Copy, Debug)]
struct Cuts<'c> {
    input: &'c [usize],
    room: &'c [usize],
}

const WHOLE: Cuts<'static> = Cuts { input: &[usize::MAX], room: &[1 << 20] };

fn inflate(stored: &[u8], fast: Fast, cuts: Cuts<'_>) -> Outcome {
    let mut inflate = Inflate { fast, ..Inflate::new() };
    let (mut out, mut buffer, mut at, mut from) = (Vec::new(), Vec::new(), 0, 0_usize);
    let (mut pieces, mut rooms) = (cuts.input.iter().cycle(), cuts.room.iter().cycle());
    loop {
        let to = from.saturating_add(*pieces.next().unwrap()).min(stored.len());
        // What came before is there as far as it may be reached; the rest of the buffer holds anything.
        if at > 2 * WINDOW_BYTES {
            buffer.drain(..at - WINDOW_BYTES);
            at = WINDOW_BYTES;
        }
        buffer.resize(at + rooms.next().unwrap(), 0xee);
        let Ok(step) = inflate.inflate(&stored[from..to], &mut buffer, at) else { return (out, Err(())) };
        out.extend_from_slice(&buffer[at..at + step.produced]);
        (from, at) = (from + step.consumed, at + step.produced);
        assert!(step.ended || from == to || at == buffer.len(), "it takes all, unless there is no room");
        if step.ended {
            let (behind, count) = inflate.behind();
            let before = &stored[from - count..from];
            assert_eq!(&behind[..count], before, "what was taken too much is known");
            return (out, Ok(Some(from - count)));
        }
        if from == stored.len() && at < buffer.len() {
            return (out, Ok(None));
        }
    }
}

/// The same by zlib-rs.
fn expected(stored: &[u8]) -> Outcome {
    let mut inflate = Decompress::new(false);
    let (mut out, mut room) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        let (taken, made) = (inflate.total_in(), inflate.total_out());
        let from = usize::try_from(taken).unwrap();
        let status = inflate.decompress(&stored[from..], &mut room, FlushDecompress::None);
        let made = usize::try_from(inflate.total_out() - made).unwrap();
        out.extend_from_slice(&room[..made]);
        match status {
            Ok(Status::StreamEnd) => return (out, Ok(Some(usize::try_from(inflate.total_in()).unwrap()))),
            Err(_) => return (out, Err(())),
            Ok(Status::Ok | Status::BufError) if made == 0 && inflate.total_in() == taken => return (out, Ok(None)),
            Ok(Status::Ok | Status::BufError) => {}
        }
    }
}

fn levels() -> Vec<Fast> {
    let mut levels = vec![Fast::Portable];
    levels.extend(Level::all().last().map(Fast::of).filter(|fast| *fast != Fast::Portable));
    levels
}

/// All ways give what zlib-rs gives. Of a damaged stream what came before may end earlier.
fn check(stored: &[u8], cuts: Cuts<'_>) {
    let (out, end) = expected(stored);
    for fast in levels() {
        for cuts in [WHOLE, cuts, Cuts { room: WHOLE.room, ..cuts }, Cuts { input: WHOLE.input, ..cuts }] {
            let ours = inflate(stored, fast, cuts);
            match (end, ours.1) {
                (Ok(_), Ok(_)) => assert!(ours == (out.clone(), end), "{fast:?} {cuts:?}: {:?}, not {end:?}", ours.1),
                (Err(()), Err(())) => assert!(out.starts_with(&ours.0) || ours.0.starts_with(&out)),
                _ => panic!("{fast:?} {cuts:?}: {:?} after {}, not {end:?} after {}", ours.1, ours.0.len(), out.len()),
            }
        }
    }
}

fn deflate(text: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// Lines as logs are, with matches near and far, of any length.
fn text(lines: usize, seed: u64) -> Vec<u8> {
    let mut chance = seed;
    let mut next = |below: u64| {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (chance >> 33) % below
    };
    let mut text = Vec::new();
    for line in 0..lines {
        let what = ["GET /items", "timeout", "accepted", "retry"][usize::try_from(next(4)).unwrap()];
        writeln!(text, "{{\"at\":{line},\"message\":\"{what} {:x}\"}}", next(1 << 40)).unwrap();
        match next(40) {
            0 => text.extend(std::iter::repeat_n(b"-="[line % 2], usize::try_from(next(2000)).unwrap())),
            1 => text.extend((0..next(400)).map(|_| next(256).to_le_bytes()[0])),
            2 => text.extend_from_slice(&text.clone()[..text.len().min(20_000)]),
            _ => {}
        }
    }
    text
}

#[test]
fn what_was_deflated_comes_out_again_however_it_is_cut() {
    for (lines, seed) in [(0, 0), (1, 1), (30, 2), (3_000, 3)] {
        let text = text(lines, seed);
        for level in [0, 1, 6, 9] {
            let stored = deflate(&text, level);
            assert_eq!(expected(&stored), (text.clone(), Ok(Some(stored.len()))));
            for cuts in [Cuts { input: &[1], room: &[1, 7, 300] }, Cuts { input: &[3, 70, 1000], room: &[400, 33_000] }]
            {
                check(&stored, cuts);
            }
            check(&[stored.as_slice(), b"what follows it"].concat(), Cuts { input: &[5, 31], room: &[500] });
        }
    }
}

/// Blocks of all types, one behind the other, empty ones too.
#[test]
fn blocks_of_all_types_follow_each_other() {
    let mut stored = Vec::new();
    let mut compress = Compress::new(Compression::new(6), false);
    for (at, flush) in [FlushCompress::Sync, FlushCompress::Full, FlushCompress::Partial, FlushCompress::Finish]
        .into_iter()
        .enumerate()
    {
        let text = text(at * 7 % 5, 9);
        let mut room = vec![0; 1 << 16];
        let made = compress.total_out();
        compress.compress(&text, &mut room, flush).unwrap();
        stored.extend_from_slice(&room[..usize::try_from(compress.total_out() - made).unwrap()]);
    }
    check(&stored, Cuts { input: &[1, 2], room: &[3] });
}

#[test]
fn a_stream_that_is_cut_wants_more() {
    let stored = deflate(&text(60, 4), 6);
    for end in 0..stored.len() {
        assert_eq!(inflate(&stored[..end], Fast::of(Level::best()), WHOLE).1, Ok(None), "{end}");
    }
}

/// Code lengths without a code, of which zlib-rs finds only at their end that none ends the block.
#[test]
fn lengths_without_a_code_are_wrong_at_their_end() {
    // The last block, of the third type, with 285 + 1 codes whose lengths have four codes, all of them without bits.
    let mut stored = vec![0xe5, 0, 0];
    stored.resize(60, 0);
    assert_eq!(expected(&stored).1, Err(()));
    for end in 0..stored.len() {
        check(&stored[..end], Cuts { input: &[1, 5], room: &[10] });
    }
}

/// A first code length that repeats the one before it, which zlib-rs finds wrong only when it knows how often.
#[test]
fn nothing_to_repeat_is_wrong_when_its_count_is_there() {
    // A fixed block, and one whose code lengths begin so, with its count cut off.
    let stored = [0x3a, 0x23, 0x22, 0xfc, 0xff, 0xff, 0xff, 0x60, 0, 0x1f, 0x8b, 8, 0x10];
    assert_eq!(expected(&stored).1, Ok(None));
    assert_eq!(expected(&[&stored[..], &[0]].concat()).1, Err(()));
    for more in [&[][..], &[0], &[0xff; 4]] {
        check(&[&stored, more].concat(), Cuts { input: &[1, 5], room: &[10] });
    }
}

/// Nothing but what stands in the stream's own output is reached.
#[test]
fn a_match_reaches_no_further_back_than_the_stream_goes() {
    // A fixed block: the byte a, then a match of 3 from 2 bytes back. The bits of codes stand with the first one lowest.
    let (mut stored, mut count) = (0_u64, 0);
    for (bits, length) in [(1, 1), (1, 2), (0b1000_1001, 8), (0b100_0000, 7), (0b1_0000, 5), (0, 7)] {
        stored |= bits << count;
        count += length;
    }
    let stored = stored.to_le_bytes();
    assert_eq!(expected(&stored).1, Err(()));
    let mut buffer = *b"before it.......";
    assert_eq!(Inflate::new().inflate(&stored, &mut buffer, 9), Err("distance too far back"));
}

/// There is no room behind the end of the buffer.
#[test]
fn beyond_the_buffer_nothing_is_written() {
    let stored = deflate(&text(60, 5), 6);
    for at in [16, 17, 1000] {
        let step = Inflate::new().inflate(&stored, &mut [0; 16], at).unwrap();
        assert_eq!((step.produced, step.ended), (0, false));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    /// Damaged anywhere it is as wrong, or as right, as zlib-rs finds it.
    #[test]
    fn damage_is_what_zlib_rs_says(
        seed: u64, lines in 0..80_usize, level in 0..10_u32, flips in prop::collection::vec((any::<usize>(), 0..8_u32), 1..4),
        input in prop::collection::vec(1..400_usize, 1..4), room in prop::collection::vec(1..2_000_usize, 1..4),
    ) {
        let mut stored = deflate(&text(lines, seed), level);
        for (at, bit) in flips {
            let at = at % stored.len();
            stored[at] ^= 1 << bit;
        }
        check(&stored, Cuts { input: &input, room: &room });
    }

    /// So is anything at all.
    #[test]
    fn noise_is_what_zlib_rs_says(stored in prop::collection::vec(any::<u8>(), 0..300), room in 1..600_usize) {
        check(&stored, Cuts { input: &[1, 40], room: &[room] });
    }
}
