//! The decoders of the format: one encoding for one value, limits kept, and scopes that narrow what they should.

use countersign_format::{
    Algorithm, Audience, ComponentName, DeviceIdentity, Digest, DirectoryGrant, Document, Envelope,
    FormatError, Grants, GuestLimits, KeyGrant, NamePattern, Namespace, Scope, SignerEntry,
    SignerId, Statement, StatementFields, Stdio, capabilities_from_der, capabilities_to_der,
    development_root_from_der, limits, signer_to_be_signed, text_from_der, text_to_der,
};

use crate::cursor::Cursor;
use crate::{bytes, world};

/// Takes one input; its first byte says what the rest is.
pub fn check(data: &[u8]) {
    let mut input = Cursor::new(data);
    match input.byte() % 8 {
        0 => envelope(input.rest()),
        1 => statement(input.rest()),
        2 => {
            let mut changed = made_envelope(&mut input);
            bytes::change(&mut changed, &mut input);
            envelope(&changed);
        }
        3 => {
            let Some(made) = made_statement(&mut input) else {
                return;
            };
            let encoded = made.encode();
            assert_eq!(Statement::decode(&encoded).as_ref(), Ok(&made));
            let mut changed = encoded;
            bytes::change(&mut changed, &mut input);
            statement(&changed);
        }
        4 => extension(input.rest()),
        5 => texts(input.rest()),
        6 => scopes(&mut input),
        _ => audiences(&mut input),
    }
}

/// Any bytes as an envelope.
fn envelope(bytes: &[u8]) {
    let envelope = match Envelope::decode(bytes) {
        Ok(envelope) => envelope,
        Err(error) => return points_into(&error, bytes),
    };
    assert_eq!(envelope.encode(), bytes, "another encoding");
    let signers = envelope.signers();
    assert!((1..=limits::MAX_SIGNERS).contains(&(signers.len() as u64)));
    let size = envelope.statement_bytes().len() as u64;
    assert!((1..=limits::MAX_STATEMENT_BYTES).contains(&size));
    for (index, signer) in signers.iter().enumerate() {
        assert!((1..=limits::MAX_CHAIN_CERTIFICATES).contains(&(signer.chain().len() as u64)));
        for certificate in signer.chain() {
            assert!((1..=limits::MAX_CERTIFICATE_BYTES).contains(&(certificate.len() as u64)));
        }
        let message = signer_to_be_signed(
            envelope.statement_bytes(),
            signer.algorithm(),
            signer.chain(),
        );
        assert_eq!(envelope.to_be_signed(index), Some(message));
    }
    assert_eq!(envelope.to_be_signed(signers.len()), None);
    let again = Envelope::new(envelope.statement_bytes().to_vec(), signers.to_vec());
    assert_eq!(again.as_ref(), Ok(&envelope));
    statement(envelope.statement_bytes());
}

/// Any bytes as a statement.
fn statement(bytes: &[u8]) {
    let statement = match Statement::decode(bytes) {
        Ok(statement) => statement,
        Err(error) => return points_into(&error, bytes),
    };
    assert_eq!(statement.encode(), bytes, "another encoding");
    let fields = statement.fields();
    assert_eq!(Statement::new(fields.clone()).as_ref(), Ok(&statement));
    assert!(bytes.len() as u64 <= limits::MAX_STATEMENT_BYTES);
    assert!(fields.component_size <= limits::MAX_COMPONENT_BYTES);
    assert!((1..=limits::MAX_SIGNERS).contains(&(fields.signers.len() as u64)));
    assert!(fields.signers.is_sorted());
    let grants = &fields.grants;
    for texts in [
        Some(&fields.audience.devices),
        Some(&fields.audience.types),
        Some(&grants.env),
        grants.http_outgoing.as_ref(),
        grants.sockets.as_ref(),
    ]
    .into_iter()
    .flatten()
    .chain(grants.keys.iter().map(|key| &key.contexts))
    {
        assert!(texts.len() as u64 <= limits::MAX_LIST_ENTRIES);
        assert!(texts.is_sorted_by(|one, two| one < two), "{texts:?}");
        for text in texts {
            assert!(!text.is_empty() && text.len() as u64 <= limits::MAX_TEXT_BYTES);
            assert!(text.is_ascii() && !text.bytes().any(|byte| byte.is_ascii_control()));
        }
    }
    for directory in &grants.directories {
        let guest = &directory.guest;
        assert!(guest.starts_with('/') && !guest.contains("//"), "{guest:?}");
        assert!(
            !guest.split('/').any(|part| part == "." || part == ".."),
            "{guest:?}"
        );
    }
    let audience = &fields.audience;
    assert!(audience.is_within(audience));
    let mut sorted = fields.clone();
    sorted.grants.normalise().expect("it was accepted");
    sorted.audience.normalise().expect("it was accepted");
    assert_eq!(&sorted, fields);
}

/// An error names a place that the input has.
fn points_into(error: &FormatError, bytes: &[u8]) {
    assert!(!error.to_string().is_empty());
    let (FormatError::Malformed { offset, .. } | FormatError::Noncanonical { offset, .. }) = error
    else {
        return;
    };
    assert!(*offset <= bytes.len() as u64, "{error}");
}

