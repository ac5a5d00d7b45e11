//! Answers that are wrong, endless or from somebody else.

use std::sync::Arc;

use base64ct::{Base64, Encoding as _};
use countersign_enrolment::{
    Client, Credential, EnrolError, MAX_ANSWER_BYTES, MAX_CERTIFICATES, Server, parse_certs_only,
};

use crate::authority::{Authority, Say};
use crate::enrol::{key, now, request, roots};
use crate::server::{Answer, EstServer, answer};

/// What a client makes of an answer.
fn error_of(authority: &Authority, answer: Answer) -> EnrolError {
    let server = EstServer::start(authority, move |_| answer.clone());
    let client = Client::new(server.url(), &roots(authority), Credential::Nothing, now).unwrap();
    client.enroll(b"a request").unwrap_err()
}

const P7: &str = "Content-Type: application/pkcs7-mime";

#[test]
fn each_status_says_what_to_do() {
    let authority = Authority::new();
    let error = error_of(
        &authority,
        answer("401 Unauthorized", &[], b"who\x1b[31m are\nyou"),
    );
    assert!(
        matches!(&error, EnrolError::Unauthorized { status: 401, said } if said == "who[31m are you"),
        "{error}"
    );
    let error = error_of(
        &authority,
        answer("400 Bad Request", &[], b"serial not approved"),
    );
    assert!(
        matches!(&error, EnrolError::Refused { status: 400, .. })
            && error.to_string().contains("serial not approved")
    );
    assert!(!error.is_temporary());
    assert!(matches!(
        error_of(&authority, answer("403 Forbidden", &[], b"")),
        EnrolError::Refused { status: 403, .. }
    ));
    let error = error_of(&authority, answer("500 Oops", &["Retry-After: 5"], b""));
    assert!(
        matches!(error, EnrolError::Busy { status: 500, after: Some(after), .. } if after.as_secs() == 5)
    );
    // RFC 7030 §3.2.1: nobody is here to agree to another server.
    let error = error_of(
        &authority,
        answer("302 Found", &["Location: https://127.0.0.1:1/"], b""),
    );
    assert!(matches!(error, EnrolError::NotEst { .. }), "{error}");
    assert!(matches!(
        error_of(&authority, answer("404 Not Found", &[], b"")),
        EnrolError::NotEst { .. }
    ));
    assert!(matches!(
        error_of(
            &authority,
            answer("200 OK", &["Content-Type: text/html"], b"<p>")
        ),
        EnrolError::NotEst { .. }
    ));
    assert!(matches!(
        error_of(&authority, answer("200 OK", &[P7], b"***")),
        EnrolError::Answer(_)
    ));
    assert!(matches!(
        error_of(&authority, answer("200 OK", &[P7], b"")),
        EnrolError::Answer(_)
    ));
    assert!(matches!(
        error_of(&authority, b"no http\r\n\r\n".to_vec()),
        EnrolError::NotEst { .. } | EnrolError::Unreachable { .. }
    ));
}

#[test]
fn an_endless_answer_is_not_read_to_its_end() {
    let authority = Authority::new();
    let large = vec![b'A'; usize::try_from(MAX_ANSWER_BYTES).unwrap() + 4];
    let error = error_of(&authority, answer("200 OK", &[P7], &large));
    assert!(matches!(error, EnrolError::NotEst { .. }), "{error}");
    // Without a length, to the end of the connection.
    let mut bytes = format!("200 OK\r\n{P7}\r\nConnection: close\r\n\r\n").into_bytes();
    bytes.extend(vec![b'A'; 4 << 20]);
    let error = error_of(&authority, bytes);
    assert!(matches!(error, EnrolError::NotEst { .. }), "{error}");
    let mut bytes = b"200 OK\r\n".to_vec();
    for number in 0..4000 {
        bytes.extend(format!("X-{number}: {}\r\n", "y".repeat(20)).bytes());
    }
    let error = error_of(&authority, bytes);
    assert!(!matches!(error, EnrolError::Answer(_)), "{error}");
}

#[test]
fn a_server_under_another_root_is_told_nothing() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = EstServer::start(&other, |_| answer("401 Unauthorized", &[], b""));
    let client = Client::new(server.url(), &roots(&authority), Credential::Nothing, now).unwrap();
    let error = client.enroll(b"a request").unwrap_err();
    assert!(matches!(&error, EnrolError::Untrusted { .. }), "{error}");
    assert!(server.seen().is_empty());
}

#[test]
fn without_a_server_the_error_says_what_else_can_be_done() {
    let authority = Authority::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let server: Server = format!("https://{free}").parse().unwrap();
    let client = Client::new(server, &roots(&authority), Credential::Nothing, now).unwrap();
    let error = client.enroll(b"a request").unwrap_err();
    assert!(
        matches!(error, EnrolError::Unreachable { .. }) && error.is_temporary(),
        "{error}"
    );
    assert!(error.to_string().contains("countersign key csr"));
}

/// Numbers that look like chance and are the same each time (xorshift).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(end).unwrap()).unwrap()
    }
}

#[test]
fn no_message_however_bent_makes_the_parser_stop_or_take_what_is_none() {
    let authority = Arc::new(Authority::new());
    let leaf = authority.issue(&request(&key()), &Say::default());
    let good = authority.certs_only(&[leaf.clone(), authority.intermediate()]);
    assert_eq!(
        parse_certs_only(&good).unwrap(),
        [leaf, authority.intermediate()]
    );
    for length in 0..good.len() {
        assert!(
            parse_certs_only(&good[..length]).is_err(),
            "cut off after {length}"
        );
    }
    let mut longer = good.clone();
    longer.push(0);
    assert!(parse_certs_only(&longer).is_err());
    let mut chance = Chance(0x9E37_79B9_7F4A_7C15);
    for _ in 0..200_000 {
        let mut bytes = good.clone();
        for _ in 0..=chance.below(4) {
            let at = chance.below(bytes.len());
            match chance.below(3) {
                0 => bytes[at] ^= 1 << chance.below(8),
                1 => bytes[at] = u8::try_from(chance.below(256)).unwrap(),
                _ => drop(bytes.drain(at..(at + chance.below(4)).min(bytes.len()))),
            }
            if bytes.is_empty() {
                break;
            }
        }
        if let Ok(certificates) = parse_certs_only(&bytes) {
            // Every byte of what comes out stood in what went in.
            for certificate in certificates {
                assert!(
                    bytes
                        .windows(certificate.len())
                        .any(|window| window == certificate)
                );
            }
        }
    }
    let many = vec![authority.root(); MAX_CERTIFICATES + 1];
    assert!(parse_certs_only(&authority.certs_only(&many)).is_err());
    assert_eq!(
        parse_certs_only(&authority.certs_only(&many[1..]))
            .unwrap()
            .len(),
        MAX_CERTIFICATES
    );
    // Indefinite lengths are BER, and no DER.
    let ber =
        Base64::decode_vec("MIAGCSqGSIb3DQEHAqCAMIACAQExADALBgkqhkiG9w0BBwExAAAAAAAAAA==").unwrap();
    assert!(parse_certs_only(&ber).is_err());
}
