//! One service: started, watched, started again, exchanged, stopped.
//!
//! Decides what follows each end of its component. A component that was exchanged and does not prove healthy gives its place
//! back to the one before; the version that must not fall is raised only after it did, and after the one before has finished what
//! it had under way.

mod beside;
mod commands;
mod fall_back;
mod fit;
mod leaving;
mod log;
mod status;
#[cfg(test)]
mod tests;
mod waits;
mod work;

use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_runtime::audit::Record;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tracing::field::Empty;
use tracing::{Instrument as _, Span, info_span};

use crate::admission::{Admitted, Facts, Host, Refusal};
use crate::config::{Restart, Service, When, Work};
use crate::kept::Kept;
use crate::say::{complain, say, warn};
use crate::schedule::{Due, LOOK_EVERY, Look, Reading};
use crate::state::State;
use crate::traces;
use beside::After;
use commands::Commands;
use fit::Fit;
pub(crate) use leaving::Leaving;
pub(crate) use log::lines;
pub(crate) use status::{Doing, Status, refused};
use status::{Used, about_to_run, running};
use waits::Waits;
use work::{Asked, AtWork, Ended, Failure, probe};

/// How long what lacks its address waits before it tries again.
const ADDRESS: Duration = Duration::from_secs(2);

/// The least time between two tries to remember that a component is healthy.
const RETRY: Duration = Duration::from_secs(60);

/// How long after a trial it is remembered at the latest.
const HELD: Duration = Duration::from_secs(1);

/// Why a component did not take the place of what runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stayed(pub(crate) String);

/// What is to take the place of what runs.
struct Next {
    service: Service,
    admitted: Admitted,
    /// Whoever waits for what becomes of it.
    told: oneshot::Sender<Result<(), Stayed>>,
}

/// What a running service can be told.
enum Command {
    /// To run this instead.
    Exchange(Box<Next>),
    /// To end, whatever is under way.
    StopAtOnce,
}

/// A service that is looked after. Dropped, it ends.
pub(crate) struct Running {
    pub(crate) service: Service,
    /// Whether it may still be answering requests while it is to run something else.
    answers: bool,
    commands: mpsc::UnboundedSender<Command>,
    status: watch::Receiver<Status>,
    task: JoinHandle<()>,
}

impl Running {
    /// Starts a service with its component.
    pub(crate) fn start(
        service: &Service,
        admitted: Admitted,
        host: Arc<Host>,
        state: Arc<State>,
        kept: Kept,
    ) -> Self {
        // What is told is bounded by what an operator does.
        let (commands, received) = mpsc::unbounded_channel();
        let (told, status) = watch::channel(Status {
            name: service.name.clone(),
            doing: about_to_run(&service.work, false),
            starts: 0,
            facts: Some(admitted.facts.clone()),
            links: Arc::clone(&admitted.links),
            newer: None,
            proved: false,
            messages: admitted.post.as_ref().map(|post| post.numbers.clone()),
            used: Used(Arc::clone(admitted.ready.granted().usage())),
        });
        let supervision = Supervision {
            host,
            state,
            kept,
            commands: Commands::of(received),
            told,
            waits: Waits::new(service.restart),
            service: service.clone(),
            current: admitted,
            proved: false,
            again: None,
            began: Instant::now(),
            probed: false,
            leaving: None,
            before: Vec::new(),
        };
        Self {
            service: service.clone(),
            answers: matches!(service.work, Work::Http(_)),
            commands,
            status,
            task: tokio::spawn(supervision.run()),
        }
    }

    /// Waits until it runs, which one with an address does once that is open, or it is known why it does not.
    pub(crate) fn begun(&self) -> impl Future<Output = ()> + Send + use<> {
        begun(self.status.clone())
    }

    /// Has it run another component from now on: whether that has taken its place, once that is known and it has begun there.
    pub(crate) fn exchange(
        &mut self,
        service: &Service,
        admitted: Admitted,
    ) -> impl Future<Output = Result<(), Stayed>> + Send + use<> {
        self.service = service.clone();
        self.answers |= matches!(service.work, Work::Http(_));
        let (told, answer) = oneshot::channel();
        let next = Next {
            service: service.clone(),
            admitted,
            told,
        };
        // The task ends with this alone; then nobody answers.
        let _ = self.commands.send(Command::Exchange(Box::new(next)));
        let status = self.status.clone();
        async move {
            let gone = || Stayed("what it was to take the place of was stopped".to_owned());
            answer.await.unwrap_or_else(|_| Err(gone()))?;
            begun(status).await;
            Ok(())
        }
    }

