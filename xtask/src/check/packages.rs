//! Packages: the allowed arrows between ours, what no tree of theirs may hold, and what is locked beside the workspace.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process::{capture, cargo, root};

/// What each package of the workspace may depend on. Three floors, and arrows point down: programs and
/// runtime; trust store and provisioning; formats, keys and signing.
const ARROWS: &[(&str, &[&str])] = &[
    ("countersign-durable", &[]),
    ("countersign-format", &[]),
    ("countersign-keys", &["countersign-format"]),
    (
        "countersign-backend-file",
        &[
            "countersign-durable",
            "countersign-format",
            "countersign-keys",
        ],
    ),
    ("countersign-atecc608-rules", &[]),
    (
        "countersign-backend-atecc608",
        &["countersign-atecc608-rules", "countersign-keys"],
    ),
    ("countersign-backend-pkcs11", &["countersign-keys"]),
    ("countersign-backend-tpm", &["countersign-keys"]),
    (
        "countersign-stores",
        &[
            "countersign-backend-atecc608",
            "countersign-backend-file",
            "countersign-backend-pkcs11",
            "countersign-backend-tpm",
            "countersign-keys",
        ],
    ),
    ("countersign-telemetry", &[]),
    ("countersign-tls", &["countersign-keys"]),
    (
        "countersign-audit-log",
        &["countersign-format", "countersign-keys"],
    ),
    (
        "countersign-signer",
        &[
            "countersign-durable",
            "countersign-format",
            "countersign-keys",
        ],
    ),
    (
        "countersign-enrolment",
        &[
            "countersign-durable",
            "countersign-format",
            "countersign-keys",
            "countersign-signer",
            "countersign-tls",
        ],
    ),
    (
        "countersign-trust-store",
        &[
            "countersign-atecc608-rules",
            "countersign-format",
            "countersign-keys",
        ],
    ),
    (
        "countersign-roots",
        &["countersign-trust-store", "countersign-roots-file"],
    ),
    (
        "countersign-roots-file",
        &["countersign-format", "countersign-trust-store"],
    ),
    (
        "countersign-provisioning",
        &[
            "countersign-backend-file",
            "countersign-format",
            "countersign-keys",
            "countersign-trust-store",
        ],
    ),
    ("countersign-privacy-tokens", &[]),
    (
        "countersign-registry",
        &[
            "countersign-format",
            "countersign-privacy-tokens",
            "countersign-provisioning",
            "countersign-trust-store",
        ],
    ),
    (
        "countersign-issuing",
        &[
            "countersign-audit-log",
            "countersign-format",
            "countersign-keys",
            "countersign-provisioning",
            "countersign-registry",
            "countersign-trust-store",
        ],
    ),
    (
        "countersign-sessions",
        &[
            "countersign-durable",
            "countersign-backend-atecc608",
            "countersign-backend-tpm",
            "countersign-format",
            "countersign-issuing",
            "countersign-keys",
            "countersign-provisioning",
            "countersign-registry",
            "countersign-stores",
            "countersign-trust-store",
        ],
    ),
    (
        "countersign-authority",
        &[
            "countersign-durable",
            "countersign-audit-log",
            "countersign-backend-file",
            "countersign-format",
            "countersign-issuing",
            "countersign-keys",
            "countersign-privacy-tokens",
            "countersign-provisioning",
            "countersign-registry",
            "countersign-sessions",
            "countersign-stores",
            "countersign-telemetry",
            "countersign-tls",
            "countersign-trust-store",
        ],
    ),
    (
        "countersign-ca",
        &[
            "countersign-durable",
            "countersign-provisioning",
            "countersign-keys",
            "countersign-backend-file",
            "countersign-stores",
            "countersign-signer",
            "countersign-roots-file",
            "countersign-format",
            "countersign-trust-store",
        ],
    ),
    (
        "countersign",
        &[
            "countersign-durable",
            "countersign-enrolment",
            "countersign-format",
            "countersign-keys",
            "countersign-backend-file",
            "countersign-stores",
            "countersign-signer",
            "countersign-tls",
            "countersign-trust-store",
            "countersign-roots-file",
        ],
    ),
    (
        "countersign-runtime",
        &[
            "countersign-format",
            "countersign-keys",
            "countersign-trust-store",
        ],
    ),
    (
        "countersign-c-api",
        &["countersign-roots", "countersign-runtime"],
    ),
    (
        "countersign-hosting",
        &[
            "countersign-audit-log",
            "countersign-backend-file",
            "countersign-durable",
            "countersign-format",
            "countersign-keys",
            "countersign-roots",
            "countersign-runtime",
            "countersign-stores",
            "countersign-trust-store",
        ],
    ),
    (
        "countersign-gateway",
        &[
            "countersign-audit-log",
            "countersign-durable",
            "countersign-format",
            "countersign-hosting",
            "countersign-keys",
            "countersign-roots",
            "countersign-runtime",
            "countersign-telemetry",
            "countersign-tls",
            "countersign-trust-store",
            "countersign-enrolment",
            "countersign-signer",
        ],
    ),
    (
        "countersign-run",
        &[
            "countersign-hosting",
            "countersign-runtime",
            "countersign-roots",
            "countersign-trust-store",
            "countersign-format",
            "countersign-keys",
        ],
    ),
    (
        "countersign-testing",
        &[
            "countersign-format",
            "countersign-keys",
            "countersign-backend-file",
            "countersign-signer",
            "countersign-trust-store",
            "countersign-provisioning",
        ],
    ),
    ("countersign-atecc608-emulator", &[]),
    (
        "countersign-benches",
        &[
            "countersign-audit-log",
            "countersign-backend-file",
            "countersign-format",
            "countersign-keys",
            "countersign-signer",
            "countersign-trust-store",
        ],
    ),
    (
        "countersign-cold-start",
        &[
            "countersign-benches",
            "countersign-roots-file",
            "countersign-runtime",
        ],
    ),
    (
        "countersign-guest-sign",
        &[
            "countersign-backend-tpm",
            "countersign-benches",
            "countersign-format",
            "countersign-keys",
            "countersign-runtime",
            "countersign-testing",
        ],
    ),
    (
        "countersign-under-load",
        &[
            "countersign-benches",
            "countersign-roots-file",
            "countersign-runtime",
            "countersign-testing",
        ],
    ),
    (
        "countersign-differential",
        &[
            "countersign-format",
            "countersign-testing",
            "countersign-trust-store",
        ],
    ),
    ("xtask", &[]),
    (
        "xtask-tools",
        &["countersign-roots-file", "countersign-trust-store"],
    ),
];

