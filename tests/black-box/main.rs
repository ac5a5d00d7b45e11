//! Black-box tests of the built programs.

mod ca;
mod chip;
mod cli;
#[path = "../shared/components.rs"]
mod components;
mod enrolment;
mod factory;
mod guests;
mod incidents;
mod openssl;
mod pkilint;
#[path = "../shared/programs.rs"]
mod programs;
mod python;
mod refusals;
mod walk;
