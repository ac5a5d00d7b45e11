//! What a device says of itself: whose key signed it, whether it answers, and whether it is what was expected.

use countersign_format::{
    Algorithm, Atecc608Proof, AttestationHardware, BootId, ComponentClaim, ComponentName,
    DeviceIdentity, Digest, EvidenceClaims, EvidenceDocument, EvidenceKind, EvidenceNonce,
    EvidenceProof, RuntimeClaim, SoftwareProof, TpmKeyProof, TpmQuoteProof, evidence_challenge,
    evidence_to_be_signed,
};
use countersign_keys::{Atecc608Evidence, Challenge, PublicKey};
use countersign_testing::{Profile, Role, TestPki, TestPkiBuilder};
use countersign_trust_store::firmware::TpmMaker;
use countersign_trust_store::oid;
use countersign_trust_store::{
    Anchors, AttestedHardware, Check, Code, EvidencePolicy, Now, Rejection, Step, UnixTime,
    VerifiedEvidence,
};

const NONCE: &[u8] = b"asked just now";

/// A PKI whose device has an attestation key in software.
fn devices() -> TestPkiBuilder {
    TestPki::builder().profile(Profile::Attestation)
}

/// The key in a TPM.
fn tpms() -> TestPkiBuilder {
    devices().hardware(AttestationHardware::Tpm)
}

/// The key in an ATECC608.
fn chips() -> TestPkiBuilder {
    devices().hardware(AttestationHardware::Atecc608)
}

fn nonce(bytes: &[u8]) -> EvidenceNonce {
    EvidenceNonce::new(bytes).unwrap()
}

fn policy() -> EvidencePolicy {
    EvidencePolicy::answering(nonce(NONCE))
}

fn claims_as(kind: EvidenceKind, device: &str, asked: &[u8]) -> EvidenceClaims {
    let runtime =
        RuntimeClaim::new("countersign-gateway", "1.2.3", Some(Digest::of(b"program"))).unwrap();
    let component = ComponentClaim::new(
        ComponentName::parse("test:telemetry").unwrap(),
        Digest::of(b"component"),
        vec![Digest::of(b"vendor")],
    );
    EvidenceClaims::new(
        kind,
        nonce(asked),
        DeviceIdentity::parse(device).unwrap(),
        BootId::new([7; 16]),
        runtime,
    )
    .for_component(component.unwrap())
}

fn claims(kind: EvidenceKind) -> EvidenceClaims {
    claims_as(kind, "test-device", NONCE)
}

fn challenge(claims: &EvidenceClaims) -> Challenge {
    Challenge::new(*evidence_challenge(claims).as_bytes())
}

fn sign(pki: &TestPki, message: &[u8]) -> [u8; 64] {
    *pki.device_key().sign(message).unwrap().as_bytes()
}

fn document(pki: &TestPki, claims: EvidenceClaims, proof: EvidenceProof) -> Vec<u8> {
    EvidenceDocument::new(claims, pki.chain().to_vec(), proof)
        .unwrap()
        .encode()
}

/// The start of a `TPMS_ATTEST` of firmware 7.61, asked with this challenge.
fn attest(kind: u16, challenge: &Challenge) -> Vec<u8> {
    [
        &b"\xffTCG"[..],
        &kind.to_be_bytes(),
        b"\x00\x22\x00\x0b",
        &[5; 32],
        b"\x00\x20",
        challenge.as_bytes(),
        b"\0\0\0\0\0\x01\x5f\x90\0\0\0\x02\0\0\0\x01\x01",
        b"\0\x07\0\x3d\0\0\0\0",
    ]
    .concat()
}

