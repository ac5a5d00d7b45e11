//! The envelope: every COSE_Sign that is not ours, and why.

use super::*;
use crate::samples::envelope;

/// A COSE_Sign of these parts, each already encoded.
fn cose(
    tag: &[u8],
    header: &[u8],
    unprotected: &[u8],
    statement: &[u8],
    signatures: &[u8],
) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.encoded(tag);
    writer.array(4);
    writer.bytes(header);
    writer.encoded(unprotected);
    writer.bytes(statement);
    writer.encoded(signatures);
    writer.finish()
}

/// One signature of these parts, in the array of signatures.
fn one(header: &[u8], unprotected: &[u8], signature: &[u8]) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.array(1);
    writer.array(3);
    writer.bytes(header);
    writer.encoded(unprotected);
    writer.bytes(signature);
    writer.finish()
}

const TAG: &[u8] = &[0xd8, 98];
const EMPTY: &[u8] = &[0xa0];
/// `{1: -9, 33: h'aa'}`
const SIGNER: &[u8] = &[0xa2, 1, 0x28, 0x18, 33, 0x41, 0xaa];

fn body() -> Vec<u8> {
    encode_body_header(&STATEMENT)
}

/// Decodes a COSE_Sign that is right but for its signer's header.
fn signer_header(header: &[u8]) -> Result<Envelope, FormatError> {
    Envelope::decode(&cose(
        TAG,
        &body(),
        EMPTY,
        b"s",
        &one(header, EMPTY, &[7; 64]),
    ))
}

fn noncanonical(result: Result<Envelope, FormatError>) -> bool {
    matches!(result, Err(FormatError::Noncanonical { .. }))
}

fn malformed(result: Result<Envelope, FormatError>) -> bool {
    matches!(result, Err(FormatError::Malformed { .. }))
}

#[test]
fn decode_undoes_encode() {
    let bytes = envelope().encode();
    assert_eq!(Envelope::decode(&bytes).unwrap(), envelope());
    let hand_made = cose(TAG, &body(), EMPTY, b"s", &one(SIGNER, EMPTY, &[7; 64]));
    let decoded = Envelope::decode(&hand_made).unwrap();
    assert_eq!(decoded.encode(), hand_made);
    assert_eq!(decoded.statement_bytes(), b"s");
    let [signer] = decoded.signers() else {
        panic!("one signer")
    };
    assert_eq!(signer.algorithm(), Algorithm::Esp256);
    assert_eq!(signer.chain(), [vec![0xaa]]);
    assert_eq!(signer.signature(), [7; 64]);
}

#[test]
fn what_is_signed_is_the_sig_structure() {
    let bytes = signer_to_be_signed(b"s", Algorithm::Esp256, &[vec![0xaa]]);
    // RFC 9052 §4.4: [ "Signature", body_protected, sign_protected, external_aad, payload ]
    let mut expected = vec![0x85, 0x69];
    expected.extend_from_slice(b"Signature");
    expected.extend_from_slice(&[0x58, u8::try_from(body().len()).unwrap()]);
    expected.extend_from_slice(&body());
    expected.push(0x47);
    expected.extend_from_slice(SIGNER);
    expected.extend_from_slice(&[0x40, 0x41, b's']);
    assert_eq!(bytes, expected);
    let envelope = envelope();
    let [_, two] = envelope.signers() else {
        panic!("two signers")
    };
    assert_eq!(
        envelope.to_be_signed(1).unwrap(),
        signer_to_be_signed(envelope.statement_bytes(), Algorithm::Esp256, two.chain())
    );
    assert_eq!(envelope.to_be_signed(2), None);
}

#[test]
fn ta11_every_truncation_and_ta24_anything_left_over() {
    let bytes = envelope().encode();
    for end in 0..bytes.len() {
        assert!(malformed(Envelope::decode(&bytes[..end])), "at {end}");
    }
    assert!(noncanonical(Envelope::decode(&[bytes, vec![0]].concat())));
}

