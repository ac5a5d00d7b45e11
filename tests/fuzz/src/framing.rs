//! The layout of a file: one answer in whatever pieces it arrives, the same as a second reader's, and one framing.

use countersign_format::{
    FormatError, Layout, LayoutScanner, SECTION_NAME, SignedFile, limits, signature_section,
};

use crate::cursor::Cursor;

const PREAMBLE: &[u8] = b"\0asm\x0d\0\x01\0";

/// Takes one input: how it is cut into pieces, then a file, as it stands or as a list of sections.
pub fn check(data: &[u8]) {
    let mut input = Cursor::new(data);
    let pieces = input.take(4).to_vec();
    let file = match input.byte() % 3 {
        0 => input.rest().to_vec(),
        1 => [PREAMBLE, input.rest()].concat(),
        _ => sections(&mut input),
    };

    let whole = scan(LayoutScanner::new(), &[&file]);
    let cut = cut(&file, &pieces);
    assert_eq!(scan(LayoutScanner::new(), &cut), whole, "the pieces matter");
    let total = file.len() as u64;
    let measured = LayoutScanner::with_total(total).expect("small enough");
    let with_total = scan(measured.clone(), &[&file]);
    assert_eq!(scan(measured, &cut), with_total, "the pieces matter");
    // Knowing the size only lets a claim past the end be refused sooner.
    assert_eq!(with_total.as_ref().ok(), whole.as_ref().ok());

    let expected = second_reader(&file);
    match &whole {
        Ok(layout) => {
            let (component, signature) = expected.expect("the second reader accepts it too");
            assert_eq!(layout.component_size(), component as u64);
            let range = layout.signature().map(|range| range.payload());
            assert_eq!(range, signature.map(|start| start as u64..total));
        }
        Err(FormatError::LimitExceeded { .. }) => {}
        Err(error) => assert_eq!(expected, None, "refused: {error}"),
    }
    check_signed(&file, whole.as_ref());
}

/// What is signed is framed as a signer frames it; what is not can be signed.
fn check_signed(file: &[u8], layout: Result<&Layout, &FormatError>) {
    match SignedFile::parse(file) {
        Ok(signed) => {
            assert!(signed.signature().len() as u64 <= limits::MAX_SIGNATURE_BYTES);
            let section = signature_section(signed.signature()).expect("within the limits");
            assert_eq!([signed.component(), &section].concat(), file);
            let plain = scan(LayoutScanner::new(), &[signed.component()]);
            assert_eq!(plain.expect("P is sound by itself").signature(), None);
        }
        Err(FormatError::SignatureMissing) => {
            let signature = layout.expect("a sound file").signature();
            assert_eq!(signature, None);
            let section = signature_section(b"signature").expect("within the limits");
            let signed = [file, &section].concat();
            let signed = SignedFile::parse(&signed).expect("a sound file can be signed");
            assert_eq!(signed.component(), file);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn scan(mut scanner: LayoutScanner, pieces: &[&[u8]]) -> Result<Layout, FormatError> {
    let mut failed = None;
    for piece in pieces {
        match (scanner.feed(piece), &failed) {
            (Ok(()), None) => {}
            (Ok(()), Some(error)) => panic!("it went on after {error}"),
            (Err(error), None) => failed = Some(error),
            (Err(again), Some(error)) => assert_eq!(again, *error),
        }
    }
    let layout = scanner.finish();
    if let Some(error) = failed {
        assert_eq!(layout.as_ref(), Err(&error), "what went wrong first");
    }
    layout
}

/// Cuts a file into pieces of these sizes in turn, the empty piece among them.
fn cut<'a>(file: &'a [u8], sizes: &[u8]) -> Vec<&'a [u8]> {
    let mut rest = Cursor::new(file);
    let mut pieces = Vec::new();
    let mut sizes = sizes.iter().cycle();
    while !rest.is_empty() {
        let size = sizes.next().copied().unwrap_or(1);
        pieces.push(rest.take(size.into()));
        // At least one byte a turn.
        pieces.push(rest.take(1));
    }
    pieces
}

/// A file of sections whose claims may be wrong.
fn sections(input: &mut Cursor<'_>) -> Vec<u8> {
    let mut file = PREAMBLE.to_vec();
    for _ in 0..input.byte() % 8 {
        let kind = input.byte();
        let content = match kind % 4 {
            0 => [
                &[SECTION_NAME.len() as u8][..],
                SECTION_NAME.as_bytes(),
                input.text(),
            ]
            .concat(),
            1 => [
                &[SECTION_NAME.len() as u8][..],
                b"component-signaturE",
                input.text(),
            ]
            .concat(),
            _ => input.text().to_vec(),
        };
        let id = if kind % 4 < 2 { 0 } else { input.byte() % 14 };
        let claimed = content.len().wrapping_add_signed(match kind >> 4 {
            0 => 1,
            1 => -1,
            _ => 0,
        }) as u32;
        file.push(id);
        file.extend(leb128(claimed, kind >> 4 == 2));
        file.extend(content);
    }
    crate::bytes::change(&mut file, input);
    file
}

fn leb128(mut value: u32, is_padded: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 && !is_padded {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
        if value == 0 {
            bytes.push(0);
            return bytes;
        }
    }
}

/// Where P ends and the payload of S starts, by the plainest reading; none for what must be refused.
fn second_reader(file: &[u8]) -> Option<(usize, Option<usize>)> {
    let mut rest = file.strip_prefix(PREAMBLE)?;
    let mut found = None;
    while let Some((&id, after)) = rest.split_first() {
        let start = file.len() - rest.len();
        if id > 12 || found.is_some() {
            return None;
        }
        let (size, after) = number(after)?;
        let (content, after) = after.split_at_checked(size)?;
        rest = after;
        if id == 0 {
            let (length, name) = number(content)?;
            let (name, payload) = name.split_at_checked(length)?;
            if name == SECTION_NAME.as_bytes() {
                found = Some((start, file.len() - rest.len() - payload.len()));
            }
        }
    }
    Some(match found {
        Some((start, payload)) => (start, Some(payload)),
        None => (file.len(), None),
    })
}

/// A 32-bit number in the shortest LEB128.
fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let length = bytes.iter().take(5).position(|byte| byte & 0x80 == 0)? + 1;
    let (number, rest) = bytes.split_at(length);
    let value = number
        .iter()
        .rev()
        .fold(0_u64, |value, byte| value << 7 | u64::from(byte & 0x7f));
    let is_shortest = length == 1 || number[length - 1] != 0;
    let value = u32::try_from(value).ok()?;
    is_shortest.then_some((value as usize, rest))
}