/// What a TPM with this device's key quotes: registers 0 and 7.
fn quoted(pki: &TestPki, claims: EvidenceClaims) -> Vec<u8> {
    let registers = vec![(0, [1; 32]), (7, [2; 32])];
    let values = [[1; 32], [2; 32]].concat();
    let attest = [
        &attest(0x8018, &challenge(&claims))[..],
        b"\0\0\0\x01\x00\x0b\x03\x81\x00\x00\x00\x20",
        Digest::of(&values).as_bytes(),
    ]
    .concat();
    let signature = sign(pki, &attest);
    let proof = TpmQuoteProof {
        attest,
        signature,
        registers,
    };
    document(pki, claims, EvidenceProof::TpmQuote(proof))
}

fn quote(pki: &TestPki) -> Vec<u8> {
    quoted(pki, claims(EvidenceKind::TpmQuote))
}

/// What a TPM with this device's key certifies of another key, whose attributes are these.
fn certified(pki: &TestPki, key: &PublicKey, attributes: u32) -> Vec<u8> {
    let point = key.to_raw_bytes();
    let public_area = [
        &b"\x00\x23\x00\x0b"[..],
        &attributes.to_be_bytes(),
        b"\x00\x00\x00\x10\x00\x18\x00\x0b\x00\x03\x00\x10\x00\x20",
        &point[1..33],
        b"\x00\x20",
        &point[33..],
    ]
    .concat();
    let claims = claims(EvidenceKind::TpmKey);
    let attest = [
        &attest(0x8017, &challenge(&claims))[..],
        b"\x00\x22\x00\x0b",
        Digest::of(&public_area).as_bytes(),
        b"\x00\x22\x00\x0b",
        &[7; 32],
    ]
    .concat();
    let signature = sign(pki, &attest);
    let proof = TpmKeyProof {
        attest,
        signature,
        public_area,
    };
    document(pki, claims, EvidenceProof::TpmKey(proof))
}

/// fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, sign.
const SOUND: u32 = 0x0004_0472;

/// What an ATECC608 with this device's key in slot 1 says of the key in its slot 0.
fn chip(pki: &TestPki, key: &PublicKey, bend: impl FnOnce(&mut Atecc608Evidence)) -> Vec<u8> {
    let mut evidence = Atecc608Evidence {
        serial: [1, 0x23, 3, 4, 5, 6, 7, 8, 0xee],
        slot: 0,
        public: key.clone(),
        slot_config: 0x2083,
        key_config: 0x0033,
        slot_unlocked: true,
        random: [3; 32],
        attestation_slot: 1,
        attestation_key: pki.device_key().public_key().clone(),
        signature: [0; 64],
    };
    bend(&mut evidence);
    let claims = claims(EvidenceKind::Atecc608Key);
    let signature = sign(pki, &evidence.message(&challenge(&claims)));
    let proof = Atecc608Proof {
        serial: evidence.serial,
        slot: evidence.slot,
        public: key.to_raw_bytes()[1..].try_into().unwrap(),
        slot_config: evidence.slot_config,
        key_config: evidence.key_config,
        slot_unlocked: evidence.slot_unlocked,
        random: evidence.random,
        attestation_slot: evidence.attestation_slot,
        signature,
    };
    document(pki, claims, EvidenceProof::Atecc608Key(proof))
}

fn software_as(pki: &TestPki, algorithm: Algorithm) -> Vec<u8> {
    let claims = claims(EvidenceKind::Software);
    let signature = sign(pki, &evidence_to_be_signed(algorithm, pki.chain(), &claims));
    let proof = SoftwareProof {
        algorithm,
        signature,
    };
    document(pki, claims, EvidenceProof::Software(proof))
}

fn software(pki: &TestPki) -> Vec<u8> {
    software_as(pki, pki.device_key().algorithm())
}

fn judge(
    pki: &TestPki,
    bytes: &[u8],
    policy: &EvidencePolicy,
) -> Result<VerifiedEvidence, Rejection> {
    pki.anchors()
        .verify_evidence(bytes, policy, &pki.now(), &pki.state())
}

fn code(pki: &TestPki, bytes: &[u8], policy: &EvidencePolicy) -> Code {
    judge(pki, bytes, policy)
        .expect_err("something is wrong with it")
        .code()
}

