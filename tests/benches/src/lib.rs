//! What the benches measure with.
//!
//! A figure is processor time (all threads of the process) or memory on the heap, and stands beside a counterpart that
//! was measured in the same process, in turns with it: machines differ, ratios hardly. A bench ends with status 1 if a
//! figure is over its bound.
#![forbid(unsafe_code)]

mod cost;
mod table;

pub use cost::{PeakAlloc, PeakBytes, compare, time};
pub use table::{Bound, Report, Table, mib, micros};