#[test]
fn ta22_messages_for_other_purposes() {
    let purpose = |bytes: &[u8]| match Envelope::decode(bytes) {
        Err(FormatError::Purpose { found, .. }) => found,
        other => panic!("{other:?}"),
    };
    let rest = one(SIGNER, EMPTY, &[7; 64]);
    let typed = |content_type: &str| {
        let mut header = MapWriter::default();
        header.entry(3, |writer| writer.text(content_type));
        cose(TAG, &header.finish(), EMPTY, b"s", &rest)
    };
    for other in [
        "application/vnd.countersign.guest-data",
        "application/eat+cwt",
        "",
    ] {
        assert_eq!(purpose(&typed(other)), other);
    }
    assert!(Envelope::decode(&typed(CONTENT_TYPE)).is_ok());
    assert!(purpose(&typed("application/vnd.countersign.statement+CBOR")).contains("CBOR"));
    assert_eq!(
        purpose(&cose(TAG, &[0xa1, 3, 0x18, 60], EMPTY, b"s", &rest)),
        "CoAP content format 60"
    );
    assert!(purpose(&cose(TAG, EMPTY, EMPTY, b"s", &rest)).contains("without a content type"));
    assert!(purpose(&cose(TAG, &[], EMPTY, b"s", &rest)).contains("without a content type"));
    for (tag, name) in [
        (&[0xd0][..], "COSE_Encrypt0"),
        (&[0xd1], "COSE_Mac0"),
        (&[0xd2], "COSE_Sign1,"),
        (&[0xd8, 61], "Web Token"),
        (&[0xd8, 96], "COSE_Encrypt"),
        (&[0xd8, 97], "COSE_Mac"),
    ] {
        let found = purpose(&cose(tag, &body(), EMPTY, b"s", &rest));
        assert!(found.contains(name), "{tag:?}: {found}");
    }
    assert!(malformed(Envelope::decode(&cose(
        &[0xd8, 99],
        &body(),
        EMPTY,
        b"s",
        &rest
    ))));
    // Without a tag nothing says what it is.
    assert!(malformed(Envelope::decode(&cose(
        &[],
        &body(),
        EMPTY,
        b"s",
        &rest
    ))));
}

#[test]
fn ta25_ta26_counts_and_sizes_are_limited() {
    let limited = |result, what| match result {
        Err(FormatError::LimitExceeded { what: found, .. }) => assert_eq!(found, what),
        other => panic!("{what}: {other:?}"),
    };
    limited(
        Envelope::decode(&vec![0; 128 * 1024 + 1]),
        "signature section",
    );
    let statement = |length| {
        Envelope::decode(&cose(
            TAG,
            &body(),
            EMPTY,
            &vec![0; length],
            &one(SIGNER, EMPTY, &[7; 64]),
        ))
    };
    assert!(statement(16 * 1024).is_ok());
    limited(
        statement(16 * 1024 + 1),
        "the statement must be embedded as a byte string",
    );
    limited(
        Envelope::decode(&cose(
            TAG,
            &body(),
            EMPTY,
            b"s",
            &[0x9a, 0xff, 0xff, 0xff, 0xff],
        )),
        "the signatures of a COSE_Sign are an array",
    );
    let certificate = |length: usize| {
        let mut header = MapWriter::default();
        header.entry(1, |writer| writer.integer(-9));
        header.entry(33, |writer| writer.bytes(&vec![1; length]));
        signer_header(&header.finish())
    };
    assert!(certificate(8 * 1024).is_ok());
    limited(certificate(8 * 1024 + 1), "certificate");
    limited(
        signer_header(&[
            0xa2, 1, 0x28, 0x18, 33, 0x84, 0x41, 1, 0x41, 2, 0x41, 3, 0x41, 4,
        ]),
        "number of certificates",
    );
    limited(
        signer_header(&[0xa2, 1, 0x28, 0x18, 33, 0x99, 0x27, 0x10]),
        "number of certificates",
    );
    // A hundred thousand arrays in each other are refused at the first that is not expected.
    let mut deep = TAG.to_vec();
    deep.extend(vec![0x81; 100_000]);
    assert!(malformed(Envelope::decode(&deep)));
}

#[test]
fn ta27_nothing_where_something_must_be() {
    assert!(malformed(Envelope::decode(&cose(
        TAG,
        &body(),
        EMPTY,
        b"s",
        &[0x80]
    ))));
    assert!(malformed(Envelope::decode(&cose(
        TAG,
        &body(),
        EMPTY,
        b"",
        &one(SIGNER, EMPTY, &[7; 64])
    ))));
    for length in [0, 63, 65, 128] {
        let signature = one(SIGNER, EMPTY, &vec![0; length]);
        assert!(
            malformed(Envelope::decode(&cose(
                TAG,
                &body(),
                EMPTY,
                b"s",
                &signature
            ))),
            "{length}"
        );
    }
    assert!(malformed(signer_header(&[])));
    assert!(malformed(signer_header(EMPTY)));
    assert!(malformed(signer_header(&[0xa1, 1, 0x28])));
    assert!(malformed(signer_header(&[0xa1, 0x18, 33, 0x41, 0xaa])));
    assert!(malformed(signer_header(&[0xa2, 1, 0x28, 0x18, 33, 0x40])));
    assert!(malformed(signer_header(&[
        0xa2, 1, 0x28, 0x18, 33, 0x82, 0x41, 1, 0x40
    ])));
    assert!(Envelope::new(b"s".to_vec(), Vec::new()).is_err());
    assert!(SignerEntry::new(Algorithm::Ed25519, Vec::new(), [0; 64]).is_err());
    // A detached payload is nil.
    let mut detached = TAG.to_vec();
    detached.push(0x84);
    detached.extend([&[0x58, u8::try_from(body().len()).unwrap()], &body()[..]].concat());
    detached.extend([0xa0, 0xf6]);
    detached.extend(one(SIGNER, EMPTY, &[7; 64]));
    assert!(malformed(Envelope::decode(&detached)));
}

