//! Chips with the chain of a maker: which are taken by a station that names makers, and which are not.
//!
//! The chain has the shape of the maker's preconfigured ones: a root, a signer with four digits at the end of its name, a chip
//! whose subject has its serial number and its hardware address, each serial number and date as 72 bytes can hold them.

use std::path::Path;
use std::sync::Arc;

use countersign_atecc608_emulator::{Emulator, Factory, Fault};
use countersign_backend_atecc608::{Atecc608, Atecc608Provider, Slot};
use countersign_keys::{Algorithm, PublicKey, SigningKey};
use countersign_sessions::{Chip, ChipMakers, Error, Failed, Step, StoreDevices};
use countersign_stores::Stores;
use countersign_testing::throwaway_key;
use der::Encode as _;
use der::asn1::{BitString, ObjectIdentifier};
use sha2::{Digest as _, Sha256};

use crate::bench::{Bench, EmulatedChip, issued, job, on_runtime, provision, uri};

/// 17 November 2026, 5 o'clock, for ten years, as certificates and as 72 bytes have it.
const FROM: &[u8] = b"261117050000Z";
const UNTIL: &[u8] = b"361117050000Z";
const DATES: [u8; 3] = [0xd5, 0xc4, 0xaa];

/// Which signer it is.
const NUMBER: [u8; 2] = [0x2c, 0x10];

fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let [high, low] = u16::try_from(content.len()).expect("short").to_be_bytes();
    let mut all = vec![tag];
    match (high, low) {
        (0, 0..=0x7f) => all.push(low),
        (0, _) => all.extend([0x81, low]),
        _ => all.extend([0x82, high, low]),
    }
    [all, content].concat()
}

fn identifier(text: &str) -> Vec<u8> {
    ObjectIdentifier::new_unwrap(text)
        .to_der()
        .expect("an identifier")
}

/// A name of one part: a common name, or a serial number.
fn part(kind: &str, text: &str) -> Vec<u8> {
    let part = tlv(0x30, &[&identifier(kind), &tlv(0x0c, &[text.as_bytes()])]);
    tlv(0x30, &[&tlv(0x31, &[&part])])
}

fn name(text: &str) -> Vec<u8> {
    part("2.5.4.3", text)
}

/// A certificate, and its compressed form.
fn certificate(
    subject: &[u8],
    public: &PublicKey,
    issuer: &[u8],
    key: &SigningKey,
    template: u8,
    address: Option<&str>,
) -> (Vec<u8>, [u8; 72]) {
    let point = public.to_raw_bytes();
    let mut serial = Sha256::new()
        .chain_update(&point[1..])
        .chain_update(DATES)
        .finalize()[..16]
        .to_vec();
    serial[0] = (serial[0] & 0x3f) | 0x40;
    // ecdsa-with-SHA256.
    let algorithm = tlv(0x30, &[&identifier("1.2.840.10045.4.3.2")]);
    let extension =
        |kind: &str, value: &[u8]| tlv(0x30, &[&identifier(kind), &tlv(0x04, &[value])]);
    // basicConstraints, empty, and the hardware address as a subjectAltName of directoryName.
    let mut extensions = extension("2.5.29.19", &[0x30, 0]);
    if let Some(address) = address {
        let name = part("2.5.4.5", &format!("eui48_{address}"));
        let names = tlv(0x30, &[&tlv(0xa4, &[&name])]);
        extensions.extend(extension("2.5.29.17", &names));
    }
    let tbs = tlv(
        0x30,
        &[
            &[0xa0, 3, 2, 1, 2],
            &tlv(0x02, &[&serial]),
            &algorithm,
            issuer,
            &tlv(0x30, &[&tlv(0x17, &[FROM]), &tlv(0x17, &[UNTIL])]),
            subject,
            &public.to_spki_der(),
            &tlv(0xa3, &[&tlv(0x30, &[&extensions])]),
        ],
    );
    let raw: [u8; 64] = *key.sign(&tbs).expect("signed").as_bytes();
    let whole = p256::ecdsa::Signature::from_slice(&raw)
        .expect("a signature")
        .to_der();
    let bits = BitString::from_bytes(whole.as_bytes())
        .and_then(|bits| bits.to_der())
        .expect("bits");
    let tail = [NUMBER[0], NUMBER[1], template << 4, 0xa0, 0];
    let compressed = [&raw[..], &DATES, &tail].concat();
    (
        tlv(0x30, &[&tbs, &algorithm, &bits]),
        compressed.try_into().expect("72 bytes"),
    )
}