/// What tests may use besides: the throw-away PKI everywhere, and these.
const TEST_ARROWS: &[(&str, &str)] = &[
    (
        "countersign-backend-atecc608",
        "countersign-atecc608-emulator",
    ),
    ("countersign-backend-atecc608", "countersign-trust-store"),
    ("countersign-backend-tpm", "countersign-benches"),
    ("countersign-audit-log", "countersign-backend-file"),
    ("countersign-registry", "countersign-backend-file"),
    ("countersign-registry", "countersign-benches"),
    ("countersign-registry", "countersign-keys"),
    ("countersign-issuing", "countersign-backend-file"),
    ("countersign-issuing", "countersign-benches"),
    ("countersign-issuing", "countersign-signer"),
    ("countersign-authority", "countersign-atecc608-emulator"),
    ("countersign-authority", "countersign-benches"),
    ("countersign-authority", "countersign-signer"),
    ("countersign-sessions", "countersign-atecc608-emulator"),
    ("countersign-sessions", "countersign-backend-file"),
    ("countersign-enrolment", "countersign-backend-file"),
    ("countersign-runtime", "countersign-roots"),
    ("countersign-signer", "countersign-backend-file"),
    ("countersign-signer", "countersign-stores"),
    ("countersign-testing", "countersign-atecc608-emulator"),
    ("countersign-testing", "countersign-roots-file"),
    ("countersign-tls", "countersign-atecc608-emulator"),
    ("countersign-tls", "countersign-backend-atecc608"),
    ("countersign-tls", "countersign-backend-tpm"),
    ("countersign-tls", "countersign-format"),
    ("countersign-tls", "countersign-provisioning"),
];

