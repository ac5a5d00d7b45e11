//! The file that every attack starts from, and the PKI around it: a root, two authorities, a device.

use countersign_format::{
    DeviceIdentity, DeviceMetadata, Digest, Envelope, NamePattern, Scope, SignerEntry, SignerId,
    Statement, StatementFields, signer_to_be_signed,
};
use countersign_keys::{Algorithm, PublicKey, SigningKey};
use countersign_provisioning::{DeviceName, EndEntity, Issuer, Profile, Validity};
use countersign_testing::{CertificateParts, CrlParts, SystemRandom, TestPki, throwaway_key};
use countersign_trust_store::UnixTime;

use crate::wasm;

/// The name of the component; within the scope of every device here.
pub(crate) const COMPONENT: &str = "test:hello";

/// The device that signs the good file.
pub(crate) const DEVICE: &str = "test-device";

/// Places in the good chain.
pub(crate) const LEAF: usize = 0;
pub(crate) const LOWER: usize = 1;
pub(crate) const UPPER: usize = 2;

/// Places among the good revocation lists.
pub(crate) const LIST_OF_ROOT: usize = 0;
pub(crate) const LIST_OF_LOWER: usize = 2;

pub(crate) const DAY: i64 = 24 * 60 * 60;

/// What is right.
pub(crate) struct Good {
    pub(crate) pki: TestPki,
    component: Vec<u8>,
}

/// A key with the chain that is sent for it.
pub(crate) struct Device {
    pub(crate) key: SigningKey,
    pub(crate) chain: Vec<Vec<u8>>,
}

impl Good {
    /// A PKI of its own for this component.
    pub(crate) fn new(component: Vec<u8>) -> Self {
        let pki = TestPki::builder()
            .extra_intermediates(1)
            .device_id(DEVICE)
            .build();
        assert_eq!(pki.chain().len(), 3, "leaf, lower and upper");
        Self { pki, component }
    }

    /// The component as its compiler wrote it.
    pub(crate) fn component(&self) -> Vec<u8> {
        self.component.clone()
    }

    /// The signed file.
    pub(crate) fn file(&self) -> Vec<u8> {
        self.sign(&self.device())
    }

    /// The signature section of the signed file.
    pub(crate) fn section(&self) -> Vec<u8> {
        self.file().split_off(self.component.len())
    }

    /// The device that signs it.
    pub(crate) fn device(&self) -> Device {
        self.device_with(self.pki.chain().to_vec())
    }

    /// The device with another chain.
    pub(crate) fn device_with(&self, chain: Vec<Vec<u8>>) -> Device {
        Device {
            key: self.pki.device_key(),
            chain,
        }
    }

    /// The parts of the statement that this device signs.
    pub(crate) fn fields(&self, device: &Device) -> StatementFields {
        self.fields_for(device, &self.component)
    }

    /// The same for another component.
    pub(crate) fn fields_for(&self, device: &Device, component: &[u8]) -> StatementFields {
        let mut manifest = self.pki.manifest(COMPONENT);
        manifest.grants.stdio.stdout = true;
        let mut fields = self.pki.statement(component, &manifest);
        fields.signers = vec![device.id()];
        fields
    }

    /// The component, signed by this device.
    pub(crate) fn sign(&self, device: &Device) -> Vec<u8> {
        self.sign_fields(device, self.fields(device))
    }

    /// The component with a statement that says something else, signed by this device.
    pub(crate) fn sign_fields(&self, device: &Device, fields: StatementFields) -> Vec<u8> {
        self.sign_statement(&[device], &encode(fields))
    }

    /// Other bytes in place of the component, signed by the good device.
    pub(crate) fn sign_component(&self, component: &[u8]) -> Vec<u8> {
        let device = self.device();
        let statement = encode(self.fields_for(&device, component));
        let payload = seal(&statement, vec![device.entry(&statement)]);
        [component, &wasm::custom(wasm::NAME, &payload)].concat()
    }

    /// The component with any bytes for a statement, signed by these devices in this order.
    pub(crate) fn sign_statement(&self, devices: &[&Device], statement: &[u8]) -> Vec<u8> {
        let entries = devices.iter().map(|device| device.entry(statement));
        self.enclose(&seal(statement, entries.collect()))
    }

    /// The component with any payload in its signature section.
    pub(crate) fn enclose(&self, payload: &[u8]) -> Vec<u8> {
        [
            self.component.as_slice(),
            &wasm::custom(wasm::NAME, payload),
        ]
        .concat()
    }

    /// The key that issued the certificate at this place of the chain.
    pub(crate) fn issuer_key(&self, place: usize) -> SigningKey {
        self.pki.authority_keys().swap_remove(UPPER - place)
    }

