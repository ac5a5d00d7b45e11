//! What the issuing core puts into certificates and lists, and what it refuses.

use countersign_format::{
    AttestationHardware, Audience, DeviceIdentity, DeviceMetadata, NamePattern, Scope, oid,
};
use countersign_keys::{Algorithm, SigningKey};
use countersign_provisioning::{
    CaName, CertificateRequest, DEVELOPMENT_ROOT_DAYS, DeviceName, EndEntity, Error, Intermediate,
    Issued, Issuer, NO_REV_AVAIL, Profile, Reason, Revocation, RevocationList, Root, Validity,
    says,
};
use countersign_testing::{SystemRandom, throwaway_key};
use countersign_trust_store::{Certificate, Crl, UnixTime};
use der::asn1::{Any, BitString, ObjectIdentifier, OctetString};
use der::{Decode, Encode};
use x509_cert::attr::Attributes;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName};
use x509_cert::request::{CertReq, CertReqInfo, ExtensionReq, Version};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);
const ALGORITHMS: [Algorithm; 2] = [Algorithm::Esp256, Algorithm::Ed25519];

fn days(days: u64) -> Validity {
    Validity::days(NOW, days).expect("a valid period")
}

fn root(path_length: u8) -> Root {
    Root {
        name: CaName::new("Acme", "Root", Some("DE")).expect("a name"),
        validity: days(3650),
        path_length,
        development: false,
    }
}

fn intermediate(name: &str, path_length: u8) -> Intermediate {
    Intermediate {
        name: CaName::new("Acme", name, None).expect("a name"),
        validity: days(1825),
        path_length,
        scope: None,
    }
}

fn scope(patterns: &[&str]) -> Scope {
    let patterns = patterns
        .iter()
        .map(|pattern| NamePattern::parse(pattern).expect("a pattern"))
        .collect();
    Scope::new(patterns, Audience::default()).expect("a scope")
}

fn device(profile: Profile) -> EndEntity {
    let identity: DeviceIdentity = "press-4".parse().expect("an id");
    EndEntity {
        name: DeviceName::new(identity)
            .with_organization("Acme")
            .expect("a name"),
        metadata: DeviceMetadata::default(),
        validity: days(365),
        scope: profile.is_scoped().then(|| scope(&["acme:*"])),
        hardware: None,
        dns_names: Vec::new(),
        no_rev_avail: false,
    }
}

/// An authority at work: key, certificate.
struct Authority {
    key: SigningKey,
    certificate: Vec<u8>,
}

impl Authority {
    fn root(algorithm: Algorithm, path_length: u8) -> Self {
        let key = throwaway_key(algorithm);
        let issued = Issuer::root(&key, &root(path_length), &mut SystemRandom).expect("issued");
        Self {
            key,
            certificate: issued.certificate,
        }
    }

    fn below(&self, algorithm: Algorithm, wanted: &Intermediate) -> Result<Self, Error> {
        let key = throwaway_key(algorithm);
        let issued = self
            .issuer()
            .intermediate(key.public_key(), wanted, &mut SystemRandom)?;
        Ok(Self {
            key,
            certificate: issued.certificate,
        })
    }

    fn issuer(&self) -> Issuer<'_> {
        Issuer::new(&self.key, &self.certificate).expect("an issuer")
    }

    fn issue(&self, profile: Profile, request: &EndEntity) -> Result<Issued, Error> {
        let key = throwaway_key(Algorithm::Esp256);
        self.issuer()
            .end_entity(profile, key.public_key(), request, &mut SystemRandom)
    }
}

fn parsed(der: &[u8]) -> x509_cert::Certificate {
    x509_cert::Certificate::from_der(der).expect("a certificate")
}

fn extension_ids(der: &[u8]) -> Vec<String> {
    let certificate = parsed(der);
    let extensions = certificate
        .tbs_certificate()
        .extensions()
        .expect("extensions");
    extensions
        .iter()
        .map(|extension| extension.extn_id.to_string())
        .collect()
}

