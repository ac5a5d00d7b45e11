//! Verifying the audit log: offline, with its public key, against a checkpoint that was kept elsewhere and against the
//! registry where they are given.
//!
//! Decided here: what is compared with what, when a log is older than it may be, and the exit status of each verdict.
//! Which entry or file of a log is not what it was is for `countersign-audit-log` to find.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use countersign_audit_log::{
    Appender, Checkpoint, CheckpointInvalid, Finding, LogFolder, LogVerifier, MAX_NOTE_BYTES,
    TreeHead, VerifyError,
};
use countersign_registry::Registry;
use serde_json::{Value, json};

/// Leaves that are read from the registry at once.
const AT_ONCE: u64 = 1024;

/// How often is looked whether a running authority has written what the registry gave a place.
const LOOKS: u32 = 10;

/// The time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What is to be verified, and against what.
#[derive(Debug)]
pub struct Question {
    /// The log.
    pub folder: PathBuf,
    /// Its verifier key, `NAME+ID+KEY`, or the file that holds it.
    pub key: String,
    /// The registry whose leaves must be the log's entries.
    pub registry: Option<String>,
    /// The file of a checkpoint that the log must continue.
    pub since: Option<PathBuf>,
}

/// A log of which every entry is proved.
#[derive(Debug)]
pub struct Sound {
    checkpoint: Checkpoint,
    origin: String,
    since: Option<u64>,
    compared: Option<u64>,
}

/// Why a log is not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotAccepted {
    /// A checkpoint is not one that the log's key signed.
    #[error("{place}: {reason}")]
    Checkpoint {
        /// Which file.
        place: String,
        /// What it is instead.
        reason: CheckpointInvalid,
    },
    /// Something in the folder is not what the checkpoint says.
    #[error(transparent)]
    Altered(Finding),
    /// An entry is another than the registry's leaf.
    #[error(
        "entry {entry} is not the leaf that the registry has in its place: one of them was altered; restore that one from a copy"
    )]
    OtherThanRegistry {
        /// Which entry.
        entry: u64,
    },
    /// The log has an entry that the registry lacks.
    #[error(
        "entry {entry} is in the log, and the registry has no leaf in its place: the registry was put back from an old copy, or leaves were taken out of it; put its newest copy back"
    )]
    NotInRegistry {
        /// The first such entry.
        entry: u64,
    },
    /// The log is older than it may be.
    #[error(
        "the log ends before entry {entry}, which {who} has: it was put back from an old copy, or cut off; restore its newest copy"
    )]
    Older {
        /// The first entry that is missing.
        entry: u64,
        /// Who has it.
        who: &'static str,
    },
    /// Nothing is known about the log.
    #[error("{0}")]
    Unreadable(String),
}

impl NotAccepted {
    /// The status with which a program ends.
    #[must_use]
    pub const fn exit(&self) -> u8 {
        match self {
            Self::Older { .. } => 115,
            Self::Unreadable(_) => 119,
            _ => 111,
        }
    }

    /// A word for programs, and the first entry that is not what it was, where one is known.
    fn word(&self) -> (&'static str, Option<u64>) {
        match self {
            Self::Checkpoint { .. } => ("checkpoint", None),
            Self::OtherThanRegistry { entry } => ("other-than-registry", Some(*entry)),
            Self::NotInRegistry { entry } => ("not-in-registry", Some(*entry)),
            Self::Older { entry, .. } => ("rollback", Some(*entry)),
            Self::Unreadable(_) => ("unreadable", None),
            Self::Altered(finding) => (finding.code(), finding.entry()),
        }
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let (code, entry) = self.word();
        json!({ "version": 1, "sound": false, "code": code, "entry": entry, "message": self.to_string() })
    }
}

impl From<VerifyError> for NotAccepted {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Unsound(finding) => Self::Altered(finding),
            error => Self::Unreadable(error.to_string()),
        }
    }
}

impl Sound {
    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "version": 1,
            "sound": true,
            "origin": self.origin,
            "entries": self.checkpoint.size(),
            "root": self.checkpoint.head().root.to_string(),
            "continues": self.since,
            "in_registry": self.compared,
        })
    }
}

impl std::fmt::Display for Sound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let head = self.checkpoint.head();
        write!(
            f,
            "{}: {} entries, each of them below the root {} that the log's key signed",
            self.origin, head.size, head.root
        )?;
        if let Some(size) = self.since {
            write!(f, "; it continues the checkpoint of {size}")?;
        }
        if let Some(count) = self.compared {
            write!(f, "; {count} are the registry's leaves")?;
        }
        Ok(())
    }
}

/// Verifies a log: that its key signed its checkpoint, that every entry is below the checkpoint's root and every tile is
/// what the entries make of it, that it continues the older checkpoint, and that it is what the registry has.
///
/// # Errors
/// For a key or an address that is none, and a file that is not there; the verdict is inside.
pub async fn verify(question: &Question) -> anyhow::Result<Result<Sound, NotAccepted>> {
    let verifier = verifier(&question.key)?;
    let since = question
        .since
        .as_ref()
        .map(|path| read(path).map(|bytes| (path, bytes)))
        .transpose()?;
    let registry = match &question.registry {
        Some(address) => Some(Registry::open(address).await?),
        None => None,
    };
    let verdict = judge(question, &verifier, since, registry.as_ref()).await;
    if let Some(registry) = registry {
        registry.close().await;
    }
    Ok(verdict)
}

