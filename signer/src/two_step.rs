//! Signing in two steps, for keys that no tool of ours may touch: [`prepare`] writes what is to be signed, the keys'
//! keepers sign it in their own way, [`finish`] puts the signatures in place.
//!
//! The prepared file is JSON, for people to read and for other tools to use. Nothing in it is trusted: the messages
//! are computed again from the statement and the chains, the component is hashed again, and every signature is
//! verified.

use crate::manifest::Manifest;
use crate::sign::{
    checked_payload, describe, documents, entry, old_signature, open, signer_id, signer_order,
    to_be_signed,
};
use crate::staged::{Staged, reread, scan};
use crate::{Chain, SignError, SignOptions, Signed};
use countersign_format::{Envelope, SignerId, Statement};
use countersign_keys::Signature;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The largest prepared file that is read: a full statement and four full chains, twice in hexadecimal, with room.
pub const MAX_PREPARED_BYTES: usize = 1024 * 1024;

/// The version of the JSON form.
const VERSION: u32 = 1;

/// A statement, and who has to sign it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    statement: Statement,
    chains: Vec<Chain>,
}

/// One signature that is still to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    chain: Chain,
    message: Vec<u8>,
}

impl Pending {
    /// The signer's certificates, and in them the key that must sign.
    #[must_use]
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The message to sign: the Sig_structure of RFC 9052 §4.4. ESP256 signs its SHA-256, Ed25519 the bytes.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        &self.message
    }
}

/// First step: reads the component and describes it. Nothing is signed, nothing is written.
///
/// # Errors
/// [`SignError`]; see its variants.
pub fn prepare(
    input: &Path,
    manifest: &Manifest,
    chains: Vec<Chain>,
    options: &SignOptions,
) -> Result<Prepared, SignError> {
    let refs: Vec<&Chain> = chains.iter().collect();
    let order = signer_order(&refs)?;
    let documents = documents(manifest)?;
    let mut file = open(input)?;
    let (scanned, mut digest) = scan(&mut file, input, |_| Ok(()))?;
    if let Some(range) = scanned.signature() {
        if !options.replace_signature {
            return Err(SignError::AlreadySigned);
        }
        (digest, _) = reread(&mut file, range, input)?;
    }
    let statement = describe(
        digest,
        scanned.component_size(),
        manifest,
        documents,
        &refs,
        options,
    )?;
    let chains = order
        .iter()
        .filter_map(|index| chains.get(*index))
        .cloned()
        .collect();
    Ok(Prepared { statement, chains })
}

/// Second step: `signatures`, in any order, are matched to the signers by verifying them, and the signed file is
/// written. Each is the raw 64 bytes or, for P-256, the DER form that OpenSSL writes.
///
/// # Errors
/// [`SignError::Signature`] if one is missing or fits no signer, [`SignError::ComponentDiffers`] if the component
/// is not the one that was prepared; else see [`SignError`].
pub fn finish(
    prepared: &Prepared,
    input: &Path,
    output: &Path,
    signatures: &[Vec<u8>],
    options: &SignOptions,
) -> Result<Signed, SignError> {
    let bytes = prepared.statement.encode();
    let mut used = vec![false; signatures.len()];
    let mut entries = Vec::with_capacity(prepared.chains.len());
    for pending in prepared.pending() {
        let key = pending.chain.public_key();
        let found = signatures
            .iter()
            .zip(used.iter_mut())
            .find_map(|(signature, used)| {
                let made = Signature::checked(key, &pending.message, signature)
                    .or_else(|_| Signature::checked_x509(key, &pending.message, signature));
                let made = made.ok()?;
                *used = true;
                Some(made)
            });
        let Some(signature) = found else {
            return Err(SignError::Signature {
                why: format!(
                    "no signature of the key {key} was among the {} given; it must sign exactly the prepared message",
                    signatures.len()
                ),
            });
        };
        entries.push(entry(&pending.chain, &signature)?);
    }
    if let Some(unused) = used.iter().position(|used| !used) {
        return Err(SignError::Signature {
            why: format!(
                "signature {} fits none of the signers",
                unused.saturating_add(1)
            ),
        });
    }
    let envelope = Envelope::new(bytes, entries).map_err(SignError::Statement)?;
    let payload = checked_payload(&envelope, &prepared.statement)?;
    let staged = Staged::copy(
        &mut open(input)?,
        input,
        output,
        options.overwrite,
        old_signature(options),
    )?;
    if staged.digest != *prepared.statement.component_digest()
        || staged.size != prepared.statement.component_size()
    {
        return Err(SignError::ComponentDiffers {
            signed: *prepared.statement.component_digest(),
            actual: staged.digest,
        });
    }
    staged.finish(&payload)?;
    Ok(Signed {
        statement: prepared.statement.clone(),
        output: output.to_owned(),
    })
}

