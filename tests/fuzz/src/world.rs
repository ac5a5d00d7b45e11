//! The PKIs that every input is about, made from fixed seeds: the same certificates and signatures in every run.

use std::sync::LazyLock;

use countersign_format::StatementFields;
use countersign_keys::{Algorithm, SigningKey};
use countersign_testing::{Role, TestPki, TestPkiBuilder};
use countersign_trust_store::{AnchorSource, Anchors, PathProfile, TrustState, UnixTime};

use crate::der::{self, Body, Node};

/// The present of everything: 2027-01-15T08:00:00Z.
pub const NOW: u64 = 1_800_000_000;

/// The name of the good component; the device may sign `test:*`.
pub const NAME: &str = "test:guest";

/// The good component: a preamble, a custom section, and a section of another kind that nobody looks into.
pub const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0\x00\x06\x04nameA\x07\x03abc";

/// One PKI with a root, an intermediate and a device.
#[derive(Debug)]
pub struct World {
    /// The PKI.
    pub pki: TestPki,
    /// Its root, with its lists, as a host trusts it.
    pub anchors: Anchors,
    /// Its root, with the root's own list and none of the intermediate's.
    pub anchors_without_list: Anchors,
    /// The intermediate's list with the number 2, which names the device's certificate.
    pub revoking: Vec<u8>,
    /// Copies of the intermediate's list with the number 1, with signatures that are none.
    pub forged: Vec<Vec<u8>>,
    /// The keys: root's, intermediate's, device's.
    pub keys: [SigningKey; 3],
    /// What the device signed of [`COMPONENT`].
    pub fields: StatementFields,
    /// The good file.
    pub file: Vec<u8>,
}

static WORLDS: LazyLock<[World; 2]> = LazyLock::new(|| {
    [
        World::new(Algorithm::Esp256, 1),
        World::new(Algorithm::Ed25519, 2),
    ]
});

static FOREIGN: LazyLock<World> = LazyLock::new(|| World::new(Algorithm::Ed25519, 3));

/// One of the two: with P-256 everywhere, or, three times as often because it is faster, with Ed25519.
pub fn world(choice: u8) -> &'static World {
    &WORLDS[usize::from(choice & 3 != 0)]
}

/// A PKI of the same names whose root no host here trusts.
pub fn foreign() -> &'static World {
    &FOREIGN
}

impl World {
    fn new(algorithm: Algorithm, seed: u8) -> Self {
        let builder = || -> TestPkiBuilder {
            TestPki::builder()
                .now(UnixTime::from_secs(NOW))
                .algorithm(algorithm)
                .seed(seed.into())
        };
        let pki = builder().build();
        let revoked = builder().revoke(Role::Leaf).crl_number(2).build();
        assert_eq!(pki.chain(), revoked.chain(), "a seed repeats the chain");
        let [root_key, intermediate_key] = pki
            .authority_keys()
            .try_into()
            .expect("there are two authorities");
        let manifest = pki.manifest(NAME);
        let fields = pki.statement(COMPONENT, &manifest);
        let anchors_without_list = Anchors::new(vec![AnchorSource {
            crls: vec![pki.crls()[0].clone()],
            ..AnchorSource::new(pki.root().to_vec())
        }])
        .expect("the root is accepted");
        let mut state = TrustState::stateless();
        state.add_crl(&pki.crls()[1]).expect("a good list is read");
        anchors_without_list
            .verify_chain(pki.chain(), &PathProfile::COMPONENTS, &pki.now(), &state)
            .expect("the good chain is accepted");
        Self {
            anchors: pki.anchors(),
            anchors_without_list,
            revoking: revoked.crls()[1].clone(),
            forged: (0..12_u8)
                .map(|number| {
                    let wrong = pki.device_key().sign(&[number]);
                    let wrong = wrong.expect("a key in memory signs").to_x509();
                    with_signature(&pki.crls()[1], &wrong)
                })
                .collect(),
            keys: [root_key, intermediate_key, pki.device_key()],
            file: pki.forge(COMPONENT, fields.clone()),
            fields,
            pki,
        }
    }

    /// The device's certificate.
    pub fn leaf(&self) -> &[u8] {
        &self.pki.chain()[0]
    }

    /// The intermediate's certificate.
    pub fn intermediate(&self) -> &[u8] {
        &self.pki.chain()[1]
    }

    /// The intermediate's list with the number 1, which names nobody.
    pub fn list(&self) -> &[u8] {
        &self.pki.crls()[1]
    }

    /// Objects that changed ones may take parts from.
    pub fn donors(&self) -> [&[u8]; 6] {
        let other = foreign();
        [
            self.pki.root(),
            self.intermediate(),
            self.leaf(),
            &self.revoking,
            other.leaf(),
            other.intermediate(),
        ]
    }
}

/// Signs a changed certificate or list again: the third element becomes a good signature over the first. What is no
/// longer of three elements stays as it is.
pub fn sign_again(object: &[u8], key: &SigningKey) -> Vec<u8> {
    match der::parse_one(object).as_ref().map(Node::inside) {
        Some([signed, _, _]) => {
            let signature = key.sign(&signed.encode()).expect("a key in memory signs");
            with_signature(object, &signature.to_x509())
        }
        _ => object.to_vec(),
    }
}

/// Exchanges the signature of a certificate or list.
pub fn with_signature(object: &[u8], signature: &[u8]) -> Vec<u8> {
    let mut node = der::parse_one(object).expect("the object is DER");
    if let Body::Elements(_, parts) = &mut node.body
        && let Some(last) = parts.last_mut()
    {
        *last = Node::octets(0x03, &[&[0], signature].concat());
    }
    node.encode()
}
