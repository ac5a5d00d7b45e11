//! The gateway: all services of a configuration, from the start to the stop, and what a reload changes.
//!
//! Decides that one bad component keeps nothing but itself from running, and that a configuration that is wrong anywhere
//! changes nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use countersign_hosting::AuditLog;
use countersign_runtime::Runtime;
use countersign_runtime::audit::Record;
use countersign_trust_store::{Anchors, Code, Rejection};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use crate::admission::{Admitted, Host, Lists, Refusal, Verified};
use crate::clock::Clock;
use crate::config::{Config, Service};
use crate::control::{Control, Question};
use crate::kept::Kept;
use crate::say::say;
use crate::service::{self, Running, Status};
use crate::state::State;

/// How often the time that has certainly passed is remembered (10 minutes): what a power cut may take of it, and a write to
/// flash each.
const FLOOR_EVERY: Duration = Duration::from_secs(600);

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

/// What is seen of a gateway from outside.
#[derive(Debug, Serialize)]
pub(crate) struct Overview {
    /// The form of this answer.
    version: u32,
    /// This machine's time, as components are judged by it.
    now: String,
    /// A time that has certainly passed.
    floor: String,
    /// How often what it remembers was written.
    generation: u64,
    services: Vec<Status>,
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

/// A gateway that runs.
pub(crate) struct Gateway {
    path: PathBuf,
    config: Config,
    host: Arc<Host>,
    state: Arc<State>,
    kept: Kept,
    running: BTreeMap<String, Running>,
    refused: BTreeMap<String, Refusal>,
}

impl Gateway {
    /// Takes the state, and builds what all services share. Nothing runs yet.
    pub(crate) fn new(path: &Path) -> Result<Self, NotStarted> {
        let config = Config::load(path)?;
        let anchors = roots()?;
        let state = Arc::new(State::open(&config.state)?);
        let kept = Kept::in_state(&config.state)?;
        let clock = Clock::start(state.memory().floor());
        let records = Arc::new(AuditLog::open(Some(&config.audit))?);
        let runtime = {
            let records = Arc::clone(&records);
            Runtime::builder(anchors)
                .policy(config.policy.clone())
                .audit(move |record: &Record| records.write(record))
                .build()
                .context("the runtime cannot be built")?
        };
        Ok(Self {
            path: path.to_owned(),
            config,
            host: Arc::new(Host {
                runtime,
                records,
                clock,
                lists: Lists::default(),
            }),
            state,
            kept,
            running: BTreeMap::new(),
            refused: BTreeMap::new(),
        })
    }

