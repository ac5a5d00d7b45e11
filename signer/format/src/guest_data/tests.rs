use super::*;

fn claims(context: &str) -> GuestClaims {
    GuestClaims::new(
        DeviceIdentity::parse("SN-7").unwrap(),
        ComponentName::parse("acme:telemetry").unwrap(),
        Digest::of(b"component"),
        vec![Digest::of(b"vendor"), Digest::of(b"operator")],
        context,
        BootId::new([7; 16]),
        300,
    )
    .unwrap()
}

fn data(payload: GuestPayload, chain: &[&[u8]]) -> GuestData {
    let chain = chain.iter().map(|der| der.to_vec()).collect();
    GuestData::new(
        Algorithm::Esp256,
        chain,
        claims("reading/v1"),
        payload,
        [9; 64],
    )
    .unwrap()
}

fn message(text: &[u8]) -> GuestData {
    data(
        GuestPayload::Message(text.to_vec()),
        &[b"leaf", b"intermediate"],
    )
}

/// Replaces `from`, which must be there once, by `to` of the same length.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let at: Vec<_> = bytes
        .windows(from.len())
        .enumerate()
        .filter_map(|(at, window)| (window == from).then_some(at))
        .collect();
    let [at] = at[..] else {
        panic!("{from:02x?} is there {} times", at.len())
    };
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}

#[test]
fn what_is_encoded_decodes_to_the_same() {
    let payloads = [
        GuestPayload::Message(Vec::new()),
        GuestPayload::Message(b"21.5 C".to_vec()),
        GuestPayload::Message(vec![0; 64 * 1024]),
        GuestPayload::Digest(Digest::of(b"a long message")),
    ];
    for payload in payloads {
        for chain in [&[&b"leaf"[..]][..], &[b"leaf", b"one", b"two"]] {
            let data = data(payload.clone(), chain);
            let bytes = data.encode();
            assert_eq!(GuestData::decode(&bytes).unwrap(), data);
            assert!(bytes.starts_with(&[0xd2, 0x84]));
        }
    }
}

#[test]
fn every_part_is_told() {
    let data = GuestData::decode(&message(b"21.5 C").encode()).unwrap();
    assert_eq!(data.algorithm(), Algorithm::Esp256);
    assert_eq!(data.chain(), [b"leaf".to_vec(), b"intermediate".to_vec()]);
    assert_eq!(data.payload(), &GuestPayload::Message(b"21.5 C".to_vec()));
    assert_eq!(data.signature(), &[9; 64]);
    let claims = data.claims();
    assert_eq!(claims.device().as_str(), "SN-7");
    assert_eq!(claims.component().as_str(), "acme:telemetry");
    assert_eq!(claims.component_digest(), Digest::of(b"component"));
    assert_eq!(
        claims.signers(),
        [Digest::of(b"vendor"), Digest::of(b"operator")]
    );
    assert_eq!((claims.context(), claims.sequence()), ("reading/v1", 300));
    assert_eq!(claims.boot().as_bytes(), &[7; 16]);
}

#[test]
fn claims_have_their_numbers() {
    let mut writer = Writer::default();
    claims("reading/v1").encode(&mut writer);
    // guest-data.cddl: issuer, subject, then -65537 to -65541 of our own.
    let expected = [
        &b"\xa7\x01\x64SN-7\x02\x6eacme:telemetry"[..],
        b"\x3a\x00\x01\x00\x00\x58\x20",
        Digest::of(b"component").as_bytes(),
        b"\x3a\x00\x01\x00\x01\x82\x58\x20",
        Digest::of(b"vendor").as_bytes(),
        b"\x58\x20",
        Digest::of(b"operator").as_bytes(),
        b"\x3a\x00\x01\x00\x02\x6areading/v1",
        b"\x3a\x00\x01\x00\x03\x50",
        &[7; 16],
        b"\x3a\x00\x01\x00\x04\x19\x01\x2c",
    ]
    .concat();
    assert_eq!(writer.finish(), expected);
}

