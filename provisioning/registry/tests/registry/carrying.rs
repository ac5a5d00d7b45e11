//! Records that are taken elsewhere.

use countersign_provisioning::{Profile, Reason, Revocation, Serial};
use countersign_registry::{
    CertificateState, Device, Error, Imported, Leaf, Listed, Refusal, Registry, Reservation,
};
use countersign_trust_store::UnixTime;

use crate::database::{Database, NOW, approve, asking, id, issue, reserve};
use crate::made::{END, issue_real, real};

pub(crate) async fn exported(registry: &Registry) -> Vec<String> {
    let mut lines = Vec::new();
    registry
        .export(|line| {
            lines.push(line.to_owned());
            Ok(())
        })
        .await
        .expect("exported");
    lines
}

/// Who issues in these tests, and an authority beside it.
const HERE: [u8; 32] = [7; 32];
const ELSEWHERE: [u8; 32] = [9; 32];

/// Imports into the registry of who issues here. A leaf of a revocation is the serial and the reason.
async fn import(registry: &Registry, lines: &[String]) -> Result<Imported, Error> {
    let lines = lines.iter().map(String::as_str);
    let revoked = |serial: &Serial, why| format!("{serial} {why}").into_bytes();
    let imported = |imported: &Imported| format!("imported {}", imported.added).into_bytes();
    registry.import(lines, &HERE, NOW, imported, revoked).await
}

/// The leaves of a registry that has no log.
async fn leaves(registry: &Registry) -> Vec<String> {
    registry.place_leaves(100).await.expect("placed");
    let leaves = registry.leaves(0, 100).await.expect("listed");
    let text = |leaf: Leaf| String::from_utf8(leaf.bytes).expect("text");
    leaves.into_iter().map(text).collect()
}

/// Imports into an empty registry of the kind, which must refuse a line and keep nothing; the line and the reason.
async fn refused(database: &Database, lines: &[String]) -> (usize, String) {
    let empty = database.another();
    let registry = empty.open().await;
    refused_by(&registry, lines).await
}

async fn refused_by(registry: &Registry, lines: &[String]) -> (usize, String) {
    let before = exported(registry).await;
    match import(registry, lines).await {
        Err(Error::Import { line, reason }) => {
            assert_eq!(exported(registry).await, before, "nothing is taken over");
            (line, reason)
        }
        other => panic!("{other:?}: {lines:?}"),
    }
}

pub(crate) async fn what_is_exported_comes_back(database: Database) {
    let registry = database.open().await;
    approve(&registry, &["a", "b", "c"]).await;
    let kept = issue_real(&registry, "a", 1, Profile::Tls).await;
    let revoked = issue_real(&registry, "b", 2, Profile::GuestData).await;
    issue_real(&registry, "b", 4, Profile::IDevId).await;
    registry
        .revoke(&revoked.serial, Reason::KeyCompromise, NOW, |_| {
            b"leaf".to_vec()
        })
        .await
        .expect("revoked");
    let open = asking("c", 3);
    assert!(reserve(&registry, &open, NOW).await.is_ok());
    let lines = exported(&registry).await;
    assert_eq!(lines.len(), 1 + 3 + 4);

    let elsewhere = Database::sqlite();
    let copy = elsewhere.open().await;
    let imported = import(&copy, &lines).await.expect("imported");
    assert_eq!((imported.added, imported.skipped), (8, 0));
    let imported = import(&copy, &lines).await.expect("imported");
    assert_eq!((imported.added, imported.skipped), (0, 8));
    assert_eq!(exported(&copy).await, lines);
    let unfinished = copy.certificate(&open.serial).await.expect("found");
    assert_eq!(
        unfinished.expect("there").state,
        CertificateState::Abandoned
    );
    // What was taken there is taken here, and what was lost there is lost here.
    let others = Reservation {
        key: kept.key,
        ..asking("b", 0)
    };
    assert!(matches!(
        reserve(&copy, &others, NOW).await,
        Err(Refusal::KeyKnown { serves: None, .. })
    ));
    let lost = Reservation {
        key: revoked.key,
        profile: Profile::GuestData,
        ..asking("b", 0)
    };
    assert!(matches!(
        reserve(&copy, &lost, NOW).await,
        Err(Refusal::KeyRevoked { .. })
    ));
    let current = copy.current(&id("a"), Profile::Tls).await.expect("found");
    assert_eq!(current.expect("there").serial, kept.serial);
}

