//! A signed file becomes a component that is ready to start, or a reason why not.
//!
//! Decides which checks a gateway adds to the runtime's: that the file holds the component that is expected in its place,
//! what of an admission is remembered, and that nothing starts whose record was not written.

#[cfg(test)]
pub(crate) mod tests;

use std::path::Path;
use std::sync::Arc;

use anyhow::bail;
use countersign_format::{Audience, Digest, Envelope, FormatError, SignedFile, Statement};
use countersign_hosting::lending::NotLent;
use countersign_hosting::{AuditLog, CodeNotUsed, CodeSearch, MAX_FILE_BYTES, Read, read};
use countersign_runtime::audit::Record;
use countersign_runtime::http::HttpLimits;
use countersign_runtime::messaging;
use countersign_runtime::wasmtime::component::Linker;
use countersign_runtime::{
    CodeSupply, Compilation, GivenUp, GuestContext, LineSink, LoadError, ReadyGuest, Runtime,
};
use countersign_trust_store::{
    Code, CrlNumber, Link, Rejection, VerifiedChain, VerifiedComponent, VerifiedPrecompiled,
};
use serde::Serialize;

use crate::bundle::{Hold, OnTrial};
use crate::clock::Clock;
use crate::code;
use crate::config::{Compile, Place, Service, Work};
use crate::http::Server;
use crate::identity::Identity;
use crate::kept::Candidate;
use crate::keys::Keys;
use crate::lack::{is_of_lack, says_lack};
use crate::lists::Lists;
use crate::messages::Post;
use crate::say::warn;
use crate::service::Leaving;
use crate::state::{self, Memory, State};

/// What every service of a gateway shares.
pub(crate) struct Host {
    pub(crate) runtime: Runtime,
    pub(crate) records: Arc<AuditLog>,
    pub(crate) clock: Clock,
    /// The revocation lists that the operator gave last.
    pub(crate) lists: Lists,
    /// The device's keys.
    pub(crate) keys: Keys,
    /// Who it is by them.
    pub(crate) identity: Identity,
    /// What compiling a component may take.
    pub(crate) compile: Compile,
    /// Whether a bundle is on trial.
    pub(crate) hold: Hold,
    /// What components that answer requests share.
    pub(crate) http: Arc<Server>,
    /// What has lost its place, and is not gone yet.
    pub(crate) leaving: Leaving,
}

/// What is known of a component that verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Facts {
    /// Its name in its statement.
    pub(crate) component: String,
    /// Its version, for people.
    pub(crate) version: String,
    /// The version that must not fall.
    pub(crate) security_version: u64,
    /// SHA-256 of the signed file.
    pub(crate) file_sha256: String,
    /// SHA-256 of the component in it, without signatures.
    pub(crate) component_sha256: String,
    /// The devices that signed it, or the subjects of their certificates.
    pub(crate) signers: Vec<String>,
    /// SHA-256 of the SubjectPublicKeyInfo of each of them.
    #[serde(skip)]
    pub(crate) keys: Vec<Digest>,
    /// Until then every certificate of its chains is valid.
    pub(crate) valid_until: String,
    /// When it was admitted, where it runs because of that: its certificates or their lists are not current any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) admitted_at: Option<String>,
    /// As of when it was judged, where this machine's clock was not plausible.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) judged_at_floor: Option<String>,
    /// The code that came with it.
    #[serde(flatten)]
    pub(crate) vouched: Option<Vouched>,
}

/// Code that came with a component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Vouched {
    /// SHA-256 of the code.
    code_sha256: String,
    /// The device that vouches for it, or the subject of its certificate.
    pub(crate) code_signer: String,
}

impl Facts {
    /// Whether what these are of is to run in the place of what those are of: another file, or other code that came with it.
    /// Where none came, or none that is used, that which runs is as good.
    pub(crate) fn differ_from(&self, running: &Self) -> bool {
        let other_code = self.vouched.is_some() && self.vouched != running.vouched;
        self.file_sha256 != running.file_sha256 || other_code
    }

