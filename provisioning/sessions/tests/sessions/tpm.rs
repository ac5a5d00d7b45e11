//! Software TPMs: what a session makes of one, what it refuses, and one TPM with the keys of many devices.

use std::sync::Arc;

use countersign_backend_tpm::{DataIndex, TpmProvider};
use countersign_keys::{Algorithm, KeyProvider as _, KeyTemplate, KeyUri};
use countersign_sessions::{
    Device as _, Devices as _, Error, Failed, Journal, Step, Steps, StoreDevices, Tpm, TpmMakers,
    read_list,
};
use countersign_stores::Stores;
use countersign_testing::swtpm::Swtpm;
use countersign_trust_store::UnixTime;
use countersign_trust_store::firmware::{BrokenFirmware, TpmMaker};

use crate::batch::{Seen, run};
use crate::bench::{Bench, issued, job, now, on_runtime, provision};

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

/// What stands before the point of a P-256 key in a SubjectPublicKeyInfo.
const P256_HEAD: [u8; 27] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];

/// A maker in a TPM's folder: a root in `makers`, an authority below it, another of the same name that is not there, the TPM's
/// endorsement key as `ek.pub`, and what stands in its certificate.
fn maker(tpm: &Swtpm) {
    let area = TpmProvider::new(tpm.tcti())
        .endorsement_key()
        .expect("an endorsement key")
        .public_area;
    let (_, point) = area.split_at(area.len() - 68);
    let key = [&P256_HEAD[..], &point[2..34], &point[36..]].concat();
    let put = |name: &str, bytes: &[u8]| {
        std::fs::write(tpm.folder().join(name), bytes).expect("written");
    };
    put("ek.pub", &key);
    let made_for = |purpose: &str| {
        format!(
            "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,keyAgreement\nextendedKeyUsage={purpose}\n"
        )
    };
    let named = "subjectAltName=critical,dirName:tpm\n[tpm]\n1.2.23.133.2.1=id:00001014\n\
                 1.2.23.133.2.2=swtpm\n1.2.23.133.2.3=id:20191023\n";
    put("good.ext", (made_for("2.23.133.8.1") + named).as_bytes());
    put("nameless.ext", made_for("2.23.133.8.1").as_bytes());
    put("purposeless.ext", named.as_bytes());
    put("other.ext", (made_for("clientAuth") + named).as_bytes());
    put(
        "mid.ext",
        b"basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n",
    );
    std::fs::create_dir(tpm.folder().join("makers")).expect("a folder");
    let root =
        "req -x509 -newkey ec -nodes -days 3650 -subj /CN=Maker -pkeyopt ec_paramgen_curve:P-384";
    for command in [
        format!("{root} -keyout root.key -out makers/root.pem"),
        format!("{root} -keyout stranger.key -out stranger.pem"),
        "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout mid.key -out mid.csr -subj /CN=Line".to_owned(),
        "x509 -req -in mid.csr -CA makers/root.pem -CAkey root.key -set_serial 2 -days 3650 -extfile mid.ext -out makers/mid.pem".to_owned(),
        "ec -in stranger.key -pubout -outform DER -out stranger.pub".to_owned(),
    ] {
        let arguments: Vec<&str> = command.split(' ').collect();
        tpm.tool("openssl", &arguments);
    }
}

/// Puts a certificate over this key into the TPM where makers put it.
fn certify(tpm: &Swtpm, key: &str, by: (&str, &str), extensions: &str) {
    let command = format!(
        "x509 -new -force_pubkey {key} -subj / -CA {} -CAkey {} -set_serial 77 -days 30 -extfile {extensions} -outform DER -out ek.der",
        by.0, by.1
    );
    let arguments: Vec<&str> = command.split(' ').collect();
    tpm.tool("openssl", &arguments);
    let size = std::fs::metadata(tpm.folder().join("ek.der"))
        .expect("made")
        .len();
    let _ = tpm.try_tool("tpm2_nvundefine", &["-Q", "-C", "o", "0x01c0000a"]);
    let size = size.to_string();
    let attributes = "ownerread|ownerwrite|authread|authwrite|no_da";
    tpm.tool(
        "tpm2_nvdefine",
        &["-Q", "-C", "o", "-s", &size, "-a", attributes, "0x01c0000a"],
    );
    tpm.tool(
        "tpm2_nvwrite",
        &["-Q", "-C", "o", "-i", "ek.der", "0x01c0000a"],
    );
}

#[test]
fn tf12_a_tpm_is_taken_only_when_a_maker_that_is_named_vouches_for_its_endorsement_key() {
    on_runtime(async {
        let bench = Bench::new();
        let station = bench.station_for_software().await;
        let (tpm, ours) = (Swtpm::start(), Swtpm::start());
        let asking = Arc::new(TpmProvider::new(ours.tcti()));
        maker(&tpm);
        let folder = tpm.folder().join("makers");
        let makers = |later: u64| {
            let makers = TpmMakers::read(&folder, UnixTime::from_secs(now() + later));
            Arc::new(makers.expect("makers"))
        };
        let wanted = job("press-1", &uri(&tpm, "device"));
        let device = |later: u64| {
            let device = open(&tpm).asked_by(Arc::clone(&asking));
            Arc::new(device.of_makers(makers(later)))
        };
        let refused = async |device: Arc<Tpm>, word: &str| {
            let Failed { step, error } =
                provision(&station, &wanted, device).await.expect_err(word);
            assert_eq!(step, Step::Attest, "{error}");
            assert!(error.to_string().contains(word), "{word}: {error}");
        };
        let line = ("makers/mid.pem", "mid.key");
        refused(device(0), "it has no certificate").await;
        certify(&tpm, "ek.pub", ("stranger.pem", "stranger.key"), "good.ext");
        refused(device(0), "does not hold").await;
        certify(&tpm, "stranger.pub", line, "good.ext");
        refused(device(0), "another endorsement key").await;
        certify(&tpm, "ek.pub", line, "nameless.ext");
        refused(device(0), "which TPM it is for").await;
        certify(&tpm, "ek.pub", line, "other.ext");
        refused(device(0), "does not hold").await;
        certify(&tpm, "ek.pub", line, "purposeless.ext");
        refused(device(0), "not for an endorsement key").await;
        certify(&tpm, "ek.pub", line, "good.ext");
        refused(device(31 * 86_400), "does not hold").await;
        // Whose TPM it is says nothing of keys that may live in another.
        let alone = Arc::new(open(&tpm).of_makers(makers(0)));
        refused(alone, "a TPM of the station").await;
        assert_eq!(issued(station.issuing.registry(), "press-1").await, 0);
        provision(&station, &wanted, device(0))
            .await
            .expect("provisioned");
        // Whose folder it is decides which TPMs are taken.
        use std::os::unix::fs::PermissionsExt as _;
        let now = UnixTime::from_secs(now());
        for (what, mode) in [(folder.join("root.pem"), 0o666), (folder.clone(), 0o777)] {
            std::fs::set_permissions(&what, std::fs::Permissions::from_mode(mode)).expect("set");
            let error = TpmMakers::read(&folder, now).expect_err("refused");
            assert!(error.to_string().contains("chmod go-w"), "{error}");
        }
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).expect("set");
        std::fs::remove_file(folder.join("root.pem")).expect("removed");
        let error = TpmMakers::read(&folder, now).expect_err("refused");
        assert!(error.to_string().contains("no root"), "{error}");
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
