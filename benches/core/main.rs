//! One core's way from stored bytes to signed request bodies, beside its ceiling, in one run.

#![expect(clippy::unwrap_used, reason = "a bench that cannot make its objects has nothing to measure")]
#![expect(clippy::print_stdout, reason = "it says what it measured")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

mod ours;
mod sets;

use std::hint::black_box;
use std::time::Instant;

use sha2::{Digest as _, Sha256};

use self::ours::Ours;
use self::sets::{Kind, Set};

/// What callgrind collects.
#[inline(never)]
fn measured<T>(run: impl FnOnce() -> T) -> T {
    run()
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let Some(at) = args.iter().position(|arg| arg == "--one") {
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == args[at + 1]).unwrap();
        let set = Set::of(kind, 1);
        let mut ours = Ours::new();
        let made = measured(|| ours.run(&set, |_| {}));
        assert_eq!(made.records, set.records);
        println!("{} {} {}", kind.name(), set.bytes, made.body_bytes);
        return;
    }
    for kind in Kind::ALL {
        let set = Set::of(kind, 8);
        let mut ours = Ours::new();
        let mut bodies = Vec::new();
        let made = ours.run(&set, |body| bodies.push(body.to_vec()));
        assert_eq!(made.records, set.records);
        let mut out = vec![0; set.largest];
        let mut inflate = libdeflater::Decompressor::new();
        let (mut ratios, mut speeds, mut tops) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..15 {
            let begun = Instant::now();
            ours.run(&set, |body| drop(black_box(Sha256::digest(body))));
            let own = begun.elapsed().as_secs_f64();
            let begun = Instant::now();
            for object in &set.stored {
                let made = inflate.gzip_decompress(object, &mut out).unwrap();
                black_box(&out[..made]);
            }
            let decode = begun.elapsed().as_secs_f64();
            let begun = Instant::now();
            for body in &bodies {
                black_box(Sha256::digest(body));
            }
            let hash = begun.elapsed().as_secs_f64();
            ratios.push((decode + hash) / own);
            speeds.push(set.bytes as f64 / own / 1e6);
            tops.push((set.bytes as f64 / decode / 1e6, made.body_bytes as f64 / hash / 1e6));
        }
        ratios.sort_by(f64::total_cmp);
        speeds.sort_by(f64::total_cmp);
        println!(
            "{} record {} B, f {:.2}: {:.3} of the ceiling, {:.0} MB/s; D,H {:?}",
            kind.name(),
            set.bytes / set.records,
            made.body_bytes as f64 / set.bytes as f64,
            ratios[7],
            speeds[7],
            tops[7]
        );
    }
}