    /// What is said when it is admitted.
    pub(crate) fn introduction(&self) -> String {
        let Self {
            component,
            version,
            valid_until,
            ..
        } = self;
        let signers = self.signers.join(" and ");
        match &self.admitted_at {
            None => format!("{component} {version}, signed by {signers}, admitted"),
            Some(at) => format!(
                "{component} {version}, signed by {signers}, starts because it was admitted on {at}: its certificates ended on \
                 {valid_until}, or this machine's clock or lists say so; renew them before the next update"
            ),
        }
    }
}

/// A component that verified under what this gateway remembers.
pub(crate) struct Verified {
    pub(crate) facts: Facts,
    /// The whole file.
    pub(crate) bytes: Vec<u8>,
    component: VerifiedComponent,
    /// Code that came with it, for this host.
    precompiled: Option<VerifiedPrecompiled>,
    /// Code that came with it, and is not used.
    not_used: Vec<CodeNotUsed>,
}

impl Verified {
    /// How many bytes it holds in memory while it is loaded.
    pub(crate) fn weight(&self) -> usize {
        let code = self.code().map_or(0, <[u8]>::len);
        self.bytes.len().saturating_add(code)
    }

    /// What is to be remembered when it is admitted, so that its dates and its code's do not keep it from starting again; and
    /// the names of their files.
    pub(crate) fn admissions(&self) -> Vec<(Digest, state::Admitted)> {
        let component = &self.component;
        let own = (
            component.admission().signatures(),
            state::Admitted::of(component),
        );
        let code = self.precompiled.iter().map(|code| {
            let admitted = state::Admitted::of_code(component, code);
            (code.admission().signatures(), admitted)
        });
        std::iter::once(own).chain(code).collect()
    }

    /// The file of the code that came with it.
    pub(crate) fn code(&self) -> Option<&[u8]> {
        self.precompiled.as_ref().map(VerifiedPrecompiled::file)
    }
}

/// A component that may start.
#[derive(Clone)]
pub(crate) struct Admitted {
    pub(crate) facts: Facts,
    pub(crate) ready: ReadyGuest<GuestContext>,
    /// Its signers' certificates, as later lists name them.
    pub(crate) links: Arc<[Link]>,
    /// What it sends, if it has to do with messages.
    pub(crate) post: Option<Post>,
    /// What was put down of it; nothing of a copy.
    pub(crate) candidate: Option<Arc<Candidate>>,
    /// The trial of the bundle that it was admitted in.
    trial: Option<Arc<OnTrial>>,
    proof: Proof,
}

impl Admitted {
    /// Whether it came with a bundle that was refused: it is on its way out.
    pub(crate) fn is_refused(&self) -> bool {
        self.trial.as_ref().is_some_and(|trial| trial.has_failed())
    }
}

/// What is to be remembered once a component proved healthy.
#[derive(Clone)]
struct Proof {
    /// SHA-256 of the file's signatures.
    signatures: Digest,
    /// The same of the code's.
    code: Option<Digest>,
    roots: Vec<Digest>,
    name: countersign_format::ComponentName,
    security_version: u64,
}

/// What to do about what this machine lacks.
const TRIED_AGAIN: &str = "Correct what the message names; it is tried again by itself.";

/// Why a component does not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Refusal {
    /// The code of a refusal; none where the configuration or this machine is at fault.
    pub(crate) code: Option<&'static str>,
    pub(crate) why: String,
    pub(crate) next: String,
    /// Of one whose certificate was revoked, the issuer's key and the number of the list that says so.
    #[serde(skip)]
    pub(crate) revoked_by: Option<(Digest, CrlNumber)>,
    /// Whether this machine lacked something that may come back by itself: room on a disk, memory, an answer of its disk.
    #[serde(skip)]
    pub(crate) is_of_lack: bool,
}

impl Refusal {
    pub(crate) fn of(code: Code, why: &impl ToString) -> Self {
        Self {
            code: Some(code.as_str()),
            next: code.next_step().to_owned(),
            ..Self::without_code(why.to_string(), "")
        }
    }

    /// For what no code is for.
    pub(crate) fn without_code(why: String, next: &str) -> Self {
        Self {
            code: None,
            why,
            next: next.to_owned(),
            revoked_by: None,
            is_of_lack: false,
        }
    }

