//! The component under a valid signature: bytes changed, sections added, removed, exchanged.

use countersign_trust_store::Code;

use crate::attack::{Attack, attack, control};
use crate::good::{Good, encode, name_component, seal};
use crate::wasm::{self, CORE_MODULE, CUSTOM, Section, custom, padded_leb};

pub(super) fn attacks() -> Vec<Attack> {
    let mut all = vec![
        attack(
            "ta09_the_first_core_module_replaced",
            "One core module of the component is another one, the rest is untouched.",
            Code::DigestMismatch,
            |good| {
                let found = of_kind(good, CORE_MODULE)
                    .into_iter()
                    .next()
                    .expect("a core module");
                let empty = wasm::section(CORE_MODULE, super::framing::MODULE_PREAMBLE);
                spliced(good, &found, &empty)
            },
        ),
        attack(
            "ta09_one_byte_of_the_first_core_module",
            "One byte in the middle of a core module is another one.",
            Code::DigestMismatch,
            |good| {
                let found = of_kind(good, CORE_MODULE)
                    .into_iter()
                    .next()
                    .expect("a core module");
                let mut file = good.file();
                file[found.content.start + found.content.len() / 2] ^= 1;
                file
            },
        ),
        attack(
            "ta12_a_longer_size_of_a_section",
            "The size of the component's first section is written with a digit more than it needs.",
            Code::Noncanonical,
            |good| padded_section(good, 0),
        ),
        attack(
            "ta12_a_longer_size_of_a_section_signed",
            "The size of a section is written with a digit more than it needs, and the file was signed so.",
            Code::Noncanonical,
            |good| {
                let padded = padded_section(good, 0);
                let size = padded.len() - good.section().len();
                good.sign_component(&padded[..size])
            },
        ),
        attack(
            "ta12_a_longer_length_of_a_custom_sections_name",
            "The length of a custom section's name is written with a digit more than it needs.",
            Code::Noncanonical,
            |good| {
                let content = [&padded_leb(4), &b"note"[..], b"x"].concat();
                let note = wasm::section(CUSTOM, &content);
                [good.component(), note, good.section()].concat()
            },
        ),
        attack(
            "ta12_a_longer_count_inside_a_section",
            "A count inside a section is written with a digit more than it needs; only the digest covers that.",
            Code::DigestMismatch,
            |good| {
                let found = all_sections(good)
                    .into_iter()
                    .find(|section| !matches!(section.id, CUSTOM | CORE_MODULE | wasm::COMPONENT));
                let found = found.expect("a section that begins with a count");
                let content = &good.component()[found.content.clone()];
                let (count, digits) = wasm::read_leb(content);
                let padded = [&padded_leb(count), &content[digits..]].concat();
                spliced(good, &found, &wasm::section(found.id, &padded))
            },
        ),
        attack(
            "ta13_a_section_past_the_end_of_the_file",
            "The component's first section claims to reach past the end of the file.",
            Code::Malformed,
            |good| {
                let first = all_sections(good).swap_remove(0);
                let content = &good.component()[first.content.clone()];
                let huge = wasm::section_sized(first.id, &wasm::leb(0xffff_ffff), content);
                spliced(good, &first, &huge)
            },
        ),
        attack(
            "ta13_a_section_that_swallows_the_signature",
            "A custom section before the signature section claims as many bytes as to hold it.",
            Code::SignatureMissing,
            |good| [good.component(), custom("note", &good.section())].concat(),
        ),
        attack(
            "ta20_the_signature_of_another_component",
            "The signature section of another component of another size.",
            Code::DigestMismatch,
            |good| {
                let other = [good.component(), custom("note", b"other")].concat();
                let section = good.sign_component(&other).split_off(other.len());
                [good.component(), section].concat()
            },
        ),
        attack(
            "ta20_the_signature_of_another_component_of_the_same_size",
            "The signature section of another component of the same size.",
            Code::DigestMismatch,
            |good| {
                let mut other = good.component();
                *other.last_mut().expect("not empty") ^= 1;
                let section = good.sign_component(&other).split_off(other.len());
                [good.component(), section].concat()
            },
        ),
        attack(
            "ta20_the_statement_of_one_file_and_the_signature_of_another",
            "The statement is this component's, the signature is over another component's statement.",
            Code::SignatureInvalid,
            |good| {
                let device = good.device();
                let other = encode(good.fields_for(&device, b"another component"));
                let own = encode(good.fields(&device));
                good.enclose(&seal(&own, vec![device.entry(&other)]))
            },
        ),
        attack(
            "ta21_a_digest_of_a_part",
            "The statement holds digest and size of the component without its last section.",
            Code::DigestMismatch,
            |good| {
                let last = all_sections(good).pop().expect("a section");
                let component = good.component();
                stating_about(good, &component[..last.whole.start])
            },
        ),
        attack(
            "ta21_a_digest_of_nothing",
            "The statement holds the digest of no bytes and the size 0.",
            Code::DigestMismatch,
            |good| stating_about(good, b""),
        ),
        attack(
            "ta21_the_right_digest_and_another_size",
            "The statement holds the component's digest and the size of less.",
            Code::DigestMismatch,
            |good| {
                let device = good.device();
                let mut fields = good.fields(&device);
                fields.component_size -= 1;
                good.sign_fields(&device, fields)
            },
        ),
        attack(
            "ta31_a_custom_section_removed",
            "A custom section, which changes nothing that runs, is gone from the signed component.",
            Code::DigestMismatch,
            |good| {
                let noted = [good.component(), custom("note", b"kept")].concat();
                let section = good.sign_component(&noted).split_off(noted.len());
                [good.component(), section].concat()
            },
        ),
        attack(
            "ta31_a_custom_section_altered",
            "One letter of a custom section, which changes nothing that runs, is another one.",
            Code::DigestMismatch,
            |good| {
                let noted = [good.component(), custom("note", b"kept")].concat();
                let mut file = good.sign_component(&noted);
                file[noted.len() - 1] ^= 1;
                file
            },
        ),
        control(
            "control_a_custom_section_that_is_signed",
            "A custom section that was there when the component was signed.",
            |good| good.sign_component(&[good.component(), custom("note", b"kept")].concat()),
        ),
    ];
    for name in ["name", "producers", "note", "metadata.code.branch_hint"] {
        let word = name.replace('.', "_");
        all.push(attack(
            format!("ta31_a_{word}_section_added"),
            "A custom section, which changes nothing that runs, was put before the signature section.",
            Code::DigestMismatch,
            move |good| [good.component(), custom(name, b"\0"), good.section()].concat(),
        ));
    }
    for place in ["first", "middle", "last"] {
        all.push(attack(
            format!("ta32_the_signature_section_before_the_{place}_section"),
            "The signature section is not the last.",
            Code::SignaturePosition,
            move |good| {
                let found = all_sections(good);
                let section = match place {
                    "first" => &found[0],
                    "middle" => &found[found.len() / 2],
                    _ => &found[found.len() - 1],
                };
                let (before, after) = split(good.component(), section.whole.start);
                [before, good.section(), after].concat()
            },
        ));
    }
    for step in [1, 2, 3] {
        all.push(attack(
            format!("ta32_two_sections_{step}_apart_exchanged"),
            "Two sections of different content have changed places.",
            Code::DigestMismatch,
            move |good| exchanged(good, step),
        ));
    }
    all
}

