//! Names: of devices, of subjects and issuers, and the numbers of certificates.

use countersign_format::oid as ours;
use countersign_trust_store::{Code, oid};

use super::extensions::extended;
use crate::attack::{Attack, attack, control};
use crate::der::{self, INTEGER, OCTET_STRING, SET, UTF8_STRING, sequence, tlv};
use crate::good::{DEVICE, Good, LEAF, LOWER};

const ON_HARDWARE_MODULE_NAME: &str = "1.3.6.1.5.5.7.8.4";
const COMMON_NAME: &str = "2.5.4.3";
const SERIAL_NUMBER: &str = "2.5.4.5";

pub(super) fn attacks() -> Vec<Attack> {
    let mut all = devices();
    all.extend(subjects());
    all.extend(serials());
    all
}

fn devices() -> Vec<Attack> {
    let mut all = vec![
        control(
            "control_a_device_name_made_by_hand",
            "The device's name in its certificate is put together by hand.",
            |good| named(good, &[DEVICE.as_bytes()]),
        ),
        control(
            "control_a_device_named_by_its_common_name_alone",
            "The device's certificate has no alternative name; one signer needs none.",
            |good| {
                good.sign(&good.bent(LEAF, |parts| parts.remove_extension(oid::SUBJECT_ALT_NAME)))
            },
        ),
        attack(
            "tc20_two_devices_in_one_certificate",
            "The device's certificate names two devices.",
            Code::DeviceIdentity,
            |good| named(good, &[DEVICE.as_bytes(), b"pump-07"]),
        ),
        attack(
            "tc20_the_same_device_twice",
            "The device's certificate names its device twice.",
            Code::DeviceIdentity,
            |good| named(good, &[DEVICE.as_bytes(), DEVICE.as_bytes()]),
        ),
        attack(
            "tc20_a_hardware_module_that_cannot_be_read",
            "The name of the hardware module is none.",
            Code::DeviceIdentity,
            |good| alternative_names(good, &[other_name(&sequence(&[]))]),
        ),
        attack(
            "tc20_another_serial_number_in_the_subject",
            "The subject's serialNumber is another device's than the alternative name's.",
            Code::DeviceIdentity,
            |good| subject(good, LEAF, &[(SERIAL_NUMBER, 0x13, b"pump-07")]),
        ),
        attack(
            "tc19_a_serial_number_of_two_bytes_a_letter",
            "The subject's serialNumber is a BMPString.",
            Code::DeviceIdentity,
            |good| {
                let wide: Vec<u8> = DEVICE.bytes().flat_map(|byte| [0, byte]).collect();
                subject(good, LEAF, &[(SERIAL_NUMBER, 0x1e, &wide)])
            },
        ),
    ];
    let long = "x".repeat(65);
    for (word, id) in [
        ("with_a_zero", b"test-device\0".to_vec()),
        ("with_a_zero_inside", b"test\0device".to_vec()),
        ("with_a_line_end", b"test-device\n".to_vec()),
        ("with_a_terminal_command", b"test\x1b[2Jdevice".to_vec()),
        ("that_reads_backwards", "te\u{202e}st".into()),
        ("with_a_cyrillic_letter", "t\u{0435}st-device".into()),
        ("of_two_bytes_a_letter", b"\0t\0e\0s\0t".to_vec()),
        ("that_is_a_path", b"../../etc".to_vec()),
        ("of_no_letters", Vec::new()),
        ("of_65_letters", long.into_bytes()),
        ("that_is_no_text", vec![0xff, 0xfe]),
        ("with_a_space", b"test device".to_vec()),
    ] {
        all.push(attack(
            format!("tc19_a_device_{word}"),
            "The device's certificate names a device as none may be named.",
            Code::DeviceIdentity,
            move |good| named(good, &[&id]),
        ));
    }
    all
}

