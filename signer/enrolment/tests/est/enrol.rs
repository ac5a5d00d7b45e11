//! What goes well, and what is asked again.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use countersign_backend_file::{FileKey, SystemRandom};
use countersign_enrolment::{
    Ask, Client, Credential, EnrolError, Expected, IssuedChain, Mismatch, Occasion, Own, Patience,
    Phase, Received, Roots, Standing, Wait, keep, obtain,
};
use countersign_format::DeviceIdentity;
use countersign_keys::{Algorithm, Secret, SigningKey};
use countersign_signer::request::{RequestFields, Subject, certification_request};
use countersign_tls::TlsIdentity;

use crate::authority::{Authority, Say};
use crate::server::{Answer, EstServer, Request, answer, certificates};

pub(crate) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

pub(crate) fn key() -> SigningKey {
    SigningKey::new(FileKey::generate(Algorithm::Esp256, &mut SystemRandom).unwrap())
}

pub(crate) fn device() -> DeviceIdentity {
    DeviceIdentity::parse("gw-17").unwrap()
}

pub(crate) fn roots(authority: &Authority) -> Roots {
    Roots::new(vec![authority.root()], now()).unwrap()
}

pub(crate) fn request(key: &SigningKey) -> Vec<u8> {
    let fields = RequestFields {
        subject: Subject {
            organization: Some("Acme".into()),
            common_name: Some("Gateway".into()),
            ..Subject::default()
        },
        identity: Some(device()),
        dns_names: vec!["gw-17.example".into()],
        ..RequestFields::default()
    };
    certification_request(key, &fields).unwrap()
}

/// Remembers the pauses, and does not wait; and how many seconds there is patience for.
#[derive(Default)]
pub(crate) struct Paused(pub(crate) Vec<Duration>, pub(crate) u64);

impl Wait for Paused {
    fn wait(&mut self, time: Duration) {
        self.0.push(time);
    }
    fn chance(&mut self) -> u16 {
        u16::MAX
    }
}

/// Asks the server for a certificate of this key, as device gw-17, in a folder of its own.
pub(crate) fn ask(
    server: &EstServer,
    authority: &Authority,
    credential: Credential,
    key: &SigningKey,
    occasion: Occasion,
    replaces: Option<&Own>,
    wait: &mut Paused,
) -> Result<IssuedChain, EnrolError> {
    let folder = tempfile::tempdir().unwrap();
    let received = Received::beside(&folder.path().join("tls.pem"));
    let client = Client::new(server.url(), &roots(authority), credential, now)?;
    ask_by(
        &client,
        authority,
        key,
        (occasion, replaces),
        &received,
        wait,
    )
}

/// The same by this client, with what came kept there.
fn ask_by(
    client: &Client,
    authority: &Authority,
    key: &SigningKey,
    (occasion, replaces): (Occasion, Option<&Own>),
    received: &Received,
    wait: &mut Paused,
) -> Result<IssuedChain, EnrolError> {
    let patience = Patience::of(Duration::from_secs(wait.1));
    let ask = Ask {
        client,
        occasion,
        request: &request(key),
        expected: &Expected {
            key: key.public_key(),
            device: &device(),
            roots: &roots(authority),
            replaces,
        },
        received,
    };
    obtain(&ask, patience, wait)
}

fn first(
    server: &EstServer,
    authority: &Authority,
    key: &SigningKey,
    seconds: u64,
    wait: &mut Paused,
) -> Result<IssuedChain, EnrolError> {
    let token = Credential::Token(Secret::new("one-time.token".to_owned()));
    wait.1 = seconds;
    ask(server, authority, token, key, Occasion::First, None, wait)
}

/// The server as it should be: it issues for one year whatever is asked.
fn issue(authority: &Arc<Authority>) -> impl FnMut(&Request) -> Answer + Send + use<> {
    let authority = Arc::clone(authority);
    move |request| match request.path.rsplit('/').next() {
        Some("cacerts") => {
            certificates(&authority.certs_only(&[authority.root(), authority.intermediate()]))
        }
        Some("simpleenroll") => {
            let leaf = authority.issue(&request.pkcs10(), &Say::default());
            certificates(&authority.certs_only(&[leaf]))
        }
        _ => {
            let say = Say {
                days: 700,
                ..Say::default()
            };
            let leaf = authority.issue(&request.pkcs10(), &say);
            // In another order than a chain's.
            certificates(&authority.certs_only(&[authority.root(), authority.intermediate(), leaf]))
        }
    }
}

