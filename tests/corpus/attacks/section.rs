//! The signature section: where it is, how often, by what name, and how its lengths are written.

use countersign_trust_store::Code;

use crate::attack::{Attack, Hostile, attack};
use crate::good::Good;
use crate::wasm::{self, COMPONENT, CORE_MODULE, CUSTOM, NAME, custom, leb, padded_leb};

pub(super) fn attacks() -> Vec<Attack> {
    let mut all = vec![
        attack(
            "ta01_no_signature_section",
            "The component as its compiler wrote it.",
            Code::SignatureMissing,
            |good| good.component(),
        ),
        attack(
            "ta01_a_bare_preamble",
            "A component without a section.",
            Code::SignatureMissing,
            |_| wasm::PREAMBLE.to_vec(),
        ),
        attack(
            "ta02_two_signature_sections_valid_then_forged",
            "A second signature section behind the valid one.",
            Code::SignatureDuplicate,
            |good| [good.file(), custom(NAME, b"forged")].concat(),
        ),
        attack(
            "ta02_two_signature_sections_valid_then_empty",
            "An empty signature section behind the valid one.",
            Code::SignatureDuplicate,
            |good| [good.file(), custom(NAME, b"")].concat(),
        ),
        attack(
            "ta02_the_valid_signature_section_twice",
            "The valid signature section, and the same again.",
            Code::SignatureDuplicate,
            |good| [good.file(), good.section()].concat(),
        ),
        attack(
            "ta03_two_signature_sections_forged_then_valid",
            "A second signature section before the valid one.",
            Code::SignatureDuplicate,
            |good| [good.component(), custom(NAME, b"forged"), good.section()].concat(),
        ),
        attack(
            "ta03_a_signed_file_signed_again",
            "A signed file taken for a component and signed.",
            Code::SignatureDuplicate,
            |good| good.sign_component(&good.file()),
        ),
        attack(
            "ta07_a_signature_in_a_nested_component",
            "The signature section stands in a nested component, where it counts for nothing.",
            Code::SignatureMissing,
            |good| {
                let inner = wasm::component(&[good.section()]);
                [good.component(), wasm::section(COMPONENT, &inner)].concat()
            },
        ),
        attack(
            "ta07_a_signature_in_a_nested_module",
            "The signature section stands in a nested core module, where it counts for nothing.",
            Code::SignatureMissing,
            |good| {
                let module = super::framing::MODULE_PREAMBLE;
                let inner = [module.as_slice(), &good.section()].concat();
                [good.component(), wasm::section(CORE_MODULE, &inner)].concat()
            },
        ),
        attack(
            "ta08_a_signed_component_inside_an_unsigned_one",
            "The signed file is a child of an outer component that nobody signed.",
            Code::SignatureMissing,
            |good| wasm::component(&[wasm::section(COMPONENT, &good.file())]),
        ),
        attack(
            "ta08_a_signed_component_two_levels_down",
            "The signed file is a grandchild of an outer component that nobody signed.",
            Code::SignatureMissing,
            |good| {
                let middle = wasm::component(&[wasm::section(COMPONENT, &good.file())]);
                wasm::component(&[wasm::section(COMPONENT, &middle)])
            },
        ),
        attack(
            "ta08_the_signature_of_a_child_on_its_parent",
            "An outer component around the signed one carries the inner one's signature.",
            Code::DigestMismatch,
            |good| {
                let outer = wasm::component(&[wasm::section(COMPONENT, &good.file())]);
                [outer, good.section()].concat()
            },
        ),
        attack(
            "ta12_a_longer_size_of_the_signature_section",
            "The size of the signature section is written with a digit more than it needs.",
            Code::Noncanonical,
            |good| resized(good, |content| padded_leb(content.len())),
        ),
        attack(
            "ta12_a_longer_length_of_the_signature_sections_name",
            "The length of the section's name is written with a digit more than it needs.",
            Code::Noncanonical,
            |good| renamed(good, &padded_leb(NAME.len()), NAME.as_bytes()),
        ),
        attack(
            "ta13_a_size_of_six_digits",
            "The size of the signature section has more digits than 32 bits take.",
            Code::Malformed,
            |good| resized(good, |_| vec![0x80, 0x80, 0x80, 0x80, 0x80, 0x01]),
        ),
        attack(
            "ta13_a_size_of_36_bits",
            "The fifth digit of the signature section's size overflows 32 bits.",
            Code::Malformed,
            |good| {
                resized(good, |content| {
                    let size = content.len();
                    let digit =
                        |at: usize| u8::try_from((size >> (7 * at)) & 0x7f).expect("a digit");
                    vec![
                        digit(0) | 0x80,
                        digit(1) | 0x80,
                        digit(2) | 0x80,
                        0x80,
                        0x10,
                    ]
                })
            },
        ),
        attack(
            "ta13_a_size_past_the_end_of_the_file",
            "The signature section claims one byte more than there is.",
            Code::Malformed,
            |good| resized(good, |content| leb(content.len() + 1)),
        ),
        attack(
            "ta13_a_size_of_four_gibibytes",
            "The signature section claims 0xffffffff bytes.",
            Code::Malformed,
            |good| resized(good, |_| leb(0xffff_ffff)),
        ),
        attack(
            "ta13_a_size_that_ends_inside_the_signature",
            "The signature section claims one byte less than it has.",
            Code::TrailingBytes,
            |good| resized(good, |content| leb(content.len() - 1)),
        ),
        attack(
            "ta13_a_name_longer_than_its_section",
            "The name of the signature section claims to be longer than the section.",
            Code::Malformed,
            |good| renamed(good, &leb(1 << 20), NAME.as_bytes()),
        ),
        attack(
            "ta13_a_name_of_four_gibibytes",
            "The name of the signature section claims 0xffffffff bytes.",
            Code::Malformed,
            |good| renamed(good, &leb(0xffff_ffff), NAME.as_bytes()),
        ),
        attack(
            "ta13_a_custom_section_without_a_name",
            "A custom section of no length, which has no room for a name.",
            Code::Malformed,
            |good| [good.component(), wasm::section(CUSTOM, &[]), good.section()].concat(),
        ),
        attack(
            "ta13_a_section_of_an_unknown_number",
            "A section with a number that components do not have before the signature section.",
            Code::Malformed,
            |good| [good.component(), wasm::section(13, b"x"), good.section()].concat(),
        ),
    ];
    for (word, id) in [
        ("custom", CUSTOM),
        ("core_module", CORE_MODULE),
        ("component", COMPONENT),
    ] {
        all.push(attack(
            format!("ta04_a_{word}_section_behind_the_signature"),
            "A section behind the signature section, which is then not the last and covers less than there is.",
            Code::SignaturePosition,
            move |good| {
                let content = match id {
                    CUSTOM => [&[4], &b"name"[..]].concat(),
                    CORE_MODULE => super::framing::MODULE_PREAMBLE.to_vec(),
                    _ => wasm::PREAMBLE.to_vec(),
                };
                [good.file(), wasm::section(id, &content)].concat()
            },
        ));
    }
    all.push(attack(
        "ta38_a_detached_signature_beside_the_file",
        "The component is unsigned, and its signature lies beside it in files that nobody looks at.",
        Code::SignatureMissing,
        |good| {
            let payload = payload(good);
            Hostile::from(good.component())
                .beside("hostile.wasm.sig", payload.clone())
                .beside("hostile.sig", payload.clone())
                .beside("hostile.cose", payload)
        },
    ));
    let cyrillic = "c\u{043e}mponent-signature";
    for (word, name) in [
        ("capital_letters", &b"Component-Signature"[..]),
        ("a_trailing_zero", b"component-signature\0"),
        ("a_trailing_space", b"component-signature "),
        ("a_leading_space", b" component-signature"),
        ("a_leading_dot", b".component-signature"),
        ("an_underscore", b"component_signature"),
        ("a_byte_order_mark", b"\xef\xbb\xbfcomponent-signature"),
        ("another_hyphen", "component\u{2010}signature".as_bytes()),
        ("a_cyrillic_letter", cyrillic.as_bytes()),
        ("a_letter_less", b"component-signatur"),
        ("a_letter_more", b"component-signatures"),
        ("invalid_utf8", b"component-signatur\xff"),
        ("no_name", b""),
    ] {
        all.push(attack(
            format!("ta14_{word}"),
            "The signature stands in a custom section whose name is almost the right one.",
            Code::SignatureMissing,
            move |good| renamed(good, &leb(name.len()), name),
        ));
    }
    all
}

/// The good file with another size in the header of its signature section.
fn resized(good: &Good, size: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let section = good.section();
    let [found] = wasm::sections(&wasm::component(std::slice::from_ref(&section)))
        .try_into()
        .expect("one section");
    let start = found.content.start - wasm::PREAMBLE.len();
    let content = &section[start..];
    [
        good.component(),
        wasm::section_sized(CUSTOM, &size(content), content),
    ]
    .concat()
}

/// The good file with another name of its signature section, the name's length as given.
fn renamed(good: &Good, length: &[u8], name: &[u8]) -> Vec<u8> {
    let content = [length, name, &payload(good)].concat();
    [good.component(), wasm::section(CUSTOM, &content)].concat()
}

/// The payload of the good file's signature section.
pub(super) fn payload(good: &Good) -> Vec<u8> {
    let file = good.file();
    let signed = countersign_format::SignedFile::parse(&file).expect("a signed file");
    signed.signature().to_vec()
}
