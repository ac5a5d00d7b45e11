//! Every file that must not run, given to the two built programs that judge it: the desk tool's `verify` and the host.
//!
//! Each case changes one thing in a file that runs, and names the one code that it is refused with. For each the host
//! leaves one audit record, and the guest says nothing.

mod bench;
mod chain;
mod guest;
mod misuse;
mod root;

use bench::{Bench, hello};
use countersign_format::{Digest, Envelope, SignedFile, signature_section};
use countersign_testing::TestPki;
use countersign_trust_store::Code;
use wasm_encoder::{Component, CustomSection, Encode as _, Section as _};

/// One root, one device, one host for all cases of this file.
fn bench() -> &'static Bench {
    static BENCH: std::sync::LazyLock<Bench> =
        std::sync::LazyLock::new(|| Bench::kept("files", TestPki::new()));
    &BENCH
}

fn signed() -> Vec<u8> {
    bench().sign(&hello())
}

fn signed_size() -> usize {
    hello().len()
}

/// A custom section as it stands in a component.
fn custom_section(name: &str, data: &[u8]) -> Vec<u8> {
    let section = CustomSection {
        name: name.into(),
        data: data.into(),
    };
    let mut bytes = vec![section.id()];
    section.encode(&mut bytes);
    bytes
}

#[test]
fn what_is_changed_here_runs_unchanged() {
    let ran = bench().runs(&signed());
    assert_eq!(ran.stdout, "Hello, world!\n", "{ran:?}");
}

#[test]
fn ta01_no_signature_section() {
    bench().refuses(&hello(), Code::SignatureMissing);
}

#[test]
fn ta02_valid_then_forged_signature_section() {
    let mut file = signed();
    file.extend(custom_section("component-signature", b"forged"));
    bench().refuses(&file, Code::SignatureDuplicate);
}

#[test]
fn ta03_forged_then_valid_signature_section() {
    let (p, s) = (hello(), signed().split_off(signed_size()));
    let file = [p, custom_section("component-signature", b"forged"), s].concat();
    bench().refuses(&file, Code::SignatureDuplicate);
}

#[test]
fn ta04_a_section_after_the_signature() {
    let mut file = signed();
    file.extend(custom_section("name", b""));
    bench().refuses(&file, Code::SignaturePosition);
}

#[test]
fn ta31_a_section_before_the_signature() {
    let (p, s) = (hello(), signed().split_off(signed_size()));
    let file = [p, custom_section("producers", b"\0"), s].concat();
    bench().refuses(&file, Code::DigestMismatch);
}

#[test]
fn ta05_one_trailing_byte() {
    for byte in [0x00, 0x0a, 0xff] {
        let mut file = signed();
        file.push(byte);
        bench().refuses(&file, Code::TrailingBytes);
    }
}

#[test]
fn ta05_a_mebibyte_of_trailing_bytes() {
    let mut file = signed();
    file.resize(file.len() + (1 << 20), 0xff);
    bench().refuses(&file, Code::TrailingBytes);
}

#[test]
fn ta05_a_whole_component_behind_the_signed_one() {
    bench().refuses(&[signed(), hello()].concat(), Code::TrailingBytes);
    bench().refuses(&[signed(), signed()].concat(), Code::TrailingBytes);
}

#[test]
fn ta06_bytes_before_the_component() {
    bench().refuses(
        &[b"PK\x03\x04".to_vec(), signed()].concat(),
        Code::NotAComponent,
    );
}

#[test]
fn ta07_a_signature_in_a_nested_component_counts_for_nothing() {
    let mut outer = Component::new();
    outer.section(&wasm_encoder::RawSection {
        id: 4,
        data: &signed(),
    });
    bench().refuses(&outer.finish(), Code::SignatureMissing);
}

#[test]
fn ta10_one_bit_of_the_component() {
    let size = signed_size();
    for at in [size / 4, size / 2, size - 1] {
        let mut file = signed();
        file[at] ^= 1;
        bench().refuses(&file, Code::DigestMismatch);
    }
}

#[test]
fn ta10_one_bit_of_the_signature() {
    let mut file = signed();
    let last = file.len() - 1;
    file[last] ^= 1;
    bench().refuses(&file, Code::SignatureInvalid);
}

#[test]
fn ta29_one_letter_of_the_signed_name() {
    let mut file = signed();
    let at = find(&file, b"test:hello");
    file[at + "test:hell".len()] = b'p';
    bench().refuses(&file, Code::SignatureInvalid);
}

#[test]
fn ta10_one_bit_of_the_chain() {
    // The device's name in its certificate: still DER, and no longer the chain whose digest was signed.
    let mut file = signed();
    let at = find(&file, b"test-device");
    file[at] ^= 1;
    bench().refuses(&file, Code::SignersMismatch);
}

