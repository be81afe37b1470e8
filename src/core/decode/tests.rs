//! Cuts, truncations, flips and bombs.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zstd(data: &[u8]) -> Vec<u8> {
    let mut encoder = ::zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// A member with every optional field of the header.
fn gzip_with_all_fields(data: &[u8]) -> Vec<u8> {
    gzip_with_fields(data, 0b0001_1110)
}

/// A member with the optional fields that these flags say.
fn gzip_with_fields(data: &[u8], flags: u8) -> Vec<u8> {
    let plain = gzip(data);
    let mut header = vec![0x1f, 0x8b, 8, flags, 1, 2, 3, 4, 0, 3];
    let fields: [(u8, &[u8]); 3] = [(4, b"\x05\0extra"), (8, b"name\0"), (16, b"comment\0")];
    for (flag, field) in fields {
        if flags & flag != 0 {
            header.extend_from_slice(field);
        }
    }
    if flags & 2 != 0 {
        let crc = crc32fast::hash(&header).to_le_bytes();
        header.extend_from_slice(&crc[..2]);
    }
    header.extend_from_slice(&plain[10..]);
    header
}

/// Decodes `input` in pieces of the given sizes, taken in turn, through windows of `window` bytes; by both engines.
fn decode_cut(input: &[u8], cuts: &[usize], window: usize) -> (Vec<u8>, Result<(), DecodeFault>) {
    let [own, zlib] = [Engine::Own, Engine::Zlib].map(|engine| decode_by(engine, input, cuts, window));
    match (&own.1, &zlib.1) {
        // What a call had written that finds damage is not told.
        (Err(DecodeFault::Damaged { .. }), Err(DecodeFault::Damaged { .. })) => {
            assert!(own.0.starts_with(&zlib.0) || zlib.0.starts_with(&own.0));
        }
        _ => assert_eq!(own, zlib),
    }
    own
}

fn decode_by(engine: Engine, input: &[u8], cuts: &[usize], window: usize) -> (Vec<u8>, Result<(), DecodeFault>) {
    let mut decoder = Decoder::new().with_engine(engine);
    let (mut out, mut made) = (Vec::new(), 0);
    let mut sizes = cuts.iter().copied().cycle();
    let mut rest = input;
    while !rest.is_empty() {
        let (mut part, after) = rest.split_at(sizes.next().unwrap_or(usize::MAX).clamp(1, rest.len()));
        rest = after;
        while !part.is_empty() || decoder.pending() {
            out.resize(made + window, 0xee);
            let decoded = decoder.decode(part, &mut out, made);
            made += decoded.map_or(0, |progress| progress.produced);
            out.truncate(made);
            match decoded {
                Ok(progress) => {
                    assert!(part.is_empty() || progress != Progress::default(), "no progress");
                    part = &part[progress.consumed..];
                }
                Err(fault) => {
                    assert_eq!(decoder.finish(), Err(fault), "a fault stays");
                    return (out, Err(fault));
                }
            }
        }
    }
    let end = decoder.finish();
    (out, end)
}

fn decode(input: &[u8]) -> (Vec<u8>, Result<(), DecodeFault>) {
    decode_cut(input, &[], 4096)
}

fn sample() -> Vec<u8> {
    (0..40).flat_map(|n| format!("{{\"n\":{n},\"message\":\"line {}\"}}\n", n * n).into_bytes()).collect()
}

#[test]
fn each_container_is_told_by_its_first_bytes() {
    let text = sample();
    for (stored, container) in [
        (text.clone(), Container::Plain),
        (gzip(&text), Container::Gzip),
        (gzip_with_all_fields(&text), Container::Gzip),
        (zstd(&text), Container::Zstd),
    ] {
        let mut decoder = Decoder::new();
        let mut out = vec![0; text.len() + 1];
        let progress = decoder.decode(&stored, &mut out, 0).unwrap();
        assert_eq!((progress.consumed, &out[..progress.produced]), (stored.len(), text.as_slice()));
        assert_eq!(decoder.container(), Some(container));
        assert_eq!(decoder.consumed(), stored.len() as u64);
        decoder.finish().unwrap();
    }
}

