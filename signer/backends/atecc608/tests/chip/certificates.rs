//! Certificates in slots: against the maker's library, with our own authority's certificates, and the verdict on chips
//! that are not the maker's.

use countersign_atecc608_emulator::Factory;
use countersign_atecc608_emulator::vendor::Answer;
use countersign_backend_atecc608::{
    Atecc608, CertificateError, CertificateInvalid, CertificateTemplate, Consent, Kind, MakerChain,
    NotTheMakers, Serial, SerialSource, StoredCertificate, Subject, SubjectKey,
};
use countersign_keys::{Algorithm, Challenge, PublicKey, SigningKey};
use countersign_testing::{Profile, Role, TestPki, throwaway_key};
use countersign_trust_store::UnixTime;
use embedded_hal::delay::DelayNs;
use embedded_hal::i2c::I2c;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::slot;
use crate::vendor::Both;

/// By which the maker's library knows chips of the kind TNGTLS: the first bytes of the one-time zone.
const TNGTLS: &[u8; 8] = b"KQp2ZkD8";
/// 17 November 2026, 5 o'clock, for ten years: the maker's library writes this date so.
const DATES: [u8; 3] = [0xd5, 0xc4, 0xaa];

const fn kind(template: u8) -> Kind {
    Kind {
        template,
        chain: 0,
        signer: 0x2c10,
        serial: SerialSource::PublicKey,
    }
}

/// What the maker does in his factory, with keys of ours in the place of his.
struct Factories {
    root: SigningKey,
    signer: SigningKey,
}

impl Factories {
    fn new() -> Self {
        Self {
            root: throwaway_key(Algorithm::Esp256),
            signer: throwaway_key(Algorithm::Esp256),
        }
    }

    /// A chip of the kind TNGTLS: configured, with a key, a hardware address and who signed, locked; no certificates.
    fn preconfigured(&self, seed: u64, hardware_address: &[u8; 12]) -> Both {
        let mut both = Both::new(Factory::blank(seed));
        let wanted = both.wanted();
        let consent = Consent::to_lock_for_ever(wanted.serial());
        let chip = &mut both.chip;
        chip.write_configuration(&wanted).expect("written");
        chip.lock_configuration(&consent, &wanted).expect("locked");
        let mut one_time = [0; 64];
        one_time[..8].copy_from_slice(TNGTLS);
        chip.write_one_time(&one_time).expect("written");
        chip.write_slot(slot(5), hardware_address).expect("written");
        chip.store_key(slot(11), self.signer.public_key())
            .expect("written");
        chip.generate(slot(0)).expect("a key");
        chip.lock_data(&consent).expect("locked");
        both
    }

    /// The certificate that the maker's library makes of a slot, once the right key has signed it.
    fn certified(&self, both: &mut Both, template: u8) -> Vec<u8> {
        let (place, call, key) = match template {
            1 => (12, "signer-certificate", &self.root),
            _ => (10, "device-certificate", &self.signer),
        };
        let put = |both: &mut Both, signature: &[u8; 64]| {
            let tail = [0x2c, 0x10, template << 4, 0xa0, 0x00];
            let bytes = [signature.as_slice(), &DATES, &tail].concat();
            both.chip.write_slot(slot(place), &bytes).expect("written");
            let [answer]: [Answer; 1] = both.maker(&json!([[call]]));
            answer.bytes()
        };
        let unsigned = put(both, &[1; 64]);
        let signature = key.sign(to_be_signed(&unsigned)).expect("a signature");
        put(both, signature.as_bytes())
    }

    /// Where the maker's certificates are, after the example of another chip.
    fn chain(&self, example: &mut Both, hardware_address: &[u8; 12]) -> MakerChain {
        let chip = example.chip.serial().expect("a serial");
        let root = self.root.public_key();
        let signer = self.certified(example, 1);
        let device = self.certified(example, 3);
        let template = |der: &[u8], number, issuer: &PublicKey| {
            CertificateTemplate::of_example(der, chip, kind(number), issuer).expect("an example")
        };
        MakerChain {
            root: root.clone(),
            signer: StoredCertificate {
                slot: slot(12),
                key: SubjectKey::Stored(slot(11)),
                template: template(&signer, 1, root),
                elements: Vec::new(),
            },
            device: StoredCertificate {
                slot: slot(10),
                key: SubjectKey::Own(slot(0)),
                template: template(&device, 3, self.signer.public_key())
                    .with_element(hardware_address)
                    .expect("an element"),
                elements: vec![(slot(5), 0)],
            },
        }
    }
}

/// The signed part of a certificate whose two outer lengths take two bytes each.
fn to_be_signed(der: &[u8]) -> &[u8] {
    assert_eq!((der[4], der[5]), (0x30, 0x82));
    let length = usize::from(u16::from_be_bytes([der[6], der[7]]));
    &der[4..8 + length]
}

