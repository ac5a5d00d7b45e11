use super::*;
use crate::Code;

/// A quote of registers 0 and 7 as the structure says, part by part.
fn quote(challenge: &[u8]) -> Vec<u8> {
    let values = [[1; 32], [2; 32]].concat();
    let challenge_size = u16::try_from(challenge.len()).unwrap();
    [
        &b"\xffTCG\x80\x18"[..],
        b"\x00\x22\x00\x0b",
        &[5; 32],
        &challenge_size.to_be_bytes(),
        challenge,
        // 90 s, reset twice, resumed three times, safe; firmware 1.2.3.4.
        b"\0\0\0\0\0\x01\x5f\x90\0\0\0\x02\0\0\0\x03\x01",
        b"\0\x01\0\x02\0\x03\0\x04",
        b"\0\0\0\x01\x00\x0b\x03\x81\x00\x00\x00\x20",
        Digest::of(&values).as_bytes(),
    ]
    .concat()
}

fn proof(attest: Vec<u8>) -> TpmQuoteProof {
    TpmQuoteProof {
        attest,
        signature: [0; 64],
        registers: vec![(0, [1; 32]), (7, [2; 32])],
    }
}

fn challenge() -> Challenge {
    Challenge::new([9; 32])
}

/// The generator of P-256 as a signing key's public area.
pub(super) fn area(attributes: u32) -> Vec<u8> {
    let generator = [
        0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40,
        0xf2, 0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98,
        0xc2, 0x96, 0x4f, 0xe3, 0x42, 0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c,
        0x0f, 0x9e, 0x16, 0x2b, 0xce, 0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68,
        0x37, 0xbf, 0x51, 0xf5,
    ];
    [
        &b"\x00\x23\x00\x0b"[..],
        &attributes.to_be_bytes(),
        b"\x00\x00\x00\x10\x00\x18\x00\x0b\x00\x03\x00\x10\x00\x20",
        &generator[..32],
        b"\x00\x20",
        &generator[32..],
    ]
    .concat()
}

const SOUND: u32 = FIXED_TPM | FIXED_PARENT | SENSITIVE_DATA_ORIGIN | SIGN;

/// The certification of a key with this public area.
fn certify(area: &[u8]) -> Vec<u8> {
    let start = quote(&[9; 32]);
    [
        &b"\xffTCG\x80\x17"[..],
        &start[6..6 + 36 + 34 + 25],
        b"\x00\x22\x00\x0b",
        Digest::of(area).as_bytes(),
        b"\x00\x22\x00\x0b",
        &[7; 32],
    ]
    .concat()
}

fn key_proof(area: Vec<u8>) -> TpmKeyProof {
    TpmKeyProof {
        attest: certify(&area),
        signature: [0; 64],
        public_area: area,
    }
}

#[test]
fn a_quote_is_read_as_it_stands() {
    let AttestedHardware::TpmBoot {
        registers,
        clock,
        firmware,
    } = inspect_quote(&proof(quote(&[9; 32])), &challenge()).unwrap()
    else {
        panic!("a quote")
    };
    assert_eq!(registers.len(), 2);
    assert_eq!(
        (
            clock.milliseconds(),
            clock.resets(),
            clock.restarts(),
            clock.is_safe()
        ),
        (90_000, 2, 3, true)
    );
    assert_eq!(super::super::firmware::display(firmware), "1.2.3.4");
}

#[test]
fn a_clock_that_may_have_gone_back_says_so() {
    // After magic, kind, signer, challenge, milliseconds and both counts.
    const SAFE: usize = 4 + 2 + 36 + 34 + 8 + 4 + 4;
    let judge = |safe: u8| {
        let mut bytes = quote(&[9; 32]);
        assert_eq!(std::mem::replace(&mut bytes[SAFE], safe), 1);
        inspect_quote(&proof(bytes), &challenge())
    };
    for (octet, said) in [(0, false), (1, true)] {
        let Ok(AttestedHardware::TpmBoot { clock, .. }) = judge(octet) else {
            panic!("a quote")
        };
        assert_eq!(clock.is_safe(), said);
    }
    assert!(judge(2).is_err());
}

#[test]
fn a_key_may_leave_its_scheme_to_each_signature() {
    let named = area(SOUND);
    assert_eq!(named[12..16], *b"\x00\x18\x00\x0b");
    let with = |bytes: &[u8]| TpmKeyArea::read(&[&named[..12], bytes, &named[16..]].concat());
    assert!(with(b"\x00\x10").is_ok());
    // ECDSA with SHA-384, ECDAA.
    assert!(with(b"\x00\x18\x00\x0c").is_err());
    assert!(with(b"\x00\x1a\x00\x0b").is_err());
}

#[test]
fn tf13_a_quote_that_was_made_for_something_else_is_refused() {
    let refused = |proof: TpmQuoteProof| {
        let refused = inspect_quote(&proof, &challenge()).unwrap_err();
        assert_eq!(refused.code(), Code::EvidenceInvalid);
        refused.to_string()
    };
    // Another challenge, a shorter one, none.
    for other in [&[8; 32][..], &[9; 31], &[9; 33], b""] {
        assert!(refused(proof(quote(other))).contains("other claims"));
    }
    // Other registers, other values, fewer, more.
    let good = proof(quote(&[9; 32]));
    for registers in [
        vec![(0, [1; 32]), (6, [2; 32])],
        vec![(0, [1; 32]), (7, [3; 32])],
        vec![(0, [2; 32]), (7, [1; 32])],
        vec![(0, [1; 32])],
        vec![(0, [1; 32]), (7, [2; 32]), (8, [0; 32])],
    ] {
        let changed = TpmQuoteProof {
            registers,
            ..good.clone()
        };
        assert!(refused(changed).contains("registers"));
    }
    // A certification in the place of a quote.
    assert!(refused(proof(certify(&area(SOUND)))).contains("another kind"));
}

