//! The finished PKI: what a test takes from it.

use std::sync::Arc;
use std::time::Duration;

use countersign_backend_file::{FileKey, SystemRandom};
use countersign_format::{
    Digest, Envelope, PrecompiledFile, PrecompiledSignature, PrecompiledStatement, SignerEntry,
    SignerId, Statement, StatementFields, precompiled_to_be_signed, signature_section,
    signer_to_be_signed,
};
use countersign_keys::{Algorithm, Error, PublicKey, Signer, SigningKey};
use countersign_provisioning::{Issuer, Reason, Revocation, RevocationList, Serial, Validity};
use countersign_signer::{CertifiedKey, Chain, Manifest, SignOptions, sign_file};
use countersign_trust_store::{AnchorSource, Anchors, Now, TrustState, UnixTime};
use der::Decode as _;
use x509_cert::Certificate;

use crate::builder::TestPkiBuilder;
use crate::issuer_key::IssuerKey;

/// A root, authorities below it, a device that signs components, and the authorities' revocation lists.
#[derive(Clone, Debug)]
pub struct TestPki {
    now: UnixTime,
    root: Vec<u8>,
    chain: Vec<Vec<u8>>,
    crls: Vec<Vec<u8>>,
    device_key: Holder,
    authority_keys: Vec<Holder>,
}

impl Default for TestPki {
    fn default() -> Self {
        Self::new()
    }
}

impl TestPki {
    /// A PKI with nothing wrong in it, valid around the present.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// For a PKI with one thing wrong.
    pub fn builder() -> TestPkiBuilder {
        TestPkiBuilder::default()
    }

    pub(crate) fn assemble(
        now: UnixTime,
        root: Vec<u8>,
        chain: Vec<Vec<u8>>,
        crls: Vec<Vec<u8>>,
        device_key: Holder,
        authority_keys: Vec<Holder>,
    ) -> Self {
        Self {
            now,
            root,
            chain,
            crls,
            device_key,
            authority_keys,
        }
    }

    /// The present that everything was made around.
    #[must_use]
    pub fn now(&self) -> Now {
        Now::at(self.now)
    }

    /// The same as a time.
    #[must_use]
    pub fn time(&self) -> UnixTime {
        self.now
    }

    /// The root's certificate, DER.
    #[must_use]
    pub fn root(&self) -> &[u8] {
        &self.root
    }

