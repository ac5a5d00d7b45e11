//! The gateway: all services of a configuration, from the start to the stop, and what a reload changes.
//!
//! Decides that one bad component keeps nothing but itself from running, and that a configuration that is wrong anywhere
//! changes nothing.

mod roll_back;
mod trial;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, bail};
use countersign_hosting::AuditLog;
use countersign_runtime::Runtime;
use countersign_runtime::audit::Record;
use countersign_trust_store::{Anchors, Code, Rejection};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};
use tracing::field::Empty;
use tracing::{Instrument as _, info_span};

use self::trial::Trial;
use crate::admission::{Admitted, Host, Lists, Refusal, Verified};
use crate::bundle::{self, Hold};
use crate::clock::Clock;
use crate::code;
use crate::config::{Config, Key, Place, Service};

use crate::confine::Confinement;
use crate::control::{Control, Order};
use crate::http::Server;
use crate::kept::Kept;
use crate::keys::{Keys, Try};
use crate::manager::Manager;
use crate::metrics;
use crate::own;
use crate::say::{complain, say, warn};
use crate::serve::Pages;
use crate::service::{self, Running};
use crate::state::{Guard, PutBack, State};
use crate::traces;
use crate::view::{Phase, Shown, View};

/// How often the time that has certainly passed is remembered (10 minutes): what a power cut may take of it, and a write to
/// flash each.
const FLOOR_EVERY: Duration = Duration::from_secs(600);

/// How often what needs missing hardware is tried again (10 seconds).
const HARDWARE_EVERY: Duration = Duration::from_secs(10);

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

