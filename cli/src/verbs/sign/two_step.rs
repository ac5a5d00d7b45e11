//! Signing in two steps, for keys that no tool of ours may touch.
//!
//! The first writes a JSON file that tells people and programs what is to be signed, and beside it each signer's
//! message as bare bytes, ready for whatever makes the signature. The second puts the signatures in place.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use countersign_signer::two_step::{self, MAX_PREPARED_BYTES, Prepared};
use countersign_signer::{Chain, Manifest, SignOptions, Signed};
use serde_json::{Value, json};

use crate::shared::failure::Failure;
use crate::shared::files::{self, Existing};
use crate::shared::output::Output;
use crate::verbs::inspect::statement;

/// Largest signature file in bytes; DER takes 72.
const MAX_SIGNATURE_BYTES: u64 = 4096;

/// The first step, and where its result goes.
pub(super) struct Preparation<'a> {
    pub(super) component: &'a Path,
    pub(super) manifest: &'a Manifest,
    pub(super) options: &'a SignOptions,
    pub(super) target: &'a Path,
}

impl Preparation<'_> {
    /// Writes `target`, and each signer's message to `target.1.tbs` and so on; all of them or none.
    pub(super) fn run(
        &self,
        chains: Vec<Chain>,
        existing: Existing,
        as_json: bool,
        output: &mut Output,
    ) -> Result<(), Failure> {
        let names: Vec<PathBuf> = (1..=chains.len())
            .map(|number| message_name(self.target, number))
            .collect();
        for path in names.iter().map(PathBuf::as_path).chain([self.target]) {
            files::check_output(path, existing)?;
        }
        let prepared = two_step::prepare(self.component, self.manifest, chains, self.options)?;
        let json = prepared.to_json()?;
        let messages: Vec<Vec<u8>> = prepared
            .pending()
            .map(|pending| pending.message().to_vec())
            .collect();
        let contents = names
            .iter()
            .map(PathBuf::as_path)
            .zip(messages.iter().map(Vec::as_slice));
        write_all(contents.chain([(self.target, json.as_bytes())]), existing)?;
        if as_json {
            output.json(&to_json(&prepared, self.target, &names));
        } else {
            print(&prepared, self.target, &names, output);
        }
        Ok(())
    }
}

/// Second step: the signed component from the prepared file and the signatures.
pub(super) fn finish(
    component: &Path,
    prepared: &Path,
    signatures: &[PathBuf],
    options: &SignOptions,
    target: &Path,
) -> Result<Signed, Failure> {
    let limit = u64::try_from(MAX_PREPARED_BYTES).unwrap_or(u64::MAX);
    let json = files::read(prepared, "prepared file", limit)?;
    let prepared = Prepared::from_json(&json)
        .with_context(|| format!("cannot use {}", prepared.display()))
        .map_err(Failure::usage)?;
    let signatures: Vec<Vec<u8>> = signatures
        .iter()
        .map(|path| files::read(path, "signature", MAX_SIGNATURE_BYTES))
        .collect::<Result<_, _>>()?;
    Ok(two_step::finish(
        &prepared,
        component,
        target,
        &signatures,
        options,
    )?)
}

fn print(prepared: &Prepared, target: &Path, names: &[PathBuf], output: &mut Output) {
    output.line(&format!(
        "Prepared {}; nothing is signed yet",
        target.display()
    ));
    statement::print(prepared.statement(), output);
    output.line("To be signed:");
    for (name, pending) in names.iter().zip(prepared.pending()) {
        let key = pending.chain().public_key();
        output.line(&format!(
            "  {} with {} by the key {}",
            name.display(),
            key.algorithm().name(),
            key.spki_sha256()
        ));
    }
}

fn to_json(prepared: &Prepared, target: &Path, names: &[PathBuf]) -> Value {
    let signers: Vec<Value> = names
        .iter()
        .zip(prepared.pending())
        .map(|(name, pending)| {
            json!({
                "message": name.display().to_string(),
                "algorithm": pending.chain().public_key().algorithm().name(),
                "spki_sha256": pending.chain().public_key().spki_sha256().to_string(),
            })
        })
        .collect();
    json!({
        "version": 1,
        "prepared": target.display().to_string(),
        "statement": statement::to_json(prepared.statement()),
        "signers": signers,
    })
}

fn message_name(target: &Path, number: usize) -> PathBuf {
    let mut name = OsString::from(target);
    name.push(format!(".{number}.tbs"));
    PathBuf::from(name)
}

/// Writes several files; if one cannot be written, those that were new are taken away again.
fn write_all<'a>(
    contents: impl Iterator<Item = (&'a Path, &'a [u8])>,
    existing: Existing,
) -> Result<(), Failure> {
    let mut written = Vec::new();
    for (path, bytes) in contents {
        if let Err(failure) = files::write(path, bytes, existing) {
            if existing == Existing::Refuse {
                for path in written {
                    // The failure that is reported says more than one of tidying up.
                    let _ = std::fs::remove_file(path);
                }
            }
            return Err(failure);
        }
        written.push(path);
    }
    Ok(())
}
