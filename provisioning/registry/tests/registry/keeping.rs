//! What is kept, found, listed and carried.

use countersign_provisioning::Reason;
use countersign_registry::{CertificateState, Device, Registry};

use crate::database::{Database, NOW, approve, asking, id, issue, serial};

pub(crate) async fn tg09_quotation_marks_are_kept_as_text(database: Database) {
    let registry = database.open().await;
    let hostile = "'; DROP TABLE devices; -- \" $1 % _ \\ ünï\u{202e}";
    let order = registry
        .order(hostile, Some(hostile), 5)
        .await
        .expect("made");
    assert_eq!(order.manufacturer.as_deref(), Some(hostile));
    let device = Device {
        device_type: hostile.to_owned(),
        family: hostile.to_owned(),
        revision: hostile.to_owned(),
        firmware: hostile.to_owned(),
        hardware_hash: Some([3; 32]),
        ..Device::approved(id("a"), &order)
    };
    registry
        .register(std::slice::from_ref(&device), NOW)
        .await
        .expect("registered");
    let found = registry
        .device(&id("a"))
        .await
        .expect("found")
        .expect("there");
    let recorded = Device {
        recorded_at: NOW,
        ..device
    };
    assert_eq!(found, recorded);
    let page = registry
        .devices(Some(hostile), None, 10)
        .await
        .expect("listed");
    assert_eq!(page.items, [recorded]);
    assert!(
        registry
            .devices(Some("' OR ''='"), None, 10)
            .await
            .expect("listed")
            .items
            .is_empty()
    );
    let what = countersign_registry::Reservation {
        request: crate::database::request(hostile, 1),
        manufacturer: Some(hostile.to_owned()),
        ..asking("a", 1)
    };
    issue(&registry, &what, NOW).await;
}

pub(crate) async fn tg16_numbers_of_lists_rise_even_after_an_old_copy(database: Database) {
    let registry = database.open().await;
    let issuer = [7; 32];
    let first = registry
        .next_crl_number(&issuer, NOW)
        .await
        .expect("a number");
    let second = registry
        .next_crl_number(&issuer, NOW)
        .await
        .expect("a number");
    // A clock that was set back does not bring it down.
    let third = registry
        .next_crl_number(&issuer, NOW - 5000)
        .await
        .expect("a number");
    assert!(first < second && second < third);
    assert!(
        registry
            .keep_crl(&issuer, second, b"second", NOW, b"leaf")
            .await
            .expect("kept")
    );
    assert!(
        !registry
            .keep_crl(&issuer, first, b"first", NOW, b"leaf")
            .await
            .expect("asked")
    );
    assert_eq!(
        registry
            .crl(&issuer)
            .await
            .expect("found")
            .expect("there")
            .der,
        b"second"
    );
    registry.close().await;
    drop(registry);
    // As in a copy from before the first list.
    database.past("DELETE FROM lists").await;
    let registry = database.open().await;
    let later = registry
        .next_crl_number(&issuer, NOW + 60)
        .await
        .expect("a number");
    assert!(later > third, "{later:?} after {third:?}");
}

pub(crate) async fn tg23_a_second_revocation_changes_nothing(database: Database) {
    let registry = database.open().await;
    approve(&registry, &["a"]).await;
    let what = asking("a", 1);
    issue(&registry, &what, NOW).await;
    let revoke = |registry: Registry, reason, at| {
        let serial = what.serial.clone();
        async move {
            registry
                .revoke(&serial, reason, at, |_| b"revoked".to_vec())
                .await
                .expect("asked")
        }
    };
    let first = revoke(registry.clone(), Reason::KeyCompromise, NOW + 1).await;
    let second = revoke(registry.clone(), Reason::Superseded, NOW + 2).await;
    assert_eq!(first, second);
    let certificate = first.expect("it was there");
    assert_eq!(certificate.state, CertificateState::Revoked);
    assert_eq!(certificate.revoked, Some((NOW + 1, Reason::KeyCompromise)));
    let unknown = registry
        .revoke(&serial(), Reason::Superseded, NOW, |_| b"x".to_vec())
        .await;
    assert_eq!(unknown.expect("asked"), None);
    // One leaf for issuing and one for revoking.
    assert_eq!(registry.leaf_counts().await.expect("counted"), (0, 2));
    let listed = registry
        .revocations(&what.issuer, NOW)
        .await
        .expect("listed");
    assert_eq!(listed.len(), 1);
    assert!(
        registry
            .revocations(&what.issuer, what.not_after + 1)
            .await
            .expect("listed")
            .is_empty()
    );
    assert!(
        registry
            .revocations(&[8; 32], NOW)
            .await
            .expect("listed")
            .is_empty()
    );
    // The place is free.
    issue(&registry, &asking("a", 2), NOW).await;
}