#[test]
fn ta11_cut_off() {
    let whole = signed();
    for (size, code) in [
        (0, Code::NotAComponent),
        (4, Code::Malformed),
        (8, Code::SignatureMissing),
        (signed_size() / 2, Code::Malformed),
        (signed_size(), Code::SignatureMissing),
        (signed_size() + 1, Code::Malformed),
        (whole.len() - 1, Code::Malformed),
    ] {
        bench().refuses(&whole[..size], code);
    }
}

#[test]
fn ta17_a_core_module() {
    bench().refuses(b"\0asm\x01\0\0\0", Code::NotAComponent);
    let s = signed().split_off(signed_size());
    bench().refuses(
        &[b"\0asm\x01\0\0\0".to_vec(), s].concat(),
        Code::NotAComponent,
    );
}

#[test]
fn ta18_text() {
    bench().refuses(b"(component)", Code::NotAComponent);
    bench().refuses(b";; a comment\n(component)\n", Code::NotAComponent);
}

#[test]
fn ta19_native_code() {
    // What Wasmtime precompiles to is an ELF file, as this test is.
    let native = std::fs::read(std::env::current_exe().expect("this test")).expect("can be read");
    assert!(native.starts_with(b"\x7fELF"));
    let s = signed().split_off(signed_size());
    bench().refuses(&[&native[..64 << 10], &s].concat(), Code::NotAComponent);
}

#[test]
fn ta20_the_signature_of_another_component() {
    let other = [hello(), custom_section("name", b"")].concat();
    let s = bench().sign(&other).split_off(other.len());
    bench().refuses(&[hello(), s].concat(), Code::DigestMismatch);
}

#[test]
fn ta26_a_file_larger_than_any_component() {
    // Sparse: it takes no room on the disk, and must take none in memory.
    let path = bench().path("huge.wasm");
    let file = std::fs::File::create(&path).expect("our own folder");
    file.set_len(4 << 30).expect("a sparse file");
    bench().refuses_file(&path, Code::LimitExceeded);
    std::fs::remove_file(path).expect("our own file");
}

#[test]
fn ta35_another_signers_list() {
    let (ours, other) = (&bench().pki, TestPki::new());
    let component = hello();
    let mut fields = ours.statement(&component, &bench().manifest());
    fields.signers = vec![other.signer_id()];
    bench().refuses(
        &ours.forge(&component, fields.clone()),
        Code::SignersMismatch,
    );

    let mut both = vec![ours.signer_id(), other.signer_id()];
    both.sort();
    fields.signers = both;
    bench().refuses(&ours.forge(&component, fields), Code::SignersMismatch);
}

#[test]
fn ta35_one_of_two_signers_taken_out_put_in_twice_or_exchanged() {
    let (ours, other) = (&bench().pki, TestPki::new());
    let component = hello();
    let together = ours.sign_together(&[&other], &component, &bench().manifest());
    // Both sign, one is known: that is enough.
    bench().runs(&together);

    let file = SignedFile::parse(&together).expect("a signed file");
    let envelope = Envelope::decode(file.signature()).expect("an envelope");
    let entries = envelope.signers();
    for signers in [
        vec![entries[0].clone()],
        vec![entries[1].clone()],
        vec![entries[1].clone(), entries[0].clone()],
        vec![entries[0].clone(), entries[0].clone(), entries[1].clone()],
    ] {
        let changed =
            Envelope::new(envelope.statement_bytes().to_vec(), signers).expect("an envelope");
        let section = signature_section(&changed.encode()).expect("it fits");
        bench().refuses(
            &[component.clone(), section].concat(),
            Code::SignersMismatch,
        );
    }
}

#[test]
fn ta38_a_detached_signature_beside_the_file_is_not_looked_at() {
    let file = signed();
    let payload = SignedFile::parse(&file)
        .expect("a signed file")
        .signature()
        .to_vec();
    let path = bench().path("detached.wasm");
    std::fs::write(&path, hello()).expect("our own folder");
    for name in [
        "detached.wasm.sig",
        "detached.sig",
        "detached.signed.wasm.sig",
    ] {
        std::fs::write(bench().path(name), &payload).expect("our own folder");
    }
    bench().refuses_file(&path, Code::SignatureMissing);
}

#[test]
fn ta34_an_audience_that_this_host_cannot_prove_to_be() {
    let mut fields = bench().pki.statement(&hello(), &bench().manifest());
    fields.audience.devices = vec!["pump-07".to_owned()];
    bench().refuses(&bench().pki.forge(&hello(), fields), Code::Audience);
}

#[test]
fn the_digest_in_a_record_is_that_of_the_file() {
    let file = hello();
    let records = bench().refuses(&file, Code::SignatureMissing);
    assert_eq!(records["file_sha256"], Digest::of(&file).to_string());
}

fn find(haystack: &[u8], needle: &[u8]) -> usize {
    let size = signed_size();
    let found = haystack[size..]
        .windows(needle.len())
        .position(|window| window == needle);
    size + found.expect("it stands in the signature section")
}