/// Sound evidence by each kind of hardware, with the PKI of its device.
fn by_hardware(key: &PublicKey) -> [(TestPki, Vec<u8>); 3] {
    let (tpm, element) = (tpms().build(), chips().build());
    let (quote, certified) = (quote(&tpm), certified(&tpm, key, SOUND));
    let of_chip = chip(&element, key, |_| ());
    [(tpm.clone(), quote), (tpm, certified), (element, of_chip)]
}

/// A key that is no device's.
fn another_key() -> PublicKey {
    TestPki::builder().build().device_key().public_key().clone()
}

#[test]
fn each_kind_of_evidence_is_accepted_and_shows_what_its_hardware_vouches_for() {
    let pki = tpms().build();
    let key = another_key();
    let verified = judge(&pki, &quote(&pki), &policy()).unwrap();
    let AttestedHardware::TpmBoot {
        registers,
        clock,
        firmware,
    } = verified.hardware()
    else {
        panic!("{:?}", verified.hardware())
    };
    assert_eq!(registers[..], [(0, [1; 32]), (7, [2; 32])]);
    assert_eq!((clock.resets(), *firmware), (2, 0x0007_003d_0000_0000));
    assert_eq!(
        verified.claims().component().unwrap().digest(),
        Digest::of(b"component")
    );
    assert_eq!(
        verified.chain().device().unwrap().identity(),
        verified.claims().device()
    );

    let verified = judge(&pki, &certified(&pki, &key, SOUND), &policy()).unwrap();
    assert!(
        matches!(verified.hardware(), AttestedHardware::TpmKey { key: vouched, .. } if *vouched == key)
    );
    let pki = chips().build();
    let verified = judge(&pki, &chip(&pki, &key, |_| ()), &policy()).unwrap();
    assert!(
        matches!(verified.hardware(), AttestedHardware::Atecc608Key { key: vouched, replaceable: true, .. } if *vouched == key)
    );

    for algorithm in [Algorithm::Esp256, Algorithm::Ed25519] {
        let pki = devices().algorithm(algorithm).build();
        let allowed = policy().allowing_keys_in_software();
        let verified = judge(&pki, &software(&pki), &allowed).unwrap();
        assert_eq!(*verified.hardware(), AttestedHardware::Software);
    }
}

#[test]
fn tf01_a_key_in_software_counts_only_where_that_is_allowed_by_name() {
    let pki = devices().build();
    assert_eq!(code(&pki, &software(&pki), &policy()), Code::EvidencePolicy);
}

#[test]
fn tf13_tg07_an_old_answer_is_refused() {
    let fresh = EvidencePolicy::answering(nonce(b"asked another time"));
    for (pki, old) in by_hardware(&another_key()) {
        judge(&pki, &old, &policy()).unwrap();
        assert_eq!(code(&pki, &old, &fresh), Code::EvidenceNonce);
    }
}

/// The nonce of an old answer exchanged for a new one: the hardware was asked with other claims.
#[test]
fn tf13_an_old_quote_under_new_claims_is_refused() {
    let pki = tpms().build();
    let old = EvidenceDocument::decode(&quoted(
        &pki,
        claims_as(EvidenceKind::TpmQuote, "test-device", b"asked before"),
    ))
    .unwrap();
    let dressed = document(&pki, claims(EvidenceKind::TpmQuote), old.proof().clone());
    assert_eq!(code(&pki, &dressed, &policy()), Code::EvidenceInvalid);
    let pki = chips().build();
    let old = EvidenceDocument::decode(&chip(&pki, &another_key(), |_| ())).unwrap();
    let renamed = claims(EvidenceKind::Atecc608Key).with_configuration(Digest::of(b"other"));
    let dressed = document(&pki, renamed, old.proof().clone());
    assert_eq!(code(&pki, &dressed, &policy()), Code::SignatureInvalid);
}

