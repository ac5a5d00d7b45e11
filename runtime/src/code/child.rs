//! Compiling in a process of its own, which can be killed.
//!
//! That a component keeps the compiler busy for hours, or uses all memory, is no flaw of the compiler to its makers. So a
//! host that must go on starts itself once more, hands over the verified buffer in a memory that nobody can change any more,
//! and takes back what the child writes within its caps. A child that is over one, or dies, refuses that component alone.
//!
//! The child is this very program (`/proc/self/exe`, whatever lies in its place by now), and nothing else has the other end
//! of the pipe. Each of its answers is sealed with a key of this one compilation, so that nothing which another part of the
//! program prints is taken for code.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;

use super::answer::{self, Answer};
use super::seal::{self, Key};
use super::turns::Turns;
use super::{Code, Permit, memory};
use crate::error::{CompileLimit, LoadError};

/// The largest list of imports, in bytes (32 MiB): as many as are read, each with the longest name that the parser takes.
const MAX_IMPORTS_BYTES: u64 = 32 << 20;

/// Threads that compile. Each reserves address space, of which the child has little.
const THREADS: &str = "4";

/// How long it may take until a child that was killed or has written all is gone.
const REAPED: Duration = Duration::from_secs(10);

/// How often it is looked whether somebody still waits.
const LOOK: Duration = Duration::from_millis(100);

/// Ends a compilation that nobody waits for any more. All copies are one.
#[derive(Clone, Debug, Default)]
pub struct GivenUp(Arc<AtomicBool>);