    /// Notes that what it was told to run has its place.
    pub(crate) fn was_exchanged(&mut self) {
        self.answers = matches!(self.service.work, Work::Http(_));
    }

    /// Whether it may have requests to finish.
    pub(crate) const fn may_answer(&self) -> bool {
        self.answers
    }

    /// What it is doing.
    pub(crate) fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// What it is doing, for whoever looks again and again.
    pub(crate) fn watch(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Whether this is what it runs, or ran last.
    pub(crate) fn is_of(&self, facts: &Facts) -> bool {
        let status = self.status.borrow();
        let running = status.facts.as_ref();
        running.is_some_and(|running| !facts.differ_from(running))
    }

    /// Whether nobody looks after it any more, which is a fault of this program.
    pub(crate) fn is_lost(&self) -> bool {
        self.task.is_finished()
    }

    /// Ends it, its component included, when that has finished what it has under way.
    pub(crate) async fn stop(self) {
        drop(self.commands);
        let _ = self.task.await;
    }

    /// Ends it and its component, whatever that has under way.
    pub(crate) async fn stop_at_once(self) {
        let _ = self.commands.send(Command::StopAtOnce);
        self.stop().await;
    }
}

struct Supervision {
    host: Arc<Host>,
    state: Arc<State>,
    kept: Kept,
    commands: Commands,
    waits: Waits,
    told: watch::Sender<Status>,
    service: Service,
    current: Admitted,
    proved: bool,
    /// When it is tried to be remembered that it is: only told while a bundle was on trial, or it could not be written.
    again: Option<tokio::time::Instant>,
    /// When it was first put to work.
    began: Instant,
    /// Whether what is current said that it is healthy.
    probed: bool,
    /// What tells the one that was exchanged that the next has its place. Dropped, it ends at once.
    leaving: Option<oneshot::Sender<()>>,
    /// Those that were exchanged and finish what they have under way.
    before: Vec<JoinHandle<()>>,
}

/// What follows from what it was told.
enum Heeded {
    /// What runs goes on.
    GoesOn,
    /// This runs now, and is asked in so long whether it is healthy.
    Next { at_work: AtWork, wait: Duration },
    /// What runs ends, whatever it has under way.
    AtOnce,
    /// What runs ends, or hands over.
    Event(Event),
}

/// What ends the watch over one run.
enum Event {
    Ended(Ended),
    Exchange(Box<Next>),
    Stop,
}

impl Supervision {
    async fn run(mut self) {
        let mut due = self.schedule();
        loop {
            match self.until_due(due.as_mut()).await {
                None => {}
                Some(Event::Exchange(next)) => {
                    self.exchange(*next);
                    due = self.schedule();
                    continue;
                }
                Some(_) => return,
            }
            self.told.send_modify(|status| {
                status.doing = about_to_run(&self.service.work, self.proved);
                status.proved = self.proved;
                status.facts = Some(self.current.facts.clone());
                status.links = Arc::clone(&self.current.links);
                let post = self.current.post.as_ref();
                status.messages = post.map(|post| post.numbers.clone());
                status.used = Used(Arc::clone(self.current.ready.granted().usage()));
            });
            // After it was told what is about to run: whoever exchanges the lists, or withdraws a version, looks there afterwards, so
            // that one of the two sees the other's.
            if let Some(refusal) = self.is_forbidden(&self.current) {
                self.leaving = None;
                warn(&self.service.name, &format!("not started: {}", refusal.why));
                self.told
                    .send_modify(|status| status.doing = Doing::Refused(refusal));
                match self.pause(None).await {
                    Some(Event::Exchange(next)) => {
                        self.exchange(*next);
                        due = self.schedule();
                    }
                    _ => return,
                }
                continue;
            }
            self.told
                .send_modify(|status| status.starts = status.starts.saturating_add(1));
            let started = Instant::now();
            let run = self.run_span();
            let event = self.watch().instrument(run.clone()).await;
            let ended = match event {
                Event::Stop => {
                    let accepted = self.current.ready.record();
                    let record = accepted.stopped(None, "the gateway was told to stop it");
                    self.put_down(&record);
                    return;
                }
                Event::Exchange(next) => {
                    let accepted = self.current.ready.record();
                    let record = accepted.stopped(None, "another component takes its place");
                    self.put_down(&record);
                    self.exchange(*next);
                    due = self.schedule();
                    continue;
                }
                Event::Ended(ended) => ended,
            };
            let succeeded = matches!(ended, Ok(0));
            let how = self.record(&self.current, &ended);
            let verdict = match &ended {
                Ok(_) => "ended",
                Err(failure) => failure.verdict(),
            };
            run.record("verdict", verdict);
            drop(run);
            say(&self.service.name, &format!("its component {how}"));
            // What it proved before it failed, while a bundle was on trial, is not remembered.
            self.again = self.again.filter(|_| succeeded);
            if succeeded && !self.proved && self.service.restart.when != When::Always {
                self.prove();
            }
            // What could not even begin, because its address or the key for that is not there, is waited for.
            let has_no_address = ended.as_ref().is_err_and(Failure::has_no_address);
            if !self.proved && !succeeded && !has_no_address {
                match self.fall_back(&how).await {
                    Ok(true) => {
                        self.waits = Waits::new(self.service.restart);
                        continue;
                    }
                    Ok(false) => {}
                    Err(Event::Exchange(next)) => {
                        self.exchange(*next);
                        due = self.schedule();
                        continue;
                    }
                    Err(_) => return,
                }
            }
            if let Some(due) = &mut due {
                due.ran(self.reading(), &how, started.elapsed());
                continue;
            }
            let wait = match has_no_address {
                true => Some(ADDRESS),
                false => self.waits.next(succeeded, started.elapsed()),
            };
            self.told.send_modify(|status| {
                status.doing = match wait {
                    Some(wait) => Doing::Waiting {
                        milliseconds: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                        ended: how,
                        has_no_address,
                    },
                    None => Doing::Ended { ended: how },
                };
            });
            let event = match wait {
                None if succeeded => self.idle(None).await,
                wait => self.pause(wait).await,
            };
            match event {
                None => {}
                Some(Event::Exchange(next)) => {
                    self.exchange(*next);
                    due = self.schedule();
                }
                Some(_) => return,
            }
        }
    }