    fn of_machine(error: &anyhow::Error) -> Self {
        let is_of_lack = is_of_lack(error);
        let next = match is_of_lack {
            true => TRIED_AGAIN,
            false => "Correct what the message names, and reload.",
        };
        Self {
            is_of_lack,
            ..Self::without_code(format!("{error:#}"), next)
        }
    }

    /// Says that a copy of a service's does not run for want of something. What else is wrong with a copy has its record.
    pub(crate) fn tell_of_copy(&self, service: &str) {
        if self.is_of_lack {
            warn(service, &format!("a copy was passed over: {}", self.why));
        }
    }

    /// For a component that needs a key which is not lent.
    pub(crate) fn of_key(reason: &NotLent) -> Self {
        match reason.code() {
            Some(code) => Self::of(code, reason),
            None => Self::of_machine(&anyhow::anyhow!("{reason}")),
        }
    }

    /// Whether hardware was missing, which may come back by itself.
    pub(crate) fn is_of_hardware(&self) -> bool {
        self.code == Some(Code::KeyHardware.as_str())
    }

    /// Whether it is meant for other devices than this is known to be.
    pub(crate) fn is_of_audience(&self) -> bool {
        self.code == Some(Code::Audience.as_str())
    }

    /// For a component without code where nothing is compiled: what is wrong with the code that came with it.
    fn of_unused_code(not_used: &CodeNotUsed) -> Self {
        let why = format!("this gateway has no compiler, and {not_used}");
        match not_used.code {
            Some(code) => Self::of(code, &why),
            None => Self::of_machine(&anyhow::anyhow!(why)),
        }
    }

    /// For a service that its gateway did not get to.
    pub(crate) fn not_tried() -> Self {
        Self::of_machine(&anyhow::anyhow!("it was not tried yet"))
    }

    /// For a service whose component is on its way.
    pub(crate) fn loading() -> Self {
        Self::without_code(
            "its component verified, and is being compiled or loaded".to_owned(),
            "Wait; `countersign-gateway logs` says what becomes of it.",
        )
    }

    /// For a version that failed too often before it proved healthy.
    fn quarantined(facts: &Facts) -> Self {
        let why = format!(
            "{} {} failed three times before it proved healthy, so it is not tried again by itself",
            facts.component, facts.version
        );
        let next = "Put another version in its place, or have it tried once more by `countersign-gateway reload`.";
        Self::without_code(why, next)
    }

    /// For what runs already, when a newer list names one of its signers' certificates.
    pub(crate) fn revoked(component: &str) -> Self {
        let why = format!(
            "{component} ran, and a newer revocation list names a certificate of its signers"
        );
        Self::of(Code::Revoked, &why)
    }

    /// The exit status of a program that ends for this reason.
    pub(crate) fn exit_status(&self) -> u8 {
        let code = Code::ALL
            .iter()
            .find(|code| self.code == Some(code.as_str()));
        code.map_or(2, |code| code.exit_status())
    }
}

impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Self {
        Self::of_machine(&error)
    }
}

impl From<LoadError> for Refusal {
    fn from(error: LoadError) -> Self {
        let refusal = Self::of(error.code(), &error);
        match &error {
            // Not for what the component is.
            LoadError::CompilerFailed {
                system: Some(error),
                ..
            } if says_lack(error) => Self {
                is_of_lack: true,
                next: TRIED_AGAIN.to_owned(),
                ..refusal
            },
            _ => refusal,
        }
    }
}

