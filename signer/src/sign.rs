//! Signing a component with keys at hand.

use crate::manifest::Manifest;
use crate::staged::{OldSignature, Staged};
use crate::{CertifiedKey, Chain, Overwrite, SignError};
use countersign_format::{
    Digest, DigestWriter, Document, Envelope, SignerEntry, SignerId, Statement, StatementFields,
    limits, signer_to_be_signed,
};
use countersign_keys::Signature;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// How to sign; `Default` replaces nothing and states no time.
#[derive(Clone, Copy, Debug, Default)]
pub struct SignOptions {
    /// Whether a signature that the input carries is replaced; otherwise a signed input is refused.
    pub replace_signature: bool,
    /// Whether an existing output is replaced.
    pub overwrite: Overwrite,
    /// The time to state, in seconds since 1970. Information only; leave it out for reproducible files, or take
    /// SOURCE_DATE_EPOCH.
    pub issued_at: Option<u64>,
}

/// What was signed.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The statement that all signers signed.
    pub statement: Statement,
    /// Where the signed file is.
    pub output: PathBuf,
}

/// `app.wasm` becomes `app.signed.wasm`, beside it; a name without `.wasm` gets `.signed.wasm` behind it.
#[must_use]
pub fn default_output(input: &Path) -> PathBuf {
    let mut name = match input.extension() {
        Some(extension) if extension == "wasm" => input.file_stem().unwrap_or_default().to_owned(),
        _ => input.file_name().unwrap_or_default().to_owned(),
    };
    name.push(".signed.wasm");
    input.with_file_name(name)
}

/// Signs the component in the file `input` and writes the signed file to `output`.
///
/// The component is read once, 64 KiB at a time, and copied unchanged. Each signature is verified before it is used,
/// and the whole output is read back before it takes its name; if anything fails there is no output.
///
/// # Errors
/// [`SignError`]; see its variants.
pub fn sign_file(
    input: &Path,
    output: &Path,
    manifest: &Manifest,
    signers: &[CertifiedKey],
    options: &SignOptions,
) -> Result<Signed, SignError> {
    sign_reader(&mut open(input)?, input, output, manifest, signers, options)
}

/// The same for a component that comes from anywhere; `name` stands for it in error messages.
///
/// # Errors
/// As [`sign_file`].
pub fn sign_reader(
    input: &mut dyn Read,
    name: &Path,
    output: &Path,
    manifest: &Manifest,
    signers: &[CertifiedKey],
    options: &SignOptions,
) -> Result<Signed, SignError> {
    // Whatever can be refused without reading the component is refused first.
    let chains: Vec<&Chain> = signers.iter().map(CertifiedKey::chain).collect();
    let order = signer_order(&chains)?;
    let documents = documents(manifest)?;
    let staged = Staged::copy(
        input,
        name,
        output,
        options.overwrite,
        old_signature(options),
    )?;
    let statement = describe(
        staged.digest,
        staged.size,
        manifest,
        documents,
        &chains,
        options,
    )?;
    let bytes = statement.encode();

    let mut entries = Vec::with_capacity(signers.len());
    for signer in order.iter().filter_map(|index| signers.get(*index)) {
        let message = to_be_signed(&bytes, signer.chain());
        entries.push(entry(signer.chain(), &signer.key().sign(&message)?)?);
    }
    let envelope = Envelope::new(bytes, entries).map_err(SignError::Statement)?;
    staged.finish(&checked_payload(&envelope, &statement)?)?;
    Ok(Signed {
        statement,
        output: output.to_owned(),
    })
}

pub(crate) fn open(path: &Path) -> Result<File, SignError> {
    let file = File::open(path).map_err(SignError::read(path))?;
    match file.metadata() {
        Ok(found) if found.is_dir() => Err(SignError::read(path)(std::io::Error::from(
            std::io::ErrorKind::IsADirectory,
        ))),
        _ => Ok(file),
    }
}

pub(crate) fn old_signature(options: &SignOptions) -> OldSignature {
    if options.replace_signature {
        OldSignature::Drop
    } else {
        OldSignature::Refuse
    }
}

/// How a statement names the signer with this chain.
pub(crate) fn signer_id(chain: &Chain) -> SignerId {
    let key = chain.public_key();
    SignerId::of(key.algorithm(), key.spki_sha256(), chain.certificates())
}

