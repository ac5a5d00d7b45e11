//! The store of keys.

use countersign_atecc608_emulator::Factory;
use countersign_backend_atecc608::{KeyConfig, SlotConfig, Unfit, inspect_slot};
use countersign_keys::{
    Algorithm, Atecc608Evidence, Challenge, ErrorKind, Evidence, KeyProvider as _, KeyTemplate,
    KeyUsage, LockConsent, Origin,
};

use crate::bench::{Bench, Provider, uri};

const SIGNING: KeyTemplate = KeyTemplate::signing(Algorithm::Esp256);

#[test]
fn keys_are_made_listed_shown_opened_and_never_replaced() {
    let (bench, provider) = Bench::with_keys(Factory::provisioned(1));
    let again = provider
        .generate(&uri(0), &SIGNING)
        .expect_err("there is one");
    assert_eq!(again.kind(), ErrorKind::Exists, "{again}");
    let keys = provider.list().expect("a list");
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], provider.show(&uri(0)).expect("slot 0"));
    assert_eq!(
        (keys[0].usage, keys[1].usage),
        (KeyUsage::Signing, KeyUsage::Attestation)
    );
    assert_eq!(keys[0].origin, Origin::Device);
    assert!(!keys[0].locked);
    let key = provider.open(&uri(0)).expect("a key");
    assert_eq!(key.public_key(), &keys[0].public);
    // Chips give either s; what leaves has the low one, which verifying demands.
    for n in 0..8_u8 {
        let signature = key.sign(&[n]).expect("a signature");
        key.public_key()
            .verify(&[n], signature.as_bytes())
            .expect("it verifies");
    }
    let shown = provider.describe().expect("a description");
    assert!(
        shown.starts_with("ATECC608A 0123c68e5b000001ee at 0x60 on /dev/i2c-1"),
        "{shown}"
    );
    let deleted = provider.delete(&uri(0)).expect_err("keys are permanent");
    assert_eq!(deleted.kind(), ErrorKind::Unsupported);
    // What never leaves the chip is what made the signatures.
    assert!(bench.emulator.private_key(0).is_some());
}

#[test]
fn what_cannot_be_promised_is_refused() {
    let bench = Bench::new(Factory::provisioned(1));
    let provider = bench.provider();
    let kind = |uri: &str, template: &KeyTemplate| {
        let uri = uri.parse().expect("a URI");
        provider
            .generate(&uri, template)
            .map_err(|error| error.kind())
    };
    let here = "atecc608:/dev/i2c-1?slot=0";
    let ed25519 = KeyTemplate::signing(Algorithm::Ed25519);
    let bound = SIGNING.bound_to(&[7]);
    for (uri, template, expected) in [
        (here, &ed25519, ErrorKind::Unsupported),
        (here, &bound, ErrorKind::Unsupported),
        (
            "atecc608:/dev/i2c-1?slot=1",
            &SIGNING,
            ErrorKind::Unsupported,
        ),
        (
            "atecc608:/dev/i2c-1?slot=8",
            &SIGNING,
            ErrorKind::Unsupported,
        ),
        ("atecc608:/dev/i2c-2?slot=0", &SIGNING, ErrorKind::NotFound),
        (
            "atecc608:/dev/i2c-1?address=0x35&slot=0",
            &SIGNING,
            ErrorKind::NotFound,
        ),
        ("file:/tmp/key.pem", &SIGNING, ErrorKind::Unsupported),
    ] {
        assert_eq!(kind(uri, template), Err(expected), "{uri}");
    }
    for error in [
        provider.open(&uri(0)).map(drop).expect_err("no key"),
        provider.show(&uri(0)).map(drop).expect_err("no key"),
    ] {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    }
    assert_eq!(provider.list().expect("a list"), []);
}

#[test]
fn locking_needs_the_serial_number_and_is_for_ever() {
    let (bench, provider) = Bench::with_keys(Factory::provisioned(1));
    let other = LockConsent::for_device_with_serial("0123c68e5b000002ee");
    let error = provider.lock(&uri(0), &other).expect_err("another chip");
    assert_eq!(error.kind(), ErrorKind::Permissions);
    assert!(!provider.show(&uri(0)).expect("slot 0").locked);
    let consent = LockConsent::for_device_with_serial("0123c68e5b000001ee");
    let empty = provider.lock(&uri(2), &consent).expect_err("no key");
    assert_eq!(empty.kind(), ErrorKind::NotFound);
    provider.lock(&uri(0), &consent).expect("it locks");
    provider.lock(&uri(0), &consent).expect("it is locked");
    assert!(provider.show(&uri(0)).expect("slot 0").locked);
    let public = provider.show(&uri(0)).expect("slot 0").public;
    assert!(
        bench.device().generate(crate::slot(0)).is_err(),
        "the chip refuses"
    );
    assert_eq!(provider.show(&uri(0)).expect("slot 0").public, public);
    provider
        .open(&uri(0))
        .expect("a key")
        .sign(b"x")
        .expect("it still signs");
}