fn all_sections(good: &Good) -> Vec<Section> {
    wasm::sections(&good.component())
}

fn of_kind(good: &Good, id: u8) -> Vec<Section> {
    let mut found = all_sections(good);
    found.retain(|section| section.id == id);
    found
}

/// The signed file with one of its sections replaced.
fn spliced(good: &Good, section: &Section, by: &[u8]) -> Vec<u8> {
    let mut file = good.file();
    file.splice(section.whole.clone(), by.iter().copied());
    file
}

/// The signed file with the size of one section written with a digit more than it needs.
pub(super) fn padded_section(good: &Good, index: usize) -> Vec<u8> {
    let section = &all_sections(good)[index];
    let content = &good.component()[section.content.clone()];
    let padded = wasm::section_sized(section.id, &padded_leb(content.len()), content);
    spliced(good, section, &padded)
}

/// The signed file with two sections in each other's place: the first pair so far apart that differs.
pub(super) fn exchanged(good: &Good, step: usize) -> Vec<u8> {
    let component = good.component();
    let found = all_sections(good);
    let differs =
        |pair: &&[Section]| component[pair[0].whole.clone()] != component[pair[step].whole.clone()];
    let pair = found
        .windows(step + 1)
        .find(differs)
        .expect("two that differ");
    let (one, other) = (&pair[0].whole, &pair[step].whole);
    [
        &component[..one.start],
        &component[other.clone()],
        &component[one.end..other.start],
        &component[one.clone()],
        &component[other.end..],
        &good.section(),
    ]
    .concat()
}

/// The component under a well signed statement about other bytes.
fn stating_about(good: &Good, other: &[u8]) -> Vec<u8> {
    let device = good.device();
    let mut fields = good.fields(&device);
    name_component(&mut fields, other);
    good.sign_fields(&device, fields)
}

fn split(mut bytes: Vec<u8>, at: usize) -> (Vec<u8>, Vec<u8>) {
    let after = bytes.split_off(at);
    (bytes, after)
}
