//! What other signers of WebAssembly have been seen to accept: one byte changed, cut, added or moved.

use countersign_format::SignerEntry;
use countersign_provisioning::Profile;
use countersign_trust_store::Code;

use super::body::{exchanged, padded_section};
use super::section::payload;
use crate::attack::{Attack, attack};
use crate::good::{DEVICE, LEAF, encode, seal};
use crate::wasm::{self, CUSTOM, NAME, custom, leb, padded_leb};

/// The sections that other tools put into signed modules.
const SIGNATURE: &str = "signature";
const DELIMITER: &str = "signature_delimiter";

pub(super) fn attacks() -> Vec<Attack> {
    let mut all = vec![
        attack(
            "peer_a_section_appended",
            "A custom section behind the signed file.",
            Code::SignaturePosition,
            |good| [good.file(), custom("note", b"x")].concat(),
        ),
        attack(
            "peer_two_sections_reordered",
            "Two sections have changed places.",
            Code::DigestMismatch,
            |good| exchanged(good, 1),
        ),
        attack(
            "peer_the_signature_on_another_body",
            "The signature section behind another component.",
            Code::DigestMismatch,
            |good| [wasm::PREAMBLE.to_vec(), good.section()].concat(),
        ),
        attack(
            "peer_cut_off_at_a_delimiter",
            "The component had a delimiter of the other format when it was signed, and ends there now.",
            Code::SignatureMissing,
            |good| {
                let delimited = [good.component(), custom(DELIMITER, &[7; 16])].concat();
                good.sign_component(&delimited)[..delimited.len()].to_vec()
            },
        ),
        attack(
            "peer_cut_off_at_a_delimiter_before_the_signature",
            "What follows a delimiter of the other format is gone, up to the signature section.",
            Code::DigestMismatch,
            |good| {
                let kept = [good.component(), custom(DELIMITER, &[7; 16])].concat();
                let whole = [kept.clone(), custom("note", b"more")].concat();
                let section = good.sign_component(&whole).split_off(whole.len());
                [kept, section].concat()
            },
        ),
        attack(
            "peer_an_extra_signature_section",
            "A second signature section before the genuine one.",
            Code::SignatureDuplicate,
            |good| [good.component(), good.section(), good.section()].concat(),
        ),
        attack(
            "peer_a_signature_section_of_the_other_format",
            "An unsigned component with the section that signs core modules in the other format.",
            Code::SignatureMissing,
            |good| {
                let content = [&[1, 1, 1, 1][..], &[7; 32], &[1, 0, 64], &[7; 64]].concat();
                let sections = wasm::sections(&good.component());
                let mut file = good.component();
                file.splice(
                    sections[0].whole.start..sections[0].whole.start,
                    custom(SIGNATURE, &content),
                );
                file
            },
        ),
        attack(
            "peer_a_longer_number_in_the_body",
            "The size of a section is written with a digit more than it needs.",
            Code::Noncanonical,
            |good| padded_section(good, 1),
        ),
        attack(
            "peer_a_longer_number_in_the_signature_section",
            "The size of the signature section is written with a digit more than it needs.",
            Code::Noncanonical,
            |good| {
                let content = [&leb(NAME.len()), NAME.as_bytes(), &payload(good)].concat();
                [
                    good.component(),
                    wasm::section_sized(CUSTOM, &padded_leb(content.len()), &content),
                ]
                .concat()
            },
        ),
        attack(
            "peer_junk_in_the_signature_section",
            "Bytes stand behind the signature inside its section.",
            Code::Noncanonical,
            |good| good.enclose(&[payload(good), b"junk".to_vec()].concat()),
        ),
        attack(
            "peer_junk_before_the_signature_in_its_section",
            "Bytes stand before the signature inside its section.",
            Code::Malformed,
            |good| good.enclose(&[b"junk".to_vec(), payload(good)].concat()),
        ),
        attack(
            "peer_the_preamble_of_a_module",
            "The preamble says that the signed component is a core module.",
            Code::NotAComponent,
            |good| {
                let mut file = good.file();
                file[..8].copy_from_slice(super::framing::MODULE_PREAMBLE);
                file
            },
        ),
        attack(
            "peer_the_preamble_of_a_component",
            "A core module whose preamble says that it is a component, with the component's signature.",
            Code::DigestMismatch,
            |good| {
                let module = [wasm::PREAMBLE.to_vec(), wasm::section(1, &[0])].concat();
                [module, good.section()].concat()
            },
        ),
        attack(
            "peer_the_chain_of_another_certificate_for_the_same_key",
            "The chain is exchanged for another good one of the same key; the signature is the old one.",
            Code::SignersMismatch,
            |good| {
                let device = good.device();
                let statement = encode(good.fields(&device));
                let old = device.entry(&statement);
                let key = device.key.public_key();
                let chain = good
                    .replaced(LEAF, good.issue(Profile::ComponentSigner, DEVICE, key))
                    .chain;
                let signature = old.signature().try_into().expect("64 bytes");
                let entry = SignerEntry::new(old.algorithm(), chain, signature).expect("an entry");
                good.enclose(&seal(&statement, vec![entry]))
            },
        ),
        attack(
            "peer_the_chain_cut_short",
            "The chain is cut short; the signature is the old one.",
            Code::SignersMismatch,
            |good| {
                let device = good.device();
                let statement = encode(good.fields(&device));
                let old = device.entry(&statement);
                let signature = old.signature().try_into().expect("64 bytes");
                let entry =
                    SignerEntry::new(old.algorithm(), device.chain[..2].to_vec(), signature);
                good.enclose(&seal(&statement, vec![entry.expect("an entry")]))
            },
        ),
    ];
    for tenth in 1..10 {
        all.push(attack(
            format!("peer_a_byte_flipped_at_{tenth}_tenths_of_the_body"),
            "One bit of the body is another one, inside a section.",
            Code::DigestMismatch,
            move |good| {
                let mut file = good.file();
                let at = good.component().len() * tenth / 10;
                let sections = wasm::sections(&good.component());
                let inside = |at: usize| {
                    sections
                        .iter()
                        .any(|section| section.content.start + 32 <= at && at < section.content.end)
                };
                let at = (at..)
                    .find(|at| inside(*at))
                    .expect("a place inside a section");
                file[at] ^= 1;
                file
            },
        ));
    }
    for half in ["first", "second"] {
        all.push(attack(
            format!("peer_cut_off_behind_the_{half}_half_of_its_sections"),
            "The component ends at one of its own sections, with the signature of the whole.",
            Code::DigestMismatch,
            move |good| {
                let component = good.component();
                let sections = wasm::sections(&component);
                let place = if half == "first" {
                    sections.len() / 2
                } else {
                    sections.len() - 1
                };
                [&component[..sections[place].whole.start], &good.section()].concat()
            },
        ));
    }
    all
}
