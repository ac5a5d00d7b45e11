//! What the store does with a TPM that does what it should.

use countersign_backend_tpm::{TpmOptions, TpmProvider, detect, detect_among};
use countersign_keys::{
    Algorithm, Challenge, ErrorKind, Evidence, Found, KeyProvider as _, KeyTemplate, KeyUri,
    KeyUsage, Origin, PublicKey, Secret, TpmQuoteEvidence,
};
use countersign_testing::conformance::Conformance;
use countersign_testing::swtpm::Swtpm;
use sha2::{Digest as _, Sha256};

pub(crate) const SIGNING: KeyTemplate = KeyTemplate::signing(Algorithm::Esp256);

pub(crate) fn uri(name: &str) -> KeyUri {
    format!("tpm:{name}").parse().expect("a key URI")
}

/// Reads what TPM2_Certify signed, by a parser of its own: TPMS_ATTEST (TPM 2.0 part 2, §10.12.12).
pub(crate) fn judge(
    evidence: &Evidence,
    key: &PublicKey,
    challenge: &Challenge,
) -> Result<(), String> {
    let Evidence::Tpm(evidence) = evidence else {
        return Err("another kind".to_owned());
    };
    evidence
        .attestation_key
        .verify(&evidence.attest, &evidence.signature)
        .map_err(|error| error.to_string())?;
    let mut rest = evidence.attest.as_slice();
    if take(&mut rest, 6)? != [0xff, b'T', b'C', b'G', 0x80, 0x17] {
        return Err("no certification of a TPM".to_owned());
    }
    let _signer = sized(&mut rest)?;
    if sized(&mut rest)? != challenge.as_bytes() {
        return Err("another challenge".to_owned());
    }
    let _clock_and_firmware = take(&mut rest, 17 + 8)?;
    let name = sized(&mut rest)?;
    let mut expected = vec![0, 0x0b];
    expected.extend_from_slice(&Sha256::digest(&evidence.public_area));
    if name != expected {
        return Err("another key".to_owned());
    }
    // fixedTPM, fixedParent, sensitiveDataOrigin (part 2, §8.3.2).
    let attributes = evidence.public_area.get(4..8).ok_or("cut off")?;
    if u32::from_be_bytes(attributes.try_into().expect("four bytes")) & 0x32 != 0x32 {
        return Err("a key that may leave".to_owned());
    }
    let point = &key.to_raw_bytes();
    let (x, y) = point[1..].split_at(32);
    let holds = |number: &[u8]| {
        evidence
            .public_area
            .windows(32)
            .any(|window| window == number)
    };
    if holds(x) && holds(y) {
        Ok(())
    } else {
        Err("another public key".to_owned())
    }
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], String> {
    let (taken, left) = rest.split_at_checked(length).ok_or("cut off")?;
    *rest = left;
    Ok(taken)
}

fn sized<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], String> {
    let length = take(rest, 2)?;
    take(
        rest,
        usize::from(u16::from_be_bytes([length[0], length[1]])),
    )
}

#[test]
fn a_tpm_passes_the_suite_of_all_stores() {
    let tpm = Swtpm::start();
    let store = TpmProvider::new(tpm.tcti());
    store
        .generate(&uri("ak"), &KeyTemplate::attestation(Algorithm::Esp256))
        .expect("an attestation key");
    Conformance::new(&store, |n| uri(&format!("key-{n}")))
        .reopened_by(|| Box::new(TpmProvider::new(tpm.tcti())))
        .evidence_judged_by(judge)
        .run();
}

