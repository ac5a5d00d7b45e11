//! Code that lies beside a component: called like its file, with the target's name behind.
//!
//! Whether it may be loaded is decided in the trust store and the runtime. That it lies there says nothing.

use std::path::{Path, PathBuf};

use countersign_format::limits;
use countersign_runtime::Runtime;
use countersign_trust_store::{Now, TrustState, VerifiedComponent, VerifiedPrecompiled};

use crate::{Read, read};

/// The largest file of code that is read: the most code, and who vouches for it.
const MAX_BYTES: u64 = limits::MAX_CODE_BYTES + limits::MAX_SIGNATURE_BYTES + 64;

/// The code that lies beside the file at `component`, if there is some, it is for this host, and somebody vouches for it whom
/// the host trusts with that.
///
/// # Errors
/// Why code that lies there is not used, in a sentence for the operator.
pub fn code_beside(
    runtime: &Runtime,
    component: &Path,
    verified: &VerifiedComponent,
    now: &Now,
    state: &TrustState,
) -> Result<Option<VerifiedPrecompiled>, String> {
    let path = place(component, runtime.code_target());
    if !path.is_file() {
        return Ok(None);
    }
    let code = match read(&path, MAX_BYTES) {
        Ok(Read::Whole(bytes)) => runtime
            .verify_precompiled(bytes, verified, now, state)
            .map_err(|error| format!("{}: {error}", error.code())),
        Ok(Read::TooLarge { size }) => Err(format!("it has {size} bytes")),
        Err(error) => Err(format!("{error:#}")),
    };
    code.map(Some)
        .map_err(|why| format!("the code in {} is not used: {why}", path.display()))
}

fn place(component: &Path, target: &str) -> PathBuf {
    let mut name = component.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{target}.code"));
    component.with_file_name(name)
}