#[test]
fn an_object_without_bytes_decodes_to_nothing() {
    assert_eq!(decode(b""), (vec![], Ok(())));
    assert_eq!(decode(&gzip(b"")), (vec![], Ok(())));
    assert_eq!(decode(&zstd(b"")), (vec![], Ok(())));
}

#[test]
fn text_that_begins_like_a_container_is_text() {
    for text in [&b"(a)"[..], b"(\xb5x", b"P*M", b"\x1fx", b"(\xb5/x", b"PPPP", b"{}"] {
        for window in 1..5 {
            let (out, end) = decode_cut(text, &[1], window);
            if text == b"P*M" {
                assert_eq!(end, Err(DecodeFault::Truncated { at: 3 }));
            } else {
                assert_eq!((out.as_slice(), end), (text, Ok(())));
            }
        }
    }
}

#[test]
fn members_frames_and_padding_follow_each_other() {
    let (a, b) = (sample(), b"tail\n".to_vec());
    let both = [a.clone(), b.clone()].concat();
    assert_eq!(decode(&[gzip(&a), gzip(b""), gzip_with_all_fields(&b)].concat()), (both.clone(), Ok(())));
    assert_eq!(decode(&[gzip(&a), gzip(&b), vec![0; 700]].concat()), (both.clone(), Ok(())));
    assert_eq!(decode(&[gzip(&a), vec![0; 3], gzip(&b)].concat()), (both.clone(), Ok(())));
    let skippable = |len: u8| [&[0x5a, 0x2a, 0x4d, 0x18, len, 0, 0, 0][..], &vec![7; usize::from(len)]].concat();
    assert_eq!(decode(&[skippable(9), zstd(&a), skippable(0), zstd(&b)].concat()), (both, Ok(())));
    assert_eq!(decode(&skippable(3)), (vec![], Ok(())));
}

#[test]
fn every_combination_of_header_fields_is_read_and_unknown_flags_are_refused() {
    for flags in 0..32 {
        let stored = [gzip_with_fields(b"one", flags), gzip_with_fields(b"two", flags)].concat();
        for cuts in [&[][..], &[1]] {
            assert_eq!(decode_cut(&stored, cuts, 2), (b"onetwo".to_vec(), Ok(())), "{flags:#b}");
        }
    }
    for flags in [0x20, 0x40, 0x80, 0xff] {
        let end = decode(&gzip_with_fields(b"one", flags)).1;
        assert!(matches!(end, Err(DecodeFault::Damaged { what: "gzip member with unknown flags", .. })), "{end:?}");
    }
    let mut damaged = gzip_with_all_fields(b"one");
    damaged[12] ^= 1;
    let end = decode(&damaged).1;
    assert!(matches!(end, Err(DecodeFault::Damaged { what: "gzip header checksum does not match", .. })), "{end:?}");
    let empty_extra = [&[0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 3, 0, 0][..], &gzip(b"one")[10..]].concat();
    assert_eq!(decode_cut(&empty_extra, &[1], 1), (b"one".to_vec(), Ok(())));
}

