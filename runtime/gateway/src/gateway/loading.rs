//! From a file in its place to a component that runs, while the gateway goes on: judged, compiled if need be, put to work.
//!
//! Decides what is tried when a file is refused, that of one service only what was wanted last takes its place, and that what
//! nobody wants any more is not compiled to its end.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use countersign_runtime::GivenUp;
use tokio::task::{JoinHandle, JoinSet};
use tracing::field::Empty;
use tracing::info_span;

use super::{By, Gateway, blocking};
use crate::admission::{Admitted, Facts, Refusal, Verified, names_an_audience};
use crate::config::{Key, Place, Service};
use crate::keys::Try;
use crate::refusals;
use crate::say::{complain, say, warn};
use crate::service::{self, Running, Stayed};
use crate::traces;

/// Most bytes of components that are loaded at the same time (64 MiB): each is held in memory until its code is there. One is
/// loaded whatever its size.
const AT_ONCE: usize = 64 << 20;

/// What a component is loaded for.
pub(super) enum Attempt {
    /// To run because it is in its place.
    InPlace,
    /// To run because what is in its place cannot; and the copies that are tried after it.
    Copy(VecDeque<Place>),
    /// To run because an operator goes back to it.
    RollBack,
}

/// A component that is being loaded. Dropped, it is given up.
pub(super) struct Loading {
    number: u64,
    service: Service,
    facts: Facts,
    bytes: usize,
    attempt: Attempt,
    given_up: GivenUp,
}

impl Loading {
    pub(super) const fn service(&self) -> &Service {
        &self.service
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        self.given_up.give_up();
    }
}

/// What was begun, and has ended.
pub(super) enum Happened {
    /// The device's keys were opened, as far as they are there.
    Opened(Try),
    /// A component was loaded, or cannot be.
    Loaded {
        name: String,
        number: u64,
        loaded: Result<Box<Admitted>, Refusal>,
    },
    /// A component has begun in a place that was free, or it is known why it has not.
    Began { name: String, number: u64 },
    /// A component has taken its place, or has not.
    Exchanged {
        name: String,
        number: u64,
        exchanged: Result<(), Stayed>,
    },
}

/// What ends next of what was begun.
pub(super) async fn next(happening: &mut JoinSet<Happened>) -> Happened {
    loop {
        match happening.join_next().await {
            Some(Ok(happened)) => return happened,
            // None of them panics: what could is on a thread of its own.
            Some(Err(error)) => complain("", &format!("a task ended: {error}")),
            None => std::future::pending().await,
        }
    }
}

impl Gateway {
    /// Whether another component can be judged.
    pub(super) fn has_room(&self) -> bool {
        let held: usize = self.loading.values().map(|loading| loading.bytes).sum();
        !self.queue.is_empty() && (self.loading.is_empty() || held < AT_ONCE)
    }

    /// Has the next file run; where it is refused and nothing runs, the copy of the last that proved healthy.
    pub(super) async fn judge_next(&mut self) {
        let Some((service, by)) = self.queue.pop_front() else {
            return;
        };
        let name = &service.name;
        if self.running.get(name).is_some_and(Running::is_lost) {
            self.part(std::slice::from_ref(name), Running::stop).await;
        }
        if by == By::Itself && self.opening && self.waits_for_identity(&service).await {
            return;
        }
        let judged = self.verified(&service, &service.place).await;
        // Only where there is another to run: what failed is better than nothing.
        let judged = judged.and_then(|verified| {
            if let Some(held) = self.held_back(&service, &verified.facts)? {
                return Err(held);
            }
            if by == By::Itself && self.kept.of(name).is_some() {
                self.host.not_quarantined(&verified, &self.state)?;
            }
            Ok(verified)
        });
        match judged {
            Ok(verified) => self.take_up(&service, verified, Attempt::InPlace),
            Err(refusal) => {
                self.loading.remove(name);
                self.instead(&service, refusal).await;
            }
        }
    }

    /// Whether a component is meant for certain devices, and the keys that show which this is are about to be opened: it is judged
    /// then.
    async fn waits_for_identity(&self, service: &Service) -> bool {
        if self.config.known.keys.is_empty() {
            return false;
        }
        let path = service.place.component.clone();
        let names = blocking(move || Ok(names_an_audience(&path))).await;
        names.unwrap_or(false)
    }

    /// Has a component run, unless it runs already, or is on its way.
    pub(super) fn take_up(&mut self, service: &Service, verified: Verified, attempt: Attempt) {
        let name = &service.name;
        let on_its_way = self.loading.get(name).is_some_and(|loading| {
            loading.service == *service && !verified.facts.differ_from(&loading.facts)
        });
        if on_its_way {
            return;
        }
        self.loading.remove(name);
        if let Some(running) = self.running.get(name)
            && running.is_of(&verified.facts)
            && running.service == *service
        {
            if self
                .refused
                .get(name)
                .is_some_and(|refused| refused.is_of_lack)
            {
                self.refused.remove(name);
            }
            self.done.unchanged.push(name.clone());
            return;
        }
        self.load(service, verified, attempt);
    }

