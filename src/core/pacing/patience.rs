//! A budget of retries: while most calls succeed, each failed one is tried again; when most fail, trying again only adds to
//! the load of what is out of order, and to the wait of what is behind.
//!
//! A retry takes from the budget, a success puts a little back.

/// Retries that a full budget allows in a row.
const RETRIES_MAX: u32 = 100;
/// Successes that make up for one retry.
const SUCCESSES_PER_RETRY: u32 = 10;

/// What is left for retries. [`Default`] is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// In parts of a retry: one success each.
    left: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self { left: RETRIES_MAX * SUCCESSES_PER_RETRY }
    }
}

impl Patience {
    /// Whether one more retry may be made; it is taken then.
    pub const fn retry(&mut self) -> bool {
        match self.left.checked_sub(SUCCESSES_PER_RETRY) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }

    /// A call succeeded.
    pub fn succeeded(&mut self) {
        self.left = (self.left + 1).min(RETRIES_MAX * SUCCESSES_PER_RETRY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_end_when_nothing_succeeds_and_go_on_with_successes() {
        let mut patience = Patience::default();
        assert_eq!((0..1000).filter(|_| patience.retry()).count(), 100);
        for _ in 0..SUCCESSES_PER_RETRY {
            assert!(!patience.retry());
            patience.succeeded();
        }
        assert!(patience.retry() && !patience.retry());
        (0..10_000).for_each(|_| patience.succeeded());
        assert_eq!(patience, Patience::default());
        // One in eleven may fail for ever.
        for _ in 0..10_000 {
            (0..10).for_each(|_| patience.succeeded());
            assert!(patience.retry());
        }
    }
}
