//! The short forms of the long runs.

use countersign_differential::{chains, statements};

#[test]
fn tc04_nothing_is_accepted_that_others_refuse_without_a_reason() {
    let report = chains::run(0, 2_000);
    assert!(report.differences.is_empty(), "{report}");
    // The chains are worth judging: many pass, and the others fail for many reasons.
    let (accepted, refused) = report.ours();
    assert!(accepted > 200 && refused > 1_000, "{report}");
    assert!(report.codes() > 15, "{report}");
}

#[test]
fn tc04_a_chain_is_the_same_each_time() {
    let (one, other) = (chains::Source::default(), chains::Source::default());
    for number in 0..50 {
        assert_eq!(one.chain(number).sealed, other.chain(number).sealed);
    }
}

#[test]
fn ta29_what_is_read_is_what_another_decoder_reads() {
    for report in [
        statements::run_statements(0, 4_000),
        statements::run_envelopes(0, 1_000),
    ] {
        assert!(report.differences.is_empty(), "{report}");
        let [read, noncanonical, refused] = report.counts();
        assert!(read > 50 && noncanonical > 50 && refused > 50, "{report}");
    }
}