impl Host {
    /// Reads and verifies a file as the component of a service, and remembers the numbers of the lists that were
    /// consulted, that of one that revoked it above all: it does not come back when that list is taken away.
    ///
    /// # Errors
    /// As [`Self::verify`]; or that they could not be remembered.
    pub(crate) fn judge(
        &self,
        service: &Service,
        place: &Place,
        state: &State,
    ) -> Result<Verified, Refusal> {
        let verified = self.verify(service, place, &self.hold.over(state.memory()));
        let numbers = match &verified {
            Ok(verified) => numbers(verified),
            Err(refusal) => refusal.revoked_by.into_iter().collect(),
        };
        let remembered = state.remember(|memory| {
            for (issuer, number) in numbers {
                memory.raise_list(issuer, number);
            }
        });
        match (verified, remembered) {
            (Err(refusal), Err(error)) => {
                warn(
                    &service.name,
                    &format!("what revoked it is not remembered: {error:#}"),
                );
                Err(refusal)
            }
            (verified, remembered) => verified.and_then(|verified| {
                remembered?;
                Ok(verified)
            }),
        }
    }

    /// Reads and verifies a file as the component of a service, under what is remembered and the lists.
    ///
    /// # Errors
    /// The refusal, of which a record has been made.
    pub(crate) fn verify(
        &self,
        service: &Service,
        place: &Place,
        memory: &Memory,
    ) -> Result<Verified, Refusal> {
        let verified = self.verify_any(place, memory)?;
        let component = &verified.component;
        let name = component.statement().name();
        if *name != service.signed_as {
            let why = format!(
                "{} holds {name}, and {} is expected there",
                place.component.display(),
                service.signed_as
            );
            let code = Code::OtherComponent;
            self.records
                .write(&Record::not_started(component, Some(code), &why));
            return Err(Refusal::of(code, &why));
        }
        Ok(verified)
    }

    /// The same for whatever component the file holds.
    ///
    /// # Errors
    /// The refusal, of which a record has been made.
    pub(crate) fn verify_any(&self, place: &Place, memory: &Memory) -> Result<Verified, Refusal> {
        let bytes = match read(&place.component, MAX_FILE_BYTES)? {
            Read::Whole(bytes) => bytes,
            Read::TooLarge { size } => {
                let rejection = Rejection::Format(FormatError::LimitExceeded {
                    what: "file",
                    limit: MAX_FILE_BYTES,
                    actual: size,
                });
                return Err(self.refused(None, rejection.code(), &rejection.to_string()));
            }
        };
        let file = Digest::of(&bytes);
        let mut state = memory.trust_state()?;
        self.lists.tell(&mut state);
        let policy = self.identity.policy(self.runtime.policy())?;
        // The runtime records its own refusals.
        let component = self
            .runtime
            .verify_by(&policy, bytes.clone(), &self.clock.now(), &state)
            .map_err(Refusal::from)?;
        let search = CodeSearch {
            runtime: &self.runtime,
            component: &component,
            now: &self.clock.now(),
            state: &state,
        };
        let (precompiled, not_used) = search.find(&place.component, &place.code);
        for not_used in &not_used {
            // The component is compiled then, or refused where that cannot be.
            let why = not_used.to_string();
            warn(&component.statement().name().to_string(), &why);
            let record = Record::code_refused(&component, not_used.code, &why);
            self.records.write(&record);
        }
        Ok(Verified {
            facts: facts(&component, precompiled.as_ref(), file),
            bytes,
            component,
            precompiled,
            not_used,
        })
    }

    /// Finds out by the keys that are lent now which device this is, and has it remembered.
    ///
    /// # Errors
    /// If it cannot be remembered.
    pub(crate) fn identify(&self, remembering: &State) -> anyhow::Result<()> {
        let memory = remembering.memory();
        let lists = self.lists.now();
        let mut state = memory.trust_state()?;
        self.lists.tell(&mut state);
        let proved = self.identity.prove(
            &self.keys.possessed(),
            memory.identity(),
            self.runtime.anchors(),
            &self.clock.now(),
            (&state, lists.all()),
        );
        match proved {
            Some(proved) => remembering.remember(|memory| memory.know_identity(proved)),
            // It may have a key tomorrow that does not answer today.
            None => Ok(()),
        }
    }

    /// Lets nothing pass that failed too often before it proved healthy.
    ///
    /// # Errors
    /// That it did.
    pub(crate) fn not_quarantined(
        &self,
        verified: &Verified,
        state: &State,
    ) -> Result<(), Refusal> {
        let signatures = verified.component.admission().signatures();
        if state.memory().is_quarantined(signatures) {
            return Err(Refusal::quarantined(&verified.facts));
        }
        Ok(())
    }

