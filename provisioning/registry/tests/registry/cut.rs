//! A connection that is cut after COMMIT arrived and before its answer did, on PostgreSQL.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use countersign_registry::{CertificateState, Error, Refusal, Registry, Reservation, Reserved};

use crate::database::{Database, NOW, approve, asking, id, made, request, reserve, serial};

/// Stands between the registry and the server's socket.
struct Proxy {
    _folder: tempfile::TempDir,
    url: String,
    /// Whether the next COMMIT's answer is lost.
    is_armed: Arc<AtomicBool>,
    lost: Arc<AtomicU32>,
}

impl Proxy {
    fn start(url: &str) -> Self {
        let (address, real) = url.split_once("host=").expect("a socket's folder");
        let folder = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(folder.path().join(".s.PGSQL.5432")).expect("listens");
        let real = Path::new(real).join(".s.PGSQL.5432");
        let is_armed = Arc::new(AtomicBool::new(false));
        let lost = Arc::new(AtomicU32::new(0));
        let (armed, count) = (Arc::clone(&is_armed), Arc::clone(&lost));
        // It ends with the process.
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (real, armed, count) = (real.clone(), Arc::clone(&armed), Arc::clone(&count));
                std::thread::spawn(move || pass(client.ok()?, real, &armed, &count).ok());
            }
        });
        Self {
            url: format!("{address}host={}", folder.path().display()),
            _folder: folder,
            is_armed,
            lost,
        }
    }
}

/// Passes everything on, until a COMMIT whose answer shall be lost: then the server's answer is awaited, and nobody gets it.
fn pass(
    mut client: UnixStream,
    real: PathBuf,
    is_armed: &AtomicBool,
    lost: &AtomicU32,
) -> std::io::Result<()> {
    let mut server = UnixStream::connect(real)?;
    let is_cut = Arc::new(AtomicBool::new(false));
    let (mut from, mut to) = (server.try_clone()?, client.try_clone()?);
    let cut = Arc::clone(&is_cut);
    let back = std::thread::spawn(move || {
        let mut buffer = [0; 65536];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if cut.load(Ordering::SeqCst) {
                break;
            }
            if to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    });
    let mut buffer = [0; 65536];
    while let Ok(count @ 1..) = client.read(&mut buffer) {
        let bytes = &buffer[..count];
        // A simple query: its letter, its length, its text with a zero.
        if bytes.ends_with(b"COMMIT\0") && is_armed.swap(false, Ordering::SeqCst) {
            is_cut.store(true, Ordering::SeqCst);
            lost.fetch_add(1, Ordering::SeqCst);
        }
        server.write_all(bytes)?;
    }
    let _ = server.shutdown(Shutdown::Write);
    let _ = back.join();
    Ok(())
}

#[test]
fn tg17_a_lost_answer_of_the_database_is_given_again() {
    crate::run(Database::postgresql(), |database| async move {
        let proxy = Proxy::start(&database.url);
        let registry = Registry::open(&proxy.url).await.expect("opens");
        approve(&registry, &["a"]).await;
        let what = Reservation {
            request: request("client key", 1),
            ..asking("a", 1)
        };
        let again = Reservation {
            serial: serial(),
            ..what.clone()
        };

        // The answer to the reservation is lost: it is there, and nobody gets a second one.
        proxy.is_armed.store(true, Ordering::SeqCst);
        let outcome = registry.reserve(std::slice::from_ref(&what), NOW).await;
        assert!(
            matches!(outcome, Err(Error::Unavailable { .. })),
            "{outcome:?}"
        );
        assert_eq!(proxy.lost.load(Ordering::SeqCst), 1);
        let outcome = reserve(&registry, &again, NOW).await;
        assert!(
            matches!(outcome, Err(Refusal::InProgress { .. })),
            "{outcome:?}"
        );

        // The answer to the commit is lost: it is there as well.
        proxy.is_armed.store(true, Ordering::SeqCst);
        let outcome = registry.commit(&[made(&what)], NOW).await;
        assert!(
            matches!(outcome, Err(Error::Unavailable { .. })),
            "{outcome:?}"
        );
        assert_eq!(proxy.lost.load(Ordering::SeqCst), 2);
        // Whoever takes it for failed closes nothing by it.
        registry
            .abandon(&[(what.serial.clone(), b"abandoned".to_vec())])
            .await
            .expect("asked");
        match reserve(&registry, &again, NOW).await {
            Ok(Reserved::Answered(certificate)) => {
                assert_eq!(certificate.serial, what.serial);
                assert_eq!(certificate.der, Some(made(&what).der));
            }
            other => panic!("{other:?}"),
        }
        let certificates = registry.certificates(&id("a")).await.expect("found");
        assert_eq!(certificates.len(), 1);
        assert_eq!(certificates[0].state, CertificateState::Issued);
        assert_eq!(registry.leaf_counts().await.expect("counted"), (0, 1));
    });
}
