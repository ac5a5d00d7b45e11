//! The body and the document: one encoding, every limit, and an attestation that is over this body.

use super::*;
use crate::{
    Algorithm, BootId, ComponentName, DeviceIdentity, Digest, EvidenceClaims, EvidenceKind,
    EvidenceProof, Minimum, RuntimeClaim, SoftwareProof,
};

fn component(name: &str) -> ComponentName {
    ComponentName::parse(name).unwrap()
}

fn service(name: &str) -> ReceiptService {
    ReceiptService {
        name: name.to_owned(),
        state: ServiceState::Running,
        healthy: true,
        component: Some(ReceiptComponent {
            name: component("acme:pump"),
            version: "1.2.3".to_owned(),
            security_version: 4,
            digest: Digest::of(b"P"),
            file: Digest::of(b"file"),
            signers: vec![("press-4".to_owned(), Digest::of(b"key"))],
        }),
        refused: Some("rollback: 3 is older than 4".to_owned()),
    }
}

fn full() -> ReceiptFields {
    ReceiptFields {
        nonce: Some(EvidenceNonce::new(b"a nonce!").unwrap()),
        number: 7,
        generation: 40,
        floor: 1_800_000_000,
        clock: Some(1_800_000_009),
        roots: vec![Digest::of(b"root 2"), Digest::of(b"root 1")],
        bundle: Some(ReceiptBundle {
            line: "plant".to_owned(),
            number: 12,
            index: Digest::of(b"index"),
        }),
        services: vec![service("pump"), service("door")],
        refusals: vec![ReceiptRefusal {
            at: 1_800_000_001,
            service: "pump".to_owned(),
            code: "rollback".to_owned(),
            why: "3 is older than 4".to_owned(),
        }],
        lists: vec![(Digest::of(b"issuer"), [9; 20])],
        versions: vec![(Digest::of(b"root 1"), component("acme:pump"), 4)],
        minimums: vec![Minimum {
            name: component("acme:pump"),
            security_version: 2,
        }],
        log: Some("gw-7/records\n9\nroot\n\nsigned\n".to_owned()),
    }
}

fn least() -> ReceiptFields {
    ReceiptFields {
        nonce: None,
        clock: None,
        roots: Vec::new(),
        bundle: None,
        services: Vec::new(),
        refusals: Vec::new(),
        lists: Vec::new(),
        versions: Vec::new(),
        minimums: Vec::new(),
        log: None,
        ..full()
    }
}

fn evidence(nonce: EvidenceNonce) -> Vec<u8> {
    let claims = EvidenceClaims::new(
        EvidenceKind::Software,
        nonce,
        DeviceIdentity::parse("gw-7").unwrap(),
        BootId::new([7; 16]),
        RuntimeClaim::new("countersign-gateway", "1.0.0", None).unwrap(),
    );
    let proof = EvidenceProof::Software(SoftwareProof {
        algorithm: Algorithm::Ed25519,
        signature: [9; 64],
    });
    EvidenceDocument::new(claims, vec![b"leaf".to_vec()], proof)
        .unwrap()
        .encode()
}

fn receipt(fields: ReceiptFields) -> Receipt {
    let body = ReceiptBody::new(fields).unwrap();
    let answered = evidence(receipt_nonce(&body).unwrap());
    Receipt::new(body, answered).unwrap()
}

