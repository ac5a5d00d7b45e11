use super::*;
use crate::{BootId, ComponentName, DeviceIdentity, GuestData};

fn claims(kind: EvidenceKind, nonce: &[u8]) -> EvidenceClaims {
    let runtime =
        RuntimeClaim::new("countersign-run", "0.1.0+x", Some(Digest::of(b"program"))).unwrap();
    EvidenceClaims::new(
        kind,
        EvidenceNonce::new(nonce).unwrap(),
        DeviceIdentity::parse("SN-7").unwrap(),
        BootId::new([7; 16]),
        runtime,
    )
}

fn full(kind: EvidenceKind) -> EvidenceClaims {
    let component = ComponentClaim::new(
        ComponentName::parse("acme:telemetry").unwrap(),
        Digest::of(b"component"),
        vec![Digest::of(b"vendor"), Digest::of(b"operator")],
    )
    .unwrap();
    claims(kind, b"a nonce!")
        .for_component(component)
        .with_configuration(Digest::of(b"configuration"))
        .at(1_800_000_000)
        .unwrap()
}

fn proofs() -> [EvidenceProof; 4] {
    [
        EvidenceProof::Software(SoftwareProof {
            algorithm: Algorithm::Ed25519,
            signature: [9; 64],
        }),
        EvidenceProof::TpmQuote(TpmQuoteProof {
            attest: vec![1; 130],
            signature: [9; 64],
            registers: vec![(0, [1; 32]), (7, [2; 32]), (23, [3; 32])],
        }),
        EvidenceProof::TpmKey(TpmKeyProof {
            attest: vec![1; 130],
            signature: [9; 64],
            public_area: vec![2; 90],
        }),
        EvidenceProof::Atecc608Key(Atecc608Proof {
            serial: [1; 9],
            slot: 2,
            public: [3; 64],
            slot_config: 0x2083,
            key_config: 0x0033,
            slot_unlocked: false,
            random: [4; 32],
            attestation_slot: 1,
            signature: [9; 64],
        }),
    ]
}

fn chain(certificates: &[&[u8]]) -> Vec<Vec<u8>> {
    certificates.iter().map(|der| der.to_vec()).collect()
}

fn document(proof: EvidenceProof) -> EvidenceDocument {
    EvidenceDocument::new(
        full(proof.kind()),
        chain(&[b"leaf", b"intermediate"]),
        proof,
    )
    .unwrap()
}

/// Replaces `from`, which must be there once, by `to`.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
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
    for proof in proofs() {
        let kind = proof.kind();
        for claims in [full(kind), claims(kind, &[5; 64])] {
            for certificates in [&[&b"leaf"[..]][..], &[b"leaf", b"one", b"two"]] {
                let document =
                    EvidenceDocument::new(claims.clone(), chain(certificates), proof.clone())
                        .unwrap();
                let read = EvidenceDocument::decode(&document.encode()).unwrap();
                assert_eq!(read, document, "{kind:?}");
                assert_eq!(read.claims().kind(), kind);
            }
        }
    }
}

#[test]
fn every_part_is_told() {
    let [software, quote, key, chip] = proofs();
    let read = EvidenceDocument::decode(&document(quote).encode()).unwrap();
    assert_eq!(read.chain(), chain(&[b"leaf", b"intermediate"]));
    let claims = read.claims();
    assert_eq!(claims.nonce().as_bytes(), b"a nonce!");
    assert_eq!(claims.device().as_str(), "SN-7");
    assert_eq!(claims.boot().as_bytes(), &[7; 16]);
    let runtime = claims.runtime();
    assert_eq!(
        (runtime.name(), runtime.version(), runtime.digest()),
        ("countersign-run", "0.1.0+x", Some(Digest::of(b"program")))
    );
    let component = claims.component().unwrap();
    assert_eq!(component.name().as_str(), "acme:telemetry");
    assert_eq!(component.digest(), Digest::of(b"component"));
    assert_eq!(
        component.signers(),
        [Digest::of(b"vendor"), Digest::of(b"operator")]
    );
    assert_eq!(claims.configuration(), Some(Digest::of(b"configuration")));
    assert_eq!(claims.issued_at(), Some(1_800_000_000));

    let told = [software, read.proof().clone(), key, chip].map(|proof| {
        let hardware = proof.kind().hardware();
        (
            proof.kind().as_str(),
            hardware.map(|hardware| hardware.to_string()),
        )
    });
    let tpm = Some("tpm".to_owned());
    assert_eq!(
        told,
        [
            ("software", None),
            ("tpm-quote", tpm.clone()),
            ("tpm-key", tpm),
            ("atecc608-key", Some("atecc608".to_owned()))
        ]
    );
}

