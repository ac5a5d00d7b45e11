//! The layout: every file that is not P ‖ S, and why.

use super::*;
use crate::samples::{component, section};
use crate::{SignedFile, signature_section};

/// Scans in pieces of `step` bytes, without telling the size.
fn pieces(file: &[u8], step: usize) -> Result<Layout, FormatError> {
    let mut scanner = LayoutScanner::new();
    for piece in file.chunks(step) {
        scanner.feed(piece)?;
    }
    scanner.finish()
}

/// Scans a buffer, and in pieces of every kind: the answer must not depend on it.
fn scan(file: &[u8]) -> Result<Layout, FormatError> {
    let mut scanner = LayoutScanner::with_total(length(file.len()))?;
    let whole = scanner.feed(file).and_then(|()| scanner.finish());
    for step in [1, 2, 3, 7, 4096] {
        let pieces = pieces(file, step);
        match (&whole, &pieces) {
            // Only the offset may differ: with the size known, a claim past the end is seen at its header.
            (Err(FormatError::Malformed { .. }), Err(FormatError::Malformed { .. }))
            | (Err(FormatError::Malformed { .. }), Err(FormatError::LimitExceeded { .. })) => {}
            _ => assert_eq!(whole, pieces, "in pieces of {step}"),
        }
    }
    whole
}

fn signed() -> Vec<u8> {
    let mut file = component();
    file.extend(signature_section(b"payload").unwrap());
    file
}

fn with(mut file: Vec<u8>, more: &[u8]) -> Vec<u8> {
    file.extend_from_slice(more);
    file
}

#[test]
fn a_signed_file_is_component_and_signature() {
    let file = signed();
    let layout = scan(&file).unwrap();
    let size = length(component().len());
    assert_eq!(layout.component_size(), size);
    let signature = layout.signature().unwrap();
    assert_eq!(signature.start(), size);
    assert_eq!(
        signature.payload(),
        length(file.len()) - 7..length(file.len())
    );
    let parsed = SignedFile::parse(&file).unwrap();
    assert_eq!(parsed.component(), component());
    assert_eq!(parsed.signature(), b"payload");
}

#[test]
fn ta01_no_signature_section() {
    let layout = scan(&component()).unwrap();
    assert_eq!(
        (layout.component_size(), layout.signature()),
        (length(component().len()), None)
    );
    assert_eq!(
        SignedFile::parse(&component()).unwrap_err(),
        FormatError::SignatureMissing
    );
    assert_eq!(
        SignedFile::parse(&PREAMBLE).unwrap_err(),
        FormatError::SignatureMissing
    );
}

#[test]
fn ta02_ta03_two_signature_sections() {
    let first = length(component().len());
    let second = length(signed().len());
    let error = FormatError::SignatureDuplicate { first, second };
    assert_eq!(
        scan(&with(signed(), &signature_section(b"other").unwrap())),
        Err(error)
    );
    // With a section between them too: two signatures are the worse news.
    let file = with(
        with(signed(), &section(0, b"\x01x")),
        &signature_section(b"other").unwrap(),
    );
    assert!(matches!(
        scan(&file),
        Err(FormatError::SignatureDuplicate { .. })
    ));
}

#[test]
fn ta04_a_section_after_the_signature() {
    for more in [
        section(0, b"\x01x"),
        section(7, &[0]),
        section(1, &[]),
        section(4, &PREAMBLE),
    ] {
        let error = FormatError::SignaturePosition {
            signature: length(component().len()),
            next: length(signed().len()),
        };
        assert_eq!(scan(&with(signed(), &more)), Err(error.clone()));
        // What follows that section does not make it better.
        assert_eq!(scan(&with(with(signed(), &more), &[0xff])), Err(error));
    }
}

#[test]
fn ta05_trailing_bytes() {
    let error = Err(FormatError::TrailingBytes {
        offset: length(signed().len()),
    });
    for more in [
        &[0][..],
        &[1],
        &[0xff],
        b"\n",
        &[0; 1 << 20],
        &[0, 0x80],
        &[1, 0x80, 0],
        &signed(),
        &[1, 9, 0],
    ] {
        assert_eq!(scan(&with(signed(), more)), error, "{:?}", more.get(..8));
    }
}

