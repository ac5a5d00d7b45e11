//! Counters, and credentials for the TPM of an endorsement key.

use crate::provider::{SIGNING, uri};
use crate::proxy::{Fault, Proxy};
use countersign_backend_tpm::{CounterIndex, TpmProvider};
use countersign_keys::{
    Algorithm, ErrorKind, KeyProvider as _, KeyTemplate, MonotonicCounter as _,
};
use countersign_testing::swtpm::Swtpm;

const AK: KeyTemplate = KeyTemplate::attestation(Algorithm::Esp256);

fn index(number: u32) -> CounterIndex {
    CounterIndex::new(0x0180_0000 + number).expect("an index")
}

#[test]
fn a_counter_goes_up_survives_a_reset_and_never_comes_back_lower() {
    let mut tpm = Swtpm::start();
    let store = TpmProvider::new(tpm.tcti());
    let missing = store.read_counter(index(1)).expect_err("none");
    assert_eq!(missing.kind(), ErrorKind::NotFound, "{missing}");
    let first = store.create_counter(index(1)).expect("a counter");
    assert_eq!(store.read_counter(index(1)).expect("a value"), first);
    for step in 1..=5 {
        assert_eq!(store.increment_counter(index(1)).expect("up"), first + step);
    }
    // As every counter in hardware is used.
    let same = TpmProvider::new(tpm.tcti()).counter(index(1));
    assert_eq!(same.read().expect("a value"), first + 5);
    assert_eq!(same.increment().expect("up"), first + 6);
    assert_eq!(same.end(), u64::MAX);
    let first = first + 1;
    let again = store.create_counter(index(1)).expect_err("it exists");
    assert_eq!(again.kind(), ErrorKind::Exists, "{again}");
    tpm.restart();
    assert_eq!(store.read_counter(index(1)).expect("a value"), first + 5);
    tpm.tool("tpm2_nvundefine", &["-Q", "-C", "o", "0x01800001"]);
    assert!(store.create_counter(index(1)).expect("anew") > first + 5);
    // What is no counter could go back.
    tpm.tool("tpm2_nvdefine", &["-Q", "-C", "o", "-s", "8", "0x01800002"]);
    std::fs::write(tpm.folder().join("eight"), [1; 8]).expect("a file");
    tpm.tool(
        "tpm2_nvwrite",
        &["-Q", "-C", "o", "-i", "eight", "0x01800002"],
    );
    let other = store.read_counter(index(2)).expect_err("no counter");
    assert_eq!(other.kind(), ErrorKind::Malformed, "{other}");
    assert!(CounterIndex::new(0x0182_0000).is_none(), "records of keys");
}

#[test]
fn tf16_a_counter_that_is_locked_has_no_room_or_is_slow_says_so_and_can_still_be_read() {
    let tpm = Swtpm::start();
    let store = TpmProvider::new(tpm.tcti());
    store.generate(&uri("key"), &SIGNING).expect("a key");
    let key = store.open(&uri("key")).expect("it opens");
    tpm.tool(
        "tpm2_nvdefine",
        &[
            "-Q",
            "-C",
            "o",
            "-s",
            "8",
            "-a",
            "nt=counter|authwrite|authread|ownerread|no_da|write_stclear",
            "0x01800003",
        ],
    );
    let value = store.increment_counter(index(3)).expect("up");
    tpm.tool(
        "tpm2_nvwritelock",
        &["-Q", "-C", "0x01800003", "0x01800003"],
    );
    let locked = store.increment_counter(index(3)).expect_err("locked");
    assert_eq!(locked.kind(), ErrorKind::Permissions, "{locked}");
    assert_eq!(store.read_counter(index(3)).expect("read"), value);
    // NV space: large indices, and then counters until there is no room.
    for number in 0..1_000 {
        let index = format!("{:#010x}", 0x0180_1000 + number);
        let defined = tpm.try_tool("tpm2_nvdefine", &["-Q", "-C", "o", "-s", "2048", &index]);
        if !defined.status.success() {
            break;
        }
    }
    let full = (0x100..0x400)
        .find_map(|number| store.create_counter(index(number)).err())
        .expect("the space is bounded");
    assert_eq!(full.kind(), ErrorKind::Full, "{full}");
    let no_key = store
        .generate(&uri("one-more"), &SIGNING)
        .expect_err("no room");
    assert_eq!(no_key.kind(), ErrorKind::Full, "{no_key}");
    assert_eq!(
        store.read_counter(index(0x100)).expect("read"),
        store.read_counter(index(0x100)).expect("read")
    );
    key.sign(b"what runs goes on").expect("it signs");
    // TPM_RC_NV_RATE.
    let proxy = Proxy::before(&tpm);
    let slow = TpmProvider::new(proxy.tcti());
    let value = slow.read_counter(index(3)).expect("read");
    proxy.plan(|command| (command == 0x134).then_some(Fault::Code(0x920)));
    let busy = slow.increment_counter(index(0x100)).expect_err("slow");
    assert_eq!(busy.kind(), ErrorKind::Busy, "{busy}");
    assert_eq!(slow.read_counter(index(3)).expect("read"), value);
}

