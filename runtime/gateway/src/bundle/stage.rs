//! From a file of which nothing is known to the unpacked folder of a bundle that verified.
//!
//! The file is read once, from front to end. First its index and lists, by which its signers are judged; only then is anything
//! of the rest written, into a folder that nothing is run from; and that folder gets its name, the digest of the index, only
//! when every part was the one that the index names and nothing followed.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::Context as _;
use countersign_format::{BundleIndex, Digest, DigestWriter, FormatError, PartKind};
use countersign_trust_store::{
    BundleReadError, BundleReader, Code, Crl, CrlNumber, Expectation, Issuer, Rejection,
    VerifiedBundle, pem,
};

use super::carried::MAX_NUMBER;
use super::{Applied, Places};
use crate::admission::{Host, Refusal};
use crate::config::{Bundles, Config};
use crate::state::Memory;

/// Most bytes of revocation lists in one bundle (96 MiB): they are held in memory while its signers are judged.
pub(super) const MAX_LISTS: u64 = 96 << 20;

/// A bundle that verified, unpacked.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) index: BundleIndex,
    /// SHA-256 of the index.
    pub(crate) digest: Digest,
    /// The devices that signed it, or the subjects of their certificates.
    pub(crate) signers: Vec<String>,
    /// The key of one of them, for whom its lists are counted: SHA-256 of its SubjectPublicKeyInfo.
    pub(crate) signed_by: Digest,
    /// The issuers of its signers' certificates.
    pub(crate) issuers: Vec<Issuer>,
    /// The lists in it.
    pub(crate) lists: Vec<Crl>,
    /// The numbers of the lists that were consulted, by their issuers' keys.
    pub(crate) numbers: Vec<(Digest, CrlNumber)>,
    /// Why it could not be unpacked, or withdraws too much: its lists count all the same, and nothing else of it.
    pub(crate) torn: Option<Refusal>,
}

/// Verifies and unpacks the file at `path`. What is applied already is not unpacked again.
///
/// # Errors
/// The refusal; nothing of the file is kept then. Where its index and lists verified and the rest is damaged, or has no room, that is
/// [`Staged::torn`].
pub(crate) fn stage(
    path: &Path,
    places: &Places,
    config: &Config,
    bundles: &Bundles,
    host: &Host,
    memory: &Memory,
) -> Result<Staged, Refusal> {
    let file = File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let mut reader = BundleReader::open(io::BufReader::new(file)).map_err(refusal)?;
    let index = reader.bundle().claimed_index().clone();
    let too_large = |what, limit, actual| {
        let error = FormatError::LimitExceeded {
            what,
            limit,
            actual,
        };
        Refusal::from(Rejection::from(error))
    };
    if index.total() > bundles.most {
        return Err(too_large(
            "bundle, for this gateway",
            bundles.most,
            index.total(),
        ));
    }
    let lists: u64 = index
        .fields()
        .parts
        .iter()
        .filter(|part| part.kind == PartKind::Lists)
        .map(|part| part.size)
        .sum();
    if lists > MAX_LISTS {
        return Err(too_large(
            "revocation lists in the bundle",
            MAX_LISTS,
            lists,
        ));
    }

    // The lists stand first.
    let mut state = memory.trust_state()?;
    host.lists.tell(&mut state);
    let (mut held, mut brought) = (Vec::new(), Vec::new());
    for part in &index.fields().parts {
        if part.kind != PartKind::Lists {
            break;
        }
        let mut bytes = Vec::new();
        let read = reader.next_part(&mut |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        });
        read.map_err(refusal)?;
        for list in pem::crls(&bytes)
            .with_context(|| format!("{:?} in the bundle holds no revocation list", part.name))?
        {
            let list = Crl::parse(&list).map_err(Refusal::from)?;
            state.add_parsed_crl(list.clone());
            brought.push(list);
            if brought.len() > MAX_NUMBER {
                let (most, actual) = (MAX_NUMBER as u64, brought.len() as u64);
                return Err(too_large("number of lists in the bundle", most, actual));
            }
        }
        held.push((part.name.clone(), bytes));
    }
    let verified = judge(&reader, bundles, config, host, memory, &state)?;
    let minimums = index.fields().minimums.iter().map(|least| &least.name);
    let configured = config.services.iter().map(|service| &service.signed_as);
    let room = memory.has_room_for(minimums, configured);
    let too_many = room.map_err(Rejection::from).map_err(Refusal::from).err();
    let mut staged = Staged {
        digest: verified.digest(),
        signers: verified
            .signers()
            .iter()
            .map(|signer| {
                let device = signer.chain().device();
                device.map_or_else(
                    || signer.chain().leaf().subject(),
                    |device| device.identity().to_string(),
                )
            })
            .collect(),
        signed_by: account_of(&verified),
        issuers: verified
            .signers()
            .iter()
            .flat_map(|signer| signer.chain().links())
            .map(|link| link.issuer().clone())
            .collect(),
        lists: brought,
        numbers: verified
            .signers()
            .iter()
            .flat_map(|signer| signer.chain().revocation().to_vec())
            .collect(),
        index,
        torn: None,
    };
    staged.torn = too_many.or_else(|| unpack(reader, &staged, held, places).err());
    Ok(staged)
}

