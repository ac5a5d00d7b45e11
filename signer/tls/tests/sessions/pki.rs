//! Certificates for keys that the throw-away PKI did not make.

use std::time::Duration;

use countersign_format::{Audience, DeviceMetadata, Scope};
use countersign_keys::PublicKey;
use countersign_provisioning::{
    DeviceName, EndEntity, Issued, Issuer, Profile, Reason, Revocation, RevocationList, Serial,
    Validity,
};
use countersign_testing::{SystemRandom, TestPki};
use rustls::RootCertStore;

/// A chain in DER, and the serial number of its first certificate.
pub(crate) struct Certified {
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) serial: Serial,
}

/// A certificate of this profile for a device of this name, by the lowest authority.
pub(crate) fn certify(pki: &TestPki, profile: Profile, name: &str, key: &PublicKey) -> Certified {
    let (authority_key, authority) = authority(pki);
    let request = EndEntity {
        name: DeviceName::new(name.parse().expect("a device's name")),
        metadata: DeviceMetadata::default(),
        validity: Validity::days(pki.time(), 30).expect("30 days"),
        scope: profile.is_scoped().then(|| {
            let all = "test:*".parse().expect("a pattern");
            Scope::new(vec![all], Audience::default()).expect("a scope")
        }),
        hardware: None,
        dns_names: match profile {
            Profile::Tls => vec!["localhost".to_owned()],
            _ => Vec::new(),
        },
        no_rev_avail: false,
    };
    let issuer = Issuer::new(&authority_key, &authority).expect("an authority");
    let Issued {
        certificate,
        serial,
        ..
    } = issuer
        .end_entity(profile, key, &request, &mut SystemRandom)
        .expect("a certificate");
    Certified {
        chain: vec![certificate, authority],
        serial,
    }
}

/// The lowest authority's revocation list with these on it, DER.
pub(crate) fn list(pki: &TestPki, revoked: &[Serial]) -> Vec<u8> {
    let (key, authority) = authority(pki);
    let revoked: Vec<Revocation> = revoked
        .iter()
        .map(|serial| Revocation {
            serial: serial.clone(),
            at: pki.time(),
            reason: Reason::KeyCompromise,
        })
        .collect();
    let week = pki.time().saturating_add(Duration::from_secs(7 * 86_400));
    let list = RevocationList {
        number: 2,
        validity: Validity::new(pki.time(), week).expect("a week"),
        revoked: &revoked,
    };
    Issuer::new(&key, &authority)
        .and_then(|issuer| issuer.crl(&list))
        .expect("a list")
}

/// The root, for rustls.
pub(crate) fn roots(pki: &TestPki) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots
        .add(pki.root().to_vec().into())
        .expect("rustls takes the root");
    roots
}

fn authority(pki: &TestPki) -> (countersign_keys::SigningKey, Vec<u8>) {
    let key = pki.authority_keys().pop().expect("an authority");
    let certificate = pki.chain().get(1).expect("its certificate").clone();
    (key, certificate)
}
