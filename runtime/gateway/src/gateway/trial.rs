//! A bundle on trial: from the switch to what it brings up to the moment at which all of it has proved healthy, or the way back.
//!
//! Decides that nothing of a bundle is remembered before all of it proved healthy, its revocation lists aside: a power cut
//! before that moment boots what ran before. That moment is one write, of the number, of what was withdrawn, and of which
//! bundle runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use countersign_format::Digest;
use countersign_trust_store::{Anchor, Crl, CrlNumber, Rejection};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::oneshot;

use super::answers::Said;
use super::{By, Gateway, Way, blocking};
use crate::admission::{Facts, Refusal};
use crate::bundle::{self, Applied, Carried, Known, NotKept, Places, Staged};
use crate::config::{Bundles, Config, is_missing};
use crate::lists::Given;
use crate::refusals;
use crate::say::{complain, say, warn};
use crate::service::{Doing, Running, Status};

/// How often a trial is looked at.
const GLANCE: Duration = Duration::from_millis(100);

/// What is on trial.
pub(super) struct Trial {
    bundle: Staged,
    /// The configuration before, for the way back.
    before: Config,
    /// What must prove healthy: services, and SHA-256 of the file that each must run.
    expected: BTreeMap<String, String>,
    within: Duration,
    /// Once nothing of it has to be compiled any more.
    until: Option<Instant>,
    answer: Option<oneshot::Sender<Value>>,
}

/// What became of the order to apply a bundle.
pub(super) enum Begun {
    /// It is on trial: the answer comes later.
    OnTrial,
    /// This.
    Said(Value),
}

/// What is answered at the end.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Outcome<'a> {
    version: u32,
    /// "applied", "unchanged" or "refused".
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index_sha256: Option<String>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    signers: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<&'a Refusal>,
}

/// A moment later, if something is on trial.
pub(super) async fn glance(trial: Option<&Trial>) {
    match trial {
        Some(_) => tokio::time::sleep(GLANCE).await,
        None => std::future::pending().await,
    }
}

/// What a glance shows.
#[derive(Debug, PartialEq, Eq)]
enum Health {
    NotYet,
    Proved,
    Failed(String),
    Refused(Refusal),
}

impl Gateway {
    /// Removes what is left of bundles that do not count any more.
    pub(super) fn tidy(&self) {
        if self.config.bundles.is_none() {
            return;
        }
        // A power cut must not bring a memory back that names what goes.
        if tokio::task::block_in_place(|| self.state.remember(|_| ())).is_err() {
            return;
        }
        let memory = self.state.memory();
        if let (Ok(current), Ok(lists)) = (memory.bundle(), memory.carried_lists()) {
            Places::in_state(&self.config.state).tidy(current, lists);
        }
    }

    /// Verifies a file that has come, and switches to what it brings.
    pub(super) async fn apply(&mut self, file: &str) -> Begun {
        if self.trial.is_some() {
            let error = anyhow!("another bundle is on trial; try again when that has ended");
            return Begun::Said(told("refused", None, Some(&error.into())));
        }
        if self.lacking.is_on_the_way_back() {
            let error = anyhow!(
                "not all of what was before the last bundle runs again yet; it is tried by itself, or by a reload"
            );
            return Begun::Said(told("refused", None, Some(&error.into())));
        }
        let staged = match self.staged(file).await {
            Ok(staged) => staged,
            Err(refusal) => {
                self.note_revoking(&refusal);
                return self.refuse_bundle(None, &refusal);
            }
        };
        match self.state.memory().bundle() {
            Ok(Some(current)) if current == staged.digest && staged.torn.is_none() => {
                return Begun::Said(told("unchanged", Some(&staged), None));
            }
            Ok(_) => {}
            Err(error) => return self.refuse_bundle(Some(&staged), &error.into()),
        }
        match self.switch(staged).await {
            Ok(()) => Begun::OnTrial,
            Err(failed) => {
                let (staged, refusal) = *failed;
                self.tidy();
                self.refuse_bundle(Some(&staged), &refusal)
            }
        }
    }