#[test]
fn every_profile_is_what_hosts_expect_for_both_algorithms() {
    use countersign_trust_store::profile;
    let kinds = [
        (Profile::ComponentSigner, &profile::COMPONENT_SIGNER),
        (Profile::Tls, &profile::TLS),
        (Profile::GuestData, &profile::GUEST_DATA),
        (Profile::Attestation, &profile::ATTESTATION),
        (Profile::IDevId, &profile::IDEVID),
    ];
    for algorithm in ALGORITHMS {
        let authority = Authority::root(algorithm, 1)
            .below(algorithm, &intermediate("Devices", 0))
            .expect("an intermediate");
        for (profile, expected) in kinds {
            let issued = authority
                .issue(profile, &device(profile))
                .expect("a certificate");
            let certificate = Certificate::parse(&issued.certificate).expect("strict");
            expected
                .inspect(&certificate, None)
                .unwrap_or_else(|fault| panic!("{profile}: {fault}"));
            let identity = certificate.device().expect("readable").expect("a device");
            assert_eq!(identity.identity().as_str(), "press-4");
            // The other kinds do not take it: a key has one purpose.
            for (other, rules) in kinds {
                let accepted = rules.inspect(&certificate, None).is_ok();
                assert_eq!(accepted, other == profile, "{profile} as {other}");
            }
            assert!(
                issued.certificate.len() < 1024,
                "{profile}: {} bytes",
                issued.certificate.len()
            );
        }
    }
}

#[test]
fn extensions_have_the_values_that_were_asked_for() {
    let authority = Authority::root(Algorithm::Esp256, 1);
    let request = EndEntity {
        metadata: DeviceMetadata::default()
            .with_device_type("press")
            .and_then(|metadata| metadata.with_hardware_revision("B2"))
            .and_then(|metadata| metadata.with_firmware_version("1.4.0+7"))
            .and_then(|metadata| metadata.with_capabilities(&["modbus", "relay"]))
            .expect("metadata"),
        no_rev_avail: true,
        ..device(Profile::ComponentSigner)
    };
    let issued = authority
        .issue(Profile::ComponentSigner, &request)
        .expect("a certificate");
    let certificate = parsed(&issued.certificate);
    let value = |id: ObjectIdentifier| {
        let mut found = certificate
            .tbs_certificate()
            .extensions()
            .expect("extensions")
            .iter()
            .filter(move |extension| extension.extn_id == id);
        let extension = found.next().unwrap_or_else(|| panic!("{id} is there"));
        assert!(found.next().is_none() && !extension.critical, "{id}");
        extension.extn_value.as_bytes().to_vec()
    };
    let text = |id| countersign_format::text_from_der(&value(id)).expect("a text");
    assert_eq!(text(oid::DEVICE_TYPE), "press");
    assert_eq!(text(oid::HARDWARE_REVISION), "B2");
    assert_eq!(text(oid::FIRMWARE_VERSION), "1.4.0+7");
    assert_eq!(
        countersign_format::capabilities_from_der(&value(oid::CAPABILITIES)).expect("a list"),
        ["modbus", "relay"]
    );
    assert_eq!(
        Scope::from_der(&value(oid::COMPONENT_SCOPE)).expect("a scope"),
        scope(&["acme:*"])
    );
    // RFC 9608 §2: NULL.
    assert_eq!(value(NO_REV_AVAIL), [5, 0]);
    assert_eq!(
        certificate.tbs_certificate().subject().to_string(),
        "SERIALNUMBER=press-4,CN=press-4,O=Acme"
    );
}

#[test]
fn an_idevid_does_not_expire_and_outlives_its_issuer() {
    let authority = Authority::root(Algorithm::Esp256, 1);
    let issued = authority
        .issue(Profile::IDevId, &device(Profile::IDevId))
        .expect("a certificate");
    assert_eq!(issued.validity.not_after(), UnixTime::NO_EXPIRY);
    let certificate = parsed(&issued.certificate);
    let der = certificate
        .tbs_certificate()
        .validity()
        .to_der()
        .expect("encodes");
    assert!(der.ends_with(b"99991231235959Z"));

    // After its own end an authority makes none, also of a shape that was rehearsed before.
    let mut late = device(Profile::IDevId);
    let after = UnixTime::from_secs(authority.issuer().validity().not_after().as_secs() + 1);
    late.validity = Validity::days(after, 1).expect("a period");
    let issuer = authority.issuer();
    let public = throwaway_key(Algorithm::Esp256);
    let make = |request: &EndEntity| {
        let made = issuer.end_entity(
            Profile::IDevId,
            public.public_key(),
            request,
            &mut SystemRandom,
        );
        made.map(|_| ())
    };
    make(&device(Profile::IDevId)).expect("a certificate");
    assert!(matches!(
        make(&late),
        Err(Error::OutsideIssuerValidity { .. })
    ));
}