#[test]
fn ta36_unprotected_headers_are_empty() {
    let good = one(SIGNER, EMPTY, &[7; 64]);
    assert!(noncanonical(Envelope::decode(&cose(
        TAG,
        &body(),
        &[0xa1, 4, 0x41, 1],
        b"s",
        &good
    ))));
    let filled = one(SIGNER, &[0xa1, 4, 0x41, 1], &[7; 64]);
    assert!(noncanonical(Envelope::decode(&cose(
        TAG,
        &body(),
        EMPTY,
        b"s",
        &filled
    ))));
    assert!(noncanonical(Envelope::decode(&cose(
        TAG,
        &body(),
        &[0xbf, 0xff],
        b"s",
        &good
    ))));
    assert!(malformed(Envelope::decode(&cose(
        TAG,
        &body(),
        &[0x80],
        b"s",
        &good
    ))));
}

#[test]
fn ta24_other_spellings_of_a_signer() {
    assert!(signer_header(SIGNER).is_ok());
    // Keys out of order, twice, in a longer form; a chain of one as an array; bytes left over.
    assert!(noncanonical(signer_header(&[
        0xa2, 0x18, 33, 0x41, 0xaa, 1, 0x28
    ])));
    assert!(noncanonical(signer_header(&[
        0xa3, 1, 0x28, 1, 0x28, 0x18, 33, 0x41, 0xaa
    ])));
    assert!(noncanonical(signer_header(&[
        0xa2, 0x18, 1, 0x28, 0x18, 33, 0x41, 0xaa
    ])));
    assert!(noncanonical(signer_header(&[
        0xa2, 1, 0x38, 8, 0x18, 33, 0x41, 0xaa
    ])));
    assert!(noncanonical(signer_header(&[
        0xa2, 1, 0x28, 0x18, 33, 0x81, 0x41, 0xaa
    ])));
    assert!(noncanonical(signer_header(&[
        0xa2, 1, 0x28, 0x18, 33, 0x41, 0xaa, 0
    ])));
    // Parameters that the format does not have: crit, kid, a text label.
    assert!(malformed(signer_header(&[
        0xa3, 1, 0x28, 2, 0x81, 1, 0x18, 33, 0x41, 0xaa
    ])));
    assert!(malformed(signer_header(&[
        0xa3, 1, 0x28, 4, 0x41, 1, 0x18, 33, 0x41, 0xaa
    ])));
    assert!(malformed(signer_header(&[
        0xa2, 1, 0x28, 0x61, b'x', 0x41, 0xaa
    ])));
    let body = [0xa2, 1, 0x28, 3, 0x61, b'x'];
    assert!(malformed(Envelope::decode(&cose(
        TAG,
        &body,
        EMPTY,
        b"s",
        &one(SIGNER, EMPTY, &[7; 64])
    ))));
}

#[test]
fn tb07_tb08_tb09_forbidden_algorithms() {
    let algorithm =
        |head: &[u8]| signer_header(&[&[0xa2, 1][..], head, &[0x18, 33, 0x41, 0xaa]].concat());
    for (head, found) in [
        (&[0x27][..], -8),
        (&[0x26], -7),
        (&[0x05], 5),
        (&[0x00], 0),
        (&[0x39, 0xff, 0xfe], -65535),
    ] {
        assert_eq!(
            algorithm(head),
            Err(FormatError::AlgorithmForbidden {
                what: "signature algorithm",
                found
            })
        );
    }
    assert!(malformed(algorithm(&[0x64, b'n', b'o', b'n', b'e'])));
    assert!(malformed(algorithm(&[0xf6])));
    assert_eq!(
        algorithm(&[0x32]).unwrap().signers()[0].algorithm(),
        Algorithm::Ed25519
    );
}
