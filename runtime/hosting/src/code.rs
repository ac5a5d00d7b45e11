//! Code that came with a component: beside it, called like its file with the target's name behind; or among others, and found
//! by what it says of itself.
//!
//! Whether it may be loaded is decided in the trust store and the runtime, before more of a file is read than says so. That it
//! lies there says nothing.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use countersign_format::{Digest, PrecompiledFile, limits};
use countersign_runtime::{LoadError, Runtime};
use countersign_trust_store::{
    Code, CrlNumber, Now, TrustState, VerifiedComponent, VerifiedPrecompiled,
};

use crate::read::open_regular;

/// Code that came with a component, and is not used.
#[derive(Clone, Debug)]
pub struct CodeNotUsed {
    /// Its file.
    pub path: PathBuf,
    /// Of its refusal; none where this machine is at fault.
    pub code: Option<Code>,
    /// Why, in a sentence for the operator.
    pub why: String,
    /// Where its signer's certificate was revoked, the issuer's key and the number of the list that says so.
    pub revoked_by: Option<(Digest, CrlNumber)>,
}

impl fmt::Display for CodeNotUsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the code in {} is not used: ", self.path.display())?;
        match self.code {
            Some(code) => write!(f, "{code}: {}", self.why),
            None => f.write_str(&self.why),
        }
    }
}

/// Who looks for the code of a component that verified, and by what it is judged.
#[derive(Clone, Copy)]
pub struct CodeSearch<'a> {
    /// What is to run it.
    pub runtime: &'a Runtime,
    /// What it is for.
    pub component: &'a VerifiedComponent,
    /// The present.
    pub now: &'a Now,
    /// What is remembered.
    pub state: &'a TrustState,
}

impl CodeSearch<'_> {
    /// The code that lies beside the file at `component`, or among these other files, if it is for this component and this
    /// host, and somebody vouches for it whom the host trusts with that; and what is not used. Of the other files those that
    /// say themselves that they are for another component or target are passed over.
    #[must_use]
    pub fn find(
        self,
        component: &Path,
        others: &[PathBuf],
    ) -> (Option<VerifiedPrecompiled>, Vec<CodeNotUsed>) {
        let beside = place(component, self.runtime.code_target());
        let mut not_used = Vec::new();
        let named = Some(&beside).filter(|path| path.is_file());
        let among = others.iter().filter(|path| **path != beside);
        let all = (named.map(|path| (path, false)))
            .into_iter()
            .chain(among.map(|path| (path, true)));
        for (path, may_be_anothers) in all {
            match self.open(path, may_be_anothers) {
                Ok(Some(code)) => return (Some(code), not_used),
                Ok(None) => {}
                Err(fault) => {
                    let mut unused = CodeNotUsed {
                        path: path.clone(),
                        code: None,
                        why: String::new(),
                        revoked_by: None,
                    };
                    match fault {
                        Fault::Machine(error) => unused.why = format!("{error:#}"),
                        Fault::Refused(error) => {
                            unused.code = Some(error.code());
                            unused.why = error.to_string();
                            if let LoadError::Rejected(rejection) = &error {
                                unused.revoked_by = rejection.revoking_list();
                            }
                        }
                    }
                    not_used.push(unused);
                }
            }
        }
        (None, not_used)
    }

    /// Reads who vouches for the code, and, if that is to be believed, the code.
    fn open(
        self,
        path: &Path,
        may_be_anothers: bool,
    ) -> Result<Option<VerifiedPrecompiled>, Fault> {
        let mut file = open_regular(path)?;
        let mut bytes = Vec::new();
        fill(&mut file, limits::MAX_PRECOMPILED_FRONT_BYTES, &mut bytes)?;
        if may_be_anothers && self.is_anothers(&bytes) {
            return Ok(None);
        }
        let Self {
            runtime,
            component,
            now,
            state,
        } = self;
        let voucher = runtime.verify_voucher(&bytes, component, now, state)?;
        let size = voucher.file_size();
        bytes.reserve_exact(
            usize::try_from(size)
                .unwrap_or(0)
                .saturating_sub(bytes.len()),
        );
        let read = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        fill(&mut file, size.saturating_sub(read), &mut bytes)?;
        if read > size || fill(&mut file, 1, &mut Vec::new())? > 0 {
            return Err(Fault::Machine(anyhow::anyhow!(
                "it is longer than the {size} bytes that were signed"
            )));
        }
        let code = voucher.hold_against(bytes).map_err(LoadError::from)?;
        Ok(Some(code))
    }

    /// Whether code says itself that it is for another component or target. What cannot be read is nobody's, and is judged.
    fn is_anothers(self, bytes: &[u8]) -> bool {
        PrecompiledFile::parse(bytes).is_ok_and(|file| {
            let statement = file.signature().statement();
            *statement.component_digest() != self.component.digest()
                || statement.target() != self.runtime.code_target()
        })
    }
}

/// Why code is not used.
enum Fault {
    Machine(anyhow::Error),
    Refused(LoadError),
}

impl From<anyhow::Error> for Fault {
    fn from(error: anyhow::Error) -> Self {
        Self::Machine(error)
    }
}

impl From<LoadError> for Fault {
    fn from(error: LoadError) -> Self {
        Self::Refused(error)
    }
}

/// Reads at most so many bytes more: how many there were.
fn fill(file: &mut File, most: u64, bytes: &mut Vec<u8>) -> anyhow::Result<usize> {
    let read = file.take(most).read_to_end(bytes);
    read.context("it cannot be read")
}

/// Where code for this target lies beside a component.
fn place(component: &Path, target: &str) -> PathBuf {
    let mut name = component.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{target}.code"));
    component.with_file_name(name)
}
