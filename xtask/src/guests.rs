//! Builds the guests of guest-examples/ from source into target/guests/NAME.wasm, each with the toolchain of its
//! language. No folder of this machine gets into them. Those in Rust and C come out the same each time; those in
//! JavaScript and Python hold a snapshot of their engine's memory, which never is the same twice.

pub(crate) mod c;
mod javascript;
mod python;
mod rust;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::process::{root, target};
use crate::setup::{self, Need};

pub(crate) use rust::RUSTUP_TARGET;

/// Builds every guest.
pub(crate) fn build() -> Result<()> {
    build_all(&guests()?)
}

/// Builds those in Rust: enough where the others' toolchains are not wanted.
pub(crate) fn build_rust() -> Result<()> {
    let mut guests = guests()?;
    guests.retain(|(_, language)| *language == Language::Rust);
    build_all(&guests)
}

/// Builds the guests of these names.
pub(crate) fn build_named(names: &[&str]) -> Result<()> {
    let mut guests = guests()?;
    if let Some(unknown) = names
        .iter()
        .find(|name| !guests.iter().any(|(known, _)| known == *name))
    {
        let known: Vec<String> = guests.into_iter().map(|(known, _)| known).collect();
        bail!(
            "there is no guest {unknown}; there are {}",
            known.join(", ")
        );
    }
    guests.retain(|(name, _)| names.contains(&name.as_str()));
    build_all(&guests)
}

fn build_all(guests: &[(String, Language)]) -> Result<()> {
    let needs: Vec<Need> = Language::ALL
        .into_iter()
        .filter(|language| guests.iter().any(|(_, of)| of == language))
        .map(Language::need)
        .collect();
    setup::ensure(&needs)?;
    let folder = target().join("guests");
    std::fs::create_dir_all(&folder)?;
    let in_rust: Vec<&str> = guests
        .iter()
        .filter(|(_, language)| *language == Language::Rust)
        .map(|(name, _)| name.as_str())
        .collect();
    if !in_rust.is_empty() {
        rust::build(&in_rust)?;
    }
    for (name, language) in guests {
        match language {
            Language::Rust => {}
            Language::C => c::build(name)?,
            Language::JavaScript => javascript::build(name)?,
            Language::Python => python::build(name)?,
        }
    }
    println!("{} guests in {}", guests.len(), folder.display());
    Ok(())
}

/// Where the component of a guest is.
pub(crate) fn wasm(name: &str) -> PathBuf {
    target().join("guests").join(format!("{name}.wasm"))
}

/// The folder of a guest's source.
pub(crate) fn source(name: &str) -> PathBuf {
    root().join("guest-examples").join(name)
}

/// What a guest is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Language {
    Rust,
    C,
    JavaScript,
    Python,
}

impl Language {
    const ALL: [Self; 4] = [Self::Rust, Self::C, Self::JavaScript, Self::Python];

    /// Told by what its toolchain reads.
    fn of(folder: &Path) -> Option<Self> {
        let name = folder.file_name()?.to_string_lossy();
        let main = name.split('-').next()?;
        Self::ALL.into_iter().find(|language| {
            let file = match language {
                Self::Rust => "Cargo.toml".to_owned(),
                Self::C => format!("{main}.c"),
                Self::JavaScript => "package.json".to_owned(),
                Self::Python => "requirements.txt".to_owned(),
            };
            folder.join(file).is_file()
        })
    }

    fn need(self) -> Need {
        match self {
            Self::Rust => Need::GuestToolchain,
            Self::C => Need::GuestToolchainC,
            Self::JavaScript => Need::Node,
            Self::Python => Need::Python,
        }
    }
}

/// The folders of guest-examples/ that hold a guest, sorted, with their languages. A guest without a component.toml
/// could not be signed, so that is an error here.
fn guests() -> Result<Vec<(String, Language)>> {
    let workspace = root().join("guest-examples");
    let mut guests = Vec::new();
    for entry in std::fs::read_dir(&workspace)
        .with_context(|| format!("cannot list {}", workspace.display()))?
    {
        let path = entry?.path();
        let Some(language) = Language::of(&path) else {
            continue;
        };
        if !path.join("component.toml").exists() {
            bail!("{} has no component.toml", path.display());
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        guests.push((name.into_owned(), language));
    }
    guests.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(guests)
}
