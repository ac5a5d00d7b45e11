//! WASI 0.2 as a granted guest sees it: the inert interfaces always, the others with what was granted behind them.
//!
//! Which interface needs which grant is decided in `names` and `grants`; here they are linked and filled.

mod files;
pub(crate) mod names;
mod output;
mod preopens;
mod quota;
mod sockets;

use std::time::Duration;

use wasmtime::component::{HasData, Linker, ResourceTable};
use wasmtime_wasi::cli::{WasiCli, WasiCliCtxView};
use wasmtime_wasi::clocks::{HostWallClock, WasiClocks, WasiClocksCtxView};
use wasmtime_wasi::filesystem::WasiFilesystemCtxView;
use wasmtime_wasi::p2::bindings::{
    cli, clocks, filesystem, io, random, sockets as socket_bindings,
};
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::random::{WasiRandom, WasiRandomCtx};
use wasmtime_wasi::sockets::{WasiSockets, WasiSocketsCtxView};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder};

use crate::context::{GuestContext, HasGuestContext};
use crate::grants::{Granted, Input};
use crate::http;
use crate::limits::{ByteBudget, MAX_RANDOM_BYTES};

pub(crate) use files::Quotas;
pub(crate) use output::{LogBytesExhausted, Outputs};
pub(crate) use preopens::Preopen;
pub(crate) use quota::Quota;

/// Adds to `linker` every interface that this library defines for a guest with these grants.
pub(crate) fn link<T: HasGuestContext>(
    linker: &mut Linker<T>,
    granted: &Granted,
) -> wasmtime::Result<()> {
    let l = linker;
    io::error::add_to_linker::<T, Table>(l, table)?;
    io::poll::add_to_linker::<T, Table>(l, table)?;
    io::streams::add_to_linker::<T, Table>(l, table)?;

    clocks::wall_clock::add_to_linker::<T, WasiClocks>(l, clocks_view)?;
    clocks::monotonic_clock::add_to_linker::<T, WasiClocks>(l, clocks_view)?;
    random::random::add_to_linker::<T, WasiRandom>(l, random_view)?;
    random::insecure::add_to_linker::<T, WasiRandom>(l, random_view)?;
    random::insecure_seed::add_to_linker::<T, WasiRandom>(l, random_view)?;

    cli::exit::add_to_linker::<T, WasiCli>(l, cli_view)?;
    cli::environment::add_to_linker::<T, WasiCli>(l, cli_view)?;
    cli::stdin::add_to_linker::<T, WasiCli>(l, cli_view)?;
    cli::stdout::add_to_linker::<T, WasiCli>(l, cli_view)?;
    cli::stderr::add_to_linker::<T, WasiCli>(l, cli_view)?;
    cli::terminal_input::add_to_linker::<T, WasiCli>(l, cli_view)?;
    cli::terminal_output::add_to_linker::<T, WasiCli>(l, cli_view)?;
    cli::terminal_stdin::add_to_linker::<T, WasiCli>(l, cli_view)?;
    cli::terminal_stdout::add_to_linker::<T, WasiCli>(l, cli_view)?;
    cli::terminal_stderr::add_to_linker::<T, WasiCli>(l, cli_view)?;

    filesystem::types::add_to_linker::<T, files::Files>(l, files_view)?;
    filesystem::preopens::add_to_linker::<T, preopens::Preopens>(l, preopens::view)?;

    if granted.sockets.is_some() {
        let options = socket_bindings::network::LinkOptions::default();
        socket_bindings::network::add_to_linker::<T, WasiSockets>(l, &options, sockets_view)?;
        socket_bindings::instance_network::add_to_linker::<T, WasiSockets>(l, sockets_view)?;
        socket_bindings::ip_name_lookup::add_to_linker::<T, sockets::NameLookup>(l, sockets::view)?;
        socket_bindings::tcp::add_to_linker::<T, WasiSockets>(l, sockets_view)?;
        socket_bindings::tcp_create_socket::add_to_linker::<T, WasiSockets>(l, sockets_view)?;
        socket_bindings::udp::add_to_linker::<T, WasiSockets>(l, sockets_view)?;
        socket_bindings::udp_create_socket::add_to_linker::<T, WasiSockets>(l, sockets_view)?;
    }
    http::link(l, granted)
}