impl Prepared {
    /// The statement.
    #[must_use]
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// What is to be signed, in the order of the statement's signers.
    pub fn pending(&self) -> impl Iterator<Item = Pending> {
        let bytes = self.statement.encode();
        self.chains.iter().map(move |chain| Pending {
            chain: chain.clone(),
            message: to_be_signed(&bytes, chain),
        })
    }

    /// The JSON form, version 1; binary values in hexadecimal.
    ///
    /// # Errors
    /// [`SignError::Prepared`] if it cannot be written, which no value does.
    pub fn to_json(&self) -> Result<String, SignError> {
        let file = PreparedFile {
            version: VERSION,
            component: ComponentPart {
                sha256: self.statement.component_digest().to_string(),
                size: self.statement.component_size(),
                name: self.statement.name().to_string(),
                version: self.statement.version().to_string(),
            },
            statement: hex::encode(self.statement.encode()),
            signers: self
                .pending()
                .map(|pending| SignerPart {
                    algorithm: pending.chain.public_key().algorithm().name().to_owned(),
                    public_key_sha256: pending.chain.public_key().spki_sha256().to_string(),
                    chain: pending
                        .chain
                        .certificates()
                        .iter()
                        .map(hex::encode)
                        .collect(),
                    to_be_signed: hex::encode(&pending.message),
                })
                .collect(),
        };
        let mut json =
            serde_json::to_string_pretty(&file).map_err(|error| refuse(error.to_string()))?;
        json.push('\n');
        Ok(json)
    }

    /// Reads the JSON form. The parts for people are compared with the statement, so that what a keeper read is
    /// what is finished.
    ///
    /// # Errors
    /// [`SignError::Prepared`] with line and column, or with the part that does not agree.
    pub fn from_json(json: &[u8]) -> Result<Self, SignError> {
        if json.len() > MAX_PREPARED_BYTES {
            return Err(refuse(format!(
                "it is larger than {MAX_PREPARED_BYTES} bytes"
            )));
        }
        let file: PreparedFile =
            serde_json::from_slice(json).map_err(|error| refuse(error.to_string()))?;
        if file.version != VERSION {
            return Err(refuse(format!(
                "it has version {}, and this program reads version {VERSION}",
                file.version
            )));
        }
        let bytes = unhex("statement", &file.statement)?;
        let statement = Statement::decode(&bytes).map_err(|error| refuse(error.to_string()))?;
        let mut chains = Vec::new();
        for signer in &file.signers {
            let certificates = signer
                .chain
                .iter()
                .map(|certificate| unhex("chain", certificate))
                .collect::<Result<_, _>>()?;
            chains.push(Chain::from_der(certificates)?);
        }
        let signers: Vec<SignerId> = chains.iter().map(signer_id).collect();
        if signers != statement.signers() {
            return Err(refuse(
                "its chains are not those of the signers that the statement lists".into(),
            ));
        }
        let prepared = Self { statement, chains };
        if prepared.to_json()? != normal_form(&file)? {
            return Err(refuse(
                "the parts for people do not agree with the statement; prepare it again".into(),
            ));
        }
        Ok(prepared)
    }
}

fn normal_form(file: &PreparedFile) -> Result<String, SignError> {
    let mut json = serde_json::to_string_pretty(file).map_err(|error| refuse(error.to_string()))?;
    json.push('\n');
    Ok(json)
}

fn unhex(what: &str, text: &str) -> Result<Vec<u8>, SignError> {
    hex::decode(text).map_err(|error| refuse(format!("its {what} is not hexadecimal: {error}")))
}

fn refuse(why: String) -> SignError {
    SignError::Prepared { why }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PreparedFile {
    version: u32,
    component: ComponentPart,
    statement: String,
    signers: Vec<SignerPart>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ComponentPart {
    sha256: String,
    size: u64,
    name: String,
    version: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignerPart {
    algorithm: String,
    public_key_sha256: String,
    chain: Vec<String>,
    to_be_signed: String,
}