pub(crate) async fn tg24_what_contradicts_itself_or_what_is_here_is_not_imported(
    database: Database,
) {
    let registry = database.open().await;
    approve(&registry, &["a", "b"]).await;
    let what = issue_real(&registry, "a", 1, Profile::Tls).await;
    let lines = exported(&registry).await;
    let [order, a, b, certificate] = lines.as_slice() else {
        panic!("{lines:?}");
    };
    let (key, serial) = (hex::encode(what.key), what.serial.to_string());
    let changed = |from: &str, to: &str| {
        assert!(certificate.contains(from), "{from}: {certificate}");
        certificate.replacen(from, to, 1)
    };
    let end = what.not_after;
    assert_eq!(end, END);
    for (line, reason) in [
        ("{\"kind\":\"device\"}".to_owned(), "missing field"),
        (
            changed(&format!("\"serial\":\"{serial}"), "\"serial\":\"4111"),
            "another serial number",
        ),
        (changed(&key, &"11".repeat(32)), "another key"),
        (
            changed("\"device\":\"a\"", "\"device\":\"b\""),
            "another device",
        ),
        (
            changed("\"device\":\"a\"", "\"device\":\"z\""),
            "another device",
        ),
        (
            changed("\"tls\"", "\"guest-data\""),
            "no guest-data certificate",
        ),
        (
            changed(&format!("\"not_before\":{NOW}"), "\"not_before\":1"),
            "another validity",
        ),
        (
            changed(
                &format!("\"not_after\":{end}"),
                "\"not_after\":253402300799",
            ),
            "another validity",
        ),
        (
            changed(
                &format!("\"not_after\":{end}"),
                "\"not_after\":253402300800",
            ),
            "validity is none",
        ),
        (
            changed("\"der\":\"30", "\"der\":\"31"),
            "certificate is none",
        ),
        // Whoever takes this time for the last one that was right refuses every right clock.
        (
            changed(
                &format!("\"reserved_at\":{NOW}"),
                &format!("\"reserved_at\":{}", NOW + 1),
            ),
            "in the future",
        ),
        (
            changed(
                &format!("\"reserved_at\":{NOW}"),
                "\"reserved_at\":18446744073709551615",
            ),
            "in the future",
        ),
        (
            changed(
                "\"issued\",\"revoked_at\":null,\"reason\":null",
                "\"revoked\",\"revoked_at\":9999999999,\"reason\":\"superseded\"",
            ),
            "in the future",
        ),
        (
            a.replace(
                &format!("\"recorded_at\":{NOW}"),
                "\"recorded_at\":9999999999",
            )
            .replace("\"a\"", "\"n\""),
            "in the future",
        ),
        (
            a.replace("\"all\"", "\"none\"").replace("\"a\"", "\"n\""),
            "no order none",
        ),
    ] {
        let all = [order.clone(), a.clone(), b.clone(), line];
        let (number, said) = refused(&database, &all).await;
        assert!(number == 4 && said.contains(reason), "{said}: {}", all[3]);
    }
    // Without its certificate a line is believed less far, but its device must be there.
    let orphan = without_der(certificate);
    let (_, said) = refused(&database, &[order.clone(), b.clone(), orphan]).await;
    assert!(said.contains("no device a"), "{said}");
    // What is here: the same serial, place or order, and something else behind it.
    let other = issue_real(&registry, "b", 2, Profile::Tls).await;
    let twin = without_der(certificate).replace("\"device\":\"a\"", "\"device\":\"b\"");
    let (_, said) = refused_by(&registry, std::slice::from_ref(&twin)).await;
    assert!(said.contains("of another certificate"), "{said}");
    let second = twin
        .replace(&serial, "4222")
        .replace(&key, &"22".repeat(32));
    let all = [exported(&registry).await, vec![second]].concat();
    let (_, said) = refused(&database, &all).await;
    assert!(said.contains(&other.serial.to_string()), "{said}");
    let theirs = order.replace("\"manufacturer\":null", "\"manufacturer\":\"north\"");
    let (_, said) = refused_by(&registry, &[theirs]).await;
    assert!(said.contains("another manufacturer"), "{said}");
}

