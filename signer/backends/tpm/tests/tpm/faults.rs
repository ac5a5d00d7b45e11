//! What the store does with a TPM, or a way to it, that does not do what it should.

use crate::provider::{SIGNING, judge, uri};
use crate::proxy::{Fault, Proxy};
use countersign_backend_tpm::{TpmOptions, TpmProvider};
use countersign_keys::{
    Algorithm, Challenge, Error, ErrorKind, Evidence, KeyProvider, KeyTemplate, KeyUri, SigningKey,
    Tcti,
};
use countersign_testing::swtpm::{Swtpm, free_pair, tcti_of};
use std::thread;
use std::time::{Duration, Instant};

/// TPM_CC_Sign (TPM 2.0 part 2, §6.5.2).
const SIGN: u32 = 0x0000_015d;

/// What a machine under load may take beyond a deadline.
const SLACK: Duration = Duration::from_secs(60);

fn with_deadline(tcti: Tcti, milliseconds: u64) -> TpmProvider {
    TpmOptions::new(tcti)
        .deadline(Duration::from_millis(milliseconds))
        .build()
}

/// A TPM with a key of the name `key`, a relay before it, and the key opened through the relay.
struct Bench {
    tpm: Swtpm,
    proxy: Proxy,
    store: TpmProvider,
    key: SigningKey,
}

impl Bench {
    fn with_deadline(milliseconds: u64) -> Self {
        let tpm = Swtpm::start();
        TpmProvider::new(tpm.tcti())
            .generate(&uri("key"), &SIGNING)
            .expect("a key");
        let proxy = Proxy::before(&tpm);
        let store = with_deadline(proxy.tcti(), milliseconds);
        // Where many begin at once, the first may not be done by the deadline that the faults are to meet.
        let key = eventually("a new TPM", || {
            let key = store.open(&uri("key"))?;
            key.sign(b"first")?;
            Ok(key)
        });
        Self {
            tpm,
            proxy,
            store,
            key,
        }
    }

    fn new() -> Self {
        Self::with_deadline(30_000)
    }

    fn refuses(&self) -> Error {
        self.key.sign(b"message").expect_err("it must not sign")
    }
}

#[track_caller]
fn is(error: &Error, kind: ErrorKind) {
    assert_eq!(error.kind(), kind, "{error}: {error:?}");
    assert!(error.to_string().contains("; "), "no remedy: {error}");
}

#[test]
fn tf01_no_tpm_is_said_and_nothing_else_signs() {
    let nobody: Tcti = "device:/dev/countersign-no-tpm".parse().expect("a device");
    let nowhere = tcti_of(free_pair());
    let no_tpm: Tcti = "device:/dev/null".parse().expect("a device");
    for (tcti, kind) in [
        (nobody, ErrorKind::NotFound),
        (nowhere, ErrorKind::NotFound),
        (no_tpm, ErrorKind::Device),
    ] {
        let store = with_deadline(tcti.clone(), 5_000);
        let challenge = Challenge::new([1; 32]);
        for error in [
            store.describe().map(drop).expect_err("describe"),
            store
                .generate(&uri("key"), &SIGNING)
                .map(drop)
                .expect_err("generate"),
            store.open(&uri("key")).map(drop).expect_err("open"),
            store.show(&uri("key")).map(drop).expect_err("show"),
            store.list().map(drop).expect_err("list"),
            store.delete(&uri("key")).map(drop).expect_err("delete"),
            store
                .attest(&uri("key"), &challenge)
                .map(drop)
                .expect_err("attest"),
            store
                .state(&uri("key"), &[0], &challenge)
                .map(drop)
                .expect_err("state"),
        ] {
            is(&error, kind);
            assert!(
                error
                    .to_string()
                    .contains(tcti.as_str().trim_start_matches("device:")),
                "{error}"
            );
        }
    }
}

