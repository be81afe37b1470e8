//! What a receive gets when a fault has it get something else: places of messages, as before.

use crate::faults::{Fault, below, next};

/// One of the hidden messages again, and then others that are due.
pub(super) fn again(due: impl Iterator<Item = usize>, hidden: &[usize], count: usize, fault: &Fault) -> Vec<usize> {
    let chosen = usize::try_from(below(fault.number, length(hidden))).unwrap_or_default();
    let Some(chosen) = hidden.get(chosen) else { return due.take(count).collect() };
    fault.happens();
    std::iter::once(*chosen).chain(due).take(count).collect()
}

/// Those that are due, in another order, so that others may come first.
pub(super) fn shuffled(mut due: Vec<usize>, count: usize, fault: &Fault) -> Vec<usize> {
    let first = due.get(..count.min(due.len())).unwrap_or_default().to_vec();
    let mut number = fault.number;
    for at in (1..due.len()).rev() {
        number = next(number);
        let other = below(number, u64::try_from(at + 1).unwrap_or(u64::MAX));
        due.swap(at, usize::try_from(other).unwrap_or_default());
    }
    if due.starts_with(&first) && due.len() > 1 {
        // It came out as it was: the last one comes first.
        due.rotate_right(1);
    }
    if !due.starts_with(&first) {
        fault.happens();
    }
    due.truncate(count);
    due
}

fn length(of: &[usize]) -> u64 {
    u64::try_from(of.len()).unwrap_or(u64::MAX)
}
