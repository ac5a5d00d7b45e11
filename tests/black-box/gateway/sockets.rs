//! What a component reaches over sockets: the peers that it was granted, and nobody else.

use std::net::{SocketAddr, TcpListener, UdpSocket};

use super::*;
use crate::http::free;

/// Two that listen over TCP, and two over UDP: the first of each is granted.
struct Peers {
    tcp: [TcpListener; 2],
    udp: [UdpSocket; 2],
}

impl Peers {
    fn new() -> Self {
        let tcp = || {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            listener.set_nonblocking(true).expect("a socket");
            listener
        };
        let udp = || {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
            socket.set_nonblocking(true).expect("a socket");
            socket
        };
        Self {
            tcp: [tcp(), tcp()],
            udp: [udp(), udp()],
        }
    }

    fn addresses(&self) -> ([SocketAddr; 2], [SocketAddr; 2]) {
        let tcp = self.tcp.each_ref().map(|one| one.local_addr());
        let udp = self.udp.each_ref().map(|one| one.local_addr());
        (
            tcp.map(|address| address.expect("it is bound")),
            udp.map(|address| address.expect("it is bound")),
        )
    }

    /// How often each was heard from.
    fn heard(&self) -> ([usize; 2], [usize; 2]) {
        let tcp = self.tcp.each_ref();
        let udp = self.udp.each_ref();
        (
            tcp.map(|one| std::iter::from_fn(|| one.accept().ok()).count()),
            udp.map(|one| std::iter::from_fn(|| one.recv(&mut [0; 16]).ok()).count()),
        )
    }
}

#[test]
fn te31_a_component_reaches_the_granted_peers_and_nobody_else() {
    let bench = Bench::new();
    let peers = Peers::new();
    let ([tcp, other_tcp], [udp, other_udp]) = peers.addresses();
    let (own, other_own) = (free(), free());
    let granted = [
        format!("tcp:{tcp}"),
        format!("udp:{udp}"),
        format!("tcp-listen:{own}"),
    ];
    // Its statement asks for all of them; the operator grants less.
    let mut manifest = bench.pki.manifest("test:knock");
    manifest.grants.stdio.stdout = true;
    manifest.grants.args = true;
    let asked = [
        format!("tcp:{other_tcp}"),
        format!("udp:{other_udp}"),
        format!("tcp-listen:{other_own}"),
    ];
    manifest.grants.sockets = Some(granted.iter().chain(&asked).cloned().collect());
    let file = bench.pki.sign(&guest("knock"), &manifest);
    fs::write(bench.path("knock.wasm"), file).expect("our own folder");
    // What is tried, and what comes of it.
    let tried = [
        ("tcp-connect", tcp, "done"),
        ("tcp-connect", other_tcp, "access-denied"),
        // Granted over the other protocol, or to listen on.
        ("tcp-connect", udp, "access-denied"),
        ("tcp-connect", own, "access-denied"),
        ("udp-send", udp, "done"),
        ("udp-send", other_udp, "access-denied"),
        ("udp-send", tcp, "access-denied"),
        ("udp-connect", udp, "done"),
        ("udp-connect", other_udp, "access-denied"),
        ("tcp-listen", own, "done"),
        ("tcp-listen", other_own, "access-denied"),
        ("tcp-listen", tcp, "access-denied"),
    ];
    let arguments = tried.map(|(how, address, _)| format!("{how:?}, \"{address}\""));
    bench.configure(&[(
        "knock",
        &format!(
            "{ONCE}\n[service.grants]\nargs = [{}]\nsockets = {granted:?}",
            arguments.join(", ")
        ),
    )]);
    let gateway = bench.start();
    bench.until("knock", is("ended"));
    let log = bench.log();
    for (how, address, came) in tried {
        assert!(log.contains(&format!("{how} {address}: {came}")), "{log}");
    }
    // And what did not come of it did not happen.
    assert_eq!(peers.heard(), ([1, 0], [2, 0]), "{log}");
    assert_eq!(gateway.stop(), 0);
}
