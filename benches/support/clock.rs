//! Several things, in turns, by the processor's time that each takes.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The processor's time that this thread has taken.
fn thread_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap()
}

/// Seconds of the processor that this takes.
pub(crate) fn seconds_of(run: impl FnOnce()) -> f64 {
    let begun = thread_time();
    run();
    (thread_time() - begun).as_secs_f64()
}

/// Runs each once in every one of so many rounds; by round, the seconds that each took.
pub(crate) fn rounds<const N: usize>(count: usize, mut each: [&mut dyn FnMut(); N]) -> Vec<[f64; N]> {
    (0..count)
        .map(|_| {
            let mut seconds = [0.0; N];
            for (run, seconds) in each.iter_mut().zip(&mut seconds) {
                *seconds = seconds_of(run);
            }
            seconds
        })
        .collect()
}

/// The median of what is said of each round.
pub(crate) fn median<const N: usize>(rounds: &[[f64; N]], of: impl Fn(&[f64; N]) -> f64) -> f64 {
    median_of(rounds.iter().map(of).collect())
}

/// The median.
pub(crate) fn median_of(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
