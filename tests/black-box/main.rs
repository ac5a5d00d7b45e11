//! Black-box tests of the built programs.

mod guests;
