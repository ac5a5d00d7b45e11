//! What is put into memory when a module starts.
//!
//! It is one step, too, where Wasmtime does not lay it out beforehand. Of that there may not be much.

use std::ops::Range;

use wasmparser::{ConstExpr, Operator};

use super::PiecesError;
use crate::engine::SMALL_IMAGE;

/// The most data that a module may have put into memory in one step when it starts, in bytes (16 MiB).
pub(super) const LONGEST_DATA: u64 = 16 << 20;

/// What is put into memory when a module starts.
#[derive(Default)]
pub(super) struct Start {
    /// The bytes of its own memory, if it has one.
    pub(super) memory: Option<u64>,
    /// Where each segment begins and ends that is put into that memory at a place that stands in the module.
    placed: Vec<Range<u64>>,
    /// Whether there is one that is not.
    is_elsewhere: bool,
    longest: u64,
}

impl Start {
    pub(super) fn put(&mut self, offset: &ConstExpr<'_>, length: u32) {
        let length = u64::from(length);
        self.longest = self.longest.max(length);
        let mut operators = offset.get_operators_reader();
        let begins = match (operators.read(), operators.read()) {
            (Ok(Operator::I32Const { value }), Ok(Operator::End)) => {
                Some(u64::from(value.cast_unsigned()))
            }
            _ => None,
        };
        let placed = begins.map(|begins| begins..begins.saturating_add(length));
        match placed.filter(|placed| self.memory.is_some_and(|memory| placed.end <= memory)) {
            Some(placed) => self.placed.push(placed),
            None => self.is_elsewhere = true,
        }
    }

    /// # Errors
    /// If there is more than may be copied in one step.
    pub(super) fn is_short(&self) -> Result<(), PiecesError> {
        match self.longest <= LONGEST_DATA || self.is_laid_out() {
            true => Ok(()),
            false => Err(PiecesError::LongData(self.longest)),
        }
    }

    /// Whether Wasmtime puts all of it into the memory's image, which a start does not copy: where it is dense or small
    /// (`try_static_init` in its wasmtime-environ, version 48).
    fn is_laid_out(&self) -> bool {
        let sum: u64 = self
            .placed
            .iter()
            .map(|placed| placed.end.saturating_sub(placed.start))
            .sum();
        let first = self.placed.iter().map(|placed| placed.start).min();
        let last = self.placed.iter().map(|placed| placed.end).max();
        let extent = last
            .unwrap_or_default()
            .saturating_sub(first.unwrap_or_default());
        !self.is_elsewhere && (extent < sum.saturating_mul(2) || extent < SMALL_IMAGE)
    }
}
