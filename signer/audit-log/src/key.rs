//! Who signs a log's checkpoints, and by which public key they are verified.
//!
//! The key is the log's own: a CA's key, or a device's for anything else, must not sign checkpoints. Both algorithms
//! of [`PublicKey`] have a signature type of signed-note: Ed25519 is 0x01, ECDSA on P-256 is 0x02, which is there for
//! keys in hardware that has nothing else. A log that is shown to the public or to its witnesses must be signed with
//! Ed25519 (C2SP tlog-tiles, "Checkpoints").

use std::fmt;

use base64ct::{Base64, Encoding};
use countersign_keys::{Algorithm, PublicKey, SigningKey};

use crate::Digest;
use crate::checkpoint::{Checkpoint, CheckpointInvalid, MAX_NOTE_BYTES, TreeHead};
use crate::note::{Note, is_key_name, signature_line};

/// The longest origin, in bytes.
const MAX_ORIGIN_BYTES: usize = 255;

/// The name of a log, such as `factory.example/audit`: the first line of its checkpoints, and the name of its key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin(String);

/// Why a text is not the name of a log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{name:?} is no name for a log: it has 1 to {MAX_ORIGIN_BYTES} bytes, without spaces, plus signs and control characters, such as factory.example/audit"
)]
pub struct OriginInvalid {
    /// The text.
    name: String,
}

