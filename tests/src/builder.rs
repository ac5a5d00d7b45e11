//! A PKI that is right but for what a test changes.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use countersign_backend_file::FileKey;
use countersign_format::{
    AttestationHardware, Audience, DeviceIdentity, DeviceMetadata, NamePattern, Scope, oid,
};
use countersign_keys::{Algorithm, Signer as _};
use countersign_provisioning::{
    CaName, DEVELOPMENT_ROOT_DAYS, DeviceName, EndEntity, Intermediate, Issued, Issuer, Profile,
    Reason, Revocation, RevocationList, Root, Serial, Validity,
};
use countersign_trust_store::UnixTime;
use der::Encode;
use der::asn1::ObjectIdentifier;
use der::flagset::FlagSet;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages};

use crate::parts::{CertificateParts, CrlParts};
use crate::pki::{Holder, TestPki};
use crate::random::Random;

/// One of the certificates of a [`TestPki`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The self-signed root.
    Root,
    /// The authority that issues to the device; with [`TestPkiBuilder::extra_intermediates`], the lowest one.
    Intermediate,
    /// The device that signs components.
    Leaf,
}

type BendCertificate = Box<dyn FnOnce(&mut CertificateParts)>;
type BendCrl = Box<dyn FnOnce(&mut CrlParts)>;

/// Makes a [`TestPki`]. What is not said is right: valid for a year around now, P-256, scope `test:*`, lists in force.
///
/// A change is made to a finished certificate, which is then signed again by its issuer, so it may be one that the
/// issuing core refuses to make. The certificates around it stay as they are.
#[must_use]
pub struct TestPkiBuilder {
    now: UnixTime,
    random: RefCell<Random>,
    algorithm: Algorithm,
    profile: Profile,
    hardware: Option<AttestationHardware>,
    device_id: String,
    device_type: String,
    scope: Vec<String>,
    audience: Audience,
    development: bool,
    no_rev_avail: bool,
    extra_intermediates: u8,
    revoked: BTreeSet<Role>,
    without_crl: BTreeSet<Role>,
    crl_number: u64,
    bends: Vec<(Role, BendCertificate)>,
    crl_bends: Vec<(Role, BendCrl)>,
}

impl Default for TestPkiBuilder {
    fn default() -> Self {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("the clock is after 1970");
        Self {
            now: UnixTime::from_secs(since.as_secs()),
            random: RefCell::new(Random::System),
            algorithm: Algorithm::Esp256,
            profile: Profile::ComponentSigner,
            hardware: None,
            device_id: "test-device".to_owned(),
            device_type: "test".to_owned(),
            scope: vec!["test:*".to_owned()],
            audience: Audience::default(),
            development: false,
            no_rev_avail: false,
            extra_intermediates: 0,
            revoked: BTreeSet::new(),
            without_crl: BTreeSet::new(),
            crl_number: 1,
            bends: Vec::new(),
            crl_bends: Vec::new(),
        }
    }
}

impl TestPkiBuilder {
    /// The present, around which everything is valid; the clock's time if not said.
    pub fn now(mut self, now: UnixTime) -> Self {
        self.now = now;
        self
    }

    /// Makes every key and serial number from `seed`: with [`TestPkiBuilder::now`], the same PKI each time.
    pub fn seed(mut self, seed: u64) -> Self {
        self.random = RefCell::new(Random::Seeded { seed, counter: 0 });
        self
    }

    /// The algorithm of every key.
    pub fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// The profile of the device's certificate. Other profiles than the component signer's have no scope.
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// The kind of hardware that the certificate of an attestation key names; none if not said.
    pub fn hardware(mut self, hardware: AttestationHardware) -> Self {
        self.hardware = Some(hardware);
        self
    }

    /// The device's identity.
    pub fn device_id(mut self, id: &str) -> Self {
        id.clone_into(&mut self.device_id);
        self
    }

    /// The device's type.
    pub fn device_type(mut self, device_type: &str) -> Self {
        device_type.clone_into(&mut self.device_type);
        self
    }

    /// The component names that the device may sign.
    pub fn scope(mut self, patterns: &[&str]) -> Self {
        self.scope = patterns
            .iter()
            .map(|pattern| (*pattern).to_owned())
            .collect();
        self
    }

