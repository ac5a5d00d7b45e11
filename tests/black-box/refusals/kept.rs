//! A host that keeps compiled code: what ran before is recognised, and refused whenever it would be at a first start.

use std::path::{Path, PathBuf};

use countersign_testing::TestPki;
use countersign_trust_store::Code;
use serde_json::Value;

use super::bench::{Bench, hello};
use super::swapped::{genuine_and_forged, race};

/// A bench, a file that ran, and the folder with its code.
struct Kept {
    bench: Bench,
    file: PathBuf,
    cache: PathBuf,
}

impl Kept {
    fn new() -> Self {
        let bench = Bench::new(TestPki::new());
        let (file, cache) = (bench.fresh("wasm"), bench.fresh("cache"));
        std::fs::write(&file, bench.sign(&hello())).expect("our own folder");
        let kept = Self { bench, file, cache };
        kept.greets("compiled");
        kept.greets("cached");
        kept
    }

    fn arguments(&self) -> [&str; 2] {
        ["--cache", utf8(&self.cache)]
    }

    /// It runs, and its record says where its code came from.
    #[track_caller]
    fn greets(&self, origin: &str) -> Value {
        let (ran, records) = self.bench.run(&self.file, &self.arguments());
        assert_eq!(
            (ran.status, ran.stdout.as_str(), records.len()),
            (0, "Hello, world!\n", 2),
            "{ran:?} {records:?}"
        );
        assert_eq!(records[0]["native_code"], origin, "{}", records[0]);
        let is_recognised = records[0]["recognised"].as_bool().unwrap_or_default();
        assert_eq!(is_recognised, origin == "cached", "{}", records[0]);
        records[0].clone()
    }

    /// The file that holds its code.
    fn entry(&self) -> PathBuf {
        let files = std::fs::read_dir(&self.cache).expect("it was made");
        let mut files = files.map(|file| file.expect("it is there").path());
        let entry = files.find(|file| file.extension().is_some_and(|ending| ending == "code"));
        entry.expect("it was kept")
    }
}

fn utf8(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn te15_td14_what_ran_before_is_refused_once_its_signer_is_revoked() {
    let kept = Kept::new();
    let list = kept.bench.fresh("crl");
    std::fs::write(&list, kept.bench.pki.crl_against_device(2)).expect("our own folder");
    let with_list = [&kept.arguments()[..], &["--crl", utf8(&list)]].concat();
    let record = kept
        .bench
        .run_refuses(&kept.file, &with_list, Code::Revoked);
    let file = std::fs::read(&kept.file).expect("our own file");
    let digest = countersign_format::Digest::of(&file).to_string();
    assert_eq!(record["file_sha256"], digest);
    kept.greets("cached");
}

#[test]
fn te15_ta30_what_is_like_what_ran_before_is_refused_or_greets_as_it_was_signed_to() {
    let kept = Kept::new();
    let (genuine, forged) = genuine_and_forged(&kept.bench);
    std::fs::write(&kept.file, &forged).expect("our own file");
    kept.bench
        .run_refuses(&kept.file, &kept.arguments(), Code::DigestMismatch);
    std::fs::write(&kept.file, &genuine[..genuine.len() - 1]).expect("our own file");
    kept.bench
        .run_refuses(&kept.file, &kept.arguments(), Code::Malformed);

    let (good, bad) = (kept.bench.fresh("wasm"), kept.bench.fresh("wasm"));
    std::fs::write(&good, genuine).expect("our own folder");
    std::fs::write(&bad, forged).expect("our own folder");
    let next = kept.bench.fresh("next");
    race(&kept.bench, &kept.file, 20, &kept.arguments(), |honest| {
        let _gone = std::fs::remove_file(&next);
        std::fs::hard_link(if honest { &good } else { &bad }, &next).expect("our own folder");
        std::fs::rename(&next, &kept.file).expect("our own folder");
    });
}

#[test]
fn te15_what_is_recognised_is_read_and_compiled_where_its_code_is_not_to_be_believed() {
    let kept = Kept::new();
    let entry = kept.entry();
    let good = std::fs::read(&entry).expect("our own file");
    let mut bad = good.clone();
    *bad.last_mut().expect("it is not empty") ^= 1;
    std::fs::write(&entry, bad).expect("our own file");
    let record = kept.greets("recompiled");
    let why = record["cache_not_used"].as_str().unwrap_or_default();
    assert!(why.contains("its seal"), "{record}");
    kept.greets("cached");
}
