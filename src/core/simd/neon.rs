//! NEON.
//!
//! The fuzz targets `scan`, `copy` and `escape` reach all of it.

#![expect(unsafe_code, reason = "instructions of this architecture")]

use std::arch::aarch64::{
    uint8x16_t, vaddv_u8, vandq_u8, vceqq_u8, vcltq_s8, vdupq_n_s8, vdupq_n_u8, vget_high_u8, vget_low_u8, vld1q_u8,
    vmvnq_u8, vorrq_u8, vreinterpretq_s8_u8,
};

use super::{Simd, Task};

/// The bit that each byte of a half stands for.
const BIT_OF: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128];

/// The processor has NEON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Neon(());

impl Neon {
    /// If it has.
    pub(super) fn detect() -> Option<Self> {
        std::arch::is_aarch64_feature_detected!("neon").then_some(Self(()))
    }

    #[inline]
    pub(super) fn run<T: Task>(self, task: T) -> T::Output {
        // SAFETY: the processor has these instructions, or there were no such value.
        unsafe { with_neon(self, task) }
    }

    #[inline(always)]
    fn each(self, byte: u8) -> uint8x16_t {
        // SAFETY: the processor has NEON, or there were no such value.
        unsafe { vdupq_n_u8(byte) }
    }
}

#[target_feature(enable = "neon")]
fn with_neon<T: Task>(neon: Neon, task: T) -> T::Output {
    task.run(neon)
}

impl Simd for Neon {
    const WIDTH: usize = 16;
    type Bytes = uint8x16_t;
    type Marks = uint8x16_t;

    #[inline(always)]
    fn load(self, bytes: &[u8]) -> Option<uint8x16_t> {
        let bytes: &[u8; 16] = bytes.first_chunk()?;
        // SAFETY: there are 16 bytes; the processor has NEON, or there were no such value.
        Some(unsafe { vld1q_u8(bytes.as_ptr()) })
    }

    #[inline(always)]
    fn equal(self, bytes: uint8x16_t, byte: u8) -> uint8x16_t {
        // SAFETY: the processor has NEON, or there were no such value.
        unsafe { vceqq_u8(bytes, self.each(byte)) }
    }

    #[inline(always)]
    fn unusual(self, bytes: uint8x16_t) -> uint8x16_t {
        // SAFETY: the processor has NEON, or there were no such value.
        let space = unsafe { vdupq_n_s8(0x20) };
        // SAFETY: as above.
        let signed = unsafe { vreinterpretq_s8_u8(bytes) };
        // As signed numbers, those above DEL are negative.
        // SAFETY: as above.
        unsafe { vcltq_s8(signed, space) }
    }

    #[inline(always)]
    fn bracket(self, bytes: uint8x16_t) -> uint8x16_t {
        let braces = self.or(bytes, self.each(0x20));
        self.or(self.equal(braces, b'{'), self.equal(braces, b'}'))
    }

    #[inline(always)]
    fn or(self, one: uint8x16_t, other: uint8x16_t) -> uint8x16_t {
        // SAFETY: the processor has NEON, or there were no such value.
        unsafe { vorrq_u8(one, other) }
    }

    #[inline(always)]
    fn bits(self, marks: uint8x16_t) -> u64 {
        // SAFETY: there are 16 bytes; the processor has NEON, or there were no such value.
        let bit_of = unsafe { vld1q_u8(BIT_OF.as_ptr()) };
        // SAFETY: as above.
        let bits = unsafe { vandq_u8(marks, bit_of) };
        // SAFETY: as above.
        let (low, high) = unsafe { (vget_low_u8(bits), vget_high_u8(bits)) };
        // SAFETY: as above.
        let (low, high) = unsafe { (vaddv_u8(low), vaddv_u8(high)) };
        u64::from(low) | u64::from(high) << 8
    }

    #[inline(always)]
    fn high(self, bytes: uint8x16_t) -> u64 {
        // SAFETY: the processor has NEON, or there were no such value.
        let signed = unsafe { vreinterpretq_s8_u8(bytes) };
        // SAFETY: as above.
        let zero = unsafe { vdupq_n_s8(0) };
        // SAFETY: as above.
        self.bits(unsafe { vcltq_s8(signed, zero) })
    }

    #[inline(always)]
    fn differ(self, one: uint8x16_t, other: uint8x16_t) -> u64 {
        // SAFETY: the processor has NEON, or there were no such value.
        let same = unsafe { vceqq_u8(one, other) };
        // SAFETY: as above.
        self.bits(unsafe { vmvnq_u8(same) })
    }
}
