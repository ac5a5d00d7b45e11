//! The bundle that a gateway runs: found by the digest that is remembered, and held against it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use countersign_format::{BundleIndex, BundlePart, Digest, PartKind, limits};
use countersign_hosting::{Read, read};
use countersign_trust_store::UnverifiedBundle;

use super::Places;
use crate::config::Config;
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
        let applied = Self {
            parts: folder.join("parts"),
            index: bundle.claimed_index().clone(),
        };
        // Components answer for themselves.
        for part in applied.of(PartKind::Lists) {
            applied.content(part).with_context(damaged)?;
        }
        Ok(applied)
    }

    /// The folder of its parts.
    pub(crate) fn folder(&self) -> &Path {
        &self.parts
    }

    /// Its files of revocation lists.
    pub(crate) fn lists(&self) -> impl Iterator<Item = PathBuf> {
        self.of(PartKind::Lists)
            .map(|part| self.parts.join(&part.name))
    }

    /// A component in it, by its name.
    pub(crate) fn component(&self, name: &str) -> Option<PathBuf> {
        let mut components = self.of(PartKind::Component);
        let part = components.find(|part| part.name == name)?;
        Some(self.parts.join(&part.name))
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

/// The configuration of the file at `path` with what the applied bundle brings, for whoever does not hold the state.
///
/// # Errors
/// If the file cannot be used. Where the state or the bundle cannot, that is said, and the file stands alone: what is missing
/// then is refused when it is needed.
pub(crate) fn configured(path: &Path) -> anyhow::Result<Config> {
    let config = Config::load(path)?;
    if config.bundles.is_none() {
        return Ok(config);
    }
    match state::glance(&config.state) {
        Ok(memory) => with_remembered(config, path, &memory),
        // Whoever opens the state says what is wrong with it.
        Err(_) => Ok(config),
    }
}

/// A configuration with what the bundle brings that is remembered as applied, and the lists of the last that verified.
///
/// # Errors
/// If the bundle is not as it was, or does not go with the configuration.
pub(crate) fn remembered(config: Config, memory: &Memory) -> anyhow::Result<Config> {
    if config.bundles.is_none() {
        return Ok(config);
    }
    let places = Places::in_state(&config.state);
    let current = memory.bundle()?;
    let mut config = match current {
        Some(digest) => config.with_bundle(&Applied::open(&places, digest)?)?,
        None => config,
    };
    add_lists(&mut config, current, memory)?;
    Ok(config)
}

/// The same at a start, where the machine's own services run without the bundle rather than not at all.
///
/// # Errors
/// If the file cannot be read again.
fn with_remembered(config: Config, path: &Path, memory: &Memory) -> anyhow::Result<Config> {
    match remembered(config, memory) {
        Ok(config) => Ok(config),
        Err(error) => {
            complain(
                "",
                &format!("nothing of the bundle that was applied runs: {error:#}"),
            );
            Ok(Config::load(path)?)
        }
    }
}

/// Has the lists of the last bundle that verified count in a configuration that runs the bundle `current`, and of other bundles
/// none.
///
/// # Errors
/// If they are not as they were.
pub(crate) fn add_lists(
    config: &mut Config,
    current: Option<Digest>,
    memory: &Memory,
) -> anyhow::Result<()> {
    let places = Places::in_state(&config.state);
    let own = current.map(|digest| places.of(digest));
    config.lists.retain(|path| {
        let is_own = own.as_ref().is_some_and(|own| path.starts_with(own));
        is_own || !places.hold(path)
    });
    match memory.bundle_of_lists()? {
        Some(digest) if Some(digest) != current => {
            config.lists.extend(Applied::open(&places, digest)?.lists());
        }
        _ => {}
    }
    Ok(())
}