    /// The due times of its component, from now on, if it has a schedule.
    fn schedule(&self) -> Option<Due> {
        match &self.service.work {
            Work::Schedule(schedule) => Some(Due::begin(schedule, self.reading())),
            Work::Command | Work::Http(_) | Work::Messages(_) => None,
        }
    }

    /// A run that ends by itself, for whoever watches; one that goes on for years has no span.
    fn run_span(&self) -> Span {
        let Work::Schedule(_) = self.service.work else {
            return Span::none();
        };
        let span = info_span!(
            "run",
            service = self.service.name,
            component = Empty,
            version = Empty,
            digest = Empty,
            verdict = Empty
        );
        traces::of(&span, &self.current.facts);
        span
    }

    fn reading(&self) -> Reading {
        Reading {
            steady: self.began.elapsed(),
            date: self.host.clock.now().clock(),
        }
    }

    /// Waits until the component is due, if it has a schedule.
    async fn until_due(&mut self, due: Option<&mut Due>) -> Option<Event> {
        let due = due?;
        loop {
            let (wait, at) = match due.look(self.reading()) {
                Look::Due => return self.idle(Some(due.jitter())).await,
                Look::Wait(wait, at) => (wait, at.map(|at| at.to_string())),
                Look::NoDate => (
                    LOOK_EVERY,
                    Some("when this machine knows the date: its clock is wrong; set it".to_owned()),
                ),
            };
            self.told.send_modify(|status| {
                status.doing = Doing::Scheduled {
                    due: at,
                    milliseconds: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                    ended: due.ended().map(str::to_owned),
                    missed: due.missed(),
                };
            });
            let event = self.idle(Some(wait.min(LOOK_EVERY))).await;
            if event.is_some() {
                return event;
            }
        }
    }