/// Every cut of the input in two, through windows of every kind of size, gives what one piece gives.
#[test]
fn each_cut_and_each_window_give_the_same() {
    let text = b"{\"message\":\"aaaaaaaaaaaaaaaaaaaa\"}\n{\"message\":\"b\"}\n";
    let skippable = [0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
    let sound = [
        text.to_vec(),
        [gzip_with_all_fields(text), gzip(b""), vec![0; 5], gzip(text), vec![0; 9]].concat(),
        [zstd(text), skippable.to_vec(), zstd(b""), zstd(text)].concat(),
    ];
    let damaged = [[gzip(text), b"\0x".to_vec()].concat(), [zstd(text), b"x".to_vec()].concat()];
    for stored in sound {
        let expected = decode(&stored);
        assert_eq!(expected.1, Ok(()));
        for cut in 1..stored.len() {
            for window in [1, 2, 3, 7, 30, text.len() - 1, text.len(), text.len() + 1, 2 * text.len()] {
                assert_eq!(decode_cut(&stored, &[cut, stored.len()], window), expected, "cut {cut}, window {window}");
            }
        }
    }
    for stored in damaged {
        for cut in 1..stored.len() {
            for window in [1, 2, 3, 7, 30, text.len() - 1, text.len(), text.len() + 1, 2 * text.len()] {
                let (out, end) = decode_cut(&stored, &[cut, stored.len()], window);
                assert!(matches!(end, Err(DecodeFault::Damaged { .. })), "cut {cut}, window {window}: {end:?}");
                assert!(text.starts_with(&out));
            }
        }
    }
}

#[test]
fn other_bytes_behind_a_member_are_damage() {
    for tail in [&b"x"[..], b"\x1f\x8c", b"\0\0x", b"\x1f\x8b\x07"] {
        let stored = [&gzip(b"abc"), tail].concat();
        let (out, end) = decode(&stored);
        assert!(matches!(end, Err(DecodeFault::Damaged { .. })), "{tail:?}: {end:?}");
        assert!(out.is_empty() || out == b"abc");
    }
    assert!(matches!(decode(&[&zstd(b"abc")[..], b"xxxx"].concat()).1, Err(DecodeFault::Damaged { .. })));
}

#[test]
fn a_stream_cut_at_any_byte_is_truncated_and_its_start_is_delivered() {
    let text = sample();
    for stored in [gzip(&text), gzip_with_all_fields(&text), zstd(&text)] {
        for len in 1..stored.len() {
            let (out, end) = decode_cut(&stored[..len], &[7], 100);
            assert_eq!(end, Err(DecodeFault::Truncated { at: len as u64 }));
            assert!(text.starts_with(&out));
        }
    }
    let first = gzip(&text);
    let two = [first.clone(), gzip(&text)].concat();
    assert_eq!(decode(&two[..first.len()]).1, Ok(()), "a cut between members cannot be seen");
}

#[test]
fn any_single_flipped_bit_is_harmless_or_a_fault() {
    let text = sample();
    for stored in [gzip(&text), gzip_with_all_fields(&text), zstd(&text)] {
        for bit in 0..stored.len() * 8 {
            let mut damaged = stored.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let (out, end) = decode_cut(&damaged, &[13], 512);
            // A flip in the first bytes makes it another container, plain text included: that is the object's own word.
            if end.is_ok() && bit >= 32 {
                assert_eq!(out, text, "bit {bit}");
            }
            let mut small = vec![0; text.len()];
            if let Some(len) = SmallDecoder::new().decode(&damaged, &mut small) {
                assert_eq!(&small[..len], text.as_slice(), "bit {bit}");
            }
        }
    }
}

#[test]
fn a_checksum_or_size_that_does_not_match_is_damage() {
    let stored = gzip(b"abc");
    for (from_end, what) in [(8, "gzip checksum does not match"), (4, "gzip size does not match")] {
        let mut damaged = stored.clone();
        let at = damaged.len() - from_end;
        damaged[at] ^= 1;
        assert_eq!(decode(&damaged).1, Err(DecodeFault::Damaged { at: damaged.len() as u64 - 8, what }));
    }
}

#[test]
fn a_frame_that_asks_for_a_large_window_is_refused() {
    let mut encoder = ::zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    encoder.set_parameter(::zstd::stream::raw::CParameter::WindowLog(24)).unwrap();
    for _ in 0..(20 << 20) / 4096 {
        encoder.write_all(&[b'a'; 4096]).unwrap();
    }
    assert!(matches!(decode(&encoder.finish().unwrap()).1, Err(DecodeFault::Damaged { .. })));
}

/// However the header is cut, and wherever the frame stands, its window is known before it is made.
#[test]
fn a_window_for_which_there_is_no_memory_is_asked_for() {
    let mut encoder = ::zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    encoder.set_parameter(::zstd::stream::raw::CParameter::WindowLog(21)).unwrap();
    encoder.write_all(&vec![b'a'; 5 << 20]).unwrap();
    let wide = encoder.finish().unwrap();
    let narrow = ::zstd::bulk::compress(b"narrow", 1).unwrap();
    let whole = ::zstd::bulk::compress(&vec![b'a'; 300_000], 1).unwrap();
    for (frame, content, bytes) in [(&wide, 5 << 20, 2 << 20), (&whole, 300_000, 512 << 10)] {
        for stored in [frame.clone(), [&narrow[..], frame].concat()] {
            for piece in [1, 3, stored.len()] {
                let mut window_bytes = 128 << 10;
                let out = loop {
                    let (mut decoder, mut buffer, mut made) = (Decoder::with_window(window_bytes), vec![0; 6 << 20], 0);
                    let fault = stored.chunks(piece).find_map(|piece| match decoder.decode(piece, &mut buffer, made) {
                        Ok(progress) => {
                            made += progress.produced;
                            None
                        }
                        Err(fault) => Some(fault),
                    });
                    match fault {
                        Some(DecodeFault::Window { bytes, .. }) => {
                            assert!(bytes > std::mem::replace(&mut window_bytes, bytes))
                        }
                        fault => {
                            assert_eq!((fault, decoder.finish()), (None, Ok(())));
                            break made;
                        }
                    }
                };
                let before = if stored.len() > frame.len() { b"narrow".len() } else { 0 };
                assert_eq!(out, before + content);
                // A frame that is there as a whole, with room for all of it, needs no window.
                let at_once = frame == &whole && piece == stored.len() && window_bytes == 128 << 10;
                assert!(window_bytes == bytes || at_once, "{window_bytes}, not {bytes}");
            }
        }
    }
}

#[test]
fn a_bomb_is_decoded_through_one_window() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(9));
    for _ in 0..(64 << 20) / 65536 {
        encoder.write_all(&[b' '; 65536]).unwrap();
    }
    let stored = encoder.finish().unwrap();
    assert!(stored.len() < 70_000);
    let (mut decoder, mut window, mut rest) = (Decoder::new(), vec![0; 65536], stored.as_slice());
    let (mut at, mut total) = (0, 0);
    while !rest.is_empty() || decoder.pending() {
        let progress = decoder.decode(rest, &mut window, at).unwrap();
        rest = &rest[progress.consumed..];
        (at, total) = (at + progress.produced, total + progress.produced);
        let reaches = decoder.reaches();
        assert!(reaches <= inflate::WINDOW_BYTES && reaches <= at);
        window.copy_within(at - reaches..at, 0);
        at = reaches;
    }
    decoder.finish().unwrap();
    assert_eq!(total, 64 << 20);
}

