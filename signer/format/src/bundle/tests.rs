//! The index and its framing: one encoding for each, and every limit.

use super::*;
use crate::cbor::Writer;

fn part(kind: PartKind, name: &str, bytes: &[u8]) -> BundlePart {
    BundlePart {
        kind,
        name: name.to_owned(),
        size: length(bytes.len()),
        digest: Digest::of(bytes),
    }
}

fn minimum(name: &str, security_version: u64) -> Minimum {
    Minimum {
        name: ComponentName::parse(name).unwrap(),
        security_version,
    }
}

fn full() -> BundleFields {
    BundleFields {
        line: "plant-7".to_owned(),
        number: 12,
        not_after: 1_900_000_000,
        signers: vec![SignerId::of(
            Algorithm::Esp256,
            Digest::of(b"key"),
            &[b"leaf".to_vec()],
        )],
        audience: Audience {
            devices: vec!["gw-1".to_owned()],
            types: Vec::new(),
        },
        parts: vec![
            part(PartKind::Component, "pump.signed.wasm", b"pump"),
            part(PartKind::Lists, "lists.pem", b"lists"),
            part(PartKind::Configuration, "services.toml", b"toml"),
        ],
        minimums: vec![minimum("acme:pump", 7), minimum("acme:door", 2)],
    }
}

fn refused(change: impl FnOnce(&mut BundleFields)) -> FormatError {
    let mut fields = full();
    change(&mut fields);
    BundleIndex::new(fields).expect_err("it must be refused")
}