#[test]
fn keys_are_what_they_were_asked_to_be() {
    let tpm = Swtpm::start();
    let store = TpmProvider::new(tpm.tcti());
    assert!(store.list().expect("an empty TPM").is_empty());
    let by_handle = store.generate(&uri("0x81010003"), &SIGNING).expect("a key");
    let named = store.generate(&uri("door"), &SIGNING).expect("a key");
    let bound = store
        .generate(&uri("boot"), &SIGNING.bound_to(&[7, 0]))
        .expect("a key");
    let ak = store
        .generate(&uri("ak"), &KeyTemplate::attestation(Algorithm::Esp256))
        .expect("an attestation key");
    for info in [&by_handle, &named, &bound, &ak] {
        assert_eq!(info.origin, Origin::Device);
        assert_eq!(store.show(&info.uri).expect("it shows"), *info);
    }
    assert_eq!(
        by_handle.uri.to_string(),
        format!("tpm:0x81010003?tcti={}", tpm.tcti())
    );
    assert_eq!(bound.boot_state, [0, 7]);
    assert_eq!(
        (named.usage, ak.usage),
        (KeyUsage::Signing, KeyUsage::Attestation)
    );
    let listed = store.list().expect("a list");
    assert_eq!(listed, [by_handle, ak, bound, named]);
    // What tpm2-tools see: no attribute is missing and none too many.
    for (handle, attributes) in [
        (
            "0x81010003",
            "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|sign",
        ),
        (
            "0x81020000",
            "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|sign",
        ),
        (
            "0x81020001",
            "fixedtpm|fixedparent|sensitivedataorigin|noda|sign",
        ),
        (
            "0x81020002",
            "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|sign",
        ),
        (
            "0x81000001",
            "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt",
        ),
    ] {
        let seen = tpm.tool("tpm2_readpublic", &["-c", handle]);
        assert!(
            seen.contains(&format!("value: {attributes}\n")),
            "{handle}: {seen}"
        );
    }
}

#[test]
fn names_stay_right_whatever_others_do_to_the_tpm() {
    let tpm = Swtpm::start();
    let store = TpmProvider::new(tpm.tcti());
    let first = store.generate(&uri("door"), &SIGNING).expect("a key");
    // The key goes, and its record stays: the name is free again.
    tpm.tool("tpm2_evictcontrol", &["-Q", "-C", "o", "-c", "0x81020000"]);
    let gone = store.open(&uri("door")).expect_err("gone");
    assert_eq!(gone.kind(), ErrorKind::NotFound, "{gone}");
    assert!(store.list().expect("a list").is_empty());
    // Somebody else's key comes to that handle: the record does not speak for it.
    tpm.tool(
        "tpm2_create",
        &[
            "-Q",
            "-C",
            "0x81000001",
            "-G",
            "ecc:ecdsa-sha256",
            "-u",
            "pub",
            "-r",
            "priv",
            "-a",
            "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|sign",
        ],
    );
    tpm.tool(
        "tpm2_load",
        &[
            "-Q",
            "-C",
            "0x81000001",
            "-u",
            "pub",
            "-r",
            "priv",
            "-c",
            "ctx",
        ],
    );
    tpm.tool(
        "tpm2_evictcontrol",
        &["-Q", "-C", "o", "-c", "ctx", "0x81020000"],
    );
    tpm.tool("tpm2_flushcontext", &["-t"]);
    let stranger = store.show(&uri("0x81020000")).expect("it is there");
    assert!(
        stranger.uri.to_string().starts_with("tpm:0x81020000?"),
        "{stranger:?}"
    );
    assert_eq!(
        store.open(&uri("door")).expect_err("still gone").kind(),
        ErrorKind::NotFound
    );
    assert_eq!(store.list().expect("a list")[0].public, stranger.public);
    let second = store.generate(&uri("door"), &SIGNING).expect("a key");
    assert_ne!(first.public, second.public);
    assert_eq!(
        store.open(&uri("door")).expect("it opens").public_key(),
        &second.public
    );
    // The record goes, and the key stays: it still has its handle.
    let (at, index) = ("0x81020001", "0x01820001");
    tpm.tool("tpm2_nvundefine", &["-Q", "-C", "o", index]);
    assert_eq!(
        store.open(&uri("door")).expect_err("no name").kind(),
        ErrorKind::NotFound
    );
    assert_eq!(
        store.open(&uri(at)).expect("it opens").public_key(),
        &second.public
    );
    // Somebody else's index where a record would be: neither read as one nor overwritten.
    tpm.tool(
        "tpm2_nvdefine",
        &["-Q", "-C", "o", "-s", "16", "0x01820002"],
    );
    store
        .generate(&uri("gate"), &SIGNING)
        .expect("a key elsewhere");
    store.open(&uri("gate")).expect("it opens");
    assert!(
        tpm.tool("tpm2_nvreadpublic", &["0x01820002"])
            .contains("size: 16")
    );
}