/// WASI for one guest, filled when the guest first asks for something of it. Many never do, and filling takes some hundredths of the time
/// of a start.
#[derive(Default)]
pub(crate) struct Wasi(Option<Box<WasiCtx>>);

impl Wasi {
    fn filled(&mut self, granted: &Granted, outputs: &Outputs) -> &mut WasiCtx {
        self.0
            .get_or_insert_with(|| Box::new(filled(granted, outputs)))
    }
}

/// Nothing of this process's own arguments, environment, streams or date gets in unless `granted` says so.
fn filled(granted: &Granted, outputs: &Outputs) -> WasiCtx {
    let mut builder = WasiCtxBuilder::new();
    builder
        .args(&granted.args)
        .envs(&granted.env)
        .stdout(outputs.stdout())
        .stderr(outputs.stderr())
        .max_random_size(MAX_RANDOM_BYTES);
    match &granted.stdin {
        Input::Bytes(bytes) => {
            builder.stdin(MemoryInputPipe::new(bytes.clone()));
        }
        Input::Closed => {}
        Input::Inherit => {
            builder.inherit_stdin();
        }
    }
    if !granted.wall_clock {
        builder.wall_clock(StoppedClock);
    }
    sockets::configure(&mut builder, granted);
    builder.build()
}

/// Standard output and standard error of one guest.
pub(crate) fn outputs(granted: &Granted) -> Outputs {
    let budget = ByteBudget::new(granted.limits().log_bytes);
    Outputs::new(granted.stdout.clone(), granted.stderr.clone(), budget)
}

/// A wall clock that stands at 1970-01-01T00:00:00Z.
struct StoppedClock;

impl HostWallClock for StoppedClock {
    fn resolution(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn now(&self) -> Duration {
        Duration::ZERO
    }
}

struct Table;

impl HasData for Table {
    type Data<'a> = &'a mut ResourceTable;
}

fn table<T: HasGuestContext>(host: &mut T) -> &mut ResourceTable {
    &mut host.guest_context().table
}

/// WASI of a guest, and its handles.
fn wasi<T: HasGuestContext>(host: &mut T) -> (&mut WasiCtx, &mut ResourceTable) {
    let GuestContext {
        wasi,
        table,
        granted,
        outputs,
        ..
    } = host.guest_context();
    (wasi.filled(granted, outputs), table)
}

fn random_view<T: HasGuestContext>(host: &mut T) -> &mut WasiRandomCtx {
    wasi(host).0.random()
}

fn cli_view<T: HasGuestContext>(host: &mut T) -> WasiCliCtxView<'_> {
    let (wasi, table) = wasi(host);
    let ctx = wasi.cli();
    WasiCliCtxView { ctx, table }
}

fn clocks_view<T: HasGuestContext>(host: &mut T) -> WasiClocksCtxView<'_> {
    let (wasi, table) = wasi(host);
    let ctx = wasi.clocks();
    WasiClocksCtxView { ctx, table }
}

fn files_view<T: HasGuestContext>(host: &mut T) -> files::View<'_> {
    let GuestContext {
        wasi,
        table,
        granted,
        outputs,
        quotas,
        ..
    } = host.guest_context();
    let ctx = wasi.filled(granted, outputs).filesystem();
    let wasi = WasiFilesystemCtxView { ctx, table };
    files::View { wasi, quotas }
}

fn sockets_view<T: HasGuestContext>(host: &mut T) -> WasiSocketsCtxView<'_> {
    let (wasi, table) = wasi(host);
    let ctx = wasi.sockets();
    WasiSocketsCtxView { ctx, table }
}
