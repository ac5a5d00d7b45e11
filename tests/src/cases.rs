//! The declared cases of `tests/pki`: a PKI in which one thing is wrong, and what must be said about it.
//!
//! A case names the PKI it begins with, what is changed in it, and the verdicts: ours, by its code, and those of two
//! validators that know less of what we demand, OpenSSL and rustls-webpki by itself. Where we accept what either
//! refuses, or refuse what both accept, the case says why. A word that is not known here fails the test that reads it.

mod change;
mod words;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use countersign_backend_file::rand_core::TryRng as _;
use countersign_trust_store::{
    AnchorError, Anchors, Code, PathProfile, Policy, UnverifiedComponent,
};
use serde::Deserialize;

use crate::random::Random;
use crate::{EMPTY_COMPONENT, Role, Sealed, TestPki, TestPkiBuilder};
use change::Change;
use words::{KeyWord, Place, ProfileWord, Time};

/// The files of the cases, with what they hold.
const FILES: &[(&str, &str)] = &[
    ("authorities.toml", include_str!("../pki/authorities.toml")),
    ("chains.toml", include_str!("../pki/chains.toml")),
    ("encodings.toml", include_str!("../pki/encodings.toml")),
    ("extensions.toml", include_str!("../pki/extensions.toml")),
    ("keys.toml", include_str!("../pki/keys.toml")),
    ("lists.toml", include_str!("../pki/lists.toml")),
    ("signers.toml", include_str!("../pki/signers.toml")),
    ("times.toml", include_str!("../pki/times.toml")),
];

/// One case.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Case {
    /// Its name, which begins with the rows that it covers.
    pub name: String,
    #[serde(default)]
    pki: Base,
    #[serde(default)]
    change: Vec<Change>,
    we: Ours,
    /// What OpenSSL says.
    pub openssl: Judgement,
    /// What rustls-webpki says by itself.
    pub webpki: Judgement,
    because: Option<String>,
}

/// What another validator says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Judgement {
    /// The chain is valid.
    Accepts,
    /// It is not.
    Refuses,
    /// Its releases differ.
    Either,
}

impl Judgement {
    /// Whether this is what was expected.
    #[must_use]
    pub const fn admits(self, accepted: bool) -> bool {
        match self {
            Self::Accepts => accepted,
            Self::Refuses => !accepted,
            Self::Either => true,
        }
    }
}

/// What we say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct Ours(Result<(), Code>);

impl TryFrom<String> for Ours {
    type Error = String;

    fn try_from(word: String) -> Result<Self, String> {
        if word == "accepts" {
            return Ok(Self(Ok(())));
        }
        Code::ALL
            .iter()
            .find(|code| code.as_str() == word)
            .map(|code| Self(Err(*code)))
            .ok_or_else(|| format!("{word} is neither \"accepts\" nor a code"))
    }
}

/// The PKI that a case begins with: right in everything.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Base {
    /// The time that everything is valid around.
    at: Option<Time>,
    algorithm: Option<KeyWord>,
    /// The authorities with P-384 keys.
    p384: Vec<Place>,
    /// How many authorities are between the root and the device; 1 if not said.
    intermediates: Option<u8>,
    profile: Option<ProfileWord>,
    device: Option<String>,
    development: bool,
    no_rev_avail: bool,
    /// Who is on its issuer's list.
    revoked: Vec<Place>,
}

/// What a case hands to a verifier.
#[derive(Clone, Debug)]
pub struct Presented {
    pki: TestPki,
}

impl Case {
    /// All cases of all files.
    ///
    /// # Panics
    /// When a file has a word that is not known, or two cases have one name.
    #[must_use]
    pub fn all() -> Vec<Self> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct File {
            case: Vec<Case>,
        }
        let mut all: Vec<Self> = Vec::new();
        for (name, text) in FILES {
            let file: File = toml::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"));
            for case in file.case {
                assert!(
                    !all.iter().any(|other| other.name == case.name),
                    "{name}: {} stands there twice",
                    case.name
                );
                all.push(case);
            }
        }
        all
    }

    /// The case of this name.
    ///
    /// # Panics
    /// When there is none; and as [`Case::all`].
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self::all()
            .into_iter()
            .find(|case| case.name == name)
            .unwrap_or_else(|| panic!("there is no case {name}"))
    }

    /// What we must say: nothing, or a code.
    ///
    /// # Errors
    /// The code of the refusal that is expected.
    pub fn we(&self) -> Result<(), Code> {
        self.we.0
    }

    /// Makes the PKI and bends it.
    ///
    /// # Panics
    /// When a change cannot be made.
    #[must_use]
    pub fn present(&self) -> Presented {
        let pki = self.pki.build(0);
        let mut open = pki.open();
        for (number, place) in self.pki.p384.iter().enumerate() {
            let place = place.index(&open);
            open.give_p384(place, &seed(1, number));
        }
        // A stranger's PKI of the same names.
        let other = self.pki.build(1);
        for change in &self.change {
            change.apply(&mut open, &other.open(), pki.time());
        }
        let mut sealed = open.seal();
        for change in &self.change {
            change.apply_sealed(&mut sealed, &other, &pki);
        }
        Presented {
            pki: pki.with(sealed),
        }
    }

    /// What is wrong with the case itself: a reason that is missing or not needed, or a name that begins with no row.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        let both = [self.openssl, self.webpki];
        let needed = match self.we.0 {
            Ok(()) => both.contains(&Judgement::Refuses),
            Err(_) => both == [Judgement::Accepts; 2],
        };
        let complaint = match (needed, &self.because) {
            (true, None) => "we and the others differ, and it does not say why",
            (false, Some(_)) => "it gives a reason, and nothing needs one",
            _ => match self.name.as_bytes() {
                [b't', b'a'..=b'h', b'0'..=b'9', b'0'..=b'9', b'_', ..] => return None,
                _ => "its name begins with no row",
            },
        };
        Some(format!("{}: {complaint}", self.name))
    }
}