#[test]
fn host_names_are_for_tls_alone_and_without_wildcards() {
    let authority = Authority::root(Algorithm::Esp256, 1);
    let with = |profile, name: &str| {
        let request = EndEntity {
            dns_names: vec![name.to_owned()],
            ..device(profile)
        };
        authority.issue(profile, &request)
    };
    let issued = with(Profile::Tls, "press-4.plant.example").expect("a certificate");
    let (_, names) = parsed(&issued.certificate)
        .tbs_certificate()
        .get_extension::<SubjectAltName>()
        .expect("readable")
        .expect("there");
    assert_eq!(names.0.len(), 2, "the device and the host");
    for bad in [
        "*.example",
        "",
        "a..b",
        "-a",
        "a b",
        "Ex.example",
        "a\0b",
        &"a".repeat(64),
    ] {
        let error = with(Profile::Tls, bad).expect_err(bad);
        assert!(
            matches!(error, Error::NameInvalid { .. }),
            "{bad:?}: {error}"
        );
    }
    with(Profile::ComponentSigner, "press-4.example").expect_err("not for signers");
}

#[test]
fn tc06_path_lengths_count_downwards() {
    let algorithm = Algorithm::Esp256;
    let shallow = Authority::root(algorithm, 1);
    let first = shallow
        .below(algorithm, &intermediate("First", 0))
        .expect("one below");
    // An intermediate may not make another unless the root's profile says so.
    for (authority, length) in [(&first, 0), (&shallow, 1)] {
        let error = authority
            .below(algorithm, &intermediate("Second", length))
            .err()
            .expect("too deep");
        assert!(matches!(error, Error::IssuerUnfit { .. }), "{error}");
    }
    let deep = Authority::root(algorithm, 2);
    let upper = deep
        .below(algorithm, &intermediate("Upper", 1))
        .expect("a root that says so");
    upper
        .below(algorithm, &intermediate("Lower", 0))
        .expect("two below");
}

#[test]
fn nothing_outlives_its_issuer() {
    let authority = Authority::root(Algorithm::Esp256, 1);
    let end = days(3650).not_after().as_secs();
    let until = |end| EndEntity {
        validity: Validity::new(UnixTime::from_secs(end - 1000), UnixTime::from_secs(end))
            .expect("a period"),
        ..device(Profile::Tls)
    };
    authority
        .issue(Profile::Tls, &until(end))
        .expect("to the last second");
    let error = authority
        .issue(Profile::Tls, &until(end + 1))
        .expect_err("a second more");
    assert!(
        matches!(error, Error::OutsideIssuerValidity { .. }),
        "{error}"
    );
    let early = EndEntity {
        validity: Validity::days(UnixTime::from_secs(NOW.as_secs() - 1), 365).expect("a period"),
        ..device(Profile::Tls)
    };
    authority
        .issue(Profile::Tls, &early)
        .expect_err("a second before its issuer");
}

#[test]
fn tg06_a_hundred_years_are_refused() {
    let authority = Authority::root(Algorithm::Esp256, 1);
    for profile in [
        Profile::ComponentSigner,
        Profile::Tls,
        Profile::GuestData,
        Profile::Attestation,
    ] {
        let request = EndEntity {
            validity: days(3 * 366 + 1),
            ..device(profile)
        };
        let error = authority.issue(profile, &request).expect_err("too long");
        assert!(matches!(error, Error::ValidityTooLong { .. }), "{error}");
    }
}