fn pem(der: &[u8]) -> String {
    der::pem::encode_string("CERTIFICATE", der::pem::LineEnding::LF, der).expect("PEM")
}

/// A maker with a root and a signer.
struct Maker {
    root: SigningKey,
    signer: SigningKey,
}

impl Maker {
    fn new() -> Self {
        Self {
            root: throwaway_key(Algorithm::Esp256),
            signer: throwaway_key(Algorithm::Esp256),
        }
    }

    fn signers(&self) -> (Vec<u8>, [u8; 72]) {
        let signer = self.signer.public_key();
        certificate(
            &name("Maker Signer 2C10"),
            signer,
            &name("Maker Root"),
            &self.root,
            1,
            None,
        )
    }

    /// Makes the key of a chip and puts its chain into it; the chip's own certificate.
    fn equip(&self, emulator: &Emulator, address: &[u8; 12]) -> Vec<u8> {
        let mut chip = Atecc608::new(emulator.bus(), emulator.delay(), 0x60);
        let slot = |number| Slot::new(number).expect("a slot");
        let point = chip.generate(slot(0)).expect("a key");
        let public = PublicKey::from_p256_point(&[&[4][..], &point].concat()).expect("a point");
        let serial = chip
            .serial()
            .expect("read")
            .to_string()
            .to_ascii_uppercase();
        let address_text = std::str::from_utf8(address).expect("text");
        let subject = name(&format!("sn{serial}"));
        let (own, compressed) = certificate(
            &subject,
            &public,
            &name("Maker Signer 2C10"),
            &self.signer,
            3,
            Some(address_text),
        );
        chip.write_slot(slot(5), address).expect("written");
        chip.write_slot(slot(10), &compressed).expect("written");
        chip.store_key(slot(11), self.signer.public_key())
            .expect("written");
        chip.write_slot(slot(12), &self.signers().1)
            .expect("written");
        own
    }

    /// The folder that names this maker, with this chip as the example.
    fn folder(&self, path: &Path, example: &[u8]) {
        std::fs::create_dir_all(path).expect("a folder");
        let root = self.root.public_key();
        let (root, _) = certificate(
            &name("Maker Root"),
            root,
            &name("Maker Root"),
            &self.root,
            0,
            None,
        );
        for (file, der) in [
            ("root.pem", root.as_slice()),
            ("signer.pem", &self.signers().0),
            ("chip.pem", example),
        ] {
            let text = pem(der);
            std::fs::write(path.join(file), text).expect("written");
        }
    }
}

fn chip(emulator: &Emulator, makers: &Arc<ChipMakers>) -> Arc<EmulatedChip> {
    let device = Atecc608::new(emulator.bus(), emulator.delay(), 0x60);
    let keys = Atecc608Provider::new(device, Path::new("/dev/i2c-1"), 0x60);
    Arc::new(Chip::new(keys, Vec::new()).of_makers(Arc::clone(makers)))
}

