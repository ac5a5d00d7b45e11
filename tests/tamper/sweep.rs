//! Many changes of one file, judged by two threads, and what came of them.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use countersign_trust_store::Code;

use crate::victim::Victim;

/// One change of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    /// This bit is another one.
    Flip(usize),
    /// The file ends after so many bytes.
    Cut(usize),
    /// Two top-level sections are in each other's place.
    Exchange(usize, usize),
}

/// Changes of one file.
pub(crate) struct Sweep<'v> {
    victim: &'v Victim,
}

/// What came of them.
#[derive(Default)]
pub(crate) struct Seen {
    codes: BTreeMap<Code, usize>,
    accepted: Vec<Change>,
    panicked: Vec<Change>,
}

const THREADS: usize = 2;

impl<'v> Sweep<'v> {
    pub(crate) fn of(victim: &'v Victim) -> Self {
        Self { victim }
    }

    /// Judges `count` changes, of which `change` makes each, and says in figures what came of them.
    pub(crate) fn run(&self, count: usize, change: impl Fn(usize) -> Change + Sync) -> Seen {
        let started = Instant::now();
        let seen = std::thread::scope(|scope| {
            let change = &change;
            let threads: Vec<_> = (0..THREADS)
                .map(|first| {
                    scope.spawn(move || self.judge((first..count).step_by(THREADS).map(change)))
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("panics are caught"))
                .fold(Seen::default(), Seen::and)
        });
        let seconds = started.elapsed().as_secs_f64();
        println!(
            "{}: {} bytes, {} of them the component's; {count} changes in {seconds:.1} s",
            self.victim.name,
            self.victim.len(),
            self.victim.component_size(),
        );
        for (code, times) in &seen.codes {
            println!("{times:>10}  {code}");
        }
        println!("{:>10}  accepted", seen.accepted.len());
        seen
    }

    fn judge(&self, changes: impl Iterator<Item = Change>) -> Seen {
        let mut seen = Seen::default();
        for change in changes {
            let file = self.victim.changed(change);
            if self.victim.is_unchanged(&file) {
                continue;
            }
            match catch_unwind(AssertUnwindSafe(|| self.victim.judge(file))) {
                Ok(Ok(())) => seen.accepted.push(change),
                Ok(Err(code)) => *seen.codes.entry(code).or_default() += 1,
                Err(_) => seen.panicked.push(change),
            }
        }
        seen
    }
}

impl Seen {
    /// Demands that all were refused, without a panic, with one of these codes.
    pub(crate) fn are(&self, permitted: &[Code]) {
        assert!(self.accepted.is_empty(), "accepted: {:?}", self.accepted);
        assert!(self.panicked.is_empty(), "panicked: {:?}", self.panicked);
        assert!(!self.codes.is_empty(), "nothing was judged");
        let others: Vec<_> = self
            .codes
            .keys()
            .filter(|code| !permitted.contains(code))
            .collect();
        assert!(others.is_empty(), "codes out of the closed set: {others:?}");
    }

    fn and(mut self, other: Self) -> Self {
        for (code, times) in other.codes {
            *self.codes.entry(code).or_default() += times;
        }
        self.accepted.extend(other.accepted);
        self.panicked.extend(other.panicked);
        self
    }
}

/// A number below `bound`, always the same for the same index: SplitMix64 (Steele, Lea, Flood 2014).
pub(crate) fn random(index: usize, bound: usize) -> usize {
    let mut state = u64::try_from(index)
        .expect("64 bits")
        .wrapping_add(1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^= state >> 31;
    let bound = u64::try_from(bound).expect("64 bits");
    usize::try_from(state % bound).expect("below the bound")
}