    /// Runs until it is told to stop.
    ///
    /// # Errors
    /// If this machine does not let it begin.
    pub(crate) async fn run(mut self) -> anyhow::Result<()> {
        let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be watched")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be watched")?;
        let mut hang_up = signal(SignalKind::hangup()).context("SIGHUP cannot be watched")?;
        let mut control = Control::open(&self.config.control)?;
        let mut remembering = interval(FLOOR_EVERY);
        remembering.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.start().await;
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hang_up.recv() => {
                    if let Err(error) = self.reload().await {
                        say("", &format!("nothing was changed: {error:#}"));
                    }
                }
                _ = remembering.tick() => self.remember_floor(),
                (question, answer) = control.next() => {
                    let json = match question {
                        Question::Status => serde_json::to_value(self.overview()),
                        Question::Reload => match self.reload().await {
                            Ok(reloaded) => serde_json::to_value(reloaded),
                            Err(error) => serde_json::to_value(Failed { error: format!("{error:#}") }),
                        },
                    };
                    // Who asked may have gone.
                    let _ = answer.send(json.unwrap_or_default());
                }
            }
        }
        say("", "stopping");
        for (_, running) in std::mem::take(&mut self.running) {
            running.stop().await;
        }
        self.remember_floor();
        Ok(())
    }

    async fn start(&mut self) {
        match Lists::read(&self.config.lists) {
            Ok(lists) => self.host.lists.exchange(lists),
            Err(error) => {
                say("", &format!("{error:#}; nothing is started without it"));
                for service in &self.config.services {
                    let why = anyhow::anyhow!("a revocation list is missing: {error:#}");
                    self.refused.insert(service.name.clone(), why.into());
                }
                return;
            }
        }
        for service in self.config.services.clone() {
            self.judge(&service, &mut Reloaded::default()).await;
        }
        let (running, refused) = (self.running.len(), self.refused.len());
        say(
            "",
            &format!("{running} services run, {refused} were refused"),
        );
    }

    /// Reads the configuration again, and the lists and files that it names, and changes what has changed.
    async fn reload(&mut self) -> anyhow::Result<Reloaded> {
        let config = Config::load(&self.path)?;
        if let Some(what) = self.config.beyond_reload(&config) {
            bail!("{what} was changed; that needs a restart");
        }
        self.host.lists.exchange(Lists::read(&config.lists)?);
        let mut done = Reloaded::default();
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
            if let Some(running) = self.running.remove(&name) {
                running.stop().await;
                done.stopped.push(name);
            }
        }
        self.refused.clear();
        for service in &config.services {
            self.judge(service, &mut done).await;
        }
        self.config = config;
        say(
            "",
            &format!(
                "reloaded: {}",
                serde_json::to_string(&done).unwrap_or_default()
            ),
        );
        Ok(done)
    }

    /// Has the file of a service run; where it is refused and nothing runs, the copy of the last that proved healthy.
    async fn judge(&mut self, service: &Service, done: &mut Reloaded) {
        let refusal = match self.verified(service, &service.component).await {
            Ok(verified) => match self.take_up(service, verified, done).await {
                Ok(()) => return,
                Err(refusal) => refusal,
            },
            Err(refusal) => refusal,
        };
        self.refuse(service, refusal, done).await;
        if self.running.contains_key(&service.name) {
            return self.judge_what_runs(service, done).await;
        }
        if let Some(copy) = self.kept.of(&service.name)
            && let Ok(verified) = self.verified(service, &copy).await
            && self.take_up(service, verified, done).await.is_ok()
        {
            say(
                &service.name,
                "the last that proved healthy runs in its place",
            );
        }
    }

    /// Holds the lists against a component that runs and is not the file in its place: by its copy, which it has once it
    /// proved healthy.
    async fn judge_what_runs(&mut self, service: &Service, done: &mut Reloaded) {
        let Some(running) = self.running.get(&service.name) else {
            return;
        };
        let runs = running.status().facts.map(|facts| facts.file_sha256);
        let copy = match self.kept.of(&service.name) {
            Some(copy) => self.verified(service, &copy).await,
            None => Err(Refusal::not_tried()),
        };
        match copy {
            Ok(copy) if Some(&copy.facts.file_sha256) == runs.as_ref() => {}
            // Expired, say: that stops nothing that runs.
            Err(refusal) if refusal.code.is_some() && !refusal.stops_what_runs() => {}
            Err(refusal) if refusal.code.is_some() => self.refuse(service, refusal, done).await,
            Ok(_) | Err(_) => {
                let why = "what runs is no file that can still be read, so the lists cannot be held against it; it is stopped";
                say(&service.name, why);
                if let Some(running) = self.running.remove(&service.name) {
                    running.stop().await;
                    done.stopped.push(service.name.clone());
                }
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
            && running.file_sha256 == verified.facts.file_sha256
            && running.service == *service
        {
            let runs = running.status().facts.map(|facts| facts.file_sha256);
            done.unchanged.push(name);
            if runs.as_ref() != Some(&verified.facts.file_sha256) {
                self.judge_what_runs(service, done).await;
            }
            return Ok(());
        }
        let admitted = self.loaded(service, verified).await?;
        let facts = &admitted.facts;
        say(
            &name,
            &format!(
                "{} {}, signed by {}, admitted",
                facts.component,
                facts.version,
                facts.signers.join(" and ")
            ),
        );
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

    async fn refuse(&mut self, service: &Service, refusal: Refusal, done: &mut Reloaded) {
        let name = service.name.clone();
        let code = refusal.code.unwrap_or("cannot be used");
        say(
            &name,
            &format!("refused: {code}: {}; next: {}", refusal.why, refusal.next),
        );
        if refusal.stops_what_runs()
            && let Some(running) = self.running.remove(&name)
        {
            running.stop().await;
            done.stopped.push(name.clone());
        }
        self.refused.insert(name.clone(), refusal.clone());
        done.refused.insert(name, refusal);
    }

    async fn verified(&self, service: &Service, path: &Path) -> Result<Verified, Refusal> {
        let (host, service, path) = (Arc::clone(&self.host), service.clone(), path.to_owned());
        let memory = self.state.memory();
        blocking(move || host.verify(&service, &path, &memory)).await
    }

    async fn loaded(&self, service: &Service, verified: Verified) -> Result<Admitted, Refusal> {
        let (host, service) = (Arc::clone(&self.host), service.clone());
        let state = Arc::clone(&self.state);
        blocking(move || {
            let log = service::lines(&service.name);
            host.load(&service, verified, &state, log)
        })
        .await
    }

    fn overview(&self) -> Overview {
        let now = self.host.clock.now();
        let floor = self.host.clock.floor();
        let of = |service: &Service| {
            let refused = self.refused.get(&service.name);
            match (self.running.get(&service.name), refused) {
                (Some(running), None) => running.status(),
                (Some(running), Some(refusal)) => Status {
                    newer: Some(refusal.why.clone()),
                    ..running.status()
                },
                (None, refused) => {
                    let refusal = refused.cloned().unwrap_or_else(Refusal::not_tried);
                    service::refused(&service.name, refusal)
                }
            }
        };
        Overview {
            version: 1,
            now: now.clock().unwrap_or(floor).to_string(),
            floor: floor.to_string(),
            generation: self.state.memory().generation(),
            services: self.config.services.iter().map(of).collect(),
        }
    }

    fn remember_floor(&self) {
        let floor = self.host.clock.floor();
        let remembered =
            tokio::task::block_in_place(|| self.state.remember(|memory| memory.raise_floor(floor)));
        if let Err(error) = remembered {
            say("", &format!("the time was not remembered: {error:#}"));
        }
    }
}

#[derive(Serialize)]
struct Failed {
    error: String,
}

/// Does what blocks on a thread for that.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.unwrap_or_else(|error| Err(anyhow::Error::new(error).into()))
}
