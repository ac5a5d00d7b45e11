//! Details of extensions for which the declared cases have no word.

use countersign_testing::{CertificateParts, Profile, Role, TestPki, TestPkiBuilder};
use countersign_trust_store::{Certificate, Code, Fault, Rejection, oid, profile};
use x509_cert::ext::pkix::KeyUsages;

use crate::harness::{accepted, code, judge, signed};

/// The fault for which a certificate is refused.
fn fault(builder: TestPkiBuilder) -> Fault {
    let pki = builder.build();
    match judge(&pki, signed(&pki)) {
        Err(Rejection::Certificate { fault, .. }) => fault,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("accepted"),
    }
}

#[test]
fn an_authority_key_identifier_names_a_key_and_nothing_else() {
    let with = |role, more: &'static [u8]| {
        TestPki::builder().bend(role, move |parts| {
            let content = [&authority_key_identifier(parts)[2..], more].concat();
            let length = u8::try_from(content.len()).unwrap();
            let value = [&[0x30, length], &content[..]].concat();
            parts.set_extension(oid::AUTHORITY_KEY_IDENTIFIER, false, &value);
        })
    };
    const NAME: &[u8] = b"\xa1\x04\x82\x02ab";
    const NUMBER: &[u8] = &[0x82, 1, 5];
    const BOTH: &[u8] = b"\xa1\x04\x82\x02ab\x82\x01\x05";
    for role in [Role::Leaf, Role::Intermediate] {
        accepted(with(role, &[]));
        for more in [NAME, NUMBER, BOTH] {
            assert_eq!(code(with(role, more)), Code::KeyIdentifier, "{more:02x?}");
        }
    }
}

/// The value of the extension of a certificate.
fn authority_key_identifier(parts: &CertificateParts) -> Vec<u8> {
    let mut extensions = parts.extensions.iter().flatten();
    let found = extensions.find(|extension| extension.extn_id == oid::AUTHORITY_KEY_IDENTIFIER);
    found.unwrap().extn_value.as_bytes().to_vec()
}

#[test]
fn a_refusal_names_the_key_usage_at_fault() {
    let others = [
        (KeyUsages::KeyEncipherment, "keyEncipherment"),
        (KeyUsages::DataEncipherment, "dataEncipherment"),
        (KeyUsages::KeyAgreement, "keyAgreement"),
        (KeyUsages::KeyCertSign, "keyCertSign"),
        (KeyUsages::CRLSign, "cRLSign"),
        (KeyUsages::EncipherOnly, "encipherOnly"),
        (KeyUsages::DecipherOnly, "decipherOnly"),
    ];
    for (extra, usage) in others {
        let builder = TestPki::builder().key_usage(Role::Leaf, KeyUsages::DigitalSignature | extra);
        let missing = false;
        assert_eq!(fault(builder), Fault::KeyUsage { usage, missing });
    }
    let without = TestPki::builder().key_usage(Role::Leaf, KeyUsages::NonRepudiation);
    assert_eq!(
        fault(without),
        Fault::KeyUsage {
            usage: "digitalSignature",
            missing: true
        }
    );
}

#[test]
fn a_refusal_names_the_extended_key_usages_that_are_there_and_that_must_be() {
    let found = |usages: &[_]| {
        let builder = TestPki::builder().extended_key_usage(Role::Leaf, usages);
        match fault(builder) {
            Fault::ExtendedKeyUsage { needed, found } => {
                assert_eq!(needed, "codeSigning");
                found
            }
            other => panic!("{other:?}"),
        }
    };
    let unknown = der::asn1::ObjectIdentifier::new_unwrap("1.2.3.4");
    assert_eq!(found(&[oid::SERVER_AUTH]), "serverAuth");
    assert_eq!(found(&[oid::CODE_SIGNING, unknown]), "codeSigning, 1.2.3.4");
}

#[test]
fn a_tls_certificate_is_for_clients_or_servers_and_for_nothing_else() {
    let inspect = |usages: &[_]| {
        let pki = TestPki::builder()
            .profile(Profile::Tls)
            .extended_key_usage(Role::Leaf, usages)
            .build();
        let leaf = Certificate::parse(&pki.chain()[0]).unwrap();
        profile::TLS.inspect(&leaf, None)
    };
    let (client, server) = (oid::CLIENT_AUTH, oid::SERVER_AUTH);
    for usages in [&[client][..], &[server], &[client, server]] {
        assert_eq!(inspect(usages), Ok(()), "{usages:?}");
    }
    for usages in [&[][..], &[oid::CODE_SIGNING], &[client, oid::CODE_SIGNING]] {
        let refused = inspect(usages).unwrap_err();
        assert_eq!(refused.code(), Code::ExtendedKeyUsage, "{usages:?}");
    }
}
