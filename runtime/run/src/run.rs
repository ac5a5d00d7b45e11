//! One run: read, verify, load, start, and an exit status for every way it can end.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Context as _;
use countersign_format::{Digest, FormatError};
use countersign_hosting::lending::NotLent;
use countersign_hosting::{
    AuditLog, CodeSearch, MAX_FILE_BYTES, Read, read, read_lists, recognise,
};
use countersign_runtime::audit::Record;
use countersign_runtime::wasmtime::component::Linker;
use countersign_runtime::{
    CodeAhead, CodeCache, CodeSupply, Compilation, GuestContext, LoadError, ReadyGuest, RunError,
    Runtime,
};
use countersign_trust_store::{Anchors, Code, Now, Rejection, TrustState, VerifiedComponent};
use tokio::signal::unix::{SignalKind, signal};

use crate::args::Run;
use crate::ceiling::{ceiling, lowered};
use crate::device;
use crate::outputs::Taken;
use crate::report::Reporter;

/// The most compiled code that a cache keeps, in bytes (1 GiB).
const MAX_CACHE: u64 = 1 << 30;

/// Exit statuses of the host that are the guest's to use, too.
const HOST_STATUSES: std::ops::RangeInclusive<u8> = 110..=119;

/// Runs the component, and gives the exit status. An error is one of usage or configuration.
pub(crate) fn run(run: &Run) -> anyhow::Result<u8> {
    let log = Arc::new(AuditLog::open(run.audit.as_deref())?);
    let reporter = Reporter {
        json: run.json,
        file: &run.file,
        log: &log,
    };

    let mut host = Host {
        run,
        reporter,
        log: Arc::clone(&log),
        anchors: Anchors::none(),
        said: RefCell::default(),
    };
    let mut start = host.start();
    loop {
        match start {
            Ok(verified) => match host.load_and_run(verified)? {
                Went::Through(status) => return Ok(status),
                Went::Unread(judged) => start = host.read_and_verify(judged, None),
            },
            Err(Stop::Refused(code)) => {
                log.check()?;
                return Ok(code.exit_status());
            }
            Err(Stop::Misused(error)) => return Err(error),
        }
    }
}

/// How far a component came that verified.
enum Went {
    /// To an exit status.
    Through(u8),
    /// Nowhere yet: it was recognised, and its bytes are needed after all.
    Unread(Box<Judged>),
}

/// Why nothing was started.
enum Stop {
    /// Wrong usage or configuration; nothing was judged.
    Misused(anyhow::Error),
    /// Refused; it has been recorded and reported.
    Refused(Code),
}

impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Self {
        Self::Misused(error)
    }
}

/// By what a component is judged, and what runs it.
struct Judged {
    runtime: Runtime,
    now: Now,
    state: TrustState,
}

/// A component that verified.
struct Start {
    judged: Box<Judged>,
    verified: VerifiedComponent,
    /// Code that lay beside it, for this host, or that was read while it was being verified.
    code: Option<CodeSupply>,
}

struct Host<'a> {
    run: &'a Run,
    reporter: Reporter<'a>,
    log: Arc<AuditLog>,
    anchors: Anchors,
    /// Why code that lay beside the component was not used.
    said: RefCell<BTreeSet<(Digest, String)>>,
}