#[test]
fn tf02_a_busy_tpm_is_waited_for_and_then_said_to_be_busy() {
    let bench = Bench::new();
    // TPM_RC_RETRY, TPM_RC_YIELDED, TPM_RC_TESTING, TPM_RC_NV_RATE.
    for code in [0x922, 0x908, 0x90a, 0x920] {
        for times in [1, 2, 6] {
            let mut left = times;
            bench.proxy.plan(move |command| {
                let busy = command == SIGN && left > 0;
                left -= i32::from(busy);
                busy.then_some(Fault::Code(code))
            });
            bench.key.sign(b"in the end").expect("it signs");
            let asked = bench
                .proxy
                .seen()
                .iter()
                .filter(|code| **code == SIGN)
                .count();
            assert_eq!(asked, usize::try_from(times).expect("few") + 1, "{code:#x}");
        }
        bench.proxy.plan(move |_| Some(Fault::Code(code)));
        is(&bench.refuses(), ErrorKind::Busy);
        let asked = bench.proxy.seen().len();
        assert!((5..100).contains(&asked), "asked {asked} times");
        bench.proxy.calm();
        bench.key.sign(b"afterwards").expect("it signs");
    }
}

#[test]
fn tf03_a_tpm_that_takes_no_more_passwords_says_so_and_keys_made_here_go_on() {
    let bench = Bench::new();
    let tpm = &bench.tpm;
    tpm.tool(
        "tpm2_create",
        &[
            "-Q",
            "-C",
            "0x81000001",
            "-G",
            "ecc:ecdsa-sha256",
            "-p",
            "secret",
            "-u",
            "pub",
            "-r",
            "priv",
            "-a",
            "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign",
        ],
    );
    tpm.tool(
        "tpm2_load",
        &[
            "-Q",
            "-C",
            "0x81000001",
            "-u",
            "pub",
            "-r",
            "priv",
            "-c",
            "ctx",
        ],
    );
    tpm.tool(
        "tpm2_evictcontrol",
        &["-Q", "-C", "o", "-c", "ctx", "0x81010010"],
    );
    tpm.tool("tpm2_flushcontext", &["-t"]);
    std::fs::write(tpm.folder().join("message"), b"message").expect("a file");
    let sign = |password: &str| {
        tpm.try_tool(
            "tpm2_sign",
            &[
                "-Q",
                "-c",
                "0x81010010",
                "-p",
                password,
                "-g",
                "sha256",
                "-o",
                "signature",
                "message",
            ],
        )
        .status
        .success()
    };
    assert!(sign("secret"), "the right password is taken");
    // The store has no password for it, and asks once only, however often it is called.
    let key = bench.store.open(&uri("0x81010010")).expect("it opens");
    for _ in 0..5 {
        is(
            &key.sign(b"m").expect_err("it has a password"),
            ErrorKind::Permissions,
        );
    }
    let counted = tpm.tool("tpm2_getcap", &["properties-variable"]);
    let counted = counted
        .split_once("TPM2_PT_LOCKOUT_COUNTER: ")
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .expect("the counter");
    assert_eq!(counted, "0x1");
    for _ in 0..3 {
        assert!(!sign("wrong"));
    }
    assert!(!sign("secret"), "swtpm is not locked");
    let key = bench.store.open(&uri("0x81010010")).expect("it opens");
    is(
        &key.sign(b"m").expect_err("locked out"),
        ErrorKind::LockedOut,
    );
    bench.key.sign(b"goes on").expect("noDA");
    bench
        .store
        .generate(&uri("new"), &SIGNING)
        .expect("goes on");
    tpm.tool("tpm2_dictionarylockout", &["-Q", "--clear-lockout"]);
    assert!(sign("secret"));
}

