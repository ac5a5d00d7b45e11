//! `bytes -> VerifiedPrecompiled`: the verdict on code that was compiled for a component elsewhere.
//!
//! Nothing checks native code when it runs: who signs it is trusted like the host itself. So it needs a chain to a root that
//! was compiled in for precompiled code, of which a host has none unless its builder wanted one; and it counts only beside
//! the component's own valid signature. Whether it is for this build, target and processor is decided in the runtime.

use countersign_format::{Digest, FormatError, PrecompiledFile, PrecompiledStatement};

use crate::{
    Admission, Anchors, Now, PathProfile, Rejection, TrustState, VerifiedChain, VerifiedComponent,
    authorisation,
};

/// Code for a verified component, every byte of which was signed by somebody whom this host trusts with precompiled code.
///
/// ```compile_fail,E0451
/// # use countersign_trust_store::{VerifiedPrecompiled, VerifiedVoucher};
/// // There is no constructor but verification, and every field is private.
/// # fn tb21_no_code_but_by_verification(voucher: VerifiedVoucher) -> VerifiedPrecompiled {
/// VerifiedPrecompiled { bytes: Vec::new(), voucher }
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct VerifiedPrecompiled {
    bytes: Vec<u8>,
    voucher: VerifiedVoucher,
}

impl VerifiedPrecompiled {
    /// The code: the very bytes that were hashed.
    #[must_use]
    pub fn code(&self) -> &[u8] {
        self.bytes
            .get(self.voucher.front.len()..)
            .unwrap_or_default()
    }

    /// The whole file.
    #[must_use]
    pub fn file(&self) -> &[u8] {
        &self.bytes
    }

    /// Gives up the proof for the bytes of the whole file, and where in them the code begins.
    #[must_use]
    pub fn into_code(self) -> (Vec<u8>, usize) {
        (self.bytes, self.voucher.front.len())
    }

    /// What was signed about it.
    #[must_use]
    pub const fn statement(&self) -> &PrecompiledStatement {
        &self.voucher.statement
    }

    /// The chain of who vouches for it.
    #[must_use]
    pub const fn chain(&self) -> &VerifiedChain {
        &self.voucher.chain
    }

    /// That it was admitted now or, where its dates have passed, before: to be remembered as a component's admission is.
    #[must_use]
    pub const fn admission(&self) -> &Admission {
        &self.voucher.admission
    }
}

/// What somebody whom this host trusts with precompiled code says of the code for a verified component. The code itself may
/// be anything yet: what is not to be believed is not read.
#[derive(Clone, Debug)]
pub struct VerifiedVoucher {
    /// All of the file before the code.
    front: Vec<u8>,
    statement: PrecompiledStatement,
    chain: VerifiedChain,
    admission: Admission,
}

impl VerifiedVoucher {
    /// What was signed about the code.
    #[must_use]
    pub const fn statement(&self) -> &PrecompiledStatement {
        &self.statement
    }

    /// How many bytes the whole file has.
    #[must_use]
    pub fn file_size(&self) -> u64 {
        let front = u64::try_from(self.front.len()).unwrap_or(u64::MAX);
        front.saturating_add(self.statement.code_size())
    }

    /// Holds the whole file against what was said of it.
    ///
    /// # Errors
    /// [`Rejection::DigestMismatch`] if the code is another; [`Rejection::Format`] if what stands before it is.
    pub fn hold_against(self, bytes: Vec<u8>) -> Result<VerifiedPrecompiled, Rejection> {
        let code = bytes.strip_prefix(&*self.front);
        let code = code.ok_or(FormatError::Malformed {
            what: "what stands before the code is not what was judged",
            offset: 0,
        })?;
        let actual = Digest::of(code);
        if actual != *self.statement.code_digest() {
            return Err(Rejection::DigestMismatch {
                stated: *self.statement.code_digest(),
                actual,
            });
        }
        Ok(VerifiedPrecompiled {
            bytes,
            voucher: self,
        })
    }
}

impl Anchors {
    /// Decides whether a file holds code for `component` that may be trusted.
    ///
    /// # Errors
    /// The first [`Rejection`]: of [`Self::verify_voucher`], then of [`VerifiedVoucher::hold_against`].
    pub fn verify_precompiled(
        &self,
        bytes: Vec<u8>,
        component: &VerifiedComponent,
        now: &Now,
        state: &TrustState,
    ) -> Result<VerifiedPrecompiled, Rejection> {
        self.verify_voucher(&bytes, component, now, state)?
            .hold_against(bytes)
    }

    /// Decides whether a file, of which these are the first bytes, holds what is to be believed of code for `component`. The
    /// chain, its lists and its scope are judged as those of component signers, under the roots for precompiled code alone;
    /// its dates, where the file was admitted before, as of then.
    ///
    /// # Errors
    /// The first [`Rejection`].
    pub fn verify_voucher(
        &self,
        bytes: &[u8],
        component: &VerifiedComponent,
        now: &Now,
        state: &TrustState,
    ) -> Result<VerifiedVoucher, Rejection> {
        let file = PrecompiledFile::parse(bytes)?;
        let signed = file.signature();
        let roots = self.for_precompiled_code();
        if roots.is_empty() {
            return Err(Rejection::NoRootForCode);
        }
        if component.digest() != *signed.statement().component_digest() {
            return Err(Rejection::CodeOfAnother {
                stated: *signed.statement().component_digest(),
                actual: component.digest(),
            });
        }
        let front = bytes.len().saturating_sub(file.code().len());
        let front = bytes.get(..front).unwrap_or_default();
        let name = Digest::of(front);
        let before = state.admission(&name);
        let chain = roots.verify_chain_admitted(
            signed.chain(),
            &PathProfile::COMPONENTS,
            now,
            state,
            before,
            &mut |_, _| {},
        )?;
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
        Ok(VerifiedVoucher {
            front: front.to_vec(),
            statement: signed.statement().clone(),
            admission: Admission::of(name, [&chain], now, before),
            chain,
        })
    }
}
