//! Processor time and memory of a piece of work.

use std::hint::black_box;
use std::time::Duration;

use cpu_time::ProcessTime;
pub use peak_alloc::PeakAlloc;

/// The processor time that `work` takes, the median of `runs`; `prepare` is not counted.
pub fn time<I, O>(
    runs: usize,
    mut prepare: impl FnMut() -> I,
    mut work: impl FnMut(I) -> O,
) -> Duration {
    median((0..runs).map(|_| once(&mut prepare, &mut work)).collect())
}

/// The same for two pieces of work, in turns, so that both see the same machine.
pub fn compare<I, O, J, P>(
    runs: usize,
    (mut prepare, mut work): (impl FnMut() -> I, impl FnMut(I) -> O),
    (mut prepare_other, mut other): (impl FnMut() -> J, impl FnMut(J) -> P),
) -> (Duration, Duration) {
    let pairs = (0..runs).map(|_| {
        (
            once(&mut prepare, &mut work),
            once(&mut prepare_other, &mut other),
        )
    });
    let (ours, theirs) = pairs.unzip();
    (median(ours), median(theirs))
}

/// Memory on the heap, for a program whose global allocator this is. It counts every allocation, which costs time: where memory is
/// not looked at, it has no place.
pub trait PeakBytes {
    /// The bytes that `work` had on the heap at most, beside what was there when it began.
    fn peak_bytes<O>(&self, work: impl FnOnce() -> O) -> usize;
}

impl PeakBytes for PeakAlloc {
    fn peak_bytes<O>(&self, work: impl FnOnce() -> O) -> usize {
        let before = self.current_usage();
        self.reset_peak_usage();
        let outcome = black_box(work());
        let peak = self.peak_usage();
        drop(outcome);
        peak.saturating_sub(before)
    }
}

fn once<I, O>(prepare: &mut impl FnMut() -> I, work: &mut impl FnMut(I) -> O) -> Duration {
    let input = prepare();
    let start = ProcessTime::now();
    let outcome = black_box(work(input));
    let took = start.elapsed();
    drop(outcome);
    took
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
