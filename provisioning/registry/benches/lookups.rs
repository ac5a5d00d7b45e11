//! Looking up in a registry of a million devices, each with a certificate: by serial number, by hardware and by family,
//! on both databases. `COUNTERSIGN_DEVICES` says another number.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use countersign_benches::{Report, Table, micros};
use countersign_provisioning::Profile;
use countersign_registry::Registry;
use countersign_testing::postgres::Postgres;
use sqlx::{AnyConnection, Connection, Executor};

/// Devices, where nothing else is said.
const DEVICES: u64 = 1_000_000;

/// Devices of one family.
const FAMILY: u64 = 1000;

/// Devices on a page.
const PAGE: u64 = 100;

/// How often each way is asked, for different devices.
const LOOKUPS: u64 = 2000;

/// What 95 of 100 look-ups take at most, in milliseconds.
const AT_MOST: f64 = 5.0;

/// Devices and certificates as SQLite makes them, `COUNT` of each.
const SQLITE: [&str; 3] = [
    "INSERT INTO devices (device, hardware_hash, device_type, family, revision, firmware, state, recorded_at) \
     WITH RECURSIVE numbers (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM numbers WHERE i + 1 < COUNT) \
     SELECT printf('dev-%09d', i), randomblob(32), 'gateway', printf('family-%06d', i / FAMILY), 'B', '1.4.2', 'approved', \
     1790000000 FROM numbers",
    "INSERT INTO certificates (serial, device, profile, issuer, key_hash, not_before, not_after, state, owner, reserved_at, \
     committed_at, der) SELECT CAST(x'41' || randomblob(15) AS BLOB), device, 'tls', zeroblob(32), randomblob(32), 1790000000, \
     1890000000, 'issued', 0, 1790000000, 1790000000, randomblob(600) FROM devices",
    "INSERT INTO device_keys (key_hash, device, profile) SELECT key_hash, device, profile FROM certificates",
];

/// And as PostgreSQL does. Its planner looks at what is there, as it does by itself in a server that runs.
const POSTGRESQL: [&str; 4] = [
    "INSERT INTO devices (device, hardware_hash, device_type, family, revision, firmware, state, recorded_at) \
     SELECT 'dev-' || lpad(i::text, 9, '0'), sha256(('hardware' || i)::bytea), 'gateway', \
     'family-' || lpad((i / FAMILY)::text, 6, '0'), 'B', '1.4.2', 'approved', 1790000000 FROM generate_series(0, COUNT - 1) AS i",
    "INSERT INTO certificates (serial, device, profile, issuer, key_hash, not_before, not_after, state, owner, reserved_at, \
     committed_at, der) SELECT '\\x41'::bytea || substr(sha256(device::bytea), 1, 15), device, 'tls', \
     sha256('issuer'::bytea), sha256(('key' || device)::bytea), 1790000000, 1890000000, 'issued', 0, 1790000000, 1790000000, \
     decode(repeat(md5(device), 37), 'hex') FROM devices",
    "INSERT INTO device_keys (key_hash, device, profile) SELECT key_hash, device, profile FROM certificates",
    "ANALYZE",
];

fn main() -> ExitCode {
    let devices = std::env::var("COUNTERSIGN_DEVICES")
        .ok()
        .map_or(DEVICES, |count| count.parse().expect("a number"));
    assert!(devices >= FAMILY, "at least one family");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let mut report = Report::default();
    let mut table = Table::new(&[
        "database",
        "by",
        "half of them",
        "95 of 100",
        "99 of 100",
        "at most",
    ]);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("registry.db");
    let server = Postgres::start();
    runtime.block_on(async {
        let url = format!("sqlite:{}", file.display());
        let driver = format!("sqlite://{}?mode=rw", file.display());
        one(
            ("SQLite", &url, &driver),
            &SQLITE,
            devices,
            &mut report,
            &mut table,
        )
        .await;
        let url = server.database();
        one(
            ("PostgreSQL", &url, &url),
            &POSTGRESQL,
            devices,
            &mut report,
            &mut table,
        )
        .await;
    });
    report.print(
        &format!(
            "{LOOKUPS} look-ups one after another in a registry of {devices} devices with a certificate each, opened anew; \
             the wall's time. A family has {FAMILY} devices, and a page {PAGE}."
        ),
        table,
    );
    report.finish()
}

async fn one(
    (name, url, driver): (&str, &str, &str),
    statements: &[&str],
    devices: u64,
    report: &mut Report,
    table: &mut Table,
) {
    Registry::open(url).await.expect("opens").close().await;
    let began = Instant::now();
    let mut connection = AnyConnection::connect(driver).await.expect("connects");
    for statement in statements {
        let statement = statement
            .replace("COUNT", &devices.to_string())
            .replace("FAMILY", &FAMILY.to_string());
        connection
            .execute(statement.as_str())
            .await
            .expect("filled");
    }
    connection.close().await.expect("closed");
    eprintln!(
        "{name}: {devices} devices in {:.1} s",
        began.elapsed().as_secs_f64()
    );

    // What is asked for is looked up before, by a registry that is closed again, so that its own pages are not at hand.
    let registry = Registry::open(url).await.expect("opens");
    let mut asked = Vec::new();
    for lookup in 0..LOOKUPS {
        // Far apart, so that one does not bring the next one's pages along.
        let number = lookup.wrapping_mul(0x9e37_79b9_7f4a_7c15) % devices;
        let id = format!("dev-{number:09}").parse().expect("an id");
        let device = registry.device(&id).await.expect("asked").expect("there");
        let current = registry.current(&id, Profile::Tls).await;
        asked.push((device, current.expect("asked").expect("there").serial));
    }
    registry.close().await;
    drop(registry);

    let registry = Registry::open(url).await.expect("opens");
    let [mut serials, mut hardware, mut families] = [Vec::new(), Vec::new(), Vec::new()];
    for (device, serial) in asked {
        let began = Instant::now();
        let found = registry.certificate(&serial).await;
        serials.push(began.elapsed());
        assert_eq!(found.expect("asked").expect("there").device, device.id);

        let hash = device.hardware_hash.expect("its hardware");
        let began = Instant::now();
        let found = registry.device_by_hardware(&hash).await;
        hardware.push(began.elapsed());
        assert_eq!(found.expect("asked").expect("there").id, device.id);

        let began = Instant::now();
        let page = registry.devices(Some(&device.family), None, PAGE).await;
        families.push(began.elapsed());
        let items = page.expect("asked").items;
        assert_eq!(u64::try_from(items.len()), Ok(PAGE));
    }
    registry.close().await;
    for (way, mut times) in [
        ("serial", serials),
        ("hardware", hardware),
        ("family", families),
    ] {
        times.sort_unstable();
        let part = |of_hundred: usize| -> Duration { times[(times.len() - 1) * of_hundred / 100] };
        let most = part(95).as_secs_f64() * 1e3;
        report.check(&format!("{name}, by {way}, 95 of 100, ms"), most, AT_MOST);
        table.row(&[
            name.to_owned(),
            way.to_owned(),
            micros(part(50)),
            micros(part(95)),
            micros(part(99)),
            format!("{AT_MOST} ms"),
        ]);
    }
}