    /// The device with a chain in which one certificate was changed and signed again by its issuer.
    pub(crate) fn bent(&self, place: usize, change: impl Fn(&mut CertificateParts)) -> Device {
        let mut parts = CertificateParts::of(&self.pki.chain()[place]);
        change(&mut parts);
        self.replaced(place, parts.sign(&self.issuer_key(place)))
    }

    /// The device with a chain in which one certificate is another one.
    pub(crate) fn replaced(&self, place: usize, certificate: Vec<u8>) -> Device {
        let mut chain = self.pki.chain().to_vec();
        chain[place] = certificate;
        self.device_with(chain)
    }

    /// A device with another key: the good leaf's certificate, issued for this one.
    pub(crate) fn device_with_key(&self, key: SigningKey) -> Device {
        let spki = key.public_key().to_spki_der();
        let mut device = self.bent(LEAF, |parts| {
            parts.subject_public_key_info = crate::der::any(&spki);
        });
        device.key = key;
        device
    }

    /// A sound certificate from the lower authority.
    pub(crate) fn issue(&self, profile: Profile, id: &str, key: &PublicKey) -> Vec<u8> {
        let identity: DeviceIdentity = id.parse().expect("a device id");
        let pattern = NamePattern::parse("test:*").expect("a pattern");
        let scope = Scope::new(vec![pattern], countersign_format::Audience::default());
        let request = EndEntity {
            name: DeviceName::new(identity),
            metadata: DeviceMetadata::default(),
            validity: Validity::days(self.at(-DAY), 300).expect("a period"),
            scope: profile.is_scoped().then(|| scope.expect("a scope")),
            hardware: None,
            dns_names: Vec::new(),
            no_rev_avail: false,
        };
        let issuing_key = self.issuer_key(LEAF);
        Issuer::new(&issuing_key, &self.pki.chain()[LOWER])
            .and_then(|issuer| issuer.end_entity(profile, key, &request, &mut SystemRandom))
            .expect("a certificate")
            .certificate
    }

    /// Another device under the same authorities.
    pub(crate) fn other_device(&self, id: &str) -> Device {
        let key = throwaway_key(Algorithm::Esp256);
        let mut chain = self.pki.chain().to_vec();
        chain[LEAF] = self.issue(Profile::ComponentSigner, id, key.public_key());
        Device { key, chain }
    }

    /// The good revocation lists, one of them changed and signed again by its issuer.
    pub(crate) fn lists(&self, place: usize, change: impl Fn(&mut CrlParts)) -> Vec<Vec<u8>> {
        let mut lists = self.pki.crls().to_vec();
        let mut parts = CrlParts::of(&lists[place]);
        change(&mut parts);
        lists[place] = parts.sign(&self.pki.authority_keys()[place]);
        lists
    }

    /// A time, in seconds from now.
    pub(crate) fn at(&self, seconds: i64) -> UnixTime {
        UnixTime::from_secs(self.pki.time().as_secs().saturating_add_signed(seconds))
    }
}

impl Device {
    /// How a statement names it.
    pub(crate) fn id(&self) -> SignerId {
        let key = self.key.public_key();
        SignerId::of(key.algorithm(), key.spki_sha256(), &self.chain)
    }

    /// Its signature over any bytes for a statement.
    pub(crate) fn entry(&self, statement: &[u8]) -> SignerEntry {
        let algorithm = self.key.algorithm();
        let message = signer_to_be_signed(statement, algorithm, &self.chain);
        let signature = self.key.sign(&message).expect("a key in memory signs");
        SignerEntry::new(algorithm, self.chain.clone(), *signature.as_bytes())
            .expect("at most three certificates")
    }
}

/// A statement with these parts.
pub(crate) fn encode(fields: StatementFields) -> Vec<u8> {
    Statement::new(fields).expect("a statement").encode()
}

/// An envelope around a statement.
pub(crate) fn seal(statement: &[u8], entries: Vec<SignerEntry>) -> Vec<u8> {
    Envelope::new(statement.to_vec(), entries)
        .expect("an envelope")
        .encode()
}

/// The digest of a component and its size, as a statement holds them.
pub(crate) fn name_component(fields: &mut StatementFields, component: &[u8]) {
    fields.component_digest = Digest::of(component);
    fields.component_size = component.len().try_into().expect("a size");
}

/// A PKI with the same names as the good one, and other keys.
pub(crate) fn stranger() -> TestPki {
    TestPki::builder()
        .extra_intermediates(1)
        .device_id(DEVICE)
        .build()
}
