//! What an attack is: a name, a sentence, a way to make its file, and what must come of it.

use countersign_trust_store::Code;

use crate::good::Good;

/// One folder of the corpus.
pub(crate) struct Attack {
    /// The row of the table of threats, and words.
    pub(crate) name: String,
    /// What it is, in a sentence.
    pub(crate) what: String,
    pub(crate) expected: Expected,
    make: Box<dyn Fn(&Good) -> Hostile + Send + Sync>,
}

/// What must come of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// A control: it is right, and whoever refuses it refuses too much.
    Accepted,
    /// It is refused, for this reason.
    Refused(Code),
    /// Not the file is at fault but a revocation list that the operator gave: nothing is judged, status 2.
    ListUnusable,
}

/// A file, and what is given with it.
pub(crate) struct Hostile {
    pub(crate) file: Content,
    /// In place of the corpus's own root.
    pub(crate) root: Option<Vec<u8>>,
    /// In place of the corpus's own revocation lists.
    pub(crate) lists: Option<Vec<Vec<u8>>>,
    /// Files beside it, by name.
    pub(crate) beside: Vec<(&'static str, Vec<u8>)>,
    /// How many devices must have signed. Only `verify` can be told, so only it is asked if this is not 1.
    pub(crate) signers: u8,
}

/// The bytes of a file.
pub(crate) enum Content {
    Bytes(Vec<u8>),
    /// These bytes, and zeros up to this size that take no room on the disk.
    Sparse(Vec<u8>, u64),
}

impl Attack {
    /// The file, made from good ones.
    pub(crate) fn make(&self, good: &Good) -> Hostile {
        (self.make)(good)
    }
}

/// A file that must be refused.
pub(crate) fn attack<H: Into<Hostile>>(
    name: impl Into<String>,
    what: impl Into<String>,
    code: Code,
    make: impl Fn(&Good) -> H + Send + Sync + 'static,
) -> Attack {
    expect(name, what, Expected::Refused(code), make)
}

/// A file that must be accepted: it shows that what was changed beside it is what is refused.
pub(crate) fn control<H: Into<Hostile>>(
    name: impl Into<String>,
    what: impl Into<String>,
    make: impl Fn(&Good) -> H + Send + Sync + 'static,
) -> Attack {
    expect(name, what, Expected::Accepted, make)
}

/// A revocation list that must not be used.
pub(crate) fn unusable_list(
    name: impl Into<String>,
    what: impl Into<String>,
    make: impl Fn(&Good) -> Hostile + Send + Sync + 'static,
) -> Attack {
    expect(name, what, Expected::ListUnusable, make)
}

fn expect<H: Into<Hostile>>(
    name: impl Into<String>,
    what: impl Into<String>,
    expected: Expected,
    make: impl Fn(&Good) -> H + Send + Sync + 'static,
) -> Attack {
    Attack {
        name: name.into(),
        what: what.into(),
        expected,
        make: Box::new(move |good| make(good).into()),
    }
}

impl From<Vec<u8>> for Hostile {
    fn from(file: Vec<u8>) -> Self {
        Self {
            file: Content::Bytes(file),
            root: None,
            lists: None,
            beside: Vec::new(),
            signers: 1,
        }
    }
}

impl Hostile {
    /// Bytes and zeros up to `size`.
    pub(crate) fn sparse(start: Vec<u8>, size: u64) -> Self {
        Self {
            file: Content::Sparse(start, size),
            ..Vec::new().into()
        }
    }

    /// Judged under another root, DER.
    pub(crate) fn under(mut self, root: &[u8]) -> Self {
        self.root = Some(root.to_vec());
        self
    }

    /// Judged with other revocation lists, DER.
    pub(crate) fn with_lists(mut self, lists: Vec<Vec<u8>>) -> Self {
        self.lists = Some(lists);
        self
    }

    /// With a file beside it.
    pub(crate) fn beside(mut self, name: &'static str, bytes: Vec<u8>) -> Self {
        self.beside.push((name, bytes));
        self
    }

    /// Where so many devices must have signed.
    pub(crate) fn needing(mut self, signers: u8) -> Self {
        self.signers = signers;
        self
    }
}
