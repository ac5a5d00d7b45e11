//! The bundle that a gateway runs: found by the digest that is remembered, and held against it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use countersign_format::{BundleIndex, BundlePart, Digest, PartKind, limits};
use countersign_hosting::{Read, read};
use countersign_trust_store::UnverifiedBundle;

use super::Places;
use crate::config::{Config, Lacks};
use crate::lack::is_of_lack;
use crate::say::complain;
use crate::state::{self, Memory};

/// An unpacked bundle whose index is the one that was verified when it came.
#[derive(Debug)]
pub(crate) struct Applied {
    parts: PathBuf,
    index: BundleIndex,
}

impl Applied {
    /// Opens the folder of the bundle with this index.
    ///
    /// # Errors
    /// If it is not there, or not as it was: a disk loses what it holds.
    pub(crate) fn open(places: &Places, digest: Digest) -> anyhow::Result<Self> {
        let folder = places.of(digest);
        let damaged = || {
            format!(
                "the bundle in {} is damaged; apply it once more, or a newer one",
                folder.display()
            )
        };
        let envelope = whole(&folder.join("envelope"), limits::MAX_BUNDLE_ENVELOPE_BYTES)
            .with_context(damaged)?;
        let bundle = UnverifiedBundle::parse(&envelope).with_context(damaged)?;
        if bundle.digest() != digest {
            bail!("{}", damaged());
        }
        // Components answer for themselves, and its lists were carried over.
        Ok(Self {
            parts: folder.join("parts"),
            index: bundle.claimed_index().clone(),
        })
    }

    /// The folder of its parts.
    pub(crate) fn folder(&self) -> &Path {
        &self.parts
    }

    /// A component in it, by its name.
    pub(crate) fn component(&self, name: &str) -> Option<PathBuf> {
        let mut components = self.of(PartKind::Component);
        let part = components.find(|part| part.name == name)?;
        Some(self.parts.join(&part.name))
    }

    /// Its files of precompiled code, of whichever component and target.
    pub(crate) fn code(&self) -> impl Iterator<Item = PathBuf> {
        self.of(PartKind::Precompiled)
            .map(|part| self.parts.join(&part.name))
    }

    /// The name and text of its configuration, if it brings one.
    ///
    /// # Errors
    /// If it is not as it was, or no text.
    pub(crate) fn configuration(&self) -> anyhow::Result<Option<(PathBuf, String)>> {
        let Some(part) = self.of(PartKind::Configuration).next() else {
            return Ok(None);
        };
        let path = self.parts.join(&part.name);
        let text = String::from_utf8(self.content(part)?)
            .with_context(|| format!("{} is no text", path.display()))?;
        Ok(Some((path, text)))
    }

    fn of(&self, kind: PartKind) -> impl Iterator<Item = &BundlePart> {
        let parts = self.index.fields().parts.iter();
        parts.filter(move |part| part.kind == kind)
    }

    fn content(&self, part: &BundlePart) -> anyhow::Result<Vec<u8>> {
        let path = self.parts.join(&part.name);
        let bytes = whole(&path, part.size)?;
        if Digest::of(&bytes) != part.digest {
            bail!("{} is not as it was", path.display());
        }
        Ok(bytes)
    }
}

fn whole(path: &Path, limit: u64) -> anyhow::Result<Vec<u8>> {
    match read(path, limit)? {
        Read::Whole(bytes) => Ok(bytes),
        Read::TooLarge { size } => bail!("{} has {size} bytes", path.display()),
    }
}

/// The configuration of the file at `path` with what the applied bundle brings, for whoever does not hold the state. Where the
/// bundle cannot be used, that is said, and the machine's own services stand alone; lists are missing to nobody unnoticed.
///
/// # Errors
/// If the file cannot be used. Where the state cannot, it stands alone and says what it lacks.
pub(crate) fn configured(path: &Path) -> anyhow::Result<Config> {
    let mut config = Config::load(path)?;
    let memory = match state::glance(&config.state) {
        Ok(memory) => memory,
        // Whoever opens the state says what is wrong with it; and that this is not whole, where by then nothing is.
        Err(error) => {
            config.lacks = Lacks::Memory(format!("{error:#}"));
            return Ok(config);
        }
    };
    let mut own = with_lists(config, &memory)?;
    with_current(own.clone(), &memory).or_else(|error| {
        complain(
            "",
            &format!("nothing of the bundle that was applied runs: {error:#}"),
        );
        if is_of_lack(&error) {
            own.lacks = Lacks::Bundle;
        }
        Ok(own)
    })
}

/// A configuration with what the bundle brings that is remembered as applied, and the lists of all that verified.
///
/// # Errors
/// If the bundle is not as it was, or does not go with the configuration.
pub(crate) fn remembered(config: Config, memory: &Memory) -> anyhow::Result<Config> {
    with_current(with_lists(config, memory)?, memory)
}

/// Has the lists count that bundles have brought. Whoever reads them finds out whether they are there.
///
/// # Errors
/// If what is remembered holds what this program does not write.
pub(crate) fn with_lists(mut config: Config, memory: &Memory) -> anyhow::Result<Config> {
    config.carried = memory.carried_lists()?;
    Ok(config)
}

fn with_current(config: Config, memory: &Memory) -> anyhow::Result<Config> {
    let current = memory.bundle()?.filter(|_| config.bundles.is_some());
    match current {
        Some(digest) => {
            let places = Places::in_state(&config.state);
            config.with_bundle(&Applied::open(&places, digest)?)
        }
        None => Ok(config),
    }
}
