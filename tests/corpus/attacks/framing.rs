//! What a file is at all, what stands before it and behind it.

use countersign_trust_store::Code;

use crate::attack::{Attack, attack, control};
use crate::good::{COMPONENT, DEVICE, Good};
use crate::wasm;

pub(super) fn attacks() -> Vec<Attack> {
    let mut all = vec![
        control(
            "control_a_signed_component",
            "The file that every attack starts from.",
            |good| good.file(),
        ),
        attack(
            "ta01_an_empty_file",
            "No bytes.",
            Code::NotAComponent,
            |_| Vec::new(),
        ),
        attack(
            "ta05_a_mebibyte_behind_the_signature",
            "A mebibyte of 0xff behind the signed component.",
            Code::TrailingBytes,
            |good| [good.file(), vec![0xff; 1 << 20]].concat(),
        ),
        attack(
            "ta05_a_component_behind_the_signature",
            "A whole unsigned component behind the signed one.",
            Code::TrailingBytes,
            |good| [good.file(), good.component()].concat(),
        ),
        attack(
            "ta05_the_signed_component_twice",
            "The signed file, and the signed file again.",
            Code::TrailingBytes,
            |good| [good.file(), good.file()].concat(),
        ),
        attack(
            "ta05_a_second_preamble_behind_the_signature",
            "The preamble of a component behind the signed one.",
            Code::TrailingBytes,
            |good| [good.file(), wasm::PREAMBLE.to_vec()].concat(),
        ),
        attack(
            "ta17_a_core_module",
            "An empty core module.",
            Code::NotAComponent,
            |_| MODULE_PREAMBLE.to_vec(),
        ),
        attack(
            "ta17_a_core_module_with_the_signature_of_a_component",
            "An empty core module that carries the component's signature section.",
            Code::NotAComponent,
            |good| [MODULE_PREAMBLE.to_vec(), good.section()].concat(),
        ),
        attack(
            "ta17_a_signed_core_module",
            "A core module, signed as if it were a component.",
            Code::NotAComponent,
            |good| good.sign_component(MODULE_PREAMBLE),
        ),
        attack(
            "ta18_text",
            "The text form of a component.",
            Code::NotAComponent,
            |_| b"(component)".to_vec(),
        ),
        attack(
            "ta18_text_behind_a_comment",
            "The text form of a component behind a comment.",
            Code::NotAComponent,
            |_| b";; a comment\n(component)\n".to_vec(),
        ),
        attack(
            "ta18_signed_text",
            "The text form of a component, signed as if it were one.",
            Code::NotAComponent,
            |good| good.sign_component(b"(component)"),
        ),
        attack(
            "ta19_native_code",
            "An ELF file.",
            Code::NotAComponent,
            |_| native(),
        ),
        attack(
            "ta19_native_code_with_the_signature_of_a_component",
            "An ELF file that carries the component's signature section.",
            Code::NotAComponent,
            |good| [native(), good.section()].concat(),
        ),
        attack(
            "ta19_signed_native_code",
            "An ELF file, signed as if it were a component.",
            Code::NotAComponent,
            |good| good.sign_component(&native()),
        ),
        attack(
            "ta19_the_header_of_precompiled_code",
            "The ELF header that Wasmtime's precompiled components have, before the signed component.",
            Code::NotAComponent,
            |good| [precompiled_header(), good.file()].concat(),
        ),
    ];
    for byte in [0x00, 0x0a, 0x7f, 0xff] {
        all.push(attack(
            format!("ta05_one_byte_{byte:02x}_behind_the_signature"),
            "One byte behind the signed component.",
            Code::TrailingBytes,
            move |good| [good.file(), vec![byte]].concat(),
        ));
    }
    for (word, before) in [
        ("zip", &b"PK\x03\x04"[..]),
        ("elf", b"\x7fELF\x02\x01\x01"),
        ("dex", b"dex\n035\0"),
        ("dos", b"MZ\x90\0"),
        ("pdf", b"%PDF-1.7\n"),
        ("shell", b"#!/bin/sh\n"),
        ("byte_order_mark", b"\xef\xbb\xbf"),
        ("a_zero", b"\0"),
        ("a_line_end", b"\n"),
    ] {
        all.push(attack(
            format!("ta06_{word}_before_the_component"),
            "Bytes of another format before the signed component, so that each reader finds its own.",
            Code::NotAComponent,
            move |good| [before, &good.file()].concat(),
        ));
    }
    for (word, version, layer) in [
        ("layer_of_a_module", 0x0d, 0),
        ("version_of_a_module", 0x01, 1),
        ("unknown_layer", 0x0d, 2),
        ("unknown_version", 0x0e, 1),
        ("older_version", 0x0c, 1),
    ] {
        let preamble = move |file: Vec<u8>| {
            let mut file = file;
            (file[4], file[6]) = (version, layer);
            file
        };
        all.push(attack(
            format!("ta17_{word}"),
            "The signed component with another version or layer in its preamble.",
            Code::NotAComponent,
            move |good| preamble(good.file()),
        ));
        all.push(attack(
            format!("ta17_{word}_signed"),
            "The component with another version or layer in its preamble, signed so.",
            Code::NotAComponent,
            move |good| good.sign_component(&preamble(good.component())),
        ));
    }
    // Every bit and every length, in process, is in tests/tamper.
    for (word, text, code) in [
        ("the_name", COMPONENT, Code::SignatureInvalid),
        ("the_chain", DEVICE, Code::SignersMismatch),
    ] {
        all.push(attack(
            format!("ta10_one_bit_of_{word}"),
            "One bit of the signature section is another one, in a letter of a name.",
            code,
            move |good| {
                let mut file = good.file();
                let start = good.component().len();
                let found = file[start..]
                    .windows(text.len())
                    .position(|window| window == text.as_bytes());
                // Of two neighbouring letters, so that it stays a name.
                file[start + found.expect("it is there") + text.len() - 1] ^= 1;
                file
            },
        ));
    }
    all.push(attack(
        "ta10_one_bit_of_the_signature",
        "The last bit of the file, which is the signature's, is another one.",
        Code::SignatureInvalid,
        |good| {
            let mut file = good.file();
            *file.last_mut().expect("not empty") ^= 1;
            file
        },
    ));
    for (word, code, length) in [
        (
            "inside_the_preamble",
            Code::Malformed,
            (|_| 4) as fn(&Good) -> usize,
        ),
        ("behind_the_preamble", Code::SignatureMissing, |_| 8),
        ("inside_the_component", Code::Malformed, |good| {
            good.component().len() / 2
        }),
        (
            "before_the_signature_section",
            Code::SignatureMissing,
            |good| good.component().len(),
        ),
        (
            "behind_the_first_byte_of_the_signature_section",
            Code::Malformed,
            |good| good.component().len() + 1,
        ),
        ("before_the_last_byte", Code::Malformed, |good| {
            good.file().len() - 1
        }),
    ] {
        all.push(attack(
            format!("ta11_cut_off_{word}"),
            "The file breaks off.",
            code,
            move |good| good.file()[..length(good)].to_vec(),
        ));
    }
    all
}

/// The preamble of a core module, which is an empty module.
pub(super) const MODULE_PREAMBLE: &[u8; 8] = b"\0asm\x01\0\0\0";

/// Native code: the first part of this very program.
fn native() -> Vec<u8> {
    let test = std::env::current_exe().expect("this test has a file");
    let mut bytes = std::fs::read(test).expect("it can be read");
    assert!(bytes.starts_with(b"\x7fELF"), "Linux runs ELF files");
    bytes.truncate(64 << 10);
    bytes
}

/// 64-bit, little-endian, with the operating system number that Wasmtime gives its own files.
fn precompiled_header() -> Vec<u8> {
    let mut header = b"\x7fELF\x02\x01\x01\xc8".to_vec();
    header.resize(64, 0);
    header
}