    /// The device's certificate and those above it without the root, DER, leaf first.
    #[must_use]
    pub fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }

    /// The revocation lists, DER, the root's first.
    #[must_use]
    pub fn crls(&self) -> &[Vec<u8>] {
        &self.crls
    }

    /// The device's key.
    #[must_use]
    pub fn device_key(&self) -> SigningKey {
        self.device_key.signing_key()
    }

    /// The keys of the authorities, the root's first.
    #[must_use]
    pub fn authority_keys(&self) -> Vec<SigningKey> {
        self.authority_keys
            .iter()
            .map(Holder::signing_key)
            .collect()
    }

    pub(crate) fn issuer_keys(&self) -> Vec<IssuerKey> {
        self.authority_keys.iter().map(IssuerKey::ours).collect()
    }

    pub(crate) fn issuer_device_key(&self) -> IssuerKey {
        IssuerKey::ours(&self.device_key)
    }

    pub(crate) fn replace(&mut self, root: Vec<u8>, chain: Vec<Vec<u8>>, crls: Vec<Vec<u8>>) {
        self.root = root;
        self.chain = chain;
        self.crls = crls;
    }

    pub(crate) fn stored_device_key(&self) -> &FileKey {
        &self.device_key.0
    }

    /// The device's key with its chain, for the signer's own functions.
    ///
    /// # Panics
    /// When the signer refuses the chain; see [`TestPki::forge`] for chains that no signer sends.
    #[must_use]
    pub fn certified_key(&self) -> CertifiedKey {
        let chain = Chain::from_der(self.chain.clone()).expect("the signer accepts the chain");
        CertifiedKey::new(self.device_key(), chain).expect("the chain is the key's")
    }

    /// The root as a host is given it, with the revocation lists.
    #[must_use]
    pub fn anchor_source(&self) -> AnchorSource {
        AnchorSource {
            crls: self.crls.clone(),
            ..AnchorSource::new(self.root.clone())
        }
    }

    /// The root, trusted for components, with the revocation lists.
    ///
    /// # Panics
    /// When the root is one that no host accepts; [`TestPki::anchor_source`] has it unchecked.
    #[must_use]
    pub fn anchors(&self) -> Anchors {
        Anchors::new(vec![self.anchor_source()]).expect("the root is accepted")
    }

    /// The state of a host that remembers nothing. The lists are with the root.
    #[must_use]
    pub fn state(&self) -> TrustState {
        TrustState::stateless()
    }

    /// A newer list of the device's issuer, DER, on which the device stands, and with this number.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn crl_against_device(&self, number: u64) -> Vec<u8> {
        let key = self.authority_keys().pop().expect("the issuer's key");
        let issuer = Issuer::new(&key, &self.chain()[1]).expect("the issuer");
        let leaf = Certificate::from_der(&self.chain()[0]).expect("the device's certificate");
        let serial = Serial::from_certificate(leaf.tbs_certificate().serial_number())
            .expect("a serial number");
        let at = self.time();
        let hour = at.saturating_add(Duration::from_secs(3600));
        issuer
            .crl(&RevocationList {
                number,
                validity: Validity::new(at, hour).expect("an hour"),
                revoked: &[Revocation {
                    serial,
                    at,
                    reason: Reason::KeyCompromise,
                }],
            })
            .expect("a list")
    }

    /// A manifest for a component of this name, version 1.0.0, that asks for nothing.
    ///
    /// # Panics
    /// When it is not a component name.
    #[must_use]
    pub fn manifest(&self, name: &str) -> Manifest {
        Manifest::new(
            name.parse().expect("a component name"),
            semver::Version::new(1, 0, 0),
        )
    }

    /// Signs a component as `countersign sign` does.
    ///
    /// # Panics
    /// When the signer refuses; [`TestPki::forge`] does not.
    #[must_use]
    pub fn sign(&self, component: &[u8], manifest: &Manifest) -> Vec<u8> {
        sign_by(&[self], component, manifest)
    }

    /// Signs a component with the devices of several PKIs.
    ///
    /// # Panics
    /// When the signer refuses.
    #[must_use]
    pub fn sign_together(
        &self,
        others: &[&Self],
        component: &[u8],
        manifest: &Manifest,
    ) -> Vec<u8> {
        let mut all = vec![self];
        all.extend(others);
        sign_by(&all, component, manifest)
    }

    /// Signs compiled code, as who is trusted with it does.
    ///
    /// # Panics
    /// When the chain cannot be encoded.
    #[must_use]
    pub fn sign_code(&self, statement: &PrecompiledStatement, code: &[u8]) -> Vec<u8> {
        let key = self.device_key();
        let (algorithm, chain) = (key.algorithm(), self.chain.clone());
        let message = precompiled_to_be_signed(algorithm, &chain, statement);
        let signature = key.sign(&message).expect("a key in memory signs");
        let signed =
            PrecompiledSignature::new(algorithm, chain, statement.clone(), *signature.as_bytes());
        PrecompiledFile::write(&signed.expect("the signature is well formed"), code)
    }

    /// The parts of the statement that [`TestPki::sign`] would sign, documents aside, for [`TestPki::forge`].
    #[must_use]
    pub fn statement(&self, component: &[u8], manifest: &Manifest) -> StatementFields {
        StatementFields {
            component_digest: Digest::of(component),
            component_size: component.len().try_into().unwrap_or(u64::MAX),
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            security_version: manifest.security_version,
            signers: vec![self.signer_id()],
            audience: manifest.audience.clone(),
            grants: manifest.grants.clone(),
            limits: manifest.limits,
            documents: Vec::new(),
            issued_at: None,
        }
    }

    /// How a statement names this PKI's device with its chain.
    #[must_use]
    pub fn signer_id(&self) -> SignerId {
        let key = self.device_key.public_key();
        SignerId::of(key.algorithm(), key.spki_sha256(), &self.chain)
    }

    /// Signs any statement with any chain and appends it to any bytes: nothing is checked that the format itself does
    /// not demand. The signature is the device's and good.
    ///
    /// # Panics
    /// When the statement or the chain cannot be encoded at all.
    #[must_use]
    pub fn forge(&self, component: &[u8], fields: StatementFields) -> Vec<u8> {
        self.try_forge(component, fields)
            .expect("the statement and the envelope are well formed")
    }

    /// The same, or nothing where the format has no room for the chain.
    pub(crate) fn try_forge(&self, component: &[u8], fields: StatementFields) -> Option<Vec<u8>> {
        let statement = Statement::new(fields).ok()?.encode();
        let entry = self.try_forge_entry(&statement)?;
        let payload = Envelope::new(statement, vec![entry]).ok()?.encode();
        let mut file = component.to_vec();
        file.extend(signature_section(&payload).ok()?);
        Some(file)
    }

    /// This device's signature over an encoded statement, as the envelope holds it.
    ///
    /// # Panics
    /// When the chain cannot be encoded.
    #[must_use]
    pub fn forge_entry(&self, statement: &[u8]) -> SignerEntry {
        self.try_forge_entry(statement)
            .expect("the entry is well formed")
    }

    fn try_forge_entry(&self, statement: &[u8]) -> Option<SignerEntry> {
        let key = self.device_key();
        let algorithm = key.algorithm();
        let message = signer_to_be_signed(statement, algorithm, &self.chain);
        let signature = key.sign(&message).expect("a key in memory signs");
        SignerEntry::new(algorithm, self.chain.clone(), *signature.as_bytes()).ok()
    }
}

/// A new key in memory, for whatever a test needs one.
///
/// # Panics
/// When the system has no random numbers.
#[must_use]
pub fn throwaway_key(algorithm: Algorithm) -> SigningKey {
    let key = FileKey::generate(algorithm, &mut SystemRandom).expect("a key is made");
    SigningKey::new(key)
}

