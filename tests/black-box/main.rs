//! Black-box tests of the built programs.

mod ca;
mod cli;
mod guests;
mod openssl;
mod python;
mod refusals;