#[test]
fn tf04_answers_that_are_none_are_said_to_be_none() {
    let bench = Bench::with_deadline(5_000);
    for fault in [
        Fault::Truncated(0),
        Fault::Truncated(5),
        Fault::Truncated(10),
        Fault::Truncated(40),
        Fault::Size(0),
        Fault::Size(9),
        Fault::Size(10),
        Fault::Size(0xffff_ffff),
        Fault::Longer(1),
        Fault::Longer(5_000),
        Fault::Tag(0),
        Fault::Tag(0x00c4),
        Fault::Tag(0x8001),
        Fault::Hollow,
        Fault::Zeros,
        Fault::Noise,
    ] {
        bench.proxy.plan(move |_| Some(fault));
        let error = match bench.key.sign(b"message") {
            Err(error) => error,
            // Bytes behind what is authentic change nothing of it.
            Ok(_) if matches!(fault, Fault::Longer(_)) => continue,
            Ok(signature) => panic!("{fault:?}: {signature:?}"),
        };
        assert!(
            matches!(
                error.kind(),
                ErrorKind::Device | ErrorKind::NotFound | ErrorKind::BadSignature
            ),
            "{fault:?}: {error:?}"
        );
        assert!(error.to_string().contains("; "), "no remedy: {error}");
        // Once is mended by a new connection.
        let mut once = true;
        bench
            .proxy
            .plan(move |_| std::mem::take(&mut once).then_some(fault));
        bench
            .key
            .sign(b"afterwards")
            .unwrap_or_else(|error| panic!("{fault:?}: {error:?}"));
    }
}

#[test]
fn tf05_no_answer_ends_at_the_deadline_and_the_store_goes_on() {
    let bench = Bench::with_deadline(4_000);
    for fault in [Fault::Silence, Fault::LateSilence] {
        for _ in 0..2 {
            bench.proxy.plan(move |_| Some(fault));
            let asked = Instant::now();
            is(&bench.refuses(), ErrorKind::Timeout);
            let took = asked.elapsed();
            assert!(took >= Duration::from_secs(4) && took < SLACK, "{took:?}");
            bench.proxy.calm();
            let after = format!("{fault:?}");
            eventually(&after, || bench.key.sign(b"afterwards").map(drop));
        }
    }
}

/// Threads that wait for ever are bounded in number, and all callers still get their answers.
#[test]
fn tf05_a_tpm_that_never_answers_again_costs_a_bounded_number_of_threads() {
    let bench = Bench::with_deadline(3_000);
    bench.proxy.plan(|_| Some(Fault::Silence));
    for _ in 0..10 {
        is(&bench.refuses(), ErrorKind::Timeout);
    }
    // Each thread that was left behind holds a connection.
    let left = bench.proxy.clients();
    assert!((2..=9).contains(&left), "{left} threads");
}

/// Repeats for as long as a machine under load may need: one try can take all of a store's own time to answer.
fn eventually<T>(after: &str, mut work: impl FnMut() -> Result<T, Error>) -> T {
    let until = Instant::now() + 4 * SLACK;
    loop {
        match work() {
            Ok(done) => return done,
            Err(error) => assert!(Instant::now() < until, "{after}: {error:?}"),
        }
    }
}

#[test]
fn tf06_after_a_reset_the_next_signature_is_made_and_a_tpm_that_resets_for_ever_is_said() {
    let mut tpm = Swtpm::start();
    let store = TpmProvider::new(tpm.tcti());
    store.generate(&uri("key"), &SIGNING).expect("a key");
    let key = store.open(&uri("key")).expect("it opens");
    key.sign(b"before").expect("it signs");
    for _ in 0..3 {
        tpm.restart();
        key.sign(b"after a reset").expect("loaded again");
    }
    // TPM_RC_REFERENCE_S0, TPM_RC_REFERENCE_H0, TPM_RC_HANDLE: what was loaded is gone.
    let bench = Bench::new();
    // The first two come too where others use the TPM without a resource manager: then it is asked five times more.
    for (code, most) in [(0x918, 7), (0x910, 7), (0x18b, 2)] {
        let mut once = true;
        bench.proxy.plan(move |command| {
            (command == SIGN && std::mem::take(&mut once)).then_some(Fault::Code(code))
        });
        bench.key.sign(b"once").expect("loaded again");
        bench
            .proxy
            .plan(move |command| (command == SIGN).then_some(Fault::Code(code)));
        is(&bench.refuses(), ErrorKind::Device);
        let asked = bench
            .proxy
            .seen()
            .iter()
            .filter(|code| **code == SIGN)
            .count();
        assert_eq!(asked, most, "loaded again, and not for ever");
    }
}

