//! The gateway: all services of a configuration, from the start to the stop, and what a reload changes.
//!
//! Decides that one bad component keeps nothing but itself from running, and that a configuration that is wrong anywhere
//! changes nothing.

mod again;
mod answers;
mod loading;
mod reload;
mod roll_back;
mod trial;

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use countersign_hosting::AuditLog;
use countersign_runtime::audit::Record;
use countersign_runtime::{Program, Runtime};
use countersign_trust_store::{Anchors, Code, Rejection};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};
use tracing::{Instrument as _, Span, info_span};

use self::again::Lacking;
use self::answers::{Said, Waiting};
use self::loading::{Happened, Loading};
use self::reload::Reloaded;
use self::trial::Trial;
use crate::admission::{Host, Refusal};
use crate::bundle::Hold;
use crate::clock::Clock;
use crate::code::Equipment;
use crate::config::{Config, Service};
use crate::confine::Confinement;
use crate::control::{Control, Order};
use crate::http::Server;
use crate::identity::Identity;
use crate::kept::Kept;
use crate::keys::{Keys, Try};
use crate::lack::is_of_lack;
use crate::lists::{Given, Lists};
use crate::manager::Manager;
use crate::opening::Opening;
use crate::say::{complain, say, warn};
use crate::serve::Pages;
use crate::service::{Leaving, Running};
use crate::state::{Guard, PutBack, State};
use crate::view::{Phase, Shown, View};

/// How often the time that has certainly passed is remembered (10 minutes): what a power cut may take of it, and a write to
/// flash each.
const FLOOR_EVERY: Duration = Duration::from_secs(600);

/// How often what lacked something, hardware above all, is tried again (10 seconds).
const AGAIN_EVERY: Duration = Duration::from_secs(10);

/// Why a gateway did not start.
#[derive(Debug)]
pub(crate) enum NotStarted {
    /// Its roots do not allow anything to run.
    Refused(Code, String),
    /// Usage, configuration, or this machine.
    Misused(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for NotStarted {
    fn from(error: E) -> Self {
        Self::Misused(error.into())
    }
}

impl NotStarted {
    /// For what a state's folder is refused for.
    pub(crate) fn of_state(error: anyhow::Error) -> Self {
        match error.downcast_ref::<PutBack>() {
            Some(put_back) => Self::Refused(Code::StateRollback, put_back.to_string()),
            None => Self::Misused(error),
        }
    }
}

/// The roots of this program, if they let anything run: some, and none for development.
pub(crate) fn roots() -> Result<Anchors, NotStarted> {
    let refused = |code, why: String| Err(NotStarted::Refused(code, why));
    let anchors = match countersign_roots::anchors() {
        Ok(anchors) => anchors,
        Err(error) => return refused(Code::RootUnusable, error.to_string()),
    };
    if anchors.is_empty() {
        return refused(Code::NoRoot, Rejection::NoRoot.to_string());
    }
    if let Some(anchor) = anchors.iter().find(|anchor| anchor.is_development()) {
        let why = format!(
            "this gateway contains the development root {}; countersign-run is for trying things",
            anchor.subject()
        );
        return refused(Code::RootUnusable, why);
    }
    Ok(anchors)
}

/// Who has a component judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// The gateway, at its start.
    Itself,
    /// Somebody who has it reload.
    Operator,
}

/// Where a change of the configuration leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// To what an operator wants: nothing is changed where something is missing.
    On,
    /// To what was before: as much of it as there is.
    Back,
}

/// A gateway that runs.
pub(crate) struct Gateway {
    path: PathBuf,
    config: Config,
    host: Arc<Host>,
    state: Arc<State>,
    kept: Kept,
    running: BTreeMap<String, Running>,
    refused: BTreeMap<String, Refusal>,
    lacking: Lacking,
    /// Whether there was no room for records when that was last looked at.
    is_short_of_room: bool,
    view: Arc<View>,
    confinement: Confinement,
    trial: Option<Trial>,
    /// What is to be judged yet, in this order.
    queue: VecDeque<(Service, By)>,
    /// What is being compiled or loaded, by service.
    loading: BTreeMap<String, Loading>,
    /// What is to begin in a place that was free, by service.
    beginning: BTreeMap<String, u64>,
    /// What is to take a place, by service.
    exchanging: BTreeMap<String, u64>,
    /// What was told to stop, and finishes what it has under way.
    parting: JoinSet<()>,
    /// Whether the device's keys are being opened.
    opening: bool,
    /// The last number of something that was begun.
    number: u64,
    happening: JoinSet<Happened>,
    /// Since all had ended the last time.
    done: Reloaded,
    waiting: Vec<Waiting>,
    /// The span of what had it done that is under way.
    cause: Span,
    program: Program,
}