/// Whoever can have a TPM quote his own nonce as it is gets no answer to ours.
#[test]
fn te22_a_quote_of_the_bare_nonce_is_none_of_ours() {
    let pki = tpms().build();
    let bare = Challenge::new([0x5a; 32]);
    let policy = EvidencePolicy::answering(nonce(bare.as_bytes()));
    let claims = claims_as(EvidenceKind::TpmQuote, "test-device", bare.as_bytes());
    let values = [[1; 32], [2; 32]].concat();
    let attest = [
        &attest(0x8018, &bare)[..],
        b"\0\0\0\x01\x00\x0b\x03\x81\x00\x00\x00\x20",
        Digest::of(&values).as_bytes(),
    ]
    .concat();
    let signature = sign(&pki, &attest);
    let proof = EvidenceProof::TpmQuote(TpmQuoteProof {
        attest,
        signature,
        registers: vec![(0, [1; 32]), (7, [2; 32])],
    });
    let bytes = document(&pki, claims, proof);
    assert_eq!(code(&pki, &bytes, &policy), Code::EvidenceInvalid);
}

#[test]
fn tf11_an_exchanged_tpm_does_not_answer_for_the_device() {
    let pki = tpms().build();
    // Another TPM's attestation key, under this device's certificates; and with certificates of its own that name
    // another device, under the same root.
    let other = TestPki::builder().build();
    let theirs = EvidenceDocument::decode(&quote(&other)).unwrap();
    let dressed = document(&pki, claims(EvidenceKind::TpmQuote), theirs.proof().clone());
    assert_eq!(code(&pki, &dressed, &policy()), Code::SignatureInvalid);
    let other = quoted(
        &pki,
        claims_as(EvidenceKind::TpmQuote, "other-device", NONCE),
    );
    assert_eq!(code(&pki, &other, &policy()), Code::DeviceIdentity);
}

#[test]
fn tf08_another_devices_evidence_is_refused_where_one_is_expected() {
    let pki = tpms().build();
    let expected = |device: &str| policy().of_device(DeviceIdentity::parse(device).unwrap());
    judge(&pki, &quote(&pki), &expected("test-device")).unwrap();
    assert_eq!(
        code(&pki, &quote(&pki), &expected("other-device")),
        Code::EvidencePolicy
    );
}

/// Whoever has the key's certificate chooses the form of his proof, and any P-256 key can sign the bytes of any form: only the
/// certificate says whether hardware made them.
#[test]
fn tf12_tf25_a_key_in_software_forges_no_hardware() {
    let pki = devices().build();
    let key = another_key();
    let allowed = policy().allowing_keys_in_software();
    for forged in [
        quote(&pki),
        certified(&pki, &key, SOUND),
        chip(&pki, &key, |_| ()),
    ] {
        let refused = judge(&pki, &forged, &allowed).unwrap_err();
        assert_eq!(refused.code(), Code::EvidenceInvalid);
        let reason = refused.to_string();
        assert!(
            reason.contains("not certified as one in hardware"),
            "{reason}"
        );
    }
    judge(&pki, &software(&pki), &allowed).unwrap();
}

/// A TPM's attestation key signs data from outside that the TPM hashed and that does not begin with TPM_GENERATED_VALUE, so
/// also what an ATECC608 would have signed.
#[test]
fn tf25_one_kind_of_hardware_does_not_speak_for_another() {
    let (tpm, element) = (tpms().build(), chips().build());
    let key = another_key();
    let allowed = policy().allowing_keys_in_software();
    for (pki, forged) in [
        (&tpm, chip(&tpm, &key, |_| ())),
        (&element, quote(&element)),
        (&element, certified(&element, &key, SOUND)),
        (&tpm, software(&tpm)),
        (&element, software(&element)),
    ] {
        assert_eq!(code(pki, &forged, &allowed), Code::EvidenceInvalid);
    }
}