#[test]
fn ta06_ta17_ta18_ta19_other_files() {
    for (file, found) in [
        (&b""[..], Found::Empty),
        (b"\0asm\x01\0\0\0", Found::CoreModule),
        (b"\0asm\x0d\0\0\0", Found::OtherWasm),
        (b"\0asm\x01\0\x01\0", Found::OtherWasm),
        (b"\0asm\x0e\0\x01\0", Found::OtherWasm),
        (b"\x7fELF\x02\x01\x01\0rest", Found::Precompiled),
        (b"(component)", Found::Text),
        (b"\n  \t(component)", Found::Text),
        (b";; text\n", Found::Text),
        (b"PK\x03\x04\0\0\0\0", Found::Other),
        (b"dex\n035\0", Found::Other),
        (b"\xef\xbb\xbf(comp", Found::Other),
        (b"-----BEGIN", Found::Other),
        (b"x", Found::Other),
    ] {
        assert_eq!(
            scan(file),
            Err(FormatError::NotAComponent { found }),
            "{file:?}"
        );
    }
    // A polyglot: whatever stands before the magic makes it something else.
    assert_eq!(
        scan(&with(b"PK\x03\x04".to_vec(), &signed())),
        Err(FormatError::NotAComponent {
            found: Found::Other
        })
    );
}

#[test]
fn ta07_ta08_nested_signatures_do_not_count() {
    for id in [1, 4] {
        let file = with(PREAMBLE.to_vec(), &section(id, &signed()));
        assert_eq!(
            SignedFile::parse(&file).unwrap_err(),
            FormatError::SignatureMissing
        );
    }
    // Nor in the content of another custom section.
    let file = with(
        PREAMBLE.to_vec(),
        &section(0, &with(vec![1, b'x'], &signature_section(b"y").unwrap())),
    );
    assert_eq!(
        SignedFile::parse(&file).unwrap_err(),
        FormatError::SignatureMissing
    );
}

#[test]
fn ta11_every_truncation() {
    let file = signed();
    for end in 0..file.len() {
        let error = SignedFile::parse(&file[..end]).unwrap_err();
        if [PREAMBLE.len(), component().len()].contains(&end)
            || (end > 8 && scan(&file[..end]).is_ok())
        {
            assert_eq!(error, FormatError::SignatureMissing, "at {end}");
        } else if end == 0 {
            assert_eq!(
                error,
                FormatError::NotAComponent {
                    found: Found::Empty
                }
            );
        } else {
            assert!(
                matches!(error, FormatError::Malformed { .. }),
                "at {end}: {error:?}"
            );
        }
    }
}

#[test]
fn ta12_lengths_not_in_shortest_form() {
    let longer = |file: &[u8]| matches!(scan(file), Err(FormatError::Noncanonical { .. }));
    assert!(longer(&with(PREAMBLE.to_vec(), &[1, 0x81, 0x00, 0x00])));
    assert!(longer(&with(
        PREAMBLE.to_vec(),
        &[1, 0x80, 0x80, 0x80, 0x80, 0x00]
    )));
    assert!(longer(&with(PREAMBLE.to_vec(), &[0, 3, 0x81, 0x00, b'x'])));
    // The header and the name of S itself.
    let section = signature_section(b"payload").unwrap();
    let mut size = vec![section[0], section[1] | 0x80, 0];
    size.extend_from_slice(&section[2..]);
    assert!(longer(&with(component(), &size)));
    let mut name = vec![section[0], section[1] + 1, section[2] | 0x80, 0];
    name.extend_from_slice(&section[3..]);
    assert!(longer(&with(component(), &name)));
}

