//! Creates a TCP socket although its statement asks for none: `wasi:sockets` is an import that the host knows
//! but grants only where both statement and operator say so.

use std::io::Write;

use wasip2::cli::stdout;
use wasip2::exports::cli::run::Guest;
use wasip2::sockets::network::IpAddressFamily;
use wasip2::sockets::tcp_create_socket::create_tcp_socket;

struct UngrantedNetwork;

wasip2::cli::command::export!(UngrantedNetwork);

impl Guest for UngrantedNetwork {
    fn run() -> Result<(), ()> {
        let socket = create_tcp_socket(IpAddressFamily::Ipv4).map_err(|_| ())?;
        let outcome = writeln!(stdout::get_stdout(), "a socket was created");
        drop(socket);
        outcome.map_err(|_| ())
    }
}