impl Gateway {
    /// Takes the state, and builds what all services share. Nothing runs yet.
    pub(crate) fn new(
        path: &Path,
        config: Config,
        confinement: Confinement,
    ) -> Result<Self, NotStarted> {
        let anchors = roots()?;
        let counter = config.counter.as_ref().map(Guard::open).transpose()?;
        let state = State::open(&config.state, counter).map_err(NotStarted::of_state)?;
        config.is_whole()?;
        let state = Arc::new(state);
        let kept = Kept::in_state(&config.state)?;
        let clock = Clock::start(state.memory().floor());
        let records = Arc::new(AuditLog::open_kept(&config.records())?);
        let equipment = Equipment::open(&config.state, &config.compile)?;
        // One for all: keys that are shown on addresses and keys that are lent may be in one store.
        let opening = Arc::<Opening>::default();
        let http = {
            let opening = Arc::clone(&opening);
            let (anchors, policy) = (anchors.clone(), config.policy.clone());
            let equipment = equipment.clone();
            Server::new(config.http, Arc::clone(&records), opening, move || {
                let builder = Runtime::builder(anchors.clone()).policy(policy.clone());
                equipment.of(builder)
            })
        };
        let runtime = {
            let records = Arc::clone(&records);
            equipment
                .of(Runtime::builder(anchors))
                .policy(config.policy.clone())
                .audit(move |record: &Record| {
                    // Acceptances are recorded by whoever starts them.
                    if !record.is_accepted() {
                        records.write(record);
                    }
                })
                .build()
                .context("the runtime cannot be built")?
        };
        let host = Arc::new(Host {
            runtime,
            keys: Keys::new(Arc::clone(&records), opening),
            identity: Identity::default(),
            records,
            clock,
            lists: Lists::default(),
            compile: config.compile,
            hold: Hold::default(),
            http: Arc::new(http),
            leaving: Leaving::default(),
        });
        let gateway = Self {
            path: path.to_owned(),
            config,
            view: Arc::new(View::new(
                Arc::clone(&host),
                Arc::clone(&state),
                confinement.clone(),
            )),
            confinement,
            host,
            state,
            kept,
            running: BTreeMap::new(),
            refused: BTreeMap::new(),
            lacking: Lacking::default(),
            is_short_of_room: false,
            trial: None,
            queue: VecDeque::new(),
            loading: BTreeMap::new(),
            beginning: BTreeMap::new(),
            exchanging: BTreeMap::new(),
            parting: JoinSet::new(),
            opening: false,
            number: 0,
            happening: JoinSet::new(),
            done: Reloaded::default(),
            waiting: Vec::new(),
            cause: Span::none(),
            // Where nobody says where it lies, it stays.
            program: Program::of_this_process().unwrap_or_default(),
        };
        gateway.tidy();
        gateway.show();
        Ok(gateway)
    }

