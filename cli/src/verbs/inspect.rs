//! `inspect`: what a signed file claims. Nothing is checked but that it can be read, and every form of output says so.

pub(crate) mod statement;

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use countersign_format::{Digest, Envelope, SignedFile, SignerEntry, Statement};
use countersign_trust_store::Certificate;
use serde_json::{Value, json};

use crate::shared::failure::Failure;
use crate::shared::files;
use crate::shared::output::{Output, Paint};

/// Show what a signed file claims, without verifying anything
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  countersign inspect app.signed.wasm
  countersign inspect app.sig
  countersign inspect app.signed.wasm --json

Anyone can write such claims. `countersign verify` says whether they are true.")]
pub(crate) struct Arguments {
    /// A signed component, or a detached signature
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print as versioned JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> Result<(), Failure> {
    let claims = Claims::read(&arguments.file)?;
    if arguments.json {
        output.json(&claims.to_json(&arguments.file));
    } else {
        claims.print(&arguments.file, output);
    }
    Ok(())
}

/// What a file claims. None of it is believed.
struct Claims {
    statement: Statement,
    envelope: Envelope,
    /// Digest and size of the component in the same file; none for a detached signature.
    component: Option<(Digest, u64)>,
}

impl Claims {
    fn read(path: &Path) -> Result<Self, Failure> {
        let bytes = files::read_component(path)?;
        // A component starts with the preamble of WebAssembly, a detached signature with CBOR tag 98 (RFC 9052 §2).
        let (payload, component) = if bytes.starts_with(&[0xd8, 0x62]) {
            (bytes.as_slice(), None)
        } else {
            let file = SignedFile::parse(&bytes)?;
            let size = u64::try_from(file.component().len())
                .map_err(|error| Failure::usage(anyhow!(error)))?;
            (file.signature(), Some((Digest::of(file.component()), size)))
        };
        let envelope = Envelope::decode(payload)?;
        let statement = Statement::decode(envelope.statement_bytes())?;
        Ok(Self {
            statement,
            envelope,
            component,
        })
    }

    /// Whether the component is the one that the statement describes: the one thing that the file alone can show.
    fn digest_matches(&self) -> Option<bool> {
        self.component.map(|(digest, size)| {
            digest == *self.statement.component_digest() && size == self.statement.component_size()
        })
    }

    fn print(&self, path: &Path, output: &mut Output) {
        output.painted(
            Paint::Bad,
            "NOT VERIFIED",
            &format!(
                ": this is what {} claims; only `countersign verify` says whether it is true",
                path.display()
            ),
        );
        output.line("");
        output.line("Statement");
        statement::print(&self.statement, output);
        let fits = match self.digest_matches() {
            None => "not in this file (detached signature)",
            Some(true) => "the one described",
            Some(false) => "NOT the one described: it was exchanged or changed after signing",
        };
        output.field("component", fits);
        for (index, signer) in self.envelope.signers().iter().enumerate() {
            output.line("");
            output.line(&format!(
                "Signer {} ({})",
                index.saturating_add(1),
                signer.algorithm().name()
            ));
            for (depth, certificate) in signer.chain().iter().enumerate() {
                let role = if depth == 0 { "certificate" } else { "issuer" };
                match Certificate::parse(certificate) {
                    Ok(certificate) => {
                        output.field(role, &certificate.subject());
                        output.field("  issued by", &certificate.issuer());
                        output.field("  serial number", &certificate.serial());
                        output.field(
                            "  valid",
                            &format!(
                                "{} to {}",
                                certificate.not_before(),
                                certificate.not_after()
                            ),
                        );
                    }
                    Err(fault) => output.field(role, &format!("cannot be read: {fault}")),
                }
            }
        }
        output.line("");
        output.painted(
            Paint::Bad,
            "NOT VERIFIED",
            ": no signature, certificate or root was checked",
        );
    }

    fn to_json(&self, path: &Path) -> Value {
        json!({
            "version": 1,
            "file": path.display().to_string(),
            "verified": false,
            "detached": self.component.is_none(),
            "component_matches_statement": self.digest_matches(),
            "statement": statement::to_json(&self.statement),
            "signers": self.envelope.signers().iter().map(signer_to_json).collect::<Vec<_>>(),
        })
    }
}

fn signer_to_json(signer: &SignerEntry) -> Value {
    let chain: Vec<Value> = signer
        .chain()
        .iter()
        .map(|certificate| {
            let sha256 = Digest::of(certificate).to_string();
            match Certificate::parse(certificate) {
                Ok(certificate) => json!({
                    "certificate_sha256": sha256,
                    "subject": certificate.subject(),
                    "issuer": certificate.issuer(),
                    "serial_number": certificate.serial(),
                    "not_before": certificate.not_before().to_string(),
                    "not_after": certificate.not_after().to_string(),
                }),
                Err(fault) => json!({ "certificate_sha256": sha256, "error": fault.to_string() }),
            }
        })
        .collect();
    json!({ "algorithm": signer.algorithm().name(), "chain": chain })
}
