//! Ports of the loopback interface, for programs that are told where to listen.

use std::fs;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, PoisonError};

/// How many ports there are to choose from.
const PORTS: u16 = 10_000;

/// One past the last of them, where the system begins to give out ports of its own below that or leaves no room.
const END: u16 = 31_000;

/// A port that nobody uses, and that no test is given too until this process ends.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn free_port() -> u16 {
    free_ports(1)
}

/// So many of them, one after the other: the lowest.
pub(crate) fn free_ports(count: u16) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = end() - PORTS;
    // Processes that search at the same time begin at places of their own.
    let of_process = u16::try_from(std::process::id() % 4_000).expect("below 4,000") * 2;
    for _ in 0..PORTS {
        let step = NEXT.fetch_add(count, Ordering::Relaxed);
        let port = begin + of_process.wrapping_add(step) % (PORTS - count);
        if (port..port + count).all(|port| !is_used(port) && is_taken(port)) {
            return port;
        }
    }
    panic!("no free ports from {begin} on");
}

/// Below the ports that the system gives to whoever names none (ip(7)), where there is room: one of those may be gone before it is
/// listened on.
fn end() -> u16 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let first = range.split_whitespace().next();
    match first.and_then(|first| first.parse().ok()) {
        // Lower ports belong to services.
        Some(first) if first > 2 * PORTS => END.min(first),
        _ => END,
    }
}

/// Whether this process has taken the port among all that choose by this: a name in the kernel that goes with whoever has it.
fn is_taken(port: u16) -> bool {
    static TAKEN: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());
    let name = SocketAddr::from_abstract_name(format!("countersign-testing port {port}"));
    let Ok(taken) = name.and_then(|name| UnixListener::bind_addr(&name)) else {
        return false;
    };
    let mut all = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    all.push(taken);
    true
}

/// Whether a socket of either end has it (proc_net_tcp). It is not tried by listening: what another thread starts meanwhile would
/// listen on it too, for a moment.
fn is_used(port: u16) -> bool {
    let with = format!(":{port:04X} ");
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().any(|sockets| {
        let sockets = fs::read_to_string(sockets).unwrap_or_default();
        sockets.contains(&with)
    })
}