    /// The audience in the device's scope.
    pub fn scope_audience(mut self, audience: Audience) -> Self {
        self.audience = audience;
        self
    }

    /// The component names that the intermediate's signers may sign. The device's own scope need not lie within.
    pub fn intermediate_scope(self, patterns: &[&str]) -> Self {
        let patterns: Vec<String> = patterns
            .iter()
            .map(|pattern| (*pattern).to_owned())
            .collect();
        let value = scope(&patterns, Audience::default())
            .to_der()
            .expect("a scope encodes");
        self.with_extension(Role::Intermediate, oid::COMPONENT_SCOPE, false, &value)
    }

    /// A device without a scope of its own.
    pub fn without_scope(self) -> Self {
        self.without_extension(Role::Leaf, oid::COMPONENT_SCOPE)
    }

    /// A root that is marked as one for development and lives 31 days, and so does everything below it.
    pub fn development(mut self) -> Self {
        self.development = true;
        self
    }

    /// A device certificate that says noRevAvail.
    pub fn no_rev_avail(mut self) -> Self {
        self.no_rev_avail = true;
        self
    }

    /// So many authorities more between the root and the issuing one; the root's path length allows them.
    pub fn extra_intermediates(mut self, count: u8) -> Self {
        self.extra_intermediates = count;
        self
    }

    /// From when until when a certificate is valid, in seconds from now, both included.
    pub fn valid(self, role: Role, from: i64, until: i64) -> Self {
        let (from, until) = (self.relative(from), self.relative(until));
        self.bend(role, move |parts| parts.set_validity(from, until))
    }

    /// Replaces the key usage.
    pub fn key_usage(self, role: Role, usage: impl Into<FlagSet<KeyUsages>>) -> Self {
        let value = KeyUsage(usage.into()).to_der().expect("key usage encodes");
        self.with_extension(
            role,
            ObjectIdentifier::new_unwrap("2.5.29.15"),
            true,
            &value,
        )
    }

    /// Replaces or adds the extended key usage.
    pub fn extended_key_usage(self, role: Role, usages: &[ObjectIdentifier]) -> Self {
        let value = ExtendedKeyUsage(usages.to_vec())
            .to_der()
            .expect("extended key usage encodes");
        self.with_extension(
            role,
            ObjectIdentifier::new_unwrap("2.5.29.37"),
            false,
            &value,
        )
    }

    /// Replaces or adds basicConstraints.
    pub fn basic_constraints(self, role: Role, ca: bool, path_length: Option<u8>) -> Self {
        let constraints = BasicConstraints {
            ca,
            path_len_constraint: path_length,
        };
        let value = constraints.to_der().expect("basicConstraints encodes");
        self.with_extension(
            role,
            ObjectIdentifier::new_unwrap("2.5.29.19"),
            true,
            &value,
        )
    }

    /// Replaces or adds any extension; `value` is the DER inside its OCTET STRING.
    pub fn with_extension(
        self,
        role: Role,
        id: ObjectIdentifier,
        critical: bool,
        value: &[u8],
    ) -> Self {
        let value = value.to_vec();
        self.bend(role, move |parts| parts.set_extension(id, critical, &value))
    }

    /// Leaves out an extension.
    pub fn without_extension(self, role: Role, id: ObjectIdentifier) -> Self {
        self.bend(role, move |parts| parts.remove_extension(id))
    }

    /// Changes a certificate in any way before its issuer signs it.
    pub fn bend(
        mut self,
        role: Role,
        change: impl FnOnce(&mut CertificateParts) + 'static,
    ) -> Self {
        self.bends.push((role, Box::new(change)));
        self
    }

    /// Puts a certificate on its issuer's list. A root is on nobody's.
    ///
    /// # Panics
    /// For [`Role::Root`].
    pub fn revoke(mut self, role: Role) -> Self {
        assert!(role != Role::Root, "a root is on nobody's list");
        self.revoked.insert(role);
        self
    }

    /// No list of this issuer ([`Role::Root`] or [`Role::Intermediate`]).
    pub fn without_crl(mut self, issuer: Role) -> Self {
        self.without_crl.insert(issuer);
        self
    }

