//! From a root file to a list of roots: a PEM bundle, or `roots.toml`.

use std::fs::File;
use std::io::Read as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use countersign_format::{Audience, NamePattern, Scope};
use countersign_trust_store::{AnchorSource, Purpose, pem};
use serde::Deserialize;
use toml::Spanned;

use crate::error::RootsFileError;

/// The most that any file named here may hold: a CRL of a factory has some 100,000 entries in 4 MiB, and none of that
/// size fits into the section anyway.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// The roots that the file at `path` lists: `roots.toml` if the name ends in `.toml`, else a PEM bundle.
///
/// # Errors
/// [`RootsFileError`] with the file, and for `roots.toml` the line, that is to blame.
pub fn parse(path: &Path) -> Result<Vec<AnchorSource>, RootsFileError> {
    parse_with_files(path).map(|(sources, _)| sources)
}

/// As [`parse`], and beside the roots every file that was read, the first being `path` itself.
///
/// # Errors
/// As [`parse`].
pub fn parse_with_files(path: &Path) -> Result<(Vec<AnchorSource>, Vec<PathBuf>), RootsFileError> {
    let mut files = vec![path.to_owned()];
    let bytes = read(path)?;
    let sources = if path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("toml"))
    {
        from_toml(path, bytes, &mut files)?
    } else {
        let ders = pem::certificates(&bytes).map_err(|reason| RootsFileError::Pem {
            path: path.to_owned(),
            reason,
        })?;
        ders.into_iter().map(AnchorSource::new).collect()
    };
    refuse_duplicates(path, &sources)?;
    Ok((sources, files))
}