#[test]
fn certificates_are_those_that_the_makers_library_makes_of_the_same_slots() {
    let factories = Factories::new();
    let addresses = [b"0004A3B1C2D3", b"0004A3000001"];
    let mut example = factories.preconfigured(31, addresses[0]);
    let chain = factories.chain(&mut example, addresses[0]);

    // What the maker's library makes of another chip, we make too, after the example of the first.
    let mut other = factories.preconfigured(32, addresses[1]);
    let theirs = factories.certified(&mut other, 3);
    let signer = factories.signer.public_key();
    let ours = other.chip.certificate(&chain.device, signer);
    assert_eq!(ours.as_ref(), Ok(&theirs));
    let text = String::from_utf8_lossy(&theirs);
    assert!(text.contains("sn0123C68E5B000020EE") && text.contains("eui48_0004A3000001"));
    let theirs = factories.certified(&mut other, 1);
    let ours = other.chip.certificate(&chain.signer, &chain.root);
    assert_eq!(ours, Ok(theirs));

    // What we store, the maker's library reads: a third chip, and its certificate from elsewhere.
    let mut third = factories.preconfigured(33, addresses[1]);
    let whole = factories.certified(&mut third, 3);
    third.chip.write_slot(slot(10), &[0; 72]).expect("erased");
    third
        .chip
        .store_certificate(&chain.device, &whole, signer)
        .expect("stored");
    let [read]: [Answer; 1] = third.maker(&json!([["device-certificate"]]));
    assert_eq!(read.bytes(), whole);
    // Another chip's is not stored.
    let refused = other
        .chip
        .store_certificate(&chain.device, &whole, signer)
        .expect_err("another chip's");
    assert_eq!(refused, CertificateInvalid::Signature.into());
}

#[test]
fn tf25_a_chip_without_its_makers_certificate_or_with_anothers_is_not_the_makers() {
    let factories = Factories::new();
    let address = b"0004A3B1C2D3";
    let mut example = factories.preconfigured(41, address);
    let chain = factories.chain(&mut example, address);
    let challenge = Challenge::new([5; 32]);
    assert_eq!(chain.inspect(&mut example.chip, &challenge), Ok(()));

    let unsigned = NotTheMakers::Chain(CertificateInvalid::Signature);
    // Another maker's root.
    let mut elsewhere = chain.clone();
    elsewhere.root = throwaway_key(Algorithm::Esp256).public_key().clone();
    let verdict = elsewhere.inspect(&mut example.chip, &challenge);
    assert_eq!(verdict, Err(unsigned));
    // No certificates.
    let mut bare = factories.preconfigured(42, address);
    assert_eq!(
        chain.inspect(&mut bare.chip, &challenge),
        Err(NotTheMakers::Chain(CertificateInvalid::Form))
    );
    // The certificates of the other, copied.
    for number in [5, 10, 11, 12] {
        let mut bytes = vec![0; slot(number).size()];
        let from = &mut example.chip;
        from.read_slot(slot(number), &mut bytes).expect("read");
        bare.chip.write_slot(slot(number), &bytes).expect("written");
    }
    let verdict = chain.inspect(&mut bare.chip, &challenge);
    assert_eq!(verdict, Err(unsigned));
    // The certified key is no longer in the chip, or does not sign.
    use countersign_atecc608_emulator::Fault;
    example.emulator.inject(Fault::SignatureBit.once().bit(300));
    let verdict = chain.inspect(&mut example.chip, &challenge);
    assert_eq!(verdict, Err(NotTheMakers::Possession));
    example.chip.generate(slot(0)).expect("another key");
    let verdict = chain.inspect(&mut example.chip, &challenge);
    assert_eq!(verdict, Err(unsigned));
}

/// 1 January 2027, midnight, and three years later.
const FROM: u64 = 1_798_761_600;
const UNTIL: u64 = 1_893_456_000;

/// A certificate of our own authority for a chip of this serial number, in whole hours and years, whose serial number
/// follows from the key.
fn of_our_authority(seed: u64, chip: Serial, from: u64) -> TestPki {
    let build = |serial: Option<Vec<u8>>| {
        let builder = TestPki::builder()
            .seed(seed)
            .now(UnixTime::from_secs(FROM))
            .profile(Profile::GuestData)
            .device_id(&chip.to_string())
            .bend(Role::Leaf, move |parts| {
                let time = UnixTime::from_secs;
                parts.set_validity(time(from), time(UNTIL));
                if let Some(serial) = serial {
                    parts.serial_number =
                        der::asn1::Any::new(der::Tag::Integer, serial).expect("an integer");
                }
            });
        builder.build()
    };
    let first = build(None);
    let point = first.device_key().public_key().to_raw_bytes();
    // 27 years, month 1, day 1, hour 0, 3 years.
    let dates = [0xd8, 0x84, 0x03];
    let digest = Sha256::new()
        .chain_update(&point[1..])
        .chain_update(dates)
        .finalize();
    let mut serial = digest[..16].to_vec();
    serial[0] = (serial[0] & 0x3f) | 0x40;
    build(Some(serial))
}

