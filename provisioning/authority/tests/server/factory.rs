//! Devices that show a factory identity of another authority below the root.

use std::fs;
use std::time::{Duration, Instant};

use countersign_authority::pem::certificates;
use countersign_backend_file::{FileKey, Overwrite, SystemRandom};
use countersign_format::DeviceMetadata;
use countersign_keys::{Algorithm, PublicKey, SigningKey};
use countersign_provisioning::{
    CaName, DeviceName, EndEntity, Intermediate, Issuer, Profile, Validity,
};
use countersign_trust_store::{UnixTime, pem};

use crate::bench::{Bench, now};

/// An authority of somebody else below the root.
pub(crate) struct Another {
    key: SigningKey,
    /// Its certificate, DER.
    pub(crate) certificate: Vec<u8>,
}

impl Another {
    /// A certificate by it, DER.
    pub(crate) fn certify(&self, profile: Profile, key: &PublicKey, device: &EndEntity) -> Vec<u8> {
        Issuer::new(&self.key, &self.certificate)
            .expect("an issuer")
            .end_entity(profile, key, device, &mut SystemRandom)
            .expect("a certificate")
            .certificate
    }
}

/// The authority `factory.pem` below the root.
pub(crate) fn another_authority(bench: &Bench) -> Another {
    let root_key = FileKey::open(&bench.path("root.key"), || unreachable!("not encrypted"));
    let root_key = root_key.expect("the root's key");
    let root = fs::read(bench.path("root.pem")).expect("a root");
    let root = pem::certificates(&root).expect("a certificate");
    let root = Issuer::new(&root_key, &root[0]).expect("an issuer");
    let key = FileKey::generate(Algorithm::Esp256, &mut SystemRandom).expect("a key");
    let key = SigningKey::new(key);
    let intermediate = Intermediate {
        name: CaName::new("Acme", "Factory", None).expect("a name"),
        validity: a_year(),
        path_length: 0,
        scope: None,
    };
    let certificate = root
        .intermediate(key.public_key(), &intermediate, &mut SystemRandom)
        .expect("an intermediate")
        .certificate;
    fs::write(bench.path("factory.pem"), certificates(&[&certificate])).expect("written");
    Another { key, certificate }
}

fn a_year() -> Validity {
    Validity::days(UnixTime::from_secs(now() - 3600), 365).expect("days")
}

/// The authority `factory.pem` below the root, and DEVICE-id.pem with DEVICE-id.key for each device; its certificate.
fn factory(bench: &Bench, devices: &[&str]) -> Vec<u8> {
    let another = another_authority(bench);
    for device in devices {
        let own = FileKey::generate(Algorithm::Esp256, &mut SystemRandom).expect("a key");
        own.save(
            &bench.path(&format!("{device}-id.key")),
            None,
            Overwrite::Refuse,
        )
        .expect("saved");
        let identity = EndEntity {
            name: DeviceName::new(device.parse().expect("an identity")),
            metadata: DeviceMetadata::default(),
            validity: a_year(),
            scope: None,
            hardware: None,
            dns_names: Vec::new(),
            no_rev_avail: true,
        };
        let own = SigningKey::new(own);
        let made = another.certify(Profile::IDevId, own.public_key(), &identity);
        let chain = certificates(&[&made, &another.certificate]);
        fs::write(bench.path(&format!("{device}-id.pem")), chain).expect("written");
    }
    another.certificate
}

/// Enrols by a factory identity for a profile.
fn enrol(bench: &Bench, device: &str, profile: &str) -> u16 {
    let [pem, key, csr] = ["-id.pem", "-id.key", ".csr"].map(|ending| format!("{device}{ending}"));
    let arguments = [
        "--cert",
        &pem,
        "--key",
        &key,
        "--header",
        "Content-Type: application/pkcs10",
        "--data-binary",
        &format!("@{csr}"),
    ];
    let path = format!("/.well-known/est/{profile}/simpleenroll");
    bench.curl(&path, &arguments).0
}

#[test]
fn tg06_tg25_a_factory_identity_counts_where_its_issuer_is_named_and_gives_tls_until_it_is_revoked()
{
    let bench = Bench::new();
    let devices = ["press-1", "lathe-1", "drill-1"];
    bench.approve(&devices);
    for device in devices {
        bench.request(device);
    }
    let above = factory(&bench, &devices);
    bench.configure(|text| text.replace("component_scope = []", "component_scope = [\"acme:*\"]"));
    let server = bench.serve();
    assert_eq!(
        enrol(&bench, "press-1", "tls"),
        401,
        "nobody named its issuer"
    );
    assert!(server.stop());

    bench.configure(|text| {
        let named = |devices: &str, order: &str| {
            format!(
                "\n[[factory]]\nissuer = \"../factory.pem\"\ndevices = [\"{devices}\"]\norder = \"{order}\"\n"
            )
        };
        text + &named("press-*", "17") + &named("drill-1", "18")
    });
    let server = bench.serve();
    for profile in ["component-signer", "guest-data", "attestation", "idevid"] {
        assert_eq!(enrol(&bench, "press-1", profile), 403, "{profile}");
    }
    assert_eq!(
        enrol(&bench, "lathe-1", "tls"),
        401,
        "not one of its devices"
    );
    assert_eq!(enrol(&bench, "drill-1", "tls"), 403, "on another order");
    assert_eq!(enrol(&bench, "press-1", "tls"), 200);

    // The root's word counts while it runs: nobody is let in by that factory any more.
    bench.root_revokes(Some(&above), 2);
    let shown = ["--cert", "press-1-id.pem", "--key", "press-1-id.key"];
    let asked = || bench.curl("/api/v1/devices/press-1", &shown).0;
    let until = Instant::now() + Duration::from_secs(60);
    while asked() != 0 {
        assert!(Instant::now() < until, "{}", bench.logged());
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(server.stop());
}
