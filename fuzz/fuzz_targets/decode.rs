//! An object's stored bytes, and the same bytes as the inside of a gzip member. Laws: README.md.

#![no_main]

use std::io::{ErrorKind, Read as _, Write as _};

use libfuzzer_sys::fuzz_target;
use millrace::core::decode::members::{decode as decode_members, spans};
use millrace::core::decode::{DecodeFault, SmallDecoder};
use millrace_fuzz::Dice;
use millrace_fuzz::decode::{Decoded, stream, stream_by_marks, whole};

/// libzstd only looks at the size where it is given all room at once.
const ZSTD_SIZE: &str = "zstd frame size does not match";

fuzz_target!(|data: &[u8]| {
    let mut dice = Dice::new(data);
    every_cut(data, &mut dice);
    member(data, &mut dice);
    // Packing takes longer than all the rest.
    if data.len() <= 2048 && dice.between(0, 7) == 0 {
        round_trip(data, &mut dice);
    }
});

/// Decodes in all ways, compares them with each other and with the libraries' own readers, and gives the result.
fn every_cut(input: &[u8], dice: &mut Dice) -> Option<Decoded> {
    let expected = whole(input)?;
    let (mut pieces, mut windows) = (dice.clone(), dice.clone());
    windows.roll();
    same(&expected, &stream(input, || pieces.between(1, 40), || windows.between(1, 300))?);
    same(&expected, &stream(input, || 1, || windows.between(1, 5000))?);
    let mut halts = dice.clone();
    let by_marks =
        stream_by_marks(input, || pieces.between(1, 60), || windows.between(1, 700), || halts.between(0, 3) == 0);
    same(&expected, &by_marks?);
    if expected.0.len() < 1 << 16 {
        same(&expected, &stream(input, || usize::MAX, || 1)?);
        same(&expected, &stream(input, || pieces.between(1, 5), || windows.between(1, 3))?);
    }
    as_the_libraries_read_it(input, &expected);
    small(input, &expected);
    members(input, dice);
    Some(expected)
}

/// The same but for the output before damage: what the call had written that found it is not reported.
fn same(one: &Decoded, other: &Decoded) {
    let damaged = |decoded: &Decoded| matches!(decoded.1, Err(DecodeFault::Damaged { .. }));
    if damaged(one) && damaged(other) {
        let len = one.0.len().min(other.0.len());
        assert_eq!(one.0[..len], other.0[..len]);
    } else {
        assert_eq!(one, other);
    }
}

/// By flate2's reader of one member, again and again, with zeros between; by zstd's reader; or as it is.
fn as_the_libraries_read_it(input: &[u8], ours: &Decoded) {
    let mut out = Vec::new();
    let read = match input {
        [0x1f, 0x8b, ..] => {
            let mut rest = input;
            loop {
                if let Err(error) = flate2::bufread::GzDecoder::new(&mut rest).read_to_end(&mut out) {
                    break Err(error);
                }
                rest = &rest[rest.iter().take_while(|byte| **byte == 0).count()..];
                if rest.is_empty() {
                    break Ok(());
                }
            }
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(input).unwrap();
            decoder.window_log_max(23).unwrap();
            decoder.read_to_end(&mut out).map(|_| ())
        }
        _ => {
            let magic = [&[0x1f][..], &[0x28, 0xb5, 0x2f]].iter().any(|magic| magic.starts_with(input))
                || input.len() < 4 && matches!(input, [0x50..=0x5f, rest @ ..] if [0x2a, 0x4d].starts_with(rest));
            if magic && !input.is_empty() {
                assert_eq!(*ours, (Vec::new(), Err(DecodeFault::Truncated { at: input.len() as u64 })));
            } else {
                assert_eq!(*ours, (input.to_vec(), Ok(())), "text is passed on as it is");
            }
            return;
        }
    };
    match (ours.1, read) {
        (Ok(()), Ok(())) => assert!(ours.0 == out),
        (Err(DecodeFault::Truncated { .. }), Err(error)) => {
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
            assert!(ours.0.starts_with(&out) || out.starts_with(&ours.0));
        }
        (Err(DecodeFault::Damaged { what, .. }), Err(error)) => {
            // flate2 waits for a header's ten bytes before it looks at the first.
            let in_header = what.starts_with("gzip member") || what.starts_with("bytes after");
            let later = in_header || what == ZSTD_SIZE;
            assert!(later || error.kind() != ErrorKind::UnexpectedEof, "{what}, but {error}");
        }
        (Err(DecodeFault::Damaged { what: ZSTD_SIZE, .. }), Ok(())) => assert!(out.starts_with(&ours.0)),
        (ours, theirs) => panic!("{ours:?}, but {theirs:?}"),
    }
}

