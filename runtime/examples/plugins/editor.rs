//! The part of a photo editor that takes plug-ins: what it lends to them, which it believes, and when one takes another's
//! place.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::time::Duration;

use countersign_runtime::format::{ComponentName, Digest};
use countersign_runtime::trust_store::{Anchors, Now, TrustState, VerifiedSigner};
use countersign_runtime::wasmtime::Store;
use countersign_runtime::wasmtime::component::{HasSelf, Linker};
use countersign_runtime::{
    BuildError, Ceiling, GuestContext, HasGuestContext, Limits, LoadError, ReadyGuest, RunError,
    RunningGuest, Runtime,
};

mod bindings {
    #![allow(
        missing_docs,
        unreachable_pub,
        unnameable_types,
        reason = "generated from the WIT file"
    )]
    countersign_runtime::wasmtime::component::bindgen!({
        path: "examples/plugins/filter.wit",
        wasmtime_crate: countersign_runtime::wasmtime,
        exports: { default: async },
    });
}

use bindings::acme::photos::settings;

/// No filter of this editor is larger, in bytes (8 MiB).
const LARGEST: u64 = 8 << 20;

/// The store's data of one filter at work: the guest's part, and the editor's own.
pub(crate) struct Work {
    guest: GuestContext,
    strength: u8,
}

impl HasGuestContext for Work {
    fn guest_context(&mut self) -> &mut GuestContext {
        &mut self.guest
    }
}

impl settings::Host for Work {
    fn strength(&mut self) -> u8 {
        self.strength
    }
}

/// What the user should be told of the folder of plug-ins.
#[derive(Debug)]
pub(crate) enum News {
    Exchanged { name: String, version: u64 },
    Installed { name: String },
    Refused { file: String, error: LoadError },
}

impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exchanged { name, version } => {
                write!(f, "{name} is now in its version {version}")
            }
            Self::Installed { name } => write!(f, "{name} is there"),
            // What the file says of itself is a stranger's: quoted, so that it cannot play with a terminal.
            Self::Refused { file, error } => write!(
                f,
                "{file:?} was refused ({}): {:?} {}",
                error.code(),
                error.to_string(),
                error.code().next_step()
            ),
        }
    }
}

/// A plug-in that was verified and compiled.
struct Plugin {
    ready: ReadyGuest<Work>,
    name: ComponentName,
    version: u64,
    /// The roots under which it was signed, by their keys.
    roots: Vec<Digest>,
}

pub(crate) struct Editor {
    runtime: Runtime,
    linker: Linker<Work>,
    ceiling: Ceiling,
    now: Now,
    state: TrustState,
    /// By the name that was signed: what a file is called says nothing.
    plugins: BTreeMap<String, Plugin>,
}

impl Editor {
    pub(crate) fn new(anchors: Anchors, now: Now) -> Result<Self, BuildError> {
        let runtime = Runtime::builder(anchors).build()?;
        let mut linker = Linker::<Work>::new(runtime.engine());
        settings::add_to_linker::<Work, HasSelf<Work>>(&mut linker, |work| work)
            .map_err(BuildError::Engine)?;
        let mut limits = Limits::default();
        limits.memory_bytes = 64 << 20;
        limits.run = Duration::from_millis(200);
        let ceiling = Ceiling::new()
            .interface("acme:photos/settings")
            .limits(limits);
        Ok(Self {
            runtime,
            linker,
            ceiling,
            now,
            // A real program keeps what it has seen on disk, and brings it back with `note_version`.
            state: TrustState::remembering(),
            plugins: BTreeMap::new(),
        })
    }

    /// Looks at each file in the folder. What is refused leaves everything as it was.
    pub(crate) fn look_into(&mut self, folder: &Path) -> io::Result<Vec<News>> {
        let mut paths = std::fs::read_dir(folder)?
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<Vec<_>>>()?;
        paths.sort();
        let mut news = Vec::new();
        for path in paths {
            let mut bytes = Vec::new();
            File::open(&path)?.take(LARGEST).read_to_end(&mut bytes)?;
            match self.take(bytes) {
                Ok(Some(what)) => news.push(what),
                Ok(None) => {}
                Err(error) => news.push(News::Refused {
                    file: path
                        .file_name()
                        .unwrap_or_default()
                        .to_string_lossy()
                        .into_owned(),
                    error,
                }),
            }
        }
        Ok(news)
    }

    fn take(&mut self, bytes: Vec<u8>) -> Result<Option<News>, LoadError> {
        let verified = self.runtime.verify(bytes, &self.now, &self.state)?;
        let statement = verified.statement();
        let (name, version) = (statement.name().clone(), statement.security_version());
        let before = self
            .plugins
            .get(&name.to_string())
            .map(|plugin| plugin.version);
        if before == Some(version) {
            return Ok(None);
        }
        let root = |signer: &VerifiedSigner| signer.chain().anchor_spki_sha256();
        let roots = verified.signers().iter().map(root).collect();
        // Compiled while the one before works. A program with a window does this on a thread of its own.
        let ready = self.runtime.load(verified, &self.ceiling, &self.linker)?;
        let plugin = Plugin {
            ready,
            name: name.clone(),
            version,
            roots,
        };
        self.plugins.insert(name.to_string(), plugin);
        let name = name.to_string();
        Ok(Some(match before {
            Some(_) => News::Exchanged { name, version },
            None => News::Installed { name },
        }))
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.plugins.keys().map(String::as_str).collect()
    }

    /// Starts a plug-in. Nobody else's pixels are in it: each start has a memory of its own.
    pub(crate) async fn begin(&self, name: &str, strength: u8) -> Result<AtWork, RunError> {
        let ready = &self.plugins[name].ready;
        let guest = ready
            .context()
            .map_err(|error| RunError::Context(Box::new(error)))?;
        let store = Store::new(self.runtime.engine(), Work { guest, strength });
        let guest = ready.clone().start(store).await?;
        Ok(AtWork { guest })
    }

    /// Starts a plug-in for one row, and remembers that its version works: from now on, no older one is taken.
    pub(crate) async fn apply(
        &mut self,
        name: &str,
        strength: u8,
        row: &[u8],
    ) -> Result<Vec<u8>, RunError> {
        let row = self.begin(name, strength).await?.apply(row).await?;
        let plugin = &self.plugins[name];
        for root in &plugin.roots {
            self.state
                .note_version(*root, plugin.name.clone(), plugin.version);
        }
        Ok(row)
    }
}

/// A plug-in that was started.
pub(crate) struct AtWork {
    guest: RunningGuest<Work>,
}

impl AtWork {
    pub(crate) async fn apply(&mut self, row: &[u8]) -> Result<Vec<u8>, RunError> {
        let row = row.to_vec();
        self.guest
            .call(move |mut store, instance| {
                Box::pin(async move {
                    let filter = bindings::Filter::new(&mut store, &instance)?;
                    filter.call_apply(store, &row).await
                })
            })
            .await
    }
}
