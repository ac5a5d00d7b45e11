//! One revocation list by itself: what its bytes must be, and which reason is given where they are not.

use countersign_format::Algorithm;
use countersign_testing::{CrlParts, TestPki, TimeField};
use countersign_trust_store::{Certificate, Crl, Fault, Rejection, UnixTime};
use x509_cert::der::asn1::{Any, GeneralizedTime, ObjectIdentifier};
use x509_cert::der::{DateTime, Decode, Encode};

/// RFC 5280 §5.2: cRLNumber, deltaCRLIndicator, issuingDistributionPoint, authorityKeyIdentifier.
const NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.20");
const DELTA: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.27");
const PART: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.28");
const AUTHORITY_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.35");
const UNKNOWN: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.999");

/// The most that a list's extensions may take, their own tag and length counted.
const MAX_EXTENSIONS_BYTES: usize = 4096;

/// The root's list with one change, signed again; and the reason for which it is not read.
fn parse(change: impl FnOnce(&mut CrlParts)) -> Result<(), &'static str> {
    let pki = TestPki::builder().algorithm(Algorithm::Ed25519).build();
    let mut parts = CrlParts::of(&pki.crls()[0]);
    change(&mut parts);
    match Crl::parse(&parts.sign(&pki.authority_keys()[0])) {
        Ok(_) => Ok(()),
        Err(Rejection::CrlInvalid { reason, .. }) => Err(reason),
        Err(other) => panic!("{other}"),
    }
}

/// The value of an extension of a list.
fn value(parts: &CrlParts, id: ObjectIdentifier) -> Vec<u8> {
    let extensions = parts.extensions.as_deref().unwrap_or_default();
    let extension = extensions.iter().find(|extension| extension.extn_id == id);
    extension.unwrap().extn_value.as_bytes().to_vec()
}

fn has(verdict: Result<(), &'static str>, word: &str) {
    let reason = verdict.expect_err(word);
    assert!(reason.contains(word), "{reason}");
}

#[test]
fn td13_lists_of_a_part_and_deltas() {
    has(
        parse(|parts| parts.set_extension(PART, false, &[0x30, 0])),
        "only a part",
    );
    has(
        parse(|parts| parts.set_extension(DELTA, false, &[0x02, 1, 1])),
        "delta",
    );
}

#[test]
fn td13_no_extension_of_a_list_may_be_critical() {
    let critical = |id: ObjectIdentifier| {
        move |parts: &mut CrlParts| {
            let value = value(parts, id);
            parts.set_extension(id, true, &value);
        }
    };
    has(parse(critical(NUMBER)), "critical");
    has(parse(critical(AUTHORITY_KEY)), "critical");
    assert_eq!(
        parse(|parts| parts.set_extension(UNKNOWN, false, &[5, 0])),
        Ok(())
    );
    has(
        parse(|parts| parts.set_extension(UNKNOWN, true, &[5, 0])),
        "critical",
    );
}

#[test]
fn tc15_an_extension_of_a_list_occurs_once() {
    has(
        parse(|parts| {
            parts.set_extension(UNKNOWN, false, &[5, 0]);
            let extensions = parts.extensions.as_mut().unwrap();
            let again = extensions.last().unwrap().clone();
            extensions.push(again);
        }),
        "twice",
    );
}

#[test]
fn td11_a_list_does_not_end_before_it_begins() {
    let updates = |this: u64, next: u64| {
        parse(move |parts| {
            parts.set_updates(UnixTime::from_secs(this), UnixTime::from_secs(next));
        })
    };
    assert_eq!(updates(1_000_000_000, 1_000_000_000), Ok(()));
    has(updates(1_000_000_000, 999_999_999), "before its thisUpdate");
    has(updates(1_000_000_000, 900_000_000), "before its thisUpdate");
}

#[test]
fn tc24_the_times_of_a_list_have_one_form() {
    let general = |year: u16| {
        let time = DateTime::new(year, 1, 1, 0, 0, 0).unwrap();
        let der = GeneralizedTime::from_date_time(time).to_der().unwrap();
        TimeField(Any::from_der(&der).unwrap())
    };
    has(
        parse(|parts| parts.next_update = Some(general(2049))),
        "its times are not in the form",
    );
    has(
        parse(|parts| parts.this_update = general(2001)),
        "its times are not in the form",
    );
    assert_eq!(
        parse(|parts| parts.next_update = Some(general(2050))),
        Ok(())
    );
}

#[test]
fn tc30_the_extensions_of_a_list_are_bounded() {
    // Tag and length of [0], which hold 4 octets here.
    let size = |parts: &CrlParts| {
        let extensions = parts.extensions.as_ref().unwrap().to_der().unwrap().len();
        extensions + 4
    };
    let padded = |total: usize| {
        parse(move |parts| {
            parts.set_extension(UNKNOWN, false, &[0; 3_000]);
            let more = total - size(parts);
            parts.set_extension(UNKNOWN, false, &vec![0; 3_000 + more]);
            assert_eq!(size(parts), total);
        })
    };
    assert_eq!(padded(MAX_EXTENSIONS_BYTES), Ok(()));
    has(padded(MAX_EXTENSIONS_BYTES + 1), "not strict DER");
}

#[test]
fn tc15_an_extension_that_occurs_twice_is_named() {
    let pki = TestPki::new();
    let mut parts = countersign_testing::CertificateParts::of(pki.root());
    parts.push_extension(UNKNOWN, false, &[5, 0]);
    parts.push_extension(UNKNOWN, false, &[5, 0]);
    let twice = Certificate::parse(&parts.sign(&pki.authority_keys()[0])).unwrap_err();
    assert_eq!(
        twice,
        Fault::ExtensionTwice {
            extension: "an unknown extension (1.3.6.1.4.1.32473.999)".to_owned()
        }
    );
}
