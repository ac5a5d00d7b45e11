//! What of a file is refused, and where.

use std::path::Path;
use std::time::Duration;

use super::text::place;
use super::{Config, When, Work};

const GOOD: &str = r#"
        [gateway]
        state = "/state"
        lists = ["lists.pem"]

        [[service]]
        name = "pump"
        component = "pump.wasm"
        signed-as = "acme:pump"

        [service.grants]
        env = { LANG = "C" }
        directories = [{ host = "data", guest = "/data", writable = true, most = "1MiB" }]

        [service.limits]
        memory = "64MiB"
    "#;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("/etc/countersign")).map_err(|wrong| {
        let place = wrong.place.map(|span| place(text, span));
        format!("{place:?} {}", wrong.message)
    })
}

#[test]
fn a_service_gets_what_is_written_and_sensible_rest() {
    let config = parse(GOOD).expect("good");
    let [service] = &config.services[..] else {
        panic!("{config:?}")
    };
    assert_eq!(
        service.place.component,
        Path::new("/etc/countersign/pump.wasm")
    );
    assert_eq!(service.limits.memory_bytes, 64 << 20);
    assert_eq!(service.limits.run, Duration::MAX);
    assert_eq!(service.restart.when, When::Always);
    assert_eq!(
        service.grants.directories[0].host,
        Path::new("/etc/countersign/data")
    );
    assert_eq!(config.control, Path::new("/state/control.sock"));
    assert_eq!(config.lists, [Path::new("/etc/countersign/lists.pem")]);
    assert_eq!(config.policy.min_signers(), 1);
}

#[test]
fn th06_what_is_wrong_is_named_with_its_line() {
    let changed = |from: &str, to: &str| {
        assert!(GOOD.contains(from), "{from}");
        parse(&GOOD.replace(from, to)).expect_err(to)
    };
    let cases = [
        (
            changed("lists =", "list ="),
            "Some((4, 9))",
            "unknown field `list`",
        ),
        (
            changed("name =", "nmae ="),
            "Some((7, 9))",
            "unknown field `nmae`",
        ),
        (
            changed("\"64MiB\"", "\"64MB\""),
            "Some((16, 18))",
            "KiB, MiB or GiB",
        ),
        (changed("\"64MiB\"", "0"), "Some((16, 18))", "some memory"),
        (
            changed(
                "[[service]]",
                "[status]\nlisten = \"0.0.0.0:80\"\n[[service]]",
            ),
            "Some((7, 10))",
            "open-to-others",
        ),
        (
            changed("\"acme:pump\"", "\"pump\""),
            "Some((9, 21))",
            "signed-as: ",
        ),
        (
            changed("\"acme:pump\"", "7"),
            "Some((9, 21))",
            "invalid type",
        ),
        (
            changed("\"pump\"", "\"../pump\""),
            "Some((7, 16))",
            "is no name",
        ),
        (
            changed("\"/data\"", "\"data\""),
            "Some((13, 24))",
            "must start with /",
        ),
        (
            changed("host = \"data\"", "host = \"/\""),
            "Some((13, 24))",
            "what the gateway remembers",
        ),
        (
            changed("lists =", "signers = 5\n        lists ="),
            "Some((4, 19))",
            "between 1 and 4",
        ),
        (
            changed("lists =", "lists = []\n        lists ="),
            "Some((5, 9))",
            "duplicate key",
        ),
    ];
    for (error, place, message) in cases {
        assert!(
            error.starts_with(place) && error.contains(message),
            "{error}"
        );
    }
    let with_keys = |keys: &str, grant: &str| {
        parse(&format!(
            "{}\n[[service.grants.keys]]\n{grant}\n{keys}",
            GOOD.trim_end()
        ))
    };
    let key = "[[key]]\nname = \"k\"\nuri = \"tpm:k\"\nchain = \"k.pem\"\n";
    let config = with_keys(key, "name = \"k\"").expect("good");
    let grant = &config.services[0].grants.keys[0];
    let chain = &grant.key.source.chain;
    assert_eq!(
        (grant.name(), &**chain),
        ("k", Path::new("/etc/countersign/k.pem"))
    );
    for (keys, grant, message) in [
        (key, "name = \"j\"", "no [[key]] called \"j\""),
        (&*key.repeat(2), "name = \"k\"", "two keys are called"),
        (
            &*format!("{key}purpose = \"tls\"\n"),
            "name = \"k\"",
            "not lent to components",
        ),
        (
            &*format!("{key}registers = [0]\n"),
            "name = \"k\"",
            "whose purpose is attestation",
        ),
        (
            &*format!("{key}purpose = \"attestation\"\nregisters = [24]\n"),
            "name = \"k\"",
            "0 to 23",
        ),
        (&*key.replace("tpm:k", "usb:k"), "name = \"k\"", "uri: "),
        (
            &*key.replace("\"k\"", "\"a b\""),
            "name = \"k\"",
            "no key's name",
        ),
    ] {
        let error = with_keys(keys, grant).expect_err(message);
        assert!(error.contains(message), "{error}");
    }
    let twice = format!("{GOOD}{}", &GOOD[GOOD.find("[[service]]").expect("one")..]);
    assert!(parse(&twice).expect_err("twice").contains("two services"));
    assert!(parse("").expect_err("empty").contains("nothing to run"));
}