#[test]
fn tf04_a_structure_that_is_changed_anywhere_is_refused_or_says_something_else() {
    let good = quote(&[9; 32]);
    let told = inspect_quote(&proof(good.clone()), &challenge()).unwrap();
    for end in 0..good.len() {
        assert!(inspect_quote(&proof(good[..end].to_vec()), &challenge()).is_err());
    }
    let longer = [&good[..], &[0]].concat();
    assert!(inspect_quote(&proof(longer), &challenge()).is_err());
    for bit in 0..good.len() * 8 {
        let mut bent = good.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        if let Ok(bent) = inspect_quote(&proof(bent), &challenge()) {
            // The signer's name is not read: the signature says who signed. Clock and firmware are told as they stand.
            assert!(
                (64..64 + 34 * 8).contains(&bit) || bent != told,
                "bit {bit}"
            );
        }
    }
    let area = area(SOUND);
    assert!(inspect_key(&key_proof(area.clone()), &challenge()).is_ok());
    for bit in 0..area.len() * 8 {
        let mut bent = area.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        let proof = TpmKeyProof {
            public_area: bent,
            ..key_proof(area.clone())
        };
        assert!(inspect_key(&proof, &challenge()).is_err(), "bit {bit}");
    }
    for end in 0..area.len() {
        assert!(TpmKeyArea::read(&area[..end]).is_err());
    }
}

#[test]
fn tf12_a_key_that_can_leave_its_tpm_or_came_from_outside_is_refused() {
    assert!(inspect_key(&key_proof(area(SOUND)), &challenge()).is_ok());
    for bit in [FIXED_TPM, FIXED_PARENT, SENSITIVE_DATA_ORIGIN, SIGN] {
        let refused = inspect_key(&key_proof(area(SOUND & !bit)), &challenge()).unwrap_err();
        assert_eq!(refused.code(), Code::EvidenceInvalid, "{bit:x}");
    }
}

#[test]
fn tf12_an_attestation_key_is_restricted_and_fixed_to_its_tpm() {
    let judge = |attributes| {
        TpmKeyArea::read(&area(attributes))
            .unwrap()
            .is_attestation_key()
    };
    assert_eq!(judge(SOUND | RESTRICTED), Ok(()));
    for wrong in [
        SOUND,
        SOUND | RESTRICTED | DECRYPT,
        (SOUND | RESTRICTED) & !SIGN,
        (SOUND | RESTRICTED) & !FIXED_TPM,
        (SOUND | RESTRICTED) & !FIXED_PARENT,
        (SOUND | RESTRICTED) & !SENSITIVE_DATA_ORIGIN,
    ] {
        let refused = judge(wrong).unwrap_err();
        assert_eq!(refused.code(), Code::EvidenceInvalid, "{wrong:x}");
    }
}

#[test]
fn a_coordinate_without_its_leading_zeros_is_the_same_key() {
    let point = std::iter::repeat_with(|| {
        let key = countersign_testing::throwaway_key(countersign_format::Algorithm::Esp256);
        key.public_key().to_raw_bytes()
    })
    .find(|point| point[1] == 0)
    .unwrap();
    let start = &area(SOUND)[..20];
    let whole = [start, b"\x00\x20", &point[1..33], b"\x00\x20", &point[33..]].concat();
    let shorter = [start, b"\x00\x1f", &point[2..33], b"\x00\x20", &point[33..]].concat();
    let read = |bytes: &[u8]| TpmKeyArea::read(bytes).unwrap();
    assert_eq!(read(&whole).key().to_raw_bytes(), point);
    assert_eq!(read(&whole).key(), read(&shorter).key());
    // The name is that of the bytes as the TPM marshals them.
    assert_ne!(read(&whole).name(), read(&shorter).name());
}

#[test]
fn tf04_no_bytes_make_a_reader_panic() {
    // Marsaglia's xorshift: the same bytes in every run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let (quote, certify, area) = (quote(&[9; 32]), certify(&area(SOUND)), area(SOUND));
    for round in 0..100_000 {
        let good = [&quote, &certify, &area][round % 3];
        let mut bytes = good.clone();
        // A few bytes changed, a piece cut out or doubled, or nothing but chance.
        for _ in 0..1 + next() % 4 {
            let at = usize::try_from(next()).unwrap() % bytes.len();
            bytes[at] = next().to_le_bytes()[0];
        }
        match next() % 4 {
            0 => bytes.truncate(usize::try_from(next()).unwrap() % bytes.len()),
            1 => bytes.extend_from_within(usize::try_from(next()).unwrap() % good.len()..),
            2 => bytes.fill_with(|| next().to_le_bytes()[0]),
            _ => {}
        }
        let _ = inspect_quote(&proof(bytes.clone()), &challenge());
        let _ = TpmKeyArea::read(&bytes);
        let key = TpmKeyProof {
            attest: bytes.clone(),
            signature: [0; 64],
            public_area: bytes,
        };
        let _ = inspect_key(&key, &challenge());
    }
}