#[test]
fn tf07_a_hundred_signers_at_once_all_succeed_though_the_memory_is_full() {
    let bench = Bench::new();
    for _ in 0..3 {
        // Leaves its object in the TPM's memory; swtpm has room for three.
        bench.tpm.tool(
            "tpm2_createprimary",
            &["-Q", "-C", "o", "-G", "ecc", "-c", "primary"],
        );
    }
    let other = bench.tpm.try_tool(
        "tpm2_createprimary",
        &["-Q", "-C", "o", "-G", "ecc", "-c", "primary"],
    );
    assert!(!other.status.success(), "the memory is not full");
    thread::scope(|scope| {
        let signers: Vec<_> = (0..100u8)
            .map(|n| {
                let key = &bench.key;
                scope.spawn(move || {
                    let signature = key.sign(&[n])?;
                    key.public_key()
                        .verify(&[n], signature.as_bytes())
                        .expect("valid");
                    Ok::<_, Error>(())
                })
            })
            .collect();
        for signer in signers {
            signer.join().expect("no panic").expect("a signature");
        }
    });
}

#[test]
fn tf08_another_key_in_its_place_signs_nothing() {
    let tpm = Swtpm::start();
    let store = TpmProvider::new(tpm.tcti());
    let place = uri("0x81010005");
    let first = store.generate(&place, &SIGNING).expect("a key");
    let key = store.open(&place).expect("it opens");
    key.sign(b"m").expect("it signs");
    let other = TpmProvider::new(tpm.tcti());
    other.delete(&place).expect("deleted by somebody else");
    is(
        &key.sign(b"m").expect_err("there is no key"),
        ErrorKind::NotFound,
    );
    let second = other.generate(&place, &SIGNING).expect("another key");
    assert_ne!(first.public, second.public);
    is(
        &key.sign(b"m").expect_err("not the key that was opened"),
        ErrorKind::OtherKey,
    );
    assert_eq!(
        store.open(&place).expect("it opens").public_key(),
        &second.public
    );
}

#[test]
fn tf09_a_cleared_tpm_must_be_provisioned_again() {
    let tpm = Swtpm::start();
    let store = TpmProvider::new(tpm.tcti());
    store.generate(&uri("key"), &SIGNING).expect("a key");
    let key = store.open(&uri("key")).expect("it opens");
    tpm.tool("tpm2_clear", &[]);
    is(
        &key.sign(b"m").expect_err("cleared"),
        ErrorKind::OtherDevice,
    );
    for error in [
        store.open(&uri("key")).map(drop).expect_err("cleared"),
        store.show(&uri("key")).map(drop).expect_err("cleared"),
        store
            .generate(&uri("new"), &SIGNING)
            .map(drop)
            .expect_err("cleared"),
    ] {
        is(&error, ErrorKind::OtherDevice);
        assert!(error.to_string().contains("provision"), "{error}");
    }
    // Who does not know what was there before finds an empty TPM, records and all.
    let anew = TpmProvider::new(tpm.tcti());
    let error = anew.open(&uri("key")).map(drop).expect_err("empty");
    is(&error, ErrorKind::NotFound);
    assert!(error.to_string().contains("provision"), "{error}");
    assert!(anew.list().expect("an empty list").is_empty());
    anew.generate(&uri("key"), &SIGNING)
        .expect("provisioned again");
    is(
        &key.sign(b"m").expect_err("another key"),
        ErrorKind::OtherDevice,
    );
}