fn refuse_duplicates(path: &Path, sources: &[AnchorSource]) -> Result<(), RootsFileError> {
    for (second, source) in sources.iter().enumerate() {
        let same = |earlier: &AnchorSource| {
            earlier.certificate == source.certificate && earlier.purpose == source.purpose
        };
        if let Some(first) = sources.iter().take(second).position(same) {
            return Err(RootsFileError::Duplicate {
                path: path.to_owned(),
                first: first.saturating_add(1),
                second: second.saturating_add(1),
            });
        }
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RootsToml {
    root: Spanned<Vec<RootToml>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RootToml {
    pem: Spanned<String>,
    purpose: Spanned<String>,
    scope: Option<Spanned<Vec<Spanned<String>>>>,
    audience: Option<Spanned<AudienceToml>>,
    crl_grace: Option<Spanned<String>>,
    #[serde(default)]
    crls: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AudienceToml {
    #[serde(default)]
    devices: Vec<String>,
    #[serde(default)]
    types: Vec<String>,
}

/// A `roots.toml` in hand: whatever is wrong is reported with the place where it stands.
struct Source<'a> {
    path: &'a Path,
    text: &'a str,
}

fn from_toml(
    path: &Path,
    bytes: Vec<u8>,
    files: &mut Vec<PathBuf>,
) -> Result<Vec<AnchorSource>, RootsFileError> {
    let text = String::from_utf8(bytes).map_err(|error| {
        let reason = format!(
            "it is not UTF-8 text (byte {})",
            error.utf8_error().valid_up_to()
        );
        RootsFileError::Read {
            path: path.to_owned(),
            reason,
        }
    })?;
    let source = Source { path, text: &text };
    let parsed: RootsToml = toml::from_str(&text)
        .map_err(|error| source.error(error.span().unwrap_or(0..0), error.message().to_owned()))?;
    if parsed.root.get_ref().is_empty() {
        return Err(source.error(
            parsed.root.span(),
            "the list of roots is empty; add a [[root]] with its pem and purpose".into(),
        ));
    }
    parsed
        .root
        .into_inner()
        .into_iter()
        .map(|root| source.root(root, files))
        .collect()
}

impl Source<'_> {
    fn root(
        &self,
        root: RootToml,
        files: &mut Vec<PathBuf>,
    ) -> Result<AnchorSource, RootsFileError> {
        let purpose = match root.purpose.get_ref().as_str() {
            "components" => Purpose::Components,
            "precompiled-code" => Purpose::PrecompiledCode,
            other => {
                let reason = format!(
                    "purpose `{other}` is unknown; write \"components\" or \"precompiled-code\""
                );
                return Err(self.error(root.purpose.span(), reason));
            }
        };
        let scope = self.scope(root.scope, root.audience)?;
        let crl_grace = match &root.crl_grace {
            None => Duration::ZERO,
            Some(text) => humantime::parse_duration(text.get_ref()).map_err(|error| {
                self.error(
                    text.span(),
                    format!(
                        "crl-grace: {error}; write a number with its unit, as \"72h\" or \"7d\""
                    ),
                )
            })?,
        };
        if crl_grace.subsec_nanos() != 0 {
            let span = root.crl_grace.map_or(0..0, |text| text.span());
            return Err(self.error(span, "crl-grace: whole seconds only".into()));
        }
        let (pem_path, bytes) = self.file(&root.pem, files)?;
        let mut certificates = pem::certificates(&bytes).map_err(|reason| RootsFileError::Pem {
            path: pem_path.clone(),
            reason,
        })?;
        let found = certificates.len();
        let (Some(certificate), true) = (certificates.pop(), found == 1) else {
            return Err(RootsFileError::NotOne {
                path: pem_path,
                found,
            });
        };
        let mut crls = Vec::new();
        for name in &root.crls {
            let (path, bytes) = self.file(name, files)?;
            crls.extend(pem::crls(&bytes).map_err(|reason| RootsFileError::Pem { path, reason })?);
        }
        Ok(AnchorSource {
            certificate,
            purpose,
            scope,
            crl_grace,
            crls,
        })
    }

    fn scope(
        &self,
        patterns: Option<Spanned<Vec<Spanned<String>>>>,
        audience: Option<Spanned<AudienceToml>>,
    ) -> Result<Option<Scope>, RootsFileError> {
        let Some(patterns) = patterns else {
            return match audience {
                Some(audience) => Err(self.error(
                    audience.span(),
                    "an audience belongs to a scope; add scope = [\"NAMESPACE:*\"]".into(),
                )),
                None => Ok(None),
            };
        };
        let span = patterns.span();
        let mut components = Vec::new();
        for text in patterns.into_inner() {
            let pattern = text
                .get_ref()
                .parse::<NamePattern>()
                .map_err(|error| self.error(text.span(), format!("scope: {error}")))?;
            components.push(pattern);
        }
        let audience =
            audience
                .map(Spanned::into_inner)
                .map_or_else(Audience::default, |audience| Audience {
                    devices: audience.devices,
                    types: audience.types,
                });
        Scope::new(components, audience)
            .map(Some)
            .map_err(|error| self.error(span, format!("scope: {error}")))
    }

    /// Reads a file named in this one, relative to its folder.
    fn file(
        &self,
        name: &Spanned<String>,
        files: &mut Vec<PathBuf>,
    ) -> Result<(PathBuf, Vec<u8>), RootsFileError> {
        let path = self
            .path
            .parent()
            .unwrap_or(Path::new(""))
            .join(name.get_ref());
        let bytes = read(&path).map_err(|error| self.error(name.span(), error.to_string()))?;
        files.push(path.clone());
        Ok((path, bytes))
    }

    fn error(&self, span: Range<usize>, reason: String) -> RootsFileError {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.matches('\n').count().saturating_add(1);
        let column = before
            .chars()
            .rev()
            .take_while(|c| *c != '\n')
            .count()
            .saturating_add(1);
        RootsFileError::Toml {
            path: self.path.to_owned(),
            line,
            column,
            reason: reason.replace('\n', "; "),
        }
    }
}

/// Reads a regular file of bounded size.
fn read(path: &Path) -> Result<Vec<u8>, RootsFileError> {
    let refuse = |reason: String| RootsFileError::Read {
        path: path.to_owned(),
        reason,
    };
    // Asked by name first: opening a FIFO would wait for its writer.
    let metadata =
        std::fs::metadata(path).map_err(|error| refuse(format!("cannot be read: {error}")))?;
    if metadata.is_dir() {
        return Err(refuse("is a directory; name a file".into()));
    }
    if !metadata.is_file() {
        return Err(refuse("is not a regular file".into()));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| refuse(format!("cannot be read: {error}")))?;
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| refuse(format!("cannot be read: {error}")))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_FILE_BYTES {
        return Err(refuse(format!("is larger than {MAX_FILE_BYTES} bytes")));
    }
    Ok(bytes)
}
