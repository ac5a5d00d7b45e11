//! Sockets under grants: which addresses a guest may reach or listen on, and which names it may look up.
//!
//! An entry is written as in the statement: `tcp:HOST:PORT` or `udp:HOST:PORT` to reach a peer,
//! `tcp-listen:ADDRESS:PORT` or `udp-listen:ADDRESS:PORT` to be one. A host may be a name: the guest may look it up, and
//! an address is compared with what the name means at that moment.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use wasmtime::component::{HasData, Resource};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p2::bindings::sockets::ip_name_lookup::{
    Host, HostResolveAddressStream, ResolveAddressStream,
};
use wasmtime_wasi::p2::bindings::sockets::network::{self, ErrorCode, IpAddress, Network};
use wasmtime_wasi::p2::{DynPollable, IoError, SocketError, SocketResult, subscribe};
use wasmtime_wasi::sockets::{SocketAddrUse, WasiSocketsCtxView};

use crate::context::{GuestContext, HasGuestContext};
use crate::grants::Granted;
use crate::lookup::{Lookup, Lookups};

/// One entry of a `sockets` grant.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Peer {
    udp: bool,
    listen: bool,
    host: PeerHost,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum PeerHost {
    Address(IpAddr),
    Name(String),
}

/// Reads an entry; one that is not well-formed grants nothing.
fn parse(entry: &str) -> Option<Peer> {
    let (protocol, address) = entry.split_once(':')?;
    let (udp, listen) = match protocol {
        "tcp" => (false, false),
        "udp" => (true, false),
        "tcp-listen" => (false, true),
        "udp-listen" => (true, true),
        _ => return None,
    };
    let (host, port) = address.rsplit_once(':')?;
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    let host = match bare.parse() {
        Ok(address) => PeerHost::Address(address),
        Err(_) => PeerHost::Name(host.to_owned()),
    };
    Some(Peer {
        udp,
        listen,
        host,
        port: port.parse().ok()?,
    })
}

/// Installs the address check. Without a grant every use is denied; the interfaces are then not linked either.
pub(super) fn configure(builder: &mut WasiCtxBuilder, granted: &Granted) {
    let Some(sockets) = &granted.sockets else {
        // No interface of theirs is linked; and where nobody says which addresses may be used, none may.
        builder.allow_tcp(false).allow_udp(false);
        return;
    };
    let peers: Arc<[Peer]> = sockets.iter().filter_map(|entry| parse(entry)).collect();
    builder.allow_tcp(peers.iter().any(|peer| !peer.udp));
    builder.allow_udp(peers.iter().any(|peer| peer.udp));
    let lookups = granted.lookups.clone();
    builder.socket_addr_check(move |address, reason| {
        let (peers, lookups) = (Arc::clone(&peers), lookups.clone());
        Box::pin(async move { allowed(&peers, &lookups, address, reason).await })
    });
}

async fn allowed(
    peers: &[Peer],
    lookups: &Lookups,
    address: SocketAddr,
    reason: SocketAddrUse,
) -> bool {
    // A client's own end: any address of this machine, a port that the system picks.
    let is_picked = address.port() == 0 && address.ip().is_unspecified();
    let (udp, listen) = match reason {
        SocketAddrUse::TcpConnect => (false, false),
        SocketAddrUse::TcpBind
            if is_picked && peers.iter().any(|peer| !peer.udp && !peer.listen) =>
        {
            return true;
        }
        // The peers of a listening socket choose themselves; that the socket may listen was checked.
        SocketAddrUse::TcpAccept => return peers.iter().any(|peer| !peer.udp && peer.listen),
        SocketAddrUse::TcpBind | SocketAddrUse::TcpListen => (false, true),
        SocketAddrUse::UdpSend => (true, false),
        SocketAddrUse::UdpReceive if peers.iter().any(|peer| peer.udp && peer.listen) => {
            return true;
        }
        SocketAddrUse::UdpReceive => (true, false),
        SocketAddrUse::UdpBind if is_picked => {
            return peers.iter().any(|peer| peer.udp);
        }
        SocketAddrUse::UdpBind => (true, true),
    };
    for peer in peers
        .iter()
        .filter(|peer| (peer.udp, peer.listen, peer.port) == (udp, listen, address.port()))
    {
        let matches = match &peer.host {
            PeerHost::Address(granted) => granted.to_canonical() == address.ip().to_canonical(),
            PeerHost::Name(name) => means(lookups, name, peer.port, address.ip()).await,
        };
        if matches {
            return true;
        }
    }
    false
}

/// Whether the name means this address now. Names never reach loopback or link-local addresses: whoever answers for
/// the name does not decide about this machine.
async fn means(lookups: &Lookups, name: &str, port: u16, address: IpAddr) -> bool {
    let address = address.to_canonical();
    let local = match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local() || v4.is_unspecified(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unspecified(),
    };
    if local {
        return false;
    }
    let found = lookups.addresses(name, port).await;
    let is_it = |found: &SocketAddr| found.ip().to_canonical() == address;
    found.is_ok_and(|found| found.iter().any(is_it))
}

/// `wasi:sockets/ip-name-lookup`, which resolves granted names only, and few at once: a lookup carries data out, and keeps a
/// thread of the host's. What stands in the table for a stream of addresses is a [`Lookup`].
pub(super) struct NameLookup;

impl HasData for NameLookup {
    type Data<'a> = View<'a>;
}

pub(super) struct View<'a> {
    granted: &'a [String],
    lookups: &'a Lookups,
    inner: WasiSocketsCtxView<'a>,
}