#[test]
fn tc39_a_scope_is_demanded_and_stays_within_the_issuers() {
    let root = Authority::root(Algorithm::Esp256, 1);
    let bounded = root
        .below(
            Algorithm::Esp256,
            &Intermediate {
                scope: Some(scope(&["acme:*"])),
                ..intermediate("Bounded", 0)
            },
        )
        .expect("an intermediate");
    let signer = |scope| EndEntity {
        scope,
        ..device(Profile::ComponentSigner)
    };
    let issue =
        |authority: &Authority, scope| authority.issue(Profile::ComponentSigner, &signer(scope));
    assert!(matches!(issue(&root, None), Err(Error::Scope { .. })));
    issue(&bounded, None).expect("its issuer's scope bounds it");
    issue(&bounded, Some(scope(&["acme:pump"]))).expect("narrower");
    for wider in [&["other:*"][..], &["acme:*", "other:x"], &["acme-evil:*"]] {
        let error = issue(&bounded, Some(scope(wider))).expect_err("wider");
        assert!(matches!(error, Error::Scope { .. }), "{error}");
    }
    // Only a signer of components has one.
    let request = EndEntity {
        scope: Some(scope(&["acme:*"])),
        ..device(Profile::Tls)
    };
    assert!(matches!(
        root.issue(Profile::Tls, &request),
        Err(Error::Scope { .. })
    ));
}

#[test]
fn tc40_development_roots_are_marked_and_short() {
    let key = throwaway_key(Algorithm::Ed25519);
    let make = |days| {
        let root = Root {
            development: true,
            validity: Validity::days(NOW, days).expect("a period"),
            ..root(1)
        };
        Issuer::root(&key, &root, &mut SystemRandom)
    };
    let issued = make(DEVELOPMENT_ROOT_DAYS).expect("31 days");
    assert!(
        Certificate::parse(&issued.certificate)
            .expect("strict")
            .is_development_root()
    );
    assert!(matches!(
        make(DEVELOPMENT_ROOT_DAYS + 1),
        Err(Error::ValidityTooLong { .. })
    ));
    let plain = Authority::root(Algorithm::Ed25519, 1);
    assert!(
        !Certificate::parse(&plain.certificate)
            .expect("strict")
            .is_development_root()
    );
}

#[test]
fn an_issuer_needs_its_own_key_and_a_ca_certificate() {
    let authority = Authority::root(Algorithm::Esp256, 1);
    let other = throwaway_key(Algorithm::Esp256);
    assert!(matches!(
        Issuer::new(&other, &authority.certificate),
        Err(Error::IssuerUnfit { .. })
    ));
    // TC07: an end entity issues nothing.
    let device_key = throwaway_key(Algorithm::Esp256);
    let leaf = authority
        .issuer()
        .end_entity(
            Profile::Tls,
            device_key.public_key(),
            &device(Profile::Tls),
            &mut SystemRandom,
        )
        .expect("a certificate");
    assert!(matches!(
        Issuer::new(&device_key, &leaf.certificate),
        Err(Error::IssuerUnfit { .. })
    ));
    // TG28: an authority's own key is not a device's.
    let error = authority
        .issuer()
        .end_entity(
            Profile::Tls,
            authority.key.public_key(),
            &device(Profile::Tls),
            &mut SystemRandom,
        )
        .expect_err("its own key");
    assert!(matches!(error, Error::KeyUnsupported { .. }), "{error}");
}

