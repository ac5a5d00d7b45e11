//! Signatures apart from their component: detached, stripped, attached, and made in two steps.

use crate::common::{Pki, component, manifest};
use crate::sign::FORCE;
use countersign_format::FormatError;
use countersign_keys::Algorithm;
use countersign_signer::two_step::{self, Prepared};
use countersign_signer::{Overwrite, SignError, attach, detach, sign_file, strip};
use std::fs;

#[test]
fn strip_detach_and_attach_are_inverse() {
    let pki = Pki::new();
    let bytes = component(200_000);
    let input = pki.write("app.wasm", &bytes);
    let (signed, bare, alone, again) = (
        pki.path("signed.wasm"),
        pki.path("bare.wasm"),
        pki.path("app.cose"),
        pki.path("again.wasm"),
    );
    sign_file(
        &input,
        &signed,
        &manifest(),
        &[pki.signer(Algorithm::Esp256, "d")],
        &FORCE,
    )
    .unwrap();
    strip(&signed, &bare, Overwrite::Refuse).unwrap();
    assert_eq!(fs::read(&bare).unwrap(), bytes);
    detach(&signed, &alone, Overwrite::Refuse).unwrap();
    attach(&bare, &alone, &again, false, Overwrite::Refuse).unwrap();
    assert_eq!(fs::read(&again).unwrap(), fs::read(&signed).unwrap());

    // Not twice, not to another component, not from an unsigned file, not what is no signature.
    let out = pki.path("out.wasm");
    assert!(matches!(
        attach(&signed, &alone, &out, false, Overwrite::Refuse),
        Err(SignError::AlreadySigned)
    ));
    attach(&signed, &alone, &out, true, Overwrite::Refuse).unwrap();
    assert_eq!(fs::read(&out).unwrap(), fs::read(&signed).unwrap());
    fs::remove_file(&out).unwrap();
    let mut flipped = bytes.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for other in [component(200_001), flipped] {
        let other = pki.write("other.wasm", other);
        let error = attach(&other, &alone, &out, false, Overwrite::Refuse).unwrap_err();
        assert!(
            matches!(error, SignError::ComponentDiffers { .. }),
            "{error}"
        );
    }
    for verb in [strip, detach] {
        let error = verb(&input, &out, Overwrite::Refuse).unwrap_err();
        assert!(
            matches!(error, SignError::Component(FormatError::SignatureMissing)),
            "{error}"
        );
    }
    assert!(matches!(
        attach(&input, &bare, &out, false, Overwrite::Refuse),
        Err(SignError::Component(_))
    ));
    assert!(!out.exists());
}

#[test]
fn two_steps_give_the_file_that_one_step_gives() {
    let pki = Pki::new();
    let bytes = component(70_000);
    let input = pki.write("app.wasm", &bytes);
    // Ed25519 and RFC 6979 are deterministic, so both ways give the same bytes.
    let signers = [
        pki.signer(Algorithm::Esp256, "one"),
        pki.signer(Algorithm::Ed25519, "two"),
    ];
    let direct = pki.path("direct.wasm");
    sign_file(&input, &direct, &manifest(), &signers, &FORCE).unwrap();

    let chains = signers
        .iter()
        .map(|signer| signer.chain().clone())
        .collect();
    let prepared = two_step::prepare(&input, &manifest(), chains, &FORCE).unwrap();
    let prepared = Prepared::from_json(prepared.to_json().unwrap().as_bytes()).unwrap();
    let sign = |prepared: &Prepared| -> Vec<Vec<u8>> {
        let find = |pending: &two_step::Pending| {
            signers
                .iter()
                .find(|signer| signer.chain() == pending.chain())
                .unwrap()
                .key()
                .sign(pending.message())
        };
        prepared
            .pending()
            .map(|pending| find(&pending).unwrap().to_x509())
            .collect()
    };
    let mut signatures = sign(&prepared);
    signatures.reverse();
    let output = pki.path("stepped.wasm");
    two_step::finish(&prepared, &input, &output, &signatures, &FORCE).unwrap();
    assert_eq!(fs::read(&output).unwrap(), fs::read(&direct).unwrap());
    fs::remove_file(&output).unwrap();

    // Too few, too many, wrong ones, another component.
    let refused = |signatures: &[Vec<u8>]| {
        let error = two_step::finish(&prepared, &input, &output, signatures, &FORCE).unwrap_err();
        assert!(matches!(error, SignError::Signature { .. }), "{error}");
        assert!(!output.exists());
    };
    refused(&signatures[..1]);
    refused(&[signatures[0].clone(), signatures[0].clone()]);
    refused(&[signatures[0].clone(), signatures[1].clone(), vec![0; 64]]);
    refused(&[vec![0; 64], Vec::new()]);
    let mut flipped = bytes.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for other in [component(70_001), flipped] {
        let other = pki.write("other.wasm", other);
        let error = two_step::finish(&prepared, &other, &output, &signatures, &FORCE).unwrap_err();
        assert!(
            matches!(error, SignError::ComponentDiffers { .. }),
            "{error}"
        );
    }
    assert!(!output.exists());
}

#[test]
fn a_prepared_file_that_was_edited_is_refused() {
    let pki = Pki::new();
    let input = pki.write("app.wasm", component(10));
    let chain = pki.signer(Algorithm::Esp256, "one").chain().clone();
    let json = two_step::prepare(&input, &manifest(), vec![chain], &FORCE)
        .unwrap()
        .to_json()
        .unwrap();
    Prepared::from_json(json.as_bytes()).unwrap();
    for (from, to) in [
        ("\"acme:valve\"", "\"acme:pump\""),
        ("\"version\": 1,", "\"version\": 2,"),
        ("\"version\": 1,", "\"version\": 1, \"extra\": 1,"),
        ("\"to_be_signed\": \"85", "\"to_be_signed\": \"84"),
        ("\"statement\": \"", "\"statement\": \"00"),
        ("\"ESP256\"", "\"Ed25519\""),
    ] {
        let edited = json.replacen(from, to, 1);
        assert_ne!(edited, json, "{from} is not there");
        assert!(
            matches!(
                Prepared::from_json(edited.as_bytes()),
                Err(SignError::Prepared { .. })
            ),
            "{from}"
        );
    }
}