#[test]
fn a_zstd_frame_has_the_size_that_it_says() {
    // Four bytes are said to follow, and what follows is an empty last block. With and without the checksum of nothing.
    let checked = b"\x28\xb5\x2f\xfd\x24\x04\x01\0\0\x99\xe9\xd8\x51";
    let unchecked = b"\x28\xb5\x2f\xfd\x20\x04\x01\0\0";
    for frame in [&checked[..], unchecked] {
        for cuts in [&[][..], &[1], &[5, 3]] {
            let (out, end) = decode_cut(frame, cuts, 100);
            let at = frame.len() as u64;
            assert_eq!((out, end), (vec![], Err(DecodeFault::Damaged { at, what: "zstd frame size does not match" })));
        }
        let mut sound = frame.to_vec();
        sound[5] = 0;
        assert_eq!(decode(&sound), (Vec::new(), Ok(())));
    }
}

#[test]
fn the_small_way_takes_single_members_only() {
    let text = sample();
    let mut small = SmallDecoder::new();
    let mut out = vec![0; text.len()];
    for stored in [gzip(&text), gzip_with_fields(&text, 0b0001_1100)] {
        assert_eq!(small.decode(&stored, &mut out), Some(text.len()));
        assert_eq!(out, text);
        assert_eq!(small.decode(&stored, &mut vec![0; text.len() - 1]), None, "does not fit");
        assert_eq!(small.decode(&[stored.clone(), stored.clone()].concat(), &mut out), None, "equal members");
        assert_eq!(small.decode(&[stored.clone(), vec![0; 512]].concat(), &mut out), None, "padding");
        assert_eq!(small.decode(&stored[..stored.len() - 1], &mut out), None, "cut");
    }
    for other in [Vec::new(), text.clone(), zstd(&text), gzip(&text)[..12].to_vec()] {
        assert_eq!(small.decode(&other, &mut out), None);
    }
    assert_eq!(small.decode(&gzip(b""), &mut out), None, "its trailer looks like what stands before it");
    // What stands behind a member, and ends as the member does.
    for (whole, behind) in
        [(gzip(b""), vec![0; 40]), (gzip(b""), [vec![21], vec![0; 8]].concat()), (gzip(&text), gzip(&text))]
    {
        let trailer = &behind[behind.len() - 8..];
        assert_eq!(small.decode(&[&whole, b"more".as_slice(), trailer].concat(), &mut out), None);
        assert_eq!(small.decode(&[&whole, trailer].concat(), &mut out), None);
        assert_eq!(small.decode(&[whole.clone(), behind].concat(), &mut out), None);
    }
    // A header's checksum, which libdeflate does not look at.
    let mut checked = gzip_with_fields(b"", 2);
    assert_eq!(small.decode(&checked, &mut out), None);
    checked[4] ^= 1;
    assert!(decode(&checked).1.is_err());
    assert_eq!(small.decode(&checked, &mut out), None);
}