#[test]
fn a_list_names_what_was_revoked_and_its_own_issuer() {
    let root = Authority::root(Algorithm::Ed25519, 1);
    let authority = root
        .below(Algorithm::Esp256, &intermediate("Devices", 0))
        .expect("an intermediate");
    let entries = [
        ("7f", Reason::Unspecified),
        ("05", Reason::KeyCompromise),
        ("7f", Reason::Superseded),
    ];
    let revoked: Vec<Revocation> = entries
        .iter()
        .map(|(serial, reason)| Revocation {
            serial: serial.parse().expect("a serial"),
            at: NOW,
            reason: *reason,
        })
        .collect();
    let make = |revoked: &[Revocation]| {
        let list = RevocationList {
            number: 300,
            validity: days(30),
            revoked,
        };
        authority.issuer().crl(&list).expect("a list")
    };
    let der = make(&revoked);
    let strict = Crl::parse(&der).expect("hosts read it");
    assert_eq!(strict.number().to_string(), "300");
    assert_eq!(strict.this_update(), NOW);
    assert_eq!(strict.next_update(), days(30).not_after());

    let list: x509_cert::crl::CertificateList = Decode::from_der(&der).expect("a list");
    let entries = list.tbs_cert_list.revoked_certificates.expect("entries");
    let serials: Vec<String> = entries
        .iter()
        .map(|entry| entry.serial_number.to_string())
        .collect();
    assert_eq!(serials, ["05", "7F"], "sorted, each once");
    // RFC 5280 §5.3.1: a reason, but none for "unspecified".
    let reasons: Vec<bool> = entries
        .iter()
        .map(|entry| entry.crl_entry_extensions.is_some())
        .collect();
    assert_eq!(reasons, [true, false]);
    // Whoever looks whether it is out of date sees another reason, too.
    assert!(says(&der, &revoked[..2]));
    for (entry, reason) in [(0, Reason::KeyCompromise), (1, Reason::Superseded)] {
        let mut changed = revoked[..2].to_vec();
        changed[entry].reason = reason;
        assert!(!says(&der, &changed), "{changed:?}");
    }
    let mut more = revoked[..2].to_vec();
    more[0].serial = "06".parse().expect("a serial");
    assert!(!says(&der, &more) && !says(b"no list", &revoked));
    let aki = list
        .tbs_cert_list
        .crl_extensions
        .expect("extensions")
        .into_iter()
        .find(|extension| extension.extn_id.to_string() == "2.5.29.35")
        .expect("an authority key identifier");
    let ski = parsed(&authority.certificate)
        .tbs_certificate()
        .get_extension::<x509_cert::ext::pkix::SubjectKeyIdentifier>()
        .expect("readable")
        .expect("there")
        .1;
    assert!(
        aki.extn_value.as_bytes().ends_with(ski.0.as_bytes()),
        "the list names the key that signed it, not the key above that"
    );

    // RFC 5280 §5.1.2.6: no list of certificates rather than an empty one.
    let empty: x509_cert::crl::CertificateList = Decode::from_der(&make(&[])).expect("a list");
    assert!(empty.tbs_cert_list.revoked_certificates.is_none());
}

/// A PKCS#10 request by `key` with these requested extensions.
fn request(key: &SigningKey, subject: &str, extensions: Vec<Extension>) -> CertReq {
    let mut attributes = Attributes::new();
    if !extensions.is_empty() {
        let attribute = ExtensionReq(extensions).try_into().expect("an attribute");
        attributes.insert(attribute).expect("one attribute");
    }
    let info = CertReqInfo {
        version: Version::V1,
        subject: subject.parse().expect("a name"),
        public_key: SubjectPublicKeyInfoOwned::from_der(&key.public_key().to_spki_der())
            .expect("a key"),
        attributes,
    };
    let oid = match key.algorithm() {
        Algorithm::Ed25519 => "1.3.101.112",
        _ => "1.2.840.10045.4.3.2",
    };
    let signature = key.sign(&info.to_der().expect("encodes")).expect("signs");
    CertReq {
        info,
        algorithm: AlgorithmIdentifierOwned {
            oid: ObjectIdentifier::new_unwrap(oid),
            parameters: None,
        },
        signature: BitString::from_bytes(&signature.to_x509()).expect("fits"),
    }
}

fn extension(id: &str, critical: bool, value: &impl Encode) -> Extension {
    Extension {
        extn_id: ObjectIdentifier::new_unwrap(id),
        critical,
        extn_value: OctetString::new(value.to_der().expect("encodes")).expect("fits"),
    }
}

