//! `apply`: a bundle from wherever it is into the folder of what has come, and then the order to the gateway that runs.
//!
//! It is copied first, since a stick can be pulled out, and the gateway reads nothing outside its own folders. What was copied is
//! believed by nobody before the gateway has verified it.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::Places;
use crate::config::{Bundles, Config};
use crate::control::{self, Question};
use crate::gateway::NotStarted;
use crate::overview;

/// Applies the bundle at `source`. The exit status: that of the refusal, if it is refused.
pub(crate) fn apply(config: &Path, source: &str, json: bool) -> Result<u8, NotStarted> {
    let config = Config::load(config)?;
    let bundles = config.bundles.as_ref().context(
        "this gateway takes no bundles; say which in its configuration, under [bundles]",
    )?;
    let places = Places::in_state(&config.state);
    let arrived = Arrived::copy(Path::new(source), bundles, &places, &config.state)?;
    let question = Question::Apply {
        file: arrived.name.clone(),
    };
    let answer = control::ask(&config.control, &question)?;
    Ok(overview::print_applied(&answer, json))
}

/// A copy in the folder of what has come. It goes when this is dropped.
struct Arrived {
    name: String,
    path: PathBuf,
}

impl Arrived {
    fn copy(
        source: &Path,
        bundles: &Bundles,
        places: &Places,
        state: &Path,
    ) -> anyhow::Result<Self> {
        let unreadable = || format!("the bundle {} cannot be read", source.display());
        let metadata = fs::metadata(source).with_context(unreadable)?;
        if !metadata.is_file() {
            bail!("{} is no regular file", source.display());
        }
        // Room for the index besides the parts.
        let most = bundles.most.saturating_add(1 << 20);
        if metadata.len() > most {
            bail!(
                "{} has {} bytes, and this gateway takes bundles of at most {}",
                source.display(),
                metadata.len(),
                bundles.most
            );
        }
        let mut input = File::open(source).with_context(unreadable)?.take(most);
        let (arrived, mut output) = Self::create(places, state)?;
        io::copy(&mut input, &mut output)
            .and_then(|_| output.flush())
            .with_context(|| {
                format!(
                    "{} cannot be copied to {}; is there room?",
                    source.display(),
                    arrived.path.display()
                )
            })?;
        Ok(arrived)
    }

    /// An empty file that the gateway may read, whoever asks.
    fn create(places: &Places, state: &Path) -> anyhow::Result<(Self, File)> {
        let owner = fs::metadata(state).with_context(|| {
            format!(
                "there is no folder {}; make one with `countersign-gateway init`",
                state.display()
            )
        })?;
        let incoming = places.incoming();
        if !incoming.is_dir() {
            places.make()?;
            for folder in incoming.ancestors().take(2) {
                std::os::unix::fs::chown(folder, Some(owner.uid()), Some(owner.gid()))
                    .with_context(|| format!("{} cannot be handed over", folder.display()))?;
            }
        }
        let name = format!("apply-{}.bundle", std::process::id());
        let path = incoming.join(&name);
        let failed = || format!("{} cannot be written", path.display());
        // Left there by a process of the same number that was killed.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(failed);
            }
            _ => {}
        }
        let file = File::create_new(&path).with_context(failed)?;
        let arrived = Self { name, path };
        let failed = || format!("{} cannot be handed over", arrived.path.display());
        file.set_permissions(fs::Permissions::from_mode(0o600))
            .with_context(failed)?;
        std::os::unix::fs::fchown(&file, Some(owner.uid()), Some(owner.gid()))
            .with_context(failed)?;
        Ok((arrived, file))
    }
}

impl Drop for Arrived {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