/// The faster way gives what the other gives, or declines.
fn small(input: &[u8], streamed: &Decoded) {
    let mut decoder = SmallDecoder::new();
    let mut window = vec![0; streamed.0.len().max(1 << 12)];
    let Some(made) = decoder.decode(input, &mut window) else { return };
    match streamed.1 {
        Ok(()) => assert!(streamed.0 == window[..made]),
        // libdeflate passes over what no symbol of the block uses; length and checksum are right all the same.
        Err(fault) => {
            assert!(matches!(fault, DecodeFault::Damaged { what: "invalid deflate code", .. }), "{fault}");
            assert!(window[..made].starts_with(&streamed.0));
        }
    }
    if made > 0 {
        assert_eq!(decoder.decode(input, &mut window[..made - 1]), None, "what does not fit is declined");
    }
    assert_eq!(decoder.decode(input, &mut window[..made]), Some(made));
}

/// What is taken for whole members is what it is by itself, and is as long as it says.
fn members(input: &[u8], dice: &Dice) {
    let mut at = 0;
    for span in spans(input, dice.clone().between(1, 5000)) {
        assert!(at <= span.stored.start && span.stored.start < span.stored.end && span.stored.end < input.len());
        at = span.stored.end;
        if span.text > 1 << 20 {
            continue;
        }
        let (stored, mut text) = (&input[span.stored], Vec::new());
        let alone = whole(stored);
        if decode_members(stored, span.text, &mut text) {
            assert_eq!(alone, Some((text, Ok(()))));
        } else if let Some((other, Ok(()))) = alone {
            assert_ne!(other.len(), span.text);
        }
    }
}

/// Takes the bytes for a deflate stream and puts it into a member whose checksum is right: else chance never gets past it.
fn member(data: &[u8], dice: &mut Dice) {
    let mut inflate = flate2::Decompress::new(false);
    let mut out = vec![0; 1 << 16];
    let status = inflate.decompress(data, &mut out, flate2::FlushDecompress::Finish);
    if !matches!(status, Ok(flate2::Status::StreamEnd)) {
        return;
    }
    let (body, behind) = data.split_at(usize::try_from(inflate.total_in()).unwrap());
    out.truncate(usize::try_from(inflate.total_out()).unwrap());
    let mut stored = header(dice);
    stored.extend_from_slice(body);
    stored.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
    stored.extend_from_slice(&u32::try_from(out.len()).unwrap().to_le_bytes());
    assert_eq!(every_cut(&stored, dice), Some((out.clone(), Ok(()))));
    // Padding, and the member again.
    let two = [stored.as_slice(), &vec![0; dice.between(0, 40)], &stored].concat();
    assert_eq!(every_cut(&two, dice), Some((out.repeat(2), Ok(()))));
    // What stands behind it is read as a member, or is damage.
    every_cut(&[&stored, behind].concat(), dice);
    // A bit that is flipped in the trailer is always found.
    let at = stored.len() - dice.between(1, 8);
    stored[at] ^= 1 << dice.between(0, 7);
    assert!(whole(&stored).unwrap().1.is_err());
}

/// A header with whatever fields are thrown.
fn header(dice: &mut Dice) -> Vec<u8> {
    let flags = u8::try_from(dice.between(0, 31)).unwrap();
    let mut header = vec![0x1f, 0x8b, 8, flags, 1, 2, 3, 4, 0, 3];
    if flags & 4 != 0 {
        let len = u16::try_from(dice.between(0, 300)).unwrap();
        header.extend_from_slice(&len.to_le_bytes());
        header.extend(std::iter::repeat_n(7, usize::from(len)));
    }
    for flag in [8, 16] {
        if flags & flag != 0 {
            header.extend(std::iter::repeat_n(b'n', dice.between(0, 20)));
            header.push(0);
        }
    }
    if flags & 2 != 0 {
        let crc = crc32fast::hash(&header).to_le_bytes();
        header.extend_from_slice(&crc[..2]);
    }
    header
}

/// What is packed comes out again, in any number of members or frames.
fn round_trip(text: &[u8], dice: &mut Dice) {
    let (mut gzip, mut frames) = (Vec::new(), Vec::new());
    let mut rest = text;
    loop {
        let (part, after) = rest.split_at(dice.between(rest.len().min(1), rest.len()));
        rest = after;
        let level = flate2::Compression::new(u32::try_from(dice.between(0, 9)).unwrap());
        let mut encoder = flate2::write::GzEncoder::new(&mut gzip, level);
        encoder.write_all(part).unwrap();
        encoder.finish().unwrap();
        gzip.extend(std::iter::repeat_n(0, dice.between(0, 2) * 256));
        let mut encoder = zstd::stream::Encoder::new(&mut frames, 1).unwrap();
        encoder.include_checksum(dice.between(0, 1) == 1).unwrap();
        encoder.write_all(part).unwrap();
        encoder.finish().unwrap();
        if dice.between(0, 3) == 0 {
            frames.extend_from_slice(b"\x50\x2a\x4d\x18\x03\0\0\0abc");
        }
        if rest.is_empty() {
            break;
        }
    }
    for mut stored in [gzip, frames] {
        assert_eq!(every_cut(&stored, dice), Some((text.to_vec(), Ok(()))));
        // Cut short it is never taken for whole, but between members.
        stored.truncate(dice.between(0, stored.len()));
        let (out, _) = every_cut(&stored, dice).unwrap();
        assert!(text.starts_with(&out));
    }
}