    /// The number of every list; 1 if not said.
    pub fn crl_number(mut self, number: u64) -> Self {
        self.crl_number = number;
        self
    }

    /// thisUpdate and nextUpdate of an issuer's list, in seconds from now.
    pub fn crl_valid(self, issuer: Role, from: i64, until: i64) -> Self {
        let (from, until) = (self.relative(from), self.relative(until));
        self.bend_crl(issuer, move |parts| parts.set_updates(from, until))
    }

    /// Changes an issuer's list in any way before it signs it.
    pub fn bend_crl(mut self, issuer: Role, change: impl FnOnce(&mut CrlParts) + 'static) -> Self {
        self.crl_bends.push((issuer, Box::new(change)));
        self
    }

    /// Makes the PKI.
    ///
    /// # Panics
    /// When a text is not one that its field may hold, or a change cannot be made.
    #[must_use]
    pub fn build(mut self) -> TestPki {
        let mut authorities = vec![self.root()];
        for number in (0..self.extra_intermediates).rev() {
            let name = format!("Test intermediate {}", number.saturating_add(1));
            let below = self.intermediate(last(&authorities), &name, number.saturating_add(1));
            authorities.push(below);
        }
        let lowest = self.intermediate(last(&authorities), "Test intermediate", 0);
        authorities.push(lowest);
        let leaf = self.leaf(last(&authorities));

        let lowest = authorities.len().saturating_sub(1);
        let role_of = |index: usize| match index {
            0 => Some(Role::Root),
            index if index == lowest => Some(Role::Intermediate),
            _ => None,
        };
        // Each authority says which of its children are revoked: none, unless the test said so.
        let mut crls = Vec::new();
        for (index, authority) in authorities.iter().enumerate() {
            let child = index.saturating_add(1);
            let (child_role, child_serial) = match authorities.get(child) {
                Some(below) => (role_of(child), &below.serial),
                None => (Some(Role::Leaf), &leaf.serial),
            };
            let role = role_of(index);
            if role.is_some_and(|role| self.without_crl.contains(&role)) {
                continue;
            }
            let revoked = child_role
                .filter(|role| self.revoked.contains(role))
                .map(|_| child_serial.clone());
            let crl = self.crl(authority, revoked);
            crls.push(self.bent_crl(role, crl, authority));
        }

        // Changed last: what lies below an authority was issued by it as it was.
        let mut issuer = authorities
            .first()
            .map(|root| root.key.clone())
            .expect("there is a root");
        let mut chain = Vec::new();
        let mut finished = Vec::new();
        for (index, authority) in authorities.iter().enumerate() {
            finished.push(self.bent(role_of(index), &authority.certificate, &issuer));
            issuer = authority.key.clone();
        }
        chain.push(self.bent(Some(Role::Leaf), &leaf.certificate, &issuer));
        chain.extend(finished.iter().skip(1).rev().cloned());
        let root = finished.into_iter().next().expect("there is a root");
        let keys = authorities
            .into_iter()
            .map(|authority| authority.key)
            .collect();
        TestPki::assemble(self.now, root, chain, crls, leaf.key, keys)
    }

    fn root(&self) -> Made {
        let key = self.key();
        let root = Root {
            name: CaName::new("Test", "Test root", None).expect("a valid name"),
            validity: self.validity(),
            path_length: self.extra_intermediates.saturating_add(1),
            development: self.development,
        };
        let issued = Issuer::root(&key.signing_key(), &root, &mut *self.random.borrow_mut())
            .expect("the root is issued");
        Made::new(key, issued)
    }

    fn intermediate(&self, above: &Made, name: &str, path_length: u8) -> Made {
        let key = self.key();
        let intermediate = Intermediate {
            name: CaName::new("Test", name, None).expect("a valid name"),
            validity: self.validity(),
            path_length,
            scope: None,
        };
        let issuing_key = above.key.signing_key();
        let issued = Issuer::new(&issuing_key, &above.certificate)
            .and_then(|issuer| {
                issuer.intermediate(
                    key.public_key(),
                    &intermediate,
                    &mut *self.random.borrow_mut(),
                )
            })
            .expect("the intermediate is issued");
        Made::new(key, issued)
    }