#[test]
fn a_key_bound_to_the_boot_stops_when_the_boot_is_another_one() {
    let tpm = Swtpm::start();
    let store = TpmProvider::new(tpm.tcti());
    store
        .generate(&uri("boot"), &SIGNING.bound_to(&[0, 2, 7]))
        .expect("a key");
    let key = store.open(&uri("boot")).expect("it opens");
    for _ in 0..5 {
        key.sign(b"as booted").expect("it signs");
    }
    let ones = "1".repeat(64);
    tpm.tool("tpm2_pcrextend", &[&format!("5:sha256={ones}")]);
    key.sign(b"another register").expect("it signs");
    tpm.tool("tpm2_pcrextend", &[&format!("7:sha256={ones}")]);
    for key in [&key, &store.open(&uri("boot")).expect("it opens")] {
        let error = key.sign(b"changed").expect_err("another boot");
        assert_eq!(error.kind(), ErrorKind::StateChanged, "{error}");
        let said = error.to_string();
        assert!(
            said.contains("registers 0,2,7")
                && said.contains("since it was made: 7)")
                && said.contains("; boot "),
            "{said}"
        );
    }
    // No way around the policy: a password, even the right one, is refused.
    let at = "0x81020000";
    std::fs::write(tpm.folder().join("message"), b"m").expect("a file");
    let refused = tpm.try_tool(
        "tpm2_sign",
        &["-Q", "-c", at, "-g", "sha256", "-o", "signature", "message"],
    );
    assert!(!refused.status.success());
    // It can still be attested, listed and deleted.
    store
        .generate(&uri("ak"), &KeyTemplate::attestation(Algorithm::Esp256))
        .expect("an attestation key");
    let challenge = Challenge::new([1; 32]);
    let evidence = store.attest(&uri("boot"), &challenge).expect("evidence");
    judge(&evidence, key.public_key(), &challenge).expect("it convinces");
    store.delete(&uri("boot")).expect("it goes");
    let error = store
        .generate(&uri("beyond"), &SIGNING.bound_to(&[24]))
        .expect_err("no register 24");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
}

fn quote(store: &TpmProvider, registers: &[u8], challenge: [u8; 32]) -> TpmQuoteEvidence {
    match store.state(&uri("ak"), registers, &Challenge::new(challenge)) {
        Ok(Evidence::TpmQuote(quote)) => quote,
        other => panic!("{other:?}"),
    }
}