#[test]
fn tg03_a_request_proves_possession() {
    for algorithm in ALGORITHMS {
        let key = throwaway_key(algorithm);
        let good = request(&key, "SERIALNUMBER=press-4,O=Acme", Vec::new());
        let read = CertificateRequest::verify(&good.to_der().expect("encodes")).expect("good");
        assert_eq!(read.public_key(), key.public_key());
        assert_eq!(read.identity(None).expect("its own").as_str(), "press-4");

        // Another key's signature, and another name under the same signature.
        let mut stolen = good.clone();
        stolen.info.public_key = SubjectPublicKeyInfoOwned::from_der(
            &throwaway_key(algorithm).public_key().to_spki_der(),
        )
        .expect("a key");
        let mut renamed = good.clone();
        renamed.info.subject = "SERIALNUMBER=press-5,O=Acme".parse().expect("a name");
        for forged in [stolen, renamed] {
            let error = CertificateRequest::verify(&forged.to_der().expect("encodes"))
                .expect_err("no possession");
            assert!(matches!(error, Error::ProofOfPossession), "{error}");
        }
    }
}

#[test]
fn tg06_a_request_decides_nothing_but_key_and_identity() {
    let key = throwaway_key(Algorithm::Esp256);
    let greedy = request(
        &key,
        "SERIALNUMBER=press-4,CN=root,O=Other",
        vec![
            extension(
                "2.5.29.19",
                true,
                &BasicConstraints {
                    ca: true,
                    path_len_constraint: None,
                },
            ),
            extension(
                "2.5.29.37",
                false,
                &ExtendedKeyUsage(vec![ObjectIdentifier::new_unwrap("2.5.29.37.0")]),
            ),
            extension("1.2.3.4", true, &Any::null()),
        ],
    );
    let read = CertificateRequest::verify(&greedy.to_der().expect("encodes")).expect("possession");
    assert_eq!(
        read.ignored(),
        ["basicConstraints", "extKeyUsage", "extension 1.2.3.4"]
    );

    let authority = Authority::root(Algorithm::Esp256, 1);
    let identity = read.identity(None).expect("an identity");
    let wanted = EndEntity {
        name: DeviceName::new(identity),
        ..device(Profile::Tls)
    };
    let issued = authority
        .issuer()
        .end_entity(Profile::Tls, read.public_key(), &wanted, &mut SystemRandom)
        .expect("a certificate");
    let ids = extension_ids(&issued.certificate);
    assert_eq!(
        ids,
        [
            "2.5.29.15",
            "2.5.29.14",
            "2.5.29.35",
            "2.5.29.17",
            "2.5.29.37"
        ],
        "what the profile has, and nothing else"
    );
    let certificate = parsed(&issued.certificate);
    let usage = certificate.tbs_certificate().get_extension::<KeyUsage>();
    let (critical, usage) = usage.expect("readable").expect("there");
    assert!(critical && usage.digital_signature() && !usage.key_cert_sign());
    let subject = certificate.tbs_certificate().subject().to_string();
    assert_eq!(subject, "SERIALNUMBER=press-4,CN=press-4");
}

#[test]
fn tc20_a_request_names_one_device() {
    use x509_cert::ext::pkix::name::{GeneralName, HardwareModuleName, OtherName};
    let key = throwaway_key(Algorithm::Ed25519);
    let san = |serial: &str| {
        let module = HardwareModuleName {
            hw_type: oid::HARDWARE_TYPE,
            hw_serial_num: OctetString::new(serial.as_bytes()).expect("fits"),
        };
        let other = OtherName::try_from(&module).expect("encodes");
        let names = SubjectAltName(vec![GeneralName::OtherName(other)]);
        extension("2.5.29.17", false, &names)
    };
    let verify = |subject: &str, extensions| {
        CertificateRequest::verify(
            &request(&key, subject, extensions)
                .to_der()
                .expect("encodes"),
        )
    };
    let read = verify("CN=x", vec![san("press-4")]).expect("in the hardwareModuleName alone");
    assert_eq!(
        read.identity(None).expect("an identity").as_str(),
        "press-4"
    );
    assert!(read.ignored().is_empty());
    verify("SERIALNUMBER=press-4", vec![san("press-4")]).expect("the same twice");
    for (subject, extensions) in [
        ("SERIALNUMBER=press-4", vec![san("press-5")]),
        ("CN=x", vec![san("press-4"), san("press-5")]),
        ("SERIALNUMBER=press-4,SERIALNUMBER=press-5", vec![]),
    ] {
        let error = verify(subject, extensions).expect_err("two devices");
        assert!(matches!(error, Error::RequestInvalid { .. }), "{error}");
    }
    // What the operator says and what the request says must agree.
    let given: DeviceIdentity = "press-9".parse().expect("an id");
    assert!(matches!(
        read.identity(Some(&given)),
        Err(Error::IdentityMismatch { .. })
    ));
    let silent = verify("CN=x", vec![]).expect("possession");
    assert!(matches!(
        silent.identity(None),
        Err(Error::RequestInvalid { .. })
    ));
    assert_eq!(
        silent
            .identity(Some(&given))
            .expect("the operator's")
            .as_str(),
        "press-9"
    );
}