#[test]
fn threads_wait_for_each_other() {
    let (_bench, provider) = Bench::with_keys(Factory::provisioned(1));
    let key = provider.open(&uri(0)).expect("a key");
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let key = &key;
            scope.spawn(move || {
                for n in 0..10 {
                    key.sign(&[thread, n]).expect("a signature");
                }
            });
        }
    });
}

fn evidence(provider: &Provider, challenge: &Challenge) -> Atecc608Evidence {
    match provider.attest(&uri(0), challenge).expect("evidence") {
        Evidence::Atecc608(evidence) => evidence,
        other => panic!("{other:?}"),
    }
}

#[test]
fn evidence_convinces_for_its_challenge_and_no_other() {
    let (_bench, provider) = Bench::with_keys(Factory::provisioned(1));
    let challenge = Challenge::new([9; 32]);
    let good = evidence(&provider, &challenge);
    assert_eq!(
        good.attestation_key,
        provider.show(&uri(1)).expect("slot 1").public
    );
    let fits = |evidence: &Atecc608Evidence, challenge: &Challenge| {
        evidence
            .check_signature(challenge)
            .map(drop)
            .map_err(|error| error.kind())
    };
    assert_eq!(fits(&good, &challenge), Ok(()));
    assert_eq!(
        fits(&good, &Challenge::new([8; 32])),
        Err(ErrorKind::BadSignature)
    );
    let bend: [fn(&mut Atecc608Evidence); 9] = [
        |e| e.public = e.attestation_key.clone(),
        |e| e.attestation_key = e.public.clone(),
        |e| e.serial[5] ^= 1,
        |e| e.slot = 2,
        |e| e.slot_config ^= 0x0400,
        |e| e.key_config ^= 0x0200,
        |e| e.slot_unlocked = !e.slot_unlocked,
        |e| e.random[31] ^= 1,
        |e| e.signature[0] ^= 1,
    ];
    for (n, bend) in bend.iter().enumerate() {
        let mut bent = good.clone();
        bend(&mut bent);
        assert_eq!(fits(&bent, &challenge), Err(ErrorKind::BadSignature), "{n}");
    }
    assert!(good.slot_unlocked);
    provider
        .lock(
            &uri(0),
            &LockConsent::for_device_with_serial("0123c68e5b000001ee"),
        )
        .expect("it locks");
    let good = evidence(&provider, &challenge);
    assert!(!good.slot_unlocked);
    assert_eq!(fits(&good, &challenge), Ok(()));
}

/// A chip tells the truth about a slot that takes keys from outside; the truth is what is refused.
#[test]
fn tf20_evidence_of_a_slot_that_takes_keys_from_outside_is_refused() {
    let bench = Bench::new(Factory::provisioned(1).slot(2, 0x6083, 0x0033));
    let provider = bench.provider();
    provider
        .generate(&uri(1), &KeyTemplate::attestation(Algorithm::Esp256))
        .expect("an attestation key");
    bench
        .device()
        .generate(crate::slot(2))
        .expect("the chip makes it");
    let challenge = Challenge::new([9; 32]);
    let Evidence::Atecc608(evidence) = provider.attest(&uri(2), &challenge).expect("evidence")
    else {
        panic!("another kind");
    };
    evidence.check_signature(&challenge).expect("it fits");
    assert_eq!(
        inspect_slot(
            SlotConfig(evidence.slot_config),
            KeyConfig(evidence.key_config)
        ),
        Err(Unfit::Importable)
    );
    assert_eq!(
        provider.show(&uri(2)).expect("slot 2").origin,
        Origin::Unknown
    );
}

#[test]
fn tf20_open_chips_and_slots_that_let_a_key_in_or_talk_too_freely_are_refused() {
    for (name, factory) in [
        ("nothing locked", Factory::blank(1)),
        ("import", Factory::provisioned(1).slot(0, 0x6083, 0x0033)),
        (
            "not secret",
            Factory::provisioned(1).slot(0, 0x2003, 0x0033),
        ),
    ] {
        let bench = Bench::new(factory);
        let provider = bench.provider();
        let _ = bench.device().generate(crate::slot(0));
        for error in [
            provider
                .generate(&uri(0), &SIGNING)
                .map(drop)
                .expect_err(name),
            provider.open(&uri(0)).map(drop).expect_err(name),
        ] {
            assert_eq!(error.kind(), ErrorKind::Permissions, "{name}: {error}");
        }
    }
    // An attestation key that also signs what the host says.
    let bench = Bench::new(Factory::provisioned(1).slot(1, 0x2083, 0x0033));
    let provider = bench.provider();
    let template = KeyTemplate::attestation(Algorithm::Esp256);
    let error = provider
        .generate(&uri(1), &template)
        .expect_err("free signatures");
    assert_eq!(error.kind(), ErrorKind::Permissions, "{error}");
    provider.generate(&uri(0), &SIGNING).expect("a signing key");
    bench
        .device()
        .generate(crate::slot(1))
        .expect("the chip makes it");
    let error = provider
        .attest(&uri(0), &Challenge::new([0; 32]))
        .expect_err("no such key");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
}
