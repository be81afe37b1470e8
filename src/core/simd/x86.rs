//! AVX2 and AVX-512.
//!
//! A value of either type is only made where the processor has the instructions, so that its methods may use them. The fuzz
//! targets `scan` and `escape` reach all of it.

#![expect(unsafe_code, reason = "instructions that not every processor has")]

use std::arch::x86_64::{
    __m256i, __m512i, __mmask64, _mm256_cmpeq_epi8, _mm256_cmpgt_epi8, _mm256_loadu_si256, _mm256_movemask_epi8,
    _mm256_or_si256, _mm256_set1_epi8, _mm512_cmpeq_epi8_mask, _mm512_cmplt_epi8_mask, _mm512_cmpneq_epi8_mask,
    _mm512_loadu_si512, _mm512_movepi8_mask, _mm512_or_si512, _mm512_set1_epi8,
};

use super::{Simd, Task};

/// What makes a bracket of `[` and `]` a brace.
const TO_BRACE: i8 = 0x20;

/// The processor has AVX2, and BMI1, BMI2, LZCNT and POPCNT, as all that have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Avx2(());

impl Avx2 {
    /// If it has.
    pub(super) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt")
            && is_x86_feature_detected!("popcnt");
        has.then_some(Self(()))
    }
}

#[inline(never)]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn with_avx2<T: Task>(avx2: Avx2, task: T) -> T::Output {
    task.run(avx2)
}

/// Bits of 32 bytes.
#[inline(always)]
fn bits(bytes: __m256i) -> u64 {
    // SAFETY: whoever has such bytes has AVX2.
    u64::from(unsafe { _mm256_movemask_epi8(bytes) }.cast_unsigned())
}

impl Simd for Avx2 {
    const WIDTH: usize = 32;
    type Bytes = __m256i;
    type Marks = __m256i;

    #[inline(always)]
    fn run<T: Task>(self, task: T) -> T::Output {
        // SAFETY: the processor has these instructions, or there were no such value.
        unsafe { with_avx2(self, task) }
    }

    #[inline(always)]
    fn load(self, bytes: &[u8]) -> Option<__m256i> {
        let bytes: &[u8; 32] = bytes.first_chunk()?;
        // SAFETY: there are 32 bytes; the processor has AVX2, or there were no such value.
        Some(unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) })
    }

    #[inline(always)]
    fn equal(self, bytes: __m256i, byte: u8) -> __m256i {
        // SAFETY: the processor has AVX2, or there were no such value.
        let byte = unsafe { _mm256_set1_epi8(byte.cast_signed()) };
        // SAFETY: as above.
        unsafe { _mm256_cmpeq_epi8(bytes, byte) }
    }

    #[inline(always)]
    fn unusual(self, bytes: __m256i) -> __m256i {
        // SAFETY: the processor has AVX2, or there were no such value.
        let space = unsafe { _mm256_set1_epi8(0x20) };
        // As signed numbers, those above DEL are negative.
        // SAFETY: as above.
        unsafe { _mm256_cmpgt_epi8(space, bytes) }
    }

    #[inline(always)]
    fn bracket(self, bytes: __m256i) -> __m256i {
        // SAFETY: the processor has AVX2, or there were no such value.
        let to_brace = unsafe { _mm256_set1_epi8(TO_BRACE) };
        // SAFETY: as above.
        let braces = unsafe { _mm256_or_si256(bytes, to_brace) };
        self.or(self.equal(braces, b'{'), self.equal(braces, b'}'))
    }

    #[inline(always)]
    fn or(self, one: __m256i, other: __m256i) -> __m256i {
        // SAFETY: the processor has AVX2, or there were no such value.
        unsafe { _mm256_or_si256(one, other) }
    }

    #[inline(always)]
    fn bits(self, marks: __m256i) -> u64 {
        bits(marks)
    }

    #[inline(always)]
    fn high(self, bytes: __m256i) -> u64 {
        bits(bytes)
    }

    #[inline(always)]
    fn differ(self, one: __m256i, other: __m256i) -> u64 {
        // SAFETY: the processor has AVX2, or there were no such value.
        let same = unsafe { _mm256_cmpeq_epi8(one, other) };
        bits(same) ^ 0xffff_ffff
    }
}

/// The processor has AVX-512 for bytes, and what [`Avx2`] has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Avx512(());

impl Avx512 {
    /// If it has.
    pub(super) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
        (has && Avx2::detect().is_some()).then_some(Self(()))
    }
}

#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx2,bmi1,bmi2,lzcnt,popcnt")]
fn with_avx512<T: Task>(avx512: Avx512, task: T) -> T::Output {
    task.run(avx512)
}

impl Simd for Avx512 {
    const WIDTH: usize = 64;
    type Bytes = __m512i;
    type Marks = __mmask64;

    #[inline(always)]
    fn run<T: Task>(self, task: T) -> T::Output {
        // SAFETY: the processor has these instructions, or there were no such value.
        unsafe { with_avx512(self, task) }
    }

    #[inline(always)]
    fn load(self, bytes: &[u8]) -> Option<__m512i> {
        let bytes: &[u8; 64] = bytes.first_chunk()?;
        // SAFETY: there are 64 bytes; the processor has AVX-512, or there were no such value.
        Some(unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) })
    }

    #[inline(always)]
    fn equal(self, bytes: __m512i, byte: u8) -> __mmask64 {
        // SAFETY: the processor has AVX-512, or there were no such value.
        let byte = unsafe { _mm512_set1_epi8(byte.cast_signed()) };
        // SAFETY: as above.
        unsafe { _mm512_cmpeq_epi8_mask(bytes, byte) }
    }

    #[inline(always)]
    fn unusual(self, bytes: __m512i) -> __mmask64 {
        // SAFETY: the processor has AVX-512, or there were no such value.
        let space = unsafe { _mm512_set1_epi8(0x20) };
        // SAFETY: as above.
        unsafe { _mm512_cmplt_epi8_mask(bytes, space) }
    }

    #[inline(always)]
    fn bracket(self, bytes: __m512i) -> __mmask64 {
        // SAFETY: the processor has AVX-512, or there were no such value.
        let to_brace = unsafe { _mm512_set1_epi8(TO_BRACE) };
        // SAFETY: as above.
        let braces = unsafe { _mm512_or_si512(bytes, to_brace) };
        self.equal(braces, b'{') | self.equal(braces, b'}')
    }

    #[inline(always)]
    fn or(self, one: __mmask64, other: __mmask64) -> __mmask64 {
        one | other
    }

    #[inline(always)]
    fn bits(self, marks: __mmask64) -> u64 {
        marks
    }

    #[inline(always)]
    fn high(self, bytes: __m512i) -> u64 {
        // SAFETY: the processor has AVX-512, or there were no such value.
        unsafe { _mm512_movepi8_mask(bytes) }
    }

    #[inline(always)]
    fn differ(self, one: __m512i, other: __m512i) -> u64 {
        // SAFETY: the processor has AVX-512, or there were no such value.
        unsafe { _mm512_cmpneq_epi8_mask(one, other) }
    }
}
