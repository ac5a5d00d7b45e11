//! Making a bundle: an index over files, signed, and then the files one after another.
//!
//! Each file is read twice, 64 KiB at a time: once for the index, and once into the bundle, where it must be the same still.

use crate::sign::{entry, open, signer_id, signer_order};
use crate::staged::scan;
use crate::{CertifiedKey, Chain, Overwrite, SignError};
use countersign_durable::{Access, Unfinished};
use countersign_format::{
    Audience, BundleEnvelope, BundleFields, BundleIndex, BundlePart, Digest, DigestWriter,
    FormatError, Minimum, PartKind, bundle_preamble, bundle_to_be_signed,
};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// A file that becomes a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleSource {
    /// What it is.
    pub kind: PartKind,
    /// Where it lies. Its last part is its name in the bundle.
    pub path: PathBuf,
}

/// What is to become a bundle.
#[derive(Clone, Debug)]
pub struct BundlePlan {
    /// The line, within which numbers rise.
    pub line: String,
    /// The number.
    pub number: u64,
    /// The last second at which it may be applied, since 1970.
    pub not_after: u64,
    /// For which devices.
    pub audience: Audience,
    /// The files.
    pub parts: Vec<BundleSource>,
    /// What must not run any more.
    pub minimums: Vec<Minimum>,
}

/// Signs a bundle and writes it to `output`. Each signature is verified before it is used; if anything fails there is no output.
///
/// # Errors
/// [`SignError`]; see its variants. A component that is not signed is refused: a gateway would not run it.
pub fn create_bundle(
    plan: &BundlePlan,
    signers: &[CertifiedKey],
    output: &Path,
    overwrite: Overwrite,
) -> Result<BundleIndex, SignError> {
    let chains: Vec<&Chain> = signers.iter().map(CertifiedKey::chain).collect();
    let order = signer_order(&chains)?;
    let mut sources = Vec::with_capacity(plan.parts.len());
    for source in &plan.parts {
        sources.push((part(source)?, source.path.as_path()));
    }
    // In the order of the index.
    sources.sort();
    let index = BundleIndex::new(BundleFields {
        line: plan.line.clone(),
        number: plan.number,
        not_after: plan.not_after,
        signers: chains.iter().map(|chain| signer_id(chain)).collect(),
        audience: plan.audience.clone(),
        parts: sources.iter().map(|(part, _)| part.clone()).collect(),
        minimums: plan.minimums.clone(),
    })
    .map_err(SignError::Bundle)?;
    let bytes = index.encode();
    let mut entries = Vec::with_capacity(signers.len());
    for signer in order.iter().filter_map(|place| signers.get(*place)) {
        let chain = signer.chain();
        let algorithm = chain.public_key().algorithm();
        let message = bundle_to_be_signed(&bytes, algorithm, chain.certificates());
        entries.push(entry(chain, &signer.key().sign(&message)?)?);
    }
    let envelope = BundleEnvelope::new(bytes, entries)
        .map_err(SignError::Bundle)?
        .encode();
    if BundleEnvelope::decode(&envelope)
        .and_then(|envelope| BundleIndex::decode(envelope.index_bytes()))
        .as_ref()
        != Ok(&index)
    {
        return Err(SignError::SelfCheck {
            what: "the index reads differently",
        });
    }
    let mut target = Unfinished::create(output, Access::Umask, overwrite)?;
    let preamble = bundle_preamble(&envelope).map_err(SignError::Bundle)?;
    for head in [&preamble[..], &envelope] {
        target
            .file()
            .write_all(head)
            .map_err(SignError::write(output))?;
    }
    for (part, path) in &sources {
        let file = target.file();
        let (digest, size) = pieces(path, |piece| {
            file.write_all(piece).map_err(SignError::write(output))
        })?;
        if (digest, size) != (part.digest, part.size) {
            return Err(SignError::Changed {
                path: (*path).to_owned(),
            });
        }
    }
    target.place()?;
    Ok(index)
}

fn part(source: &BundleSource) -> Result<BundlePart, SignError> {
    let path = &source.path;
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.unwrap_or_default().to_owned();
    countersign_format::check_bundle_name("part's name", &name).map_err(SignError::Bundle)?;
    if source.kind == PartKind::Component {
        let (layout, _) = scan(&mut open(path)?, path, |_| Ok(()))?;
        if layout.signature().is_none() {
            return Err(SignError::Component(FormatError::SignatureMissing));
        }
    }
    let (digest, size) = pieces(path, |_| Ok(()))?;
    Ok(BundlePart {
        kind: source.kind,
        name,
        size,
        digest,
    })
}

/// Reads a file to its end, hands every piece to `each`, and gives digest and size of all of it.
fn pieces(
    path: &Path,
    mut each: impl FnMut(&[u8]) -> Result<(), SignError>,
) -> Result<(Digest, u64), SignError> {
    let mut file = open(path)?;
    let mut digest = DigestWriter::new();
    let mut size = 0_u64;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = match file.read(&mut buffer) {
            Ok(0) => return Ok((digest.finish(), size)),
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(SignError::read(path)(error)),
        };
        let piece = buffer.get(..count).unwrap_or_default();
        digest.update(piece);
        size = size.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        if size > countersign_format::limits::MAX_BUNDLE_BYTES {
            return Err(SignError::Bundle(FormatError::LimitExceeded {
                what: "part",
                limit: countersign_format::limits::MAX_BUNDLE_BYTES,
                actual: size,
            }));
        }
        each(piece)?;
    }
}
