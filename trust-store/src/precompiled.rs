//! `bytes -> VerifiedPrecompiled`: the verdict on code that was compiled for a component elsewhere.
//!
//! Nothing checks native code when it runs: who signs it is trusted like the host itself. So it needs a chain to a root that
//! was compiled in for precompiled code, of which a host has none unless its builder wanted one; and it counts only beside
//! the component's own valid signature. Whether it is for this build, target and processor is decided in the runtime.

use countersign_format::{Digest, PrecompiledFile, PrecompiledStatement};

use crate::{
    Anchors, Now, PathProfile, Rejection, TrustState, VerifiedChain, VerifiedComponent,
    authorisation,
};

/// Code for a verified component, every byte of which was signed by somebody whom this host trusts with precompiled code.
///
/// ```compile_fail,E0451
/// # use countersign_format::PrecompiledStatement;
/// # use countersign_trust_store::{VerifiedChain, VerifiedPrecompiled};
/// // There is no constructor but verification, and every field is private.
/// # fn tb21_no_code_but_by_verification(statement: PrecompiledStatement, chain: VerifiedChain) -> VerifiedPrecompiled {
/// VerifiedPrecompiled { bytes: Vec::new(), start: 0, statement, chain }
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct VerifiedPrecompiled {
    bytes: Vec<u8>,
    start: usize,
    statement: PrecompiledStatement,
    chain: VerifiedChain,
}

impl VerifiedPrecompiled {
    /// The code: the very bytes that were hashed.
    #[must_use]
    pub fn code(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// Gives up the proof for the bytes of the whole file, and where in them the code begins.
    #[must_use]
    pub fn into_code(self) -> (Vec<u8>, usize) {
        (self.bytes, self.start)
    }

    /// What was signed about it.
    #[must_use]
    pub const fn statement(&self) -> &PrecompiledStatement {
        &self.statement
    }

    /// The chain of who vouches for it.
    #[must_use]
    pub const fn chain(&self) -> &VerifiedChain {
        &self.chain
    }
}

impl Anchors {
    /// Decides whether a file holds code for `component` that may be trusted. The chain, its lists and its scope are judged as
    /// those of component signers, under the roots for precompiled code alone.
    ///
    /// # Errors
    /// The first [`Rejection`].
    pub fn verify_precompiled(
        &self,
        bytes: Vec<u8>,
        component: &VerifiedComponent,
        now: &Now,
        state: &TrustState,
    ) -> Result<VerifiedPrecompiled, Rejection> {
        let file = PrecompiledFile::parse(&bytes)?;
        let signed = file.signature();
        let roots = self.for_precompiled_code();
        if roots.is_empty() {
            return Err(Rejection::NoRootForCode);
        }
        let actual = Digest::of(file.code());
        if actual != *signed.statement().code_digest() {
            return Err(Rejection::DigestMismatch {
                stated: *signed.statement().code_digest(),
                actual,
            });
        }
        if component.digest() != *signed.statement().component_digest() {
            return Err(Rejection::CodeOfAnother {
                stated: *signed.statement().component_digest(),
                actual: component.digest(),
            });
        }
        let chain = roots.verify_chain(signed.chain(), &PathProfile::COMPONENTS, now, state)?;
        if chain.key().algorithm() != signed.algorithm() {
            return Err(Rejection::AlgorithmMismatch {
                signer: 0,
                stated: signed.algorithm().name(),
            });
        }
        // RFC 9052 §4.4.
        chain
            .key()
            .verify(&signed.to_be_signed(), signed.signature())
            .map_err(|_| Rejection::SignatureInvalid {
                signer: 0,
                subject: chain.leaf().subject(),
            })?;
        authorisation::check_chain_scope(0, &chain, component.statement())?;
        let statement = signed.statement().clone();
        let start = bytes.len().saturating_sub(file.code().len());
        Ok(VerifiedPrecompiled {
            bytes,
            start,
            statement,
            chain,
        })
    }
}
