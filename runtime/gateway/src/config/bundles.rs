//! What the operator says about bundles, and what a bundle adds to his file.
//!
//! Decides that a bundle says what runs and nothing else: state, roots, keys, confinement and who may sign stay with the file on the
//! machine. A component in a bundle's configuration is one of the bundle's.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use countersign_format::{check_bundle_name, limits};
use countersign_trust_store::{BundleAnchors, pem};
use toml::Spanned;

use super::file::BundlesPart;
use super::text::{Wrong, place as place_in_text};
use super::{Config, ConfigError, Service, Work};
use crate::bundle::Applied;

/// How a component is named that lies in the bundle that was applied last.
const IN_BUNDLE: &str = "bundle:";

/// Whether a service takes its component from a bundle that does not bring it.
pub(crate) fn is_missing(service: &Service) -> bool {
    let name = service.place.component.to_str();
    name.is_some_and(|name| name.starts_with(IN_BUNDLE))
}

/// The tables that a bundle's configuration may have.
const TABLES: &[&str] = &["http", "on-message", "schedule", "service"];

/// Longer than this nobody waits who applies a bundle.
const LONGEST_TRIAL: Duration = Duration::from_secs(9 * 60);

/// The largest file of anchors, in bytes.
const MAX_ANCHORS_FILE: u64 = 1 << 20;

/// Which bundles are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bundles {
    pub(crate) line: String,
    /// The file of the roots of those who sign them.
    pub(crate) anchors: PathBuf,
    pub(crate) signers: u8,
    /// The largest, in bytes.
    pub(crate) most: u64,
    /// How long what it brings may take to prove healthy.
    pub(crate) healthy_within: Duration,
    pub(crate) download: Download,
}

/// How bundles are downloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Download {
    /// The file of the roots of the servers' certificates.
    pub(crate) roots: Option<PathBuf>,
    /// The file of names and passwords for registries.
    pub(crate) registries: Option<PathBuf>,
    /// Bytes that must come in a second, on average over `stalled_after`.
    pub(crate) slowest: u64,
    pub(crate) stalled_after: Duration,
    /// How long all tries together may take.
    pub(crate) within: Duration,
}

impl Bundles {
    pub(super) fn new(part: BundlesPart, folder: &Path) -> Result<Self, Wrong> {
        check_bundle_name("line", part.line.get_ref())
            .map_err(|error| Wrong::at(part.line.span(), error.to_string()))?;
        let signers = *part.signers.get_ref();
        if !(1..=limits::MAX_SIGNERS).contains(&u64::from(signers)) {
            let message = format!("signers: between 1 and {}", limits::MAX_SIGNERS);
            return Err(Wrong::at(part.signers.span(), message));
        }
        let healthy_within = part.healthy_within.get_ref().0;
        if healthy_within > LONGEST_TRIAL {
            return Err(Wrong::at(
                part.healthy_within.span(),
                "healthy-within is at most 9m: whoever applies a bundle waits for it".to_owned(),
            ));
        }
        Ok(Self {
            anchors: folder.join(part.anchors),
            signers,
            most: part.most.0.min(limits::MAX_BUNDLE_BYTES),
            healthy_within,
            download: Download {
                roots: part.download.roots.map(|path| folder.join(path)),
                registries: part.download.registries.map(|path| folder.join(path)),
                slowest: part.download.slowest.0,
                stalled_after: part.download.stalled_after.0,
                within: part.download.within.0,
            },
            line: part.line.into_inner(),
        })
    }

    /// The roots of those who sign them, as they are now.
    ///
    /// # Errors
    /// If the file cannot be read, or holds anything else than roots.
    pub(crate) fn anchors(&self) -> anyhow::Result<BundleAnchors> {
        let path = &self.anchors;
        let unusable = || {
            format!(
                "the anchors of bundles in {} cannot be used",
                path.display()
            )
        };
        let bytes = match countersign_hosting::read(path, MAX_ANCHORS_FILE)? {
            countersign_hosting::Read::Whole(bytes) => bytes,
            countersign_hosting::Read::TooLarge { size } => {
                bail!("{} has {size} bytes, too many for roots", path.display())
            }
        };
        let roots = pem::certificates(&bytes).with_context(unusable)?;
        let anchors = BundleAnchors::new(roots).with_context(unusable)?;
        if let Some(root) = anchors.iter().find(|anchor| anchor.is_development()) {
            bail!(
                "{} holds the development root {}; a gateway takes none",
                path.display(),
                root.subject()
            );
        }
        Ok(anchors)
    }
}

