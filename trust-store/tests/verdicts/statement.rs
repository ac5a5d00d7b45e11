//! What is signed: the component, its name and scope, its audience, its version.

use countersign_format::{Audience, DeviceIdentity, Envelope, signature_section};
use countersign_testing::{EMPTY_COMPONENT, TestPki, TestPkiBuilder};
use countersign_trust_store::{Code, Policy, TrustState, UnverifiedComponent};

use crate::harness::{NAME, code, judge, judge_with, signed};

/// A component with one custom section of this content.
fn component(content: &[u8]) -> Vec<u8> {
    let name = b"\x04note";
    let size = u8::try_from(name.len() + content.len()).unwrap();
    [EMPTY_COMPONENT, &[0, size], name, content].concat()
}

fn named(builder: TestPkiBuilder, name: &str) -> Result<(), Code> {
    let pki = builder.build();
    let bytes = pki.forge(
        EMPTY_COMPONENT,
        pki.statement(EMPTY_COMPONENT, &pki.manifest(name)),
    );
    judge(&pki, bytes)
        .map(drop)
        .map_err(|rejection| rejection.code())
}

#[test]
fn ta20_a_signature_lifted_onto_another_component() {
    let pki = TestPki::new();
    let (one, other) = (component(b"one"), component(b"two"));
    let signed = pki.sign(&one, &pki.manifest(NAME));
    let section = &signed[one.len()..];
    let lifted = [other.as_slice(), section].concat();
    assert_eq!(
        judge(&pki, lifted).unwrap_err().code(),
        Code::DigestMismatch
    );
    let longer = [component(b"three").as_slice(), section].concat();
    assert_eq!(
        judge(&pki, longer).unwrap_err().code(),
        Code::DigestMismatch
    );
}

/// A section with this id and content.
fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id, u8::try_from(content.len()).unwrap()], content].concat()
}

#[test]
fn ta09_a_module_inside_exchanged_for_another() {
    const MODULE: &[u8] = b"\0asm\x01\0\0\0";
    let around =
        |module: &[u8]| [EMPTY_COMPONENT, &section(1, module), &section(0, b"\x01x")].concat();
    let pki = TestPki::new();
    let honest = around(&[MODULE, &section(0, b"\x01a")].concat());
    let signed = pki.sign(&honest, &pki.manifest(NAME));
    judge(&pki, signed.clone()).unwrap();
    // Of the same size, shorter, longer.
    for module in [
        [MODULE, &section(0, b"\x01b")].concat(),
        MODULE.to_vec(),
        [MODULE, &section(0, b"\x01a"), &section(0, b"\x01b")].concat(),
    ] {
        let exchanged = [around(&module).as_slice(), &signed[honest.len()..]].concat();
        assert_eq!(
            judge(&pki, exchanged).unwrap_err().code(),
            Code::DigestMismatch
        );
    }
}

#[test]
fn ta21_no_byte_of_the_component_is_left_out_of_the_digest() {
    let pki = TestPki::new();
    let component = [
        EMPTY_COMPONENT,
        &section(0, b"\x04name"),
        &section(1, b"\0asm\x01\0\0\0"),
        &section(0, b"\x09producers\0"),
    ]
    .concat();
    let signed = pki.sign(&component, &pki.manifest(NAME));
    let mut lengths_kept = 0;
    for at in 0..component.len() {
        let mut changed = signed.clone();
        changed[at] ^= 1;
        // Where it is still framed as a component with a signature, the digest notices.
        match UnverifiedComponent::parse(changed.clone()) {
            Ok(_) => lengths_kept += 1,
            Err(_) => continue,
        }
        let code = judge(&pki, changed).unwrap_err().code();
        assert_eq!(code, Code::DigestMismatch, "byte {at}");
    }
    assert!(lengths_kept > component.len() / 2);
}

#[test]
fn ta23_a_good_signature_over_what_is_no_statement() {
    let pki = TestPki::new();
    let statement = judge(&pki, signed(&pki)).unwrap().statement().encode();
    for payload in [
        &b"{\"name\":\"test:guest\"}"[..],
        b"\xa0",
        b"\x80",
        b"\xf6",
        &[&statement[..], &[0]].concat(),
        &statement[..statement.len() - 1],
        &statement[1..],
    ] {
        let entry = pki.forge_entry(payload);
        let envelope = Envelope::new(payload.to_vec(), vec![entry]).unwrap();
        let section = signature_section(&envelope.encode()).unwrap();
        let code = judge(&pki, [EMPTY_COMPONENT, &section].concat())
            .unwrap_err()
            .code();
        assert!(
            [Code::Malformed, Code::Noncanonical].contains(&code),
            "{payload:02x?}: {code}"
        );
    }
}