/// Any bytes as the value of one of our extensions.
fn extension(bytes: &[u8]) {
    if let Ok(scope) = Scope::from_der(bytes) {
        assert_eq!(scope.to_der().as_deref(), Ok(bytes), "another encoding");
        assert!(scope.contains(&scope));
        assert!(bytes.len() as u64 <= limits::MAX_EXTENSION_BYTES);
    }
    if let Ok(text) = text_from_der(bytes) {
        assert_eq!(text_to_der(&text).as_deref(), Ok(bytes), "another encoding");
    }
    if let Ok(list) = capabilities_from_der(bytes) {
        assert_eq!(
            capabilities_to_der(&list).as_deref(),
            Ok(bytes),
            "another encoding"
        );
    }
    if development_root_from_der(bytes).is_ok() {
        assert_eq!(bytes, [0x05, 0x00]);
    }
}

/// Any text as a name or an identity.
fn texts(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(name) = ComponentName::parse(text) {
        assert_eq!(name.as_str(), text);
        assert_eq!(format!("{}:{}", name.namespace(), name.name()), text);
        let namespace = Namespace::parse(name.namespace()).expect("its namespace is one");
        let all = NamePattern::parse(&format!("{namespace}:*")).expect("all of a namespace");
        assert!(all.matches(&name));
    }
    if let Ok(pattern) = NamePattern::parse(text) {
        assert_eq!(pattern.to_string(), text);
        assert!(pattern.contains(&pattern));
    }
    if let Ok(identity) = DeviceIdentity::parse(text) {
        assert_eq!(identity.as_str(), text);
        assert!(text.len() as u64 <= limits::MAX_DEVICE_ID);
    }
    for identity in [
        DeviceIdentity::from_mac_text(text),
        DeviceIdentity::from_uuid_text(text),
    ]
    .into_iter()
    .flatten()
    {
        let again = DeviceIdentity::parse(identity.as_str());
        assert_eq!(again.as_ref(), Ok(&identity));
        // What was made from a number is read as the same number.
        let read = [
            DeviceIdentity::from_mac_text(identity.as_str()),
            DeviceIdentity::from_uuid_text(identity.as_str()),
        ];
        assert!(read.contains(&Ok(identity)));
    }
}

/// Scopes one below the other: what the inner one admits, the outer one admits.
fn scopes(input: &mut Cursor<'_>) {
    let (Some(outer), Some(inner)) = (scope(input), scope(input)) else {
        return;
    };
    for scope in [&outer, &inner] {
        let der = scope.to_der().expect("these are short");
        assert_eq!(Scope::from_der(&der).as_ref(), Ok(scope));
    }
    let name = input.choose(NAMES);
    let name = ComponentName::parse(name).expect("it is a name");
    let Some(audience) = audience(input) else {
        return;
    };
    if outer.contains(&inner) && inner.admits(&name, &audience) {
        assert!(outer.admits(&name, &audience), "{outer:?} {inner:?} {name}");
    }
    // A narrower audience is admitted wherever a wider one is.
    let Some(narrower) = self::audience(input) else {
        return;
    };
    if narrower.is_within(&audience) && outer.admits(&name, &audience) {
        assert!(outer.admits(&name, &narrower), "{outer:?} {narrower:?}");
    }
}

/// Audiences one within the other: what the inner one admits, the outer one admits.
fn audiences(input: &mut Cursor<'_>) {
    let (Some(outer), Some(inner)) = (audience(input), audience(input)) else {
        return;
    };
    let device = input.choose(&[None, Some("SN-1"), Some("SN-2"), Some("SN-3")]);
    let device_type = input.choose(&[None, Some("x1"), Some("x2"), Some("SN-1")]);
    if inner.is_within(&outer) && inner.admits(device, device_type) {
        assert!(outer.admits(device, device_type), "{outer:?} {inner:?}");
    }
    if device.is_none() && inner.admits(device, device_type) {
        assert!(
            inner.devices.is_empty(),
            "nobody proves to be a named device"
        );
    }
}

const NAMES: &[&str] = &[
    "acme:pump",
    "acme:pump-2",
    "acme-2:pump",
    "test:guest",
    "a:b",
];

fn scope(input: &mut Cursor<'_>) -> Option<Scope> {
    let patterns = ["acme:*", "acme-2:*", "test:*", "a:*"];
    let patterns = (0..input.byte() % 4)
        .map(|_| {
            let pattern = match input.byte() & 1 {
                0 => input.choose(&patterns),
                _ => input.choose(NAMES),
            };
            NamePattern::parse(pattern).expect("it is a pattern")
        })
        .collect();
    Scope::new(patterns, audience(input)?).ok()
}

fn audience(input: &mut Cursor<'_>) -> Option<Audience> {
    let mut audience = Audience {
        devices: chosen(input, &["SN-1", "SN-2", "SN-3"]),
        types: chosen(input, &["x1", "x2", "SN-1"]),
    };
    audience.normalise().ok()?;
    Some(audience)
}