#[test]
fn tf13_a_credential_opens_in_the_tpm_of_its_endorsement_key_and_for_its_attestation_key_only() {
    let (tpm, other_tpm, authority) = (Swtpm::start(), Swtpm::start(), Swtpm::start());
    let (store, other) = (
        TpmProvider::new(tpm.tcti()),
        TpmProvider::new(other_tpm.tcti()),
    );
    let authority = TpmProvider::new(authority.tcti());
    for store in [&store, &other] {
        store.generate(&uri("ak"), &AK).expect("an attestation key");
    }
    store
        .generate(&uri("second-ak"), &AK)
        .expect("an attestation key");
    let public_area = |store: &TpmProvider, name: &str| {
        let challenge = countersign_keys::Challenge::new([0; 32]);
        match store.attest(&uri(name), &challenge).expect("evidence") {
            countersign_keys::Evidence::Tpm(evidence) => evidence.public_area,
            other => panic!("{other:?}"),
        }
    };
    let endorsement = store.endorsement_key().expect("it has one");
    assert_eq!(endorsement.certificate, None, "swtpm has none");
    let ak = public_area(&store, "ak");
    let make = |endorsement: &[u8], ak: &[u8], secret: [u8; 32]| {
        authority
            .make_credential(endorsement, ak, &secret)
            .expect("a credential")
    };
    let good = make(&endorsement.public_area, &ak, [7; 32]);
    let opened = store
        .activate_credential(&uri("ak"), &good)
        .expect("its own");
    assert_eq!(opened.expose(), [7; 32]);
    // An old one again gives the old secret, which is not what the authority waits for now.
    let fresh = make(&endorsement.public_area, &ak, [8; 32]);
    assert_ne!(fresh, good);
    assert_ne!(
        store
            .activate_credential(&uri("ak"), &good)
            .expect("old")
            .expose(),
        store
            .activate_credential(&uri("ak"), &fresh)
            .expect("fresh")
            .expose(),
    );
    let elsewhere = other
        .activate_credential(&uri("ak"), &good)
        .expect_err("another TPM");
    assert_eq!(elsewhere.kind(), ErrorKind::Permissions, "{elsewhere}");
    let other_key = store
        .activate_credential(&uri("second-ak"), &good)
        .expect_err("another key");
    assert_eq!(other_key.kind(), ErrorKind::Permissions, "{other_key}");
    let mut altered = good.clone();
    *altered.blob.last_mut().expect("bytes") ^= 1;
    let altered = store
        .activate_credential(&uri("ak"), &altered)
        .expect_err("altered");
    assert_eq!(altered.kind(), ErrorKind::Permissions, "{altered}");
    let garbage = authority
        .make_credential(&[1, 2, 3], &ak, &[0; 32])
        .expect_err("garbage");
    assert_eq!(garbage.kind(), ErrorKind::Malformed, "{garbage}");
}

#[test]
fn a_makers_certificate_is_read_whole() {
    let tpm = Swtpm::start();
    let store = TpmProvider::new(tpm.tcti());
    let p256 = store.endorsement_key().expect("it has one");
    let certificate: Vec<u8> = (0..1_300u32)
        .map(|n| u8::try_from(n % 251).expect("a byte"))
        .collect();
    std::fs::write(tpm.folder().join("certificate"), &certificate).expect("a file");
    let keep = |index: &str| {
        tpm.tool(
            "tpm2_nvdefine",
            &[
                "-Q",
                "-C",
                "p",
                "-s",
                "1300",
                "-a",
                "ppwrite|authread|ownerread|no_da|platformcreate",
                index,
            ],
        );
        tpm.tool(
            "tpm2_nvwrite",
            &["-Q", "-C", "p", "-i", "certificate", index],
        );
    };
    keep("0x01c00002");
    let rsa = store.endorsement_key().expect("it has one");
    assert_eq!(rsa.certificate.as_ref(), Some(&certificate));
    assert_ne!(
        rsa.public_area, p256.public_area,
        "the certified key is the RSA one"
    );
    keep("0x01c0000a");
    let both = store.endorsement_key().expect("it has one");
    assert_eq!(both.certificate, Some(certificate));
    assert_eq!(both.public_area, p256.public_area);
}
