//! The inputs to start from: for each target what a good one looks like, and each kind of change once.

use countersign_format::{
    Algorithm, Audience, BundleEnvelope, BundleFields, BundleIndex, BundlePart, Digest, Envelope,
    EvidenceNonce, Minimum, PartKind, ReceiptBody, ReceiptBundle, ReceiptComponent, ReceiptFields,
    ReceiptRefusal, ReceiptService, ServiceState, SignedFile, SignerEntry, SignerId,
    bundle_preamble,
};
use countersign_testing::TestPki;
use countersign_trust_store::{UnixTime, encode_sources};

use crate::world::{NOW, World, world};

/// Each target with its inputs.
pub fn all() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    vec![
        ("framing", framing()),
        ("envelope_and_statement", envelope_and_statement()),
        ("certificate_and_chain", certificate_and_chain()),
        ("crl", crl()),
        ("bundle", bundle()),
        ("whole_verification", whole_verification()),
        ("component_toml", component_toml()),
        ("key_uris", key_uris()),
    ]
}

/// Both worlds, with P-256 first.
fn worlds() -> [&'static World; 2] {
    [world(0), world(1)]
}

fn framing() -> Vec<Vec<u8>> {
    let file = &world(1).file;
    vec![
        [&[3, 0, 7, 1, 0][..], file].concat(),
        [&[0, 0, 0, 0, 1], &file[8..]].concat(),
        b"\x05\x01\x00\x09\x02\x03\x02\x04code\x07\x00\x04good\x42\x00".to_vec(),
        b"\x00\x00\x00\x00\x02\x04\x00\x02aa\x01\x02bb\x22\x03ccc\x02\x12\x01d\x01".to_vec(),
    ]
}

fn bundle() -> Vec<Vec<u8>> {
    let part = |kind, name: &str, bytes: &[u8]| BundlePart {
        kind,
        name: name.to_owned(),
        size: bytes.len() as u64,
        digest: Digest::of(bytes),
    };
    let chain = [b"leaf".to_vec()];
    let fields = BundleFields {
        line: "plant".to_owned(),
        number: 12,
        not_after: 1_900_000_000,
        signers: vec![SignerId::of(Algorithm::Esp256, Digest::of(b"key"), &chain)],
        audience: Audience {
            devices: vec!["gw-1".to_owned()],
            types: vec!["gateway".to_owned()],
        },
        parts: vec![
            part(PartKind::Lists, "lists.pem", b"lists"),
            part(PartKind::Configuration, "services.toml", b"toml"),
            part(PartKind::Component, "pump.signed.wasm", b"pump"),
        ],
        minimums: vec![Minimum {
            name: "acme:pump".parse().expect("a name"),
            security_version: 7,
        }],
    };
    let least = BundleFields {
        audience: Audience::default(),
        parts: Vec::new(),
        ..fields.clone()
    };
    let mut seeds = Vec::new();
    for (fields, parts) in [(fields, &b"liststomlpump"[..]), (least, b"")] {
        let index = BundleIndex::new(fields).expect("a good one").encode();
        let entry = SignerEntry::new(Algorithm::Esp256, chain.to_vec(), [7; 64]);
        let entries = vec![entry.expect("it is well formed")];
        let envelope = BundleEnvelope::new(index.clone(), entries).expect("it is well formed");
        let envelope = envelope.encode();
        let preamble = bundle_preamble(&envelope).expect("short");
        seeds.push([&[0], index.as_slice()].concat());
        seeds.push([&[1], envelope.as_slice()].concat());
        seeds.push([&[2], &preamble[..], envelope.as_slice(), parts].concat());
    }
    seeds.push([&[3], receipt().encode().as_slice()].concat());
    seeds
}

/// A receipt's body that says everything.
fn receipt() -> ReceiptBody {
    let name = || "acme:pump".parse().expect("a name");
    let digest = Digest::of(b"key");
    let component = ReceiptComponent {
        name: name(),
        version: "1.0.0".to_owned(),
        security_version: 7,
        digest,
        file: digest,
        signers: vec![("press-4".to_owned(), digest)],
    };
    let fields = ReceiptFields {
        nonce: Some(EvidenceNonce::new(b"a nonce!").expect("long enough")),
        number: 3,
        generation: 40,
        floor: 1_800_000_000,
        clock: Some(1_800_000_009),
        roots: vec![digest],
        bundle: Some(ReceiptBundle {
            line: "plant".to_owned(),
            number: 12,
            index: digest,
        }),
        services: vec![ReceiptService {
            name: "pump".to_owned(),
            state: ServiceState::Running,
            healthy: true,
            component: Some(component),
            refused: Some("rollback".to_owned()),
        }],
        refusals: vec![ReceiptRefusal {
            at: 1_800_000_001,
            service: "pump".to_owned(),
            code: "rollback".to_owned(),
            why: "an older one".to_owned(),
        }],
        lists: vec![(digest, [9; 20])],
        versions: vec![(digest, name(), 7)],
        minimums: vec![Minimum {
            name: name(),
            security_version: 2,
        }],
        log: None,
    };
    ReceiptBody::new(fields).expect("a good one")
}

