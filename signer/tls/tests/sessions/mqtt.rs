//! MQTT over TLS 1.3 to Mosquitto, which knows devices by their certificates.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use countersign_atecc608_emulator::{Emulator, Factory};
use countersign_backend_atecc608::{Atecc608, Atecc608Provider};
use countersign_backend_tpm::TpmProvider;
use countersign_keys::{
    Algorithm, Error, KeyProvider as _, KeyTemplate, KeyUri, PublicKey, Signer, SigningKey,
};
use countersign_testing::swtpm::Swtpm;
use countersign_testing::{Profile, TestPki, throwaway_key};
use countersign_tls::{TlsIdentity, TlsKey};
use mqttrs::{
    Connect, ConnectReturnCode, Packet, Pid, Protocol, Publish, QoS, QosPid, Subscribe,
    SubscribeReturnCodes, SubscribeTopic, decode_slice, encode_slice,
};
use rustls::client::ResolvesClientCert;
use rustls::{ClientConfig, ClientConnection, ProtocolVersion, StreamOwned, version};

use crate::broker::{self, Broker};
use crate::pki::{certify, list, roots};

/// How long an answer of the broker may take.
const PATIENCE: Duration = Duration::from_secs(120);

struct Session {
    stream: StreamOwned<ClientConnection, TcpStream>,
    read: Vec<u8>,
}

impl Session {
    /// Connects and says hello. The error is what was refused, in the words of TLS or of the operating system.
    fn open(
        pki: &TestPki,
        broker: &Broker,
        identity: impl ResolvesClientCert + 'static,
    ) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&version::TLS13])
            .expect("a version")
            .with_root_certificates(roots(pki))
            .with_client_cert_resolver(Arc::new(identity));
        let name = "localhost".try_into().expect("a name");
        let connection = ClientConnection::new(Arc::new(config), name).expect("a connection");
        let socket = TcpStream::connect(broker.address()).expect("the broker listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let mut session = Self {
            stream: StreamOwned::new(connection, socket),
            read: Vec::new(),
        };
        session.send(&Packet::Connect(Connect {
            protocol: Protocol::MQTT311,
            keep_alive: 60,
            client_id: "client",
            clean_session: true,
            last_will: None,
            username: None,
            password: None,
        }))?;
        let code = session.receive(|packet| match packet {
            Packet::Connack(answer) => answer.code,
            other => panic!("{other:?}"),
        })?;
        assert_eq!(
            session.stream.conn.protocol_version(),
            Some(ProtocolVersion::TLSv1_3)
        );
        match code {
            ConnectReturnCode::Accepted => Ok(session),
            refused => Err(format!("{refused:?}")),
        }
    }

    fn send(&mut self, packet: &Packet<'_>) -> Result<(), String> {
        let mut bytes = [0; 512];
        let length = encode_slice(packet, &mut bytes).expect("a packet");
        self.stream
            .write_all(&bytes[..length])
            .and_then(|()| self.stream.flush())
            .map_err(|error| error.to_string())
    }

    fn receive<T>(&mut self, take: impl Fn(Packet<'_>) -> T) -> Result<T, String> {
        loop {
            if let Some(packet) = decode_slice(&self.read).expect("MQTT") {
                let length = 2 + usize::from(self.read[1]);
                let taken = take(packet);
                self.read.drain(..length);
                return Ok(taken);
            }
            let mut more = [0; 512];
            let count = self
                .stream
                .read(&mut more)
                .map_err(|error| error.to_string())?;
            if count == 0 {
                return Err("the broker hung up".to_owned());
            }
            self.read.extend_from_slice(&more[..count]);
        }
    }

    /// Subscribes to a topic and writes to it; what comes back.
    fn echo(&mut self, topic: &str, payload: &[u8]) -> Result<Vec<u8>, String> {
        let pid = Pid::try_from(1).expect("a number");
        let topics = [SubscribeTopic {
            topic_path: topic.into(),
            qos: QoS::AtMostOnce,
        }];
        self.send(&Packet::Subscribe(Subscribe::new(
            pid,
            topics.into_iter().collect(),
        )))?;
        self.receive(|packet| match packet {
            Packet::Suback(answer) => {
                assert!(matches!(
                    answer.return_codes.first(),
                    Some(SubscribeReturnCodes::Success(_))
                ));
            }
            other => panic!("{other:?}"),
        })?;
        self.send(&Packet::Publish(Publish {
            dup: false,
            qospid: QosPid::AtMostOnce,
            retain: false,
            topic_name: topic,
            payload,
        }))?;
        self.receive(|packet| match packet {
            Packet::Publish(publish) => publish.payload.to_vec(),
            other => panic!("{other:?}"),
        })
    }
}

/// A key in an emulated ATECC608, which makes it.
fn key_in_a_chip() -> SigningKey {
    chip(11).1
}

fn chip(seed: u64) -> (Emulator, SigningKey) {
    let emulator = Emulator::new(Factory::provisioned(seed));
    let chip = Atecc608::new(emulator.bus(), emulator.delay(), 0x60);
    let store = Atecc608Provider::new(chip, Path::new("/dev/i2c-1"), 0x60);
    let uri: KeyUri = "atecc608:/dev/i2c-1?address=0x60&slot=0"
        .parse()
        .expect("a key URI");
    store
        .generate(&uri, &KeyTemplate::signing(Algorithm::Esp256))
        .expect("a key");
    let key = store.open(&uri).expect("the key");
    (emulator, key)
}