/// Where a component lies: relative to the file's folder, or in the bundle that was applied last.
pub(super) fn place(component: &Spanned<PathBuf>, folder: &Path) -> Result<PathBuf, Wrong> {
    let path = component.get_ref();
    let Some(name) = path.to_str().and_then(|path| path.strip_prefix(IN_BUNDLE)) else {
        return Ok(folder.join(path));
    };
    check_bundle_name("component", name)
        .map_err(|error| Wrong::at(component.span(), error.to_string()))?;
    Ok(path.clone())
}

impl Config {
    /// This configuration with what a bundle brings: its components, and what it says is to run.
    ///
    /// # Errors
    /// If what it says is wrong anywhere, or says more than what runs.
    pub(crate) fn with_bundle(mut self, bundle: &Applied) -> anyhow::Result<Self> {
        if let Some((path, text)) = bundle.configuration()? {
            let brought = self.brought(&text, bundle).map_err(|wrong| ConfigError {
                file: path,
                place: wrong.place.map(|span| place_in_text(&text, span)),
                message: wrong.message,
            })?;
            for service in brought.services {
                if self.services.iter().any(|own| own.name == service.name) {
                    bail!(
                        "the bundle brings a service {:?}, and the file on this machine has one of that name",
                        service.name
                    );
                }
                if let Work::Http(http) = &service.work
                    && self.services.iter().any(|own| match &own.work {
                        Work::Http(own) => own.collides(http),
                        _ => false,
                    })
                {
                    bail!(
                        "the bundle's service {:?} answers for what another on this machine answers for",
                        service.name
                    );
                }
                self.services.push(service);
            }
            for (address, tls) in brought.listeners {
                match self.listeners.get(&address) {
                    Some(own) if *own != tls => bail!(
                        "the bundle has another tls for {address} than the file on this machine"
                    ),
                    _ => self.listeners.insert(address, tls),
                };
            }
        }
        for service in &mut self.services {
            let name = service.place.component.to_str();
            let component = name
                .and_then(|name| name.strip_prefix(IN_BUNDLE))
                .and_then(|name| bundle.component(name));
            if let Some(component) = component {
                service.place.component = component;
            }
            if service.place.component.starts_with(bundle.folder()) {
                service.place.code = bundle.code().collect();
            }
        }
        self.bundle = Some(bundle.folder().to_owned());
        Ok(self)
    }

    /// What a bundle's own text says.
    fn brought(&self, text: &str, bundle: &Applied) -> Result<Self, Wrong> {
        let wrong = |message: String| Wrong {
            place: None,
            message,
        };
        let table: toml::Table = toml::from_str(text).map_err(|error| Wrong {
            place: error.span(),
            message: error.message().trim_end().replace('\n', "; "),
        })?;
        if let Some(key) = table.keys().find(|key| !TABLES.contains(&key.as_str())) {
            return Err(wrong(format!(
                "a bundle says what runs ({}), and {key:?} is for the file on the machine alone",
                TABLES.join(", ")
            )));
        }
        // No component may have the folder of what the gateway remembers, which the text does not say. At its end: the lines
        // before it keep their numbers.
        let state = toml::Value::from(self.state.display().to_string());
        let whole = format!("{text}\n[gateway]\nstate = {state}\n");
        let brought = Self::parse_with(&whole, bundle.folder(), &self.known)?;
        for service in &brought.services {
            let component = &service.place.component;
            let name = component.file_name().and_then(|name| name.to_str());
            let own = name.and_then(|name| bundle.component(name));
            let path = component.to_str();
            let by_name = path.is_some_and(|path| path.starts_with(IN_BUNDLE));
            if own.as_ref() != Some(component) && !by_name {
                return Err(wrong(format!(
                    "service {:?} runs {}, which is no component of the bundle",
                    service.name,
                    component.display()
                )));
            }
        }
        Ok(brought)
    }
}