#[test]
fn ta24_a_header_without_a_content_type_is_somebody_elses() {
    let decode = |content_type: bool| {
        let mut header = MapWriter::default();
        header.entry(HEADER_ALGORITHM, |writer| writer.integer(-9));
        if content_type {
            header.entry(HEADER_CONTENT_TYPE, |writer| {
                writer.text(GUEST_DATA_CONTENT_TYPE);
            });
        }
        header.entry(HEADER_CLAIMS, |writer| claims("a").encode(writer));
        header.entry(HEADER_X5CHAIN, |writer| {
            encode_chain(writer, &[b"leaf".to_vec()]);
        });
        Header::decode(&header.finish(), 0).map(|header| header.hashed)
    };
    assert_eq!(decode(true), Ok(false));
    assert!(matches!(decode(false), Err(FormatError::Purpose { .. })));
}

#[test]
fn what_is_signed_is_the_sig_structure_of_cose_sign1() {
    let data = message(b"21.5 C");
    let signed = data.to_be_signed();
    assert!(signed.starts_with(b"\x84\x6aSignature1\x58"));
    assert!(signed.ends_with(b"\x40\x4621.5 C"));
    let header = encode_header(
        data.algorithm(),
        data.chain(),
        data.claims(),
        data.payload(),
    );
    // The head of the array, the context, the head of the header of more than 23 bytes, no external data, the message.
    assert_eq!(signed.len(), 1 + 11 + 2 + header.len() + 1 + 7);
    assert_eq!(signed[14..14 + header.len()], header);
}

#[test]
fn te21_a_components_signature_and_guest_data_are_never_the_same() {
    let statement = crate::signer_to_be_signed(b"21.5 C", Algorithm::Esp256, &[b"leaf".to_vec()]);
    let guest = message(b"21.5 C");
    assert_ne!(statement[1..12], guest.to_be_signed()[1..12]);
    let Err(FormatError::Purpose { found, .. }) = crate::Envelope::decode(&guest.encode()) else {
        panic!("read as a component's signature")
    };
    assert!(found.contains("COSE_Sign1"));
    // The content type of statements, in a COSE_Sign1 that is right in everything else.
    let header = encode_header(
        guest.algorithm(),
        guest.chain(),
        guest.claims(),
        guest.payload(),
    );
    let at = header
        .windows(GUEST_DATA_CONTENT_TYPE.len())
        .position(|window| window == GUEST_DATA_CONTENT_TYPE.as_bytes())
        .unwrap();
    let mut other = header[..at - 2].to_vec();
    let mut text = Writer::default();
    text.text(crate::CONTENT_TYPE);
    other.extend(text.finish());
    other.extend(&header[at + GUEST_DATA_CONTENT_TYPE.len()..]);
    let mut writer = Writer::default();
    writer.tag(18);
    writer.array(4);
    writer.bytes(&other);
    writer.map(0);
    writer.bytes(b"21.5 C");
    writer.bytes(&[9; 64]);
    let error = GuestData::decode(&writer.finish()).unwrap_err();
    let FormatError::Purpose { found, expected } = error else {
        panic!("{error}")
    };
    assert_eq!(
        (found.as_str(), expected),
        (crate::CONTENT_TYPE, GUEST_DATA_CONTENT_TYPE)
    );
}

#[test]
fn te25_contexts_are_labels() {
    let long = "x".repeat(65);
    for bad in ["", "\0", "a\0", "reading v1", "-a", "\u{e9}", "a\n", &long] {
        let claims = GuestClaims::new(
            DeviceIdentity::parse("SN-7").unwrap(),
            ComponentName::parse("acme:telemetry").unwrap(),
            Digest::of(b"component"),
            vec![Digest::of(b"vendor")],
            bad,
            BootId::new([7; 16]),
            1,
        );
        assert!(claims.is_err(), "{bad:?}");
    }
    let bytes = message(b"21.5 C").encode();
    assert!(GuestData::decode(&replaced(&bytes, b"reading/v1", b"reading v1")).is_err());
}

#[test]
fn te25_a_boundary_between_context_and_message_cannot_move() {
    let made = |context: &str, message: &[u8]| {
        let payload = GuestPayload::Message(message.to_vec());
        guest_data_to_be_signed(
            Algorithm::Esp256,
            &[b"leaf".to_vec()],
            &claims(context),
            &payload,
        )
    };
    assert_ne!(made("a", b"bc"), made("ab", b"c"));
    assert_ne!(made("a", b""), made("aa", b""));
}

