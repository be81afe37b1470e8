//! What the fuzz targets share: chance that the input itself decides, and the drivers that more than one target needs.
//!
//! A target's input is what its parser would be given, so that seeds are real files. How it is cut, and what limits hold,
//! is thrown with [`Dice`] from the input's bytes: a finding is one file and repeats by itself.

pub mod batch;
pub mod decode;
pub mod scan;

/// Chance that is the same for the same input.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice that `data` has loaded (FNV-1a).
    #[must_use]
    pub fn new(data: &[u8]) -> Self {
        let hash = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        Self(data.iter().fold(0xcbf2_9ce4_8422_2325, hash) | 1)
    }

    /// The next number (xorshift64*).
    pub fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number from `least` to `most`.
    pub fn between(&mut self, least: usize, most: usize) -> usize {
        let span = u64::try_from(most - least).unwrap() + 1;
        least + usize::try_from((self.roll() >> 11) % span).unwrap()
    }
}
