//! Signs a component from a build script, or from any program of one's own.
//!
//! ```sh
//! cargo run -p countersign-signer --example build_script -- app.wasm component.toml file:signing.pem chain.pem
//! ```
//!
//! A `build.rs` does the same with fixed names; `KEY` may be any key URI, so the private key can stay in hardware or
//! behind `exec:`. The passphrase of an encrypted file comes from the variable `COUNTERSIGN_KEY_PASSPHRASE`.

use countersign_keys::{Error, ErrorKind, KeyUri, Secret};
use countersign_signer::{
    CertifiedKey, Chain, Manifest, Overwrite, SignOptions, default_output, sign_file,
};
use countersign_stores::{SecretFor, Stores};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [component, manifest, key, chain] = arguments.as_slice() else {
        eprintln!("usage: build_script COMPONENT MANIFEST KEY CHAIN");
        return ExitCode::from(2);
    };
    match sign(
        Path::new(component),
        Path::new(manifest),
        key,
        Path::new(chain),
    ) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn sign(
    component: &Path,
    manifest: &Path,
    key: &str,
    chain: &Path,
) -> Result<(), Box<dyn std::error::Error>> {
    let manifest = Manifest::load(manifest)?;
    let key = Stores::new(passphrase).open(&key.parse::<KeyUri>()?)?;
    let signer = CertifiedKey::new(key, Chain::from_pem(&std::fs::read(chain)?)?)?;

    // A build is repeated, so its output may be there. The time stated is the one of reproducible builds, if any.
    let options = SignOptions {
        overwrite: Overwrite::Replace,
        issued_at: std::env::var("SOURCE_DATE_EPOCH")
            .ok()
            .map(|seconds| seconds.parse())
            .transpose()?,
        ..SignOptions::default()
    };
    let signed = sign_file(
        component,
        &default_output(component),
        &manifest,
        &[signer],
        &options,
    )?;
    println!(
        "{} {}",
        signed.statement.component_digest(),
        signed.output.display()
    );
    Ok(())
}

fn passphrase(wanted: SecretFor<'_>) -> Result<Option<Secret>, Error> {
    let SecretFor::File(_) = wanted else {
        // A token's PIN lies in the file that its URI names (pin-source).
        return Ok(None);
    };
    std::env::var("COUNTERSIGN_KEY_PASSPHRASE")
        .map(|passphrase| Some(Secret::new(passphrase)))
        .map_err(|_| {
            Error::new(
                ErrorKind::Passphrase,
                "the key is encrypted; set COUNTERSIGN_KEY_PASSPHRASE",
            )
        })
}
