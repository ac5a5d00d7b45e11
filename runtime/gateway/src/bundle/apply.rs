//! `apply`: a bundle from wherever it is into the folder of what has come, and then the order to the gateway that runs.
//!
//! Downloads are this program's, and not the gateway's, which speaks to no server. A stick's file is copied first, since a stick can be pulled out, and the gateway reads nothing outside its own folders. What was copied is
//! believed by nobody before the gateway has verified it.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use countersign_format::{Digest, DigestWriter};
use countersign_trust_store::{BundleReader, Code};
use reqwest::header::HeaderMap;

use super::download::{Downloader, Partial};
use super::logins::Logins;
use super::{Places, oci, stick};
use crate::admission::Refusal;
use crate::config::{Bundles, Config};
use crate::control::{self, Question};
use crate::gateway::NotStarted;
use crate::overview;
use crate::receipt::Wish;
use crate::say::say;

/// Applies the bundle at `source`, and has a receipt written then if one is wanted: where, and for which nonce. The exit status:
/// that of the refusal, if it is refused.
pub(crate) fn apply(
    config: &Path,
    source: &str,
    receipt: Option<(PathBuf, Option<String>)>,
    json: bool,
) -> Result<u8, NotStarted> {
    let config = Config::load(config)?;
    let bundles = config.bundles.as_ref().context(
        "this gateway takes no bundles; say which in its configuration, under [bundles]",
    )?;
    let wish = receipt
        .map(|(path, nonce)| Wish::open(&config, &path).map(|wish| (wish, nonce)))
        .transpose()?;
    let places = Places::in_state(&config.state);
    let arrived = match Address::of(source) {
        None => {
            let path = of_folder(Path::new(source), bundles)?;
            Arrived::copy(&path, bundles, &places, &config.state)?
        }
        Some(address) => Arrived::download(&address, bundles, &places, &config.state)
            .map_err(|error| NotStarted::Refused(Code::Download, format!("{error:#}")))?,
    };
    let question = Question::Apply {
        file: arrived.name.clone(),
    };
    let mut answer = control::ask(&config.control, &question)?;
    if let Some((wish, nonce)) = wish {
        // Who made the bundle knows its index: a receipt that names it is not older.
        let nonce = nonce.or_else(|| claimed_index(&arrived.path).map(|index| index.to_string()));
        let written = wish.fulfil(&config, nonce).unwrap_or_else(|error| {
            let refused = Refusal::from(error);
            serde_json::json!({ "refused": refused })
        });
        if let Some(answer) = answer.as_object_mut() {
            answer.insert("receipt".to_owned(), written);
        }
    }
    Ok(overview::print_applied(&answer, json))
}

/// The file itself; of a folder the newest bundle in it.
fn of_folder(source: &Path, bundles: &Bundles) -> anyhow::Result<PathBuf> {
    if !source.is_dir() {
        return Ok(source.to_owned());
    }
    let (path, number) = stick::newest(source, &bundles.line)?;
    let line = &bundles.line;
    say(
        "",
        &format!("taking {}, number {number} of {line}", path.display()),
    );
    Ok(path)
}

/// SHA-256 of the index that a file claims to be a bundle's.
fn claimed_index(path: &Path) -> Option<Digest> {
    let reader = BundleReader::open(io::BufReader::new(File::open(path).ok()?)).ok()?;
    Some(reader.bundle().digest())
}

/// Where a bundle is to be had that is no file on this machine.
enum Address<'a> {
    /// A URL of http or https.
    Web(&'a str),
    /// A scheme, and an artefact in an OCI registry.
    Registry(&'static str, &'a str),
}

impl<'a> Address<'a> {
    fn of(source: &'a str) -> Option<Self> {
        if let Some(reference) = source.strip_prefix("oci://") {
            return Some(Self::Registry("https", reference));
        }
        if let Some(reference) = source.strip_prefix("oci+http://") {
            return Some(Self::Registry("http", reference));
        }
        let web = ["http://", "https://"];
        web.iter()
            .any(|scheme| source.starts_with(scheme))
            .then_some(Self::Web(source))
    }
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

    fn download(
        address: &Address<'_>,
        bundles: &Bundles,
        places: &Places,
        state: &Path,
    ) -> anyhow::Result<Self> {
        // For the process; another may be there already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (arrived, output) = Self::create(places, state)?;
        drop(output);
        let tokio = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        tokio.block_on(async {
            let most = bundles.most.saturating_add(1 << 20);
            let downloader = Downloader::new(&bundles.download, most)?;
            let (url, headers, digest) = match address {
                Address::Web(url) => ((*url).to_owned(), HeaderMap::new(), None),
                Address::Registry(scheme, reference) => {
                    let logins = match &bundles.download.registries {
                        Some(path) => Logins::read(path)?,
                        None => Logins::default(),
                    };
                    let blob = oci::find(&downloader, scheme, reference, &logins).await?;
                    (blob.url, blob.headers, Some(blob.digest))
                }
            };
            // By its address, so that it is found again.
            let name = format!("{}.part", Digest::of(url.as_bytes()));
            let partial = Partial::at(&places.incoming().join(name));
            partial.alone();
            downloader.fetch(&url, &headers, &partial).await?;
            partial.finish(&arrived.path)?;
            if let Some(expected) = digest {
                let mut writer = DigestWriter::new();
                io::copy(&mut File::open(&arrived.path)?, &mut writer)?;
                let found = writer.finish();
                if found != expected {
                    bail!("its SHA-256 is {found}, and the registry's manifest says {expected}");
                }
            }
            let file = fs::OpenOptions::new()
                .read(true)
                .custom_flags(libc::O_NOFOLLOW)
                .open(&arrived.path)?;
            hand_over(&file, state)
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
        places.make()?;
        // Root may ask, in a folder whose owner is not root: nothing there is followed, so that nothing else is handed over.
        for folder in incoming.ancestors().take(2) {
            let is_folder = fs::symlink_metadata(folder).is_ok_and(|found| found.is_dir());
            if !is_folder {
                bail!(
                    "{} is no folder; remove it, and try again",
                    folder.display()
                );
            }
            std::os::unix::fs::lchown(folder, Some(owner.uid()), Some(owner.gid()))
                .with_context(|| format!("{} cannot be handed over", folder.display()))?;
        }
        sweep(&incoming);
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
        hand_over(&file, state)
            .with_context(|| format!("{} cannot be handed over", arrived.path.display()))?;
        Ok((arrived, file))
    }
}

/// Removes the copies of processes that were killed before they could.
fn sweep(incoming: &Path) {
    for entry in fs::read_dir(incoming).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name
            .to_str()
            .and_then(|name| name.strip_prefix("apply-")?.strip_suffix(".bundle"));
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Gives a file to the gateway's user, and to nobody else.
fn hand_over(file: &File, state: &Path) -> anyhow::Result<()> {
    let owner = fs::metadata(state)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    std::os::unix::fs::fchown(file, Some(owner.uid()), Some(owner.gid()))?;
    Ok(())
}

impl Drop for Arrived {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
