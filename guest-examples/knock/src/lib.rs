//! Knocks at the addresses in its arguments, and says what came of each: `tcp-connect`, `tcp-listen`, `udp-send` or
//! `udp-connect`, and an IPv4 address with a port behind it, as in `tcp-connect 192.0.2.7:502`.

use std::io::Write;
use std::net::SocketAddrV4;

use wasip2::cli::{environment, stdout};
use wasip2::exports::cli::run::Guest;
use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::network::{ErrorCode, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress};
use wasip2::sockets::tcp_create_socket::create_tcp_socket;
use wasip2::sockets::udp::{OutgoingDatagram, UdpSocket};
use wasip2::sockets::udp_create_socket::create_udp_socket;

struct Knock;

wasip2::cli::command::export!(Knock);

impl Guest for Knock {
    fn run() -> Result<(), ()> {
        let mut out = stdout::get_stdout();
        // The first argument is the program's own name.
        let arguments: Vec<String> = environment::get_arguments().into_iter().skip(1).collect();
        for pair in arguments.chunks(2) {
            let [how, address] = pair else { return Err(()) };
            let came = match knock(how, address.parse().map_err(|_| ())?) {
                Ok(()) => "done",
                Err(error) => error.name(),
            };
            writeln!(out, "{how} {address}: {came}").map_err(|_| ())?;
        }
        Write::flush(&mut out).map_err(|_| ())
    }
}

fn knock(how: &str, address: SocketAddrV4) -> Result<(), ErrorCode> {
    let [a, b, c, d] = address.ip().octets();
    let address = IpSocketAddress::Ipv4(Ipv4SocketAddress {
        port: address.port(),
        address: (a, b, c, d),
    });
    match how {
        "tcp-connect" => connect(address),
        "tcp-listen" => listen(address),
        "udp-send" => send(None, address),
        "udp-connect" => send(Some(address), address),
        _ => Err(ErrorCode::InvalidArgument),
    }
}

fn connect(address: IpSocketAddress) -> Result<(), ErrorCode> {
    let socket = create_tcp_socket(IpAddressFamily::Ipv4)?;
    socket.start_connect(&instance_network(), address)?;
    socket.subscribe().block();
    socket.finish_connect().map(drop)
}

fn listen(address: IpSocketAddress) -> Result<(), ErrorCode> {
    let socket = create_tcp_socket(IpAddressFamily::Ipv4)?;
    socket.start_bind(&instance_network(), address)?;
    socket.finish_bind()?;
    socket.start_listen()?;
    socket.finish_listen()
}

/// Sends a datagram there, from a socket that is connected or one that is not.
fn send(connected_to: Option<IpSocketAddress>, address: IpSocketAddress) -> Result<(), ErrorCode> {
    let socket = bound()?;
    let remote = connected_to.is_none().then_some(address);
    let (_, sender) = socket.stream(connected_to)?;
    sender.subscribe().block();
    sender.check_send()?;
    let datagram = OutgoingDatagram {
        data: b"knock".to_vec(),
        remote_address: remote,
    };
    match sender.send(&[datagram])? {
        1 => Ok(()),
        _ => Err(ErrorCode::WouldBlock),
    }
}

/// To any address of this machine, and a port that the system picks.
fn bound() -> Result<UdpSocket, ErrorCode> {
    let socket = create_udp_socket(IpAddressFamily::Ipv4)?;
    let any = IpSocketAddress::Ipv4(Ipv4SocketAddress {
        port: 0,
        address: (0, 0, 0, 0),
    });
    socket.start_bind(&instance_network(), any)?;
    socket.finish_bind()?;
    Ok(socket)
}