/// A session, and none any more once the device is revoked.
fn session_until_revoked(key: SigningKey) {
    let pki = broker::pki();
    let own = certify(
        &pki,
        Profile::Tls,
        "broker-1",
        pki.device_key().public_key(),
    );
    let device = certify(&pki, Profile::Tls, "press-4", key.public_key());
    let identity = TlsIdentity::new(Arc::new(key), &device.chain).expect("an identity");
    let lists = |revoked: &[_]| vec![pki.crls()[0].clone(), list(&pki, revoked)];

    let broker = Broker::start(&pki, &own, &lists(&[]));
    let mut session = Session::open(&pki, &broker, identity.clone())
        .unwrap_or_else(|error| panic!("{error}: {}", broker.log()));
    let reading = session.echo("devices/press-4/readings", b"21.5");
    assert_eq!(reading.as_deref(), Ok(b"21.5".as_slice()));
    drop(broker);

    let broker = Broker::start(&pki, &own, &lists(&[device.serial]));
    let error = Session::open(&pki, &broker, identity)
        .map(drop)
        .expect_err("a revoked device");
    assert!(error.contains("CertificateRevoked"), "{error}");
}

#[test]
fn a_device_with_a_key_in_a_file_talks_to_mosquitto_until_it_is_revoked() {
    session_until_revoked(throwaway_key(Algorithm::Esp256));
}

#[test]
fn a_device_with_an_ed25519_key_talks_to_mosquitto_until_it_is_revoked() {
    session_until_revoked(throwaway_key(Algorithm::Ed25519));
}

#[test]
fn a_device_with_a_key_in_a_tpm_talks_to_mosquitto_until_it_is_revoked() {
    let swtpm = Swtpm::start();
    let store = TpmProvider::new(swtpm.tcti());
    let uri: KeyUri = "tpm:tls".parse().expect("a key URI");
    store
        .generate(&uri, &KeyTemplate::signing(Algorithm::Esp256))
        .expect("a key");
    session_until_revoked(store.open(&uri).expect("the key"));
}

#[test]
fn a_device_with_a_key_in_an_atecc608_talks_to_mosquitto_until_it_is_revoked() {
    session_until_revoked(key_in_a_chip());
}

/// A key that somebody took out of a chip with tools of a laboratory.
struct Taken {
    public: PublicKey,
    private: p256::ecdsa::SigningKey,
}

impl Signer for Taken {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign_unchecked(&self, message: &[u8]) -> Result<[u8; 64], Error> {
        use p256::ecdsa::signature::Signer as _;
        let signature: p256::ecdsa::Signature = self.private.sign(message);
        Ok(signature.to_bytes().into())
    }
}

/// Whoever has the key is the device, until it is revoked; and no other device is lost with it.
#[test]
fn tf26_a_key_taken_out_of_a_chip_is_worth_one_device_until_it_is_revoked() {
    let (emulator, key) = chip(12);
    let (_, other_key) = chip(13);
    let scalar = emulator.private_key(0).expect("the key");
    let taken = SigningKey::new(Taken {
        public: key.public_key().clone(),
        private: p256::ecdsa::SigningKey::from_slice(&scalar).expect("a scalar"),
    });
    let pki = broker::pki();
    let own = certify(
        &pki,
        Profile::Tls,
        "broker-1",
        pki.device_key().public_key(),
    );
    let device = certify(&pki, Profile::Tls, "press-4", key.public_key());
    let other = certify(&pki, Profile::Tls, "press-5", other_key.public_key());
    let identity = |key, chain: &[_]| TlsIdentity::new(Arc::new(key), chain).expect("an identity");
    let taken = identity(taken, &device.chain);
    let other = identity(other_key, &other.chain);
    let lists = |revoked: &[_]| vec![pki.crls()[0].clone(), list(&pki, revoked)];

    let broker = Broker::start(&pki, &own, &lists(&[]));
    let session = Session::open(&pki, &broker, taken.clone());
    assert_eq!(session.map(drop), Ok(()), "nobody knows yet");
    drop(broker);
    let broker = Broker::start(&pki, &own, &lists(&[device.serial]));
    for revoked in [taken, identity(key, &device.chain)] {
        let error = Session::open(&pki, &broker, revoked).map(drop);
        let error = error.expect_err("a revoked device");
        assert!(error.contains("CertificateRevoked"), "{error}");
    }
    let session = Session::open(&pki, &broker, other);
    assert_eq!(session.map(drop), Ok(()), "another device");
}

/// The broker's own rules, without ours: no certificate, another authority's, another purpose.
#[test]
fn tc13_mosquitto_takes_a_component_signer_for_no_client() {
    let pki = broker::pki();
    let own = certify(
        &pki,
        Profile::Tls,
        "broker-1",
        pki.device_key().public_key(),
    );
    let lists = vec![pki.crls()[0].clone(), list(&pki, &[])];
    let broker = Broker::start(&pki, &own, &lists);
    let with = |issuer: &TestPki, profile| {
        let key = throwaway_key(Algorithm::Esp256);
        let chain = certify(issuer, profile, "press-4", key.public_key()).chain;
        let pair = rustls::sign::CertifiedKey::new(
            chain.into_iter().map(Into::into).collect(),
            Arc::new(TlsKey::new(Arc::new(key))),
        );
        let forced = rustls::sign::SingleCertAndKey::from(pair);
        Session::open(&pki, &broker, forced).map(drop)
    };
    assert_eq!(with(&pki, Profile::Tls), Ok(()));
    let stranger = broker::pki();
    for (issuer, profile) in [
        (&pki, Profile::ComponentSigner),
        (&pki, Profile::GuestData),
        (&stranger, Profile::Tls),
    ] {
        let error = with(issuer, profile).expect_err("no client");
        assert!(!error.contains("os error 11"), "a silent broker: {error}");
    }
}