#[test]
fn other_tools_accept_quotes_for_their_challenge_and_registers_only() {
    let tpm = Swtpm::start();
    let store = TpmProvider::new(tpm.tcti());
    store
        .generate(&uri("ak"), &KeyTemplate::attestation(Algorithm::Esp256))
        .expect("an attestation key");
    tpm.tool(
        "tpm2_pcrextend",
        &[&format!("7:sha256={}", "ab".repeat(32))],
    );
    let good = quote(&store, &[7, 0, 16, 7], [0x5a; 32]);
    assert_eq!(
        good.registers
            .iter()
            .map(|(number, _)| *number)
            .collect::<Vec<_>>(),
        [0, 7, 16]
    );
    assert_ne!(good.registers[1].1, [0; 32]);
    let accepts = |quote: &TpmQuoteEvidence, challenge: [u8; 32]| {
        let write = |name: &str, bytes: &[u8]| {
            std::fs::write(tpm.folder().join(name), bytes).expect("a file");
        };
        write("ak.der", &quote.attestation_key.to_spki_der());
        write("quote", &quote.attest);
        // TPMT_SIGNATURE: ECDSA with SHA-256.
        let mut signature = vec![0x00, 0x18, 0x00, 0x0b];
        for half in quote.signature.chunks(32) {
            signature.extend_from_slice(&[0, 32]);
            signature.extend_from_slice(half);
        }
        write("signature", &signature);
        let values: Vec<u8> = quote
            .registers
            .iter()
            .flat_map(|(_, value)| *value)
            .collect();
        write("registers", &values);
        tpm.tool(
            "openssl",
            &[
                "pkey", "-pubin", "-inform", "DER", "-in", "ak.der", "-out", "ak.pem",
            ],
        );
        tpm.try_tool(
            "tpm2_checkquote",
            &[
                "-u",
                "ak.pem",
                "-m",
                "quote",
                "-s",
                "signature",
                "-g",
                "sha256",
                "-f",
                "registers",
                "-F",
                "values",
                "-l",
                "sha256:0,7,16",
                "-q",
                &hex::encode(challenge),
            ],
        )
    };
    let output = accepts(&good, [0x5a; 32]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        !accepts(&good, [0x5b; 32]).status.success(),
        "another challenge"
    );
    let mut other = good.clone();
    other.registers[1].1[0] ^= 1;
    assert!(
        !accepts(&other, [0x5a; 32]).status.success(),
        "other values"
    );
    let mut other = good.clone();
    other.signature[40] ^= 1;
    assert!(
        !accepts(&other, [0x5a; 32]).status.success(),
        "another signature"
    );
    // What is no quote is refused before the TPM is asked.
    store.generate(&uri("key"), &SIGNING).expect("a key");
    let challenge = Challenge::new([0; 32]);
    for (key, registers, kind) in [
        ("key", [0].as_slice(), ErrorKind::Unsupported),
        ("ak", [].as_slice(), ErrorKind::Unsupported),
        ("ak", [24].as_slice(), ErrorKind::Unsupported),
        ("nobody", [0].as_slice(), ErrorKind::NotFound),
    ] {
        let error = store
            .state(&uri(key), registers, &challenge)
            .expect_err(key);
        assert_eq!(error.kind(), kind, "{error}");
    }
}

#[test]
fn without_an_attestation_key_there_is_no_evidence() {
    let tpm = Swtpm::start();
    let store = TpmProvider::new(tpm.tcti());
    store.generate(&uri("key"), &SIGNING).expect("a key");
    let error = store
        .attest(&uri("key"), &Challenge::new([0; 32]))
        .expect_err("no key to attest with");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    let bound = KeyTemplate::attestation(Algorithm::Esp256).bound_to(&[0]);
    let error = store.generate(&uri("ak"), &bound).expect_err("not bound");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
}

#[test]
fn the_owners_password_is_needed_to_make_keys_and_not_to_use_them() {
    let tpm = Swtpm::start();
    let open = TpmProvider::new(tpm.tcti());
    open.generate(&uri("key"), &SIGNING).expect("a key");
    tpm.tool("tpm2_changeauth", &["-Q", "-c", "o", "owner-password"]);
    let error = open
        .generate(&uri("new"), &SIGNING)
        .expect_err("the owner has a password");
    assert_eq!(error.kind(), ErrorKind::Permissions, "{error}");
    assert!(error.to_string().contains("owner's password"), "{error}");
    open.open(&uri("key"))
        .expect("it opens")
        .sign(b"m")
        .expect("it signs");
    let owner = TpmOptions::new(tpm.tcti())
        .owner_password(Secret::new("owner-password".to_owned()))
        .build();
    owner.generate(&uri("new"), &SIGNING).expect("a key");
    let said = format!(
        "{:?}",
        TpmOptions::new(tpm.tcti()).owner_password(Secret::new("owner-password".to_owned()))
    );
    assert!(!said.contains("owner-password"), "{said}");
    let error = open
        .delete(&uri("new"))
        .expect_err("the owner has a password");
    assert_eq!(error.kind(), ErrorKind::Permissions, "{error}");
    owner.delete(&uri("new")).expect("it goes");
    // A TPM whose owner has a password, and no storage root key yet.
    let fresh = Swtpm::start();
    fresh.tool("tpm2_changeauth", &["-Q", "-c", "o", "owner-password"]);
    let error = TpmProvider::new(fresh.tcti())
        .generate(&uri("key"), &SIGNING)
        .expect_err("the owner has a password");
    assert_eq!(error.kind(), ErrorKind::Permissions, "{error}");
    TpmOptions::new(fresh.tcti())
        .owner_password(Secret::new("owner-password".to_owned()))
        .build()
        .generate(&uri("key"), &SIGNING)
        .expect("a key");
}