fn sign_by(signers: &[&TestPki], component: &[u8], manifest: &Manifest) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder for the component");
    let input = folder.path().join("component.wasm");
    let output = folder.path().join("component.signed.wasm");
    std::fs::write(&input, component).expect("the component is written");
    let keys: Vec<CertifiedKey> = signers.iter().map(|pki| pki.certified_key()).collect();
    sign_file(&input, &output, manifest, &keys, &SignOptions::default())
        .expect("the component is signed");
    std::fs::read(&output).expect("the signed file is read")
}

/// A key that several signing keys share, because a test needs it more than once.
#[derive(Clone, Debug)]
pub(crate) struct Holder(Arc<FileKey>);

impl Holder {
    pub(crate) fn new(key: FileKey) -> Self {
        Self(Arc::new(key))
    }

    pub(crate) fn signing_key(&self) -> SigningKey {
        SigningKey::new(self.clone())
    }
}

impl Signer for Holder {
    fn public_key(&self) -> &PublicKey {
        self.0.public_key()
    }

    fn sign_unchecked(&self, message: &[u8]) -> Result<[u8; 64], Error> {
        self.0.sign_unchecked(message)
    }

    fn is_computed_here(&self) -> bool {
        self.0.is_computed_here()
    }
}

#[cfg(test)]
mod tests {
    use countersign_trust_store::{
        Code, Policy, Rejection, UnverifiedComponent, VerifiedComponent,
    };

    use super::*;
    use crate::{EMPTY_COMPONENT, Role};

    fn verify(pki: &TestPki) -> Result<VerifiedComponent, Rejection> {
        let manifest = pki.manifest("test:guest");
        let signed = pki.forge(EMPTY_COMPONENT, pki.statement(EMPTY_COMPONENT, &manifest));
        let component = UnverifiedComponent::parse(signed)?;
        pki.anchors()
            .verify(component, &Policy::default(), &pki.now(), &pki.state())
    }

    fn code(builder: TestPkiBuilder) -> Code {
        verify(&builder.build())
            .expect_err("something is wrong")
            .code()
    }

    #[test]
    fn nothing_is_wrong_unless_told() {
        for algorithm in [Algorithm::Esp256, Algorithm::Ed25519] {
            for extra in 0..=1 {
                let pki = TestPki::builder()
                    .algorithm(algorithm)
                    .extra_intermediates(extra)
                    .build();
                verify(&pki)
                    .unwrap_or_else(|rejection| panic!("{algorithm:?}, {extra}: {rejection}"));
                assert_eq!(pki.chain().len(), usize::from(extra) + 2);
            }
        }
        verify(&TestPki::builder().development().build())
            .expect("a development root is accepted by this verifier");
    }

    #[test]
    fn forging_without_a_change_is_signing() {
        let pki = TestPki::builder().algorithm(Algorithm::Ed25519).build();
        let manifest = pki.manifest("test:guest");
        // Ed25519 is deterministic, so the same statement gives the same file.
        assert_eq!(
            pki.sign(EMPTY_COMPONENT, &manifest),
            pki.forge(EMPTY_COMPONENT, pki.statement(EMPTY_COMPONENT, &manifest))
        );
    }

    #[test]
    fn each_change_is_refused_for_its_own_reason() {
        let builder = TestPki::builder;
        assert_eq!(code(builder().valid(Role::Leaf, -100, -1)), Code::Expired);
        assert_eq!(
            code(builder().valid(Role::Intermediate, -100, -1)),
            Code::Expired
        );
        assert_eq!(code(builder().valid(Role::Leaf, 1, 100)), Code::NotYetValid);
        assert_eq!(code(builder().revoke(Role::Leaf)), Code::Revoked);
        assert_eq!(code(builder().revoke(Role::Intermediate)), Code::Revoked);
        assert_eq!(
            code(builder().without_crl(Role::Root)),
            Code::RevocationUnknown
        );
        assert_eq!(
            code(builder().without_crl(Role::Intermediate)),
            Code::RevocationUnknown
        );
        assert_eq!(
            code(builder().crl_valid(Role::Intermediate, -100, -1)),
            Code::CrlStale
        );
        assert_eq!(
            code(builder().extended_key_usage(Role::Leaf, &[])),
            Code::ExtendedKeyUsage
        );
        assert_eq!(
            code(builder().basic_constraints(Role::Intermediate, false, None)),
            Code::NotACa
        );
        assert_eq!(code(builder().without_scope()), Code::SignerNotAuthorised);
        assert_eq!(
            code(builder().scope(&["other:*"])),
            Code::SignerNotAuthorised
        );
        assert_eq!(
            code(builder().intermediate_scope(&["other:*"])),
            Code::SignerNotAuthorised
        );
    }

    #[test]
    fn no_rev_avail_needs_no_list() {
        verify(
            &TestPki::builder()
                .no_rev_avail()
                .without_crl(Role::Intermediate)
                .build(),
        )
        .expect("RFC 9608");
    }
}