impl GivenUp {
    /// Gives it up: the process that compiles is killed soon.
    pub fn give_up(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was given up.
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What compiling one component may take. Two compile at the same time, of all runtimes that have copies of the same limits.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CompileLimits {
    /// What this program is started with so that it calls [`compile_for_parent`](super::compile_for_parent) at once.
    pub arguments: Vec<OsString>,
    /// Address space of the child, in bytes.
    pub memory_bytes: u64,
    /// Processor time of the child, over all its threads; whole seconds.
    pub cpu: Duration,
    /// Time until its code is there.
    pub time: Duration,
    /// The largest code, in bytes.
    pub code_bytes: u64,
    /// Whose copies wait for each other.
    pub(super) turns: Arc<Turns>,
}

impl CompileLimits {
    /// A GiB of address space, two minutes of processor time, four minutes, 256 MiB of code: many times what ordinary
    /// components take on a slow machine.
    #[must_use]
    pub fn new<A: Into<OsString>>(arguments: impl IntoIterator<Item = A>) -> Self {
        Self {
            arguments: arguments.into_iter().map(Into::into).collect(),
            memory_bytes: 1 << 30,
            cpu: Duration::from_secs(120),
            time: Duration::from_secs(240),
            code_bytes: 256 << 20,
            turns: Arc::default(),
        }
    }
}

/// Has a child compile `component`. `permit` sees its imports as soon as they are read; where it refuses, the child is
/// killed before it has compiled, as it is where nobody waits for it any more.
pub(super) fn compile(
    limits: &CompileLimits,
    interpreted: bool,
    component: &[u8],
    permit: &Permit<'_>,
    given_up: &GivenUp,
) -> Result<Code, LoadError> {
    let mut secret = [0; Key::BYTES];
    getrandom::fill(&mut secret).map_err(|error| failed("there are no random numbers", error))?;
    let request = answer::request(&secret, limits, interpreted);
    let memory = sealed(&[&request, component])
        .map_err(|error| not_given("the component cannot be handed over", error))?;
    let mut compiler = Compiler::start(limits, memory, given_up)
        .map_err(|error| not_given("this program cannot be started once more", error))?;
    let key = Key::new(secret);
    let imports = match compiler.answer(&key, limits, MAX_IMPORTS_BYTES)? {
        Answer::Imports(imports) => seal::decode(&imports),
        Answer::Invalid(reason) => return Err(LoadError::ComponentInvalid { reason }),
        Answer::Feature(reason) => return Err(LoadError::FeatureForbidden { reason }),
        Answer::Code(_) => None,
    };
    let imports = imports.ok_or_else(|| failed("its answer cannot be read", "no imports"))?;
    permit(&imports)?;
    match compiler.answer(&key, limits, limits.code_bytes)? {
        Answer::Code(code) => Ok(Code::made(imports, code)),
        Answer::Invalid(reason) => Err(LoadError::ComponentInvalid { reason }),
        Answer::Feature(reason) => Err(LoadError::FeatureForbidden { reason }),
        Answer::Imports(_) => Err(failed("its answer cannot be read", "imports twice")),
    }
}

fn failed(what: &str, error: impl std::fmt::Display) -> LoadError {
    LoadError::CompilerFailed {
        reason: format!("{what}: {error}"),
        system: None,
    }
}

/// Where the system was asked for something and did not give it.
fn not_given(what: &str, error: io::Error) -> LoadError {
    LoadError::CompilerFailed {
        reason: format!("{what}: {error}"),
        system: Some(error),
    }
}

/// A memory with these bytes that can never be changed, by this process either.
fn sealed(parts: &[&[u8]]) -> io::Result<OwnedFd> {
    let mut open = memory::Open::new("countersign-component")?;
    for part in parts {
        open.write_all(part)?;
    }
    Ok(open.seal()?.into())
}

/// A child that compiles. Dropped, it is killed.
struct Compiler {
    child: Child,
    answers: ChildStdout,
    until: Instant,
    given_up: GivenUp,
}

impl Compiler {
    fn start(limits: &CompileLimits, memory: OwnedFd, given_up: &GivenUp) -> io::Result<Self> {
        let mut child = Command::new("/proc/self/exe")
            .arg0("countersign-compiler")
            .args(&limits.arguments)
            // Nothing of the environment is for it.
            .env_clear()
            .env("RAYON_NUM_THREADS", THREADS)
            // glibc reserves 64 MiB of address space for each further heap.
            .env("MALLOC_ARENA_MAX", "2")
            .current_dir("/")
            .stdin(Stdio::from(memory))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let Some(answers) = child.stdout.take() else {
            return Err(io::Error::other("it has no output"));
        };
        Ok(Self {
            child,
            answers,
            until: Instant::now() + limits.time,
            given_up: given_up.clone(),
        })
    }

    /// The child's next answer, whose body has `most` bytes at most.
    fn answer(
        &mut self,
        key: &Key,
        limits: &CompileLimits,
        most: u64,
    ) -> Result<Answer, LoadError> {
        let mut head = [0; answer::HEAD];
        let read = self.fill(&mut head).and_then(|()| {
            let length = answer::length(&head, most)?;
            let mut body = vec![0; length];
            self.fill(&mut body)?;
            answer::open(key, &head, body)
        });
        read.map_err(|error| self.why(limits, &error))
    }

    /// Reads until `buffer` is full; not for longer than the child may take, and somebody waits.
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let mut rest = buffer;
        while !rest.is_empty() {
            let left = self.until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            if self.given_up.is_given_up() {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            let timeout = Timespec::try_from(left.min(LOOK)).map_err(io::Error::other)?;
            let mut ready = [PollFd::new(&self.answers, PollFlags::IN)];
            match poll(&mut ready, Some(&timeout)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => continue,
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
            match self.answers.read(rest)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => rest = rest.get_mut(read..).unwrap_or_default(),
            }
        }
        Ok(())
    }

    /// Why a child did not answer, in words for the operator.
    fn why(&mut self, limits: &CompileLimits, error: &io::Error) -> LoadError {
        let mebibytes = limits.memory_bytes >> 20;
        let ended = match error.kind() {
            io::ErrorKind::ConnectionAborted => return LoadError::GivenUp,
            io::ErrorKind::TimedOut => {
                let reason = format!("it took more than {:?}", limits.time);
                let by = CompileLimit::Time;
                return LoadError::CompilerStopped { reason, by };
            }
            io::ErrorKind::UnexpectedEof => self.end(),
            _ => None,
        };
        let (by, reason) = match ended.map(|status| (status.code(), status.signal())) {
            Some((_, Some(signal))) if signal == Signal::XCPU.as_raw() => {
                let reason = format!("it took more than {:?} of processor time", limits.cpu);
                (CompileLimit::Cpu, reason)
            }
            Some((_, Some(signal))) if signal == Signal::KILL.as_raw() => {
                let reason = "the system killed the compiler, most likely for want of memory";
                (CompileLimit::System, reason.to_owned())
            }
            // By whoever ended this program, too.
            Some((_, Some(signal)))
                if [
                    Signal::TERM,
                    Signal::INT,
                    Signal::HUP,
                    Signal::QUIT,
                    Signal::PIPE,
                ]
                .iter()
                .any(|known| known.as_raw() == signal) =>
            {
                let reason = format!("somebody ended the compiler by signal {signal}");
                (CompileLimit::System, reason)
            }
            Some((_, Some(signal))) => {
                let reason = format!(
                    "the compiler was ended by signal {signal}; it may use {mebibytes} MiB of memory"
                );
                (CompileLimit::Memory, reason)
            }
            Some((Some(status), None)) => {
                let reason = format!("the compiler ended with status {status}");
                (CompileLimit::System, reason)
            }
            _ => return failed("what the compiler answered cannot be used", error),
        };
        LoadError::CompilerStopped { reason, by }
    }

    /// The end of a child whose pipe has ended.
    fn end(&mut self) -> Option<ExitStatus> {
        let until = Instant::now() + REAPED;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait().ok()? {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        None
    }
}

impl Drop for Compiler {
    fn drop(&mut self) {
        // One that has ended already is only taken note of.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