    /// Whoever gave the order hears of its end.
    pub(super) fn answer_later(&mut self, answer: Option<oneshot::Sender<Value>>) {
        if let Some(trial) = &mut self.trial {
            trial.answer = answer;
        }
    }

    /// Looks at what is on trial, and ends the trial when it is time.
    pub(super) async fn watch_trial(&mut self) {
        let is_loading = self.is_loading();
        if let Some(trial) = &mut self.trial
            && !is_loading
        {
            let until = Instant::now() + trial.within;
            trial.until.get_or_insert(until);
        }
        let health = match &self.trial {
            Some(trial) => self.health(trial),
            None => return,
        };
        let failed = match health {
            Health::NotYet => return,
            Health::Proved => None,
            Health::Failed(why) => Some(Refusal::unhealthy(&why)),
            Health::Refused(refusal) => Some(refusal),
        };
        let Some(mut trial) = self.trial.take() else {
            return;
        };
        let refusal = match failed {
            None => self.conclude(&trial.bundle).err().map(Refusal::from),
            Some(refusal) => Some(refusal),
        };
        let said = match refusal {
            None => {
                self.host.hold.end();
                self.tidy();
                self.stop_what_was_withdrawn(&trial.bundle).await;
                let fields = trial.bundle.index.fields();
                say(
                    "",
                    &format!("bundle {} {} is applied", fields.line, fields.number),
                );
                told("applied", Some(&trial.bundle), None)
            }
            Some(refusal) => {
                self.go_back(trial.before).await;
                match self.refuse_bundle(Some(&trial.bundle), &refusal) {
                    Begun::Said(said) => said,
                    Begun::OnTrial => Value::Null,
                }
            }
        };
        self.show();
        self.answer(Said::This(said), trial.answer.take(), true);
    }

    async fn staged(&self, file: &str) -> Result<Staged, Refusal> {
        // The file on the machine, as it is now, says which bundles are taken.
        let config = Config::load(&self.path).map_err(anyhow::Error::from)?;
        let bundles = bundles(&config)?.clone();
        let places = Places::in_state(&config.state);
        places.make()?;
        let path = places
            .arrived(file)
            .with_context(|| format!("{file:?} is no name of a file that has come"))?;
        let (host, memory) = (Arc::clone(&self.host), self.state.memory());
        blocking(move || bundle::stage(&path, &places, &config, &bundles, &host, &memory)).await
    }

    /// Switches to what a bundle brings. If that cannot be, all is as it was, and its lists count nevertheless.
    async fn switch(&mut self, mut bundle: Staged) -> Result<(), Box<(Staged, Refusal)>> {
        let brought = std::mem::take(&mut bundle.lists);
        let mut not_kept = NotKept::default();
        let switched = self.try_to_switch(&bundle, brought, &mut not_kept).await;
        for list in &not_kept.left_out {
            let why = format!(
                "list-not-kept: the list {} of {} is not kept: no key that is known here has signed it, and there is no room for more of those; if it is genuine, give it to this machine in a file that its configuration names",
                list.number(),
                list.issuer()
            );
            warn("", &why);
        }
        match switched {
            Ok((before, expected, within)) => {
                self.trial = Some(Trial {
                    bundle,
                    before,
                    expected,
                    within,
                    until: None,
                    answer: None,
                });
                Ok(())
            }
            Err(refusal) => {
                self.go_back(self.config.clone()).await;
                Err(Box::new((bundle, refusal)))
            }
        }
    }