    fn load(&mut self, service: &Service, verified: Verified, attempt: Attempt) {
        let number = self.next_number();
        let (host, state) = (Arc::clone(&self.host), Arc::clone(&self.state));
        let (kept, wanted, given_up) = (self.kept.clone(), service.clone(), GivenUp::default());
        let loading = Loading {
            number,
            service: service.clone(),
            facts: verified.facts.clone(),
            bytes: verified.weight(),
            attempt,
            given_up: given_up.clone(),
        };
        self.loading.insert(service.name.clone(), loading);
        let span = info_span!(
            parent: &self.cause,
            "compile",
            service = service.name,
            component = Empty,
            version = Empty,
            digest = Empty,
            verdict = Empty,
            code = Empty
        );
        self.happening.spawn(async move {
            let name = wanted.name.clone();
            let work = blocking(move || {
                let log = service::lines(&wanted.name);
                // The very bytes that are about to run; what lies in their place may be another file by then.
                let bytes = verified.bytes.clone();
                let admissions = verified.admissions();
                let candidate = kept.candidate(&wanted.name, &verified.facts.file_sha256);
                // Before it is recorded as accepted: where there is no room for a copy, it is not.
                if let Some(code) = verified.code() {
                    candidate.put_down_code(code)?;
                }
                candidate.put_down(&bytes)?;
                let loaded = span.in_scope(|| host.load(&wanted, verified, log, &state, given_up));
                traces::judged(&span, loaded.as_ref().map(|admitted| &admitted.facts));
                let mut admitted = loaded?;
                span.record("code", admitted.ready.code_origin().as_str());
                // A list may have come meanwhile. What it names is remembered by nobody.
                if host.lists.names(&admitted.links) {
                    return Err(Refusal::revoked(&wanted.name));
                }
                admitted.candidate = Some(Arc::new(candidate));
                state.remember(|memory| {
                    for (signatures, admission) in admissions {
                        memory.admit(signatures, admission);
                    }
                })?;
                Ok(Box::new(admitted))
            });
            let loaded = work.await;
            Happened::Loaded {
                name,
                number,
                loaded,
            }
        });
    }

    /// Goes on with what was begun.
    pub(super) async fn note(&mut self, happened: Happened) {
        match happened {
            Happened::Opened(which) => {
                self.opening = false;
                self.keys_were_opened(which);
            }
            Happened::Loaded {
                name,
                number,
                loaded,
            } => {
                let is_wanted = |loading: &&Loading| loading.number == number;
                if self.loading.get(&name).filter(is_wanted).is_none() {
                    return;
                }
                if let Some(loading) = self.loading.remove(&name) {
                    self.was_loaded(loading, loaded).await;
                }
            }
            Happened::Began { name, number } => {
                if self.beginning.get(&name) == Some(&number) {
                    self.beginning.remove(&name);
                }
            }
            Happened::Exchanged {
                name,
                number,
                exchanged,
            } => {
                if self.exchanging.get(&name) != Some(&number) {
                    return;
                }
                self.exchanging.remove(&name);
                if let Some(running) = self.running.get_mut(&name) {
                    running.was_exchanged();
                }
                match exchanged {
                    Ok(()) => self.done.exchanged.push(name),
                    Err(Stayed(why)) => {
                        self.let_go(&name);
                        self.done.stayed.insert(name, why);
                    }
                }
            }
        }
    }

    async fn was_loaded(&mut self, mut loading: Loading, loaded: Result<Box<Admitted>, Refusal>) {
        let service = loading.service.clone();
        let attempt = std::mem::replace(&mut loading.attempt, Attempt::InPlace);
        let loaded = loaded.and_then(|admitted| {
            if self.host.lists.names(&admitted.links) {
                self.withdraw();
                return Err(Refusal::revoked(&service.name));
            }
            Ok(admitted)
        });
        match (loaded, attempt) {
            (Ok(admitted), attempt) => {
                self.put_to_work(&service, *admitted);
                match attempt {
                    Attempt::InPlace => {
                        self.refused.remove(&service.name);
                    }
                    Attempt::Copy(_) => say(
                        &service.name,
                        "the last that proved healthy runs in its place",
                    ),
                    Attempt::RollBack => {
                        self.refused.remove(&service.name);
                        let facts = &loading.facts;
                        let now = format!("rolled back to {} {}", facts.component, facts.version);
                        say(&service.name, &now);
                    }
                }
            }
            (Err(refusal), Attempt::InPlace) => self.instead(&service, refusal).await,
            (Err(refusal), Attempt::Copy(copies)) => {
                self.pass_over(&service, &refusal);
                self.try_copies(&service, copies).await;
            }
            (Err(refusal), Attempt::RollBack) => {
                self.let_go(&service.name);
                self.done.refused.insert(service.name, refusal);
            }
        }
    }