#[test]
fn a_device_enrols_by_a_token_and_renews_by_its_certificate_with_the_same_key_and_a_new_one() {
    let authority = Arc::new(Authority::new());
    let server = EstServer::start(&authority, issue(&authority));
    let key = Arc::new(key());
    let chain = first(&server, &authority, &key, 0, &mut Paused::default()).unwrap();
    assert_eq!(chain.certificates().len(), 2);
    assert_eq!(chain.certificates()[1], authority.intermediate());
    assert_eq!(chain.own().device(), Some("gw-17"));
    assert_eq!(chain.own().spki(), key.public_key().to_spki_der());
    assert_eq!(
        Standing::of(chain.own()).at(now().as_secs()),
        Phase::Current
    );
    let seen = server.seen();
    // The authority is looked at before the token is spent, and is not shown it for that.
    assert_eq!(
        (seen[0].method.as_str(), seen[0].path.as_str()),
        ("GET", "/.well-known/est/cacerts")
    );
    assert_eq!(seen[0].header("authorization"), None);
    assert_eq!(
        (seen[1].method.as_str(), seen[1].path.as_str()),
        ("POST", "/.well-known/est/simpleenroll")
    );
    assert_eq!(
        seen[1].header("authorization"),
        Some("Bearer one-time.token")
    );
    assert_eq!(seen[1].header("content-type"), Some("application/pkcs10"));
    assert_eq!(seen[1].client, None);
    assert_eq!(seen.len(), 2);

    // RFC 7030 §4.2.2: the same names, for the same key and for another one.
    let old = chain.own();
    assert_eq!(
        old.subject().unwrap().common_name.as_deref(),
        Some("Gateway")
    );
    assert_eq!(
        old.subject().unwrap().serial_number.as_deref(),
        Some("gw-17")
    );
    assert_eq!(old.dns_names(), ["gw-17.example"]);
    let second = self::key();
    for next in [&*key, &second] {
        let identity = TlsIdentity::new(Arc::clone(&key), chain.certificates()).unwrap();
        let mut wait = Paused::default();
        let renewed = ask(
            &server,
            &authority,
            Credential::Device(identity),
            next,
            Occasion::Renewal,
            Some(old),
            &mut wait,
        )
        .unwrap();
        assert_eq!(renewed.own().spki(), next.public_key().to_spki_der());
        assert!(renewed.own().not_after() > old.not_after());
        assert_eq!(renewed.certificates().len(), 2, "the root is left out");
        let last = server.seen().pop().unwrap();
        assert_eq!(last.path, "/.well-known/est/simplereenroll");
        assert_eq!(
            last.client.as_deref(),
            Some(chain.certificates()[0].as_slice())
        );
        assert_eq!(last.header("authorization"), None);
    }
}

#[test]
fn a_password_goes_into_the_header_as_http_has_it() {
    let authority = Arc::new(Authority::new());
    let server = EstServer::start(&authority, issue(&authority));
    let credential = Credential::Password {
        user: "gw-17".into(),
        password: Secret::new("s3cret".to_owned()),
    };
    ask(
        &server,
        &authority,
        credential,
        &key(),
        Occasion::First,
        None,
        &mut Paused::default(),
    )
    .unwrap();
    assert_eq!(
        server.seen()[1].header("authorization"),
        Some("Basic Z3ctMTc6czNjcmV0")
    );
    for (user, password) in [("a:b", "x"), ("a", ""), ("a", "x\r\ny: z")] {
        let credential = Credential::Password {
            user: user.into(),
            password: Secret::new(password.to_owned()),
        };
        let made = Client::new(server.url(), &roots(&authority), credential, now);
        assert!(matches!(made, Err(EnrolError::Unusable { .. })));
    }
    let token = Credential::Token(Secret::new("a b".to_owned()));
    assert!(matches!(
        Client::new(server.url(), &roots(&authority), token, now),
        Err(EnrolError::Unusable { .. })
    ));
}