#[test]
fn ta30_what_was_hashed_is_handed_on_and_nothing_else() {
    let pki = TestPki::new();
    let bytes = signed(&pki);
    // The very buffer: neither a copy nor a second reading.
    let place = bytes.as_ptr();
    let verified = judge(&pki, bytes).unwrap();
    let component = verified.component().expect("it was read");
    assert_eq!(component.as_ptr(), place);
    assert_eq!(countersign_format::Digest::of(component), verified.digest());
}

#[test]
fn ta32_sections_exchanged_in_every_pair() {
    let pki = TestPki::new();
    let sections = [
        section(0, b"\x01a"),
        section(0, b"\x01b"),
        section(1, b"\0asm\x01\0\0\0"),
        section(0, b"\x04name"),
        section(4, EMPTY_COMPONENT),
    ];
    let component = [EMPTY_COMPONENT, &sections.concat()].concat();
    let signed = pki.sign(&component, &pki.manifest(NAME));
    let mut sections = sections.to_vec();
    sections.push(signed[component.len()..].to_vec());
    let last = sections.len() - 1;
    for first in 0..sections.len() {
        for second in first + 1..sections.len() {
            let mut exchanged = sections.clone();
            exchanged.swap(first, second);
            let file = [EMPTY_COMPONENT, &exchanged.concat()].concat();
            let expected = if second == last {
                Code::SignaturePosition
            } else {
                Code::DigestMismatch
            };
            let code = judge(&pki, file).unwrap_err().code();
            assert_eq!(code, expected, "{first} and {second}");
        }
    }
}

#[test]
fn ta10_ta11_every_bit_and_every_truncation_of_a_signed_file() {
    let pki = TestPki::new();
    let good = pki.sign(&component(b"pump"), &pki.manifest(NAME));
    judge(&pki, good.clone()).unwrap();
    let anchors = pki.anchors();
    let verdict = |bytes: Vec<u8>| {
        countersign_trust_store::UnverifiedComponent::parse(bytes).and_then(|component| {
            anchors.verify(component, &Policy::default(), &pki.now(), &pki.state())
        })
    };
    let mut bytes = good.clone();
    for index in 0..good.len() {
        for bit in 0..8 {
            bytes[index] ^= 1 << bit;
            assert!(verdict(bytes.clone()).is_err(), "byte {index}, bit {bit}");
            bytes[index] ^= 1 << bit;
        }
        assert!(verdict(good[..index].to_vec()).is_err(), "length {index}");
    }
}

#[test]
fn tc39_names_outside_the_scope() {
    let scope = |patterns: &[&str]| TestPki::builder().scope(patterns);
    assert_eq!(named(scope(&["acme:*"]), "acme:pump"), Ok(()));
    assert_eq!(named(scope(&["acme:pump"]), "acme:pump"), Ok(()));
    assert_eq!(
        named(scope(&["acme:door", "acme:pump"]), "acme:pump"),
        Ok(())
    );
    for (patterns, name) in [
        (&["acme:*"][..], "acme-evil:pump"),
        (&["acme:*"], "acm:pump"),
        (&["acme:pump"], "acme:pump-two"),
        (&["acme:pump"], "acme:pum"),
        (&["acme:pump"], "evil:pump"),
    ] {
        assert_eq!(
            named(scope(patterns), name),
            Err(Code::SignerNotAuthorised),
            "{patterns:?} {name}"
        );
    }
}

#[test]
fn tc39_no_scope_anywhere() {
    assert_eq!(
        code(TestPki::builder().without_scope()),
        Code::SignerNotAuthorised
    );
}

#[test]
fn tc39_a_leaf_wider_than_its_issuer() {
    let pki = |leaf: &[&str], ca: &[&str]| TestPki::builder().scope(leaf).intermediate_scope(ca);
    assert_eq!(named(pki(&["acme:pump"], &["acme:*"]), "acme:pump"), Ok(()));
    assert_eq!(
        named(pki(&["acme:*"], &["acme:pump"]), "acme:pump"),
        Err(Code::SignerNotAuthorised)
    );
    assert_eq!(
        named(pki(&["acme:pump"], &["evil:*"]), "acme:pump"),
        Err(Code::SignerNotAuthorised)
    );
}