fn envelope_and_statement() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for world in worlds() {
        let file = SignedFile::parse(&world.file).expect("a good file");
        seeds.push([&[0], file.signature()].concat());
        let statement = Envelope::decode(file.signature()).expect("a good one");
        seeds.push([&[1], statement.statement_bytes()].concat());
    }
    // Of what the input chooses, nothing.
    seeds.extend([
        [2; 1].to_vec(),
        [&[2], &[0; 48][..]].concat(),
        [&[3], &[0; 48][..]].concat(),
    ]);
    // As short as an envelope can be.
    let entry = SignerEntry::new(Algorithm::Esp256, vec![b"c".to_vec()], [7; 64]);
    let two = SignerEntry::new(
        Algorithm::Ed25519,
        vec![b"c".to_vec(), b"d".to_vec()],
        [8; 64],
    );
    for entries in [vec![entry.clone()], vec![two, entry]] {
        let entries = entries
            .into_iter()
            .map(|entry| entry.expect("it is well formed"));
        let envelope = Envelope::new(b"s".to_vec(), entries.collect()).expect("it is well formed");
        seeds.push([&[0], envelope.encode().as_slice()].concat());
    }
    // A statement of everything, in the terms of `made_statement`.
    let everything: Vec<u8> = (0..160_u8)
        .map(|number| number.wrapping_mul(37) | 1)
        .collect();
    seeds.push([&[3, 0xff, 5], b"1.2.3".as_slice(), &everything].concat());
    seeds.push([&[2, 0xff, 5], b"1.2.3".as_slice(), &everything].concat());
    let scope = b"\x30\x10\x30\x0e\x0c\x06test:*\x0c\x04aa:b";
    seeds.push([&[4], scope.as_slice()].concat());
    seeds.push(b"\x04\x0c\x04test".to_vec());
    seeds.push(b"\x04\x30\x06\x0c\x01a\x0c\x01b".to_vec());
    for text in [
        "acme:valve-control",
        "acme:*",
        "00:1b:21:0a:0b:0c",
        "SN-1",
        "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
    ] {
        seeds.push([&[5], text.as_bytes()].concat());
    }
    seeds.push(vec![6, 1, 0, 0, 0, 0, 1, 1, 0, 1, 2, 0, 1, 2, 1]);
    seeds.push(vec![7, 3, 1, 1, 1, 1, 1]);
    seeds
}

fn certificate_and_chain() -> Vec<Vec<u8>> {
    use countersign_provisioning::Profile;
    let mut seeds = Vec::new();
    for world in worlds() {
        let chain = world.pki.chain();
        for certificate in [world.pki.root(), &chain[0], &chain[1]] {
            seeds.push([&[0], certificate].concat());
        }
    }
    for profile in [
        Profile::Tls,
        Profile::GuestData,
        Profile::Attestation,
        Profile::IDevId,
    ] {
        let pki = TestPki::builder()
            .now(UnixTime::from_secs(NOW))
            .seed(4)
            .profile(profile)
            .no_rev_avail()
            .build();
        seeds.push([&[0], pki.chain()[0].as_slice()].concat());
    }
    let source = world(1).pki.anchor_source();
    let encoded = encode_sources(&[source]).expect("it has no scope");
    seeds.push([&[1], encoded.as_slice()].concat());
    let pem = b"\x01-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    seeds.push(pem.to_vec());
    for mode in [2, 3, 5] {
        seeds.push(vec![mode, 0]);
        seeds.push(vec![mode, 1]);
        seeds.extend(changes().map(|change| [&[mode, 1, 1], change.as_slice()].concat()));
    }
    // basicConstraints with a path length of 0, critical, in the place of the root's and the leaf's.
    seeds.push(vec![5, 1, 1, 9, 0, 0, 2, 1, 3]);
    seeds.push(vec![3, 1, 1, 9, 0, 0, 2, 1, 3]);
    // An extension whose criticality is written out.
    seeds.push(vec![3, 1, 1, 9, 0, 0, 17, 8, 0]);
    // A good chain a year from now, and its root sent along.
    seeds.push(vec![3, 1, 0, 0, 0xff, 0x7f, 0]);
    seeds.push(vec![2, 1, 0, 0, 1, 3, 0, 0, 0]);
    seeds
}