    /// The configuration before, what must prove healthy, and in which time. On failure it counts on. Says which lists are not kept.
    async fn try_to_switch(
        &mut self,
        bundle: &Staged,
        brought: Vec<Crl>,
        not_kept: &mut NotKept,
    ) -> Result<(Config, BTreeMap<String, String>, Duration), Refusal> {
        let fields = bundle.index.fields();
        let forged;
        let known_before = self.known_issuers(bundle);
        (*not_kept, forged) = self.remember_lists(bundle, brought.clone())?;
        if let Some(forged) = forged {
            return Err(forged.into());
        }
        if let Some(refusal) = &bundle.torn {
            return Err(refusal.clone());
        }
        let places = Places::in_state(&self.config.state);
        let applied = Applied::open(&places, bundle.digest)?;
        let next = Config::load(&self.path).map_err(anyhow::Error::from)?;
        let within = bundles(&next)?.healthy_within;
        let next = next.with_bundle(&applied)?;
        let next = bundle::with_lists(next, &self.state.memory())?;
        let expected: BTreeMap<_, _> = next
            .services
            .iter()
            .filter_map(|service| {
                let name = service
                    .place
                    .component
                    .strip_prefix(applied.folder())
                    .ok()?;
                let part = fields
                    .parts
                    .iter()
                    .find(|part| name.as_os_str() == part.name.as_str());
                Some((service.name.clone(), part?.digest.to_string()))
            })
            .collect();
        if let Some(what) = self.config.beyond_reload(&next) {
            return Err(Refusal::from(anyhow!(
                "{what} was changed; that needs a restart"
            )));
        }

        // Each component of it must verify before anything is changed: by the lists that it brings, and by what it withdraws.
        if let Some(service) = next.services.iter().find(|service| is_missing(service)) {
            return Err(Refusal::from(anyhow!(
                "{} takes {} from the bundle, which does not bring it; its revocation lists count nevertheless",
                service.name,
                service.place.component.display()
            )));
        }
        // Its components are judged by all that it brings, whether there is room for that or not.
        let given = Given::by(&next)?.and(Given::brought(bundle::few(not_kept.all())));
        self.host.lists.exchange(given);
        self.host.hold.begin(fields.minimums.clone());
        let mut judged = Ok(());
        for service in &next.services {
            if judged.is_ok() && expected.contains_key(&service.name) {
                let verified = self.verified(service, &service.place).await;
                judged = verified
                    .map(drop)
                    .map_err(|refusal| refusal.of_service(&service.name));
            }
        }
        // Whose that is may have shown by now, also where one of them is what the bundle is refused by.
        let again = tokio::task::block_in_place(|| {
            not_kept.again(brought, &known_before, &self.known_issuers(bundle))
        });
        if let Some(again) = again {
            (*not_kept, _) = self.remember_lists(bundle, again)?;
        }
        judged?;
        let next = bundle::with_lists(next, &self.state.memory())?;
        let before = self.change_to(next, Way::On, By::Operator).await?;
        Ok((before, expected, within))
    }

    /// Lists of a bundle that verified are never taken back, whatever becomes of it, nor are those that came with others. Which are
    /// not kept, and why one is forged.
    fn remember_lists(
        &self,
        bundle: &Staged,
        brought: Vec<Crl>,
    ) -> Result<(NotKept, Option<Rejection>), Refusal> {
        tokio::task::block_in_place(|| {
            let (mut forged, mut not_kept) = (None, NotKept::default());
            let carried = match (self.state.memory().carried_lists()?, brought.is_empty()) {
                (before, true) => before,
                (before, false) => {
                    let places = Places::in_state(&self.config.state);
                    let before = before.map(|digest| bundle::carried(&places, digest));
                    let before = before.transpose().unwrap_or_else(|error| {
                        // What is remembered of their numbers still holds.
                        complain("", &format!("{error:#}"));
                        None
                    });
                    let before = self.as_consulted(before.unwrap_or_default());
                    let (signers, known) = (bundle.signed_by, self.known_issuers(bundle));
                    let over = bundle::carry(&places, before, brought, signers, &known)?;
                    not_kept = over.not_kept;
                    forged = over.forged;
                    over.file
                }
            };
            let remembered = self.state.remember(|memory| {
                if let Some(file) = carried {
                    memory.carry_lists(file);
                }
                for (issuer, number) in &bundle.numbers {
                    memory.raise_list(*issuer, *number);
                }
            });
            remembered.map_err(Refusal::from)?;
            Ok((not_kept, forged))
        })
    }

