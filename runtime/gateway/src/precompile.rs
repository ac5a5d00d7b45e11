//! `precompile`: a component's code, for gateways of this build that have no compiler.
//!
//! Decides nothing about trust: the component is verified as it would be to run it, and who vouches for the code signs it
//! with `countersign sign-code`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use countersign_durable::{Access, Existing};
use countersign_hosting::{MAX_FILE_BYTES, Read, read};
use countersign_runtime::{CodeTarget, Runtime};
use countersign_trust_store::{Now, TrustState, UnixTime};

use crate::clock::Clock;
use crate::gateway::{NotStarted, roots};
use crate::lists::Given;
use crate::overview;

/// Verifies the component in the file at `path`, compiles it for `target`, and writes the code to `output`.
///
/// # Errors
/// The refusal, or what this machine does not let be done.
pub(crate) fn precompile(
    path: &Path,
    target: CodeTarget,
    lists: &[PathBuf],
    output: &Path,
) -> Result<(), NotStarted> {
    let runtime = Runtime::builder(roots()?)
        .build()
        .context("the runtime cannot be built")?;
    let bytes = match read(path, MAX_FILE_BYTES)? {
        Read::Whole(bytes) => bytes,
        Read::TooLarge { size } => {
            return Err(anyhow::anyhow!("{} has {size} bytes", path.display()).into());
        }
    };
    let now: Now = Clock::start(UnixTime::from_secs(0)).now();
    let mut state = TrustState::stateless();
    for list in Given::in_files(lists)?.all() {
        state.add_parsed_crl(list.clone());
    }
    let verified = runtime
        .verify(bytes, &now, &state)
        .map_err(|rejection| NotStarted::Refused(rejection.code(), rejection.to_string()))?;
    let code = runtime
        .precompile(&verified, target)
        .map_err(|error| NotStarted::Refused(error.code(), error.to_string()))?;
    countersign_durable::write(output, &code, Access::Owner, Existing::Refuse)?;
    overview::out(&format!(
        "{}: code of {}, for {}; sign it with `countersign sign-code`",
        output.display(),
        verified.statement().name(),
        countersign_runtime::build_id()
    ));
    Ok(())
}