/// The line as it is where only the log knew of the certificate.
pub(crate) fn without_der(line: &str) -> String {
    let Some((before, after)) = line.split_once("\"der\":\"") else {
        return line.to_owned();
    };
    let (_, after) = after.split_once('"').expect("its end");
    format!("{before}\"der\":null{after}")
}

pub(crate) async fn tg04_a_key_is_imported_for_one_device_and_purpose(database: Database) {
    let registry = database.open().await;
    approve(&registry, &["a", "b"]).await;
    let what = issue_real(&registry, "a", 1, Profile::Tls).await;
    let lines = exported(&registry).await;
    let [order, a, b, certificate] = lines.as_slice() else {
        panic!("{lines:?}");
    };
    let serial = what.serial.to_string();
    let bare = without_der(certificate).replace(&serial, "4111");
    for (second, reason) in [
        (
            bare.replace("\"device\":\"a\"", "\"device\":\"b\""),
            "as another device's",
        ),
        (
            bare.replace("\"tls\"", "\"attestation\""),
            "for tls certificates",
        ),
    ] {
        let all = [order, a, b, certificate, &second].map(Clone::clone);
        let (line, said) = refused(&database, &all).await;
        assert!(line == 5 && said.contains(reason), "{said}");
    }
    // Nor hardware for two devices.
    let hardware = |line: &String| {
        line.replace(
            "\"hardware_hash\":null",
            &format!("\"hardware_hash\":\"{}\"", "ab".repeat(32)),
        )
    };
    let (line, said) = refused(&database, &[order.clone(), hardware(a), hardware(b)]).await;
    assert!(line == 3 && said.contains("hardware"), "{said}");
}

pub(crate) async fn tg23_a_revocation_is_imported_whatever_is_here(database: Database) {
    let registry = database.open().await;
    approve(&registry, &["a"]).await;
    let what = issue_real(&registry, "a", 1, Profile::Tls).await;
    let elsewhere = Database::sqlite();
    let copy = elsewhere.open().await;
    let mut exports = vec![exported(&registry).await];
    import(&copy, &exports[0]).await.expect("imported");
    // That the key is lost is learned after it was revoked.
    for reason in [Reason::CessationOfOperation, Reason::KeyCompromise] {
        registry
            .revoke(&what.serial, reason, NOW, |_| b"leaf".to_vec())
            .await
            .expect("revoked");
        let export = exported(&registry).await;
        let imported = import(&copy, &export).await.expect("imported");
        assert_eq!((imported.added, imported.skipped), (1, 2));
        assert_eq!(exported(&copy).await, export);
        exports.push(export);
    }
    // And it does not come back to life by an older export, nor its key.
    for older in &exports {
        let imported = import(&copy, older).await.expect("imported");
        assert_eq!((imported.added, imported.skipped), (0, 3));
        assert_eq!(&exported(&copy).await, &exports[2]);
    }
    let again = Reservation {
        key: what.key,
        ..asking("a", 0)
    };
    assert!(matches!(
        reserve(&copy, &again, NOW).await,
        Err(Refusal::KeyRevoked { .. })
    ));
}

pub(crate) async fn tg24_an_import_speaks_for_nobody_who_was_here(database: Database) {
    let registry = database.open().await;
    approve(&registry, &["a", "b"]).await;
    let what = issue_real(&registry, "a", 1, Profile::Tls).await;
    let lines = exported(&registry).await;
    let [order, a, b, certificate] = lines.as_slice() else {
        panic!("{lines:?}");
    };
    // Without its certificate nobody can see whose it is.
    let own = format!("\"issuer\":\"{}\"", hex::encode(HERE));
    let forged = without_der(certificate)
        .replace("\"issued\"", "\"superseded\"")
        .replace("\"device\":\"a\"", "\"device\":\"b\"")
        .replace(&what.serial.to_string(), "4111")
        .replace(&hex::encode(what.key), &"11".repeat(32));
    let theirs = forged.replace(&own, &format!("\"issuer\":\"{}\"", hex::encode(ELSEWHERE)));
    assert_ne!(forged, theirs);
    let (line, said) = refused_by(&registry, &[b.clone(), theirs.clone()]).await;
    assert!(
        line == 2 && said.contains("which was here before"),
        "{said}"
    );
    let new = |line: &String| line.replace("\"b\"", "\"n\"");
    for forged in [
        forged.clone(),
        new(&forged),
        forged.replace(
            "\"superseded\",\"revoked_at\":null,\"reason\":null",
            &format!("\"revoked\",\"revoked_at\":{NOW},\"reason\":\"superseded\""),
        ),
    ] {
        let (line, said) = refused_by(&registry, &[new(b), forged]).await;
        assert!(line == 2 && said.contains("this authority's own"), "{said}");
    }
    // A device that comes along brings them, and what is here is no fault.
    let coming = [
        order.clone(),
        a.clone(),
        certificate.clone(),
        new(b),
        new(&theirs),
    ];
    for (added, skipped) in [(2, 3), (0, 5)] {
        let imported = import(&registry, &coming).await.expect("imported");
        assert_eq!((imported.added, imported.skipped), (added, skipped));
    }
}