#[derive(Clone, Debug)]
enum Stored {
    Plain,
    Gzip(usize),
    Zstd(usize),
}

fn stored(text: &[u8], how: &Stored) -> Vec<u8> {
    let parts = |count: usize| text.chunks(text.len() / count + 1);
    match *how {
        Stored::Plain => [b"{", text].concat(),
        Stored::Gzip(count) => parts(count)
            .enumerate()
            .flat_map(|(n, part)| if n % 2 == 0 { gzip(part) } else { gzip_with_all_fields(part) })
            .collect(),
        Stored::Zstd(count) => parts(count).flat_map(zstd).collect(),
    }
}

proptest! {
    /// However the input is cut and however small the output window, the bytes are the same.
    #[test]
    fn cuts_and_windows_change_nothing(
        text in vec(prop_oneof![any::<u8>(), Just(b'a')], 0..3000),
        how in prop_oneof![Just(Stored::Plain), (1..5_usize).prop_map(Stored::Gzip), (1..5_usize).prop_map(Stored::Zstd)],
        cuts in vec(1..200_usize, 1..8),
        window in 1..400_usize,
    ) {
        let input = stored(&text, &how);
        prop_assert_eq!(decode_cut(&input, &cuts, window), decode_cut(&input, &[], 1 << 16));
        if !text.is_empty() && !matches!(how, Stored::Plain) {
            prop_assert_eq!(decode(&input), (text, Ok(())));
        }
    }

    /// Whatever the bytes: no panic, and the same answer however they are cut, but for output made before a fault.
    #[test]
    fn noise_is_plain_or_a_fault(
        magic in prop_oneof![Just(&b""[..]), Just(&b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x00"[..]), Just(&b"\x28\xb5\x2f\xfd"[..])],
        noise in vec(any::<u8>(), 0..300),
        cuts in vec(1..20_usize, 1..4),
    ) {
        let input = [magic, &noise].concat();
        let (cut, whole) = (decode_cut(&input, &cuts, 50), decode(&input));
        match whole.1 {
            Ok(()) | Err(DecodeFault::Truncated { .. }) => prop_assert_eq!(cut, whole),
            Err(DecodeFault::Damaged { .. } | DecodeFault::Window { .. }) => {
                let damaged = matches!(cut.1, Err(DecodeFault::Damaged { .. }));
                prop_assert!(damaged);
            }
        }
    }
}
