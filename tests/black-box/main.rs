//! Black-box tests of the built programs.

mod cli;
mod guests;
