//! What is said about the component: from a file, from flags, or from a file with flags over it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use countersign_format::{Audience, ComponentName};
use countersign_signer::Manifest;

use crate::shared::failure::Failure;

/// The statement's fields that have a flag. Grants, limits and documents are asked for in a file.
#[derive(clap::Args)]
#[command(next_help_heading = "Statement")]
pub(super) struct StatementArguments {
    /// component.toml, or a Cargo.toml with [package.metadata.countersign] (default: component.toml beside the component)
    #[arg(long, value_name = "FILE", conflicts_with = "finish")]
    pub(super) manifest: Option<PathBuf>,
    /// Name of the component, such as acme:pump
    #[arg(long, value_name = "NAMESPACE:NAME", conflicts_with = "finish")]
    name: Option<String>,
    /// Semantic version of the component
    #[arg(long, value_name = "VERSION", conflicts_with = "finish")]
    component_version: Option<String>,
    /// Number that hosts never let fall; raise it with each fix that must not be undone
    #[arg(long, value_name = "N", conflicts_with = "finish")]
    security_version: Option<u64>,
    /// The device it is meant for; may be repeated (default: any)
    #[arg(long, value_name = "ID", conflicts_with = "finish")]
    for_device: Vec<String>,
    /// The type of device it is meant for; may be repeated (default: any)
    #[arg(long, value_name = "TYPE", conflicts_with = "finish")]
    for_type: Vec<String>,
}

impl StatementArguments {
    /// The manifest for `component`: the file's, if there is one, changed by the flags.
    pub(super) fn manifest(&self, component: &Path) -> Result<Manifest, Failure> {
        let name = self.parsed(self.name.as_ref(), "--name", |text| {
            Ok(ComponentName::parse(text)?)
        })?;
        let version = self.parsed(
            self.component_version.as_ref(),
            "--component-version",
            |text| Ok(semver::Version::parse(text)?),
        )?;
        let mut manifest = match (self.file(component), name.clone(), version.clone()) {
            (Some(path), ..) => Manifest::load(&path)
                .context("cannot use the manifest")
                .map_err(Failure::usage)?,
            (None, Some(name), Some(version)) => Manifest::new(name, version),
            (None, None, None) => {
                return Err(Failure::usage(anyhow!(
                    "nothing says what {} is: write a component.toml beside it, name one with --manifest, \
                     or give --name and --component-version",
                    component.display()
                )));
            }
            (None, ..) => {
                return Err(Failure::usage(anyhow!(
                    "without a manifest both --name and --component-version are needed"
                )));
            }
        };
        if let Some(name) = name {
            manifest.name = name;
        }
        if let Some(version) = version {
            manifest.version = version;
        }
        if let Some(security_version) = self.security_version {
            manifest.security_version = security_version;
        }
        if !self.for_device.is_empty() || !self.for_type.is_empty() {
            manifest.audience = Audience {
                devices: self.for_device.clone(),
                types: self.for_type.clone(),
            };
        }
        Ok(manifest)
    }

    fn file(&self, component: &Path) -> Option<PathBuf> {
        if self.manifest.is_some() {
            return self.manifest.clone();
        }
        let beside = component.with_file_name("component.toml");
        // Whatever lies there is taken, so that a folder of that name is an error and not overlooked.
        beside.symlink_metadata().is_ok().then_some(beside)
    }

    fn parsed<T>(
        &self,
        text: Option<&String>,
        flag: &'static str,
        parse: impl FnOnce(&str) -> anyhow::Result<T>,
    ) -> Result<Option<T>, Failure> {
        text.map(|text| parse(text).with_context(|| format!("{flag} `{text}`")))
            .transpose()
            .map_err(Failure::usage)
    }
}
