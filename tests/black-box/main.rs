//! Black-box tests of the built programs.

mod ca;
mod cli;
mod guests;
mod openssl;
mod pkilint;
mod python;
mod refusals;
