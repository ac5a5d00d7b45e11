//! What is said about a component: name, version, audience, grants and limits asked for, documents.
//!
//! Written in `component.toml` beside the component, in `[package.metadata.countersign]` of a `Cargo.toml`, or made
//! in code. Unknown keys are refused: one that is misspelt would otherwise be missing from what is signed.
//!
//! ```
//! use countersign_signer::Manifest;
//!
//! let manifest = Manifest::from_component_toml(
//!     r#"
//!         name = "acme:valve-control"
//!         version = "1.4.0"
//!         security-version = 3
//!
//!         [audience]
//!         types = ["gateway-x2"]
//!
//!         [grants]
//!         stdio = ["stdout", "stderr"]
//!         directories = [{ guest = "/data", writable = true }]
//!         wall-clock = true
//!
//!         [grants.keys.telemetry]
//!         contexts = ["reading"]
//!         per-minute = 60
//!
//!         [limits]
//!         memory = "64MiB"
//!         run = "10s"
//!     "#,
//! )?;
//! assert_eq!(manifest.limits.memory_bytes, Some(64 * 1024 * 1024));
//!
//! let error = Manifest::from_component_toml("name = \"acme:x\"\nversoin = \"1.0.0\"").unwrap_err();
//! assert_eq!((error.line(), error.column()), (Some(2), Some(1)));
//! # Ok::<(), countersign_signer::ManifestError>(())
//! ```

mod file;
mod quantity;

use countersign_format::{Audience, ComponentName, Grants, GuestLimits};
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The largest manifest that is read, in bytes; a Cargo.toml of a large project has some tens of KiB.
const MAX_MANIFEST_BYTES: u64 = 1024 * 1024;

/// What is said about a component, before it is read.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The component's name.
    pub name: ComponentName,
    /// Its version, for people.
    pub version: semver::Version,
    /// The version that must never fall on a device; raise it with every release that must not be undone.
    pub security_version: u64,
    /// Where it may run; empty: anywhere.
    pub audience: Audience,
    /// What it asks for; empty: nothing.
    pub grants: Grants,
    /// How much it asks for.
    pub limits: GuestLimits,
    /// Documents that belong to it.
    pub documents: Vec<DocumentSource>,
}

/// A document, such as an SBOM, whose digest is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentSource {
    /// The file; one that a manifest names is relative to the manifest.
    pub path: PathBuf,
    /// Its media type, such as `application/vnd.cyclonedx+json`.
    pub media_type: String,
}

impl Manifest {
    /// A manifest that asks for nothing.
    #[must_use]
    pub fn new(name: ComponentName, version: semver::Version) -> Self {
        Self {
            name,
            version,
            security_version: 0,
            audience: Audience::default(),
            grants: Grants::default(),
            limits: GuestLimits::default(),
            documents: Vec::new(),
        }
    }

    /// Reads a manifest: a file named `Cargo.toml` by its table `[package.metadata.countersign]`, any other as
    /// `component.toml`. Paths of documents become relative to its folder.
    ///
    /// # Errors
    /// [`ManifestError`] with the file, line and column.
    pub fn load(path: &Path) -> Result<Self, ManifestError> {
        let read = |source: std::io::Error| {
            ManifestError::new(format!("cannot be read: {source}")).named(path)
        };
        let metadata = std::fs::metadata(path).map_err(read)?;
        if metadata.is_file() && metadata.len() > MAX_MANIFEST_BYTES {
            return Err(
                ManifestError::new(format!("is larger than {MAX_MANIFEST_BYTES} bytes"))
                    .named(path),
            );
        }
        let text = std::fs::read_to_string(path).map_err(read)?;
        let parsed = if path.file_name().is_some_and(|name| name == "Cargo.toml") {
            Self::from_cargo_toml(&text)
        } else {
            Self::from_component_toml(&text)
        };
        let mut manifest = parsed.map_err(|error| error.named(path))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        for document in &mut manifest.documents {
            document.path = folder.join(&document.path);
        }
        Ok(manifest)
    }

    /// Reads the text of a `component.toml`.
    ///
    /// # Errors
    /// [`ManifestError`] with line and column.
    pub fn from_component_toml(text: &str) -> Result<Self, ManifestError> {
        file::component_toml(text).map_err(|error| error.located(text))
    }

    /// Reads the table `[package.metadata.countersign]` of a `Cargo.toml`; the version is the package's unless the
    /// table names one.
    ///
    /// # Errors
    /// [`ManifestError`] with line and column; without the table, what to add.
    pub fn from_cargo_toml(text: &str) -> Result<Self, ManifestError> {
        file::cargo_toml(text).map_err(|error| error.located(text))
    }
}

/// Why a manifest cannot be used, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestError {
    path: Option<PathBuf>,
    span: Option<Range<usize>>,
    position: Option<(usize, usize)>,
    message: String,
}

impl ManifestError {
    fn new(message: impl Into<String>) -> Self {
        Self {
            path: None,
            span: None,
            position: None,
            message: message.into(),
        }
    }

    fn at(span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            span: Some(span),
            ..Self::new(message)
        }
    }

    fn named(mut self, path: &Path) -> Self {
        self.path = Some(path.to_owned());
        self
    }

    /// Turns the byte offset into line and column.
    fn located(mut self, text: &str) -> Self {
        let before = self.span.as_ref().and_then(|span| text.get(..span.start));
        self.position = before.map(|before| {
            let line = before.matches('\n').count().saturating_add(1);
            let start = before
                .rfind('\n')
                .map_or(0, |newline| newline.saturating_add(1));
            let column = before
                .get(start..)
                .map_or(0, |line| line.chars().count())
                .saturating_add(1);
            (line, column)
        });
        self
    }

    /// The file, if it came from one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The line, counted from 1.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.position.map(|(line, _)| line)
    }

    /// The column, counted from 1, in characters.
    #[must_use]
    pub fn column(&self) -> Option<usize> {
        self.position.map(|(_, column)| column)
    }
}

/// `component.toml:3:9: message`, as compilers write it.
impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.path, self.position) {
            (Some(path), Some((line, column))) => {
                write!(f, "{}:{line}:{column}: ", path.display())?
            }
            (Some(path), None) => write!(f, "{}: ", path.display())?,
            (None, Some((line, column))) => write!(f, "line {line}, column {column}: ")?,
            (None, None) => {}
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for ManifestError {}