/// A kind that is not known, not written as it must be, marked critical, or said of a key that no hardware holds.
#[test]
fn tf25_the_kind_of_hardware_is_read_strictly() {
    let id = oid::ATTESTED_BY;
    for (critical, value) in [
        (false, &b"\x0c\x03sgx"[..]),
        (false, b"\x0c\x03TPM"),
        (false, b"\x13\x03tpm"),
        (false, b""),
        (true, b"\x0c\x03tpm"),
    ] {
        let pki = devices()
            .with_extension(Role::Leaf, id, critical, value)
            .build();
        let code = code(&pki, &quote(&pki), &policy());
        assert_eq!(code, Code::CertificateExtension, "{value:?}");
    }
    let pki = devices()
        .with_extension(Role::Leaf, id, false, b"\x0c\x03tpm")
        .build();
    judge(&pki, &quote(&pki), &policy()).unwrap();
    let pki = devices()
        .algorithm(Algorithm::Ed25519)
        .with_extension(Role::Leaf, id, false, b"\x0c\x03tpm")
        .build();
    assert_eq!(code(&pki, &quote(&pki), &policy()), Code::KeyInvalid);
    // It stands in no authority's certificate.
    let pki = tpms()
        .with_extension(Role::Intermediate, id, false, b"\x0c\x03tpm")
        .build();
    assert_eq!(
        code(&pki, &quote(&pki), &policy()),
        Code::CertificateExtension
    );
}

/// A demand that the hardware at hand knows nothing of is not met by it.
#[test]
fn tf12_tf15_tf20_demands_that_do_not_apply_refuse() {
    let pki = devices().build();
    let soft = software(&pki);
    let allowed = policy().allowing_keys_in_software();
    judge(&pki, &soft, &allowed).unwrap();
    for demand in [
        allowed.clone().of_tpm_by(TpmMaker::NUVOTON),
        allowed.clone().unchangeable(),
        allowed.clone().of_chip([1; 9]),
        allowed.clone().for_key(&another_key()),
        allowed.expecting_register(7, [2; 32]),
    ] {
        assert_eq!(code(&pki, &soft, &demand), Code::EvidencePolicy);
    }
    let key = another_key();
    let [(tpm, quote), (_, certified), (element, of_chip)] = by_hardware(&key);
    let made_by = policy().of_tpm_by(TpmMaker::NUVOTON);
    assert_eq!(code(&element, &of_chip, &made_by), Code::EvidencePolicy);
    judge(&tpm, &quote, &made_by).unwrap();
    for bytes in [quote, certified] {
        assert_eq!(
            code(&tpm, &bytes, &policy().unchangeable()),
            Code::EvidencePolicy
        );
    }
}

#[test]
fn tf12_tf25_a_chip_that_no_known_maker_or_authority_vouches_for_is_refused() {
    let known = tpms().build();
    for (_, bytes) in by_hardware(&another_key()) {
        assert_eq!(code(&known, &bytes, &policy()), Code::UntrustedRoot);
    }
    let none = Anchors::new(Vec::new()).unwrap();
    let refused = none.verify_evidence(&quote(&known), &policy(), &known.now(), &known.state());
    assert_eq!(refused.unwrap_err().code(), Code::NoRoot);
}

#[test]
fn tf12_a_certified_key_that_can_leave_its_tpm_is_refused() {
    let pki = tpms().build();
    let key = another_key();
    for bit in [1, 4, 5, 18] {
        let bytes = certified(&pki, &key, SOUND & !(1 << bit));
        assert_eq!(code(&pki, &bytes, &policy()), Code::EvidenceInvalid);
    }
    let wanted = policy().for_key(&key);
    judge(&pki, &certified(&pki, &key, SOUND), &wanted).unwrap();
    assert_eq!(
        code(&pki, &certified(&pki, &another_key(), SOUND), &wanted),
        Code::EvidencePolicy
    );
    // A quote vouches for no key.
    assert_eq!(code(&pki, &quote(&pki), &wanted), Code::EvidencePolicy);
}

