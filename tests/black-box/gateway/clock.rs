//! The gateway under clocks that are wrong: what was admitted goes on, and nothing that ended comes back.

use std::ffi::OsString;
use std::fs;

use countersign_trust_store::Code;
use serde_json::Value;

use super::code::Desk;
use super::kills::put;
use super::{Bench, Gateway, SOON, healthy};

/// The file that says which time the gateway sees from now on, as faketime writes it.
const CLOCK: &str = "clock";

/// What makes a process see it. The loader says what `$LIB` is. The program `faketime` would do the same, and gives
/// up where a process that had its number before left its names behind ([`forget`]).
const PRELOADED: &str = "/usr/$LIB/faketime/libfaketimeMT.so.1";

/// Takes away what the preloaded clock of a process shares with its children: a gateway is confined, and cannot.
pub(super) fn forget(process: u32) {
    for kind in ["sem.faketime_sem", "faketime_shm"] {
        let _ = fs::remove_file(format!("/dev/shm/{kind}_{process}"));
    }
}

impl Bench {
    /// Sets the gateway's clock, also of one that runs.
    pub(super) fn set_clock(&self, time: &str) {
        // It is looked at all the time, and is never empty.
        put(&self.path(CLOCK), time.as_bytes());
    }

    /// The variables by which a gateway sees the time that was set.
    pub(super) fn by_clock(&self) -> [(&'static str, OsString); 4] {
        [
            ("LD_PRELOAD", PRELOADED.into()),
            ("FAKETIME_TIMESTAMP_FILE", self.path(CLOCK).into()),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ]
    }

    /// Starts the gateway under the clock that was set.
    fn start_by_clock(&self) -> Gateway {
        let mut command = self.command("run");
        command.envs(self.by_clock());
        self.start_by(command)
    }
}

/// The record of the pump's last acceptance.
fn accepted(bench: &Bench) -> Value {
    let mut records = bench.records().into_iter();
    let accepted = records.rfind(|record| {
        record["event"] == "accepted" && record["component"]["name"] == "test:pump"
    });
    accepted.expect("one")
}

#[test]
fn td03_td04_td05_th22_an_admitted_component_starts_under_any_clock_and_no_other_does() {
    let bench = Bench::new();
    let desk = Desk::of(&bench);
    bench.sign("pump", "endless-loop", 1);
    // Whose code is believed is one more whose certificates end.
    let signed = bench.path("signed.code");
    let target = desk.vouch(&bench, &bench.path("pump.wasm"), &signed);
    let beside = bench.path(&format!("pump.wasm.{target}.code"));
    fs::rename(&signed, beside).expect("our own folder");
    bench.configure(&[("pump", SOON)]);
    let gateway = bench.start();
    let pump = bench.until("pump", healthy);
    assert!(pump["admitted-at"].is_null(), "{pump}");
    assert_eq!(gateway.stop(), 0);
    bench.sign("door", "endless-loop", 1);
    bench.configure(&[("pump", SOON), ("door", SOON)]);

    // Long after signer, lists and root have ended.
    bench.set_clock("@2100-01-01 00:00:00");
    let gateway = bench.start_by_clock();
    let pump = bench.until("pump", healthy);
    assert!(pump["admitted-at"].is_string(), "{pump}");
    assert!(pump["code-signer"].is_string(), "{pump}");
    let door = bench.until("door", |door| door["code"].is_string());
    let ended = [Code::Expired, Code::CrlStale].map(Code::as_str);
    assert!(
        door["code"]
            .as_str()
            .is_some_and(|code| ended.contains(&code)),
        "{door}"
    );
    let shown = bench.ran("status", &[]).stdout;
    assert!(
        shown.contains("it runs because it was admitted on"),
        "{shown}"
    );
    let log = bench.log();
    assert!(log.contains("pump: test:pump 1.0.0, signed by"), "{log}");
    let last = accepted(&bench);
    assert!(last["admitted_at"].is_string(), "{last}");
    assert!(last["code_admitted_at"].is_string(), "{last}");
    assert!(last["judged_at_floor"].is_null(), "{last}");

    // The clock leaps back and ahead while it runs: nothing stops, and nothing is poisoned.
    for clock in ["@1970-01-02 00:00:00", "@2200-01-01 00:00:00"] {
        bench.set_clock(clock);
        let (_, done) = bench.reload();
        assert_eq!(done["unchanged"][0], "pump", "{done}");
        assert!(healthy(&bench.service("pump")));
    }
    assert_eq!(gateway.stop(), 0);
    // With a clock that is right again the other is admitted, too.
    bench.set_clock("+0");
    let gateway = bench.start_by_clock();
    let pump = bench.until("pump", healthy);
    assert!(pump["admitted-at"].is_null(), "{pump}");
    bench.until("door", healthy);
    assert_eq!(gateway.stop(), 0);

    // 1970 at start; and a newer list stops what was admitted, whatever the clock shows.
    bench.set_clock("@1970-01-02 00:00:00");
    let gateway = bench.start_by_clock();
    let pump = bench.until("pump", healthy);
    assert!(pump["judged-at-floor"].is_string(), "{pump}");
    let shown = bench.ran("status", &[]).stdout;
    assert!(shown.contains("clock was not plausible"), "{shown}");
    let last = accepted(&bench);
    assert!(last["judged_at_floor"].is_string(), "{last}");
    assert!(last["code_judged_at_floor"].is_string(), "{last}");
    assert_eq!(gateway.stop(), 0);
    fs::write(bench.path("newer.crl"), bench.pki.crl_against_device(1_000))
        .expect("our own folder");
    let text = fs::read_to_string(bench.path("gateway.toml")).expect("a configuration");
    bench.configure_with(&text.replace("[\"crls.pem\"]", "[\"crls.pem\", \"newer.crl\"]"));
    bench.set_clock("@2100-01-01 00:00:00");
    let gateway = bench.start_by_clock();
    let pump = bench.service("pump");
    assert_eq!(pump["state"], "refused", "{pump}");
    let log = bench.log();
    assert!(
        log.contains("an admission of test:pump was taken back"),
        "{log}"
    );
    assert_eq!(gateway.stop(), 0);
}