    fn put_to_work(&mut self, service: &Service, admitted: Admitted) {
        let name = service.name.clone();
        say(&name, &admitted.facts.introduction());
        let number = self.next_number();
        if let Some(running) = self.running.get_mut(&name) {
            let exchanged = running.exchange(service, admitted);
            self.exchanging.insert(name.clone(), number);
            self.happening.spawn(async move {
                Happened::Exchanged {
                    name,
                    number,
                    exchanged: exchanged.await,
                }
            });
        } else {
            let (host, state) = (Arc::clone(&self.host), Arc::clone(&self.state));
            let running = Running::start(service, admitted, host, state, self.kept.clone());
            let begun = running.begun();
            self.running.insert(name.clone(), running);
            self.done.started.push(name.clone());
            self.beginning.insert(name.clone(), number);
            self.happening.spawn(async move {
                begun.await;
                Happened::Began { name, number }
            });
        }
    }

    /// What runs when the file in its place is refused: what ran, if it is configured as it was; otherwise a copy.
    async fn instead(&mut self, service: &Service, refusal: Refusal) {
        let name = &service.name;
        self.refuse(service, refusal);
        match self.running.get(name) {
            Some(running) if running.service == *service => return,
            // It was started under what the operator wanted before, and may be more than he wants now.
            Some(_) => {
                say(name, "stopped: it is configured otherwise now");
                self.part(std::slice::from_ref(name), Running::stop).await;
            }
            None => {}
        }
        let copies = self.kept.copies(name).into();
        self.try_copies(service, copies).await;
    }

    async fn try_copies(&mut self, service: &Service, mut copies: VecDeque<Place>) {
        while let Some(copy) = copies.pop_front() {
            match self.verified(service, &copy).await {
                Ok(verified) => {
                    let file = &verified.facts.file_sha256;
                    if !self.kept.is_held(&service.name, file) {
                        self.load(service, verified, Attempt::Copy(copies));
                        return;
                    }
                }
                Err(refusal) => self.pass_over(service, &refusal),
            }
        }
    }

    /// A copy does not run. Where only something was lacking for that, the service is tried again.
    fn pass_over(&mut self, service: &Service, refusal: &Refusal) {
        refusal.tell_of_copy(&service.name);
        if refusal.is_of_lack {
            self.lacking.note(&service.name);
        }
    }

    fn refuse(&mut self, service: &Service, refusal: Refusal) {
        let name = service.name.clone();
        if refusal.is_of_lack {
            self.lacking.note(&name);
        }
        match self.refused.get(&name) {
            // Tried again by itself, and said already.
            Some(known) if *known == refusal => {
                self.done.refused.entry(name).or_insert(refusal);
                return;
            }
            // It is another now.
            Some(known) if known.is_of_lack => drop(self.refused.remove(&name)),
            _ => {}
        }
        let code = refusal.code.unwrap_or("cannot be used");
        warn(
            &name,
            &format!("refused: {code}: {}; next: {}", refusal.why, refusal.next),
        );
        refusals::note(&name, &refusal);
        // That what ran was revoked weighs more than what is wrong with the file in its place.
        self.refused
            .entry(name.clone())
            .or_insert_with(|| refusal.clone());
        self.done.refused.entry(name).or_insert(refusal);
    }

    pub(super) async fn verified(
        &self,
        service: &Service,
        place: &Place,
    ) -> Result<Verified, Refusal> {
        let (host, service, place) = (Arc::clone(&self.host), service.clone(), place.clone());
        let state = Arc::clone(&self.state);
        let span = info_span!(
            parent: &self.cause,
            "verify",
            service = service.name,
            component = Empty,
            version = Empty,
            digest = Empty,
            verdict = Empty
        );
        blocking(move || {
            let judged = span.in_scope(|| host.judge(&service, &place, &state));
            traces::judged(&span, judged.as_ref().map(|verified| &verified.facts));
            judged
        })
        .await
    }

    /// Opens the device's keys, on a thread for what blocks.
    pub(super) fn open_keys(&self, keys: BTreeMap<String, Key>, which: Try) -> JoinHandle<()> {
        let host = Arc::clone(&self.host);
        let state = Arc::clone(&self.state);
        let turn = host.keys.turn();
        tokio::task::spawn_blocking(move || {
            host.keys.lend(&keys, which, turn);
            if let Err(error) = host.identify(&state) {
                complain(
                    "",
                    &format!("which device this is was not remembered: {error:#}"),
                );
            }
        })
    }

    /// The same, while the gateway goes on.
    pub(super) fn open_keys_meanwhile(&mut self, which: Try) {
        let opening = self.open_keys(self.config.known.keys.clone(), which);
        self.opening = true;
        self.happening.spawn(async move {
            if let Err(error) = opening.await {
                complain("", &format!("the device's keys were not opened: {error}"));
            }
            Happened::Opened(which)
        });
    }

    fn next_number(&mut self) -> u64 {
        self.number = self.number.wrapping_add(1);
        self.number
    }
}