/// Two certificates over one key, of which one is said to be lost: in the lines, or here.
pub(crate) async fn tg23_a_key_that_is_lost_is_imported_for_all_that_is_over_it(
    database: Database,
) {
    let registry = database.open().await;
    approve(&registry, &["a"]).await;
    let what = issue_real(&registry, "a", 1, Profile::Tls).await;
    let lines = exported(&registry).await;
    let [order, a, first] = lines.as_slice() else {
        panic!("{lines:?}");
    };
    let serial = what.serial.to_string();
    let second = without_der(first)
        .replace(&serial, "4111")
        .replace("\"issued\"", "\"superseded\"");
    let lost = second.replace(
        "\"superseded\",\"revoked_at\":null,\"reason\":null",
        &format!("\"revoked\",\"revoked_at\":{NOW},\"reason\":\"key-compromise\""),
    );
    assert_ne!(lost, second);
    let (one, other) = (
        format!("{serial} key-compromise"),
        "4111 key-compromise".to_owned(),
    );
    let empty = async || {
        let copy = database.another();
        let registry = copy.open().await;
        (copy, registry)
    };
    let all_lost = async |registry: &Registry| {
        let statistics = registry.statistics().await.expect("counted");
        assert_eq!(statistics.certificates, [("revoked".to_owned(), 2)]);
        let listed = registry.revocations(&HERE, NOW).await.expect("listed");
        assert!(
            listed.len() == 2
                && listed
                    .iter()
                    .all(|what| what.reason == Reason::KeyCompromise)
        );
    };
    // In one file, in both orders.
    for certificates in [[first, &lost], [&lost, first]] {
        let (_copy, registry) = empty().await;
        let all = [order, a, certificates[0], certificates[1]].map(Clone::clone);
        let imported = import(&registry, &all).await.expect("imported");
        assert_eq!((imported.added, imported.revoked), (4, 1));
        all_lost(&registry).await;
        assert_eq!(
            leaves(&registry).await,
            ["imported 4".to_owned(), one.clone()]
        );
    }
    // Both here as valid, and the file knows more of either.
    let lost_first = first.replace(
        "\"issued\",\"revoked_at\":null,\"reason\":null",
        &format!("\"revoked\",\"revoked_at\":{NOW},\"reason\":\"key-compromise\""),
    );
    for (line, leaf) in [
        (&lost, [other.clone(), one.clone()]),
        (&lost_first, [one.clone(), other.clone()]),
    ] {
        let (_copy, registry) = empty().await;
        let all = [order, a, first, &second].map(Clone::clone);
        import(&registry, &all).await.expect("imported");
        let imported = import(&registry, std::slice::from_ref(line)).await;
        assert_eq!(imported.expect("imported").revoked, 2);
        all_lost(&registry).await;
        assert_eq!(leaves(&registry).await[2..], leaf);
    }
    // Lost on somebody's word before its records came.
    let (_copy, registry) = empty().await;
    let word = Revocation {
        serial: "4111".parse().expect("a serial"),
        at: UnixTime::from_secs(NOW),
        reason: Reason::KeyCompromise,
    };
    let listed = registry.revoke_listed(&HERE, &word, b"word").await;
    assert_eq!(listed.expect("revoked"), Listed::Unrecorded);
    let all = [order, a, first, &second].map(Clone::clone);
    let imported = import(&registry, &all).await.expect("imported");
    assert_eq!(imported.revoked, 1);
    all_lost(&registry).await;
    assert_eq!(leaves(&registry).await[2..], [one]);
}