#[test]
fn th12_an_index_has_one_encoding_and_its_lists_are_sorted() {
    let index = BundleIndex::new(full()).unwrap();
    let kinds: Vec<_> = index.fields().parts.iter().map(|part| part.kind).collect();
    assert_eq!(
        kinds,
        [
            PartKind::Lists,
            PartKind::Configuration,
            PartKind::Component
        ]
    );
    assert_eq!(index.total(), 13);
    let bytes = index.encode();
    assert_eq!(BundleIndex::decode(&bytes).unwrap(), index);
    for cut in 0..bytes.len() {
        assert!(BundleIndex::decode(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(BundleIndex::decode(&longer).is_err());
    // Two parts exchanged: the same content in another order.
    let (one, two) = (
        part_bytes(&index.fields().parts[0]),
        part_bytes(&index.fields().parts[1]),
    );
    let at = find(&bytes, &one);
    let mut swapped = bytes.clone();
    swapped.splice(at..at + one.len() + two.len(), [two, one].concat());
    assert!(matches!(
        BundleIndex::decode(&swapped),
        Err(FormatError::Noncanonical { .. })
    ));
}

fn part_bytes(part: &BundlePart) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.array(4);
    writer.unsigned(part.kind.number());
    writer.text(&part.name);
    writer.unsigned(part.size);
    writer.bytes(part.digest.as_bytes());
    writer.finish()
}

fn find(bytes: &[u8], what: &[u8]) -> usize {
    bytes
        .windows(what.len())
        .position(|window| window == what)
        .unwrap()
}

#[test]
fn ta15_another_version_is_refused_before_anything_else() {
    let mut bytes = BundleIndex::new(full()).unwrap().encode();
    assert_eq!(&bytes[1..3], [1, 1], "the first entry is the version");
    bytes[2] = 2;
    bytes.truncate(3);
    assert_eq!(
        BundleIndex::decode(&bytes),
        Err(FormatError::VersionUnknown {
            found: 2,
            supported: 1
        })
    );
}

#[test]
fn th12_no_part_has_a_path_or_anothers_name() {
    for name in [
        "", "../x", "a/b", ".hidden", "-x", "a b", "a\0", "ä", "a\\b",
    ] {
        let error = refused(|fields| fields.parts[0].name = name.to_owned());
        assert!(
            matches!(error, FormatError::Text { .. }),
            "{name:?}: {error}"
        );
    }
    refused(|fields| fields.parts[0].name = "x".repeat(65));
    refused(|fields| fields.parts[0].name = "lists.pem".to_owned());
    refused(|fields| fields.line = "../plant".to_owned());
}

#[test]
fn th11_ta26_every_size_and_count_is_bounded() {
    for kind in PartKind::ALL {
        let largest = |fields: &mut BundleFields| {
            fields.parts = vec![BundlePart {
                kind,
                name: "x".to_owned(),
                size: kind.max_bytes(),
                digest: Digest::of(b""),
            }];
        };
        let mut fields = full();
        largest(&mut fields);
        BundleIndex::new(fields).unwrap();
        let error = refused(|fields| {
            largest(fields);
            fields.parts[0].size += 1;
        });
        assert!(matches!(error, FormatError::LimitExceeded { .. }));
    }
    refused(|fields| fields.parts[0].size = 0);
    let many = |count: u64, size| {
        move |fields: &mut BundleFields| {
            fields.parts = (0..count)
                .map(|number| BundlePart {
                    kind: PartKind::Component,
                    name: format!("part-{number}"),
                    size,
                    digest: Digest::of(b""),
                })
                .collect();
        }
    };
    let mut fields = full();
    many(limits::MAX_BUNDLE_PARTS, 1)(&mut fields);
    BundleIndex::new(fields).unwrap();
    refused(many(limits::MAX_BUNDLE_PARTS + 1, 1));
    // Each within its limit, and together too many bytes.
    refused(many(9, limits::MAX_COMPONENT_BYTES));
}

#[test]
fn td18_a_bundle_withdraws_a_thousand_components_in_one_index() {
    let minimums = |count: u64| -> Vec<Minimum> {
        (1..=count)
            .map(|number| minimum(&format!("acme:c{}{number}", "x".repeat(110)), number))
            .collect()
    };
    let mut fields = full();
    fields.parts.clear();
    fields.minimums = minimums(limits::MAX_BUNDLE_MINIMUMS);
    let index = BundleIndex::new(fields).unwrap();
    assert_eq!(BundleIndex::decode(&index.encode()).unwrap(), index);
    refused(|fields| fields.minimums = minimums(limits::MAX_BUNDLE_MINIMUMS + 1));
    refused(|fields| fields.minimums = vec![minimum("acme:a", 1), minimum("acme:a", 2)]);
    refused(|fields| fields.minimums = vec![minimum("acme:a", 0)]);
    refused(|fields| {
        fields.parts.clear();
        fields.minimums.clear();
    });
    refused(|fields| fields.number = 0);
    refused(|fields| fields.parts[0].kind = PartKind::Configuration);
}

fn enveloped() -> BundleEnvelope {
    let index = BundleIndex::new(full()).unwrap().encode();
    let signer = SignerEntry::new(Algorithm::Esp256, vec![b"leaf".to_vec()], [7; 64]).unwrap();
    BundleEnvelope::new(index, vec![signer]).unwrap()
}

#[test]
fn ta22_te21_an_index_is_no_statement_and_a_statement_no_index() {
    let envelope = enveloped();
    let bytes = envelope.encode();
    assert_eq!(BundleEnvelope::decode(&bytes).unwrap(), envelope);
    let error = Envelope::decode(&bytes).expect_err("it is a bundle's");
    assert!(matches!(error, FormatError::Purpose { .. }), "{error}");
    let component = crate::samples::envelope().encode();
    let error = BundleEnvelope::decode(&component).expect_err("it is a component's");
    assert!(matches!(error, FormatError::Purpose { .. }), "{error}");
    // And a signature on one is none on the other, even over the same bytes.
    let chain = [b"leaf".to_vec()];
    assert_ne!(
        bundle_to_be_signed(b"x", Algorithm::Esp256, &chain),
        crate::signer_to_be_signed(b"x", Algorithm::Esp256, &chain)
    );
    assert_eq!(
        envelope.to_be_signed(0).unwrap(),
        bundle_to_be_signed(envelope.index_bytes(), Algorithm::Esp256, &chain)
    );
}

#[test]
fn the_preamble_says_how_long_the_envelope_is() {
    let bytes = enveloped().encode();
    let preamble = bundle_preamble(&bytes).unwrap();
    assert_eq!(read_bundle_preamble(&preamble), Ok(length(bytes.len())));
    assert_eq!(
        read_bundle_preamble(b"\0asm\x0d\0\x01\0\0\0\0\0"),
        Err(FormatError::NotABundle)
    );
    assert!(matches!(
        read_bundle_preamble(b"CSBUNDLE\xff\xff\xff\xff"),
        Err(FormatError::LimitExceeded { .. })
    ));
}

#[test]
fn the_encoding_is_the_one_that_was_released() {
    // A change of these bytes is a change of the format: bundles on sticks in the field would no longer be read.
    let digest = Digest::of(&enveloped().encode()).to_string();
    assert_eq!(
        digest,
        "e397fbb8eb48f96c176aba6036c526d53bd9caef7abbca19e1cd8147b6015cc7"
    );
}