    /// The issuers whose keys a root shows, or a chain to one: of what was admitted here, of this device, of whoever signed a bundle, and
    /// of whatever was judged by a list that counts.
    fn known_issuers(&self, bundle: &Staged) -> Known {
        let roots = self.host.runtime.anchors().iter().map(Anchor::issuer);
        let memory = self.state.memory();
        let shown = memory.issuers().chain(bundle.issuers.iter().cloned());
        let known = Known {
            roots: roots.collect(),
            shown: shown.collect(),
        };
        known.and_signers_of(self.host.lists.now().all())
    }

    /// The same lists, with what was found out about their signatures since they were read.
    fn as_consulted(&self, mut lists: Vec<Carried>) -> Vec<Carried> {
        let consulted = self.host.lists.now();
        for there in &mut lists {
            let mut all = consulted.all().iter();
            if let Some(same) = all.find(|other| other.der() == there.list.der()) {
                there.list = same.clone();
            }
        }
        lists
    }

    /// Has the number of a list remembered that revoked a signer of a bundle, if it is one of those that count here. What a
    /// stranger's bundle brings is nothing to be held against what runs.
    fn note_revoking(&self, refusal: &Refusal) {
        let lists = self.host.lists.now();
        let counts = |(issuer, number): &(Digest, CrlNumber)| {
            let mut lists = lists.all().iter();
            lists.any(|list| list.verified_under() == Some(*issuer) && list.number() == *number)
        };
        let Some((issuer, number)) = refusal.revoked_by.filter(counts) else {
            return;
        };
        let remembered = tokio::task::block_in_place(|| {
            self.state
                .remember(|memory| memory.raise_list(issuer, number))
        });
        if let Err(error) = remembered {
            complain(
                "",
                &format!("what was revoked is not remembered: {error:#}"),
            );
        }
    }

    fn health(&self, trial: &Trial) -> Health {
        let mut not_yet = None;
        for (name, file) in &trial.expected {
            if self.is_under_way(name) {
                not_yet = not_yet.or(Some(name));
                continue;
            }
            if let Some(refusal) = self.refused.get(name) {
                return Health::Refused(refusal.clone().of_service(name));
            }
            let Some(running) = self.running.get(name) else {
                return Health::Failed(format!("{name} does not run"));
            };
            match of_one(&running.status(), file) {
                Health::Proved => {}
                Health::NotYet => not_yet = not_yet.or(Some(name)),
                Health::Failed(why) => return Health::Failed(format!("{name}: {why}")),
                Health::Refused(refusal) => return Health::Refused(refusal.of_service(name)),
            }
        }
        let Some(name) = not_yet else {
            return Health::Proved;
        };
        if trial.until.is_some_and(|until| Instant::now() >= until) {
            let running = self.running.get(name).map(Running::status);
            let ended = match running.as_ref().map(|status| &status.doing) {
                Some(Doing::Waiting { ended, .. }) => format!(": its component {ended}"),
                _ => String::new(),
            };
            return Health::Failed(format!("{name} did not prove healthy in time{ended}"));
        }
        Health::NotYet
    }

    /// One write: the number, what was withdrawn, and which bundle runs.
    fn conclude(&self, bundle: &Staged) -> anyhow::Result<()> {
        let fields = bundle.index.fields();
        tokio::task::block_in_place(|| {
            bundle::applied(&self.host.records, bundle)
                .context("the audit record could not be written, so nothing is applied")?;
            let remembered = self.state.remember(|memory| {
                memory.raise_bundle(&fields.line, fields.number, bundle.digest);
                for minimum in &fields.minimums {
                    memory.raise_minimum(&minimum.name, minimum.security_version);
                }
            });
            match remembered {
                // It is written, and boots from now on; the counter follows it.
                Err(error) if self.state.memory().bundle()? == Some(bundle.digest) => {
                    warn("", &format!("{error:#}"));
                    Ok(())
                }
                remembered => remembered,
            }
        })
    }