/// What is here only as a number that was taken: the certificate of it was made, and revoked, after the copy.
pub(crate) async fn tg23_a_revocation_is_imported_over_a_certificate_that_was_not_finished_here(
    database: Database,
) {
    let registry = database.open().await;
    approve(&registry, &["a", "b"]).await;
    let (on_its_way, commit) = real("a", 1, Profile::Tls);
    assert!(reserve(&registry, &on_its_way, NOW).await.is_ok());
    let (given_up, _) = real("b", 2, Profile::Tls);
    assert!(reserve(&registry, &given_up, NOW).await.is_ok());
    let given_up = given_up.serial;
    let closed = registry
        .abandon(&[(given_up.clone(), b"leaf".to_vec())])
        .await;
    closed.expect("closed");

    let lines = exported(&registry).await;
    let revoked: Vec<String> = lines
        .iter()
        .map(|line| {
            line.replace(
                "\"abandoned\",\"revoked_at\":null,\"reason\":null",
                &format!("\"revoked\",\"revoked_at\":{NOW},\"reason\":\"key-compromise\""),
            )
        })
        .collect();
    assert_ne!(lines, revoked);
    assert_eq!(
        import(&registry, &revoked).await.expect("imported").revoked,
        2
    );
    assert_eq!(
        import(&registry, &revoked).await.expect("imported").revoked,
        0
    );
    let listed = registry.revocations(&HERE, NOW).await.expect("listed");
    let mut listed: Vec<_> = listed.into_iter().map(|what| what.serial).collect();
    listed.sort();
    let mut both = vec![on_its_way.serial.clone(), given_up];
    both.sort();
    assert_eq!(listed, both);
    // The one on its way is handed out no more, nor another over that key.
    assert!(matches!(
        registry.commit(&[commit], NOW).await,
        Err(Error::NotReserved { .. })
    ));
    let again = Reservation {
        key: on_its_way.key,
        ..asking("a", 0)
    };
    assert!(matches!(
        reserve(&registry, &again, NOW).await,
        Err(Refusal::KeyRevoked { .. })
    ));
}

pub(crate) async fn tg23_what_is_revoked_on_somebodys_word_is_exported(database: Database) {
    let registry = database.open().await;
    approve(&registry, &["a"]).await;
    let what = issue_real(&registry, "a", 1, Profile::Tls).await;
    let word = |serial: &str, reason| Revocation {
        serial: serial.parse().expect("a serial"),
        at: UnixTime::from_secs(NOW),
        reason,
    };
    for (issuer, serial) in [(&HERE, "4111"), (&ELSEWHERE, "4222")] {
        let word = word(serial, Reason::Superseded);
        let listed = registry.revoke_listed(issuer, &word, b"word").await;
        assert_eq!(listed.expect("revoked"), Listed::Unrecorded);
    }
    // A renewal over the same key.
    let renewal = Reservation {
        key: what.key,
        renews: Some(what.serial.clone()),
        ..asking("a", 0)
    };
    issue(&registry, &renewal, NOW).await;
    let lines = exported(&registry).await;
    let lines: Vec<String> = lines.iter().map(|line| without_der(line)).collect();
    let copy = database.another();
    let copied = copy.open().await;
    let imported = import(&copied, &lines).await.expect("imported");
    assert_eq!((imported.added, imported.revoked), (6, 1));
    assert_eq!(exported(&copied).await, lines);
    // A leaf names no issuer, and who takes the log up believes that all are this authority's own.
    let told = ["imported 6".to_owned(), "4111 superseded".to_owned()];
    assert_eq!(leaves(&copied).await, told);
    for (issuer, serial) in [(HERE, "4111"), (ELSEWHERE, "4222")] {
        let listed = copied.revocations(&issuer, NOW).await.expect("listed");
        assert_eq!(listed, [word(serial, Reason::Superseded)]);
    }
    let imported = import(&copied, &lines).await.expect("imported");
    assert_eq!((imported.added, imported.skipped), (0, 6));
    // It revokes what is on record, too, with whatever is over the key; and never another issuer's.
    let last = lines.last().expect("lines");
    let of = |issuer: [u8; 32], reason: &str| {
        last.replace("4222", &what.serial.to_string())
            .replace(&hex::encode(ELSEWHERE), &hex::encode(issuer))
            .replace("superseded", reason)
    };
    let (line, said) = refused_by(&copied, &[of(ELSEWHERE, "superseded")]).await;
    assert!(line == 1 && said.contains("of another issuer"), "{said}");
    // What this authority did not issue, as far as it knows, is on its lists by nobody's file.
    let unknown = of(HERE, "superseded").replace(&what.serial.to_string(), "4333");
    let (line, said) = refused_by(&copied, &[unknown]).await;
    assert!(line == 1 && said.contains("this authority's own"), "{said}");
    let late = last.replace(&NOW.to_string(), &(NOW + 1).to_string());
    let (_, said) = refused_by(&copied, &[late]).await;
    assert!(said.contains("in the future"), "{said}");
    let imported = import(&copied, &[of(HERE, "key-compromise")]).await;
    assert_eq!(imported.expect("imported").revoked, 2);
    let again = Reservation {
        key: what.key,
        ..asking("a", 0)
    };
    assert!(matches!(
        reserve(&copied, &again, NOW).await,
        Err(Refusal::KeyRevoked { .. })
    ));
}