    /// Why something must not run any more, as of now.
    fn is_forbidden(&self, admitted: &Admitted) -> Option<Refusal> {
        let (facts, links) = (&admitted.facts, &admitted.links);
        self.host
            .forbids(&self.service.name, facts, links, &self.state)
    }

    /// Runs the component until something happens. Whatever it is, the component is gone afterwards; but one that hands its place
    /// over stays until the next has it.
    async fn watch(&mut self) -> Event {
        let span = info_span!(
            "start-component",
            service = self.service.name,
            component = Empty,
            version = Empty,
            digest = Empty,
            verdict = Empty
        );
        traces::of(&span, &self.current.facts);
        let begun = self.begin().instrument(span.clone()).await;
        let verdict = match &begun {
            Some(Ok(_)) => "started",
            Some(Err(failure)) => failure.verdict(),
            None => "told to stop",
        };
        span.record("verdict", verdict);
        drop(span);
        // What cannot begin for want of its address leaves that of the one before to it.
        let has_its_place = !matches!(&begun, Some(Err(failure)) if failure.has_no_address());
        if let Some(leaving) = self.leaving.take_if(|_| has_its_place) {
            // It finishes what it has under way, while the next one does the rest. It may be gone already.
            let _ = leaving.send(());
        }
        match begun {
            Some(Ok(at_work)) => {
                self.told
                    .send_modify(|status| status.doing = running(self.proved));
                self.attend(at_work, Self::ask).await
            }
            Some(Err(failure)) => Event::Ended(Err(failure)),
            None => Event::Stop,
        }
    }

    /// Watches over what is at work, and asks it so whether it is healthy.
    async fn attend(&mut self, mut at_work: AtWork, ask: impl Fn(&Self) -> Asked) -> Event {
        let healthy_after = self.service.restart.healthy_after;
        let mut healthy = std::pin::pin!(sleep(healthy_after));
        // Asked, it may take its time to answer.
        let mut asked = Asked::default();
        let mut is_fit = false;
        let event = loop {
            let is_to_be_asked = !self.proved && !is_fit && !asked.is_under_way();
            tokio::select! {
                // What has ended is not healthy, where both are seen at once.
                biased;
                ended = at_work.ended() => return Event::Ended(ended),
                () = &mut healthy, if is_to_be_asked => asked = ask(self),
                answer = asked.answer() => {
                    if let Err(failure) = answer {
                        return Event::Ended(Err(failure));
                    }
                    is_fit = true;
                }
                // What is on trial is only told, and waits for nobody.
                () = gone(&mut self.before, self.host.hold.is_on()), if is_fit => {
                    is_fit = false;
                    self.prove();
                    // Where it could not be remembered, it is tried again.
                    let again = match self.host.hold.is_on() {
                        true => HELD,
                        false => healthy_after.max(RETRY),
                    };
                    let again = tokio::time::Instant::now() + again;
                    healthy.as_mut().reset(again);
                }
                command = self.commands.recv() => {
                    // Nobody would hear the answer, for whose sake others would wait. It is asked again.
                    asked = Asked::default();
                    match self.heed(&mut at_work, command).await {
                        Heeded::GoesOn => {}
                        Heeded::Next { at_work: next, wait } => {
                            at_work = next;
                            is_fit = false;
                            healthy.as_mut().reset(tokio::time::Instant::now() + wait);
                        }
                        // Dropped, what is at work is gone.
                        Heeded::AtOnce => return Event::Stop,
                        Heeded::Event(event) => break event,
                    }
                }
            }
        };
        let hands_over = match &event {
            Event::Exchange(next) => {
                self.remember_before(&next.admitted.facts);
                at_work.hands_over_to(&next.service)
            }
            Event::Ended(_) | Event::Stop => false,
        };
        let seen_off = self.see_off(at_work, hands_over);
        if hands_over {
            self.before.retain(|one| !one.is_finished());
            self.before.push(tokio::spawn(seen_off));
        } else {
            seen_off.await;
        }
        event
    }

    /// Asks what is current whether it is healthy.
    fn ask(&self) -> Asked {
        let (host, ready) = (Arc::clone(&self.host), self.current.ready.clone());
        let service = self.service.clone();
        Asked::by(async move { probe(&service, &ready, &host).await })
    }

