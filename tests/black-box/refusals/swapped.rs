//! A file that is exchanged while the host looks at it: what runs is what was signed, or nothing.

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use countersign_testing::TestPki;

use super::bench::{Bench, hello};

fn bench() -> &'static Bench {
    static BENCH: std::sync::LazyLock<Bench> =
        std::sync::LazyLock::new(|| Bench::kept("swapped", TestPki::new()));
    &BENCH
}

/// A file that runs, and the same with another greeting in it under the signature of the first: as long, as valid as
/// WebAssembly, and what an attacker wants to run.
pub(super) fn genuine_and_forged(bench: &Bench) -> (Vec<u8>, Vec<u8>) {
    let component = hello();
    let genuine = bench.sign(&component);
    let mut forged = genuine.clone();
    let places: Vec<_> = component.windows(5).enumerate().collect();
    let places = places.iter().filter(|(_, window)| *window == b"Hello");
    let places: Vec<_> = places.map(|(at, _)| *at).collect();
    assert!(!places.is_empty());
    for at in places {
        forged[at..at + 5].copy_from_slice(b"HELLO");
    }
    (genuine, forged)
}

/// Runs the host on `path` so many times while `exchange` is called over and over with `true` and `false` in turn.
/// Each time the guest greets as it was signed to, or the file is refused and nothing is heard.
pub(super) fn race(
    bench: &Bench,
    path: &Path,
    runs: u32,
    arguments: &[&str],
    mut exchange: impl FnMut(bool) + Send,
) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut genuine = false;
            while !done.load(Ordering::Relaxed) {
                exchange(genuine);
                genuine = !genuine;
            }
        });
        for _ in 0..runs {
            let (ran, records) = bench.run(path, arguments);
            match (ran.status, ran.stdout.as_str()) {
                // The second, when it was read as the forged one or between the two.
                (0, "Hello, world!\n") | (111, "") => {}
                _ => panic!("{ran:?} {records:?}"),
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn ta30_a_file_that_is_written_to_while_it_is_read() {
    let (genuine, forged) = genuine_and_forged(bench());
    let path = bench().fresh("wasm");
    std::fs::write(&path, &genuine).expect("our own folder");
    // Only what differs is written, through a descriptor that stays open, as if it were a mapping.
    let differing = genuine.iter().zip(&forged).position(|(a, b)| a != b);
    let at = differing.expect("they differ");
    let mut file = File::options()
        .write(true)
        .open(&path)
        .expect("our own file");
    race(bench(), &path, 20, &[], |honest| {
        let bytes = if honest { &genuine } else { &forged };
        let offset = u64::try_from(at).expect("it fits");
        file.seek(std::io::SeekFrom::Start(offset))
            .expect("our own file");
        file.write_all(&bytes[at..at + 64]).expect("our own file");
    });
}

#[test]
fn ta30_a_name_that_is_given_to_another_file() {
    let (genuine, forged) = genuine_and_forged(bench());
    let (good, bad) = (bench().fresh("wasm"), bench().fresh("wasm"));
    std::fs::write(&good, genuine).expect("our own folder");
    std::fs::write(&bad, forged).expect("our own folder");
    let target = |honest| if honest { &good } else { &bad };

    // By renaming a hard link onto it, and by turning a symbolic link elsewhere.
    let (path, next) = (bench().fresh("wasm"), bench().fresh("next"));
    std::fs::hard_link(&good, &path).expect("our own folder");
    race(bench(), &path, 20, &[], |honest| {
        let _gone = std::fs::remove_file(&next);
        std::fs::hard_link(target(honest), &next).expect("our own folder");
        std::fs::rename(&next, &path).expect("our own folder");
    });

    let path = bench().fresh("wasm");
    symlink(&good, &path).expect("our own folder");
    race(bench(), &path, 20, &[], |honest| {
        let _gone = std::fs::remove_file(&next);
        symlink(target(honest), &next).expect("our own folder");
        std::fs::rename(&next, &path).expect("our own folder");
    });
}

#[test]
fn ta30_without_a_race_each_is_what_it_is() {
    let (genuine, forged) = genuine_and_forged(bench());
    bench().runs(&genuine);
    bench().refuses(&forged, countersign_trust_store::Code::DigestMismatch);
}