#[test]
fn th06_schedules_messages_and_rules_are_read_strictly() {
    let common = "name = \"report\"\ncomponent = \"r.wasm\"\nsigned-as = \"acme:report\"\n";
    let schedule = |more: &str| parse(&format!("{GOOD}\n[[schedule]]\n{common}{more}"));
    let config = schedule("cron = \"0 6 * * *\"\n").expect("good");
    let service = &config.services[1];
    assert!(matches!(service.work, Work::Schedule(_)));
    assert_eq!(service.limits.run, Duration::from_secs(3_600));
    for (more, message) in [
        ("", "either cron or every"),
        (
            "cron = \"0 6 * * *\"\nevery = \"1m\"",
            "either cron or every",
        ),
        ("every = \"10ms\"", "the shortest interval"),
        ("cron = \"0 6 * *\"", "such as"),
        ("cron = \"0 6 * * *\"\nutc-offset = \"CET\"", "no offset"),
        ("every = \"1m\"\nmissed = \"all\"", "unknown variant"),
    ] {
        let error = schedule(more).expect_err(message);
        assert!(error.contains(message), "{more}: {error}");
    }
    let key = "[[key]]\nname = \"t\"\npurpose = \"tls\"\nuri = \"tpm:t\"\nchain = \"t.pem\"\n";
    let messages = |address: &str, broker: &str, more: &str| {
        parse(&format!(
            "{GOOD}\n{key}[[broker]]\nname = \"b\"\nclient = \"c\"\naddress = {address:?}\n{broker}\n\
             [[on-message]]\n{common}broker = \"b\"\n{more}"
        ))
    };
    let (over_tls, secure) = ("mqtts://b.example", "key = \"t\"\nroots = \"r.pem\"");
    let topics = "topics = [\"a/#\"]";
    let config = messages(over_tls, secure, topics).expect("good");
    let Work::Messages(work) = &config.services[1].work else {
        panic!("{:?}", config.services[1])
    };
    assert_eq!(
        (work.broker.port, work.tries, work.max_bytes),
        (8_883, 3, 64 << 10)
    );
    messages("mqtt://127.0.0.1:1884", "", topics).expect("good");
    // A message is handed to the host in one call.
    for (more, least) in [
        ("", (1 << 20) + 65_536),
        ("max-message = \"4MiB\"", (4 << 20) + 65_536),
        ("max-message = \"16MiB\"", (16 << 20) + 65_536),
    ] {
        let config = messages(over_tls, secure, &format!("{topics}\n{more}")).expect("good");
        let carried = config.services[1].limits.hostcall_bytes;
        assert!(carried >= least, "{more}: {carried}");
    }
    let less = format!("{topics}\nlimits = {{ hostcall = \"1MiB\" }}\nmax-message = \"4MiB\"");
    let config = messages(over_tls, secure, &less).expect("an operator may");
    assert_eq!(config.services[1].limits.hostcall_bytes, 1 << 20);
    for (address, broker, more, message) in [
        ("mqtt://192.0.2.1", "", topics, "on this machine"),
        ("mqtt://localhost", "", topics, "on this machine"),
        ("http://127.0.0.1", "", topics, "mqtts://HOST:PORT"),
        ("mqtts://b.example:99999", secure, topics, "its port"),
        ("mqtts://user@b.example", secure, topics, "its host"),
        (over_tls, "", topics, "needs key and roots"),
        (
            over_tls,
            "key = \"x\"\nroots = \"r.pem\"",
            topics,
            "of the purpose tls",
        ),
        ("mqtt://127.0.0.1", secure, topics, "are for mqtts://"),
        (over_tls, secure, "", "names no topics"),
        (over_tls, secure, "topics = [\"a/#/b\"]", "no filter"),
        (
            over_tls,
            secure,
            "topics = [\"a\"]\ntries = 0",
            "from 1 to 100",
        ),
        (
            over_tls,
            secure,
            "topics = [\"a\"]\nmax-message = \"17MiB\"",
            "16MiB",
        ),
    ] {
        let error = messages(address, broker, more).expect_err(message);
        assert!(error.contains(message), "{address} {more}: {error}");
    }
}

#[test]
fn th06_a_file_that_others_may_write_is_not_used() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("gateway.toml");
    std::fs::write(&path, GOOD).expect("a file");
    let mode = |mode| std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(&path, mode(0o666)).expect("ours");
    let error = Config::load(&path).expect_err("open to all").to_string();
    assert!(error.contains("chmod go-w"), "{error}");
    std::fs::set_permissions(&path, mode(0o644)).expect("ours");
    Config::load(&path).expect("good");
}
