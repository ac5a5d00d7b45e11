//! Back to the last that proved healthy, when what took its place did not.
//!
//! Decides that what failed is remembered, that only what is admitted now runs again, and that whoever says otherwise meanwhile is heard.

use std::sync::Arc;

use countersign_runtime::GivenUp;
use tokio::task::JoinHandle;

use super::{Command, Event, Supervision, lines};
use crate::admission::Admitted;
use crate::say::{complain, warn};

impl Supervision {
    /// Gives the place to the copy of the last that proved healthy, if there is one and it is admitted; unless it is told something
    /// before that is there.
    pub(super) async fn fall_back(&mut self, how: &str) -> Result<bool, Event> {
        let mut search = CopySearch::begin(self);
        let found = tokio::select! {
            found = &mut search.looking => found,
            command = self.commands.recv() => return Err(match command {
                Some(Command::Exchange(next)) => Event::Exchange(next),
                Some(Command::StopAtOnce) | None => Event::Stop,
            }),
        };
        let found = found.unwrap_or_else(|error| {
            complain(
                &self.service.name,
                &format!("no copy was looked for: {error}"),
            );
            None
        });
        let Some(copy) = found else {
            return Ok(false);
        };
        let failed = std::mem::replace(&mut self.current, copy);
        self.proved = true;
        self.probed = false;
        let remembered = tokio::task::block_in_place(|| self.host.failed(&failed, &self.state));
        if let Err(error) = remembered {
            warn(
                &self.service.name,
                &format!("that it failed could not be remembered: {error:#}"),
            );
        }
        let why = format!(
            "{} {} {how} before it proved healthy, so {} runs again",
            failed.facts.component, failed.facts.version, self.current.facts.version
        );
        warn(&self.service.name, &why);
        // Whoever learns why sees what runs instead.
        self.told.send_modify(|status| {
            status.newer = Some(why);
            status.facts = Some(self.current.facts.clone());
            status.links = Arc::clone(&self.current.links);
        });
        Ok(true)
    }
}

/// The search for the copy of the last that proved healthy, admitted; for none of what runs already. Dropped, nothing is compiled for
/// it any more.
struct CopySearch {
    looking: JoinHandle<Option<Admitted>>,
    given_up: GivenUp,
}

impl CopySearch {
    fn begin(of: &Supervision) -> Self {
        let (host, state) = (Arc::clone(&of.host), Arc::clone(&of.state));
        let (kept, service) = (of.kept.clone(), of.service.clone());
        let runs = of.current.facts.file_sha256.clone();
        let given_up = GivenUp::default();
        let wanted = given_up.clone();
        let looking = tokio::task::spawn_blocking(move || {
            let name = &service.name;
            kept.copies(name).into_iter().find_map(|place| {
                if wanted.is_given_up() {
                    return None;
                }
                // A refusal has its record.
                let judged = host.judge(&service, &place, &state);
                let verified = judged
                    .inspect_err(|refusal| refusal.tell_of_copy(name))
                    .ok()?;
                let digest = &verified.facts.file_sha256;
                if *digest == runs || kept.is_held(name, digest) {
                    return None;
                }
                let (log, wanted) = (lines(name), wanted.clone());
                host.load(&service, verified, log, &state, wanted).ok()
            })
        });
        Self { looking, given_up }
    }
}

impl Drop for CopySearch {
    fn drop(&mut self) {
        self.given_up.give_up();
    }
}
