//! Software TPMs: what a session makes of one, what it refuses, and one TPM with the keys of many devices.

use std::sync::Arc;

use countersign_backend_tpm::{DataIndex, TpmProvider};
use countersign_keys::{Algorithm, KeyProvider as _, KeyTemplate, KeyUri};
use countersign_sessions::{
    Device as _, Devices as _, Error, Failed, Journal, Step, Steps, StoreDevices, Tpm, read_list,
};
use countersign_stores::Stores;
use countersign_testing::swtpm::Swtpm;
use countersign_trust_store::firmware::{BrokenFirmware, TpmMaker};

use crate::batch::{Seen, run};
use crate::bench::{Bench, issued, job, on_runtime, provision};

const INDEX: u32 = 0x0183_0001;

fn uri(tpm: &Swtpm, name: &str) -> String {
    format!("tpm:{name}?tcti={}", tpm.tcti())
}

fn open(tpm: &Swtpm) -> Tpm {
    let index = DataIndex::new(INDEX).expect("an index");
    Tpm::open(Some(tpm.tcti()))
        .expect("a TPM")
        .with_chain_at(index)
}

#[test]
fn tf12_tf13_a_tpm_is_provisioned_when_its_keys_live_beside_its_endorsement_key() {
    on_runtime(async {
        let bench = Bench::new();
        let station = bench.station_for_software().await;
        let (tpm, other, ours) = (Swtpm::start(), Swtpm::start(), Swtpm::start());
        let asking = Arc::new(TpmProvider::new(ours.tcti()));
        let device = Arc::new(open(&tpm).asked_by(Arc::clone(&asking)));
        let mut wanted = job("press-1", &uri(&tpm, "device"));
        let hardware = device
            .hardware()
            .expect("read")
            .expect("an endorsement key");
        wanted.hardware = Some(*hardware.hash());
        let done = provision(&station, &wanted, device)
            .await
            .expect("provisioned");
        // Nobody may take a program for a chip, here or in the records.
        assert_eq!(done.attested.as_str(), "none");
        let mut strict = station.clone();
        strict.software = false;
        let Failed { step, error } = provision(&strict, &wanted, Arc::new(open(&tpm)))
            .await
            .expect_err("refused");
        assert_eq!(step, Step::Key, "{error}");
        assert_eq!(issued(station.issuing.registry(), "press-1").await, 1);
        // The whole chain is in the TPM, for whoever asks it.
        let index = DataIndex::new(INDEX).expect("an index");
        let there = TpmProvider::new(tpm.tcti()).read_data(index).expect("read");
        assert_eq!(there, done.chain.concat());
        // TF11: another TPM in its place.
        let exchanged = Arc::new(open(&other).asked_by(asking));
        let mut elsewhere = wanted.clone();
        elsewhere.key = uri(&other, "device").parse().expect("a URI");
        let Failed { step, error } = provision(&station, &elsewhere, exchanged)
            .await
            .expect_err("refused");
        assert_eq!(step, Step::Register, "{error}");
        assert_eq!(issued(station.issuing.registry(), "press-1").await, 1);
        // Nothing of a TPM can be locked: whoever asks for it is told.
        let mut locking = station.clone();
        locking.lock_for_ever = true;
        let Failed { step, error } = provision(&locking, &wanted, Arc::new(open(&tpm)))
            .await
            .expect_err("refused");
        assert_eq!(step, Step::Lock, "{error}");
    });
}

