//! Stays in calls of the host until somebody stops it. Its first argument says in which: `file` reads `/lent/much` again and again,
//! `peer` waits for a byte over TCP, `answer` for an answer over HTTP, `signature` signs again and again. The second argument is the
//! address of a peer that says nothing, as in `127.0.0.1:502`.

use std::io::Read;
use std::net::SocketAddrV4;

use wasip2::cli::environment;
use wasip2::exports::cli::run::Guest;
use wasip2::filesystem::preopens;
use wasip2::filesystem::types::{DescriptorFlags, OpenFlags, PathFlags};
use wasip2::http::outgoing_handler;
use wasip2::http::types::{Fields, OutgoingRequest, Scheme};
use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::network::{IpAddressFamily, IpSocketAddress, Ipv4SocketAddress};
use wasip2::sockets::tcp_create_socket::create_tcp_socket;

use bindings::countersign::device::signing;

mod bindings {
    #![allow(
        missing_docs,
        reason = "generated; the documentation is in wit/device.wit"
    )]
    wit_bindgen::generate!({
        path: "../../wit",
        world: "countersign:device/signer",
    });
}

/// How much of the file is read at once, in bytes (1 MiB).
const PIECE: u64 = 1 << 20;

struct Dwell;

wasip2::cli::command::export!(Dwell);

impl Guest for Dwell {
    fn run() -> Result<(), ()> {
        // The first argument is the program's own name.
        let arguments: Vec<String> = environment::get_arguments().into_iter().skip(1).collect();
        let [how, address] = arguments.as_slice() else {
            return Err(());
        };
        match how.as_str() {
            "file" => read(),
            "peer" => listen_to(address.parse().map_err(|_| ())?),
            "answer" => ask(address),
            "signature" => sign(),
            _ => Err(()),
        }
    }
}

fn read() -> Result<(), ()> {
    let folders = preopens::get_directories();
    let (folder, _) = folders.first().ok_or(())?;
    let file = folder.open_at(
        PathFlags::empty(),
        "much",
        OpenFlags::empty(),
        DescriptorFlags::READ,
    );
    let file = file.map_err(drop)?;
    loop {
        file.read(PIECE, 0).map_err(drop)?;
    }
}

fn listen_to(address: SocketAddrV4) -> Result<(), ()> {
    let [a, b, c, d] = address.ip().octets();
    let peer = IpSocketAddress::Ipv4(Ipv4SocketAddress {
        port: address.port(),
        address: (a, b, c, d),
    });
    let socket = create_tcp_socket(IpAddressFamily::Ipv4).map_err(drop)?;
    socket
        .start_connect(&instance_network(), peer)
        .map_err(drop)?;
    socket.subscribe().block();
    let (mut said, _) = socket.finish_connect().map_err(drop)?;
    said.read_exact(&mut [0]).map_err(drop)
}

fn ask(authority: &str) -> Result<(), ()> {
    let request = OutgoingRequest::new(Fields::new());
    request.set_scheme(Some(&Scheme::Http))?;
    request.set_authority(Some(authority))?;
    request.set_path_with_query(Some("/"))?;
    let coming = outgoing_handler::handle(request, None).map_err(drop)?;
    coming.subscribe().block();
    Ok(())
}

fn sign() -> Result<(), ()> {
    let key = signing::open("telemetry").map_err(drop)?;
    loop {
        key.sign("reading/v1", b"21.5 C").map_err(drop)?;
    }
}