    /// Why a component that was admitted must not run any more: a list names one of its signers' certificates, or a bundle has withdrawn
    /// its version.
    pub(crate) fn forbids(
        &self,
        service: &str,
        facts: &Facts,
        links: &[Link],
        state: &State,
    ) -> Option<Refusal> {
        if self.lists.names(links) {
            return Some(Refusal::revoked(service));
        }
        let is_withdrawn = state.withdraws(&facts.component, facts.security_version);
        is_withdrawn.then(|| Refusal::withdrawn(service))
    }

    /// Has it remembered that a component failed before it proved healthy.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn failed(&self, admitted: &Admitted, state: &State) -> anyhow::Result<()> {
        state.remember(|memory| memory.admission_failed(admitted.proof.signatures))
    }

    /// Compiles and links what verified. Takes about a second for 4 MB, and blocks until somebody gives it up.
    ///
    /// # Errors
    /// The refusal, of which a record has been made; or that the record of the acceptance could not be written.
    pub(crate) fn load(
        &self,
        service: &Service,
        verified: Verified,
        log: LineSink,
        state: &State,
        given_up: GivenUp,
    ) -> Result<Admitted, Refusal> {
        let Verified {
            facts,
            component,
            precompiled,
            not_used,
            ..
        } = verified;
        let not_started = |code, why: &str| {
            self.records
                .write(&Record::not_started(&component, code, why));
        };
        let ceiling = service
            .ceiling(log)
            .inspect_err(|error| not_started(Some(error.code()), &error.to_string()))?;
        let ceiling = self
            .keys
            .of(service, component.statement(), ceiling)
            .map_err(|reason| {
                let code = reason.code();
                not_started(code, &reason.to_string());
                Refusal::of_key(&reason)
            })?;
        let chains = || component.signers().iter().map(|signer| signer.chain());
        // Who vouches for its code can be revoked as who signed it.
        let links = chains()
            .chain(precompiled.iter().map(VerifiedPrecompiled::chain))
            .flat_map(|chain| chain.links().to_vec())
            .collect();
        let proof = Proof {
            signatures: component.admission().signatures(),
            code: (precompiled.as_ref()).map(|code| code.admission().signatures()),
            roots: chains().map(|chain| chain.anchor_spki_sha256()).collect(),
            name: component.statement().name().clone(),
            security_version: component.statement().security_version(),
        };
        let trial = self.hold.trial();
        let runtime = match service.work {
            Work::Http(_) => self.http.runtime()?,
            Work::Command | Work::Messages(_) | Work::Schedule(_) => &self.runtime,
        };
        let mut linker = Linker::<GuestContext>::new(runtime.engine());
        let post = match &service.work {
            Work::Messages(messages) => Some(Post::new(messages)),
            Work::Command | Work::Http(_) | Work::Schedule(_) => None,
        };
        if let Some(post) = &post {
            messaging::add_to_linker(&mut linker, post.publisher()).map_err(|error| {
                anyhow::anyhow!("messages cannot be offered to components: {error:#}")
            })?;
        }
        let work = code::work(component.digest(), &self.compile);
        let mut compilation = Compilation::default();
        compilation.given_up = given_up;
        compilation.stopped_before = state.memory().stopped_compiler(&work).map(str::to_owned);
        let supply = precompiled.map(CodeSupply::from);
        let loaded = runtime.load_with(component, supply, &compilation, &ceiling, &linker);
        let ready = match loaded {
            Ok(ready) => ready,
            Err(error) => {
                if let (LoadError::NoCompiler, Some(not_used)) = (&error, not_used.first()) {
                    return Err(Refusal::of_unused_code(not_used));
                }
                if let LoadError::CompilerStopped { reason, by } = &error {
                    let why = format!(
                        "{reason}; it is not tried again until the file or [gateway.compile] is another"
                    );
                    state.remember(|memory| memory.compiler_stopped(&work, &why, *by))?;
                }
                return Err(error.into());
            }
        };
        code::tell(&service.name, ready.code_origin());
        // The runtime leaves that to whoever can say that it failed. A full disk does not keep from running what ran here before.
        match state.memory().has_proved(proof.signatures) {
            true => self.records.record_again(ready.record())?,
            false => self.records.record(ready.record())?,
        }
        if let Work::Http(_) = service.work {
            ready
                .http_handler(HttpLimits::default())
                .inspect_err(|error| {
                    let record = ready
                        .record()
                        .stopped(Some(error.code()), &error.to_string());
                    self.records.write(&record);
                })?;
        }
        Ok(Admitted {
            facts,
            ready,
            links,
            post,
            candidate: None,
            trial,
            proof,
        })
    }

    /// Has it remembered that a component proved healthy: no older version is admitted from now on.
    ///
    /// # Errors
    /// If it cannot be written; or it came with a bundle that was refused.
    pub(crate) fn prove(&self, admitted: &Admitted, state: &State) -> anyhow::Result<()> {
        if admitted.is_refused() {
            bail!("it came with a bundle that was refused, and is on its way out");
        }
        state.remember(|memory| {
            for root in &admitted.proof.roots {
                let (name, version) =
                    (admitted.proof.name.clone(), admitted.proof.security_version);
                memory.raise_version(*root, name, version);
            }
            let proof = &admitted.proof;
            for signatures in std::iter::once(proof.signatures).chain(proof.code) {
                memory.admission_proved(signatures);
            }
        })
    }

    fn refused(&self, file: Option<Digest>, code: Code, why: &str) -> Refusal {
        let record = Record::refused_by_host(file, code, why, self.runtime.anchors());
        self.records.write(&record);
        Refusal::of(code, &why)
    }
}

