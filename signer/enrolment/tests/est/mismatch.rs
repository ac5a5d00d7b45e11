//! TG29: what comes back is for another key, device or root, and is refused.

use std::sync::Arc;
use std::time::Duration;

use countersign_enrolment::{Credential, EnrolError, Expected, Mismatch, Occasion, Own};
use countersign_keys::Secret;

use crate::authority::{Authority, Say};
use crate::enrol::{Paused, ask, device, key, now, request, roots};
use crate::server::{EstServer, certificates};

/// What is made of these certificates by a device that asked.
fn refused(
    authority: &Authority,
    sent: Vec<Vec<u8>>,
    key: &countersign_keys::SigningKey,
) -> Mismatch {
    let message = authority.certs_only(&sent);
    let own = authority.certs_only(&[authority.root(), authority.intermediate()]);
    let server = EstServer::start(authority, move |request| {
        certificates(match request.method.as_str() {
            "GET" => &own,
            _ => &message,
        })
    });
    let token = Credential::Token(Secret::new("t".to_owned()));
    match ask(
        &server,
        authority,
        token,
        key,
        Occasion::First,
        None,
        &mut Paused::default(),
    ) {
        Err(EnrolError::Mismatch(mismatch) | EnrolError::Kept { why: mismatch, .. }) => mismatch,
        other => panic!("{other:?}"),
    }
}

#[test]
fn tg29_a_certificate_for_another_key_is_refused() {
    let authority = Authority::new();
    let other = authority.issue(&request(&key()), &Say::default());
    let sent = vec![other, authority.intermediate(), authority.root()];
    assert_eq!(refused(&authority, sent, &key()), Mismatch::Key);
}

#[test]
fn tg29_a_certificate_for_another_device_is_refused() {
    let authority = Authority::new();
    let key = key();
    let say = Say {
        device: "gw-18",
        ..Say::default()
    };
    let sent = vec![
        authority.issue(&request(&key), &say),
        authority.intermediate(),
    ];
    let wanted = Mismatch::Device {
        wanted: device(),
        found: Some("gw-18".to_owned()),
    };
    assert_eq!(refused(&authority, sent, &key), wanted);
}

#[test]
fn tg29_a_certificate_under_another_root_is_refused_even_if_that_root_comes_along() {
    let (authority, other) = (Authority::new(), Authority::new());
    let key = key();
    // The other authority has the same names.
    let leaf = other.issue(&request(&key), &Say::default());
    for sent in [
        vec![leaf.clone(), other.intermediate(), other.root()],
        vec![leaf.clone(), authority.intermediate(), authority.root()],
        vec![leaf],
    ] {
        let mismatch = refused(&authority, sent, &key);
        assert!(matches!(mismatch, Mismatch::Root { .. }), "{mismatch:?}");
    }
}

#[test]
fn tg29_a_certificate_whose_time_is_over_or_that_is_for_nothing_we_know_is_refused() {
    let authority = Authority::new();
    let key = key();
    let roots = roots(&authority);
    let device = device();
    let judge = |leaf: Vec<u8>, at: Duration| {
        let expected = Expected {
            key: key.public_key(),
            device: &device,
            roots: &roots,
            replaces: None,
        };
        expected.judge(&[leaf, authority.intermediate()], &[], at)
    };
    let leaf = authority.issue(&request(&key), &Say::default());
    let own = Own::parse(&leaf).unwrap();
    let (begins, ends) = (
        Duration::from_secs(own.not_before()),
        Duration::from_secs(own.not_after()),
    );
    let second = Duration::from_secs(1);
    assert!(judge(leaf.clone(), now()).is_ok());
    assert!(judge(leaf.clone(), begins - 300 * second).is_ok());
    assert!(matches!(
        judge(leaf.clone(), begins - 301 * second),
        Err(Mismatch::Root { .. })
    ));
    assert!(judge(leaf.clone(), ends).is_ok());
    assert!(matches!(
        judge(leaf, ends + second),
        Err(Mismatch::Root { .. })
    ));
    for purposes in ["timeStamping", "OCSPSigning"] {
        let say = Say {
            purposes,
            ..Say::default()
        };
        let leaf = authority.issue(&request(&key), &say);
        assert!(
            matches!(judge(leaf, now()), Err(Mismatch::Root { .. })),
            "{purposes}"
        );
    }
}

#[test]
fn tg29_a_renewal_is_for_the_same_purpose_and_ends_later() {
    let authority = Arc::new(Authority::new());
    let key = key();
    let old = authority.issue(&request(&key), &Say::default());
    let old = Own::parse(&old).unwrap();
    let roots = roots(&authority);
    let device = device();
    let expected = Expected {
        key: key.public_key(),
        device: &device,
        roots: &roots,
        replaces: Some(&old),
    };
    let judge = |purposes, days| {
        let say = Say {
            purposes,
            days,
            ..Say::default()
        };
        let leaf = authority.issue(&request(&key), &say);
        expected
            .judge(&[authority.intermediate(), leaf], &[], now())
            .map(|_| ())
    };
    assert_eq!(judge("clientAuth", 700), Ok(()));
    assert_eq!(judge("codeSigning", 700), Err(Mismatch::Purpose));
    assert_eq!(judge("clientAuth,codeSigning", 700), Err(Mismatch::Purpose));
    assert_eq!(judge("clientAuth", 30), Err(Mismatch::NotNewer));
}
