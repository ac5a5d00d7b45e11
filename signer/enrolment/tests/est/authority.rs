//! An authority made of OpenSSL's command line: a root, an intermediate, and certificates for requests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use der::pem;

/// What a certificate shall say.
pub(crate) struct Say<'a> {
    pub(crate) device: &'a str,
    pub(crate) purposes: &'a str,
    pub(crate) days: u32,
}

impl Default for Say<'_> {
    fn default() -> Self {
        Self {
            device: "gw-17",
            purposes: "clientAuth",
            days: 365,
        }
    }
}

pub(crate) struct Authority {
    folder: tempfile::TempDir,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Self { folder };
        fs::write(
            authority.path("ca.cnf"),
            "[ca]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n",
        )
        .unwrap();
        authority.openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            "root.key",
            "-out",
            "root.pem",
            "-days",
            "3650",
            "-subj",
            "/O=Acme/CN=Root",
            "-addext",
            "keyUsage=critical,keyCertSign,cRLSign",
        ]);
        authority.openssl(&[
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            "sub.key",
            "-out",
            "sub.csr",
            "-subj",
            "/O=Acme/CN=Devices",
        ]);
        authority.openssl(&[
            "x509",
            "-req",
            "-in",
            "sub.csr",
            "-CA",
            "root.pem",
            "-CAkey",
            "root.key",
            "-out",
            "sub.pem",
            "-days",
            "1825",
            "-extfile",
            "ca.cnf",
            "-extensions",
            "ca",
            "-set_serial",
            "4097",
        ]);
        authority
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn openssl(&self, arguments: &[&str]) -> Vec<u8> {
        let output = Command::new("openssl")
            .current_dir(self.folder.path())
            .args(arguments)
            .output()
            .expect("openssl runs; `cargo xtask test` installs it");
        assert!(
            output.status.success(),
            "openssl {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    }

    /// The root, DER.
    pub(crate) fn root(&self) -> Vec<u8> {
        der_of(&self.path("root.pem"))
    }

    /// A certificate that its own key signed, with this extension, DER.
    pub(crate) fn self_signed(&self, extension: &str) -> Vec<u8> {
        let line = format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout own.key -out own.pem -days 30 -subj /CN=Own -addext {extension}"
        );
        self.openssl(&line.split(' ').collect::<Vec<_>>());
        der_of(&self.path("own.pem"))
    }

    /// The intermediate, DER.
    pub(crate) fn intermediate(&self) -> Vec<u8> {
        der_of(&self.path("sub.pem"))
    }

    /// A certificate for the key of a request (PKCS#10, DER), DER. OpenSSL proves possession first.
    pub(crate) fn issue(&self, request: &[u8], say: &Say<'_>) -> Vec<u8> {
        let work = tempfile::tempdir_in(self.folder.path()).unwrap();
        let name = |file: &str| work.path().join(file).to_str().unwrap().to_owned();
        fs::write(name("csr.der"), request).unwrap();
        self.openssl(&[
            "req",
            "-inform",
            "DER",
            "-in",
            &name("csr.der"),
            "-out",
            &name("csr.pem"),
            "-verify",
            "-noout",
        ]);
        self.openssl(&[
            "req",
            "-inform",
            "DER",
            "-in",
            &name("csr.der"),
            "-out",
            &name("csr.pem"),
        ]);
        let device = say.device;
        let extensions = format!(
            "[leaf]\nbasicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage={}\n\
             subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n\
             subjectAltName=otherName:1.3.6.1.5.5.7.8.4;SEQ:module,DNS:{device}.example\n\
             [module]\ntype=OID:1.3.6.1.4.1.32473.1.1\nserial=FORMAT:ASCII,OCT:{device}\n",
            say.purposes
        );
        fs::write(name("leaf.cnf"), extensions).unwrap();
        let serial = format!("0x{:x}", rand_serial());
        self.openssl(&[
            "x509",
            "-req",
            "-in",
            &name("csr.pem"),
            "-CA",
            "sub.pem",
            "-CAkey",
            "sub.key",
            "-out",
            &name("leaf.pem"),
            "-days",
            &say.days.to_string(),
            "-extfile",
            &name("leaf.cnf"),
            "-extensions",
            "leaf",
            "-set_serial",
            &serial,
            "-subj",
            &format!("/O=Acme/CN=Gateway/serialNumber={device}"),
        ]);
        der_of(Path::new(&name("leaf.pem")))
    }

    /// A certs-only message as OpenSSL writes one, DER.
    pub(crate) fn certs_only(&self, certificates: &[Vec<u8>]) -> Vec<u8> {
        let work = tempfile::tempdir_in(self.folder.path()).unwrap();
        let mut text = String::new();
        for certificate in certificates {
            text.push_str(
                &pem::encode_string("CERTIFICATE", pem::LineEnding::LF, certificate).unwrap(),
            );
        }
        let (input, output) = (work.path().join("in.pem"), work.path().join("out.p7"));
        fs::write(&input, text).unwrap();
        self.openssl(&[
            "crl2pkcs7",
            "-nocrl",
            "-certfile",
            input.to_str().unwrap(),
            "-outform",
            "DER",
            "-out",
            output.to_str().unwrap(),
        ]);
        fs::read(output).unwrap()
    }

    /// A certificate and key for a server on the loopback: DER, and PKCS#8 in DER.
    pub(crate) fn server_identity(&self) -> (Vec<u8>, Vec<u8>) {
        fs::write(
            self.path("server.cnf"),
            "[s]\nbasicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\n\
             subjectAltName=DNS:localhost,IP:127.0.0.1\n",
        )
        .unwrap();
        self.openssl(&[
            "genpkey",
            "-algorithm",
            "EC",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-outform",
            "DER",
            "-out",
            "server.der",
        ]);
        self.openssl(&[
            "req",
            "-new",
            "-key",
            "server.der",
            "-keyform",
            "DER",
            "-subj",
            "/CN=localhost",
            "-out",
            "server.csr",
        ]);
        self.openssl(&[
            "x509",
            "-req",
            "-in",
            "server.csr",
            "-CA",
            "root.pem",
            "-CAkey",
            "root.key",
            "-out",
            "server.pem",
            "-days",
            "30",
            "-extfile",
            "server.cnf",
            "-extensions",
            "s",
            "-set_serial",
            "4098",
        ]);
        // Whatever form the key was written in, this is PKCS#8.
        let key = self.openssl(&[
            "pkcs8",
            "-topk8",
            "-nocrypt",
            "-in",
            "server.der",
            "-inform",
            "DER",
            "-outform",
            "DER",
        ]);
        (der_of(&self.path("server.pem")), key)
    }
}

fn der_of(path: &Path) -> Vec<u8> {
    let (_, der) = pem::decode_vec(&fs::read(path).unwrap()).unwrap();
    der
}

/// Different each time in one process.
fn rand_serial() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0x1_0000_0001);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