fn subjects() -> Vec<Attack> {
    vec![
        attack(
            "tc32_a_device_without_a_subject",
            "The device's certificate has an empty subject.",
            Code::CertificateMalformed,
            |good| subject(good, LEAF, &[]),
        ),
        attack(
            "tc32_an_authority_without_a_subject",
            "An authority's certificate has an empty subject.",
            Code::CertificateMalformed,
            |good| subject(good, LOWER, &[]),
        ),
        attack(
            "tc32_a_device_without_an_issuer",
            "The device's certificate has an empty issuer.",
            Code::CertificateMalformed,
            |good| good.sign(&good.bent(LEAF, |parts| parts.issuer = der::any(&sequence(&[])))),
        ),
        attack(
            "tc19_a_subject_that_a_terminal_would_obey",
            "The device's subject has terminal commands, and the device is revoked, so that its name is printed.",
            Code::Revoked,
            |good| {
                let device = bent_subject(
                    good,
                    LEAF,
                    &[(COMMON_NAME, UTF8_STRING, b"\x1b[2J\x07pump\r\n")],
                );
                crate::attack::Hostile::from(good.sign(&device))
                    .with_lists(super::lists::revoking(good, &device.chain[LEAF]))
            },
        ),
    ]
}

/// RFC 5280 §4.1.2.2: positive, at most 20 octets.
fn serials() -> Vec<Attack> {
    let mut all = vec![control(
        "control_a_serial_number_of_20_octets",
        "The device's certificate has the longest serial number that there may be.",
        |good| numbered(good, LEAF, &[0x7f; 20]),
    )];
    for (word, octets, code) in [
        ("0", &[0][..], Code::CertificateSerial),
        ("below_0", &[0x80], Code::CertificateSerial),
        ("minus_1", &[0xff], Code::CertificateSerial),
        ("of_21_octets", &[0x7f; 21], Code::CertificateSerial),
        ("of_100_octets", &[0x7f; 100], Code::CertificateMalformed),
        (
            "with_a_zero_more_than_it_needs",
            &[0, 0x7f],
            Code::CertificateMalformed,
        ),
        ("of_no_octets", &[], Code::CertificateMalformed),
    ] {
        for (whose, place) in [("a_device", LEAF), ("an_authority", LOWER)] {
            all.push(attack(
                format!("tc16_a_serial_number_{word}_of_{whose}"),
                "A certificate has a serial number that none may have.",
                code,
                move |good| numbered(good, place, octets),
            ));
        }
    }
    all
}

/// The good file, the device's certificate naming these devices.
fn named(good: &Good, ids: &[&[u8]]) -> Vec<u8> {
    let names: Vec<Vec<u8>> = ids
        .iter()
        .map(|id| {
            let kind = ::der::Encode::to_der(&ours::HARDWARE_TYPE).expect("it encodes");
            other_name(&sequence(&[&kind, &tlv(OCTET_STRING, id)]))
        })
        .collect();
    alternative_names(good, &names)
}

/// otherName of a GeneralName: a hardware module (RFC 4108 §5).
fn other_name(module: &[u8]) -> Vec<u8> {
    tlv(
        0xa0,
        &[der::oid(ON_HARDWARE_MODULE_NAME), tlv(0xa0, module)].concat(),
    )
}

fn alternative_names(good: &Good, names: &[Vec<u8>]) -> Vec<u8> {
    extended(
        good,
        LEAF,
        oid::SUBJECT_ALT_NAME,
        false,
        &sequence(&[&names.concat()]),
    )
}

/// The good file, a certificate with this subject: types, tags and contents of its attributes.
fn subject(good: &Good, place: usize, attributes: &[(&str, u8, &[u8])]) -> Vec<u8> {
    good.sign(&bent_subject(good, place, attributes))
}

fn bent_subject(
    good: &Good,
    place: usize,
    attributes: &[(&str, u8, &[u8])],
) -> crate::good::Device {
    let name: Vec<u8> = attributes
        .iter()
        .flat_map(|(kind, tag, content)| {
            tlv(SET, &sequence(&[&der::oid(kind), &tlv(*tag, content)]))
        })
        .collect();
    good.bent(place, |parts| parts.subject = der::any(&sequence(&[&name])))
}

/// The good file, a certificate with a serial number of these octets.
fn numbered(good: &Good, place: usize, octets: &[u8]) -> crate::attack::Hostile {
    let number = tlv(INTEGER, octets);
    let certificate = {
        let parts = der::children(&good.device().chain[place]);
        let mut fields = der::children(&parts[0]);
        fields[1] = number;
        let to_be_signed = sequence(&[&fields.concat()]);
        der::signed(&to_be_signed, &parts[1], &good.issuer_key(place))
    };
    good.sign(&good.replaced(place, certificate)).into()
}