    fn leaf(&self, above: &Made) -> Made {
        let key = self.key();
        let identity: DeviceIdentity = self.device_id.parse().expect("a valid device id");
        let scoped = self.profile.is_scoped();
        let request = EndEntity {
            name: DeviceName::new(identity),
            metadata: DeviceMetadata::default()
                .with_device_type(&self.device_type)
                .expect("a valid device type"),
            validity: self.validity(),
            scope: scoped.then(|| scope(&self.scope, self.audience.clone())),
            hardware: self.hardware,
            dns_names: Vec::new(),
            no_rev_avail: self.no_rev_avail,
        };
        let issuing_key = above.key.signing_key();
        let issued = Issuer::new(&issuing_key, &above.certificate)
            .and_then(|issuer| {
                issuer.end_entity(
                    self.profile,
                    key.public_key(),
                    &request,
                    &mut *self.random.borrow_mut(),
                )
            })
            .expect("the device's certificate is issued");
        Made::new(key, issued)
    }

    fn crl(&self, authority: &Made, revoked: Option<Serial>) -> Vec<u8> {
        let revoked: Vec<Revocation> = revoked
            .into_iter()
            .map(|serial| Revocation {
                serial,
                at: self.relative(-60),
                reason: Reason::KeyCompromise,
            })
            .collect();
        let list = RevocationList {
            number: self.crl_number,
            validity: Validity::new(self.relative(-60), self.relative(7 * DAY)).expect("a week"),
            revoked: &revoked,
        };
        let key = authority.key.signing_key();
        Issuer::new(&key, &authority.certificate)
            .and_then(|issuer| issuer.crl(&list))
            .expect("the list is made")
    }

    fn bent(&mut self, role: Option<Role>, certificate: &[u8], issuer: &Holder) -> Vec<u8> {
        let (now, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.bends)
            .into_iter()
            .partition(|(of, _)| Some(*of) == role);
        self.bends = later;
        if now.is_empty() {
            return certificate.to_vec();
        }
        let mut parts = CertificateParts::of(certificate);
        now.into_iter().for_each(|(_, change)| change(&mut parts));
        parts.sign(&issuer.signing_key())
    }

    fn bent_crl(&mut self, role: Option<Role>, crl: Vec<u8>, issuer: &Made) -> Vec<u8> {
        let (now, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.crl_bends)
            .into_iter()
            .partition(|(of, _)| Some(*of) == role);
        self.crl_bends = later;
        if now.is_empty() {
            return crl;
        }
        let mut parts = CrlParts::of(&crl);
        now.into_iter().for_each(|(_, change)| change(&mut parts));
        parts.sign(&issuer.key.signing_key())
    }

    fn key(&self) -> Holder {
        Holder::new(
            FileKey::generate(self.algorithm, &mut *self.random.borrow_mut())
                .expect("a key is made"),
        )
    }

    /// A day before now until a year after; 31 days in all for development.
    fn validity(&self) -> Validity {
        let days = if self.development {
            DEVELOPMENT_ROOT_DAYS
        } else {
            366
        };
        Validity::days(self.relative(-DAY), days).expect("a valid period")
    }

    fn relative(&self, seconds: i64) -> UnixTime {
        UnixTime::from_secs(self.now.as_secs().saturating_add_signed(seconds))
    }
}

const DAY: i64 = 86_400;

/// A certificate before it is changed, with its key.
struct Made {
    key: Holder,
    certificate: Vec<u8>,
    serial: Serial,
}

impl Made {
    fn new(key: Holder, issued: Issued) -> Self {
        Self {
            key,
            certificate: issued.certificate,
            serial: issued.serial,
        }
    }
}

fn last(authorities: &[Made]) -> &Made {
    authorities.last().expect("there is a root")
}

fn scope(patterns: &[String], audience: Audience) -> Scope {
    let components = patterns
        .iter()
        .map(|pattern| NamePattern::parse(pattern).expect("a valid pattern"))
        .collect();
    Scope::new(components, audience).expect("a valid scope")
}
