//! Certificates that are durable, a second: requests parsed, possession verified, signed, row and leaf committed, many at
//! a time; on SQLite and on PostgreSQL, beside `openssl ca` and `cfssl serve` with its database, over the same requests.

mod cfssl;

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_backend_file::{FileKey, SystemRandom};
use countersign_benches::{Report, Table, micros, time};
use countersign_issuing::{Ask, Authority, Clock, Contents, Issuing, Proof};
use countersign_keys::{Algorithm, SigningKey};
use countersign_provisioning::{
    CaName, CertificateRequest, DeviceName, EndEntity, Issuer, Profile, Root, Validity, quick_key,
};
use countersign_registry::{Device, Registry};
use countersign_signer::request::{RequestFields, Subject, certification_request, to_pem};
use countersign_testing::postgres::Postgres;
use countersign_trust_store::UnixTime;

/// Certificates of each figure, and how many are asked for at once.
const CERTIFICATES: u32 = 10_000;
const AT_ONCE: u32 = 512;

/// Requests that `openssl ca` gets in one run.
const FOR_OPENSSL: u32 = 500;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let mut report = Report::default();
    runtime.block_on(async {
        let requests: Vec<Vec<u8>> = (0..CERTIFICATES).map(request).collect();
        parts(&mut report, &requests);
        issuing(&mut report, &requests).await;
    });
    report.finish()
}

async fn issuing(report: &mut Report, requests: &[Vec<u8>]) {
    let mut table = Table::new(&[
        "registry",
        "a second",
        "a minute",
        "beside openssl ca",
        "beside cfssl",
        "processor each",
        "p50 of an answer",
        "p95",
    ]);
    let openssl = openssl(requests);
    let of_cfssl = [
        cfssl::with_sqlite(requests).await,
        cfssl::with_postgresql(requests).await,
    ];
    let folder = tempfile::tempdir().expect("a folder");
    let sqlite = format!("sqlite:{}", folder.path().join("registry.db").display());
    let mut rates = Vec::new();
    for ((name, url), cfssl) in [
        ("SQLite", sqlite),
        ("PostgreSQL", Postgres::shared().database()),
    ]
    .into_iter()
    .zip(of_cfssl)
    {
        let (rate, processor, answers) = issue_all(&url, requests).await;
        table.row(&[
            name.to_owned(),
            format!("{rate:.0}"),
            format!("{:.0}", rate * 60.0),
            format!("{:.1}", rate / openssl),
            format!("{:.1}", rate / cfssl),
            micros(processor),
            millis(percentile(&answers, 50)),
            millis(percentile(&answers, 95)),
        ]);
        report.check(
            &format!("seconds for 10,000 certificates on {name}"),
            10_000.0 / rate,
            60.0,
        );
        report.check(&format!("openssl ca beside {name}"), openssl / rate, 0.5);
        report.check(&format!("cfssl beside {name}"), cfssl / rate, 1.0);
        rates.push(rate);
    }
    report.check(
        "PostgreSQL beside SQLite, times slower",
        rates[0] / rates[1],
        2.0,
    );
    table.row(&[
        "openssl ca, index.txt".to_owned(),
        format!("{openssl:.0}"),
        format!("{:.0}", openssl * 60.0),
        "1.0".to_owned(),
        String::new(),
        String::new(),
        String::new(),
        String::new(),
    ]);
    for (name, rate) in ["cfssl, SQLite", "cfssl, PostgreSQL"].iter().zip(of_cfssl) {
        table.row(&[
            (*name).to_owned(),
            format!("{rate:.0}"),
            format!("{:.0}", rate * 60.0),
            format!("{:.1}", rate / openssl),
            "1.0".to_owned(),
            String::new(),
            String::new(),
            String::new(),
        ]);
    }
    report.print(
        &format!(
            "{CERTIFICATES} certificates, {AT_ONCE} asked for at once, P-256, the authority's key in software; each is on the disk with its leaf before it is handed out. openssl ca: {FOR_OPENSSL} of the same requests in one run, no wait for the disk. cfssl: {} of them over HTTP, {} at once, each on the disk before it is answered. The wall's time; beside it the processor time of our process for one certificate, in which neither PostgreSQL's nor the askers' counts apart.",
            cfssl::REQUESTS,
            cfssl::AT_ONCE,
        ),
        table,
    );
}

