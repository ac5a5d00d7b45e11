//! Reading a cache's entry while the component is still being verified.
//!
//! Which entry that is follows from what the file claims of itself. The claim decides what is read and nothing more: the
//! entry's seal holds for that one component, and is used for a component only if verification finds it to be that one.

use std::sync::Arc;
use std::thread::JoinHandle;

use countersign_trust_store::{ClaimedComponent, Recogniser};
use wasmtime::Engine;

use super::binding::Binding;
use super::cache::CodeCache;
use super::reading::Reading;
use super::{Cached, Source};

/// Code that is being read from a cache, for a component that may turn out to be another, or none.
pub struct CodeAhead {
    cache: Arc<CodeCache>,
    binding: Binding,
    reading: Arc<Reading>,
    /// None where there was no thread to be had: all is read when it is asked for.
    thread: Option<JoinHandle<()>>,
}

impl CodeAhead {
    /// Begins to read, in a thread of its own. `None` where the cache has nothing of the kind, or nothing that can be read: it
    /// is looked for again then, and what is wrong is said.
    pub(super) fn begin(
        cache: &Arc<CodeCache>,
        engine: &Engine,
        source: &Source,
        claimed: &ClaimedComponent,
    ) -> Option<Self> {
        let binding = Binding::new(
            engine,
            *claimed.statement().component_digest(),
            &source.roots,
        );
        let reading = Arc::new(cache.begin(&binding, source.memory).ok()??);
        let (helper, shared) = (Arc::clone(cache), Arc::clone(&reading));
        let thread = std::thread::Builder::new()
            .name("countersign-code".to_owned())
            .spawn(move || shared.help(helper.key()))
            .ok();
        Some(Self {
            cache: Arc::clone(cache),
            binding,
            reading,
            thread,
        })
    }

    /// What recognises the component that the code was kept for, if this device has noted its digest.
    #[must_use]
    pub fn recogniser(&self, claimed: ClaimedComponent) -> Recogniser {
        let note = self.reading.header().note();
        self.cache.key().digests().recognise(claimed, note)
    }

    /// Whether all was read, so that a start does not wait for it.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.thread.as_ref().is_some_and(JoinHandle::is_finished)
    }

    /// What was read, if it is what `binding` asks for; helps with what is left.
    pub(super) fn take(self, binding: &Binding) -> Option<Cached> {
        if self.binding != *binding {
            return None;
        }
        let key = self.cache.key();
        self.reading.help(key);
        if let Some(thread) = self.thread {
            thread.join().ok()?;
        }
        let reading = Arc::into_inner(self.reading)?;
        Some(reading.finish(key, binding).map(Some))
    }
}

impl std::fmt::Debug for CodeAhead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CodeAhead").finish_non_exhaustive()
    }
}