#[test]
fn what_is_no_request_is_refused_without_panic() {
    let key = throwaway_key(Algorithm::Ed25519);
    let good = request(&key, "SERIALNUMBER=press-4", Vec::new())
        .to_der()
        .expect("encodes");
    for length in 0..good.len() {
        CertificateRequest::verify(&good[..length]).expect_err("truncated");
    }
    for index in 0..good.len() {
        let mut bent = good.clone();
        bent[index] ^= 1;
        CertificateRequest::verify(&bent).expect_err("every bit is covered");
    }
    let mut longer = good.clone();
    longer.push(0);
    CertificateRequest::verify(&longer).expect_err("trailing byte");
    CertificateRequest::verify(&vec![0x30; 17 * 1024]).expect_err("too large");

    // An algorithm that does not belong to the key.
    let mut other = request(&key, "SERIALNUMBER=press-4", Vec::new());
    other.algorithm.oid = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
    let error = CertificateRequest::verify(&other.to_der().expect("encodes")).expect_err("mixed");
    assert!(matches!(error, Error::RequestInvalid { .. }), "{error}");
}

#[test]
fn tf25_the_kind_of_hardware_is_for_attestation_keys_that_it_can_hold() {
    let authority = Authority::root(Algorithm::Esp256, 1);
    for hardware in AttestationHardware::ALL {
        let request = |profile| EndEntity {
            hardware: Some(hardware),
            ..device(profile)
        };
        let issued = authority
            .issue(Profile::Attestation, &request(Profile::Attestation))
            .expect("a certificate");
        let certificate = Certificate::parse(&issued.certificate).expect("strict");
        assert_eq!(certificate.attested_by().expect("readable"), Some(hardware));
        for profile in Profile::ALL {
            let refused = authority.issue(profile, &request(profile)).err();
            assert_eq!(
                matches!(refused, Some(Error::Hardware { .. })),
                profile != Profile::Attestation,
                "{profile}"
            );
        }
        let key = throwaway_key(Algorithm::Ed25519);
        let refused = authority.issuer().end_entity(
            Profile::Attestation,
            key.public_key(),
            &request(Profile::Attestation),
            &mut SystemRandom,
        );
        assert!(
            matches!(refused, Err(Error::Hardware { .. })),
            "{refused:?}"
        );
    }
    let issued = authority
        .issue(Profile::Attestation, &device(Profile::Attestation))
        .expect("a certificate");
    let certificate = Certificate::parse(&issued.certificate).expect("strict");
    assert_eq!(certificate.attested_by().expect("readable"), None);
}

/// A key that counts how often it signed.
struct Counted {
    inner: SigningKey,
    signed: std::sync::Arc<std::sync::atomic::AtomicUsize>,
}

impl countersign_keys::Signer for Counted {
    fn public_key(&self) -> &countersign_keys::PublicKey {
        self.inner.public_key()
    }

    fn sign_unchecked(&self, message: &[u8]) -> Result<[u8; 64], countersign_keys::Error> {
        self.signed
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let signature = self.inner.sign(message)?;
        Ok(*signature.as_bytes())
    }
}