    /// Runs until it is told to stop.
    ///
    /// # Errors
    /// If this machine does not let it begin.
    pub(crate) async fn run(mut self) -> anyhow::Result<()> {
        let mut stopping = std::pin::pin!(told_to_stop()?);
        let mut hang_up = signal(SignalKind::hangup()).context("SIGHUP cannot be watched")?;
        let mut control = Control::open(&self.config.control, Arc::clone(&self.view))?;
        let _pages = match self.config.status {
            Some(page) => Some(Pages::open(page, Arc::clone(&self.view)).await?),
            None => None,
        };
        let mut manager = Manager::new();
        let mut remembering = interval(FLOOR_EVERY);
        remembering.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut again = interval_at(Instant::now() + AGAIN_EVERY, AGAIN_EVERY);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        manager.busy();
        self.cause = info_span!("start");
        self.cause.clone().in_scope(|| self.start());
        loop {
            self.settle(&mut manager);
            let has_room = self.has_room();
            // Whatever is done takes its time, and whoever stops the gateway does not wait for it.
            let next = tokio::select! {
                () = &mut stopping => break,
                () = manager.beat() => continue,
                _ = remembering.tick() => {
                    self.remember_floor();
                    continue;
                }
                Some(_) = self.parting.join_next() => continue,
                happened = loading::next(&mut self.happening) => Next::Happened(happened),
                () = trial::glance(self.trial.as_ref()) => Next::Glance,
                _ = hang_up.recv() => Next::Order(Order::Reload { wait: true }, None),
                (order, answer) = control.next() => Next::Order(order, Some(answer)),
                _ = again.tick() => Next::Again,
                () = answers::until(self.waiting.first()) => Next::Late,
                () = std::future::ready(()), if has_room => Next::Judge,
            };
            if let Next::Order(Order::Reload { .. } | Order::Apply(_), _) = &next {
                manager.reloading();
                self.view.enter(Phase::Reloading);
            }
            tokio::select! {
                () = manager.during(self.go_on(next)) => {}
                () = &mut stopping => break,
            }
        }
        self.view.enter(Phase::Stopping);
        manager.stopping();
        say("", "stopping");
        // Nobody waits for what compiles.
        self.loading.clear();
        for waiting in std::mem::take(&mut self.waiting) {
            waiting.refuse("the gateway is stopping");
        }
        // All at the same time: some have work to finish.
        for running in std::mem::take(&mut self.running).into_values() {
            self.parting.spawn(running.stop());
        }
        while self.parting.join_next().await.is_some() {}
        self.remember_floor();
        if let Err(error) = tokio::task::block_in_place(|| self.host.records.flush()) {
            warn(
                "",
                &format!("the records are whole only with their journal: {error:#}"),
            );
        }
        Ok(())
    }

    /// Does one thing.
    async fn go_on(&mut self, next: Next) {
        match next {
            Next::Glance => self.watch_trial().await,
            Next::Happened(happened) => self.note(happened).await,
            Next::Again => self.try_again().await,
            Next::Judge => self.judge_next().await,
            Next::Late => self.answer_late(),
            Next::Order(order, answer) => self.carry_out(order, answer).await,
        }
        if let Err(error) = self.host.records.check() {
            complain("", &format!("a record was lost: {error:#}"));
        }
        self.tell_of_room();
        self.show();
    }

    /// Says when there is no room for records any more, and when there is some again.
    fn tell_of_room(&mut self) {
        let records = &self.host.records;
        let is_short = tokio::task::block_in_place(|| records.is_short_of_room());
        if std::mem::replace(&mut self.is_short_of_room, is_short) == is_short {
            return;
        }
        match is_short {
            true => complain(
                "",
                "there is no room for records: nothing is started or signed until there is some; free some on the disk. What runs goes on",
            ),
            false => say("", "there is room for records again"),
        }
    }

    async fn carry_out(&mut self, order: Order, answer: Option<oneshot::Sender<Value>>) {
        match &order {
            Order::Apply(_) => self.cause = info_span!("apply"),
            Order::Reload { .. } => self.cause = info_span!("reload"),
            Order::RollBack { .. } => {}
        }
        let cause = self.cause.clone();
        let (said, wait) = match order {
            Order::Apply(file) => match self.apply(&file).instrument(cause).await {
                trial::Begun::OnTrial => return self.answer_later(answer),
                trial::Begun::Said(said) => (Said::This(said), true),
            },
            Order::Reload { wait } => match self.reload(By::Operator).instrument(cause).await {
                Ok(()) => (Said::Done, wait),
                Err(error) => {
                    let error = format!("{error:#}");
                    complain("", &format!("not all was reloaded: {error}"));
                    (Said::This(serde_json::json!({ "error": error })), false)
                }
            },
            Order::RollBack { service } => (self.roll_back(&service).await, true),
        };
        self.answer(said, answer, wait);
    }

