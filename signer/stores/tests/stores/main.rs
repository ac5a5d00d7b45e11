//! One way to every store: which one a URI opens, what is asked for, and what is said where there is none.
#![expect(
    clippy::unwrap_used,
    reason = "a test that meets something unexpected should panic"
)]

mod exec;
mod open;