#[test]
fn ta13_lengths_that_are_no_lengths() {
    let malformed = |more: &[u8]| {
        let error = scan(&with(PREAMBLE.to_vec(), more)).unwrap_err();
        assert!(
            matches!(error, FormatError::Malformed { .. }),
            "{more:?}: {error:?}"
        );
    };
    malformed(&[1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00]);
    malformed(&[1, 0xff, 0xff, 0xff, 0xff, 0x1f]);
    malformed(&[1, 0xff, 0xff, 0xff, 0xff, 0x0f]);
    malformed(&[1, 2, 0]);
    malformed(&[0, 0]);
    malformed(&[0, 1, 0x80]);
    malformed(&[0, 2, 2, b'x']);
    malformed(&[0, 5, 0xff, 0xff, 0xff, 0xff, 0x0f]);
    malformed(&[13, 0]);
    malformed(&[0xff, 0]);
    // A length past the limits, where the size of the file is not known.
    let mut scanner = LayoutScanner::new();
    assert!(matches!(
        scanner.feed(&with(PREAMBLE.to_vec(), &[1, 0xff, 0xff, 0xff, 0xff, 0x0f])),
        Err(FormatError::LimitExceeded {
            what: "component",
            ..
        })
    ));
}

#[test]
fn ta14_look_alike_names_are_not_ours() {
    for name in [
        "Component-signature",
        "component-Signature",
        "component_signature",
        "component-signaturё",
        "component-signatur\0",
        "component-signature\0",
        "\u{feff}component-signature",
        "component-signature ",
        "сomponent-signature",
        "signature",
    ] {
        let mut content = vec![u8::try_from(name.len()).unwrap()];
        content.extend_from_slice(name.as_bytes());
        content.extend_from_slice(b"payload");
        let file = with(component(), &section(0, &content));
        assert_eq!(
            SignedFile::parse(&file).unwrap_err(),
            FormatError::SignatureMissing,
            "{name:?}"
        );
    }
    let mut invalid = vec![19];
    invalid.extend_from_slice(b"component-signatur\xff");
    assert_eq!(
        SignedFile::parse(&with(component(), &section(0, &invalid))).unwrap_err(),
        FormatError::SignatureMissing
    );
}

#[test]
fn ta26_sizes_are_limited_at_their_headers() {
    // 64 MiB of signature, of which not one byte was read.
    let mut header = vec![0];
    header.extend(section(0, &[0; 64 << 20])[1..5].to_vec());
    header.push(19);
    header.extend_from_slice(SECTION_NAME.as_bytes());
    let mut scanner = LayoutScanner::new();
    assert_eq!(
        scanner.feed(&with(component(), &header)),
        Err(FormatError::LimitExceeded {
            what: "signature section",
            limit: limits::MAX_SIGNATURE_BYTES,
            actual: (64 << 20) - 20,
        })
    );
    // A file of 4 GiB is refused before it is read.
    assert!(matches!(
        LayoutScanner::with_total(4 << 30),
        Err(FormatError::LimitExceeded { what: "file", .. })
    ));
    assert!(signature_section(&vec![0; 128 * 1024 + 1]).is_err());
    let largest = with(
        component(),
        &signature_section(&vec![0; 128 * 1024]).unwrap(),
    );
    assert!(scan(&largest).is_ok());
}

#[test]
fn sections_are_counted() {
    let many = |count: usize| [&PREAMBLE[..], &[1, 0].repeat(count)].concat();
    assert!(scan(&many(65_536)).is_ok());
    assert!(matches!(
        scan(&many(65_537)),
        Err(FormatError::LimitExceeded {
            what: "number of sections",
            limit: 65_536,
            actual: 65_537
        })
    ));
}

#[test]
fn an_error_stays() {
    let mut scanner = LayoutScanner::new();
    let error = scanner.feed(b"not wasm").unwrap_err();
    assert_eq!(scanner.feed(&signed()), Err(error.clone()));
    assert_eq!(scanner.finish(), Err(error));
}

#[test]
fn ta10_every_flipped_bit_of_a_header_changes_the_layout_or_is_refused() {
    let file = signed();
    let good = scan(&file).unwrap();
    let signature = component().len();
    // Header, name length and name of S: 1 + 1 + 1 + 19 bytes.
    for byte in signature..signature + 22 {
        for bit in 0..8 {
            let mut flipped = file.clone();
            flipped[byte] ^= 1 << bit;
            assert_ne!(
                scan(&flipped).ok(),
                Some(good.clone()),
                "byte {byte}, bit {bit}"
            );
        }
    }
}