#[test]
fn tc39_a_scope_of_the_issuer_alone_suffices() {
    let inherited = || {
        TestPki::builder()
            .without_scope()
            .intermediate_scope(&["acme:*"])
    };
    assert_eq!(named(inherited(), "acme:pump"), Ok(()));
    assert_eq!(
        named(inherited(), "evil:pump"),
        Err(Code::SignerNotAuthorised)
    );
}

fn audience(devices: &[&str], types: &[&str]) -> Audience {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    Audience {
        devices: texts(devices),
        types: texts(types),
    }
}

#[test]
fn ta34_meant_for_another_device_or_told_to_nobody() {
    let pki = TestPki::new();
    let verdict = |wanted: Audience, own: Option<(&str, Option<&str>)>| {
        let mut fields = pki.statement(EMPTY_COMPONENT, &pki.manifest(NAME));
        fields.audience = wanted;
        let mut policy = Policy::default();
        if let Some((id, device_type)) = own {
            policy = policy.with_device(
                DeviceIdentity::parse(id).unwrap(),
                device_type.map(str::to_owned),
            );
        }
        let bytes = pki.forge(EMPTY_COMPONENT, fields);
        judge_with(&pki, bytes, &policy, &pki.now(), &pki.state())
            .map(drop)
            .map_err(|rejection| rejection.code())
    };
    let gate = Some(("gate-7", Some("gateway")));
    assert_eq!(verdict(audience(&["gate-7"], &[]), gate), Ok(()));
    assert_eq!(verdict(audience(&[], &["gateway"]), gate), Ok(()));
    assert_eq!(verdict(audience(&["gate-7"], &["gateway"]), gate), Ok(()));
    assert_eq!(verdict(audience(&[], &[]), None), Ok(()));
    for (wanted, own) in [
        (audience(&["gate-8"], &[]), gate),
        (audience(&[], &["pump"]), gate),
        (audience(&["gate-7"], &["pump"]), gate),
        (audience(&["gate-7"], &[]), None),
        (audience(&[], &["gateway"]), None),
        (audience(&[], &["gateway"]), Some(("gate-7", None))),
    ] {
        assert_eq!(
            verdict(wanted.clone(), own),
            Err(Code::Audience),
            "{wanted:?} {own:?}"
        );
    }
}

#[test]
fn tc39_a_scope_with_an_audience_admits_only_what_lies_inside() {
    let pki = TestPki::builder()
        .scope_audience(audience(&[], &["gateway"]))
        .build();
    let verdict = |wanted: Audience| {
        let mut fields = pki.statement(EMPTY_COMPONENT, &pki.manifest(NAME));
        fields.audience = wanted;
        let policy = Policy::default().with_device(
            DeviceIdentity::parse("gate-7").unwrap(),
            Some("gateway".to_owned()),
        );
        let bytes = pki.forge(EMPTY_COMPONENT, fields);
        judge_with(&pki, bytes, &policy, &pki.now(), &pki.state())
            .map(drop)
            .map_err(|rejection| rejection.code())
    };
    assert_eq!(verdict(audience(&[], &["gateway"])), Ok(()));
    assert_eq!(verdict(audience(&[], &[])), Err(Code::SignerNotAuthorised));
    assert_eq!(
        verdict(audience(&["gate-7"], &[])),
        Err(Code::SignerNotAuthorised)
    );
    assert_eq!(
        verdict(audience(&[], &["gateway", "pump"])),
        Err(Code::SignerNotAuthorised)
    );
}

#[test]
fn td07_a_version_older_than_one_that_ran() {
    let pki = TestPki::new();
    let root = pki.anchors().iter().next().unwrap().spki_sha256();
    let mut state = TrustState::remembering();
    state.note_version(root, NAME.parse().unwrap(), 3);
    for (version, expected) in [(2, Err(Code::Rollback)), (3, Ok(())), (4, Ok(()))] {
        let mut fields = pki.statement(EMPTY_COMPONENT, &pki.manifest(NAME));
        fields.security_version = version;
        let bytes = pki.forge(EMPTY_COMPONENT, fields);
        let verdict = judge_with(&pki, bytes, &Policy::default(), &pki.now(), &state)
            .map(drop)
            .map_err(|rejection| rejection.code());
        assert_eq!(verdict, expected, "{version}");
    }
}

#[test]
fn what_is_verified_is_what_was_signed() {
    let pki = TestPki::new();
    let verified = judge(&pki, signed(&pki)).unwrap();
    assert_eq!(verified.component(), Some(EMPTY_COMPONENT));
    assert_eq!(
        verified.digest(),
        countersign_format::Digest::of(EMPTY_COMPONENT)
    );
    assert_eq!(verified.statement().name().as_str(), NAME);
}
