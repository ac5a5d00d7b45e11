//! OpenSSL's library: strict, every certificate held against a list of its issuer, the root's own signature checked.

use std::collections::HashMap;
use std::path::PathBuf;

use countersign_testing::Sealed;
use countersign_trust_store::UnixTime;
use openssl::error::ErrorStack;
use openssl::ssl::SslFiletype;
use openssl::stack::Stack;
use openssl::x509::store::{X509Lookup, X509StoreBuilder};
use openssl::x509::verify::{X509VerifyFlags, X509VerifyParam};
use openssl::x509::{X509, X509StoreContext};
use tempfile::TempDir;

use super::Verdict;

/// OpenSSL takes lists from files only; each is written once.
#[derive(Debug)]
pub struct OpenSsl {
    folder: TempDir,
    lists: HashMap<Vec<u8>, PathBuf>,
    written: u64,
}

impl Default for OpenSsl {
    fn default() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder for lists"),
            lists: HashMap::new(),
            written: 0,
        }
    }
}

impl OpenSsl {
    /// Its verdict.
    ///
    /// # Errors
    /// Its own words.
    pub fn judge(&mut self, sealed: &Sealed, now: UnixTime) -> Verdict {
        let unread = |what: &'static str| move |_: ErrorStack| format!("unreadable: {what}");
        let mut store = X509StoreBuilder::new().unwrap();
        let root = X509::from_der(&sealed.root).map_err(unread("the root"))?;
        store.add_cert(root).map_err(unread("the root"))?;
        let lookup = store.add_lookup(X509Lookup::file()).unwrap();
        for crl in &sealed.crls {
            let path = self.file(crl);
            lookup
                .load_crl_file(path, SslFiletype::ASN1)
                .map_err(unread("a list"))?;
        }
        let mut parameters = X509VerifyParam::new().unwrap();
        parameters
            .set_flags(
                X509VerifyFlags::X509_STRICT
                    | X509VerifyFlags::CRL_CHECK
                    | X509VerifyFlags::CRL_CHECK_ALL
                    | X509VerifyFlags::CHECK_SS_SIGNATURE,
            )
            .unwrap();
        parameters.set_time(now.as_secs().try_into().unwrap());
        store.set_param(&parameters).unwrap();
        let store = store.build();

        let mut chain = sealed
            .chain
            .iter()
            .map(|der| X509::from_der(der).map_err(unread("a certificate")));
        let leaf = chain.next().ok_or("there is no certificate")??;
        let mut above = Stack::new().unwrap();
        for certificate in chain {
            above.push(certificate?).unwrap();
        }
        let mut context = X509StoreContext::new().unwrap();
        let verified = context
            .init(&store, &leaf, &above, |context| {
                let valid = context.verify_cert()?;
                Ok((valid, context.error()))
            })
            .map_err(unread("the chain"))?;
        match verified {
            (true, _) => Ok(()),
            (false, error) => Err(error.error_string().to_owned()),
        }
    }

    fn file(&mut self, crl: &[u8]) -> PathBuf {
        if let Some(path) = self.lists.get(crl) {
            return path.clone();
        }
        if self.lists.len() >= 200 {
            for (_, path) in self.lists.drain() {
                std::fs::remove_file(path).expect("it was written here");
            }
        }
        self.written += 1;
        let path = self.folder.path().join(format!("{}.crl", self.written));
        std::fs::write(&path, crl).expect("a list is written");
        self.lists.insert(crl.to_vec(), path.clone());
        path
    }
}