/// Whose account its lists are counted for: of several signers one, always the same, so that nobody has more accounts than keys.
fn account_of(bundle: &VerifiedBundle) -> Digest {
    let signers = bundle.signers().iter();
    let keys = signers.map(|signer| signer.chain().key().spki_sha256());
    // A bundle has a signer.
    keys.min_by_key(|key| *key.as_bytes())
        .unwrap_or_else(|| Digest::of(b""))
}

fn judge<R: io::Read>(
    reader: &BundleReader<R>,
    bundles: &Bundles,
    config: &Config,
    host: &Host,
    memory: &Memory,
    state: &countersign_trust_store::TrustState,
) -> Result<VerifiedBundle, Refusal> {
    let policy = host
        .identity
        .policy(&config.policy)?
        .with_min_signers(bundles.signers)
        .map_err(anyhow::Error::from)?;
    let expected = Expectation {
        line: Some(&bundles.line),
        last: memory.last_bundle(&bundles.line)?,
        remembers: true,
    };
    let bundle = reader.bundle().clone();
    let verified = bundles
        .anchors()?
        .verify(bundle, &expected, &policy, &host.clock.now(), state);
    verified.map_err(Refusal::from)
}

/// Reads what is left, and gives the folder its name.
fn unpack<R: io::Read>(
    mut reader: BundleReader<R>,
    staged: &Staged,
    lists: Vec<(String, Vec<u8>)>,
    places: &Places,
) -> Result<(), Refusal> {
    let folder = places.unfinished()?;
    let parts = folder.path().join("parts");
    fs::create_dir(&parts).context("nothing can be unpacked")?;
    let failed = |error: io::Error| {
        anyhow::Error::new(error).context("the bundle cannot be unpacked; is there room?")
    };
    for (name, bytes) in &lists {
        put(&parts.join(name), bytes).map_err(failed)?;
    }
    let rest = staged.index.fields().parts.iter().skip(lists.len());
    for part in rest {
        let mut file = File::create_new(parts.join(&part.name)).map_err(failed)?;
        reader
            .next_part(&mut |piece| file.write_all(piece))
            .map_err(refusal)?;
        file.sync_all().map_err(failed)?;
    }
    // That nothing follows.
    reader.next_part(&mut |_| Ok(())).map_err(refusal)?;
    let envelope = reader.bundle().envelope().encode();
    put(&folder.path().join("envelope"), &envelope).map_err(failed)?;
    for synced in [&parts, folder.path()] {
        countersign_durable::sync_folder(synced).map_err(failed)?;
    }
    let place = places.of(staged.digest);
    // A power cut between taking away and putting in its place would leave none of what counts.
    if is_whole(places, staged) {
        return Ok(());
    }
    if place.exists() {
        fs::remove_dir_all(&place).map_err(failed)?;
    }
    countersign_durable::rename(folder.path(), &place).map_err(anyhow::Error::from)?;
    // It is no temporary folder any more.
    let _ = folder.keep();
    Ok(())
}

/// Whether a bundle lies in its place, byte for byte.
fn is_whole(places: &Places, staged: &Staged) -> bool {
    let Ok(there) = Applied::open(places, staged.digest) else {
        return false;
    };
    let parts = &staged.index.fields().parts;
    parts.iter().all(|part| {
        let mut digest = DigestWriter::new();
        let read = File::open(there.folder().join(&part.name))
            .and_then(|mut file| io::copy(&mut file, &mut digest));
        read.is_ok_and(|size| size == part.size) && digest.finish() == part.digest
    })
}

fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn refusal(error: BundleReadError) -> Refusal {
    match error {
        BundleReadError::Refused(rejection) => rejection.into(),
        BundleReadError::Io(error) => {
            let error = anyhow::Error::new(error);
            error
                .context(
                    "the bundle cannot be read, or its parts cannot be written; is there room?",
                )
                .into()
        }
    }
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        Self {
            revoked_by: rejection.revoking_list(),
            ..Self::of(rejection.code(), &rejection)
        }
    }
}

impl Refusal {
    /// What a bundle brought did not prove healthy.
    pub(crate) fn unhealthy(why: &str) -> Self {
        Self::of(Code::BundleUnhealthy, &why)
    }

    /// For what runs already, when a bundle says that nothing so old may.
    pub(crate) fn withdrawn(service: &str) -> Self {
        let why = format!("{service} ran, and a bundle withdrew its version");
        Self::of(Code::Withdrawn, &why)
    }
}