    /// Begins to have everything run that the configuration names.
    fn start(&mut self) {
        match Given::by(&self.config) {
            Ok(lists) => {
                // What counts already goes on counting.
                let known = Given::clone(&self.host.lists.now());
                self.host.lists.exchange(lists.and(known));
                self.withdraw();
            }
            Err(error) => {
                complain("", &format!("{error:#}; nothing is started without it"));
                self.lacking.lists_are_missing(is_of_lack(&error));
                let refusal: Refusal = error.context("a revocation list is missing").into();
                for service in &self.config.services {
                    self.refused.insert(service.name.clone(), refusal.clone());
                }
                self.show();
                return;
            }
        }
        self.host.http.want(&self.config.listeners);
        // What needs no key does not wait for hardware.
        self.open_keys_meanwhile(Try::All);
        let services = self.config.services.iter();
        let needs_none = services.filter(|service| !Self::waits_for_keys(service));
        let needs_none: Vec<_> = needs_none
            .map(|service| (service.clone(), By::Itself))
            .collect();
        self.queue.extend(needs_none);
        self.show();
    }

    /// The device's keys were opened, as far as they are there: what needs them can be judged.
    fn keys_were_opened(&mut self, which: Try) {
        self.host.keys.certify(&mut self.config.services);
        for service in &self.config.services {
            let name = &service.name;
            let again = match which {
                // Also what was put in its place since, and was not tried for that.
                Try::All => Self::waits_for_keys(service) || self.is_untried(name),
                Try::Hardware => {
                    let refused = self.refused.get(name);
                    refused.is_some_and(|refused| match refused.is_of_hardware() {
                        true => !self.host.keys.lacks(service),
                        false => refused.is_of_audience() && self.host.identity.is_proved(),
                    })
                }
            };
            if again {
                self.refused.remove(name);
                self.queue.push_back((service.clone(), By::Itself));
            }
        }
    }

    /// Lets be seen what there is now.
    fn show(&self) {
        let shown = self.config.services.iter().map(|service| {
            let name = &service.name;
            let refused = self.refused.get(name).cloned();
            let loading = || self.loading.contains_key(name).then(Refusal::loading);
            Shown {
                name: name.clone(),
                running: self.running.get(name).map(Running::watch),
                refused: match self.running.contains_key(name) {
                    true => refused,
                    false => refused.or_else(loading),
                },
            }
        });
        self.view.show(shown.collect(), self.config.bundle.clone());
    }

    /// Whether a service is judged only when the keys are open: it may use them.
    fn waits_for_keys(service: &Service) -> bool {
        !service.grants.keys.is_empty()
    }

    /// Whether nothing was done about a service yet.
    fn is_untried(&self, name: &str) -> bool {
        let is_queued = self.queue.iter().any(|(queued, _)| queued.name == name);
        let is_known = self.running.contains_key(name) || self.refused.contains_key(name);
        !is_queued && !is_known && !self.loading.contains_key(name)
    }

    fn in_words(&self) -> String {
        let (running, refused) = (self.running.len(), self.refused.len());
        format!("{running} services run, {refused} were refused")
    }

    fn remember_floor(&self) {
        let floor = self.host.clock.floor();
        let remembered =
            tokio::task::block_in_place(|| self.state.remember(|memory| memory.raise_floor(floor)));
        if let Err(error) = remembered {
            complain("", &format!("the time was not remembered: {error:#}"));
        }
    }
}

/// What is done next.
enum Next {
    /// Somebody wants something.
    Order(Order, Option<oneshot::Sender<Value>>),
    /// What was begun has ended.
    Happened(Happened),
    /// A bundle on trial is looked at.
    Glance,
    /// What was lacking may have come back.
    Again,
    /// The next component is judged.
    Judge,
    /// Somebody has waited for too long.
    Late,
}

/// Done when a service manager or a person tells it to stop.
fn told_to_stop() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be watched")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be watched")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Does what blocks on a thread for that.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.unwrap_or_else(|error| Err(anyhow::Error::new(error).into()))
}