#[test]
fn tf12_tf15_a_key_that_came_from_outside_and_firmware_that_is_broken_are_refused() {
    on_runtime(async {
        let bench = Bench::new();
        let station = bench.station_for_software().await;
        let tpm = Swtpm::start();
        let store = TpmProvider::new(tpm.tcti());
        let (maker, version) = store.firmware().expect("told");
        let broken = BrokenFirmware {
            maker: TpmMaker(maker),
            from: version,
            before: version + 1,
            defect: "a defect that was made up for a test (CVE-0000-0000)",
        };
        let wanted = job("press-1", &uri(&tpm, "device"));
        // Other keys are there already, and with them the storage root key.
        let template = KeyTemplate::attestation(Algorithm::Esp256);
        store
            .generate(&uri(&tpm, "attestation").parse().expect("a URI"), &template)
            .expect("a key");
        drop(store);
        let device = Arc::new(open(&tpm).with_known_defects(vec![broken]));
        let Failed { step, error } = provision(&station, &wanted, device)
            .await
            .expect_err("refused");
        assert_eq!(step, Step::Attest, "{error}");
        assert!(error.to_string().contains("CVE-0000-0000"), "{error}");
        // A key that was made outside, put under the storage root key and kept.
        for (program, arguments) in [
            (
                "openssl",
                "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out outside.pem",
            ),
            (
                "tpm2_import",
                "-Q -C 0x81000001 -G ecc:ecdsa-sha256 -i outside.pem -u outside.pub -r outside.priv -a userwithauth|sign|noda",
            ),
            (
                "tpm2_load",
                "-Q -C 0x81000001 -u outside.pub -r outside.priv -c outside.ctx",
            ),
            ("tpm2_evictcontrol", "-Q -C o -c outside.ctx 0x81010009"),
        ] {
            let arguments: Vec<&str> = arguments.split(' ').collect();
            tpm.tool(program, &arguments);
        }
        let imported = job("press-1", &uri(&tpm, "0x81010009"));
        let Failed { step, error } = provision(&station, &imported, Arc::new(open(&tpm)))
            .await
            .expect_err("refused");
        assert!(step <= Step::Attest, "{step}: {error}");
        // A key that only attests gets no certificate of another kind.
        let attests = job("press-1", &uri(&tpm, "attestation"));
        let Failed { step, error } = provision(&station, &attests, Arc::new(open(&tpm)))
            .await
            .expect_err("refused");
        assert_eq!(step, Step::Key, "{error}");
        assert!(matches!(error, Error::Refused { .. }), "{error}");
        assert_eq!(issued(station.issuing.registry(), "press-1").await, 0);
    });
}

#[test]
fn data_in_a_tpm_is_what_was_kept_last_and_nobody_elses() {
    let tpm = Swtpm::start();
    let store = TpmProvider::new(tpm.tcti());
    let index = DataIndex::new(INDEX).expect("an index");
    assert!(DataIndex::new(0x0182_0000).is_none(), "records of keys");
    store
        .generate(
            &"tpm:key".parse::<KeyUri>().expect("a URI"),
            &KeyTemplate::signing(Algorithm::Esp256),
        )
        .expect("a key");
    store.read_data(index).expect_err("nothing yet");
    for length in [1, 512, 513, 2_048, 700, 700] {
        let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        store.write_data(index, &bytes).expect("kept");
        assert_eq!(store.read_data(index).expect("read"), bytes, "{length}");
    }
    store.write_data(index, &[]).expect_err("nothing");
    store.write_data(index, &[0; 2_049]).expect_err("too much");
    // Somebody else's index stays as it is.
    tpm.tool(
        "tpm2_nvdefine",
        &[
            "-Q",
            "-C",
            "o",
            "-s",
            "8",
            "-a",
            "authwrite|authread|ownerread",
            "0x01830002",
        ],
    );
    let others = DataIndex::new(0x0183_0002).expect("an index");
    store.write_data(others, &[1; 8]).expect_err("another's");
}

#[test]
fn the_devices_of_a_machine_are_found_by_their_keys_and_shared_while_they_are_used() {
    on_runtime(async {
        let bench = Bench::new();
        let station = bench.station_for_software().await;
        let tpm = Swtpm::start();
        let devices = Arc::new(StoreDevices::new(Stores::without_secrets()).with_software());
        // One key each of one TPM: what tells hardware apart is the TPM, so the second device is refused.
        let list = format!(
            "id,key\npress-1,\"{}\"\npress-2,\"{}\"\n",
            uri(&tpm, "one"),
            uri(&tpm, "two")
        );
        let rows = read_list(list.as_bytes(), None).expect("a list");
        let mut journal = Journal::open(&bench.path("journal")).expect("a journal");
        let mut seen = Seen::default();
        let report = run(
            &station,
            Arc::clone(&devices) as _,
            &rows,
            &mut journal,
            2,
            Steps::default(),
            &mut seen,
        )
        .await;
        assert_eq!((report.succeeded, report.failed), (1, 1), "{report}");
        assert_eq!(report.failures[0].step, Step::Register, "{report}");
        let key = uri(&tpm, "one").parse().expect("a URI");
        let (first, second) = (devices.of_key(&key), devices.of_key(&key));
        assert!(Arc::ptr_eq(&first.expect("a TPM"), &second.expect("a TPM")));
        // A device that is not there is its row's error.
        let list = format!(
            "id,key\npress-3,\"tpm:x?tcti=swtpm:host=127.0.0.1,port=1\"\npress-4,file:{}\n",
            bench.path("press-4.key").display()
        );
        let rows = read_list(list.as_bytes(), None).expect("a list");
        let report = run(
            &station,
            devices,
            &rows,
            &mut journal,
            1,
            Steps::default(),
            &mut seen,
        )
        .await;
        assert_eq!((report.succeeded, report.failed), (1, 1), "{report}");
        assert_eq!(report.failures[0].step, Step::Open, "{report}");
    });
}
