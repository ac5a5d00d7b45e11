//! The counter in a TPM or a secure element: a folder that was put back from a copy is noticed.

use std::ffi::OsString;
use std::fs;

use countersign_atecc608_emulator::{Clock, Emulator, Factory, shim, socket};
use countersign_testing::TestPki;
use countersign_testing::swtpm::Swtpm;
use countersign_trust_store::Code;

use super::{Bench, SOON, healthy};
use crate::programs::run;

#[test]
fn td08_a_state_that_was_put_back_is_refused_by_the_counter_of_a_tpm() {
    let tpm = Swtpm::start();
    let counter = format!("tpm:0x01800100?tcti={}", tpm.tcti().as_str());
    what_was_put_back_is_refused(&counter, Vec::new());
}

#[test]
fn td08_a_state_that_was_put_back_is_refused_by_the_counter_of_an_atecc608() {
    let chip = Emulator::with_clock(Factory::provisioned(7), Clock::real());
    let wires = tempfile::tempdir().expect("a folder");
    let bus = wires.path().join("bus");
    socket::serve(&chip, &bus).expect("a folder takes a socket");
    let library = shim::build(wires.path()).expect("a C compiler");
    let environment = vec![
        ("LD_PRELOAD", library.into_os_string()),
        (shim::SOCKET_VARIABLE, bus.into_os_string()),
    ];
    what_was_put_back_is_refused("atecc608:/dev/i2c-1?address=0x60&counter=0", environment);
}

fn what_was_put_back_is_refused(counter: &str, environment: Vec<(&'static str, OsString)>) {
    let mut bench = Bench::without_state(TestPki::builder().scope(&["test:*"]));
    bench.environment = environment;
    let bench = bench;
    let init = || {
        run(bench
            .command("init")
            .arg("--state")
            .arg(bench.path("state"))
            .args(["--counter", counter]))
    };
    let made = init();
    assert_eq!(made.status, 0, "{made:?}");
    assert_eq!(init().status, 2, "it is bound already");
    bench.sign("pump", "endless-loop", 1);
    bench.configure(&[("pump", SOON)]);
    let unnamed = bench.ran("run", &[]);
    assert!(
        unnamed.status == 2 && unnamed.stderr.contains("[gateway] counter"),
        "{unnamed:?}"
    );
    let text = fs::read_to_string(bench.path("gateway.toml")).expect("a configuration");
    let text = text.replacen(
        "[gateway]",
        &format!("[gateway]\ncounter = \"{counter}\""),
        1,
    );
    bench.configure_with(&text);
    let gateway = bench.start();
    bench.until("pump", healthy);
    assert_eq!(gateway.stop(), 0);
    let image = fs::read(bench.path("state/memory")).expect("ours");

    // A newer version proves healthy; then the folder is put back as it was, and the older version with it.
    bench.sign("pump", "endless-loop", 2);
    let gateway = bench.start();
    bench.until("pump", healthy);
    assert_eq!(gateway.stop(), 0);
    let newest = fs::read(bench.path("state/memory")).expect("ours");
    fs::write(bench.path("state/memory"), image).expect("ours");
    bench.sign("pump", "endless-loop", 1);
    for verb in ["run", "check"] {
        let refused = bench.ran(verb, &[]);
        assert_eq!(
            refused.status,
            i32::from(Code::StateRollback.exit_status()),
            "{refused:?}"
        );
        assert!(refused.stderr.contains("state-rollback"), "{refused:?}");
    }
    fs::write(bench.path("state/memory"), newest).expect("ours");
    bench.sign("pump", "endless-loop", 3);
    let gateway = bench.start();
    bench.until("pump", healthy);
    assert_eq!(gateway.stop(), 0);
}