pub(super) fn view<T: HasGuestContext>(host: &mut T) -> View<'_> {
    let GuestContext {
        wasi,
        table,
        granted,
        outputs,
        ..
    } = host.guest_context();
    View {
        granted: granted.sockets.as_deref().unwrap_or_default(),
        lookups: &granted.lookups,
        inner: WasiSocketsCtxView {
            ctx: wasi.filled(granted, outputs).sockets(),
            table,
        },
    }
}

impl Host for View<'_> {
    fn resolve_addresses(
        &mut self,
        network: Resource<Network>,
        name: String,
    ) -> SocketResult<Resource<ResolveAddressStream>> {
        let granted = self
            .granted
            .iter()
            .filter_map(|entry| parse(entry))
            .any(|peer| match peer.host {
                PeerHost::Address(address) => name.parse() == Ok(address),
                PeerHost::Name(known) => known == name,
            });
        if !granted {
            return Err(SocketError::from(ErrorCode::AccessDenied));
        }
        // That it may use the network at all.
        self.inner.table.get(&network)?;
        let lookup = Lookup::begin(self.lookups, name);
        let lookup = self.inner.table.push(lookup)?;
        Ok(Resource::new_own(lookup.rep()))
    }
}

// The functions of a lookup share `network`'s error type, so its conversions are asked for here, too.
impl network::Host for View<'_> {
    fn convert_error_code(&mut self, error: SocketError) -> wasmtime::Result<ErrorCode> {
        self.inner.convert_error_code(error)
    }

    fn network_error_code(
        &mut self,
        error: Resource<IoError>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        self.inner.network_error_code(error)
    }
}

impl network::HostNetwork for View<'_> {
    fn drop(&mut self, network: Resource<Network>) -> wasmtime::Result<()> {
        network::HostNetwork::drop(&mut self.inner, network)
    }
}

impl HostResolveAddressStream for View<'_> {
    fn resolve_next_address(
        &mut self,
        stream: Resource<ResolveAddressStream>,
    ) -> SocketResult<Option<IpAddress>> {
        let lookup = self.inner.table.get_mut(&lookup(&stream))?;
        Ok(lookup.next()?.map(IpAddress::from))
    }

    fn subscribe(
        &mut self,
        stream: Resource<ResolveAddressStream>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.inner.table, lookup(&stream))
    }

    fn drop(&mut self, stream: Resource<ResolveAddressStream>) -> wasmtime::Result<()> {
        let owned = Resource::<Lookup>::new_own(stream.rep());
        self.inner.table.delete(owned)?;
        Ok(())
    }
}

/// What stands in the table for a stream of addresses.
fn lookup(stream: &Resource<ResolveAddressStream>) -> Resource<Lookup> {
    Resource::new_borrow(stream.rep())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(entries: &[&str]) -> Vec<Peer> {
        entries
            .iter()
            .map(|entry| parse(entry).expect(entry))
            .collect()
    }

    #[tokio::test]
    async fn te31_only_the_granted_peer_port_and_protocol() {
        let peers = peers(&[
            "tcp:192.0.2.7:502",
            "udp:[2001:db8::1]:123",
            "tcp-listen:127.0.0.1:8080",
        ]);
        let may = async |address: &str, reason| {
            allowed(&peers, &Lookups::new(), address.parse().unwrap(), reason).await
        };
        assert!(may("192.0.2.7:502", SocketAddrUse::TcpConnect).await);
        assert!(may("0.0.0.0:0", SocketAddrUse::TcpBind).await);
        assert!(may("[::ffff:192.0.2.7]:502", SocketAddrUse::TcpConnect).await);
        assert!(may("[2001:db8::1]:123", SocketAddrUse::UdpSend).await);
        assert!(may("[2001:db8::1]:123", SocketAddrUse::UdpReceive).await);
        assert!(may("127.0.0.1:8080", SocketAddrUse::TcpListen).await);
        assert!(may("0.0.0.0:0", SocketAddrUse::UdpBind).await);

        assert!(!may("0.0.0.0:0", SocketAddrUse::TcpListen).await);
        assert!(!may("127.0.0.1:0", SocketAddrUse::TcpBind).await);
        assert!(!may("192.0.2.7:503", SocketAddrUse::TcpConnect).await);
        assert!(!may("192.0.2.8:502", SocketAddrUse::TcpConnect).await);
        assert!(!may("192.0.2.7:502", SocketAddrUse::UdpSend).await);
        assert!(!may("127.0.0.1:8080", SocketAddrUse::TcpConnect).await);
        assert!(!may("192.0.2.7:502", SocketAddrUse::TcpBind).await);
        assert!(!may("192.0.2.9:123", SocketAddrUse::UdpReceive).await);
        assert!(!may("0.0.0.0:53", SocketAddrUse::UdpBind).await);
    }

    #[tokio::test]
    async fn te31_an_empty_grant_denies_everything() {
        for reason in [
            SocketAddrUse::TcpBind,
            SocketAddrUse::TcpConnect,
            SocketAddrUse::TcpAccept,
            SocketAddrUse::UdpBind,
        ] {
            assert!(
                !allowed(&[], &Lookups::new(), "0.0.0.0:0".parse().unwrap(), reason).await,
                "{reason:?}"
            );
        }
    }

    #[tokio::test]
    async fn te31_a_name_does_not_open_this_machine() {
        let peers = peers(&["tcp:localhost:80"]);
        assert!(
            !allowed(
                &peers,
                &Lookups::new(),
                "127.0.0.1:80".parse().unwrap(),
                SocketAddrUse::TcpConnect
            )
            .await
        );
    }

    #[test]
    fn entries_that_are_not_understood_grant_nothing() {
        for entry in [
            "",
            "tcp",
            "tcp:192.0.2.7",
            "sctp:192.0.2.7:1",
            "tcp:192.0.2.7:70000",
            "192.0.2.7:502",
        ] {
            assert_eq!(parse(entry), None, "{entry}");
        }
    }
}