#[test]
fn tf10_each_bit_turned_on_the_bus_ends_in_a_good_signature_or_in_none() {
    let bench = Bench::with_deadline(20_000);
    // Of a command and an answer of about 120 bytes; the rest comes at random in the long run.
    for bit in (0..1_000).step_by(41) {
        for fault in [Fault::FlipCommand(bit), Fault::FlipAnswer(bit)] {
            let mut once = true;
            bench.proxy.plan(move |command| {
                (command == SIGN && std::mem::take(&mut once)).then_some(fault)
            });
            good_or_none(&bench.key, b"message", &fault);
        }
    }
    // An interposer that turns the same bit always: the digest in the command, the signature in the answer.
    for fault in [
        Fault::FlipCommand(8 * 60),
        Fault::FlipAnswer(8 * 30),
        Fault::FlipAnswer(8 * 60),
        Fault::Stripped,
    ] {
        bench
            .proxy
            .plan(move |command| (command == SIGN).then_some(fault));
        let error = bench.refuses();
        assert!(
            matches!(
                error.kind(),
                ErrorKind::BadSignature | ErrorKind::Device | ErrorKind::Permissions
            ),
            "{fault:?}: {error:?}"
        );
        bench.proxy.calm();
        bench.key.sign(b"afterwards").expect("it signs");
    }
}

/// Registers are read without protection, so what they seem to hold is believed only if the TPM signs it or keeps to it.
#[test]
fn tf10_registers_that_are_altered_on_the_way_are_neither_vouched_for_nor_bound_to() {
    let bench = Bench::new();
    let ak = KeyTemplate::attestation(Algorithm::Esp256);
    bench.store.generate(&uri("ak"), &ak).expect("a key");
    // TPM_CC_PCR_Read; a bit of the value.
    bench
        .proxy
        .plan(|command| (command == 0x17e).then_some(Fault::FlipAnswer(8 * 40)));
    let quote = |store: &TpmProvider| store.state(&uri("ak"), &[7], &Challenge::new([1; 32]));
    is(
        &quote(&bench.store).expect_err("another value"),
        ErrorKind::Device,
    );
    let bound = SIGNING.bound_to(&[7]);
    is(
        &bench
            .store
            .generate(&uri("bound"), &bound)
            .expect_err("bound to what is not"),
        ErrorKind::StateChanged,
    );
    bench.proxy.calm();
    quote(&bench.store).expect("the true value");
    is(
        &bench.store.show(&uri("bound")).expect_err("not made"),
        ErrorKind::NotFound,
    );
}

fn good_or_none(key: &SigningKey, message: &[u8], fault: &dyn std::fmt::Debug) -> bool {
    match key.sign(message) {
        Ok(signature) => {
            key.public_key()
                .verify(message, signature.as_bytes())
                .unwrap_or_else(|error| panic!("{fault:?}: a bad signature left: {error}"));
            true
        }
        Err(error) => {
            assert!(error.to_string().contains("; "), "no remedy: {error}");
            false
        }
    }
}

#[test]
fn tf11_an_exchanged_tpm_is_noticed() {
    let (first, second) = (Swtpm::start(), Swtpm::start());
    let store = TpmProvider::new(first.tcti());
    store.generate(&uri("key"), &SIGNING).expect("a key");
    let root = store.root_name().expect("a storage root key");
    let other = TpmProvider::new(second.tcti());
    other.generate(&uri("key"), &SIGNING).expect("a key");
    assert_ne!(
        store.endorsement_key().expect("it has one").public_area,
        other.endorsement_key().expect("it has one").public_area
    );
    let pinned = |tcti| TpmOptions::new(tcti).expect_root(&root).build();
    pinned(first.tcti())
        .open(&uri("key"))
        .expect("the same TPM");
    for error in [
        pinned(second.tcti())
            .open(&uri("key"))
            .map(drop)
            .expect_err("another TPM"),
        pinned(second.tcti())
            .generate(&uri("new"), &SIGNING)
            .map(drop)
            .expect_err("another TPM"),
    ] {
        is(&error, ErrorKind::OtherDevice);
    }
    // A new one, which has no storage root key at all, does not get one in silence.
    let third = Swtpm::start();
    let error = pinned(third.tcti())
        .generate(&uri("key"), &SIGNING)
        .map(drop);
    is(&error.expect_err("another TPM"), ErrorKind::OtherDevice);
}