#[test]
fn tf15_a_tpm_with_broken_firmware_is_refused_where_its_maker_is_known() {
    let pki = tpms().build();
    let by = |maker| policy().of_tpm_by(maker);
    judge(&pki, &quote(&pki), &by(TpmMaker::NUVOTON)).unwrap();
    let refused = judge(&pki, &quote(&pki), &by(TpmMaker::INFINEON)).unwrap_err();
    assert_eq!(refused.code(), Code::EvidencePolicy);
    assert!(refused.to_string().contains("CVE-2017-15361"), "{refused}");
    let repaired = by(TpmMaker::INFINEON).with_known_defects(Vec::new());
    judge(&pki, &quote(&pki), &repaired).unwrap();
}

#[test]
fn tf20_a_slot_that_lets_a_key_in_or_out_is_refused() {
    let pki = chips().build();
    let key = another_key();
    // PrivWrite, not secret, no private key, not P-256, with an authorisation, its own attestation key.
    let bend: [(fn(&mut Atecc608Evidence), _); 6] = [
        (|e| e.slot_config |= 0x4000, "takes keys from outside"),
        (|e| e.slot_config &= !0x0080, "not marked as secret"),
        (|e| e.key_config &= !1, "not for a private P-256 key"),
        (|e| e.key_config |= 0x000c, "not for a private P-256 key"),
        (
            |e| e.key_config |= 0x0080,
            "not configured for a signing key",
        ),
        (|e| e.attestation_slot = e.slot, "vouches for itself"),
    ];
    for (bend, said) in bend {
        let refused = judge(&pki, &chip(&pki, &key, bend), &policy()).unwrap_err();
        assert_eq!(refused.code(), Code::EvidenceInvalid, "{said}");
        assert!(refused.to_string().contains(said), "{said}: {refused}");
    }
    let fixed = policy().unchangeable();
    assert_eq!(
        code(&pki, &chip(&pki, &key, |_| ()), &fixed),
        Code::EvidencePolicy
    );
    judge(&pki, &chip(&pki, &key, |e| e.slot_unlocked = false), &fixed).unwrap();
    judge(
        &pki,
        &chip(&pki, &key, |e| e.slot_config &= !0x2000),
        &fixed,
    )
    .unwrap();
    let of_chip = |serial| policy().of_chip(serial);
    let serial = [1, 0x23, 3, 4, 5, 6, 7, 8, 0xee];
    judge(&pki, &chip(&pki, &key, |_| ()), &of_chip(serial)).unwrap();
    assert_eq!(
        code(&pki, &chip(&pki, &key, |_| ()), &of_chip([0; 9])),
        Code::EvidencePolicy
    );
}

#[test]
fn registers_and_programs_are_expected_by_value() {
    let pki = tpms().build();
    let bytes = quote(&pki);
    let expecting = |number, value| policy().expecting_register(number, value);
    judge(&pki, &bytes, &expecting(7, [2; 32])).unwrap();
    judge(
        &pki,
        &bytes,
        &expecting(7, [9; 32]).expecting_register(7, [2; 32]),
    )
    .unwrap();
    let runtime = |name: &[u8]| policy().expecting_runtime(Digest::of(name));
    let component = |name: &[u8]| policy().expecting_component(Digest::of(name));
    judge(&pki, &bytes, &runtime(b"program")).unwrap();
    judge(&pki, &bytes, &component(b"component")).unwrap();
    for unexpected in [
        expecting(7, [9; 32]),
        expecting(8, [2; 32]),
        expecting(0, [1; 32]).expecting_register(7, [9; 32]),
        runtime(b"other"),
        component(b"other"),
    ] {
        assert_eq!(code(&pki, &bytes, &unexpected), Code::EvidencePolicy);
    }
    // A certified key says nothing of the boot.
    let key = certified(&pki, &another_key(), SOUND);
    assert_eq!(
        code(&pki, &key, &expecting(7, [2; 32])),
        Code::EvidencePolicy
    );
}