#[test]
fn a_digest_is_not_a_message_of_the_same_bytes() {
    let digest = Digest::of(b"a long message");
    let hashed = data(GuestPayload::Digest(digest), &[b"leaf"]);
    let plain = data(
        GuestPayload::Message(digest.as_bytes().to_vec()),
        &[b"leaf"],
    );
    assert_ne!(hashed.to_be_signed(), plain.to_be_signed());
    let bytes = hashed.encode();
    // 258 (payload hash algorithm) => -16, -43 (SHA-384), -14 (SHA-1).
    for other in [&b"\x19\x01\x02\x38\x2a"[..], b"\x19\x01\x02\x2d\x00"] {
        let changed = replaced(&bytes, b"\x19\x01\x02\x2f\x19", other);
        assert!(GuestData::decode(&changed).is_err());
    }
    assert!(matches!(
        GuestData::decode(&replaced(&bytes, b"\x19\x01\x02\x2f", b"\x19\x01\x02\x2d")),
        Err(FormatError::AlgorithmForbidden { found: -14, .. })
    ));
}

#[test]
fn ta24_every_other_encoding_is_refused() {
    let good = message(b"21.5 C").encode();
    let refused = |bytes: &[u8]| GuestData::decode(bytes).unwrap_err();
    // Tag 18 left out, in a longer form, another tag.
    refused(&good[1..]);
    refused(&[&[0xd8, 0x12], &good[1..]].concat());
    refused(&[&[0xd1], &good[1..]].concat());
    // Indefinite length, bytes left over, cut off.
    refused(&[&[0xd2, 0x9f], &good[2..], &[0xff]].concat());
    refused(&[&good[..], &[0]].concat());
    for end in 0..good.len() {
        refused(&good[..end]);
    }
    // Something in the unprotected header.
    let at = good.len() - (1 + 6 + 2 + 64) - 1;
    assert_eq!(good[at], 0xa0);
    refused(&[&good[..at], &[0xa1, 0x04, 0x40], &good[at + 1..]].concat());
    // Claims renumbered, so that one is missing and another unknown or twice.
    refused(&replaced(
        &good,
        b"\x3a\x00\x01\x00\x02",
        b"\x3a\x00\x01\x00\x07",
    ));
    refused(&replaced(
        &good,
        b"\x3a\x00\x01\x00\x02",
        b"\x3a\x00\x01\x00\x01",
    ));
    refused(&replaced(
        &good,
        b"\x3a\x00\x01\x00\x04\x19\x01\x2c",
        b"\x3a\x00\x01\x00\x03\x19\x01\x2c",
    ));
    // A number that is longer than it need be: 300 becomes 44 in two bytes.
    refused(&replaced(&good, b"\x19\x01\x2c", b"\x19\x00\x2c"));
    // The algorithm of another key family is another message, not another spelling.
    let other = replaced(&good, b"\xa4\x01\x28\x03", b"\xa4\x01\x32\x03");
    assert_eq!(
        GuestData::decode(&other).unwrap().algorithm(),
        Algorithm::Ed25519
    );
    refused(&replaced(&good, b"\xa4\x01\x28\x03", b"\xa4\x01\x26\x03"));
}

#[test]
fn sizes_are_bounded() {
    let parts = |chain: Vec<Vec<u8>>, message: usize| {
        let payload = GuestPayload::Message(vec![0; message]);
        GuestData::new(Algorithm::Esp256, chain, claims("a"), payload, [0; 64])
    };
    assert!(parts(vec![vec![1]], 64 * 1024).is_ok());
    assert!(parts(vec![vec![1]], 64 * 1024 + 1).is_err());
    assert!(parts(vec![], 1).is_err());
    assert!(parts(vec![vec![]], 1).is_err());
    assert!(parts(vec![vec![1]; 4], 1).is_err());
    assert!(parts(vec![vec![1; 8 * 1024 + 1]], 1).is_err());
    let most = parts(vec![vec![1; 8 * 1024]; 3], 64 * 1024).unwrap();
    assert!(GuestData::decode(&most.encode()).is_ok());
    assert!(matches!(
        GuestData::decode(&vec![0; 96 * 1024 + 1]),
        Err(FormatError::LimitExceeded { .. })
    ));
    let signers = |count: usize| {
        GuestClaims::new(
            DeviceIdentity::parse("SN-7").unwrap(),
            ComponentName::parse("acme:telemetry").unwrap(),
            Digest::of(b"component"),
            vec![Digest::of(b"vendor"); count],
            "a",
            BootId::new([7; 16]),
            1,
        )
    };
    assert!(signers(0).is_err());
    assert!(signers(4).is_ok());
    assert!(signers(5).is_err());
}
