//! System calls that no gateway needs, refused by the kernel from now on (seccomp).
//!
//! A list of what is refused, and not of what is allowed: Wasmtime, the C library and the libraries of key stores need others on
//! every processor and with every version, and a gateway that dies of an update of the C library is one that nobody updates.
//! What a component itself may call has nothing to do with it: it calls nothing of the kernel.

use std::collections::BTreeMap;

use anyhow::Context as _;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use super::Extent;

/// Bits of clone(2)'s flags that make a namespace, from CLONE_NEWNS to CLONE_NEWNET.
const NAMESPACES: u64 = 0x7e02_0000;

/// Refuses them to this thread and to all that it starts. Sets `no_new_privs`.
///
/// # Errors
/// If the kernel has filters and does not take this one.
pub(super) fn refuse() -> anyhow::Result<Extent> {
    let Ok(arch) = TargetArch::try_from(std::env::consts::ARCH) else {
        return Ok(Extent::None);
    };
    // A kernel that knows no filters does not say how many there are.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if !status.contains("\nSeccomp:") {
        return Ok(Extent::None);
    }
    for filter in [forbidden(arch)?, unreadable(arch)?] {
        seccompiler::apply_filter(&filter)?;
    }
    Ok(Extent::Whole)
}

/// Answers EPERM.
fn forbidden(arch: TargetArch) -> anyhow::Result<BpfProgram> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for call in COMMON.iter().chain(OF_PROCESSOR) {
        rules.insert(*call, Vec::new());
        #[cfg(target_arch = "x86_64")]
        rules.insert(*call | X32, Vec::new());
    }
    #[cfg(target_arch = "x86_64")]
    rules.extend(X32_ALONE.iter().map(|call| (*call | X32, Vec::new())));
    let makes_namespace = (0..u64::BITS)
        .map(|bit| 1_u64 << bit)
        .filter(|bit| NAMESPACES & bit != 0)
        .map(|bit| {
            let is_set = SeccompCmpOp::MaskedEq(bit);
            let condition = SeccompCondition::new(0, SeccompCmpArgLen::Qword, is_set, bit)?;
            SeccompRule::new(vec![condition])
        })
        .collect::<Result<Vec<_>, _>>()?;
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_clone | X32, makes_namespace.clone());
    rules.insert(libc::SYS_clone, makes_namespace);
    filter(rules, libc::EPERM, arch)
}

/// Answers ENOSYS where the arguments lie in memory, which no filter reads: the C library then takes the older call.
fn unreadable(arch: TargetArch) -> anyhow::Result<BpfProgram> {
    let rules = BTreeMap::from([
        (libc::SYS_clone3, Vec::new()),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_clone3 | X32, Vec::new()),
    ]);
    filter(rules, libc::ENOSYS, arch)
}

fn filter(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    errno: i32,
    arch: TargetArch,
) -> anyhow::Result<BpfProgram> {
    let errno = u32::try_from(errno).context("errno")?;
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(errno),
        arch,
    )?;
    Ok(filter.try_into()?)
}

/// Other processes, the kernel, its keys and counters, file systems, namespaces, other users, the machine's clock and name.
const COMMON: &[i64] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kcmp,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_name_to_handle_at,
    libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_personality,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_madvise,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setdomainname,
    libc::SYS_setgid,
    libc::SYS_setgroups,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_setregid,
    libc::SYS_setresgid,
    libc::SYS_setresuid,
    libc::SYS_setreuid,
    libc::SYS_settimeofday,
    libc::SYS_setuid,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
];

/// What one kind of processor has beside.
#[cfg(target_arch = "x86_64")]
const OF_PROCESSOR: &[i64] = &[
    libc::SYS_ioperm,
    libc::SYS_iopl,
    libc::SYS_modify_ldt,
    libc::SYS_uselib,
    libc::SYS_ustat,
];
#[cfg(not(target_arch = "x86_64"))]
const OF_PROCESSOR: &[i64] = &[];

/// The bit by which a 64-bit kernel tells calls of x32 apart, and those of the list that have numbers of their own there
/// (arch/x86/entry/syscalls/syscall_64.tbl): ptrace, kexec_load, process_vm_readv, process_vm_writev.
#[cfg(target_arch = "x86_64")]
const X32: i64 = 0x4000_0000;
#[cfg(target_arch = "x86_64")]
const X32_ALONE: &[i64] = &[521, 528, 539, 540];
