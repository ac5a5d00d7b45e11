//! Black-box tests of the built programs.

mod ca;
mod chip;
mod cli;
#[path = "../shared/components.rs"]
mod components;
#[allow(dead_code, reason = "tests of the gateway use the rest")]
#[path = "../shared/device.rs"]
mod device;
mod enrolment;
mod factory;
mod guests;
mod incidents;
mod openssl;
mod pkilint;
mod plant;
#[path = "../shared/programs.rs"]
mod programs;
mod python;
mod refusals;
mod walk;
