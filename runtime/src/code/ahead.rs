//! Reading a cache's entry while the component is still being verified.
//!
//! Which entry that is follows from what the file claims of itself. The claim decides what is read and nothing more: the
//! entry's seal holds for that one component, and is used for a component only if verification finds it to be that one.

use std::sync::Arc;
use std::thread::JoinHandle;

use countersign_format::{Digest, Envelope, SignedFile, Statement};
use wasmtime::Engine;

use super::Cached;
use super::binding::{Binding, Roots};
use super::cache::CodeCache;

/// Code that is being read from a cache, for a component that may turn out to be another, or none.
pub struct CodeAhead {
    binding: Binding,
    reading: JoinHandle<Cached>,
}

impl CodeAhead {
    /// Begins to read, in a thread of its own. `None` where the file claims nothing that can be read, or there is no thread:
    /// the code is then read later.
    pub(super) fn begin(
        cache: &Arc<CodeCache>,
        engine: &Engine,
        roots: &Roots,
        file: &[u8],
    ) -> Option<Self> {
        let binding = Binding::new(engine, claimed(file)?, roots);
        let (cache, wanted) = (Arc::clone(cache), binding.clone());
        let reading = std::thread::Builder::new()
            .name("countersign-code".to_owned())
            .spawn(move || cache.get(&wanted))
            .ok()?;
        Some(Self { binding, reading })
    }

    /// Whether all was read, so that a start does not wait for it.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.reading.is_finished()
    }

    /// What was read, if it is what `binding` asks for.
    pub(super) fn take(self, binding: &Binding) -> Option<Cached> {
        if self.binding != *binding {
            return None;
        }
        self.reading.join().ok()
    }
}

impl std::fmt::Debug for CodeAhead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CodeAhead").finish_non_exhaustive()
    }
}

/// The component that a signed file says it is, unverified.
fn claimed(file: &[u8]) -> Option<Digest> {
    let file = SignedFile::parse(file).ok()?;
    let envelope = Envelope::decode(file.signature()).ok()?;
    let statement = Statement::decode(envelope.statement_bytes()).ok()?;
    Some(*statement.component_digest())
}