    /// Does what it was told.
    async fn heed(&mut self, at_work: &mut AtWork, mut command: Option<Command>) -> Heeded {
        loop {
            let next = match command {
                Some(Command::Exchange(next)) => next,
                Some(Command::StopAtOnce) => return Heeded::AtOnce,
                None => return Heeded::Event(Event::Stop),
            };
            if self.goes_beside(&next) {
                return match self.beside(at_work, next).await {
                    After::Before => Heeded::GoesOn,
                    After::Next { at_work, wait } => Heeded::Next { at_work, wait },
                    After::Event(event) => Heeded::Event(event),
                };
            }
            command = match self.fit(next).await {
                Fit::Takes(next) => return Heeded::Event(Event::Exchange(next)),
                Fit::Stays => return Heeded::GoesOn,
                Fit::Told(other) => other,
            };
        }
    }

    /// Has what is at work finish what it has under way; where it hands its place over, once the next has that. Until it is gone it is
    /// among those that are leaving.
    fn see_off(&mut self, at_work: AtWork, hands_over: bool) -> impl Future<Output = ()> + use<> {
        let handed_over = hands_over.then(|| {
            let (next, handed_over) = oneshot::channel();
            self.leaving = Some(next);
            handed_over
        });
        let (host, state) = (Arc::clone(&self.host), Arc::clone(&self.state));
        let (admitted, name) = (self.current.clone(), self.service.name.clone());
        async move {
            let (facts, links) = (&admitted.facts, &admitted.links);
            let is_forbidden = || host.forbids(&name, facts, links, &state).is_some();
            let end = async {
                let has_time = match handed_over {
                    Some(handed_over) => handed_over.await.is_ok(),
                    None => true,
                };
                if has_time {
                    at_work.end().await;
                }
            };
            host.leaving.see_off(facts, links, is_forbidden, end).await;
        }
    }

    /// Puts the component to work, if it is fit for it. Whoever wants it to stop meanwhile is heard: by then its place may be
    /// another's.
    async fn begin(&mut self) -> Option<Result<AtWork, Failure>> {
        let mut asked = match self.probed {
            true => Asked::by(async { Ok(()) }),
            false => self.ask(),
        };
        self.begin_by(asked.answer()).await
    }

    /// The same by what it says itself; none when it is to stop.
    async fn begin_by(
        &mut self,
        probed: impl Future<Output = Result<(), Failure>>,
    ) -> Option<Result<AtWork, Failure>> {
        let probed = tokio::select! {
            biased;
            () = self.commands.stop() => return None,
            probed = probed => probed,
        };
        if let Err(failure) = probed {
            return Some(Err(failure));
        }
        self.probed = true;
        // That took its time.
        if let Some(refusal) = self.is_forbidden(&self.current) {
            return Some(Err(Failure::forbidden(&refusal)));
        }
        tokio::select! {
            biased;
            () = self.commands.stop() => None,
            begun = AtWork::begin(&self.service, &self.current, &self.host) => Some(begun),
        }
    }