async fn judge(
    question: &Question,
    verifier: &LogVerifier,
    since: Option<(&PathBuf, Vec<u8>)>,
    registry: Option<&Registry>,
) -> Result<Sound, NotAccepted> {
    let folder = LogFolder::new(&question.folder);
    let since = since
        .map(|(path, bytes)| opened(verifier, &bytes, path.display().to_string()))
        .transpose()?;
    let placed = match registry {
        Some(registry) => Some(registry.leaf_counts().await.map_err(unreadable)?.0),
        None => None,
    };
    let checkpoint = newest(&folder, verifier, placed.unwrap_or(0)).await?;
    if let Some(since) = &since
        && since.size() > checkpoint.size()
    {
        return Err(NotAccepted::Older {
            entry: checkpoint.size(),
            who: "the earlier checkpoint",
        });
    }
    countersign_audit_log::verify(&folder, &checkpoint, since.as_slice())?;
    if let Some(registry) = registry {
        same_leaves(&folder, &checkpoint, registry).await?;
    }
    if let Some(placed) = placed
        && placed > checkpoint.size()
    {
        return Err(NotAccepted::Older {
            entry: checkpoint.size(),
            who: "the registry",
        });
    }
    Ok(Sound {
        origin: verifier.origin().to_string(),
        since: since.map(|since| since.size()),
        compared: placed.map(|_| checkpoint.size()),
        checkpoint,
    })
}

/// The newest checkpoint; where an authority is at work, the one that covers what had a place when this began.
async fn newest(
    folder: &LogFolder,
    verifier: &LogVerifier,
    placed: u64,
) -> Result<Checkpoint, NotAccepted> {
    let mut looks = 0_u32;
    loop {
        let bytes = folder.checkpoint().map_err(unreadable)?;
        let checkpoint = opened(verifier, &bytes, "the log's checkpoint".to_owned())?;
        looks = looks.saturating_add(1);
        if checkpoint.size() >= placed || looks >= LOOKS {
            return Ok(checkpoint);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Demands that the registry's leaves lead to the checkpoint's root; names the first that does not.
async fn same_leaves(
    folder: &LogFolder,
    checkpoint: &Checkpoint,
    registry: &Registry,
) -> Result<(), NotAccepted> {
    let head = checkpoint.head();
    let mut appender = Appender::new();
    while appender.head().size < head.size {
        let leaves = part(registry, appender.head().size, head).await?;
        if leaves.is_empty() {
            break;
        }
        appender.append(&leaves).map_err(unreadable)?;
    }
    if appender.head() == head {
        return Ok(());
    }
    // They differ somewhere: once more, entry by entry.
    let mut index = 0_u64;
    while index < head.size {
        let leaves = part(registry, index, head).await?;
        if leaves.is_empty() {
            return Err(NotAccepted::NotInRegistry { entry: index });
        }
        for leaf in leaves {
            let entry = folder.entry(index, head).map_err(unreadable)?;
            if entry.as_deref() != Some(leaf.as_slice()) {
                return Err(NotAccepted::OtherThanRegistry { entry: index });
            }
            index = index.saturating_add(1);
        }
    }
    Err(unreadable(
        "the registry or the log was changed meanwhile; verify again",
    ))
}

/// Leaves from a place on, none of them beyond what the checkpoint covers; none where the registry has none there.
async fn part(registry: &Registry, from: u64, head: TreeHead) -> Result<Vec<Vec<u8>>, NotAccepted> {
    let most = head.size.saturating_sub(from).min(AT_ONCE);
    let found = registry.leaves(from, most).await.map_err(unreadable)?;
    let mut leaves = Vec::new();
    for (place, leaf) in (from..).zip(found) {
        if leaf.place != place {
            break;
        }
        leaves.push(leaf.bytes);
    }
    Ok(leaves)
}

fn opened(verifier: &LogVerifier, bytes: &[u8], place: String) -> Result<Checkpoint, NotAccepted> {
    verifier
        .open(bytes)
        .map_err(|reason| NotAccepted::Checkpoint { place, reason })
}

fn unreadable(error: impl std::fmt::Display) -> NotAccepted {
    NotAccepted::Unreadable(error.to_string())
}

/// The verifier key, or what a file of it holds.
fn verifier(key: &str) -> anyhow::Result<LogVerifier> {
    let path = Path::new(key);
    let text = if path.is_file() {
        String::from_utf8(read(path)?).with_context(|| format!("--key: {key} holds no text"))?
    } else {
        key.to_owned()
    };
    LogVerifier::from_vkey(text.trim()).context(
        "--key is neither a verifier key, NAME+ID+KEY, nor a file that holds one, such as the audit.vkey that `init` writes",
    )
}

/// A small file that must be there.
fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    use std::io::Read as _;
    let failed = || format!("{} could not be read", path.display());
    let mut bytes = Vec::new();
    let most = u64::try_from(MAX_NOTE_BYTES)?.saturating_add(1);
    std::fs::File::open(path)
        .with_context(failed)?
        .take(most)
        .read_to_end(&mut bytes)
        .with_context(failed)?;
    Ok(bytes)
}
