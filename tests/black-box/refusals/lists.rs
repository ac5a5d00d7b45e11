//! Revocation lists that are compiled into a host, and those that its operator adds.

use countersign_testing::{Role, TestPki};
use countersign_trust_store::{AnchorSource, Code};

use super::bench::{Bench, hello};

#[track_caller]
fn refuses(bench: &Bench, code: Code) {
    bench.refuses(&bench.sign(&hello()), code);
}

const DAY: i64 = 24 * 60 * 60;

#[test]
fn td11_no_crl_until_the_operator_gives_one() {
    let pki = TestPki::new();
    let root = AnchorSource::new(pki.root().to_vec());
    let mut bench = Bench::trusting(pki, &[root]);
    // The desk tool, too, gets the root alone.
    let (crls, with_crls) = (bench.files.crls.clone(), bench.files.roots_toml.clone());
    bench.files.roots_toml.clone_from(&bench.files.roots_pem);
    let file = bench.sign(&hello());
    bench.refuses(&file, Code::RevocationUnknown);

    let path = bench.path("hello.wasm");
    std::fs::write(&path, &file).expect("our own folder");
    let (ran, records) = bench.run(&path, &["--crl", crls.to_str().expect("UTF-8")]);
    assert_eq!(
        (ran.status, ran.stdout.as_str(), records.len()),
        (0, "Hello, world!\n", 2),
        "{ran:?}"
    );
    // One of the two lists is not enough.
    for one in &bench.files.each_crl {
        bench.run_refuses(
            &path,
            &["--crl", one.to_str().expect("UTF-8")],
            Code::RevocationUnknown,
        );
    }
    bench.files.roots_toml = with_crls;
}

#[test]
fn td11_stale_crl() {
    for issuer in [Role::Root, Role::Intermediate] {
        refuses(
            &Bench::with(TestPki::builder().crl_valid(issuer, -2 * DAY, -60)),
            Code::CrlStale,
        );
    }
}

#[test]
fn td14_revoked_leaf() {
    refuses(
        &Bench::with(TestPki::builder().revoke(Role::Leaf)),
        Code::Revoked,
    );
}

#[test]
fn td14_a_crl_of_the_operator_revokes_too() {
    let bench = Bench::new(TestPki::new());
    let path = bench.path("hello.wasm");
    std::fs::write(&path, bench.sign(&hello())).expect("our own folder");
    assert_eq!(bench.run(&path, &[]).0.status, 0);

    let list = bench.path("newer.crl");
    std::fs::write(&list, bench.pki.crl_against_device(2)).expect("our own folder");
    bench.run_refuses(
        &path,
        &["--crl", list.to_str().expect("UTF-8")],
        Code::Revoked,
    );
}
