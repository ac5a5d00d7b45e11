//! Refusals by the two built programs that judge a file, as far as more than the file decides: lists, roots, guests,
//! misuse. Hostile files themselves are in the corpus, `tests/corpus`.
//!
//! For each refusal the host leaves one audit record, and the guest says nothing.

mod bench;
mod exiting;
mod guest;
mod kept;
mod lists;
mod misuse;
mod root;
mod swapped;

use bench::{Bench, hello};
use countersign_format::Digest;
use countersign_testing::TestPki;
use countersign_trust_store::Code;

#[test]
fn the_digest_in_a_record_is_that_of_the_file() {
    let bench = Bench::new(TestPki::new());
    let file = hello();
    let record = bench.refuses(&file, Code::SignatureMissing);
    assert_eq!(record["file_sha256"], Digest::of(&file).to_string());
    // The same file, signed, runs.
    let ran = bench.runs(&bench.sign(&file));
    assert_eq!(ran.stdout, "Hello, world!\n", "{ran:?}");
}
