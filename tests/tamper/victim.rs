//! A signed file, and the host that would accept it unchanged.

use std::ops::Range;

use countersign_format::SignedFile;
use countersign_testing::TestPki;
use countersign_trust_store::{Anchors, Code, Policy, TrustState, UnverifiedComponent};

use crate::sweep::Change;

/// What is changed, and who judges it.
pub(crate) struct Victim {
    pub(crate) name: String,
    file: Vec<u8>,
    sections: Vec<Range<usize>>,
    pki: TestPki,
    anchors: Anchors,
    state: TrustState,
}

impl Victim {
    /// Signs a component, and demands that the file is accepted as it is.
    pub(crate) fn new(name: &str, component: Vec<u8>) -> Self {
        let pki = TestPki::new();
        let file = pki.sign(&component, &pki.manifest("test:guest"));
        let victim = Self {
            name: name.to_owned(),
            sections: sections(&file),
            anchors: pki.anchors(),
            state: pki.state(),
            file,
            pki,
        };
        assert_eq!(
            victim.judge(victim.file.clone()),
            Ok(()),
            "{name}, unchanged"
        );
        victim
    }

    /// The size of the file in bytes.
    pub(crate) fn len(&self) -> usize {
        self.file.len()
    }

    /// The size of the file in bits.
    pub(crate) fn bits(&self) -> usize {
        self.file.len() * 8
    }

    /// The top-level sections, that of the signature being the last.
    pub(crate) fn sections(&self) -> &[Range<usize>] {
        &self.sections
    }

    /// Where the signature section begins.
    pub(crate) fn component_size(&self) -> usize {
        SignedFile::parse(&self.file)
            .expect("a signed file")
            .component()
            .len()
    }

    /// The file with one thing changed.
    pub(crate) fn changed(&self, change: Change) -> Vec<u8> {
        let mut file = self.file.clone();
        match change {
            Change::Flip(bit) => file[bit / 8] ^= 1 << (bit % 8),
            Change::Cut(length) => file.truncate(length),
            Change::Exchange(one, other) => {
                let (one, other) = (&self.sections[one], &self.sections[other]);
                file = [
                    &file[..one.start],
                    &file[other.clone()],
                    &file[one.end..other.start],
                    &file[one.clone()],
                    &file[other.end..],
                ]
                .concat();
            }
        }
        file
    }

    /// Whether a change leaves the file as it was: two sections of equal content.
    pub(crate) fn is_unchanged(&self, file: &[u8]) -> bool {
        self.file == file
    }

    /// The verdict on a file.
    pub(crate) fn judge(&self, file: Vec<u8>) -> Result<(), Code> {
        UnverifiedComponent::parse(file)
            .and_then(|component| {
                self.anchors
                    .verify(component, &Policy::default(), &self.pki.now(), &self.state)
            })
            .map(drop)
            .map_err(|rejection| rejection.code())
    }
}

/// Where the top-level sections of a sound file lie.
fn sections(file: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 8;
    while at < file.len() {
        let (mut size, mut digits) = (0, 0);
        loop {
            let byte = file[at + 1 + digits];
            size |= usize::from(byte & 0x7f) << (7 * digits);
            digits += 1;
            if byte & 0x80 == 0 {
                break;
            }
        }
        found.push(at..at + 1 + digits + size);
        at += 1 + digits + size;
    }
    found
}