/// The order in which a statement lists these signers, as indices; refuses none, too many, and one key twice.
pub(crate) fn signer_order(chains: &[&Chain]) -> Result<Vec<usize>, SignError> {
    let refuse = |why: String| Err(SignError::Signers { why });
    if chains.is_empty() {
        return refuse(
            "no signer was given; a component needs at least one key with its chain".into(),
        );
    }
    if u64::try_from(chains.len()).unwrap_or(u64::MAX) > limits::MAX_SIGNERS {
        return refuse(format!(
            "{} signers were given; at most {} can sign",
            chains.len(),
            limits::MAX_SIGNERS
        ));
    }
    let mut keyed: Vec<(SignerId, usize)> = chains
        .iter()
        .enumerate()
        .map(|(index, chain)| (signer_id(chain), index))
        .collect();
    keyed.sort();
    for (first, second) in keyed.iter().zip(keyed.iter().skip(1)) {
        // Also with another chain: the same key is the same signer.
        if first.0.spki_sha256 == second.0.spki_sha256 {
            return refuse(format!(
                "the key {} was given twice; each signer needs its own",
                first.0.spki_sha256
            ));
        }
    }
    Ok(keyed.into_iter().map(|(_, index)| index).collect())
}

/// Reads and digests the documents that the manifest attaches.
pub(crate) fn documents(manifest: &Manifest) -> Result<Vec<Document>, SignError> {
    let mut documents = Vec::with_capacity(manifest.documents.len());
    for source in &manifest.documents {
        let mut file = open(&source.path)?;
        let mut digest = DigestWriter::new();
        let mut buffer = vec![0u8; 64 * 1024];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => digest.update(buffer.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(SignError::read(&source.path)(error)),
            }
        }
        documents.push(Document {
            media_type: source.media_type.clone(),
            digest: digest.finish(),
        });
    }
    Ok(documents)
}

/// The statement about a component of this digest and size.
pub(crate) fn describe(
    component_digest: Digest,
    component_size: u64,
    manifest: &Manifest,
    documents: Vec<Document>,
    chains: &[&Chain],
    options: &SignOptions,
) -> Result<Statement, SignError> {
    Statement::new(StatementFields {
        component_digest,
        component_size,
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        security_version: manifest.security_version,
        signers: chains.iter().map(|chain| signer_id(chain)).collect(),
        audience: manifest.audience.clone(),
        grants: manifest.grants.clone(),
        limits: manifest.limits,
        documents,
        issued_at: options.issued_at,
    })
    .map_err(SignError::Statement)
}

pub(crate) fn to_be_signed(statement: &[u8], chain: &Chain) -> Vec<u8> {
    signer_to_be_signed(
        statement,
        chain.public_key().algorithm(),
        chain.certificates(),
    )
}

pub(crate) fn entry(chain: &Chain, signature: &Signature) -> Result<SignerEntry, SignError> {
    SignerEntry::new(
        chain.public_key().algorithm(),
        chain.certificates().to_vec(),
        *signature.as_bytes(),
    )
    .map_err(SignError::Statement)
}

/// Encodes the envelope and reads it back as a host would: strictly, and with every signature verified.
pub(crate) fn checked_payload(
    envelope: &Envelope,
    statement: &Statement,
) -> Result<Vec<u8>, SignError> {
    let failed = |what| SignError::SelfCheck { what };
    let payload = envelope.encode();
    let decoded = Envelope::decode(&payload).map_err(|_| failed("the envelope cannot be read"))?;
    let read = Statement::decode(decoded.statement_bytes())
        .map_err(|_| failed("the statement cannot be read"))?;
    if read != *statement || decoded.signers().len() != statement.signers().len() {
        return Err(failed("the statement reads differently"));
    }
    for (index, (signer, id)) in decoded
        .signers()
        .iter()
        .zip(statement.signers())
        .enumerate()
    {
        let chain = Chain::from_der(signer.chain().to_vec())?;
        let message = decoded
            .to_be_signed(index)
            .ok_or_else(|| failed("a signer is missing"))?;
        if signer_id(&chain) != *id
            || chain
                .public_key()
                .verify(&message, signer.signature())
                .is_err()
        {
            return Err(failed("a signature does not verify"));
        }
    }
    Ok(payload)
}