impl Origin {
    /// Takes a name that can stand in a checkpoint and name its key (C2SP tlog-checkpoint, signed-note).
    ///
    /// # Errors
    /// [`OriginInvalid`] if it is empty, too long, or has a space, a plus sign or a control character in it.
    pub fn new(name: &str) -> Result<Self, OriginInvalid> {
        if name.len() > MAX_ORIGIN_BYTES || !is_key_name(name) {
            return Err(OriginInvalid {
                name: name.chars().take(MAX_ORIGIN_BYTES).collect(),
            });
        }
        Ok(Self(name.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A log's key: signs its checkpoints.
#[derive(Debug)]
pub struct LogKey {
    verifier: LogVerifier,
    key: SigningKey,
}

impl LogKey {
    /// The key of the log of this name. It must sign nothing else.
    ///
    /// # Errors
    /// [`VerifierKeyInvalid::Algorithm`] for a key whose algorithm signed-note has no type for.
    pub fn new(origin: Origin, key: SigningKey) -> Result<Self, VerifierKeyInvalid> {
        Ok(Self {
            verifier: LogVerifier::new(origin, key.public_key().clone())?,
            key,
        })
    }

    /// What verifies the checkpoints: hand its [`LogVerifier::to_vkey`] to whoever shall be able to.
    #[must_use]
    pub fn verifier(&self) -> &LogVerifier {
        &self.verifier
    }

    /// Signs a checkpoint. Who calls this promises that `head` continues whatever was signed before.
    ///
    /// # Errors
    /// What the key's store reports.
    pub fn sign(&self, head: TreeHead) -> Result<Checkpoint, countersign_keys::Error> {
        self.sign_from(head, 0)
    }

    /// The same, for a log that still has its entries from `first` on.
    pub(crate) fn sign_from(
        &self,
        head: TreeHead,
        first: u64,
    ) -> Result<Checkpoint, countersign_keys::Error> {
        let text = head.text(&self.verifier.origin, first);
        let signature = self.key.sign(text.as_bytes())?;
        // The DER form is what signed-note's type 0x02 carries; for Ed25519 it is the 64 bytes themselves.
        let signature = signature.to_x509();
        let name = self.verifier.origin.as_str();
        let line = signature_line(name, self.verifier.key_id, &signature);
        Ok(Checkpoint::of_verified(
            head,
            first,
            format!("{text}\n{line}"),
        ))
    }
}

/// The public half: verifies a log's checkpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogVerifier {
    origin: Origin,
    key: PublicKey,
    key_id: [u8; 4],
    /// Signature type and key, as signed-note writes them.
    encoded: Vec<u8>,
}

/// Why a key, or the text of one, verifies no log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifierKeyInvalid {
    /// The key's algorithm has no signature type in signed-note.
    #[error("checkpoints cannot be signed with {algorithm}: use Ed25519, or P-256")]
    Algorithm {
        /// The algorithm.
        algorithm: &'static str,
    },
    /// The four bytes in the middle are not those of this name and key.
    #[error("the verifier key was copied wrongly: its id must be {expected}")]
    Id {
        /// The one that name and key have.
        expected: String,
    },
    /// The public key is none that is accepted.
    #[error("the verifier key's public key is not accepted: {0}")]
    Key(#[from] countersign_keys::PublicKeyInvalid),
    /// The text is not three parts with plus signs between them.
    #[error(
        "a verifier key has the form NAME+ID+KEY, with the id in hexadecimal digits and the key in base64"
    )]
    Malformed,
    /// The name is none for a log.
    #[error(transparent)]
    Origin(#[from] OriginInvalid),
}

/// signed-note, "Signature types".
const ED25519: u8 = 0x01;
const ECDSA: u8 = 0x02;

impl LogVerifier {
    /// Verifies the log of this name by this key.
    ///
    /// # Errors
    /// [`VerifierKeyInvalid::Algorithm`] for a key whose algorithm signed-note has no type for.
    pub fn new(origin: Origin, key: PublicKey) -> Result<Self, VerifierKeyInvalid> {
        let (encoded, id) = match key.algorithm() {
            Algorithm::Ed25519 => {
                let encoded = [&[ED25519][..], &key.to_raw_bytes()].concat();
                let id = Digest::of(&[origin.as_str().as_bytes(), b"\n", &encoded].concat());
                (encoded, id)
            }
            // Its id is that of the key alone.
            Algorithm::Esp256 => {
                let spki = key.to_spki_der();
                ([&[ECDSA][..], &spki].concat(), Digest::of(&spki))
            }
            other => {
                return Err(VerifierKeyInvalid::Algorithm {
                    algorithm: other.name(),
                });
            }
        };
        let key_id = id
            .as_bytes()
            .first_chunk::<4>()
            .copied()
            .unwrap_or_default();
        Ok(Self {
            origin,
            key,
            key_id,
            encoded,
        })
    }

    /// Reads the text form, `NAME+ID+KEY`.
    ///
    /// # Errors
    /// [`VerifierKeyInvalid`] says what about it is wrong.
    pub fn from_vkey(text: &str) -> Result<Self, VerifierKeyInvalid> {
        let mut parts = text.trim_end_matches('\n').splitn(3, '+');
        let (Some(name), Some(id), Some(encoded)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(VerifierKeyInvalid::Malformed);
        };
        let encoded = Base64::decode_vec(encoded).map_err(|_| VerifierKeyInvalid::Malformed)?;
        let key = match encoded.split_first() {
            Some((&ED25519, key)) => PublicKey::from_ed25519_bytes(key)?,
            Some((&ECDSA, key)) => PublicKey::from_spki_der(key)?,
            Some(_) => {
                return Err(VerifierKeyInvalid::Algorithm {
                    algorithm: "this signature type",
                });
            }
            None => return Err(VerifierKeyInvalid::Malformed),
        };
        let verifier = Self::new(Origin::new(name)?, key)?;
        // The type says what the key is, so a key of the other one must not stand behind it.
        if verifier.encoded != encoded {
            return Err(VerifierKeyInvalid::Malformed);
        }
        if id != verifier.id_text() {
            return Err(VerifierKeyInvalid::Id {
                expected: verifier.id_text(),
            });
        }
        Ok(verifier)
    }

    /// The text form that tools for such logs read: `NAME+ID+KEY`.
    #[must_use]
    pub fn to_vkey(&self) -> String {
        let key = Base64::encode_string(&self.encoded);
        format!("{}+{}+{key}", self.origin, self.id_text())
    }

    fn id_text(&self) -> String {
        format!("{:08x}", u32::from_be_bytes(self.key_id))
    }

    /// The log's name.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The key.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.key
    }

    /// Reads a checkpoint and verifies that this key signed it for this log. Signatures of others are left to others.
    ///
    /// # Errors
    /// [`CheckpointInvalid`] says what it is instead.
    pub fn open(&self, note: &[u8]) -> Result<Checkpoint, CheckpointInvalid> {
        if note.len() > MAX_NOTE_BYTES {
            return Err(CheckpointInvalid::TooLarge { bytes: note.len() });
        }
        let parsed = Note::parse(note).ok_or(CheckpointInvalid::NotANote)?;
        let mut ours = parsed
            .signatures
            .iter()
            .filter(|line| line.name == self.origin.as_str() && line.key_id == self.key_id)
            .peekable();
        if ours.peek().is_none() {
            return Err(CheckpointInvalid::NotSigned {
                signers: parsed
                    .signatures
                    .iter()
                    .map(|line| line.name.to_owned())
                    .collect(),
            });
        }
        // signed-note: one that names a known key and does not verify rejects the whole note.
        for line in ours {
            self.key
                .verify_x509(parsed.text.as_bytes(), &line.bytes)
                .map_err(|_| CheckpointInvalid::Forged)?;
        }
        // Only what is signed is looked at.
        let (origin, head, first) =
            TreeHead::parse(parsed.text).ok_or(CheckpointInvalid::NotACheckpoint)?;
        if origin != self.origin.as_str() {
            return Err(CheckpointInvalid::OtherLog {
                origin: origin.to_owned(),
            });
        }
        let note = String::from_utf8(note.to_vec()).map_err(|_| CheckpointInvalid::NotANote)?;
        Ok(Checkpoint::of_verified(head, first, note))
    }
}