fn chip(number: u8) -> Serial {
    Serial([0x01, 0x23, 0xc6, 0x8e, 0x5b, 0, 0, number, 0xee])
}

#[test]
fn certificates_of_our_own_authority_fit_if_they_are_issued_so() {
    let (first, second) = (
        of_our_authority(1, chip(1), FROM),
        of_our_authority(1, chip(2), FROM),
    );
    let issuer = first.authority_keys().pop().expect("an authority");
    let issuer = issuer.public_key();
    let template = CertificateTemplate::of_example(&first.chain()[0], chip(1), kind(4), issuer)
        .expect("an example");
    let public = second.device_key().public_key().clone();
    let subject = |chip| Subject {
        public: &public,
        chip,
        elements: &[],
    };
    let compressed = template
        .compress(&second.chain()[0], &subject(chip(2)), issuer)
        .expect("it fits");
    let rebuilt = template.rebuild(&compressed, &subject(chip(2)), issuer);
    assert_eq!(rebuilt.as_ref(), Ok(&second.chain()[0]));

    let refused = |wrong: Result<Vec<u8>, CertificateInvalid>| wrong.expect_err("refused");
    let stranger = throwaway_key(Algorithm::Esp256);
    for (subject, issuer) in [
        (subject(chip(3)), issuer),
        (
            Subject {
                public: stranger.public_key(),
                ..subject(chip(2))
            },
            issuer,
        ),
        (subject(chip(2)), stranger.public_key()),
    ] {
        let wrong = template.rebuild(&compressed, &subject, issuer);
        assert_eq!(refused(wrong), CertificateInvalid::Signature);
    }
    // Minutes do not fit into 72 bytes.
    let late = of_our_authority(1, chip(2), FROM + 60);
    let outcome = template.compress(&late.chain()[0], &subject(chip(2)), issuer);
    assert!(
        matches!(
            outcome,
            Err(CertificateInvalid::OtherKind | CertificateInvalid::Signature)
        ),
        "{outcome:?}"
    );
    // An example that does not follow from its own parts is none.
    let ordinary = TestPki::builder().profile(Profile::GuestData).build();
    let key = ordinary.authority_keys().pop().expect("an authority");
    CertificateTemplate::of_example(&ordinary.chain()[0], chip(1), kind(4), key.public_key())
        .expect_err("a serial number from nowhere");
    let twice = template.with_element(b"Test");
    assert!(matches!(twice, Err(CertificateInvalid::Example)));
}

#[test]
fn every_bit_of_a_stored_certificate_matters() {
    let own = of_our_authority(2, chip(1), FROM);
    let issuer = own.authority_keys().pop().expect("an authority");
    let issuer = issuer.public_key();
    let template = CertificateTemplate::of_example(&own.chain()[0], chip(1), kind(4), issuer)
        .expect("an example");
    let public = own.device_key().public_key().clone();
    let bench = crate::bench::Bench::new(Factory::provisioned(1));
    let mut driver = bench.device();
    let place = StoredCertificate {
        slot: slot(10),
        key: SubjectKey::Stored(slot(11)),
        template,
        elements: Vec::new(),
    };
    driver.store_key(slot(11), &public).expect("written");
    driver
        .store_certificate(&place, &own.chain()[0], issuer)
        .expect("stored");
    assert_eq!(driver.stored_key(slot(11)), Ok(public));
    assert_eq!(
        driver.certificate(&place, issuer).as_ref(),
        Ok(&own.chain()[0])
    );
    let bytes = bench.emulator.slot(10);
    // The last byte is not used in this form; the signer stands in no name of this template.
    for bit in (0..71 * 8).filter(|bit| !(67 * 8..69 * 8).contains(bit)) {
        let mut bent = bytes.clone();
        bent[bit / 8] ^= 0x80 >> (bit % 8);
        assert!(wrong(&mut driver, &place, &bent, issuer), "bit {bit}");
    }
}

fn wrong<I: I2c, D: DelayNs>(
    driver: &mut Atecc608<I, D>,
    place: &StoredCertificate,
    bytes: &[u8],
    issuer: &PublicKey,
) -> bool {
    driver.write_slot(place.slot, bytes).expect("written");
    matches!(
        driver.certificate(place, issuer),
        Err(CertificateError::Certificate(_))
    )
}