#[test]
fn storage_root_keys_of_others_are_used_and_what_is_none_is_not() {
    let tpm = Swtpm::start();
    // The RSA template that Windows and many distributions put there.
    tpm.tool(
        "tpm2_createprimary",
        &[
            "-Q",
            "-C",
            "o",
            "-G",
            "rsa2048",
            "-c",
            "primary",
            "-a",
            "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt",
        ],
    );
    tpm.tool(
        "tpm2_evictcontrol",
        &["-Q", "-C", "o", "-c", "primary", "0x81000001"],
    );
    tpm.tool("tpm2_flushcontext", &["-t"]);
    let store = TpmProvider::new(tpm.tcti());
    store.generate(&uri("key"), &SIGNING).expect("a key");
    store
        .open(&uri("key"))
        .expect("it opens")
        .sign(b"m")
        .expect("it signs");
    let error = store.open(&uri("0x81000001")).expect_err("no signing key");
    assert_eq!(error.kind(), ErrorKind::Malformed, "{error}");
    let error = store
        .delete(&uri("0x81000001"))
        .expect_err("no signing key");
    assert_eq!(error.kind(), ErrorKind::Malformed, "{error}");
    let tpm = Swtpm::start();
    tpm.tool(
        "tpm2_createprimary",
        &[
            "-Q",
            "-C",
            "o",
            "-G",
            "ecc:ecdsa",
            "-c",
            "primary",
            "-a",
            "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|sign",
        ],
    );
    tpm.tool(
        "tpm2_evictcontrol",
        &["-Q", "-C", "o", "-c", "primary", "0x81000001"],
    );
    tpm.tool("tpm2_flushcontext", &["-t"]);
    let error = TpmProvider::new(tpm.tcti())
        .generate(&uri("key"), &SIGNING)
        .expect_err("no storage key");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
}

#[test]
fn a_uri_of_another_tpm_is_refused() {
    let tpm = Swtpm::start();
    let store = TpmProvider::new(tpm.tcti());
    store.generate(&uri("key"), &SIGNING).expect("a key");
    let own: KeyUri = format!("tpm:key?tcti={}", tpm.tcti())
        .parse()
        .expect("a key URI");
    store.open(&own).expect("it opens");
    let error = store
        .open(&uri("key?tcti=device:/dev/tpm9"))
        .expect_err("another TPM");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

#[test]
fn detection_says_what_there_is_and_why_something_is_missing() {
    let tpm = Swtpm::start();
    let found = detect_among(&[
        tpm.tcti(),
        "device:/dev/countersign-no-tpm".parse().expect("a device"),
    ]);
    let [there, missing] = found.as_slice() else {
        panic!("{found:?}");
    };
    match &there.found {
        Found::Ready {
            description,
            example,
        } => {
            assert!(
                description.starts_with("TPM 2.0 of IBM (SW   TPM), firmware "),
                "{description}"
            );
            assert_eq!(
                example.to_string(),
                format!("tpm:signing?tcti={}", tpm.tcti())
            );
        }
        other => panic!("{other:?}"),
    }
    assert!(
        matches!(&missing.found, Found::Missing { reason } if reason.contains("; switch it on")),
        "{missing:?}"
    );
    // Whatever this machine has, there is an answer.
    assert!(!detect().is_empty());
}
