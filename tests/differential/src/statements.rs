//! Mutated statements and envelopes, read by our decoder and by ciborium.
//!
//! What our decoder reads, ciborium must read too, to the same content, compared part by part; and encoding what was
//! read gives the same bytes. ciborium reads more: what we refuse because it is not in canonical form, and it reads all
//! the same, is counted.

mod contents;
mod fields;
mod items;

use std::collections::BTreeMap;
use std::fmt;

use ciborium::Value;
use countersign_format::{Envelope, FormatError, Statement};

use crate::random::Random;

/// What became of the encodings of one kind.
#[derive(Clone, Debug, Default)]
pub struct Report {
    read: u64,
    noncanonical: u64,
    noncanonical_and_read_by_the_other: u64,
    refused: u64,
    refused_by_both: u64,
    /// What is to be looked at: the number, and what is wrong.
    pub differences: Vec<(u64, String)>,
    reasons: BTreeMap<&'static str, u64>,
}

/// The statement of this number; always the same.
#[must_use]
pub fn statement(number: u64) -> Vec<u8> {
    let mut random = Random::new(1, number);
    let encoded = fields::statement(&mut random).encode();
    let other = fields::statement(&mut random).encode();
    items::mutate(encoded, &other, &mut random)
}

/// The envelope of this number; always the same.
#[must_use]
pub fn envelope(number: u64) -> Vec<u8> {
    let mut random = Random::new(2, number);
    let encoded = fields::envelope(&mut random).encode();
    let other = fields::envelope(&mut random).encode();
    items::mutate(encoded, &other, &mut random)
}

/// Reads statements `from` up to `until`, the latter not included.
#[must_use]
pub fn run_statements(from: u64, until: u64) -> Report {
    let mut report = Report::default();
    for number in from..until {
        let bytes = statement(number);
        let ours = Statement::decode(&bytes).map(|statement| {
            let content = contents::of_statement(statement.fields());
            (statement.encode(), content)
        });
        report.compare(number, &bytes, ours);
    }
    report
}

/// Reads envelopes `from` up to `until`, the latter not included.
#[must_use]
pub fn run_envelopes(from: u64, until: u64) -> Report {
    let mut report = Report::default();
    for number in from..until {
        let bytes = envelope(number);
        let ours = Envelope::decode(&bytes)
            .map(|envelope| (envelope.encode(), contents::of_envelope(&envelope)));
        report.compare(number, &bytes, ours);
    }
    report
}

/// ciborium's reading of one value and nothing after it.
fn other(bytes: &[u8]) -> Option<Value> {
    let mut rest = bytes;
    let value = ciborium::from_reader(&mut rest).ok()?;
    rest.is_empty().then_some(value)
}

impl Report {
    fn compare(&mut self, number: u64, bytes: &[u8], ours: Result<(Vec<u8>, Value), FormatError>) {
        let other = other(bytes);
        match ours {
            Ok((encoded, content)) => {
                self.read += 1;
                let wrong = match other {
                    _ if encoded != bytes => "encoding it again gives other bytes",
                    None => "ciborium does not read it",
                    Some(other) if contents::opened(&other) != contents::opened(&content) => {
                        "ciborium reads something else"
                    }
                    Some(_) => return,
                };
                self.differences.push((number, wrong.to_owned()));
            }
            Err(FormatError::Noncanonical { what, .. }) => {
                self.noncanonical += 1;
                *self.reasons.entry(what).or_default() += 1;
                if other.is_some() {
                    self.noncanonical_and_read_by_the_other += 1;
                }
            }
            Err(_) => {
                self.refused += 1;
                if other.is_none() {
                    self.refused_by_both += 1;
                }
            }
        }
    }

    /// Adds what another run saw.
    pub fn add(&mut self, other: Self) {
        self.read += other.read;
        self.noncanonical += other.noncanonical;
        self.noncanonical_and_read_by_the_other += other.noncanonical_and_read_by_the_other;
        self.refused += other.refused;
        self.refused_by_both += other.refused_by_both;
        self.differences.extend(other.differences);
        for (reason, count) in other.reasons {
            *self.reasons.entry(reason).or_default() += count;
        }
    }

    /// How many were read, refused as not canonical, and refused otherwise.
    #[must_use]
    pub fn counts(&self) -> [u64; 3] {
        [self.read, self.noncanonical, self.refused]
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:>9}  read, and by ciborium to the same content",
            self.read
        )?;
        writeln!(
            f,
            "{:>9}  refused as not canonical, {} of them read by ciborium",
            self.noncanonical, self.noncanonical_and_read_by_the_other
        )?;
        writeln!(
            f,
            "{:>9}  refused otherwise, {} of them by ciborium too",
            self.refused, self.refused_by_both
        )?;
        writeln!(f, "{:>9}  differences", self.differences.len())?;
        for (number, wrong) in self.differences.iter().take(50) {
            writeln!(f, "           {number}: {wrong}")?;
        }
        writeln!(f, "Not canonical:")?;
        for (reason, count) in &self.reasons {
            writeln!(f, "{count:>9}  {reason}")?;
        }
        Ok(())
    }
}