#[test]
fn what_software_signs_is_the_sig_structure_of_cose_sign1() {
    let claims = full(EvidenceKind::Software);
    let chain = chain(&[b"leaf"]);
    let signed = evidence_to_be_signed(Algorithm::Ed25519, &chain, &claims);
    // {1: -19, 3: content type, 33: leaf}
    let header = [
        &b"\xa3\x01\x32\x03\x78\x24"[..],
        EVIDENCE_CONTENT_TYPE.as_bytes(),
        b"\x18\x21\x44leaf",
    ]
    .concat();
    let claims = claims.encode();
    let size = u16::try_from(claims.len()).unwrap().to_be_bytes();
    let header_size = u8::try_from(header.len()).unwrap();
    let expected = [
        &b"\x84\x6aSignature1\x58"[..],
        &[header_size],
        &header,
        b"\x40\x59",
        &size,
        &claims,
    ]
    .concat();
    assert_eq!(signed, expected);
}

#[test]
fn ta24_a_header_without_a_content_type_is_somebody_elses() {
    let decode = |content_type: bool, other: bool| {
        let mut header = MapWriter::default();
        header.entry(HEADER_ALGORITHM, |writer| writer.integer(-19));
        if content_type {
            header.entry(HEADER_CONTENT_TYPE, |writer| {
                writer.text(EVIDENCE_CONTENT_TYPE);
            });
        }
        if other {
            // RFC 9597: CWT claims, as in guest data.
            header.entry(15, |writer| writer.map(0));
        }
        header.entry(HEADER_X5CHAIN, |writer| {
            encode_chain(writer, &chain(&[b"leaf"]));
        });
        decode_header(&header.finish(), 0)
    };
    assert!(decode(true, false).is_ok());
    assert!(matches!(
        decode(true, true),
        Err(FormatError::Malformed { .. })
    ));
    for other in [true, false] {
        assert!(matches!(
            decode(false, other),
            Err(FormatError::Purpose { .. })
        ));
    }
}

#[test]
fn a_slot_is_one_of_sixteen() {
    let [.., EvidenceProof::Atecc608Key(chip)] = proofs() else {
        panic!("a chip's")
    };
    let made = |slot, attestation_slot| {
        let proof = EvidenceProof::Atecc608Key(Atecc608Proof {
            slot,
            attestation_slot,
            ..chip.clone()
        });
        EvidenceDocument::new(full(proof.kind()), chain(&[b"leaf"]), proof)
    };
    let read = |made: EvidenceDocument| EvidenceDocument::decode(&made.encode());
    assert!(read(made(15, 0).unwrap()).is_ok());
    assert!(read(made(0, 15).unwrap()).is_ok());
    assert!(made(16, 0).is_err());
    assert!(made(0, 16).is_err());
    // Read, it is told where it stands.
    let good = made(2, 1).unwrap().encode();
    let bad = replaced(&good, b"\x02\x58\x40\x03", b"\x10\x58\x40\x03");
    assert!(matches!(
        EvidenceDocument::decode(&bad),
        Err(FormatError::Malformed { offset: 1.., .. })
    ));
}

#[test]
fn claims_are_an_eat_in_the_order_of_their_keys() {
    let encoded = full(EvidenceKind::TpmQuote).encode();
    // A map of 13: issuer, subject, issued at, nonce, profile (an OID), boot seed, software and its version.
    let start = b"\xad\x01\x64SN-7\x02\x6eacme:telemetry\x06\x1a\x6b\x49\xd2\x00\x0a\x48a nonce!\
        \x19\x01\x09\x4a\x2b\x06\x01\x04\x01\x81\xfd\x59\x03\x01\x19\x01\x0c\x50";
    assert_eq!(encoded[..start.len()], start[..]);
    // The kind, -65544, is last.
    assert!(encoded.ends_with(b"\x3a\x00\x01\x00\x07\x01"));
}

#[test]
fn te22_hardware_never_gets_the_askers_nonce() {
    // 32 bytes as a TPM would take them: what it is given instead depends on them, and is never them.
    let nonce = [0x5a; 32];
    let claims = claims(EvidenceKind::TpmQuote, &nonce);
    let challenge = evidence_challenge(&claims);
    assert_ne!(challenge.as_bytes(), &nonce);
    let labelled = [&b"countersign evidence v1\0"[..], &claims.encode()].concat();
    assert_eq!(challenge, Digest::of(&labelled));
}

