//! NEON: four vectors of 16 bytes, so that their bits fill a word.
//!
//! Every aarch64 processor that Rust has a standard library for has it. `.ci/nightly arm64` runs the tests by it.

#![expect(unsafe_code, reason = "instructions of one architecture")]

use std::arch::aarch64::{
    uint8x16_t, uint8x16x4_t, vandq_u8, vceqq_u8, vcltq_s8, vcltzq_s8, vdupq_n_s8, vdupq_n_u8, vgetq_lane_u64,
    vld1q_u8, vld1q_u8_x4, vorrq_u8, vpaddq_u8, vreinterpretq_s8_u8, vreinterpretq_u64_u8,
};
use std::arch::is_aarch64_feature_detected;

use super::{Simd, Task};

/// What makes a bracket of `[` and `]` a brace.
const TO_BRACE: u8 = 0x20;
/// Of each eight bytes the bit that stands for one.
const PLACES: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128];

/// The processor has NEON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Neon(());

impl Neon {
    /// If it has.
    pub(super) fn detect() -> Option<Self> {
        is_aarch64_feature_detected!("neon").then_some(Self(()))
    }
}

#[inline(never)]
#[target_feature(enable = "neon")]
fn with_neon<T: Task>(neon: Neon, task: T) -> T::Output {
    task.run(neon)
}

/// Does the same with each of the four.
#[inline(always)]
fn each(bytes: uint8x16x4_t, what: impl Fn(uint8x16_t) -> uint8x16_t) -> uint8x16x4_t {
    uint8x16x4_t(what(bytes.0), what(bytes.1), what(bytes.2), what(bytes.3))
}

/// The same with two.
#[inline(always)]
fn both(one: uint8x16x4_t, other: uint8x16x4_t, what: impl Fn(uint8x16_t, uint8x16_t) -> uint8x16_t) -> uint8x16x4_t {
    uint8x16x4_t(what(one.0, other.0), what(one.1, other.1), what(one.2, other.2), what(one.3, other.3))
}

#[inline(always)]
fn same(one: uint8x16_t, other: uint8x16_t) -> uint8x16_t {
    // SAFETY: whoever has such bytes has NEON.
    unsafe { vceqq_u8(one, other) }
}

#[inline(always)]
fn either(one: uint8x16_t, other: uint8x16_t) -> uint8x16_t {
    // SAFETY: whoever has such bytes has NEON.
    unsafe { vorrq_u8(one, other) }
}

/// Sixteen of one byte.
#[inline(always)]
fn all(byte: u8) -> uint8x16_t {
    // SAFETY: it is called by methods of `Neon` alone, of which there is a value.
    unsafe { vdupq_n_u8(byte) }
}

impl Simd for Neon {
    const WIDTH: usize = 64;
    type Bytes = uint8x16x4_t;
    type Marks = uint8x16x4_t;

    #[inline(always)]
    fn run<T: Task>(self, task: T) -> T::Output {
        // SAFETY: the processor has these instructions, or there were no such value.
        unsafe { with_neon(self, task) }
    }

    #[inline(always)]
    fn load(self, bytes: &[u8]) -> Option<uint8x16x4_t> {
        let bytes: &[u8; 64] = bytes.first_chunk()?;
        // SAFETY: there are 64 bytes; the processor has NEON, or there were no such value.
        Some(unsafe { vld1q_u8_x4(bytes.as_ptr()) })
    }

    #[inline(always)]
    fn equal(self, bytes: uint8x16x4_t, byte: u8) -> uint8x16x4_t {
        let byte = all(byte);
        each(bytes, |bytes| same(bytes, byte))
    }

    #[inline(always)]
    fn unusual(self, bytes: uint8x16x4_t) -> uint8x16x4_t {
        // As signed numbers, those above DEL are negative.
        each(bytes, |bytes| {
            // SAFETY: the processor has NEON, or there were no such value.
            let (space, signed) = unsafe { (vdupq_n_s8(0x20), vreinterpretq_s8_u8(bytes)) };
            // SAFETY: as above.
            unsafe { vcltq_s8(signed, space) }
        })
    }

    #[inline(always)]
    fn bracket(self, bytes: uint8x16x4_t) -> uint8x16x4_t {
        let (to_brace, open, close) = (all(TO_BRACE), all(b'{'), all(b'}'));
        each(bytes, |bytes| {
            let braces = either(bytes, to_brace);
            either(same(braces, open), same(braces, close))
        })
    }

    #[inline(always)]
    fn or(self, one: uint8x16x4_t, other: uint8x16x4_t) -> uint8x16x4_t {
        both(one, other, either)
    }

    /// Each mark becomes the bit of its place, and neighbours are added until eight are one byte.
    #[inline(always)]
    fn bits(self, marks: uint8x16x4_t) -> u64 {
        // SAFETY: there are 16 bytes; the processor has NEON, or there were no such value.
        let places = unsafe { vld1q_u8(PLACES.as_ptr()) };
        let marks = each(marks, |marks| {
            // SAFETY: as above.
            unsafe { vandq_u8(marks, places) }
        });
        let add = |one, other| {
            // SAFETY: as above.
            unsafe { vpaddq_u8(one, other) }
        };
        let halves = add(add(marks.0, marks.1), add(marks.2, marks.3));
        let bytes = add(halves, halves);
        // SAFETY: as above.
        unsafe { vgetq_lane_u64::<0>(vreinterpretq_u64_u8(bytes)) }
    }

    #[inline(always)]
    fn high(self, bytes: uint8x16x4_t) -> u64 {
        self.bits(each(bytes, |bytes| {
            // SAFETY: the processor has NEON, or there were no such value.
            unsafe { vcltzq_s8(vreinterpretq_s8_u8(bytes)) }
        }))
    }

    #[inline(always)]
    fn differ(self, one: uint8x16x4_t, other: uint8x16x4_t) -> u64 {
        !self.bits(both(one, other, same))
    }
}
