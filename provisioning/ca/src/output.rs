//! What goes to standard output, what to standard error, and with which exit status.

use std::io::Write as _;

use anyhow::Context as _;
use der::pem::LineEnding;
use serde::Serialize;

use crate::arguments::OutputArguments;
use crate::durable::{self, Existing};
use crate::verbs::lint_chain::Refused;

/// Usage, configuration, or a request that is refused.
const USAGE: u8 = 2;
/// The machine or a key failed.
const FAULT: u8 = 119;

pub(crate) const CERTIFICATE: &str = "CERTIFICATE";
pub(crate) const CRL: &str = "X509 CRL";
pub(crate) const REQUEST: &str = "CERTIFICATE REQUEST";

/// Where a verb reports to.
#[derive(Debug)]
pub(crate) struct Console {
    json: bool,
}

impl Console {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// A sentence for the person at the terminal.
    pub(crate) fn note(&self, text: &str) {
        if !self.json {
            eprintln!("{text}");
        }
    }

    /// A sentence that must not be missed, with or without `--json`.
    pub(crate) fn warn(&self, text: &str) {
        eprintln!("warning: {text}");
    }

    /// The result: `text` for people, `value` with `--json`.
    pub(crate) fn result(&self, text: &str, value: &impl Serialize) -> anyhow::Result<()> {
        let mut stdout = std::io::stdout().lock();
        if self.json {
            let mut json =
                serde_json::to_vec_pretty(value).context("the result does not encode as JSON")?;
            json.push(b'\n');
            stdout.write_all(&json)
        } else {
            stdout.write_all(text.as_bytes())
        }
        .and_then(|()| stdout.flush())
        .context("standard output could not be written")
    }

    /// The objects a verb made: to the file that was named, else to standard output unless `--json` has it.
    pub(crate) fn deliver(
        &self,
        arguments: &OutputArguments,
        label: &str,
        objects: &[Vec<u8>],
    ) -> anyhow::Result<()> {
        let bytes = if arguments.der {
            objects.first().cloned().unwrap_or_default()
        } else {
            pem(label, objects)?.into_bytes()
        };
        match &arguments.out {
            Some(path) => {
                let existing = if arguments.force {
                    Existing::Replace
                } else {
                    Existing::Refuse
                };
                durable::write(path, &bytes, existing)
                    .context("use --force to replace an existing file")
            }
            None if self.json => Ok(()),
            None => {
                let mut stdout = std::io::stdout().lock();
                stdout
                    .write_all(&bytes)
                    .and_then(|()| stdout.flush())
                    .context("standard output could not be written")
            }
        }
    }
}

/// Fails before anything is made when the output that was named could not be written in the end.
pub(crate) fn check_writable(arguments: &OutputArguments) -> anyhow::Result<()> {
    let Some(path) = &arguments.out else {
        return Ok(());
    };
    if path.is_dir() {
        anyhow::bail!("{} is a folder: name a file with --out", path.display());
    }
    if path.symlink_metadata().is_ok() && !arguments.force {
        anyhow::bail!(
            "{} exists already and was not touched; use --force to replace it",
            path.display()
        );
    }
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() && !parent.is_dir() => {
            anyhow::bail!(
                "{} cannot be written: there is no folder {}",
                path.display(),
                parent.display()
            )
        }
        _ => Ok(()),
    }
}

/// PEM blocks one after the other (RFC 7468).
pub(crate) fn pem(label: &str, objects: &[Vec<u8>]) -> anyhow::Result<String> {
    let mut text = String::new();
    for object in objects {
        let block = der::pem::encode_string(label, LineEnding::LF, object)
            .map_err(|error| anyhow::anyhow!("PEM could not be written: {error}"))?;
        text.push_str(&block);
    }
    Ok(text)
}

/// What the shell is told about `error`.
pub(crate) fn exit_status(error: &anyhow::Error) -> u8 {
    if let Some(refused) = error.downcast_ref::<Refused>() {
        return refused.status;
    }
    let fault = error.chain().any(|cause| {
        if let Some(error) = cause.downcast_ref::<countersign_keys::Error>() {
            return error.kind().is_fault();
        }
        if let Some(error) = cause.downcast_ref::<countersign_provisioning::Error>() {
            use countersign_provisioning::Error as Issuing;
            return matches!(
                error,
                Issuing::Encoding { .. }
                    | Issuing::Lint { .. }
                    | Issuing::Refused { .. }
                    | Issuing::Random { .. }
                    | Issuing::Sign { .. }
            );
        }
        if let Some(error) = cause.downcast_ref::<std::io::Error>() {
            use std::io::ErrorKind as Io;
            // A path that is wrong is the user's to correct; a disk that fails is not.
            return !matches!(
                error.kind(),
                Io::NotFound
                    | Io::AlreadyExists
                    | Io::PermissionDenied
                    | Io::IsADirectory
                    | Io::NotADirectory
                    | Io::ReadOnlyFilesystem
                    | Io::InvalidFilename
                    | Io::InvalidInput
            );
        }
        false
    });
    if fault { FAULT } else { USAGE }
}