#[test]
fn an_authority_that_has_not_decided_is_asked_again_when_it_says() {
    let authority = Arc::new(Authority::new());
    let mut times = 0;
    let mut issue = issue(&authority);
    let server = EstServer::start(&authority, move |request| {
        if request.method == "GET" {
            return issue(request);
        }
        times += 1;
        match times {
            1 => answer("202 Accepted", &["Retry-After: 77"], b""),
            2 => answer("503 Service Unavailable", &[], b"busy"),
            3 => answer("429 Too Many Requests", &["Retry-After: 9"], b""),
            4 => answer("408 Request Timeout", &[], b""),
            _ => issue(request),
        }
    });
    let key = key();
    let mut wait = Paused::default();
    first(&server, &authority, &key, 1000, &mut wait).unwrap();
    let seconds: Vec<u64> = wait.0.iter().map(Duration::as_secs).collect();
    // As asked; by ourselves, doubled once; as asked; doubled thrice.
    assert_eq!(seconds, [77, 2, 9, 8]);
    let seen = server.seen();
    assert!(
        seen[1..].iter().all(|request| request.body == seen[1].body),
        "RFC 7030 §4.2.3: the same request"
    );
}

#[test]
fn patience_ends() {
    let authority = Arc::new(Authority::new());
    let later = |after: &'static str| {
        let mut issue = issue(&authority);
        move |request: &Request| match request.method.as_str() {
            "GET" => issue(request),
            _ => answer("202 Accepted", &[after], b""),
        }
    };
    let server = EstServer::start(&authority, later("Retry-After: 60"));
    let mut wait = Paused::default();
    let error = first(&server, &authority, &key(), 130, &mut wait).unwrap_err();
    assert!(
        matches!(error, EnrolError::Later { after } if after.as_secs() == 60),
        "{error}"
    );
    assert_eq!(wait.0, [Duration::from_secs(60); 2]);
    assert_eq!(server.seen().len(), 4);

    // A server that wants to be asked again at once is not asked in a loop without a pause.
    let server = EstServer::start(&authority, later("Retry-After: 0"));
    let mut wait = Paused::default();
    assert!(first(&server, &authority, &key(), 3, &mut wait).is_err());
    assert_eq!(wait.0, [Duration::from_secs(1); 3]);
}

#[test]
fn a_chain_is_written_beside_the_old_one() {
    let authority = Arc::new(Authority::new());
    let server = EstServer::start(&authority, issue(&authority));
    let key = key();
    let chain = first(&server, &authority, &key, 0, &mut Paused::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tls.pem");
    assert_eq!(keep(&path, &chain).unwrap().previous, None);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.matches("-----BEGIN CERTIFICATE-----").count(), 2);
    fs::write(&path, "the old one").unwrap();
    let previous = folder.path().join("tls.pem.previous");
    assert_eq!(
        keep(&path, &chain).unwrap().previous,
        Some(previous.clone())
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    assert_eq!(fs::read_to_string(&previous).unwrap(), "the old one");
    keep(&path, &chain).unwrap();
    assert_eq!(fs::read_to_string(&previous).unwrap(), text);
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        2,
        "nothing else is left"
    );
    assert!(matches!(
        keep(&folder.path().join("no/folder"), &chain),
        Err(EnrolError::Write { .. })
    ));
}

/// The operations that reached a server.
fn operations(server: &EstServer) -> Vec<String> {
    let last = |request: Request| request.path.rsplit('/').next().unwrap().to_owned();
    server.seen().into_iter().map(last).collect()
}

#[test]
fn what_came_is_taken_up_by_the_next_run_and_forgotten_when_its_chain_is_written() {
    let authority = Arc::new(Authority::new());
    let key = key();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tls.pem");
    let received = Received::beside(&path);
    assert_eq!(received.path(), folder.path().join("tls.pem.received"));
    let ask = |server: &EstServer, now| {
        let token = Credential::Token(Secret::new("one-time.token".to_owned()));
        let client = Client::new(server.url(), &roots(&authority), token, now).unwrap();
        let wait = &mut Paused::default();
        let first = (Occasion::First, None);
        ask_by(&client, &authority, &key, first, &received, wait)
    };
    // A certificate of the right key and device that leads elsewhere, as when a root is missing here.
    let stranger = Authority::new();
    let mut good = issue(&authority);
    let server = EstServer::start(&authority, move |request| match request.method.as_str() {
        "GET" => good(request),
        _ => certificates(
            &stranger.certs_only(&[stranger.issue(&request.pkcs10(), &Say::default())]),
        ),
    });
    let error = ask(&server, now).unwrap_err();
    assert!(
        matches!(&error, EnrolError::Kept { why: Mismatch::Root { .. }, path } if path.ends_with("tls.pem.received")),
        "{error}"
    );
    assert!(received.path().exists());
    // It is no use still, so the server is asked; the process ends before the chain is written.
    let server = EstServer::start(&authority, issue(&authority));
    let chain = ask(&server, now).unwrap();
    assert_eq!(operations(&server), ["cacerts", "simpleenroll"]);
    // The token is spent, and nobody is asked.
    let server = EstServer::start(&authority, |_| answer("401 Unauthorized", &[], b"spent"));
    let again = ask(&server, now).unwrap();
    assert_eq!(again.certificates(), chain.certificates());
    assert_eq!(operations(&server), [""; 0]);
    keep(&path, &again).unwrap();
    assert!(!received.path().exists());
    assert!(ask(&server, now).is_err());
    let names = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(names, 1, "nothing but the chain is left");
}