#[test]
fn tg20_what_a_host_refuses_is_refused_before_the_authoritys_key_signs() {
    for algorithm in ALGORITHMS {
        let inner = throwaway_key(algorithm);
        let signed = std::sync::Arc::default();
        let key = SigningKey::new(Counted {
            inner,
            signed: std::sync::Arc::clone(&signed),
        });
        let count = || signed.load(std::sync::atomic::Ordering::Relaxed);
        let made = Issuer::root(&key, &root(1), &mut SystemRandom).expect("a root");
        assert_eq!(count(), 1, "its own certificate, and no rehearsal");

        let issuer = Issuer::new(&key, &made.certificate).expect("an issuer");
        // An IDevID may outlive its issuer, so its period is not held against the issuer's; but under an issuer that has
        // ended before it begins no host accepts it, and only a host's own verdict tells.
        let mut late = device(Profile::IDevId);
        let after = UnixTime::from_secs(NOW.as_secs() + 4000 * 86_400);
        late.validity = Validity::days(after, 10).expect("a period");
        let holder = throwaway_key(Algorithm::Esp256);
        let error = issuer
            .end_entity(
                Profile::IDevId,
                holder.public_key(),
                &late,
                &mut SystemRandom,
            )
            .expect_err("refused");
        let Error::Refused { rejection } = &error else {
            panic!("{error}");
        };
        assert!(
            matches!(
                **rejection,
                countersign_trust_store::Rejection::Expired { .. }
            ),
            "{error}"
        );
        assert_eq!(count(), 1, "the authority's key was not asked");

        // What hosts accept costs one signature of the authority's key, the first time and later.
        for (number, profile) in Profile::ALL.into_iter().chain(Profile::ALL).enumerate() {
            let holder = throwaway_key(Algorithm::Esp256);
            issuer
                .end_entity(
                    profile,
                    holder.public_key(),
                    &device(profile),
                    &mut SystemRandom,
                )
                .expect("issued");
            assert_eq!(count(), 2 + number, "{profile}");
        }
    }
}

/// The largest that can be asked for is either made and small, or refused.
#[test]
fn certificates_stay_under_two_and_chains_under_five_kilobytes() {
    let long = "x".repeat(64);
    for algorithm in ALGORITHMS {
        let top = Authority::root(algorithm, 2);
        let name = |text: &str| CaName::new(&long, text, Some("DE")).expect("a name");
        let wide = Intermediate {
            name: name(&"u".repeat(64)),
            path_length: 1,
            scope: Some(scope(&["acme:*", "acme-press:*", "acme-cutter:*"])),
            ..intermediate("Upper", 1)
        };
        let upper = top.below(algorithm, &wide).expect("an intermediate");
        let lower = Intermediate {
            name: name(&"l".repeat(64)),
            path_length: 0,
            ..wide
        };
        let lower = upper.below(algorithm, &lower).expect("an intermediate");

        let identity: DeviceIdentity = "d".repeat(64).parse().expect("an id");
        let mut request = device(Profile::ComponentSigner);
        request.name = DeviceName::new(identity)
            .with_organization(&long)
            .and_then(|name| name.with_organizational_unit(&long))
            .and_then(|name| name.with_common_name(&long))
            .expect("a name");
        request.metadata = DeviceMetadata::default()
            .with_device_type(&long)
            .and_then(|metadata| metadata.with_hardware_revision(&long))
            .and_then(|metadata| metadata.with_firmware_version(&long))
            .and_then(|metadata| metadata.with_capabilities(&[long.clone(), "y".repeat(64)]))
            .expect("metadata");
        let leaf = lower
            .issue(Profile::ComponentSigner, &request)
            .expect("issued");
        let chain = [&leaf.certificate, &lower.certificate, &upper.certificate];
        assert!(chain.iter().all(|der| der.len() <= 2_048));
        let bytes: usize = chain.iter().map(|der| der.len()).sum();
        assert!(bytes < 5_000, "{bytes}");

        // And what would be larger is not made.
        request.scope = Some(scope(
            &(0..60)
                .map(|number| format!("acme:component-with-a-long-name-{number}"))
                .collect::<Vec<_>>()
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>(),
        ));
        let error = lower
            .issue(Profile::ComponentSigner, &request)
            .expect_err("too large");
        assert!(
            matches!(error, Error::TooLarge { limit: 2_048, .. }),
            "{error}"
        );
        let usual = Authority::root(algorithm, 1);
        let usual = usual
            .below(algorithm, &intermediate("Devices", 0))
            .expect("an intermediate");
        assert!(usual.certificate.len() < 700, "{}", usual.certificate.len());
    }
}