#[test]
fn tf14_te22_te24_an_attestation_key_signs_no_digest_and_no_message_from_outside() {
    let tpm = Swtpm::start();
    let store = TpmProvider::new(tpm.tcti());
    let (ak, place) = (uri("0x81010006"), "0x81010006");
    store
        .generate(&ak, &KeyTemplate::attestation(Algorithm::Esp256))
        .expect("an attestation key");
    is(
        &store.open(&ak).map(drop).expect_err("no signing key"),
        ErrorKind::Unsupported,
    );
    // The TPM itself refuses, too: TPM_RC_TICKET of the third parameter.
    std::fs::write(tpm.folder().join("digest"), [7; 32]).expect("a file");
    let refused = tpm.try_tool(
        "tpm2_sign",
        &[
            "-c",
            place,
            "-g",
            "sha256",
            "-d",
            "-o",
            "signature",
            "digest",
        ],
    );
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        !refused.status.success() && said.contains("0x3E0"),
        "{said}"
    );
    // A message that begins as the TPM's own statements do gets no ticket, and so no signature; another one would.
    for (message, signs) in [
        (b"\xffTCG\x80\x18forged".as_slice(), false),
        (b"harmless".as_slice(), true),
    ] {
        std::fs::write(tpm.folder().join("message"), message).expect("a file");
        tpm.tool(
            "tpm2_hash",
            &[
                "-C", "o", "-g", "sha256", "-o", "digest", "-t", "ticket", "message",
            ],
        );
        let signed = tpm.try_tool(
            "tpm2_sign",
            &[
                "-Q",
                "-c",
                place,
                "-g",
                "sha256",
                "-d",
                "-t",
                "ticket",
                "-o",
                "signature",
                "digest",
            ],
        );
        assert_eq!(signed.status.success(), signs, "{message:?}");
    }
    // Why no call of ours takes a digest: for a key that is not restricted the TPM signs any.
    store.generate(&uri("0x81010007"), &SIGNING).expect("a key");
    std::fs::write(tpm.folder().join("digest"), [7; 32]).expect("a file");
    tpm.tool(
        "tpm2_sign",
        &[
            "-Q",
            "-c",
            "0x81010007",
            "-g",
            "sha256",
            "-d",
            "-o",
            "signature",
            "digest",
        ],
    );
}

/// What is done with a store, and what must be true of what comes back.
struct Operation {
    name: &'static str,
    run: fn(&TpmProvider) -> Result<(), Error>,
}

const OPERATIONS: [Operation; 5] = [
    Operation {
        name: "generate",
        run: |store| store.generate(&uri("new"), &SIGNING).map(drop),
    },
    Operation {
        name: "open",
        run: |store| store.open(&uri("key")).map(drop),
    },
    Operation {
        name: "sign",
        run: |store| {
            let key = store.open(&uri("key"))?;
            let signature = key.sign(b"message")?;
            key.public_key()
                .verify(b"message", signature.as_bytes())
                .expect("a bad signature left");
            Ok(())
        },
    },
    Operation {
        name: "attest",
        run: |store| {
            let challenge = Challenge::new([3; 32]);
            let evidence = store.attest(&uri("key"), &challenge)?;
            let key = store.show(&uri("key"))?;
            judge(&evidence, &key.public, &challenge).expect("bad evidence left");
            Ok(())
        },
    },
    Operation {
        name: "quote",
        run: |store| {
            let evidence = store.state(&uri("ak"), &[0, 7], &Challenge::new([4; 32]))?;
            let Evidence::TpmQuote(quote) = evidence else {
                panic!("another kind");
            };
            quote
                .attestation_key
                .verify(&quote.attest, &quote.signature)
                .expect("a bad quote left");
            Ok(())
        },
    },
];