pub(crate) async fn devices_are_found_and_paged(database: Database) {
    let registry = database.open().await;
    let order = registry.order("all", None, 1_000).await.expect("made");
    let devices: Vec<Device> = (0..25_u8)
        .map(|number| Device {
            family: if number < 20 { "pump" } else { "valve" }.to_owned(),
            hardware_hash: Some([number; 32]),
            ..Device::approved(id(&format!("dev-{number:03}")), &order)
        })
        .collect();
    assert!(
        registry
            .register(&devices, NOW)
            .await
            .expect("registered")
            .is_empty()
    );
    // Of two with one identity in one call the second comes back.
    let both = Device::approved(id("both"), &order);
    let refused = registry.register(&[both.clone(), both], NOW).await;
    assert_eq!(refused.expect("asked"), [id("both")]);
    // A second time, and another name for known hardware: both come back.
    let twin = Device {
        hardware_hash: Some([4; 32]),
        ..Device::approved(id("twin"), &order)
    };
    let refused = registry.register(&[devices[0].clone(), twin], NOW).await;
    assert_eq!(refused.expect("asked"), [id("dev-000"), id("twin")]);
    // Hardware is recorded once, and is one device's.
    let both = id("both");
    for (device, hardware, taken) in [
        (&both, [4; 32], false),
        (&id("nobody"), [99; 32], false),
        (&both, [98; 32], true),
        (&both, [98; 32], false),
        (&both, [97; 32], false),
    ] {
        let set = registry.set_hardware(device, &hardware).await;
        assert_eq!(set.expect("asked"), taken, "{device} {hardware:?}");
    }
    let both = registry.device(&both).await.expect("found").expect("there");
    assert_eq!(both.hardware_hash, Some([98; 32]));

    let mut seen = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = registry
            .devices(Some("pump"), after.as_deref(), 7)
            .await
            .expect("a page");
        assert!(page.items.len() <= 7);
        seen.extend(page.items.iter().map(|device| device.id.to_string()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let expected: Vec<String> = (0..20).map(|number| format!("dev-{number:03}")).collect();
    assert_eq!(seen, expected);
    let found = registry.device_by_hardware(&[4; 32]).await.expect("found");
    assert_eq!(found.expect("there").id, id("dev-004"));
    assert_eq!(
        registry.device_by_hardware(&[99; 32]).await.expect("asked"),
        None
    );

    issue(&registry, &asking("dev-001", 1), NOW).await;
    let soon = registry.expiring(NOW + 1000, 10).await.expect("listed");
    assert_eq!(soon.len(), 1);
    assert!(
        registry
            .expiring(NOW + 999, 10)
            .await
            .expect("listed")
            .is_empty()
    );
    let counts = registry.statistics().await.expect("counted");
    assert_eq!(counts.devices, [("approved".to_owned(), 26)]);
    assert_eq!(counts.certificates, [("issued".to_owned(), 1)]);
    assert_eq!(registry.last_written().await.expect("asked"), Some(NOW));
}

pub(crate) async fn leaves_get_places_in_the_order_in_which_they_were_written(database: Database) {
    let registry = database.open().await;
    let texts: Vec<Vec<u8>> = (0..300_u32)
        .map(|number| number.to_be_bytes().to_vec())
        .collect();
    for piece in texts.chunks(70) {
        let leaves: Vec<&[u8]> = piece.iter().map(Vec::as_slice).collect();
        registry.record(&leaves).await.expect("recorded");
    }
    assert!(registry.leaves(0, 10).await.expect("listed").is_empty());
    assert_eq!(registry.place_leaves(100).await.expect("placed"), 100);
    assert_eq!(registry.leaf_counts().await.expect("counted"), (100, 200));
    assert_eq!(registry.place_leaves(1000).await.expect("placed"), 200);
    assert_eq!(registry.place_leaves(1000).await.expect("placed"), 0);
    let leaves = registry.leaves(0, 1000).await.expect("listed");
    assert_eq!(leaves.len(), texts.len());
    for (place, (leaf, text)) in leaves.iter().zip(&texts).enumerate() {
        assert_eq!(leaf.place, u64::try_from(place).expect("small"));
        assert_eq!(leaf.bytes, *text);
    }
    assert_eq!(registry.leaves(298, 1000).await.expect("listed").len(), 2);
}
