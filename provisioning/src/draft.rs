//! A certificate before it is signed: its parts, and the one way from them to a signed certificate.

use countersign_keys::SigningKey;
use der::Encode;
use spki::SubjectPublicKeyInfoRef;
use x509_cert::builder::CertificateBuilder;
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::certificate::TbsCertificate;
use x509_cert::ext::Extension;
use x509_cert::name::Name;

use crate::fields::{self, Given};
use crate::profile::Rules;
use crate::validity::Validity;
use crate::{Error, Serial, sign};

/// Everything that a certificate says. Who signs it is not among it, so that a rehearsal signs the same.
pub(crate) struct Draft<'a> {
    pub(crate) rules: &'static Rules,
    pub(crate) issuer: Name,
    pub(crate) subject: Name,
    pub(crate) validity: Validity,
    pub(crate) serial: Serial,
    pub(crate) given: Given<'a>,
}

impl Draft<'_> {
    /// Signs it with `key`, if hosts would find it to be of its kind.
    pub(crate) fn sign(&self, key: &SigningKey) -> Result<Vec<u8>, Error> {
        if !self.rules.name_form.fits(&self.subject) {
            return Err(Error::NameInvalid {
                field: "subject",
                value: self.subject.to_string(),
                reason: "its attributes are not those of this kind of certificate",
            });
        }
        self.sign_with(key, fields::extensions(self.rules, &self.given)?)
    }

    /// The same whatever the form of the subject's name, and with these extensions.
    pub(crate) fn sign_with(
        &self,
        key: &SigningKey,
        extensions: Vec<Extension>,
    ) -> Result<Vec<u8>, Error> {
        let contents = Contents {
            issuer: self.issuer.clone(),
            subject: self.subject.clone(),
            extensions,
        };
        let builder = CertificateBuilder::new(
            contents,
            self.serial.to_x509()?,
            self.validity.to_x509()?,
            sign::spki(self.given.public_key)?,
        )
        .map_err(|_| Error::Encoding {
            what: "a certificate",
            source: der::ErrorKind::Failed.into(),
        })?;
        sign::build(builder, key, self.rules)?
            .to_der()
            .map_err(Error::encoding("a certificate"))
    }
}

/// Names and extensions, in the shape that x509-cert's builder asks for them.
struct Contents {
    issuer: Name,
    subject: Name,
    extensions: Vec<Extension>,
}

impl BuilderProfile for Contents {
    fn get_issuer(&self, _subject: &Name) -> Name {
        self.issuer.clone()
    }

    fn get_subject(&self) -> Name {
        self.subject.clone()
    }

    fn build_extensions(
        &self,
        _spk: SubjectPublicKeyInfoRef<'_>,
        _issuer_spk: SubjectPublicKeyInfoRef<'_>,
        _tbs: &TbsCertificate,
    ) -> x509_cert::builder::Result<Vec<Extension>> {
        Ok(self.extensions.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use countersign_keys::{PublicKey, Signer};
    use countersign_trust_store::UnixTime;

    use super::*;
    use crate::sign::testing::Counting;
    use crate::{CaName, extensions, profile};

    /// A key that notes whether it was asked to sign.
    struct Watched {
        public_key: PublicKey,
        asked: Arc<AtomicBool>,
    }

    impl Signer for Watched {
        fn public_key(&self) -> &PublicKey {
            &self.public_key
        }

        fn sign_unchecked(&self, _message: &[u8]) -> Result<[u8; 64], countersign_keys::Error> {
            self.asked.store(true, Ordering::Relaxed);
            Ok([0; 64])
        }
    }

    #[test]
    fn tg20_what_hosts_would_refuse_is_not_signed() {
        // RFC 8032 §7.1, test 3.
        let octets = "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025";
        let octets: Vec<u8> = (0..32)
            .map(|index| u8::from_str_radix(&octets[2 * index..2 * index + 2], 16).expect("hex"))
            .collect();
        let public_key = PublicKey::from_ed25519_bytes(&octets).expect("a key");
        let asked = Arc::new(AtomicBool::new(false));
        let key = SigningKey::new(Watched {
            public_key: public_key.clone(),
            asked: Arc::clone(&asked),
        });
        let name = CaName::new("Acme", "Root", None)
            .and_then(|name| name.to_x509())
            .expect("a name");
        let key_id = extensions::key_id(&public_key).expect("a key id");
        let sign = |change: fn(&mut Vec<Extension>)| {
            let draft = Draft {
                rules: &profile::ROOT,
                issuer: name.clone(),
                subject: name.clone(),
                validity: Validity::days(UnixTime::from_secs(1_800_000_000), 10).expect("ten days"),
                serial: Serial::generate(&mut Counting(1)).expect("a serial"),
                given: Given {
                    path_length: Some(1),
                    ..Given::new(&public_key, &key_id)
                },
            };
            let mut extensions = fields::extensions(draft.rules, &draft.given).expect("extensions");
            change(&mut extensions);
            draft.sign_with(&key, extensions)
        };
        let changes: [fn(&mut Vec<Extension>); 3] = [
            |extensions| drop(extensions.remove(0)),
            |extensions| extensions.push(extensions[0].clone()),
            |extensions| extensions[1].critical = false,
        ];
        for change in changes {
            let error = sign(change).expect_err("not a root");
            assert!(matches!(error, Error::Lint { .. }), "{error}");
        }
        assert!(!asked.load(Ordering::Relaxed), "the key was not asked");
        // A sound one reaches the key, whose signature of zeros is then noticed.
        assert!(matches!(sign(|_| ()), Err(Error::Sign { .. })));
        assert!(asked.load(Ordering::Relaxed));
    }
}
