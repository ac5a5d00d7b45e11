//! The built program over real TLS: enrolment with curl, openssl and strongSwan, and what it refuses.

mod attestation;
mod audit;
mod bench;
#[path = "../../../../tests/shared/browser.rs"]
mod browser;
mod devices;
mod enrolment;
mod factory;
mod interface;
mod page;
mod parallel;
mod privacy;
mod refusals;
mod replicas;
mod requests;
mod secrets;
mod telemetry;
mod unusual;
