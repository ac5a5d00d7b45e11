//! Certificates that are real, for who reads them.

use countersign_backend_file::{FileKey, SystemRandom};
use countersign_format::Digest;
use countersign_keys::{Algorithm, SigningKey};
use countersign_provisioning::{
    CaName, DeviceName, EndEntity, Issuer, Profile, Root, SECONDS_PER_DAY, Validity,
};
use countersign_registry::{Commit, Registry, Reservation, Reserved};
use countersign_trust_store::UnixTime;

use crate::database::{NOW, asking, id, made, reserve};

/// The end of what [`real`] makes.
pub(crate) const END: u64 = NOW + 30 * SECONDS_PER_DAY - 1;

/// A certificate of a device over the key of that number, and what was asked for it.
pub(crate) fn real(device: &str, number: u8, profile: Profile) -> (Reservation, Commit) {
    let seeded = |number: u8| {
        let key = FileKey::from_seed(Algorithm::Esp256, &[number; 32]).expect("a key");
        SigningKey::new(key)
    };
    let (authority, key) = (seeded(200), seeded(number));
    let from = UnixTime::from_secs(NOW);
    let root = Root {
        name: CaName::new("Acme Issuing", "Acme", None).expect("a name"),
        validity: Validity::days(from, 3650).expect("days"),
        path_length: 0,
        development: false,
    };
    let root = Issuer::root(&authority, &root, &mut SystemRandom).expect("a root");
    let issuer = Issuer::new(&authority, &root.certificate).expect("an issuer");
    let end_entity = EndEntity {
        name: DeviceName::new(id(device)),
        metadata: Default::default(),
        validity: Validity::days(from, 30).expect("days"),
        scope: None,
        hardware: None,
        dns_names: Vec::new(),
        no_rev_avail: false,
    };
    let issued = issuer
        .end_entity(profile, key.public_key(), &end_entity, &mut SystemRandom)
        .expect("issued");
    let what = Reservation {
        serial: issued.serial.clone(),
        profile,
        key: *Digest::of(&key.public_key().to_spki_der()).as_bytes(),
        not_after: issued.validity.not_after().as_secs(),
        ..asking(device, 0)
    };
    let commit = Commit {
        der: issued.certificate,
        ..made(&what)
    };
    (what, commit)
}

/// Reserves and commits a real one.
pub(crate) async fn issue_real(
    registry: &Registry,
    device: &str,
    number: u8,
    profile: Profile,
) -> Reservation {
    let (what, commit) = real(device, number, profile);
    let outcome = reserve(registry, &what, NOW).await;
    assert!(matches!(outcome, Ok(Reserved::New)), "{outcome:?}");
    registry.commit(&[commit], NOW).await.expect("committed");
    what
}