/// What parts cost by themselves, in processor time of one thread.
fn parts(report: &mut Report, requests: &[Vec<u8>]) {
    const RUNS: usize = 500;
    let mut table = Table::new(&["part", "processor"]);
    let mut next = requests.iter().cycle();
    let verifying = time(
        RUNS,
        || next.next().expect("endless"),
        |request| CertificateRequest::verify(request).expect("proven"),
    );
    let (key, certificate) = authority();
    let issuer = Issuer::new(&key, &certificate).expect("an issuer");
    let request = CertificateRequest::verify(&requests[0]).expect("proven");
    let end_entity = EndEntity {
        name: DeviceName::new(name(0).parse().expect("an id")),
        metadata: Default::default(),
        validity: Validity::days(UnixTime::from_secs(now()), 365).expect("days"),
        scope: None,
        hardware: None,
        dns_names: Vec::new(),
        no_rev_avail: false,
    };
    let signing = time(
        RUNS,
        || (),
        |()| {
            issuer
                .end_entity(
                    Profile::Tls,
                    request.public_key(),
                    &end_entity,
                    &mut SystemRandom,
                )
                .expect("issued")
        },
    );
    let bare = time(RUNS, || (), |()| key.sign(b"a message").expect("signed"));
    for (name, took) in [
        ("a request read, possession verified", verifying),
        ("a certificate made, judged, signed, verified", signing),
        ("a signature by the same key, verified", bare),
    ] {
        table.row(&[name.to_owned(), micros(took)]);
    }
    report.print("Parts of issuing without a registry:", table);
}

/// How many a second, the processor time of each, and how long each answer took.
async fn issue_all(url: &str, requests: &[Vec<u8>]) -> (f64, Duration, Vec<Duration>) {
    let registry = Registry::open(url).await.expect("opens");
    let order = registry
        .order("all", None, u64::MAX / 4)
        .await
        .expect("made");
    let devices: Vec<Device> = (0..CERTIFICATES)
        .map(|number| Device::approved(name(number).parse().expect("an id"), &order))
        .collect();
    registry
        .register(&devices, now())
        .await
        .expect("registered");
    let (key, certificate) = authority();
    let authority = Authority {
        key: Arc::new(key),
        certificate,
    };
    let issuing = Issuing::start(registry.clone(), authority, Clock::system(0))
        .await
        .expect("starts");
    let next = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let requests: Arc<[Vec<u8>]> = requests.into();
    let (started, processor) = (Instant::now(), cpu_time::ProcessTime::now());
    let clients: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let (issuing, next, requests) =
                (issuing.clone(), Arc::clone(&next), Arc::clone(&requests));
            tokio::spawn(async move {
                let mut answers = Vec::new();
                loop {
                    let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some(request) = requests.get(index) else {
                        return answers;
                    };
                    let asked = Instant::now();
                    issuing.issue(ask(request.clone())).await.expect("issued");
                    answers.push(asked.elapsed());
                }
            })
        })
        .collect();
    let mut answers = Vec::new();
    for client in clients {
        answers.extend(client.await.expect("ends"));
    }
    let took = started.elapsed().as_secs_f64();
    let processor = processor.elapsed() / CERTIFICATES;
    assert_eq!(answers.len(), requests.len());
    let counts = registry.statistics().await.expect("counted");
    assert_eq!(
        counts.certificates,
        [("issued".to_owned(), u64::from(CERTIFICATES))]
    );
    assert_eq!(counts.leaves_waiting, u64::from(CERTIFICATES));
    registry.close().await;
    answers.sort_unstable();
    (f64::from(CERTIFICATES) / took, processor, answers)
}