#[test]
fn te22_every_claim_is_in_the_challenge() {
    let kind = EvidenceKind::TpmQuote;
    let component = |name: &str, digest: &[u8], signer: &[u8]| {
        ComponentClaim::new(
            ComponentName::parse(name).unwrap(),
            Digest::of(digest),
            vec![Digest::of(signer)],
        )
        .unwrap()
    };
    let runtime = |name, version, digest| RuntimeClaim::new(name, version, digest).unwrap();
    let with = |kind, nonce: &[u8], device: &str, boot: u8, runtime| {
        EvidenceClaims::new(
            kind,
            EvidenceNonce::new(nonce).unwrap(),
            DeviceIdentity::parse(device).unwrap(),
            BootId::new([boot; 16]),
            runtime,
        )
    };
    let plain = || with(kind, b"12345678", "a", 1, runtime("r", "1", None));
    let all = [
        plain(),
        with(
            EvidenceKind::TpmKey,
            b"12345678",
            "a",
            1,
            runtime("r", "1", None),
        ),
        with(kind, b"123456789", "a", 1, runtime("r", "1", None)),
        with(kind, b"12345678", "b", 1, runtime("r", "1", None)),
        with(kind, b"12345678", "a", 2, runtime("r", "1", None)),
        with(kind, b"12345678", "a", 1, runtime("s", "1", None)),
        with(kind, b"12345678", "a", 1, runtime("r", "2", None)),
        with(
            kind,
            b"12345678",
            "a",
            1,
            runtime("r", "1", Some(Digest::of(b"x"))),
        ),
        plain().with_configuration(Digest::of(b"x")),
        plain().at(0).unwrap(),
        plain().at(1).unwrap(),
        plain().for_component(component("a:b", b"x", b"y")),
        plain().for_component(component("a:c", b"x", b"y")),
        plain().for_component(component("a:b", b"z", b"y")),
        plain().for_component(component("a:b", b"x", b"z")),
    ];
    let challenges: std::collections::BTreeSet<_> = all.iter().map(evidence_challenge).collect();
    assert_eq!(challenges.len(), all.len());
}

#[test]
fn te21_an_attestation_and_other_messages_are_never_the_same() {
    let software = document(proofs()[0].clone()).encode();
    assert!(crate::Envelope::decode(&software).is_err());
    let Err(FormatError::Purpose { found, .. }) = GuestData::decode(&software) else {
        panic!("read as guest data")
    };
    assert_eq!(found, EVIDENCE_CONTENT_TYPE);
    let [_, quote, ..] = proofs();
    assert!(GuestData::decode(&document(quote.clone()).encode()).is_err());
    // The content type of guest data, in an attestation that is right in everything else.
    for bytes in [software, document(quote).encode()] {
        let mut text = Writer::default();
        text.text(EVIDENCE_CONTENT_TYPE);
        let mut other = Writer::default();
        // Of the same length, so that the lengths around it stay right.
        other.text("application/vnd.countersign.guestdat");
        let changed = replaced(&bytes, &text.finish(), &other.finish());
        assert!(matches!(
            EvidenceDocument::decode(&changed),
            Err(FormatError::Purpose { .. })
        ));
    }
}

#[test]
fn a_proof_of_another_kind_than_the_claims_state_is_refused() {
    let hardware = &proofs()[1..];
    for (at, proof) in hardware.iter().enumerate() {
        for kind in EvidenceKind::ALL {
            let made = EvidenceDocument::new(full(*kind), chain(&[b"leaf"]), proof.clone());
            assert_eq!(made.is_ok(), *kind == proof.kind());
        }
        // The same on the wire: the proof of one document behind the claims of another.
        let (one, next) = (proof.clone(), hardware[(at + 1) % hardware.len()].clone());
        let mut tail = Writer::default();
        one.encode(&mut tail);
        let mut other = Writer::default();
        next.encode(&mut other);
        let bytes = replaced(&document(one).encode(), &tail.finish(), &other.finish());
        assert!(EvidenceDocument::decode(&bytes).is_err());
    }
}

