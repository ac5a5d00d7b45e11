//! The layout of a component, read and written by hand, so that it can be wrong.

use std::ops::Range;

/// Magic, version 13, layer 1.
pub(crate) const PREAMBLE: &[u8; 8] = b"\0asm\x0d\0\x01\0";

/// The name of the section that holds a signature.
pub(crate) const NAME: &str = "component-signature";

/// The numbers of sections.
pub(crate) const CUSTOM: u8 = 0;
pub(crate) const CORE_MODULE: u8 = 1;
pub(crate) const COMPONENT: u8 = 4;

/// A top-level section: its number, where it lies with its header, and where its content does.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(crate) id: u8,
    pub(crate) whole: Range<usize>,
    pub(crate) content: Range<usize>,
}

/// The top-level sections of a sound component.
pub(crate) fn sections(component: &[u8]) -> Vec<Section> {
    assert!(component.starts_with(PREAMBLE), "a component");
    let mut found = Vec::new();
    let mut at = PREAMBLE.len();
    while at < component.len() {
        let (size, digits) = read_leb(&component[at + 1..]);
        let start = at + 1 + digits;
        found.push(Section {
            id: component[at],
            whole: at..start + size,
            content: start..start + size,
        });
        at = start + size;
    }
    found
}

/// A section of any number around its content.
pub(crate) fn section(id: u8, content: &[u8]) -> Vec<u8> {
    section_sized(id, &leb(content.len()), content)
}

/// The same with a size written as given.
pub(crate) fn section_sized(id: u8, size: &[u8], content: &[u8]) -> Vec<u8> {
    [&[id], size, content].concat()
}

/// A custom section.
pub(crate) fn custom(name: impl AsRef<[u8]>, data: &[u8]) -> Vec<u8> {
    let name = name.as_ref();
    section(CUSTOM, &[&leb(name.len()), name, data].concat())
}

/// A component made of sections.
pub(crate) fn component(sections: &[Vec<u8>]) -> Vec<u8> {
    [PREAMBLE.as_slice(), &sections.concat()].concat()
}

/// LEB128 in its shortest form.
pub(crate) fn leb(mut value: usize) -> Vec<u8> {
    let mut digits = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7f).expect("seven bits");
        value >>= 7;
        if value == 0 {
            digits.push(low);
            return digits;
        }
        digits.push(low | 0x80);
    }
}

/// LEB128 with a digit of zero more than it needs.
pub(crate) fn padded_leb(value: usize) -> Vec<u8> {
    let mut digits = leb(value);
    if let Some(last) = digits.last_mut() {
        *last |= 0x80;
    }
    digits.push(0);
    digits
}

/// A number and how many bytes it takes.
pub(crate) fn read_leb(bytes: &[u8]) -> (usize, usize) {
    let mut value = 0;
    for (index, byte) in bytes.iter().enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return (value, index + 1);
        }
    }
    panic!("a number that does not end")
}
