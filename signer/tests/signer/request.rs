//! Certification requests, as OpenSSL reads them.

use crate::common::{Pki, generate, openssl, text};
use countersign_format::{Audience, DeviceIdentity, DeviceMetadata, NamePattern, Scope};
use countersign_keys::Algorithm;
use countersign_signer::request::{
    RequestError, RequestFields, Subject, certification_request, to_pem,
};

fn full() -> RequestFields {
    RequestFields {
        subject: Subject {
            common_name: Some("Gateway 7, Halle Süd".into()),
            organization: Some("Acme + Söhne".into()),
            organizational_unit: Some("Plant=3".into()),
            country: Some("DE".into()),
            serial_number: None,
        },
        identity: Some(DeviceIdentity::parse("gw-0007").unwrap()),
        metadata: DeviceMetadata::default()
            .with_device_type("gateway-x2")
            .unwrap()
            .with_hardware_revision("B.3")
            .unwrap()
            .with_firmware_version("1.4.0")
            .unwrap()
            .with_capabilities(&["relay", "modbus"])
            .unwrap(),
        dns_names: vec!["gw7.example.org".into()],
        scope: Some(
            Scope::new(
                vec![NamePattern::parse("acme:*").unwrap()],
                Audience::default(),
            )
            .unwrap(),
        ),
    }
}

#[test]
fn openssl_reads_and_verifies_our_requests() {
    let pki = Pki::new();
    for algorithm in [Algorithm::Ed25519, Algorithm::Esp256] {
        let key = generate(algorithm);
        let der = certification_request(&key, &full()).unwrap();
        let path = pki.write("request.pem", to_pem(&der).unwrap());
        openssl(&["req", "-in", text(&path), "-verify", "-noout"]);
        let shown = openssl(&[
            "req",
            "-in",
            text(&path),
            "-noout",
            "-text",
            "-nameopt",
            "RFC2253,utf8,-esc_msb",
        ]);
        let shown = String::from_utf8(shown).unwrap();
        for words in [
            "serialNumber=gw-0007,CN=Gateway 7\\, Halle Süd,OU=Plant=3,O=Acme \\+ Söhne,C=DE",
            "DNS:gw7.example.org",
            "othername",
            "1.3.6.1.4.1.32473.1.1",
            "1.3.6.1.4.1.32473.1.2",
            "1.3.6.1.4.1.32473.1.3",
            "1.3.6.1.4.1.32473.1.4",
            "1.3.6.1.4.1.32473.1.5",
        ] {
            assert!(shown.contains(words), "{words} is not in:\n{shown}");
        }
        let public = openssl(&["req", "-in", text(&path), "-noout", "-pubkey"]);
        let public_path = pki.write("public.pem", &public);
        let spki = openssl(&[
            "pkey",
            "-pubin",
            "-in",
            text(&public_path),
            "-outform",
            "DER",
        ]);
        assert_eq!(spki, key.public_key().to_spki_der());
    }
}

#[test]
fn tc_a_request_proves_possession_and_a_changed_one_does_not() {
    let pki = Pki::new();
    let mut der = certification_request(&generate(Algorithm::Esp256), &full()).unwrap();
    let at = der
        .windows(7)
        .position(|window| window == b"gw-0007")
        .unwrap();
    *der.get_mut(at).unwrap() = b'G';
    let path = pki.write("request.der", &der);
    let output = std::process::Command::new("openssl")
        .args([
            "req",
            "-inform",
            "DER",
            "-in",
            text(&path),
            "-verify",
            "-noout",
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).to_lowercase();
    assert!(said.contains("failure"), "{said}");
}

#[test]
fn a_plain_request_has_no_extensions() {
    let fields = RequestFields {
        subject: Subject {
            common_name: Some("Root".into()),
            ..Subject::default()
        },
        ..RequestFields::default()
    };
    let pki = Pki::new();
    let der = certification_request(&generate(Algorithm::Esp256), &fields).unwrap();
    let path = pki.write("request.pem", to_pem(&der).unwrap());
    let shown = openssl(&["req", "-in", text(&path), "-noout", "-text"]);
    let shown = String::from_utf8(shown).unwrap();
    assert!(
        shown.contains("CN = Root") && !shown.contains("X509v3"),
        "{shown}"
    );
}

#[test]
fn wrong_subjects_are_refused() {
    let key = generate(Algorithm::Ed25519);
    let named = |subject: Subject| RequestFields {
        subject,
        ..RequestFields::default()
    };
    let cn = |name: &str| Subject {
        common_name: Some(name.into()),
        ..Subject::default()
    };
    let cases = [
        named(Subject::default()),
        named(cn("")),
        named(cn(&"x".repeat(65))),
        named(cn("a\0b")),
        named(cn("a\nb")),
        named(Subject {
            country: Some("de".into()),
            ..cn("x")
        }),
        named(Subject {
            country: Some("DEU".into()),
            ..cn("x")
        }),
        RequestFields {
            dns_names: vec!["bad name".into()],
            ..named(cn("x"))
        },
        RequestFields {
            dns_names: vec!["-x.org".into()],
            ..named(cn("x"))
        },
        RequestFields {
            identity: Some(DeviceIdentity::parse("gw-1").unwrap()),
            ..named(Subject {
                serial_number: Some("gw-2".into()),
                ..cn("x")
            })
        },
    ];
    for fields in cases {
        let error = certification_request(&key, &fields).unwrap_err();
        assert!(
            matches!(error, RequestError::Subject { .. }),
            "{fields:?}: {error}"
        );
    }
}