#[test]
fn a_receipt_has_one_encoding_and_nothing_of_it_can_be_changed() {
    for fields in [full(), least()] {
        let receipt = receipt(fields);
        let bytes = receipt.encode();
        assert_eq!(Receipt::decode(&bytes).unwrap(), receipt);
        for cut in 0..bytes.len() {
            assert!(Receipt::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        assert!(Receipt::decode(&[&bytes[..], b"\0"].concat()).is_err());
        // The signature is not looked at here; every byte in front of the attestation is bound by its nonce.
        let body = bytes.len() - receipt.evidence().len();
        for at in 0..body {
            let mut bent = bytes.clone();
            bent[at] ^= 1;
            assert!(Receipt::decode(&bent).is_err(), "byte {at}");
        }
    }
}

#[test]
fn lists_are_sorted_and_name_nothing_twice() {
    let receipt = receipt(full());
    let fields = receipt.body().fields();
    let names: Vec<_> = fields.services.iter().map(|one| &one.name).collect();
    assert_eq!(names, ["door", "pump"]);
    assert!(fields.roots.is_sorted());
    // The same services in the other order are another encoding.
    let mut swapped = receipt.body().clone();
    swapped.fields.services.reverse();
    let bytes = swapped.encode();
    assert!(matches!(
        ReceiptBody::decode(&bytes),
        Err(FormatError::Noncanonical { .. })
    ));
    let twice: [fn(&mut ReceiptFields); 5] = [
        |fields| fields.services.push(service("pump")),
        |fields| fields.roots.push(Digest::of(b"root 1")),
        |fields| fields.lists.push((Digest::of(b"issuer"), [1; 20])),
        |fields| {
            let root = Digest::of(b"root 1");
            fields.versions.push((root, component("acme:pump"), 9));
        },
        |fields| {
            let name = component("acme:pump");
            fields.minimums.push(Minimum {
                name,
                security_version: 9,
            });
        },
    ];
    for change in twice {
        let mut fields = full();
        change(&mut fields);
        assert!(matches!(
            ReceiptBody::new(fields),
            Err(FormatError::Malformed { .. })
        ));
    }
}

#[test]
fn every_limit_holds() {
    let long = |bytes| "x".repeat(bytes);
    let beyond: [&dyn Fn(&mut ReceiptFields); 9] = [
        &|fields| fields.log = Some(long(4_097)),
        &|fields| fields.floor = u64::MAX,
        &|fields| fields.clock = Some(u64::MAX),
        &|fields| fields.services[0].name = long(65),
        &|fields| fields.services[0].refused = Some(long(513)),
        &|fields| fields.refusals[0].why = long(513),
        &|fields| fields.refusals = vec![fields.refusals[0].clone(); 65],
        &|fields| fields.roots = (0..17).map(|n: u8| Digest::of(&[n])).collect(),
        &|fields| {
            fields.services = (0..1_025).map(|n| service(&n.to_string())).collect();
        },
    ];
    for (number, change) in beyond.iter().enumerate() {
        let mut fields = full();
        change(&mut fields);
        assert!(
            matches!(
                ReceiptBody::new(fields),
                Err(FormatError::LimitExceeded { .. })
            ),
            "{number}"
        );
    }
    let empty: [fn(&mut ReceiptFields); 3] = [
        |fields| fields.number = 0,
        |fields| fields.bundle.as_mut().unwrap().number = 0,
        |fields| {
            let component = fields.services[0].component.as_mut();
            component.unwrap().signers.clear();
        },
    ];
    for change in empty {
        let mut fields = full();
        change(&mut fields);
        assert!(ReceiptBody::new(fields).is_err());
    }
    // A gateway as large as there may be fits.
    let mut fields = full();
    fields.services = (0..1_000).map(|n| service(&n.to_string())).collect();
    fields.versions = (0..4_000)
        .map(|n| (Digest::of(b"root"), component(&format!("acme:c{n}")), n))
        .collect();
    assert!(receipt(fields).encode().len() < 1_000_000);
}

#[test]
fn an_attestation_of_another_body_is_none_of_this_one() {
    let one = ReceiptBody::new(full()).unwrap();
    let other = ReceiptBody::new(ReceiptFields {
        number: 8,
        ..full()
    })
    .unwrap();
    let answered = evidence(receipt_nonce(&other).unwrap());
    assert!(Receipt::new(one, answered).is_err());
    // What an attestation is, a receipt is not, and the other way round.
    let alone = evidence(EvidenceNonce::new(b"a nonce!").unwrap());
    assert!(Receipt::decode(&alone).is_err());
    assert!(EvidenceDocument::decode(&receipt(full()).encode()).is_err());
}