#[test]
fn no_token_is_spent_where_its_certificate_could_not_be_used_or_kept() {
    /// Before the authorities' certificates begin.
    fn early() -> Duration {
        now() - Duration::from_secs(86_400)
    }
    let (authority, other) = (Arc::new(Authority::new()), Arc::new(Authority::new()));
    let key = key();
    let folder = tempfile::tempdir().unwrap();
    let ask =
        |respond: Arc<Authority>, server_roots: &Roots, now: fn() -> Duration, chain: &str| {
            let server = EstServer::start(&respond, issue(&respond));
            let token = Credential::Token(Secret::new("one-time.token".to_owned()));
            let client = Client::new(server.url(), server_roots, token, now).unwrap();
            let received = Received::beside(&folder.path().join(chain));
            let wait = &mut Paused::default();
            let first = (Occasion::First, None);
            let error = ask_by(&client, &authority, &key, first, &received, wait).unwrap_err();
            assert!(
                !operations(&server).contains(&"simpleenroll".to_owned()),
                "{error}"
            );
            error
        };
    let error = ask(Arc::clone(&other), &roots(&other), now, "tls.pem");
    assert!(
        matches!(error, EnrolError::Mismatch(Mismatch::Authorities { .. })),
        "{error}"
    );
    let error = ask(
        Arc::clone(&authority),
        &roots(&authority),
        now,
        "no/tls.pem",
    );
    assert!(matches!(error, EnrolError::Write { .. }), "{error}");
    // TLS asks the machine's own clock; the certificates are judged by what is given.
    let error = ask(Arc::clone(&authority), &roots(&authority), early, "tls.pem");
    assert!(
        matches!(error, EnrolError::Mismatch(Mismatch::Authorities { why }) if why.contains("valid now")),
        "{error}"
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn only_an_authority_that_signed_itself_and_has_not_ended_is_a_root() {
    use countersign_enrolment::RootFault;
    let authority = Authority::new();
    let fault = |der: Vec<u8>, floor| match Roots::new(vec![authority.root(), der], floor) {
        Err(EnrolError::Root {
            number: 2, fault, ..
        }) => Some(fault),
        Ok(_) => None,
        other => panic!("{other:?}"),
    };
    assert_eq!(fault(authority.root(), now()), None);
    let leaf = authority.issue(&request(&key()), &Say::default());
    assert_eq!(fault(leaf, now()), Some(RootFault::NotSelfIssued));
    let between = fault(authority.intermediate(), now());
    assert_eq!(between, Some(RootFault::NotSelfIssued));
    let no_ca = authority.self_signed("basicConstraints=critical,CA:FALSE");
    assert_eq!(fault(no_ca, now()), Some(RootFault::Authority));
    let no_signer = authority.self_signed("keyUsage=critical,digitalSignature");
    assert_eq!(fault(no_signer, now()), Some(RootFault::KeyUsage));
    let mut forged = authority.root();
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(fault(forged, now()), Some(RootFault::SelfSignature));
    assert_eq!(fault(b"no root".to_vec(), now()), Some(RootFault::Form));
    let twenty_years = Duration::from_secs(20 * 31_536_000);
    let ended = Roots::new(vec![authority.root()], now() + twenty_years);
    assert!(matches!(
        ended,
        Err(EnrolError::Root {
            fault: RootFault::Expired,
            ..
        })
    ));
    assert!(matches!(
        Roots::new(Vec::new(), now()),
        Err(EnrolError::Unusable { .. })
    ));
}
