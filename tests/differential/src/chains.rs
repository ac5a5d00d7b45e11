//! Mutated chains: a PKI that is right, changed in a few places, mostly signed again by the right keys, and judged by all
//! three validators.

mod bases;
mod covered;
mod der;
mod fields;
mod lists;
mod octets;
mod presented;
mod reasons;
mod tree;

use std::collections::BTreeMap;
use std::fmt;

use countersign_testing::Sealed;
use countersign_trust_store::UnixTime;

use crate::judges::{Bench, Matrix, Verdicts};
use crate::random::Random;
use bases::{Base, Draft};
use reasons::{Facts, Reason};

/// The seed of every run.
pub const SEED: u64 = 0x5eed;

/// One mutated chain.
#[derive(Clone, Debug)]
pub struct Mutated {
    /// What is handed over.
    pub sealed: Sealed,
    /// When.
    pub now: UnixTime,
    /// What was done to it.
    pub changes: Vec<&'static str>,
}

/// All bases, from which every chain is made.
#[derive(Debug)]
pub struct Source {
    bases: Vec<Base>,
}

impl Default for Source {
    fn default() -> Self {
        Self {
            bases: bases::all(),
        }
    }
}

impl Source {
    /// The chain of this number; always the same.
    #[must_use]
    pub fn chain(&self, number: u64) -> Mutated {
        let mut random = Random::new(SEED, number);
        let base = random.of(&self.bases);
        let other = random.of(&self.bases);
        let mut draft = Draft::of(base);
        let mut changes = Vec::new();
        // Every kind of change is made before signing but the last two.
        for _ in 0..*random.of(&[0, 1, 1, 1, 1, 2, 2, 3]) {
            let change = if random.below(10) < 6 {
                fields::change(&mut draft, other, &mut random)
            } else {
                lists::change(&mut draft, other, &mut random)
            };
            changes.push(change);
        }
        let octets = random.one_in(4);
        if octets {
            changes.push(octets::choose(&mut draft, other, &mut random));
        }
        let mut sealed = draft.seal(base);
        if random.one_in(12) {
            changes.push(presented::change(&mut sealed, other, &mut random));
        }
        if random.one_in(40) {
            changes.push(octets::after_signing(&mut sealed, &mut random));
        }
        let now = presented::time(base, &draft, &mut random);
        Mutated {
            sealed,
            now,
            changes,
        }
    }
}

/// A chain that we accept and another validator refuses, for no reason that is written down.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The chain's number.
    pub number: u64,
    /// What was done to it.
    pub changes: Vec<&'static str>,
    /// What the three said.
    pub verdicts: Verdicts,
}

/// What a run saw.
#[derive(Clone, Debug, Default)]
pub struct Report {
    matrix: Matrix,
    excused: BTreeMap<usize, u64>,
    codes: BTreeMap<String, u64>,
    /// What is to be looked at.
    pub differences: Vec<Difference>,
}

/// Judges chains `from` up to `until`, the latter not included.
///
/// # Panics
/// When the reasons cannot be read.
#[must_use]
pub fn run(from: u64, until: u64) -> Report {
    let source = Source::default();
    let reasons = Reason::all();
    let mut bench = Bench::default();
    let mut report = Report::default();
    for number in from..until {
        let chain = source.chain(number);
        let verdicts = bench.judge(&chain.sealed, chain.now);
        report.matrix.count(&verdicts);
        let code = match &verdicts.ours {
            Ok(()) => "accepted",
            Err(words) => words.split(':').next().unwrap_or_default(),
        };
        *report.codes.entry(code.to_owned()).or_default() += 1;
        if verdicts.ours.is_err() {
            continue;
        }
        let facts = Facts::of(&chain.sealed, chain.now);
        let mut unexcused = false;
        for (who, verdict) in [("openssl", &verdicts.openssl), ("webpki", &verdicts.webpki)] {
            let Err(said) = verdict else { continue };
            match reasons
                .iter()
                .position(|reason| reason.fits(who, said, &facts))
            {
                Some(reason) => *report.excused.entry(reason).or_default() += 1,
                None => unexcused = true,
            }
        }
        if unexcused {
            report.differences.push(Difference {
                number,
                changes: chain.changes,
                verdicts,
            });
        }
    }
    report
}

impl Report {
    /// Adds what another run saw.
    pub fn add(&mut self, other: Self) {
        self.matrix.add(&other.matrix);
        for (reason, count) in other.excused {
            *self.excused.entry(reason).or_default() += count;
        }
        for (code, count) in other.codes {
            *self.codes.entry(code).or_default() += count;
        }
        self.differences.extend(other.differences);
    }

    /// How many chains we accepted, and how many we refused.
    #[must_use]
    pub fn ours(&self) -> (u64, u64) {
        (self.matrix.ours(true), self.matrix.ours(false))
    }

    /// With how many different codes we refused.
    #[must_use]
    pub fn codes(&self) -> usize {
        self.codes.len()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.matrix)?;
        writeln!(f, "Our codes:")?;
        for (code, count) in &self.codes {
            writeln!(f, "{count:>9}  {code}")?;
        }
        writeln!(f, "\nRefused by another and accepted by us, with a reason:")?;
        let reasons = Reason::all();
        for (number, reason) in reasons.iter().enumerate() {
            let count = self.excused.get(&number).unwrap_or(&0);
            writeln!(f, "{count:>9}  {reason}")?;
        }
        writeln!(f, "\nWithout a reason: {}", self.differences.len())?;
        for difference in self.differences.iter().take(50) {
            let Difference {
                number,
                changes,
                verdicts,
            } = difference;
            writeln!(
                f,
                "  chain {number}: {}; OpenSSL: {:?}; webpki: {:?}",
                changes.join(", "),
                verdicts.openssl,
                verdicts.webpki
            )?;
        }
        Ok(())
    }
}