fn ask(request: Vec<u8>) -> Ask {
    Ask {
        proof: Proof::Request(request),
        device: None,
        profile: Profile::Tls,
        contents: Contents::default(),
        renews: None,
        request: None,
        manufacturer: None,
    }
}

/// An authority for other programs, `ca.pem` and `ca.key` in a folder.
pub(crate) fn openssl_authority(folder: &Path) {
    run(
        folder,
        &[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
            "-subj",
            "/CN=Bench",
            "-days",
            "3650",
        ],
    );
}

/// What `openssl ca` makes of the same requests, a second.
fn openssl(requests: &[Vec<u8>]) -> f64 {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    openssl_authority(folder.path());
    std::fs::write(at("index.txt"), "").expect("written");
    std::fs::create_dir(at("new")).expect("made");
    let configuration = "[ca]\ndefault_ca = d\n[d]\ndatabase = index.txt\nnew_certs_dir = new\nserial = serial\n\
        rand_serial = yes\ndefault_md = sha256\npolicy = p\ndefault_days = 365\nunique_subject = no\n\
        x509_extensions = e\nemail_in_dn = no\n[p]\nserialNumber = optional\ncommonName = optional\n\
        [e]\nkeyUsage = critical,digitalSignature\nextendedKeyUsage = clientAuth,serverAuth\n\
        subjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid\n";
    std::fs::write(at("ca.cnf"), configuration).expect("written");
    let mut arguments: Vec<String> = [
        "ca", "-batch", "-notext", "-config", "ca.cnf", "-cert", "ca.pem", "-keyfile", "ca.key",
        "-infiles",
    ]
    .map(str::to_owned)
    .to_vec();
    for (number, request) in (0..FOR_OPENSSL).zip(requests) {
        let file = format!("{number}.csr");
        std::fs::write(at(&file), to_pem(request).expect("PEM")).expect("written");
        arguments.push(file);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let started = Instant::now();
    run(folder.path(), &arguments);
    let took = started.elapsed().as_secs_f64();
    let made = std::fs::read_dir(at("new")).expect("listed").count();
    assert_eq!(u32::try_from(made), Ok(FOR_OPENSSL));
    f64::from(FOR_OPENSSL) / took
}

pub(crate) fn run(folder: &Path, arguments: &[&str]) {
    let status = Command::new("openssl")
        .args(arguments)
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("openssl");
    assert!(status.success(), "openssl {}", arguments[0]);
}

fn authority() -> (SigningKey, Vec<u8>) {
    let key = FileKey::generate(Algorithm::Esp256, &mut SystemRandom).expect("a key");
    let key = quick_key(key).expect("a key");
    let root = Root {
        name: CaName::new("Bench Issuing", "Bench", None).expect("a name"),
        validity: Validity::days(UnixTime::from_secs(now() - 86_400), 3650).expect("days"),
        path_length: 0,
        development: false,
    };
    let root = Issuer::root(&key, &root, &mut SystemRandom).expect("a root");
    (key, root.certificate)
}

fn request(number: u32) -> Vec<u8> {
    let mut seed = [0x11; 32];
    seed[..4].copy_from_slice(&number.to_be_bytes());
    let key = SigningKey::new(FileKey::from_seed(Algorithm::Esp256, &seed).expect("a key"));
    let fields = RequestFields {
        subject: Subject::default(),
        identity: Some(name(number).parse().expect("an id")),
        metadata: Default::default(),
        dns_names: Vec::new(),
        scope: None,
    };
    certification_request(&key, &fields).expect("a request")
}

fn name(number: u32) -> String {
    format!("device-{number}")
}

fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970")
        .as_secs()
}

/// Of answers in ascending order.
fn percentile(answers: &[Duration], percent: usize) -> Duration {
    let index = (answers.len() * percent / 100).min(answers.len().saturating_sub(1));
    answers.get(index).copied().unwrap_or_default()
}

fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}