/// The numbers of the lists that were consulted, by their issuers' keys.
fn numbers(verified: &Verified) -> Vec<(Digest, CrlNumber)> {
    let signers = verified.component.signers().iter();
    let chains = signers
        .map(|signer| signer.chain())
        .chain(verified.precompiled.iter().map(VerifiedPrecompiled::chain));
    chains
        .flat_map(|chain| chain.revocation().to_vec())
        .chain(verified.not_used.iter().filter_map(|code| code.revoked_by))
        .collect()
}

/// Whether a file claims to be meant for certain devices. That decides nothing but when it is judged.
pub(crate) fn names_an_audience(path: &Path) -> bool {
    let Ok(Read::Whole(bytes)) = read(path, MAX_FILE_BYTES) else {
        return false;
    };
    let statement = SignedFile::parse(&bytes)
        .and_then(|file| Envelope::decode(file.signature()))
        .and_then(|envelope| Statement::decode(envelope.statement_bytes()));
    statement.is_ok_and(|statement| *statement.audience() != Audience::default())
}

fn facts(component: &VerifiedComponent, code: Option<&VerifiedPrecompiled>, file: Digest) -> Facts {
    let statement = component.statement();
    let chains = || component.signers().iter().map(|signer| signer.chain());
    let all = || chains().chain(code.map(VerifiedPrecompiled::chain));
    Facts {
        component: statement.name().to_string(),
        version: statement.version().to_string(),
        security_version: statement.security_version(),
        file_sha256: file.to_string(),
        component_sha256: component.digest().to_string(),
        keys: chains().map(|chain| chain.key().spki_sha256()).collect(),
        signers: chains().map(named).collect(),
        valid_until: all()
            .map(|chain| chain.valid_until())
            .min()
            .map(|until| until.to_string())
            .unwrap_or_default(),
        admitted_at: all()
            .filter_map(VerifiedChain::admitted_at)
            .min()
            .map(|at| at.to_string()),
        judged_at_floor: all()
            .filter_map(VerifiedChain::judged_at_floor)
            .min()
            .map(|at| at.to_string()),
        vouched: code.map(|code| Vouched {
            code_sha256: code.statement().code_digest().to_string(),
            code_signer: named(code.chain()),
        }),
    }
}

/// The device of a chain, or the subject of its certificate.
fn named(chain: &VerifiedChain) -> String {
    let device = chain.device().map(|device| device.identity().to_string());
    device.unwrap_or_else(|| chain.leaf().subject())
}
