//! Compiled code: where it is kept, and the process that makes it.
//!
//! Decides that a component is compiled by this program started once more, which can be killed and reaches nothing but the
//! component and its own output, and that the code is kept in the state's folder. What makes code believed is decided in
//! `countersign-runtime`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use countersign_format::Digest;
use countersign_runtime::{
    Builder, CodeCache, CodeOrigin, CompileLimits, build_id, compile_for_parent,
};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

use crate::config::Compile;
use crate::say::warn;

/// The verb by which this program starts itself.
pub(crate) const VERB: &str = "compile-for-parent";

/// What a compiler has no use for: the network, files, other programs and other processes.
const DENIED: &[i64] = &[
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_io_uring_setup,
    libc::SYS_listen,
    libc::SYS_mount,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_pidfd_getfd,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_unshare,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
];

/// Where compiled code is kept, and what makes it: one of each for all runtimes.
#[derive(Clone, Debug)]
pub(crate) struct Equipment {
    cache: Arc<CodeCache>,
    limits: CompileLimits,
    interpreted: bool,
}

impl Equipment {
    /// That of the gateway with this state's folder.
    ///
    /// # Errors
    /// If the folder of the code is not this gateway's alone.
    pub(crate) fn open(state: &Path, compile: &Compile) -> anyhow::Result<Self> {
        let cache = CodeCache::open(&state.join("code"), compile.cache)
            .context("nothing is started on code that others could have changed")?;
        let mut limits = CompileLimits::new([VERB]);
        limits.memory_bytes = compile.memory;
        limits.cpu = compile.cpu;
        limits.time = compile.time;
        Ok(Self {
            cache: Arc::new(cache),
            limits,
            interpreted: compile.interpreted,
        })
    }

    /// Has a runtime compile apart, and keep its code there.
    pub(crate) fn of(&self, builder: Builder) -> Builder {
        let builder = builder
            .code_cache(Arc::clone(&self.cache))
            .compile_apart(self.limits.clone());
        if self.interpreted {
            builder.interpreted()
        } else {
            builder
        }
    }
}

/// The name of the work that compiling a component is: with other settings, or by another build, it is another.
pub(crate) fn work(component: Digest, compile: &Compile) -> String {
    let Compile {
        memory,
        cpu,
        time,
        interpreted,
        ..
    } = compile;
    let build = build_id();
    let work = format!("{component} {memory} {cpu:?} {time:?} {interpreted} {build}");
    Digest::of(work.as_bytes()).to_string()
}

/// Says of code whose origin an operator wants to know of.
pub(crate) fn tell(service: &str, origin: &CodeOrigin) {
    match origin {
        CodeOrigin::Recompiled { why } => warn(
            service,
            &format!("the code that was kept is not used, and it was compiled again: {why}"),
        ),
        CodeOrigin::NotKept { why } => warn(
            service,
            &format!("its code was not kept, and is compiled again at the next start: {why}"),
        ),
        _ => {}
    }
}

/// Compiles for the gateway that started this process: the status to end with.
pub(crate) fn compile() -> u8 {
    match confine() {
        Ok(()) => compile_for_parent(),
        // Whoever waits learns of it by the absence of an answer.
        Err(_) => 1,
    }
}

/// Takes from this process what a compiler has no use for, before it has read anything.
fn confine() -> anyhow::Result<()> {
    // There are processors for which the library has no filter; limits and an empty environment remain there.
    let Ok(arch) = TargetArch::try_from(std::env::consts::ARCH) else {
        return Ok(());
    };
    // A kernel that is built without filters does not say how many there are.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if !status.contains("\nSeccomp:") {
        return Ok(());
    }
    let rules: BTreeMap<i64, Vec<_>> = DENIED.iter().map(|call| (*call, Vec::new())).collect();
    let denied = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, denied, arch)?;
    let program: BpfProgram = filter.try_into()?;
    seccompiler::apply_filter(&program)?;
    Ok(())
}