/// The faults, each with its deadline in milliseconds.
const FAULTS: [(Fault, u64); 19] = [
    // TPM_RC_FAILURE, TPM_RC_INITIALIZE, TPM_RC_RETRY, TPM_RC_OBJECT_MEMORY, TPM_RC_SESSION_MEMORY, TPM_RC_REFERENCE_S0.
    (Fault::Code(0x101), 60_000),
    (Fault::Code(0x100), 60_000),
    (Fault::Code(0x922), 60_000),
    (Fault::Code(0x902), 60_000),
    (Fault::Code(0x903), 60_000),
    (Fault::LateCode(0x918), 60_000),
    (Fault::Truncated(7), 60_000),
    (Fault::Size(11), 60_000),
    (Fault::Longer(2_000), 60_000),
    (Fault::Tag(0x8003), 60_000),
    (Fault::Hollow, 60_000),
    (Fault::Stripped, 60_000),
    (Fault::Noise, 60_000),
    (Fault::Stale, 60_000),
    (Fault::Silence, 3_000),
    (Fault::LateSilence, 3_000),
    (Fault::Disconnect, 60_000),
    (Fault::LateDisconnect, 60_000),
    (Fault::FlipAnswer(8 * 20 + 3), 60_000),
];

/// Where in an operation a fault strikes.
#[derive(Clone, Copy, Debug)]
enum When {
    Once(usize),
    FromThenOn(usize),
}

#[test]
fn tf02_tf04_tf05_tf06_tf10_every_fault_while_generating_ends_right_or_in_an_error() {
    every_fault_in("generate");
}

#[test]
fn tf02_tf04_tf05_tf06_tf10_every_fault_while_opening_ends_right_or_in_an_error() {
    every_fault_in("open");
}

#[test]
fn tf02_tf04_tf05_tf06_tf10_every_fault_while_signing_ends_right_or_in_an_error() {
    every_fault_in("sign");
}

#[test]
fn tf02_tf04_tf05_tf06_tf10_every_fault_while_attesting_ends_right_or_in_an_error() {
    every_fault_in("attest");
}

#[test]
fn tf02_tf04_tf05_tf06_tf10_every_fault_while_quoting_ends_right_or_in_an_error() {
    every_fault_in("quote");
}

fn every_fault_in(operation: &str) {
    let operation = OPERATIONS
        .iter()
        .find(|known| known.name == operation)
        .expect("there is one");
    let tpm = Swtpm::start();
    let direct = TpmProvider::new(tpm.tcti());
    direct.generate(&uri("key"), &SIGNING).expect("a key");
    direct
        .generate(&uri("ak"), &KeyTemplate::attestation(Algorithm::Esp256))
        .expect("an attestation key");
    let proxy = Proxy::before(&tpm);
    (operation.run)(&TpmProvider::new(proxy.tcti())).expect("without a fault");
    let commands = proxy.seen().len();
    let _ = direct.delete(&uri("new"));
    let (mut mended, mut refused, mut position) = (0, 0, 0);
    for (fault, deadline) in FAULTS {
        position = (position * 7 + 3) % commands;
        for when in [
            When::Once(position),
            When::Once(commands - 1),
            When::FromThenOn(position),
        ] {
            let what = format!("{}, {fault:?}, {when:?} of {commands}", operation.name);
            let store = with_deadline(proxy.tcti(), deadline);
            let mut number = 0;
            proxy.plan(move |_| {
                number += 1;
                let strikes = match when {
                    When::Once(at) => number - 1 == at,
                    When::FromThenOn(at) => number > at,
                };
                strikes.then_some(fault)
            });
            let asked = Instant::now();
            match (operation.run)(&store) {
                Ok(()) => mended += 1,
                Err(error) => {
                    refused += 1;
                    assert!(
                        error.to_string().contains("; "),
                        "{what}: no remedy: {error}"
                    );
                }
            }
            let took = asked.elapsed();
            // An operation here makes up to two calls.
            let most = 2 * Duration::from_millis(deadline) + SLACK;
            assert!(took < most, "{what}: {took:?}");
            proxy.calm();
            the_store_goes_on(&store, &direct, operation.name, &what);
        }
    }
    println!("{}: {mended} mended, {refused} refused", operation.name);
    assert!(
        mended > 15 && refused > 10,
        "{mended} mended, {refused} refused"
    );
}