/// Certificates go on being issued and revoked while everything is written out.
pub(crate) async fn tg24_an_export_is_of_one_moment(database: Database) {
    let registry = database.open().await;
    approve(&registry, &["a"]).await;
    let what = issue_real(&registry, "a", 1, Profile::Tls).await;
    let before = exported(&registry).await;
    let (begin, mut begun) = tokio::sync::mpsc::unbounded_channel::<()>();
    let (done, wait) = std::sync::mpsc::channel();
    let busy = registry.clone();
    tokio::spawn(async move {
        begun.recv().await.expect("asked");
        approve(&busy, &["b"]).await;
        issue_real(&busy, "b", 2, Profile::Tls).await;
        let leaf = |_: &Serial| b"leaf".to_vec();
        let revoked = busy.revoke(&what.serial, Reason::Superseded, NOW, leaf);
        assert!(revoked.await.expect("revoked").is_some());
        done.send(()).expect("heard");
    });
    let mut lines = Vec::new();
    let outcome = registry
        .export(|line| {
            lines.push(line.to_owned());
            if line.contains("\"kind\":\"device\"") {
                begin.send(()).expect("it runs");
                wait.recv_timeout(std::time::Duration::from_secs(120))
                    .expect("done");
            }
            Ok(())
        })
        .await;
    outcome.expect("exported");
    assert_eq!(lines, before);
    assert_eq!(exported(&registry).await.len(), before.len() + 2);
}

pub(crate) async fn a_quota_counts_what_is_imported(database: Database) {
    let registry = database.open().await;
    let order = registry.order("two", None, 2).await.expect("made");
    let devices: Vec<Device> = ["a", "b", "c"]
        .iter()
        .map(|name| Device::approved(id(name), &order))
        .collect();
    registry.register(&devices, NOW).await.expect("registered");
    issue_real(&registry, "a", 1, Profile::Tls).await;
    issue_real(&registry, "a", 2, Profile::GuestData).await;
    issue_real(&registry, "b", 3, Profile::Tls).await;
    let lines = exported(&registry).await;
    // The order of the line does not matter for what was counted.
    let (_, said) = refused(
        &database,
        &lines
            .iter()
            .map(|line| line.replace("\"quota\":2,\"used\":2", "\"quota\":1,\"used\":0"))
            .collect::<Vec<_>>(),
    )
    .await;
    assert!(said.contains("all of its 1 devices"), "{said}");
    // A quota that was lowered afterwards is no reason.
    registry.order("two", None, 1).await.expect("lowered");
    let lines = exported(&registry).await;
    let elsewhere = Database::sqlite();
    let copy = elsewhere.open().await;
    import(&copy, &lines).await.expect("imported");
    assert_eq!(copy.orders().await.expect("listed")[0].used, 2);
    assert!(matches!(
        reserve(&copy, &asking("c", 9), NOW).await,
        Err(Refusal::QuotaExhausted { .. })
    ));
}