    /// Waits before the next start; for ever if there is none.
    async fn pause(&mut self, wait: Option<Duration>) -> Option<Event> {
        let waited = async {
            match wait {
                Some(wait) => sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = waited => None,
            command = self.commands.recv() => Some(match command {
                Some(Command::Exchange(next)) => Event::Exchange(next),
                Some(Command::StopAtOnce) | None => Event::Stop,
            }),
        }
    }

    /// The same after a run that ended well. If a bundle was on trial then, that is remembered when the trial has ended.
    async fn idle(&mut self, wait: Option<Duration>) -> Option<Event> {
        let end = wait.map(|wait| tokio::time::Instant::now() + wait);
        loop {
            let next = self.again.into_iter().chain(end).min();
            let left = next.map(|next| next.saturating_duration_since(tokio::time::Instant::now()));
            let event = self.pause(left).await;
            if let Some(Event::Exchange(next)) = &event {
                self.remember_before(&next.admitted.facts);
            }
            if event.is_some() || next == end {
                return event;
            }
            self.prove();
        }
    }

    /// Has it remembered that the component is healthy; while a bundle is on trial, only told.
    fn prove(&mut self) {
        if self.host.hold.is_on() {
            self.told.send_modify(|status| {
                status.proved = true;
                if let Doing::Running { healthy, .. } = &mut status.doing {
                    *healthy = true;
                }
            });
            self.again = Some(tokio::time::Instant::now() + HELD);
            return;
        }
        self.again = None;
        // Asked after the hold, which ends later: what came with a bundle that failed is told to go, and may not have heard it.
        if self.current.is_refused() || self.is_forbidden(&self.current).is_some() {
            return;
        }
        let remembered = tokio::task::block_in_place(|| {
            let current = &self.current;
            // First the copy: a version that is remembered and cannot be had any more would leave nothing to run.
            self.kept
                .keep(&self.service.name, &current.facts.file_sha256)?;
            self.host.prove(current, &self.state)
        });
        match remembered {
            Ok(()) => {
                self.proved = true;
                self.told.send_modify(|status| {
                    status.proved = true;
                    status.newer = None;
                    if let Doing::Running { healthy, .. } = &mut status.doing {
                        *healthy = true;
                    }
                });
            }
            // It goes on running, and the version before it stays admissible until this is mended.
            Err(error) => {
                self.again = Some(tokio::time::Instant::now() + RETRY);
                complain(
                    &self.service.name,
                    &format!("that it is healthy could not be remembered: {error:#}"),
                );
            }
        }
    }

    /// What was only told to be healthy, because a bundle was on trial, is remembered to be before anything newer takes its place: that
    /// is what runs again if the next one fails.
    fn remember_before(&mut self, next: &Facts) {
        let was_told = self.again.is_some();
        let is_alone = self.before.iter().all(JoinHandle::is_finished);
        let goes_on = next.security_version >= self.current.facts.security_version;
        if was_told && is_alone && goes_on && !self.host.hold.is_on() {
            self.prove();
        }
    }

    fn exchange(&mut self, next: Next) {
        let Next {
            service,
            admitted,
            told,
        } = next;
        self.waits = Waits::new(service.restart);
        self.current = admitted;
        self.proved = false;
        self.again = None;
        self.probed = false;
        self.service = service;
        // Whoever looks sees the next from now on, also while it waits until it is due.
        self.told.send_modify(|status| {
            status.doing = about_to_run(&self.service.work, false);
            status.proved = false;
            status.newer = None;
            status.facts = Some(self.current.facts.clone());
            status.links = Arc::clone(&self.current.links);
        });
        // Nobody may wait.
        let _ = told.send(Ok(()));
    }

    /// Writes a record, which waits for the disk: on no thread that components run on.
    fn put_down(&self, record: &Record) {
        tokio::task::block_in_place(|| self.host.records.write(record));
    }

    /// Makes the record of a component's end, and says it in words.
    fn record(&self, of: &Admitted, ended: &Ended) -> String {
        let accepted = of.ready.record();
        let (record, how) = match ended {
            Ok(status) => (
                accepted.exited(*status),
                format!("ended with status {status}"),
            ),
            Err(failure) => {
                let why = &failure.why;
                let how = match failure.code() {
                    Some(code) => format!("was stopped ({code}): {why}"),
                    None => format!("was stopped: {why}"),
                };
                (accepted.stopped(failure.code(), why), how)
            }
        };
        self.put_down(&record);
        how
    }
}

/// Waits until what is told of a service is no more that it starts.
async fn begun(mut status: watch::Receiver<Status>) {
    // Whoever does not look after it any more says nothing more of it.
    let _ = status
        .wait_for(|status| !matches!(status.doing, Doing::Starting))
        .await;
}

/// Waits until nothing of these is under way any more, unless that is not waited for.
async fn gone(those: &mut Vec<JoinHandle<()>>, at_once: bool) {
    while let Some(one) = those.last_mut().filter(|_| !at_once) {
        // That it panicked, it has said.
        let _ = one.await;
        those.pop();
    }
}

impl Restart {
    /// Whether there is a start after an end.
    fn again(self, succeeded: bool) -> bool {
        match self.when {
            When::Always => true,
            When::OnFailure => !succeeded,
            When::Never => false,
        }
    }
}