/// Texts that some field must not hold, or holds in one form only.
const ODD: &[&str] = &[
    "",
    "/..",
    "/a/../b",
    "/a/.",
    "/a/",
    "//a",
    "/a\u{202e}b",
    "a b",
    "A=B",
    "*",
    "example.com.",
    "EXAMPLE.com",
    "example.com:0",
    "tcp:a.example:99999",
    "tcp:a.example:080",
    "tcp:*:80",
    "\u{7f}",
    "\u{456}",
];

/// Each of these or not, and sometimes what else the input holds.
fn chosen(input: &mut Cursor<'_>, choices: &[&str]) -> Vec<String> {
    let flags = input.byte();
    let mut texts: Vec<String> = choices
        .iter()
        .enumerate()
        .filter(|(index, _)| flags >> index & 1 != 0)
        .map(|(_, text)| (*text).to_owned())
        .collect();
    match flags >> 6 {
        2 => texts.push(input.choose(ODD).to_owned()),
        3 => texts.push(String::from_utf8_lossy(input.text()).into_owned()),
        _ => {}
    }
    texts
}

fn made_envelope(input: &mut Cursor<'_>) -> Vec<u8> {
    let statement = match made_statement(input) {
        Some(statement) => statement.encode(),
        None => input.text().to_vec(),
    };
    let signers = (0..=input.byte() % 5)
        .filter_map(|_| {
            let chain = (0..=input.byte() % 4)
                .map(|_| [&[0x30], input.text()].concat())
                .collect();
            let mut signature = [0; 64];
            signature[0] = input.byte();
            SignerEntry::new(algorithm(input), chain, signature).ok()
        })
        .collect();
    match Envelope::new(statement, signers) {
        Ok(envelope) => {
            let bytes = envelope.encode();
            assert_eq!(Envelope::decode(&bytes).as_ref(), Ok(&envelope));
            bytes
        }
        Err(_) => Vec::new(),
    }
}

fn algorithm(input: &mut Cursor<'_>) -> Algorithm {
    input.choose(&[Algorithm::Esp256, Algorithm::Ed25519])
}

/// Nothing, a small number, or any of up to eight octets.
fn number(input: &mut Cursor<'_>) -> Option<u64> {
    match input.byte() % 3 {
        0 => None,
        1 => Some(input.byte().into()),
        _ => {
            let mut octets = [0; 8];
            for (octet, given) in octets.iter_mut().zip(input.text()) {
                *octet = *given;
            }
            Some(u64::from_le_bytes(octets))
        }
    }
}

/// A statement of parts that the input chooses; none if it cannot be one.
fn made_statement(input: &mut Cursor<'_>) -> Option<Statement> {
    let text = |input: &mut Cursor<'_>| String::from_utf8_lossy(input.text()).into_owned();
    let flags = input.byte();
    let flag = |bit: u8| flags >> bit & 1 != 0;
    let digest = |input: &mut Cursor<'_>| Digest::of(&[input.byte()]);
    let version = text(input);
    let fields = StatementFields {
        component_digest: digest(input),
        component_size: number(input).unwrap_or(8),
        name: ComponentName::parse(input.choose(NAMES)).expect("it is a name"),
        version: semver::Version::parse(&version).unwrap_or(semver::Version::new(1, 2, 3)),
        security_version: number(input).unwrap_or(0),
        signers: (0..=input.byte() % 5)
            .map(|_| SignerId {
                algorithm: algorithm(input),
                spki_sha256: digest(input),
                chain_sha256: digest(input),
            })
            .collect(),
        audience: audience(input)?,
        grants: Grants {
            args: flag(0),
            env: chosen(input, &["LANG", "TZ", "_X"]),
            stdio: Stdio {
                stdin: flag(1),
                stdout: flag(2),
                stderr: flag(3),
            },
            directories: chosen(input, &["/data", "/etc/x", "/"])
                .into_iter()
                .map(|guest| DirectoryGrant {
                    guest,
                    writable: flag(4),
                })
                .collect(),
            http_outgoing: flag(5)
                .then(|| chosen(input, &["example.com", "[::1]:443", "10.0.0.1"])),
            http_incoming: flag(6),
            sockets: flag(7).then(|| chosen(input, &["tcp:a.example:80", "udp-listen:0.0.0.0:53"])),
            wall_clock: flag(4),
            keys: chosen(input, &["meter", "door"])
                .into_iter()
                .map(|name| KeyGrant {
                    name,
                    contexts: chosen(input, &["reading/v1", "b", "a"]),
                    per_minute: number(input).map(|number| number as u32),
                })
                .collect(),
        },
        limits: GuestLimits {
            memory_bytes: number(input),
            table_elements: number(input),
            run_milliseconds: number(input),
            cpu_milliseconds: number(input),
            handles: number(input),
            hostcall_bytes: number(input),
            log_bytes: number(input),
        },
        documents: chosen(input, &["application/spdx+json", "text/plain"])
            .into_iter()
            .map(|media_type| Document {
                media_type,
                digest: digest(input),
            })
            .collect(),
        issued_at: number(input).map(|at| at % (world::NOW * 1_000)),
    };
    Statement::new(fields).ok()
}
