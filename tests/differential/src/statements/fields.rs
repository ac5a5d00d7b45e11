//! Statements and envelopes that say more or less.

use countersign_format::{
    Algorithm, Audience, ComponentName, Digest, DirectoryGrant, Document, Envelope, Grants,
    GuestLimits, KeyGrant, SignerEntry, SignerId, Statement, StatementFields, Stdio,
};

use crate::random::Random;

/// A sound statement.
pub(super) fn statement(random: &mut Random) -> Statement {
    let signers = (0..1 + random.below(3)).map(|_| {
        let chain = vec![random.octets(8); 1 + random.below(3)];
        SignerId::of(algorithm(random), digest(random), &chain)
    });
    let signers = signers.collect();
    let number = |random: &mut Random| random.next() >> random.below(64);
    let name = ["test:guest", "acme:pump", "a:b-c"][random.below(3)];
    let mut version = semver::Version::new(number(random), 2, 3);
    if random.one_in(3) {
        version.pre = semver::Prerelease::new("rc.1").expect("a prerelease");
    }
    let documents = (0..random.below(3)).map(|_| Document {
        media_type: "application/vnd.cyclonedx+json".to_owned(),
        digest: digest(random),
    });
    let documents = documents.collect();
    Statement::new(StatementFields {
        component_digest: digest(random),
        component_size: number(random) % (1 << 28),
        name: ComponentName::parse(name).expect("a name"),
        version,
        security_version: number(random),
        signers,
        audience: Audience {
            devices: texts(random, &["SN-1", "SN-2", "press.4"]),
            types: texts(random, &["gateway-x2", "press"]),
        },
        grants: grants(random),
        limits: limits(random),
        documents,
        issued_at: random.one_in(2).then(|| number(random) % (1 << 37)),
    })
    .expect("a sound statement")
}

/// A sound envelope. Its signatures are nobody's: the decoder does not ask.
pub(super) fn envelope(random: &mut Random) -> Envelope {
    let statement = statement(random).encode();
    let entries = (0..1 + random.below(3)).map(|_| {
        let certificates = (0..1 + random.below(3)).map(|_| {
            let length = 1 + random.below(300);
            random.octets(length)
        });
        let chain = certificates.collect();
        let signature = random.octets(64).try_into().expect("64 octets");
        SignerEntry::new(algorithm(random), chain, signature).expect("a sound entry")
    });
    let entries = entries.collect();
    Envelope::new(statement, entries).expect("a sound envelope")
}

fn algorithm(random: &mut Random) -> Algorithm {
    *random.of(&[Algorithm::Esp256, Algorithm::Ed25519])
}

fn digest(random: &mut Random) -> Digest {
    Digest::of(&random.octets(8))
}

/// Some of these.
fn texts(random: &mut Random, choices: &[&str]) -> Vec<String> {
    if random.one_in(2) {
        return Vec::new();
    }
    let chosen = choices.iter().filter(|_| random.one_in(2));
    chosen.map(|text| (*text).to_owned()).collect()
}

fn grants(random: &mut Random) -> Grants {
    if random.one_in(3) {
        return Grants::default();
    }
    let directories = texts(random, &["/data", "/etc/app"]);
    let keys = texts(random, &["meter", "seal"]);
    Grants {
        args: random.one_in(2),
        env: texts(random, &["LANG", "TZ"]),
        stdio: Stdio {
            stdin: random.one_in(2),
            stdout: random.one_in(2),
            stderr: random.one_in(2),
        },
        directories: directories
            .into_iter()
            .map(|guest| DirectoryGrant {
                guest,
                writable: random.one_in(2),
            })
            .collect(),
        http_outgoing: random
            .one_in(2)
            .then(|| texts(random, &["example.com", "example.com:8443"])),
        http_incoming: random.one_in(2),
        sockets: random
            .one_in(2)
            .then(|| texts(random, &["tcp:example.com:443", "udp:example.com:53"])),
        wall_clock: random.one_in(2),
        keys: keys
            .into_iter()
            .map(|name| KeyGrant {
                name,
                contexts: texts(random, &["reading/v1", "seal/v2"]),
                per_minute: random.one_in(2).then_some(60),
            })
            .collect(),
    }
}

fn limits(random: &mut Random) -> GuestLimits {
    let mut limit = || random.one_in(3).then(|| random.next() >> random.below(64));
    GuestLimits {
        memory_bytes: limit(),
        table_elements: limit(),
        run_milliseconds: limit(),
        cpu_milliseconds: limit(),
        handles: limit(),
        hostcall_bytes: limit(),
        log_bytes: limit(),
    }
}