/// What a reload did.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Reloaded {
    started: Vec<String>,
    exchanged: Vec<String>,
    stopped: Vec<String>,
    unchanged: Vec<String>,
    /// Services whose component was refused. What they ran before runs on, unless it was revoked.
    refused: BTreeMap<String, Refusal>,
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
    view: Arc<View>,
    confinement: Confinement,
    trial: Option<Trial>,
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
        let state = Arc::new(state);
        let kept = Kept::in_state(&config.state)?;
        let clock = Clock::start(state.memory().floor());
        let records = Arc::new(AuditLog::open_kept(&config.records())?);
        let http = {
            let (anchors, policy) = (anchors.clone(), config.policy.clone());
            let (state, compile) = (config.state.clone(), config.compile);
            Server::new(config.http, Arc::clone(&records), move || {
                let builder = Runtime::builder(anchors.clone()).policy(policy.clone());
                code::equip(builder, &state, &compile)
            })
        };
        let runtime = {
            let records = Arc::clone(&records);
            code::equip(Runtime::builder(anchors), &config.state, &config.compile)?
                .policy(config.policy.clone())
                .audit(move |record: &Record| records.write(record))
                .build()
                .context("the runtime cannot be built")?
        };
        let host = Arc::new(Host {
            runtime,
            keys: Keys::new(Arc::clone(&records)),
            records,
            clock,
            lists: Lists::default(),
            accepting: Mutex::new(()),
            hold: Hold::default(),
            http: Arc::new(http),
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
            trial: None,
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
        let mut hardware = interval_at(Instant::now() + HARDWARE_EVERY, HARDWARE_EVERY);
        hardware.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Admitting takes its time, and whoever stops the gateway does not wait for it.
        let mut goes_on = tokio::select! {
            () = manager.starting(self.start().instrument(info_span!("start"))) => true,
            () = &mut stopping => false,
        };
        self.view.enter(Phase::Running);
        manager.ready(&self.in_words());
        while goes_on {
            let asked = tokio::select! {
                () = &mut stopping => break,
                () = trial::glance(self.trial.as_ref()) => {
                    goes_on = tokio::select! {
                        () = manager.during(self.watch_trial()) => true,
                        () = &mut stopping => false,
                    };
                    continue;
                }
                () = manager.beat() => continue,
                _ = hang_up.recv() => Some((Order::Reload, None)),
                (order, answer) = control.next() => Some((order, Some(answer))),
                _ = remembering.tick() => None,
                _ = hardware.tick() => {
                    goes_on = tokio::select! {
                        () = manager.during(self.try_hardware_again()) => true,
                        () = &mut stopping => false,
                    };
                    continue;
                }
            };
            let Some((order, answer)) = asked else {
                self.remember_floor();
                continue;
            };
            let said = match order {
                Order::Apply(file) => {
                    self.view.enter(Phase::Reloading);
                    manager.reloading();
                    let begun = tokio::select! {
                        begun = manager.during(self.apply(&file).instrument(info_span!("apply"))) => Some(begun),
                        () = &mut stopping => None,
                    };
                    self.view.enter(Phase::Running);
                    self.show();
                    manager.ready(&self.in_words());
                    match begun {
                        Some(trial::Begun::OnTrial) => {
                            self.answer_later(answer);
                            continue;
                        }
                        Some(trial::Begun::Said(said)) => Ok(said),
                        None => break,
                    }
                }
                Order::Reload => {
                    self.view.enter(Phase::Reloading);
                    manager.reloading();
                    let reloaded = tokio::select! {
                        reloaded = manager.during(self.reload().instrument(info_span!("reload"))) => reloaded,
                        () = &mut stopping => {
                            goes_on = false;
                            Err(anyhow::anyhow!("the gateway is stopping"))
                        }
                    };
                    self.view.enter(Phase::Running);
                    self.show();
                    manager.ready(&self.in_words());
                    reloaded.map_or_else(
                        |error| {
                            complain("", &format!("not all was reloaded: {error:#}"));
                            serde_json::to_value(Failed {
                                error: format!("{error:#}"),
                            })
                        },
                        serde_json::to_value,
                    )
                }
                Order::RollBack { service } => {
                    let rolled_back = tokio::select! {
                        rolled_back = manager.during(self.roll_back(&service)) => rolled_back,
                        () = &mut stopping => break,
                    };
                    serde_json::to_value(rolled_back)
                }
            };
            if let Some(answer) = answer {
                // Who asked may have gone.
                let _ = answer.send(said.unwrap_or_default());
            }
        }
        self.view.enter(Phase::Stopping);
        manager.stopping();
        say("", "stopping");
        // All at the same time: some have work to finish.
        let all = std::mem::take(&mut self.running).into_values();
        let stopping: Vec<_> = all.map(|running| tokio::spawn(running.stop())).collect();
        for stopped in stopping {
            let _ = stopped.await;
        }
        self.remember_floor();
        if let Err(error) = tokio::task::block_in_place(|| self.host.records.flush()) {
            warn(
                "",
                &format!("the records are whole only with their journal: {error:#}"),
            );
        }
        Ok(())
    }

    async fn start(&mut self) {
        match Lists::of(&self.config) {
            Ok(lists) => {
                self.host.lists.exchange(lists);
                self.withdraw();
            }
            Err(error) => {
                complain("", &format!("{error:#}; nothing is started without it"));
                for service in &self.config.services {
                    let why = anyhow::anyhow!("a revocation list is missing: {error:#}");
                    self.refused.insert(service.name.clone(), why.into());
                }
                self.show();
                return;
            }
        }
        self.host.http.want(&self.config.listeners);
        // What needs no key does not wait for hardware.
        let opening = self.open_keys(self.config.known.keys.clone(), Try::All);
        let needs_none = |service: &Service| service.grants.keys.is_empty();
        for service in self.config.services.clone() {
            if needs_none(&service) {
                self.judge(&service, &mut Reloaded::default(), By::Itself)
                    .await;
                self.show();
            }
        }
        if let Err(error) = opening.await {
            complain("", &format!("the device's keys were not opened: {error}"));
        }
        self.host.keys.certify(&mut self.config.services);
        for service in self.config.services.clone() {
            if !needs_none(&service) {
                self.judge(&service, &mut Reloaded::default(), By::Itself)
                    .await;
                self.show();
            }
        }
        say("", &self.in_words());
    }

    fn in_words(&self) -> String {
        let (running, refused) = (self.running.len(), self.refused.len());
        format!("{running} services run, {refused} were refused")
    }

    /// Reads the configuration again, and the lists and files that it names, and changes what has changed.
    async fn reload(&mut self) -> anyhow::Result<Reloaded> {
        if self.trial.is_some() {
            bail!("a bundle is on trial; reload when it has ended");
        }
        let config = Config::load(&self.path)?;
        let config = bundle::remembered(config, &self.state.memory())?;
        self.change_to(config, Way::On).await.map(|(done, _)| done)
    }

    /// Has another configuration count, and changes what it changes: what was done, and the configuration before.
    async fn change_to(
        &mut self,
        mut config: Config,
        way: Way,
    ) -> anyhow::Result<(Reloaded, Config)> {
        if let Some(what) = self.config.beyond_reload(&config) {
            bail!("{what} was changed; that needs a restart");
        }
        if let Some(path) = self.confinement.beyond(&config)? {
            bail!(
                "{} lies outside what this process has left itself when it started; that needs a restart",
                path.display()
            );
        }
        self.host.lists.exchange(Lists::of(&config)?);
        let mut done = Reloaded::default();
        // Before anything takes its time, or fails.
        self.stop_what_was_revoked(&mut done).await?;
        if way == Way::On {
            own::demand_named(&config)?;
        }
        match (self.host.http.renew(&config.listeners), way) {
            (Err(error), Way::Back) => {
                complain("", &format!("what was shown before is shown on: {error:#}"));
            }
            (renewed, _) => renewed?,
        }
        self.refused
            .retain(|name, _| done.refused.contains_key(name));
        let kept: Vec<_> = config
            .services
            .iter()
            .map(|service| &service.name)
            .collect();
        let gone = |name: &String| !kept.contains(&name);
        let leaving: Vec<_> = self
            .running
            .keys()
            .filter(|name| gone(name))
            .cloned()
            .collect();
        for name in leaving {
            self.stop(&name, &mut done).await;
        }
        self.open_keys(config.known.keys.clone(), Try::All)
            .await
            .context("the device's keys were not opened")?;
        self.host.keys.certify(&mut config.services);
        for service in &config.services {
            self.judge(service, &mut done, By::Operator).await;
            self.show();
        }
        let before = std::mem::replace(&mut self.config, config);
        say(
            "",
            &format!(
                "reloaded: {}",
                serde_json::to_string(&done).unwrap_or_default()
            ),
        );
        Ok((done, before))
    }

    /// Tries again what was refused because hardware was missing: it may have come to itself, or been put in.
    async fn try_hardware_again(&mut self) {
        let again: Vec<_> = self
            .config
            .services
            .iter()
            .filter(|service| {
                let refused = self.refused.get(&service.name);
                refused.is_some_and(Refusal::is_of_hardware)
            })
            .map(|service| service.name.clone())
            .collect();
        let open =
            |gateway: &Self| gateway.open_keys(gateway.config.known.keys.clone(), Try::Hardware);
        if again.is_empty() || open(self).await.is_err() {
            return;
        }
        self.host.keys.certify(&mut self.config.services);
        for service in self.config.services.clone() {
            if again.contains(&service.name) && !self.host.keys.lacks(&service) {
                self.refused.remove(&service.name);
                self.judge(&service, &mut Reloaded::default(), By::Itself)
                    .await;
                self.show();
            }
        }
    }

    /// Opens the device's keys, on a thread for what blocks.
    fn open_keys(&self, keys: BTreeMap<String, Key>, which: Try) -> JoinHandle<()> {
        let host = Arc::clone(&self.host);
        tokio::task::spawn_blocking(move || host.keys.lend(&keys, which))
    }

    /// Stops every component whose signers' certificates the lists name, whatever file is in its place by now.
    async fn stop_what_was_revoked(&mut self, done: &mut Reloaded) -> anyhow::Result<()> {
        let lists = &self.host.lists;
        let mut numbers = Vec::new();
        let mut revoked = Vec::new();
        for (name, running) in &self.running {
            let said = lists.status(&running.status().links);
            if said.iter().any(|status| status.revoked) {
                revoked.push(name.clone());
            }
            numbers.extend(said);
        }
        let mut stops = Vec::new();
        for name in revoked {
            let refusal = Refusal::revoked(&name);
            warn(&name, &format!("stopped: {}", refusal.why));
            metrics::refused(&refusal);
            if let Some(running) = self.running.remove(&name) {
                // One that takes its time keeps no other from being stopped.
                stops.push(tokio::spawn(running.stop_at_once()));
                done.stopped.push(name.clone());
            }
            self.refused.insert(name.clone(), refusal.clone());
            done.refused.insert(name, refusal);
        }
        self.withdraw();
        let remembered = tokio::task::block_in_place(|| {
            self.state.remember(|memory| {
                for said in numbers {
                    memory.raise_list(said.issuer_spki_sha256, said.number);
                }
            })
        });
        for stop in stops {
            let _ = stop.await;
        }
        remembered
    }

    /// Takes back the admission of whatever the lists name, whether it runs or not: it must not come back when a list is short
    /// of it again.
    fn withdraw(&self) {
        let lists = self.host.lists.now();
        let mut withdrawn = Vec::new();
        let remembered = tokio::task::block_in_place(|| {
            self.state
                .remember(|memory| withdrawn = memory.withdraw(&lists))
        });
        for component in withdrawn {
            say(
                "",
                &format!(
                    "an admission of {component} was taken back: a signer's certificate was revoked"
                ),
            );
        }
        if let Err(error) = remembered {
            say(
                "",
                &format!("what was revoked could not be remembered: {error:#}"),
            );
        }
    }

    async fn stop(&mut self, name: &str, done: &mut Reloaded) {
        if let Some(running) = self.running.remove(name) {
            running.stop().await;
            self.show();
            done.stopped.push(name.to_owned());
        }
    }

    /// Has the file of a service run; where it is refused and nothing runs, the copy of the last that proved healthy.
    async fn judge(&mut self, service: &Service, done: &mut Reloaded, by: By) {
        if self
            .running
            .get(&service.name)
            .is_some_and(Running::is_lost)
        {
            self.stop(&service.name, done).await;
        }
        let judged = self.verified(service, &service.place).await;
        // Only where there is another to run: what failed is better than nothing.
        let judged = judged.and_then(|verified| {
            if let Some(held) = self.held_back(service, &verified.facts)? {
                return Err(held);
            }
            if by == By::Itself && self.kept.of(&service.name).is_some() {
                self.host.not_quarantined(&verified, &self.state)?;
            }
            Ok(verified)
        });
        let refusal = match judged {
            Ok(verified) => match self.take_up(service, verified, done).await {
                Ok(()) => return,
                Err(refusal) => refusal,
            },
            Err(refusal) => refusal,
        };
        self.refuse(service, refusal, done);
        match self.running.get(&service.name) {
            Some(running) if running.service == *service => return,
            // It was started under what the operator wanted before, and may be more than he wants now.
            Some(_) => {
                say(&service.name, "stopped: it is configured otherwise now");
                self.stop(&service.name, done).await;
            }
            None => {}
        }
        for copy in self.kept.copies(&service.name) {
            if let Ok(verified) = self.verified(service, &copy).await
                && !self
                    .kept
                    .is_held(&service.name, &verified.facts.file_sha256)
                && self.take_up(service, verified, done).await.is_ok()
            {
                say(
                    &service.name,
                    "the last that proved healthy runs in its place",
                );
                return;
            }
        }
    }

    /// Has a component run, unless it runs already.
    async fn take_up(
        &mut self,
        service: &Service,
        verified: Verified,
        done: &mut Reloaded,
    ) -> Result<(), Refusal> {
        let name = service.name.clone();
        if let Some(running) = self.running.get(&name)
            && running.is_of(&verified.facts)
            && running.service == *service
        {
            done.unchanged.push(name);
            return Ok(());
        }
        let admitted = self.loaded(service, verified).await?;
        say(&name, &admitted.facts.introduction());
        if let Some(running) = self.running.get_mut(&name) {
            running.exchange(service, admitted).await;
            done.exchanged.push(name);
        } else {
            let (host, state) = (Arc::clone(&self.host), Arc::clone(&self.state));
            let running = Running::start(service, admitted, host, state, self.kept.clone());
            self.running.insert(name.clone(), running);
            done.started.push(name);
        }
        Ok(())
    }

    fn refuse(&mut self, service: &Service, refusal: Refusal, done: &mut Reloaded) {
        let name = service.name.clone();
        let code = refusal.code.unwrap_or("cannot be used");
        warn(
            &name,
            &format!("refused: {code}: {}; next: {}", refusal.why, refusal.next),
        );
        metrics::refused(&refusal);
        // That what ran was revoked weighs more than what is wrong with the file in its place.
        self.refused
            .entry(name.clone())
            .or_insert_with(|| refusal.clone());
        done.refused.entry(name).or_insert(refusal);
    }

    async fn verified(&self, service: &Service, place: &Place) -> Result<Verified, Refusal> {
        let (host, service, place) = (Arc::clone(&self.host), service.clone(), place.clone());
        let state = Arc::clone(&self.state);
        let span = info_span!(
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

    async fn loaded(&self, service: &Service, verified: Verified) -> Result<Admitted, Refusal> {
        let (host, service) = (Arc::clone(&self.host), service.clone());
        let (kept, state) = (self.kept.clone(), Arc::clone(&self.state));
        let span = info_span!(
            "compile",
            service = service.name,
            component = Empty,
            version = Empty,
            digest = Empty,
            verdict = Empty,
            code = Empty
        );
        blocking(move || {
            let log = service::lines(&service.name);
            // The very bytes that are about to run; what lies in their place may be another file by then.
            let bytes = verified.bytes.clone();
            let admissions = verified.admissions();
            if let Some(code) = verified.code() {
                kept.put_down_code(&service.name, &verified.facts.file_sha256, code)?;
            }
            let loaded = span.in_scope(|| host.load(&service, verified, log));
            traces::judged(&span, loaded.as_ref().map(|admitted| &admitted.facts));
            let admitted = loaded.inspect_err(|_| kept.tidy_code(&service.name))?;
            span.record("code", admitted.ready.code_origin().as_str());
            kept.put_down(&service.name, &bytes)?;
            state.remember(|memory| {
                for (signatures, admission) in admissions {
                    memory.admit(signatures, admission);
                }
            })?;
            Ok(admitted)
        })
        .await
    }

    /// Lets be seen what there is now.
    fn show(&self) {
        let shown = self.config.services.iter().map(|service| Shown {
            name: service.name.clone(),
            running: self.running.get(&service.name).map(Running::watch),
            refused: self.refused.get(&service.name).cloned(),
        });
        self.view.show(shown.collect());
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

#[derive(Serialize)]
struct Failed {
    error: String,
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