#[test]
fn tf25_a_chip_is_provisioned_only_if_a_maker_that_was_named_vouches_for_it() {
    on_runtime(async {
        let bench = Bench::new();
        let station = bench.station().await;
        let emulator = |seed| Emulator::new(Factory::provisioned(seed));
        let maker = Maker::new();
        let (first, second) = (emulator(71), emulator(72));
        let example = maker.equip(&first, b"0004A3B1C2D3");
        maker.equip(&second, b"0004A3000001");
        let folder = bench.path("makers");
        maker.folder(&folder, &example);
        let makers = Arc::new(ChipMakers::read(&folder).expect("makers"));
        // The maker's own key in the chip, and another one of it; after the example of another chip.
        let done = provision(&station, &job("press-1", &uri(1)), chip(&second, &makers))
            .await
            .expect("provisioned");
        assert_eq!(done.attested.as_str(), "atecc608");
        let other_key = uri(1).replace("slot=0", "slot=2");
        provision(&station, &job("press-2", &other_key), chip(&first, &makers))
            .await
            .expect("provisioned");

        let refused = async |emulator: &Emulator, makers: &Arc<ChipMakers>, word: &str| {
            let job = job("press-3", &uri(1));
            let Failed { step, error } = provision(&station, &job, chip(emulator, makers))
                .await
                .expect_err(word);
            assert_eq!(step, Step::Attest, "{error}");
            assert!(matches!(error, Error::Attestation { .. }), "{error}");
            assert!(error.to_string().contains(word), "{error}");
            assert_eq!(issued(station.issuing.registry(), "press-3").await, 0);
        };
        // Nobody vouches for a bare one, and no copy of another's chain does.
        let bare = emulator(73);
        refused(&bare, &makers, "no known maker").await;
        let mut forged = Atecc608::new(bare.bus(), bare.delay(), 0x60);
        for number in [5, 10, 11, 12] {
            let slot = Slot::new(number).expect("a slot");
            forged
                .write_slot(slot, &first.slot(usize::from(number)))
                .expect("written");
        }
        refused(&bare, &makers, "signature").await;
        // Another maker's chain, in the same shape and under the same names.
        let stranger = emulator(74);
        let theirs = Maker::new();
        let other_example = theirs.equip(&stranger, b"0004A3000002");
        refused(&stranger, &makers, "signature").await;
        // A folder with both takes both.
        let both = bench.path("both");
        maker.folder(&both, &example);
        theirs.folder(&both.join("theirs"), &other_example);
        for file in ["root.pem", "signer.pem", "chip.pem"] {
            std::fs::rename(
                both.join("theirs").join(file),
                both.join(format!("their-{file}")),
            )
            .expect("moved");
        }
        std::fs::remove_dir(both.join("theirs")).expect("removed");
        let both = Arc::new(ChipMakers::read(&both).expect("makers"));
        for (device, emulator) in [("press-4", &stranger), ("press-1", &second)] {
            provision(&station, &job(device, &uri(1)), chip(emulator, &both))
                .await
                .expect("provisioned");
        }
        // The certified key does not sign.
        let mute = emulator(75);
        maker.equip(&mute, b"0004A3000003");
        mute.inject(Fault::SignatureBit.once().bit(300));
        refused(&mute, &makers, "does not hold the key").await;
        // A key that was made anew is not the one that the maker certified.
        Atecc608::new(mute.bus(), mute.delay(), 0x60)
            .generate(Slot::new(0).expect("a slot"))
            .expect("a key");
        refused(&mute, &makers, "signature").await;
    });
}

#[test]
fn tf25_a_folder_of_makers_must_lead_from_a_chip_to_a_root() {
    let bench = Bench::new();
    let maker = Maker::new();
    let emulator = Emulator::new(Factory::provisioned(76));
    let example = maker.equip(&emulator, b"0004A3B1C2D3");
    let folder = bench.path("makers");
    maker.folder(&folder, &example);
    let devices = || StoreDevices::new(Stores::without_secrets());
    assert!(devices().of_chip_makers(&folder).is_ok());
    // A chain would overwrite what the chip is judged by.
    let overwriting = devices().with_chip_slots(&[8, 9, 10]).expect("slots");
    let error = overwriting.of_chip_makers(&folder).err().expect("refused");
    assert!(error.to_string().contains("overwrite"), "{error}");
    // The chip of another maker is no example of this one's, and neither is anything without its signer or root.
    let theirs = Maker::new().equip(&emulator, b"0004A3B1C2D3");
    let text = pem(&theirs);
    std::fs::write(folder.join("chip.pem"), text).expect("written");
    for missing in ["signer.pem", "root.pem"] {
        let error = ChipMakers::read(&folder).expect_err("refused");
        assert!(matches!(error, Error::Refused { .. }), "{error}");
        std::fs::remove_file(folder.join(missing)).expect("removed");
    }
}