    /// Ends what a bundle has withdrawn and did not exchange itself.
    async fn stop_what_was_withdrawn(&mut self, bundle: &Staged) {
        let minimums = &bundle.index.fields().minimums;
        let below = |facts: &Facts| {
            minimums.iter().any(|minimum| {
                minimum.name.to_string() == facts.component
                    && facts.security_version < minimum.security_version
            })
        };
        self.host.leaving.end(|one| below(&one.facts));
        let withdrawn: Vec<_> = self
            .running
            .iter()
            .filter(|(_, running)| running.status().facts.as_ref().is_some_and(below))
            .map(|(name, _)| name.clone())
            .collect();
        for name in &withdrawn {
            let refusal = Refusal::withdrawn(name);
            warn(name, &format!("stopped: {}", refusal.why));
            refusals::note(name, &refusal);
            self.refused.insert(name.clone(), refusal);
        }
        self.part(&withdrawn, Running::stop_at_once).await;
    }

    /// Has what was configured before run again, under the newest lists.
    async fn go_back(&mut self, before: Config) {
        self.host.hold.fail();
        self.restore(before).await;
        self.tidy();
    }

    /// Goes back to what was configured before a bundle that failed; where that cannot be had for now, later.
    pub(super) async fn restore(&mut self, before: Config) {
        let listeners = before.listeners.clone();
        let changed = match bundle::with_lists(before.clone(), &self.state.memory()) {
            Ok(before) => self
                .change_to(before, Way::Back, By::Operator)
                .await
                .map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = changed {
            // Whatever it came to: what was protected before is shown to nobody otherwise.
            self.host.http.close_others(&listeners);
            let again = "it is tried again by itself";
            complain(
                "",
                &format!("not all runs again as before: {error:#}; {again}"),
            );
            self.lacking.did_not_go_back(before);
        }
    }

    fn refuse_bundle(&self, bundle: Option<&Staged>, refusal: &Refusal) -> Begun {
        let code = refusal.code.unwrap_or("cannot be used");
        warn(
            "",
            &format!(
                "the bundle was refused: {code}: {}; next: {}",
                refusal.why, refusal.next
            ),
        );
        refusals::note("", refusal);
        if let Err(error) = bundle::refused(&self.host.records, bundle, refusal) {
            complain("", &format!("that could not be recorded: {error}"));
        }
        Begun::Said(told("refused", bundle, Some(refusal)))
    }
}

/// How it is with one service, which must run the file with this digest.
fn of_one(status: &Status, file: &str) -> Health {
    let facts = status.facts.as_ref();
    if facts.is_none_or(|facts| facts.file_sha256 != file) {
        let why = status.newer.clone();
        return Health::Failed(why.unwrap_or_else(|| "another runs".to_owned()));
    }
    match &status.doing {
        // Also where that came before its first start.
        Doing::Refused(refusal) => Health::Refused(refusal.clone()),
        Doing::Running { healthy: true, .. } => Health::Proved,
        Doing::Running { .. } => Health::NotYet,
        Doing::Starting => match status.proved {
            true => Health::Proved,
            false => Health::NotYet,
        },
        _ if status.proved || status.starts == 0 => Health::Proved,
        // Nobody waits for a due time that is days ahead.
        Doing::Scheduled { ended: None, .. } => Health::Proved,
        // What only lacks its address is tried again, and may have it in time.
        Doing::Waiting {
            has_no_address: true,
            ..
        } => Health::NotYet,
        Doing::Waiting { ended, .. }
        | Doing::Ended { ended }
        | Doing::Scheduled {
            ended: Some(ended), ..
        } => Health::Failed(format!("its component {ended} before it proved healthy")),
    }
}

fn bundles(config: &Config) -> anyhow::Result<&Bundles> {
    config.bundles.as_ref().context(
        "this gateway takes no bundles; say which in its configuration, under [bundles], and try again",
    )
}

fn told(outcome: &'static str, bundle: Option<&Staged>, refused: Option<&Refusal>) -> Value {
    let fields = bundle.map(|bundle| bundle.index.fields());
    serde_json::to_value(Outcome {
        version: 1,
        outcome,
        line: fields.map(|fields| fields.line.as_str()),
        number: fields.map(|fields| fields.number),
        index_sha256: bundle.map(|bundle| bundle.digest.to_string()),
        signers: bundle.map_or(&[], |bundle| bundle.signers.as_slice()),
        refused,
    })
    .unwrap_or_default()
}

impl Refusal {
    fn of_service(mut self, name: &str) -> Self {
        self.why = format!("{name}: {}", self.why);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(doing: Doing, starts: u64) -> Status {
        let facts = Facts {
            component: "acme:report".to_owned(),
            version: "2.0.0".to_owned(),
            security_version: 2,
            file_sha256: "new".to_owned(),
            component_sha256: String::new(),
            keys: Vec::new(),
            signers: Vec::new(),
            valid_until: String::new(),
            admitted_at: None,
            judged_at_floor: None,
            vouched: None,
        };
        Status {
            doing,
            starts,
            facts: Some(facts),
            ..crate::service::refused("report", Refusal::not_tried())
        }
    }

    fn scheduled(ended: Option<&str>) -> Doing {
        Doing::Scheduled {
            due: None,
            milliseconds: 86_400_000,
            ended: ended.map(str::to_owned),
            missed: 0,
        }
    }

    #[test]
    fn td10_what_is_due_in_days_keeps_no_bundle_waiting_and_fails_none() {
        // Not due yet; and due once before the bundle came, whose component was exchanged since.
        for starts in [0, 1] {
            assert_eq!(
                of_one(&status(scheduled(None), starts), "new"),
                Health::Proved
            );
        }
        let Health::Failed(why) = of_one(&status(scheduled(Some("trapped")), 1), "new") else {
            panic!("it failed when it was due")
        };
        assert!(why.contains("trapped"), "{why}");
        let proved = Status {
            proved: true,
            ..status(scheduled(Some("ended with 0")), 1)
        };
        assert_eq!(of_one(&proved, "new"), Health::Proved);
    }

    #[test]
    fn td10_what_runs_must_be_what_came_and_prove_itself() {
        let running = |healthy| Doing::Running {
            since: String::new(),
            healthy,
        };
        assert_eq!(of_one(&status(running(false), 1), "new"), Health::NotYet);
        assert_eq!(of_one(&status(running(true), 1), "new"), Health::Proved);
        // Nor is there anything to prove before it has begun.
        assert_eq!(of_one(&status(Doing::Starting, 0), "new"), Health::NotYet);
        assert!(matches!(
            of_one(&status(running(true), 1), "old"),
            Health::Failed(_)
        ));
        let waiting = |has_no_address| Doing::Waiting {
            milliseconds: 1,
            ended: "trapped".to_owned(),
            has_no_address,
        };
        assert!(matches!(
            of_one(&status(waiting(false), 1), "new"),
            Health::Failed(_)
        ));
        assert_eq!(of_one(&status(waiting(true), 1), "new"), Health::NotYet);
        // Revoked between its admission and its start, or after it ran.
        for starts in [0, 1] {
            let revoked = Doing::Refused(Refusal::withdrawn("report"));
            assert!(matches!(
                of_one(&status(revoked, starts), "new"),
                Health::Refused(_)
            ));
        }
    }
}