/// Foreign packages that must not be in a package's tree, at any depth, and why.
const ABSENT: &[(&str, &[&str], &str)] = &[
    (
        "countersign-sessions",
        &["axum", "hyper"],
        "devices are provisioned without a network",
    ),
    (
        "countersign",
        &["wasmtime", "wasmtime-wasi", "cranelift-codegen"],
        "the desk tool verifies and signs; it runs nothing",
    ),
    (
        "countersign-signer",
        &["wasmtime", "tokio", "clap", "ureq", "rustls"],
        "build scripts use it",
    ),
    (
        "countersign-runtime",
        &["clap", "tss-esapi", "cryptoki", "sqlx"],
        "embedders do not inherit what our programs need",
    ),
    (
        "countersign-run",
        &[
            "countersign-provisioning",
            "countersign-signer",
            "tss-esapi",
            "sqlx",
        ],
        "a host issues and signs nothing",
    ),
    (
        "countersign-trust-store",
        &[
            "wasmtime",
            "tokio",
            "cap-std",
            "tempfile",
            "async-trait",
            "ureq",
            "rustls",
        ],
        "verifying is a pure function of bytes, policy and time",
    ),
    (
        "countersign-format",
        &[
            "wasmtime",
            "tokio",
            "cap-std",
            "tempfile",
            "x509-cert",
            "p256",
            "rustls-webpki",
        ],
        "the format knows no files, keys or trust",
    ),
];

/// Packages in whose tree the parser of WebAssembly's text form must not be, or text could be taken for a
/// component.
const NO_TEXT: &[&str] = &["countersign", "countersign-run", "countersign-runtime"];

/// Packages in whose tree there may be one version of wasmparser and no more: another one beside Wasmtime's
/// would read some file differently.
const ONE_PARSER: &[&str] = &["countersign-run", "countersign"];

/// Workspaces of their own beside the large one, each with a lock file that no build of ours keeps current.
pub(crate) const BESIDE: &[&str] = &[
    "guest-examples",
    "tests/fuzz",
    "tests/kryoptic",
    "tests/tlog-tiles",
    "xtask/bindings",
];

/// Whether the lock file of each of [`BESIDE`] holds what its packages, and ours that they use, depend on by now.
pub(crate) fn locks(broken: &mut Vec<String>) {
    for folder in BESIDE {
        let mut command = cargo();
        command.args(["tree", "--locked", "--workspace", "--manifest-path"]);
        if let Err(error) = capture(command.arg(root().join(folder).join("Cargo.toml"))) {
            broken.push(format!(
                "{folder}/Cargo.lock is not what is needed; run `cargo tree --workspace` in {folder}: {error:#}"
            ));
        }
    }
}

/// Compares the workspace's packages with [`ARROWS`].
pub(crate) fn arrows(broken: &mut Vec<String>) -> Result<()> {
    let metadata =
        capture(cargo().args(["metadata", "--format-version=1", "--no-deps", "--locked"]))?;
    let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata is not JSON")?;
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata lists no packages")?;
    let ours: BTreeSet<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();

    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, allowed)) = ARROWS.iter().find(|(from, _)| *from == name) else {
            broken.push(format!("{name} is not in the table of allowed arrows"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let to = dependency["name"].as_str().unwrap_or_default();
            let for_tests = dependency["kind"] == "dev";
            let test_arrow = to == "countersign-testing" || TEST_ARROWS.contains(&(name, to));
            if ours.contains(to) && !allowed.contains(&to) && !(for_tests && test_arrow) {
                broken.push(format!("{name} must not depend on {to}"));
            }
        }
    }
    Ok(())
}

/// Looks into the resolved trees for what must be absent, and counts the parsers.
pub(crate) fn trees(broken: &mut Vec<String>) -> Result<()> {
    for (package, absent, why) in ABSENT {
        let tree = tree(package)?;
        for (name, version) in tree
            .iter()
            .filter(|(name, _)| absent.contains(&name.as_str()))
        {
            broken.push(format!("{package} has {name} {version} in its tree: {why}"));
        }
    }
    for package in NO_TEXT {
        if tree(package)?
            .iter()
            .any(|(name, _)| name == "wat" || name == "wast")
        {
            broken.push(format!(
                "{package} can read WebAssembly text, which must stay refused"
            ));
        }
    }
    for package in ONE_PARSER {
        let versions: BTreeSet<String> = tree(package)?
            .into_iter()
            .filter_map(|(name, version)| (name == "wasmparser").then_some(version))
            .collect();
        if versions.len() > 1 {
            broken.push(format!(
                "{package} has several versions of wasmparser: {versions:?}"
            ));
        }
    }
    Ok(())
}

/// Names and versions of everything that is compiled into a package, on every platform.
fn tree(package: &str) -> Result<Vec<(String, String)>> {
    let mut command = cargo();
    command.args(["tree", "--locked", "--package", package, "--target", "all"]);
    command.args(["--edges", "normal", "--prefix", "none", "--format", "{p}"]);
    let lines = capture(&mut command)?;
    Ok(lines
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?.to_owned(), words.next()?.to_owned()))
        })
        .collect())
}