impl Base {
    /// The PKI of this seed. Most cases begin with the same one, so each is made once.
    fn build(&self, seed: u64) -> TestPki {
        static MADE: Mutex<BTreeMap<String, TestPki>> = Mutex::new(BTreeMap::new());
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        made.entry(format!("{seed} {self:?}"))
            .or_insert_with(|| self.make(seed))
            .clone()
    }

    fn make(&self, seed: u64) -> TestPki {
        let mut builder: TestPkiBuilder = TestPki::builder().seed(seed);
        if let Some(at) = &self.at {
            builder = builder.now(at.0);
        }
        if let Some(word) = self.algorithm {
            builder = builder.algorithm(word.algorithm());
        }
        if let Some(word) = self.profile {
            builder = builder.profile(word.profile());
        }
        if let Some(id) = &self.device {
            builder = builder.device_id(id);
        }
        if self.development {
            builder = builder.development();
        }
        if self.no_rev_avail {
            builder = builder.no_rev_avail();
        }
        for place in &self.revoked {
            builder = builder.revoke(match place {
                Place::Leaf => Role::Leaf,
                Place::Intermediate => Role::Intermediate,
                other => panic!("{other:?} is not revoked by this word"),
            });
        }
        let intermediates = self.intermediates.unwrap_or(1);
        builder
            .extra_intermediates(intermediates.saturating_sub(1))
            .build()
    }
}

impl Presented {
    /// What is handed over: root, chain and lists.
    #[must_use]
    pub fn sealed(&self) -> Sealed {
        Sealed {
            root: self.pki.root().to_vec(),
            chain: self.pki.chain().to_vec(),
            crls: self.pki.crls().to_vec(),
        }
    }

    /// The PKI, for its time and keys.
    #[must_use]
    pub fn pki(&self) -> &TestPki {
        &self.pki
    }

    /// Our verdict on the chain, and, where it fits into a file and begins with the device's key, on a component that the
    /// device signed, which must not differ unless the chain is good and may not sign the component.
    ///
    /// # Errors
    /// The code of the refusal.
    ///
    /// # Panics
    /// When the two verdicts contradict each other.
    pub fn judge(&self) -> Result<(), Code> {
        let chain = self.judge_chain();
        let Some(file) = self.judge_file().filter(|_| self.begins_with_the_device()) else {
            return chain;
        };
        assert!(
            chain == file || chain.is_ok(),
            "the chain: {chain:?}, the file: {file:?}"
        );
        file
    }

    fn begins_with_the_device(&self) -> bool {
        let key = self.pki.device_key().public_key().to_spki_der();
        let leaf = self.pki.chain().first();
        leaf.is_some_and(|der| der.windows(key.len()).any(|octets| octets == key))
    }

    fn anchors(&self) -> Result<Anchors, Code> {
        Anchors::new(vec![self.pki.anchor_source()]).map_err(|error| match error {
            AnchorError::Certificate { fault, .. } => fault.code(),
            AnchorError::Crl { rejection, .. } => rejection.code(),
            other => panic!("{other}"),
        })
    }

    fn judge_chain(&self) -> Result<(), Code> {
        self.anchors()?
            .verify_chain(
                self.pki.chain(),
                &PathProfile::COMPONENTS,
                &self.pki.now(),
                &self.pki.state(),
            )
            .map(drop)
            .map_err(|rejection| rejection.code())
    }

    /// `None` where the format has no room for the chain.
    fn judge_file(&self) -> Option<Result<(), Code>> {
        let manifest = self.pki.manifest("test:guest");
        let fields = self.pki.statement(EMPTY_COMPONENT, &manifest);
        let signed = self.pki.try_forge(EMPTY_COMPONENT, fields)?;
        Some(self.anchors().and_then(|anchors| {
            UnverifiedComponent::parse(signed)
                .and_then(|component| {
                    let (now, state) = (self.pki.now(), self.pki.state());
                    anchors.verify(component, &Policy::default(), &now, &state)
                })
                .map(drop)
                .map_err(|rejection| rejection.code())
        }))
    }
}

/// A seed for a key, always the same for the same numbers.
fn seed(kind: u64, number: usize) -> [u8; 32] {
    let mut random = Random::Seeded {
        seed: kind,
        counter: u64::try_from(number).unwrap_or(u64::MAX),
    };
    let mut octets = [0; 32];
    random
        .try_fill_bytes(&mut octets)
        .expect("a seeded source does not fail");
    octets
}
