//! What the unit tests start from: a small component, a statement that says everything, an envelope around it.

use crate::{
    Algorithm, Audience, ComponentName, Digest, DirectoryGrant, Document, Envelope, Grants,
    GuestLimits, KeyGrant, SignerEntry, SignerId, Statement, StatementFields, Stdio,
};

/// A component of three sections: a custom one, a core module, and a type.
pub(crate) fn component() -> Vec<u8> {
    let mut bytes = crate::layout::PREAMBLE.to_vec();
    bytes.extend(section(0, b"\x04namemore"));
    bytes.extend(section(1, b"\0asm\x01\0\0\0"));
    bytes.extend(section(7, &[0]));
    bytes
}

/// A section, its size in the shortest LEB128.
pub(crate) fn section(id: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![id];
    let mut size = content.len();
    while size >= 0x80 {
        bytes.push((size & 0x7f) as u8 | 0x80);
        size >>= 7;
    }
    bytes.push(size as u8);
    bytes.extend_from_slice(content);
    bytes
}

/// Only what a statement must say.
pub(crate) fn least() -> StatementFields {
    StatementFields {
        component_digest: Digest::of(b"component"),
        component_size: 9,
        name: ComponentName::parse("acme:pump").unwrap(),
        version: semver::Version::new(1, 2, 3),
        security_version: 4,
        signers: vec![SignerId::of(
            Algorithm::Esp256,
            Digest::of(b"key"),
            &[b"leaf".to_vec()],
        )],
        audience: Audience::default(),
        grants: Grants::default(),
        limits: GuestLimits::default(),
        documents: Vec::new(),
        issued_at: None,
    }
}

/// Everything a statement can say.
pub(crate) fn most() -> StatementFields {
    let list = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
    StatementFields {
        signers: vec![
            SignerId::of(Algorithm::Ed25519, Digest::of(b"one"), &[b"leaf".to_vec()]),
            SignerId::of(
                Algorithm::Esp256,
                Digest::of(b"two"),
                &[b"leaf".to_vec(), b"intermediate".to_vec()],
            ),
        ],
        audience: Audience {
            devices: list(&["SN-1", "SN-2"]),
            types: list(&["gateway-x2"]),
        },
        grants: Grants {
            args: true,
            env: list(&["LANG", "TZ"]),
            stdio: Stdio {
                stdin: true,
                stdout: true,
                stderr: true,
            },
            directories: vec![
                DirectoryGrant {
                    guest: "/data".to_owned(),
                    writable: true,
                },
                DirectoryGrant {
                    guest: "/etc".to_owned(),
                    writable: false,
                },
            ],
            http_outgoing: Some(list(&["example.com", "example.com:8443"])),
            http_incoming: true,
            sockets: Some(Vec::new()),
            wall_clock: true,
            keys: vec![KeyGrant {
                name: "meter".to_owned(),
                contexts: list(&["reading/v1"]),
                per_minute: Some(60),
            }],
        },
        limits: GuestLimits {
            memory_bytes: Some(64 << 20),
            table_elements: Some(10_000),
            run_milliseconds: Some(10_000),
            cpu_milliseconds: Some(5_000),
            handles: Some(64),
            hostcall_bytes: Some(1 << 20),
            log_bytes: Some(1 << 16),
        },
        documents: vec![Document {
            media_type: "application/vnd.cyclonedx+json".to_owned(),
            digest: Digest::of(b"sbom"),
        }],
        issued_at: Some(1_790_000_000),
        ..least()
    }
}

/// An envelope with two signers, one of them with a chain of two.
pub(crate) fn envelope() -> Envelope {
    let statement = Statement::new(most()).unwrap().encode();
    let one = SignerEntry::new(Algorithm::Ed25519, vec![b"leaf".to_vec()], [1; 64]).unwrap();
    let two = SignerEntry::new(
        Algorithm::Esp256,
        vec![b"leaf".to_vec(), b"intermediate".to_vec()],
        [2; 64],
    )
    .unwrap();
    Envelope::new(statement, vec![one, two]).unwrap()
}