fn the_store_goes_on(store: &TpmProvider, direct: &TpmProvider, operation: &str, what: &str) {
    let works = |key: &KeyUri| {
        eventually(what, || store.open(key)?.sign(b"afterwards").map(drop));
    };
    works(&uri("key"));
    if operation == "generate" {
        // There is a whole key or none.
        match direct.open(&uri("new")) {
            Ok(key) => {
                key.sign(b"whole")
                    .unwrap_or_else(|error| panic!("{what}: half a key: {error:?}"));
                direct
                    .delete(&uri("new"))
                    .unwrap_or_else(|error| panic!("{what}: {error:?}"));
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{what}: {error:?}"),
        }
    }
}

/// How many signatures the next test makes in every run of the tests, one per cent of a million; `COUNTERSIGN_FAULTS` gives
/// another number, as `cargo xtask soak faults` does. Each takes some 26 ms of a processor, most of it in the TPM library's hashes.
const FAULTY_SIGNATURES: u64 = 10_000;

/// How many TPMs make them side by side: a command whose size has a bit turned leaves its TPM waiting for the rest until the
/// deadline, and the others go on.
const LANES: u64 = 16;

/// One bit of the command or the answer of each signature is turned, and now and then one of another command.
#[test]
fn tf10_tf27_of_thousands_of_signatures_with_a_bit_turned_no_bad_one_leaves() {
    let count = std::env::var("COUNTERSIGN_FAULTS")
        .ok()
        .map_or(FAULTY_SIGNATURES, |count| count.parse().expect("a number"));
    // One after the other, and before any of them signs: a TPM's first opening takes far longer than a signature, and what
    // is given up at the deadline goes on all the same, so that many at once would never be done.
    let benches: Vec<_> = (0..LANES).map(|_| Bench::with_deadline(5_000)).collect();
    let good: u64 = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES)
            .zip(&benches)
            .map(|(lane, bench)| scope.spawn(move || lane_of_turned_bits(bench, lane, count)))
            .collect();
        lanes
            .into_iter()
            .map(|lane| {
                lane.join()
                    .expect("no bad signature leaves, and nothing panics")
            })
            .sum()
    });
    let none = count - good;
    println!("{count} signatures with turned bits: {good} good, {none} refused, 0 bad");
    assert!(good > count / 2, "{good} of {count}");
}

/// Makes every [`LANES`]th of `count` signatures, beginning with the one of this number, on a TPM of its own; returns how
/// many there were, all good.
fn lane_of_turned_bits(bench: &Bench, lane: u64, count: u64) -> u64 {
    let mut good = 0;
    for number in (lane..count).step_by(usize::try_from(LANES).expect("a small number")) {
        let mut of_plan = Random(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut first = true;
        bench.proxy.plan(move |command| {
            let strikes = (command == SIGN && std::mem::take(&mut first))
                || of_plan.next().is_multiple_of(64);
            let bit = usize::try_from(of_plan.next() >> 40).expect("24 bits");
            match (strikes, of_plan.next() % 2) {
                (false, _) => None,
                (true, 0) => Some(Fault::FlipCommand(bit)),
                (true, _) => Some(Fault::FlipAnswer(bit)),
            }
        });
        good += u64::from(good_or_none(&bench.key, &number.to_be_bytes(), &number));
    }
    good
}

/// SplitMix64: the same faults in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