#[test]
fn ta24_every_other_encoding_is_refused() {
    let refused = |bytes: &[u8]| EvidenceDocument::decode(bytes).unwrap_err();
    for proof in proofs() {
        let good = document(proof).encode();
        refused(&[&good[..], &[0]].concat());
        for end in 0..good.len() {
            refused(&good[..end]);
        }
        // A claim unknown, twice, or missing.
        let boot = b"\x19\x01\x0c\x50";
        refused(&replaced(&good, boot, b"\x19\x01\x0b\x50"));
        refused(&replaced(&good, boot, b"\x19\x01\x09\x50"));
        refused(&replaced(
            &good,
            b"\x3a\x00\x01\x00\x01\x82",
            b"\x3a\x00\x01\x00\x05\x82",
        ));
        // Another profile, and a version with a scheme.
        refused(&replaced(&good, b"\xfd\x59\x03\x01", b"\xfd\x59\x03\x02"));
        refused(&replaced(&good, b"\x81\x670.1.0+x", b"\x82\x660.1.0+\x01"));
        // A kind that does not exist.
        let kind = good
            .windows(5)
            .position(|window| window == b"\x3a\x00\x01\x00\x07")
            .unwrap();
        let mut other = good.clone();
        other[kind + 5] = 9;
        refused(&other);
    }
    let software = document(proofs()[0].clone()).encode();
    refused(&[&[0xd8, 0x12], &software[1..]].concat());
    refused(&[&[0xd1], &software[1..]].concat());
    let [_, quote, _, chip] = proofs();
    let quote = document(quote).encode();
    // Registers out of order, twice, and one that no platform has.
    refused(&replaced(&quote, b"\x07\x58\x20", b"\x18\x58\x20"));
    refused(&replaced(&quote, b"\x17\x58\x20", b"\x07\x58\x20"));
    refused(&replaced(&quote, b"\x17\x58\x20", b"\x18\x18\x58\x20"));
    // Slots above 15, and a configuration of more than 16 bits.
    let chip = document(chip).encode();
    refused(&replaced(&chip, b"\x02\x58\x40\x03", b"\x10\x58\x40\x03"));
    refused(&replaced(&chip, b"\x19\x20\x83", b"\x1a\x00\x01\x20\x83"));
}

#[test]
fn sizes_are_bounded() {
    for (length, good) in [(0, false), (7, false), (8, true), (64, true), (65, false)] {
        assert_eq!(EvidenceNonce::new(&vec![1; length]).is_ok(), good);
    }
    let [_, EvidenceProof::TpmQuote(quote), ..] = proofs() else {
        panic!("a quote")
    };
    let made = |quote: TpmQuoteProof| {
        let proof = EvidenceProof::TpmQuote(quote);
        EvidenceDocument::new(full(proof.kind()), chain(&[b"leaf"]), proof)
    };
    let with = |registers: Vec<(u8, [u8; 32])>| TpmQuoteProof {
        registers,
        ..quote.clone()
    };
    assert!(made(with((0..24).map(|number| (number, [0; 32])).collect())).is_ok());
    assert!(made(with(vec![])).is_err());
    assert!(made(with(vec![(24, [0; 32])])).is_err());
    assert!(made(with(vec![(1, [0; 32]), (1, [0; 32])])).is_err());
    assert!(made(with(vec![(2, [0; 32]), (1, [0; 32])])).is_err());
    let attest = |length| TpmQuoteProof {
        attest: vec![0; length],
        ..quote.clone()
    };
    assert!(made(attest(512)).is_ok());
    assert!(made(attest(513)).is_err());
    assert!(RuntimeClaim::new("", "1", None).is_err());
    assert!(RuntimeClaim::new("a b", "1", None).is_err());
    assert!(RuntimeClaim::new("a", &"1".repeat(65), None).is_err());
    assert!(full(EvidenceKind::Software).at(u64::MAX).is_err());
    assert!(matches!(
        EvidenceDocument::decode(&vec![0; 32 * 1024 + 1]),
        Err(FormatError::LimitExceeded { .. })
    ));
    // The largest there can be is within the limits.
    let name = format!("{}:{}", "a".repeat(63), "b".repeat(64));
    let label = "x".repeat(64);
    let largest = EvidenceClaims::new(
        EvidenceKind::TpmQuote,
        EvidenceNonce::new(&[1; 64]).unwrap(),
        DeviceIdentity::parse(&label).unwrap(),
        BootId::new([7; 16]),
        RuntimeClaim::new(&label, &label, Some(Digest::of(b"x"))).unwrap(),
    )
    .for_component(
        ComponentClaim::new(
            ComponentName::parse(&name).unwrap(),
            Digest::of(b"x"),
            vec![Digest::of(b"x"); 4],
        )
        .unwrap(),
    )
    .with_configuration(Digest::of(b"x"))
    .at(limits::MAX_UNIX_SECONDS)
    .unwrap();
    let proof = EvidenceProof::TpmQuote(TpmQuoteProof {
        attest: vec![0; 512],
        signature: [9; 64],
        registers: (0..24).map(|number| (number, [0; 32])).collect(),
    });
    let document = EvidenceDocument::new(largest, vec![vec![1; 8 * 1024]; 3], proof).unwrap();
    assert_eq!(
        EvidenceDocument::decode(&document.encode()).unwrap(),
        document
    );
}
