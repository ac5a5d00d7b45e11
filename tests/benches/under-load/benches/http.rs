//! Requests over HTTP: the gateway beside `wasmtime serve`, with the same component and the same connections.
//!
//! COUNTERSIGN_BENCH_GATEWAY, COUNTERSIGN_BENCH_WASMTIME and COUNTERSIGN_BENCH_COMPONENT name what is measured; `cargo xtask
//! bench` builds it as released.
#![forbid(unsafe_code)]

mod support;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use countersign_benches::{Report, Table, mib};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use support::{Ended, Gateway};

/// Connections at the same time, each with one request under way.
const CONNECTIONS: usize = 16;
/// Runs of each side, in turns.
const RUNS: usize = 5;
/// How long each is asked before it is measured, and then.
const WARM: Duration = Duration::from_secs(1);
const MEASURED: Duration = Duration::from_secs(4);
/// How long a server may take to be there.
const PATIENCE: Duration = Duration::from_secs(60);
/// How much more than its counterpart's a figure may be.
const MARGIN: f64 = 1.03;

/// What one run showed.
#[derive(Clone, Copy)]
struct Run {
    a_second: f64,
    /// In microseconds.
    p99: f64,
    resident: usize,
}

fn main() -> ExitCode {
    let named = |variable: &str| std::env::var(variable);
    let (Ok(gateway), Ok(wasmtime), Ok(component)) = (
        named("COUNTERSIGN_BENCH_GATEWAY"),
        named("COUNTERSIGN_BENCH_WASMTIME"),
        named("COUNTERSIGN_BENCH_COMPONENT"),
    ) else {
        eprintln!("no programs are named; `cargo xtask bench http` does");
        return ExitCode::from(2);
    };
    let gateway = Gateway::new(Path::new(&gateway));
    let bytes = std::fs::read(&component).expect("the component is built");
    gateway.sign("hello", &bytes, true);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let address = free();
        let service = format!(
            "\n[[http]]\nname = \"hello\"\ncomponent = \"hello.wasm\"\nsigned-as = \"test:hello\"\nlisten = \"{address}\"\n"
        );
        ours.push(measured(address, gateway.run(&service)));
        let address = free();
        let mut serve = Command::new(&wasmtime);
        serve.args(["serve", "--addr", &address.to_string(), &component]);
        theirs.push(measured(address, serve));
    }
    let (ours, theirs) = (median(&ours), median(&theirs));

    let mut table = Table::new(&["", "requests a second", "p99", "resident"]);
    for (who, run) in [("the gateway", ours), ("wasmtime serve", theirs)] {
        table.row(&[
            who.to_owned(),
            format!("{:.0}", run.a_second),
            format!("{:.0} µs", run.p99),
            mib(run.resident),
        ]);
    }
    let mut report = Report::default();
    let about = format!(
        "{CONNECTIONS} connections, one request under way on each, medians of {RUNS} runs in turns; resident after the last."
    );
    report.print(&about, table);
    let size = |bytes: usize| f64::from(u32::try_from(bytes / 1_024).unwrap_or(u32::MAX));
    report.check(
        "wasmtime's requests a second for each of ours",
        theirs.a_second / ours.a_second,
        1.0,
    );
    report.check("p99, ratio", ours.p99 / theirs.p99, MARGIN);
    report.check(
        "resident, ratio",
        size(ours.resident) / size(theirs.resident),
        MARGIN,
    );
    report.finish()
}

/// Each figure's median by itself.
fn median(runs: &[Run]) -> Run {
    fn middle<T: Copy>(
        runs: &[Run],
        of: impl Fn(&Run) -> T,
        order: impl Fn(&T, &T) -> std::cmp::Ordering,
    ) -> T {
        let mut all: Vec<T> = runs.iter().map(of).collect();
        all.sort_by(order);
        all[all.len() / 2]
    }
    Run {
        a_second: middle(runs, |run| run.a_second, f64::total_cmp),
        p99: middle(runs, |run| run.p99, f64::total_cmp),
        resident: middle(runs, |run| run.resident, Ord::cmp),
    }
}

fn free() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    socket.local_addr().expect("it is bound")
}

/// Starts a server, asks it, and ends it.
fn measured(address: SocketAddr, mut server: Command) -> Run {
    let server = Ended::start(&mut server);
    let until = Instant::now() + PATIENCE;
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    tokio.block_on(async {
        while one(address).await.is_none() {
            assert!(Instant::now() < until, "nobody answers on {address}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        ask(address, WARM).await;
        let started = Instant::now();
        let mut all = ask(address, MEASURED).await;
        let seconds = started.elapsed().as_secs_f64();
        all.sort_unstable();
        let number = u32::try_from(all.len()).expect("not so many");
        let p99 = all[all.len() * 99 / 100];
        Run {
            a_second: f64::from(number) / seconds,
            p99: p99.as_secs_f64() * 1e6,
            resident: server.resident(),
        }
    })
}

/// Asks on all connections for so long: how long each answer took.
async fn ask(address: SocketAddr, time: Duration) -> Vec<Duration> {
    let until = Instant::now() + time;
    let asking: Vec<_> = (0..CONNECTIONS)
        .map(|_| tokio::spawn(asks(address, until)))
        .collect();
    let mut all = Vec::new();
    for asked in asking {
        all.extend(asked.await.expect("it ends"));
    }
    all
}

async fn asks(address: SocketAddr, until: Instant) -> Vec<Duration> {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.set_nodelay(true).expect("a socket");
    let mut buffer = vec![0; 4_096];
    let mut all = Vec::new();
    while Instant::now() < until {
        let asked = Instant::now();
        assert!(exchange(&mut stream, &mut buffer).await, "an answer");
        all.push(asked.elapsed());
    }
    all
}

async fn one(address: SocketAddr) -> Option<()> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    exchange(&mut stream, &mut vec![0; 4_096])
        .await
        .then_some(())
}

/// One request and its answer, which is the component's greeting, whole.
async fn exchange(stream: &mut TcpStream, buffer: &mut [u8]) -> bool {
    let request = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n";
    if stream.write_all(request).await.is_err() {
        return false;
    }
    let mut filled = 0;
    loop {
        match stream.read(&mut buffer[filled..]).await {
            Ok(0) | Err(_) => return false,
            Ok(read) => filled += read,
        }
        let answer = &buffer[..filled];
        // Without a length, its end is an empty chunk.
        if answer.ends_with(b"\r\n0\r\n\r\n") {
            return answer.starts_with(b"HTTP/1.1 200 ");
        }
    }
}
