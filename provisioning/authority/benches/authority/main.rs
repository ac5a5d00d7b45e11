//! What the authority answers over HTTPS, and how soon at half of what it sustains: certificates by EST, asked for by a desk with
//! a client certificate over connections that stay open. Beside it the core without HTTP, over the same requests.

#[path = "../../tests/server/bench.rs"]
#[expect(dead_code, reason = "the tests of the server use more of it")]
mod bench;
mod client;
mod core;

use std::process::ExitCode;
use std::time::Duration;

use countersign_backend_file::FileKey;
use countersign_benches::{Report, Table};
use countersign_keys::{Algorithm, SigningKey};
use countersign_signer::request::{RequestFields, Subject, certification_request};
use countersign_testing::postgres::Postgres;

use client::Api;

/// Certificates that are asked for one after the other on each connection, for the sustained rate; and then, at half of it,
/// when their times come.
const SUSTAINED: usize = 3000;
const HALF: usize = 3000;

/// Connections, and askers of the core.
const AT_ONCE: usize = 64;

/// What 95 of 100 answers and transactions take at most, in milliseconds.
const ANSWER: f64 = 200.0;
const TRANSACTION: f64 = 50.0;

/// What was measured of one side.
struct Measured {
    /// A second, as fast as it goes.
    rate: f64,
    /// At half of that: 95 of 100 answers, counted from when each was due.
    answers: Duration,
    /// And 95 of 100 transactions of the registry.
    transactions: Duration,
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let mut report = Report::default();
    let requests: Vec<Vec<u8>> = (0..SUSTAINED + HALF).map(request).collect();
    let mut table = Table::new(&[
        "registry",
        "asked",
        "a second",
        "95 of 100 answers at half of it",
        "95 of 100 transactions",
    ]);
    for database in ["SQLite", "PostgreSQL"] {
        let url = || match database {
            "SQLite" => None,
            _ => Some(Postgres::shared().database()),
        };
        let api = Api::start(url().as_deref());
        let over_https = runtime.block_on(api.measure(&requests));
        drop(api);
        let alone = runtime.block_on(core::measure(url(), &requests));
        for (asked, measured) in [("over HTTPS", over_https), ("the core alone", alone)] {
            let [answers, transactions] = [measured.answers, measured.transactions].map(millis);
            report.check(
                &format!("{database}, {asked}, 95 of 100 answers, ms"),
                answers,
                ANSWER,
            );
            report.check(
                &format!("{database}, {asked}, 95 of 100 transactions, ms"),
                transactions,
                TRANSACTION,
            );
            table.row(&[
                database.to_owned(),
                asked.to_owned(),
                format!("{:.0}", measured.rate),
                format!("{answers:.1} ms"),
                format!("{transactions:.1} ms"),
            ]);
        }
    }
    report.print(
        &format!(
            "{SUSTAINED} certificates as fast as {AT_ONCE} askers get them, then {HALF} at half that rate, each counted from \
             when it was due; P-256, the authority's key in software, client and server on the same processors. The wall's \
             time. A transaction reserves or commits what waits together; over HTTPS it is what /metrics says of all \
             {HALF}, as the upper end of its bucket (each half as long again as the one before).",
        ),
        table,
    );
    report.finish()
}

/// The request of a device.
fn request(number: usize) -> Vec<u8> {
    let mut seed = [0x22; 32];
    seed[..8].copy_from_slice(&number.to_be_bytes());
    let key = SigningKey::new(FileKey::from_seed(Algorithm::Esp256, &seed).expect("a key"));
    let fields = RequestFields {
        subject: Subject::default(),
        identity: Some(name(number).parse().expect("an identity")),
        metadata: Default::default(),
        dns_names: Vec::new(),
        scope: None,
    };
    certification_request(&key, &fields).expect("a request")
}

fn name(number: usize) -> String {
    format!("device-{number}")
}

/// Of times in any order.
fn ninety_five(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) * 95 / 100]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// When the one of this number is due at so many a second.
fn due(number: usize, rate: f64) -> Duration {
    Duration::from_secs_f64(number as f64 / rate)
}