/// Each kind of change to a tree, in the middle of it.
fn changes() -> impl Iterator<Item = Vec<u8>> {
    (0..14).map(|kind| vec![kind, 20, 0, 3, 1, 2, 3, 4])
}

fn crl() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for world in worlds() {
        seeds.push([&[0], world.list()].concat());
        seeds.push([&[0], world.revoking.as_slice()].concat());
    }
    for mode in 1..=2 {
        for flags in [0, 1, 2, 3, 5, 7, 8] {
            seeds.push(vec![mode, 1, flags]);
        }
        seeds.extend(changes().map(|change| [&[mode, 1, 0, 1], change.as_slice()].concat()));
    }
    seeds.push(vec![4, 1, 0, 2, 1, 13, 10, 0, 1, 2, 1, 13, 11, 0, 1, 3]);
    seeds.extend([3, 4, 5].map(|forged| vec![5, 1, forged]));
    seeds
}

fn whole_verification() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for world in worlds() {
        seeds.push([&[0], world.file.as_slice()].concat());
    }
    for mode in 1..=5 {
        seeds.push(vec![mode, 0]);
        seeds.push(vec![mode, 1]);
    }
    seeds.extend(changes().map(|change| [&[3, 1, 0, 0, 1], change.as_slice()].concat()));
    // Another component, another name, two more fields; and a machine that remembers and knows who it is.
    seeds.push(vec![
        3, 1, 0, 1, 3, 8, 0, 2, 7, 7, 0, 0, 3, 0, 1, 1, 9, 0, 5,
    ]);
    seeds.push(vec![3, 1, 0x60, 0, 0, 0, 2, 1, 9, 0, 4, 1, 1]);
    // A name outside the scope.
    seeds.push(vec![3, 1, 0, 0, 0, 0, 1, 0, 3]);
    // The good signer and a foreign one, both chains whole.
    seeds.push(vec![5, 1, 0, 1, 0, 1, 2, 2, 1, 1, 0]);
    seeds.push(vec![5, 1, 0x18, 1, 0, 1, 2, 2, 1, 1, 0]);
    seeds
}

fn component_toml() -> Vec<Vec<u8>> {
    [
        "\0name = \"acme:valve-control\"\nversion = \"1.4.0\"\nsecurity-version = 3\n\n[audience]\n\
         devices = [\"SN-1\"]\ntypes = [\"gateway-x2\"]\n\n[grants]\nargs = true\nenv = [\"LANG\"]\n\
         stdio = [\"stdout\", \"stderr\"]\ndirectories = [{ guest = \"/data\", writable = true }]\n\
         http-outgoing = [\"example.com:443\"]\nhttp-incoming = true\nsockets = [\"tcp:a.example:80\"]\n\
         wall-clock = true\n\n[grants.keys.telemetry]\ncontexts = [\"reading\"]\nper-minute = 60\n\n\
         [limits]\nmemory = \"64MiB\"\ntable-elements = 100\nrun = \"10s\"\ncpu = \"250ms\"\n\
         handles = 9\nhostcall = 4096\nlog = \"1 GiB\"\n",
        "\0name = \"a:b\"\nversion = \"0.0.1-rc.1+b\"\n[[documents]]\npath = \"sbom.json\"\n\
         media-type = \"application/spdx+json\"\n",
        "\x01[package]\nversion = \"1.0.0\"\n[package.metadata.countersign]\nname = \"a:b\"\n",
        "\x01[package]\nversion.workspace = true\n[package.metadata.countersign]\nname = \"a:b\"\n\
         version = \"2.0.0\"\n",
        "\0name = 'a:b'\nversion = 1\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

fn key_uris() -> Vec<Vec<u8>> {
    [
        "key.pem",
        "/etc/key.pem",
        "file:keys/a:b.pem",
        "file:///etc/key.pem",
        "tpm:0x81010001",
        "tpm:signing-2026",
        "atecc608:/dev/i2c-1?address=0x60&slot=1",
        "pkcs11:token=Build;object=component%20signing;id=%01%ff;type=private?module-path=/usr/lib/hsm.so",
        "exec:/usr/lib/sign-it --profile components",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
