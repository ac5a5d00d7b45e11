//! A program with a root file of its own, beside the section.

use countersign_roots::roots;
use countersign_roots::trust_store::{Anchors, Purpose};

#[test]
fn ta28_a_root_file_of_ones_own() {
    // Its key was thrown away when it had signed the certificate.
    let sources = roots!("root.pem").unwrap();
    let [source] = sources.as_slice() else {
        panic!("one root: {sources:?}")
    };
    assert_eq!(source.purpose, Purpose::Components);
    assert!(source.scope.is_none() && source.crls.is_empty());
    assert!(source.crl_grace.is_zero());

    let certificate = source.certificate.clone();
    let anchors = Anchors::new(sources).unwrap();
    let anchor = anchors.iter().next().unwrap();
    assert!(
        anchor.subject().contains("A root of one"),
        "{}",
        anchor.subject()
    );
    assert!(!anchor.is_development());
    // Whatever was compiled into the section, this file is not in it.
    let compiled_in = countersign_roots::sources().unwrap();
    assert!(
        compiled_in
            .iter()
            .all(|other| other.certificate != certificate)
    );
}

#[test]
fn ta28_a_file_of_ones_own_that_holds_no_root() {
    roots!("own_file.rs").unwrap_err();
    roots!("../Cargo.toml").unwrap_err();
}