#[test]
fn tc13_a_certificate_for_another_purpose_attests_nothing() {
    for profile in [Profile::ComponentSigner, Profile::Tls, Profile::GuestData] {
        let pki = TestPki::builder().profile(profile).build();
        let code = code(&pki, &quote(&pki), &policy());
        assert!(
            [Code::ExtendedKeyUsage, Code::CertificateExtension].contains(&code),
            "{code:?}"
        );
    }
}

#[test]
fn td01_td14_an_expired_or_revoked_attestation_key_attests_nothing() {
    let pki = tpms().build();
    let later = Now::at(UnixTime::from_secs(pki.time().as_secs() + 5 * 366 * 86_400));
    let refused = pki
        .anchors()
        .verify_evidence(&quote(&pki), &policy(), &later, &pki.state());
    assert_eq!(refused.unwrap_err().code(), Code::Expired);
    let pki = tpms().revoke(Role::Leaf).build();
    assert_eq!(code(&pki, &quote(&pki), &policy()), Code::Revoked);
}

#[test]
fn ta10_every_byte_of_an_attestation_counts() {
    let allowed = policy().allowing_keys_in_software();
    let pki = devices().build();
    let in_software = software(&pki);
    let all = by_hardware(&another_key());
    for (pki, good) in all.into_iter().chain([(pki, in_software)]) {
        judge(&pki, &good, &allowed).unwrap();
        for at in 0..good.len() {
            let mut bytes = good.clone();
            // One bit of each byte, another one in the next.
            bytes[at] ^= 1 << (at % 8);
            assert!(judge(&pki, &bytes, &allowed).is_err(), "byte {at}");
        }
    }
}

#[test]
fn tb07_the_algorithm_is_that_of_the_key() {
    let pki = devices().build();
    let allowed = policy().allowing_keys_in_software();
    let bytes = software_as(&pki, Algorithm::Ed25519);
    assert_eq!(code(&pki, &bytes, &allowed), Code::AlgorithmForbidden);
}

#[test]
fn te21_an_attestation_is_not_read_as_guest_data_nor_the_other_way_round() {
    let pki = devices().build();
    let refused = pki
        .anchors()
        .verify_guest_data(&software(&pki), &pki.now(), &pki.state());
    assert_eq!(refused.unwrap_err().code(), Code::Purpose);
}

#[test]
fn checks_are_told_in_their_order() {
    let pki = tpms().build();
    let mut steps: Vec<Step> = Vec::new();
    pki.anchors()
        .verify_evidence_explained(
            &quote(&pki),
            &policy(),
            &pki.now(),
            &pki.state(),
            &mut |step| steps.push(step),
        )
        .unwrap();
    let checks: Vec<Check> = steps.iter().map(|step| step.check).collect();
    assert_eq!(checks, Check::EVIDENCE);
    let told = steps.iter().find(|step| step.check == Check::Evidence);
    assert_eq!(
        told.map(|step| step.detail.as_str()),
        Some("a TPM vouches for 2 registers")
    );
    steps.clear();
    let unexpected = policy().expecting_register(7, [9; 32]);
    let refused = pki.anchors().verify_evidence_explained(
        &quote(&pki),
        &unexpected,
        &pki.now(),
        &pki.state(),
        &mut |step| steps.push(step),
    );
    assert!(refused.is_err());
    assert_eq!(steps.last().unwrap().check, Check::EvidencePolicy);
}

#[test]
fn tg07_an_attestation_keys_certificate_without_purposes_is_refused() {
    // CVE-2026-40097: an empty list of purposes must be a refusal, not the end of the program.
    for pki in [
        tpms().extended_key_usage(Role::Leaf, &[]).build(),
        tpms()
            .without_extension(Role::Leaf, oid::EXTENDED_KEY_USAGE)
            .build(),
    ] {
        for bytes in [quote(&pki), chip(&pki, &another_key(), |_| ())] {
            let code = code(&pki, &bytes, &policy());
            assert!(
                [Code::ExtendedKeyUsage, Code::CertificateExtension].contains(&code),
                "{code:?}"
            );
        }
    }
}