impl Host<'_> {
    /// Everything up to the verdict.
    fn start(&mut self) -> Result<Start, Stop> {
        self.anchors = countersign_roots::anchors()
            .map_err(|error| self.refuse(None, Code::RootUnusable, &error.to_string()))?;
        if self.anchors.is_empty() {
            return Err(self.refuse_rejection(None, &Rejection::NoRoot));
        }
        self.announce_development_roots();

        let state = self.state()?;
        let runtime = self.runtime()?;
        let now = self.now();
        let recognised = recognise(&self.run.file, &runtime);
        let verified = (recognised.component)
            .and_then(|component| runtime.verify_recognised(component, &now, &state));
        let judged = Box::new(Judged {
            runtime,
            now,
            state,
        });
        match verified {
            Some(verified) => Ok(self.with_code(judged, verified, recognised.code)),
            None => self.read_and_verify(judged, recognised.code),
        }
    }

    /// Reads the file whole, and verifies it.
    fn read_and_verify(
        &self,
        judged: Box<Judged>,
        ahead: Option<CodeAhead>,
    ) -> Result<Start, Stop> {
        let bytes = match read(&self.run.file, MAX_FILE_BYTES)? {
            Read::Whole(bytes) => bytes,
            Read::TooLarge { size } => {
                let error = FormatError::LimitExceeded {
                    what: "file",
                    limit: MAX_FILE_BYTES,
                    actual: size,
                };
                return Err(self.refuse_rejection(None, &Rejection::Format(error)));
            }
        };
        // The runtime has recorded a refusal already; here it is told.
        match judged.runtime.verify(bytes, &judged.now, &judged.state) {
            Ok(verified) => Ok(self.with_code(judged, verified, ahead)),
            Err(rejection) => {
                self.reporter
                    .refused(rejection.code(), &rejection.to_string());
                Err(Stop::Refused(rejection.code()))
            }
        }
    }

    /// Looks for code that came with a component that verified.
    fn with_code(
        &self,
        judged: Box<Judged>,
        verified: VerifiedComponent,
        ahead: Option<CodeAhead>,
    ) -> Start {
        let search = CodeSearch {
            runtime: &judged.runtime,
            component: &verified,
            now: &judged.now,
            state: &judged.state,
        };
        let (code, not_used) = search.find(&self.run.file, &[]);
        for not_used in not_used {
            let why = not_used.to_string();
            // Of a component that was recognised and had to be read after all it was said before.
            if !self
                .said
                .borrow_mut()
                .insert((verified.digest(), why.clone()))
            {
                continue;
            }
            self.reporter.note(&why);
            let record = Record::code_refused(&verified, not_used.code, &why);
            self.log.write(&record);
        }
        Start {
            judged,
            verified,
            code: code.map(CodeSupply::from).or(ahead.map(CodeSupply::from)),
        }
    }

    /// What verifies and runs it.
    fn runtime(&self) -> Result<Runtime, Stop> {
        let mut builder = Runtime::builder(self.anchors.clone());
        if let Some(folder) = &self.run.cache {
            let cache = CodeCache::open(folder, MAX_CACHE).map_err(anyhow::Error::from)?;
            // One component is loaded, and the process ends with it.
            builder = builder.code_cache(cache).code_for_good();
        }
        let log = Arc::clone(&self.log);
        builder
            .audit(move |record| log.write(record))
            .build()
            .map_err(|error| {
                let reason = format!("{:#}", anyhow::Error::from(error));
                self.refuse(None, Code::HostFailure, &reason)
            })
    }

    fn load_and_run(&self, start: Start) -> anyhow::Result<Went> {
        let Start {
            judged,
            verified,
            code,
        } = start;
        let runtime = &judged.runtime;
        let log = &self.log;
        let taken = Taken::by(self.run, log);
        let ceiling = ceiling(self.run, taken, verified.statement())
            .map_err(NotLent::Misused)
            .and_then(|ceiling| device::lend(self.run, log, ceiling));
        let ceiling = match ceiling {
            Ok(ceiling) => ceiling,
            Err(NotLent::Misused(error)) => {
                log.write(&Record::not_started(&verified, None, &format!("{error:#}")));
                log.check()?;
                return Err(error);
            }
            Err(NotLent::Hardware(reason)) => {
                let code = Code::KeyHardware;
                log.write(&Record::not_started(&verified, Some(code), &reason));
                self.reporter.refused(code, &reason);
                log.check()?;
                return Ok(Went::Through(Code::KeyHardware.exit_status()));
            }
        };
        let mut notes = lowered(self.run, verified.statement());
        let asked = &verified.statement().grants().stdio;
        notes.extend(taken.notes(asked.stdout, asked.stderr));
        notes.extend(
            verified
                .uncounted()
                .iter()
                .map(|reason| format!("a signer does not count: {reason}")),
        );
        let linker = Linker::<GuestContext>::new(runtime.engine());
        let loaded = runtime.load_with(verified, code, &Compilation::default(), &ceiling, &linker);
        let ready = match loaded {
            Ok(ready) => ready,
            Err(LoadError::Recognised) => return Ok(Went::Unread(judged)),
            Err(error) => {
                self.reporter.refused(error.code(), &error.to_string());
                log.check()?;
                return Ok(Went::Through(error.code().exit_status()));
            }
        };
        log.check()?;
        notes.extend(ready.granted().withheld().iter().cloned());
        for note in notes {
            self.reporter.note(&note);
        }
        let accepted = ready.record().clone();
        self.reporter.verdict(&accepted);
        let ended = execute(ready)?;
        Ok(Went::Through(self.report_end(&accepted, ended)))
    }

    fn report_end(&self, accepted: &Record, ended: Ended) -> u8 {
        let log = &self.log;
        let status = match ended {
            Ended::Exited(status) => {
                log.write(&accepted.exited(status));
                if HOST_STATUSES.contains(&status) {
                    self.reporter.note(&format!(
                        "the exit status {status} is the guest's own, not this program's"
                    ));
                }
                if let (true, Some(record)) = (self.reporter.json, log.last()) {
                    self.reporter.verdict(&record);
                }
                status
            }
            Ended::Interrupted { signal, status } => {
                log.write(&accepted.stopped(None, &format!("ended by {signal}")));
                self.reporter
                    .note(&format!("the guest was ended by {signal}"));
                status
            }
            Ended::Stopped(error) => {
                let code = error.code();
                log.write(&accepted.stopped(Some(code), &error.to_string()));
                let trace = match &error {
                    RunError::Trapped { backtrace, .. } => backtrace.as_slice(),
                    _ => &[],
                };
                self.reporter.stopped(code, &error.to_string(), trace);
                code.exit_status()
            }
        };
        // The guest has run; its status stands, and the operator hears that the log has a gap.
        if let Err(error) = log.check() {
            self.reporter.warning(&format!(
                "the record of the guest's end is missing: {error:#}"
            ));
        }
        status
    }

    /// Revocation lists that the operator gave; the compiled-in ones are among the anchors. One that cannot be used is
    /// wrong configuration of this run, whatever the component is like.
    fn state(&self) -> anyhow::Result<TrustState> {
        let mut state = TrustState::stateless();
        for path in &self.run.crls {
            for der in read_lists(path)? {
                state
                    .add_crl(&der)
                    .with_context(|| format!("cannot use {}", path.display()))?;
            }
        }
        Ok(state)
    }

    fn now(&self) -> Now {
        let (floor, clock) = (
            countersign_roots::build_time(),
            countersign_roots::system_time(),
        );
        let now = Now::new(floor, Some(clock));
        if now.clock().is_none() {
            self.reporter.warning(&format!(
                "this machine's clock says {clock}, which is before this program was built; it is taken to be {floor} or later"
            ));
        }
        now
    }

    fn announce_development_roots(&self) {
        for anchor in self.anchors.iter().filter(|anchor| anchor.is_development()) {
            self.reporter.warning(&format!(
                "this host trusts a DEVELOPMENT root, {}, until {}: do not use it in production",
                anchor.subject(),
                anchor.not_after()
            ));
        }
    }

    fn refuse_rejection(&self, file: Option<Digest>, rejection: &Rejection) -> Stop {
        self.refuse(file, rejection.code(), &rejection.to_string())
    }

    /// Records and reports a refusal that the runtime did not make.
    fn refuse(&self, file: Option<Digest>, code: Code, reason: &str) -> Stop {
        self.log
            .write(&Record::refused_by_host(file, code, reason, &self.anchors));
        self.reporter.refused(code, reason);
        Stop::Refused(code)
    }
}

/// How a guest ended.
enum Ended {
    Exited(u8),
    Interrupted { signal: &'static str, status: u8 },
    Stopped(RunError),
}

fn execute(ready: ReadyGuest<GuestContext>) -> anyhow::Result<Ended> {
    // One guest, which does one thing at a time; what waits for the system has threads of its own.
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the guest's timers and streams cannot be made")?;
    let ended = tokio.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be watched")?;
        let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be watched")?;
        anyhow::Ok(tokio::select! {
            ended = ready.run_command() => match ended {
                Ok(status) => Ended::Exited(status),
                Err(error) => Ended::Stopped(error),
            },
            _ = interrupt.recv() => Ended::Interrupted { signal: "Ctrl-C (SIGINT)", status: 130 },
            _ = terminate.recv() => Ended::Interrupted { signal: "SIGTERM", status: 143 },
        })
    });
    // A thread of it may wait for standard input for ever.
    tokio.shutdown_background();
    ended
}
