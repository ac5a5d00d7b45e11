//! What a service may touch at most, as the operator writes it.
//!
//! Decides that no component is lent what the gateway remembers. What a component gets of it is decided by its statement, too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::file::{DirectoryPart, GrantsPart, OutputPart};
use super::http::{self, Certificates};
use super::keys::{self, Key, KeyGrant};
use super::text::Wrong;

/// What a service may touch at most.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Grants {
    pub(super) args: Option<Vec<String>>,
    pub(super) env: Vec<(String, String)>,
    pub(super) output: OutputPart,
    pub(super) directories: Vec<DirectoryPart>,
    pub(super) sockets: Option<Vec<String>>,
    pub(super) http_outgoing: Option<Vec<String>>,
    pub(super) http_authorities: Option<Certificates>,
    pub(super) wall_clock: bool,
    pub(crate) keys: Vec<KeyGrant>,
}

pub(super) fn grants(
    part: GrantsPart,
    folder: &Path,
    state: &Path,
    keys: &BTreeMap<String, Key>,
) -> Result<Grants, Wrong> {
    let mut guests = BTreeSet::new();
    let mut directories = Vec::with_capacity(part.directories.len());
    for entry in part.directories {
        let span = entry.span();
        let directory = entry.into_inner();
        if !directory.guest.starts_with('/') {
            let guest = &directory.guest;
            let message = format!("the component's path {guest:?} must start with /");
            return Err(Wrong::at(span, message));
        }
        if directory.most.is_some() && !directory.writable {
            let message = "most: nothing is written to a folder that is not `writable`".to_owned();
            return Err(Wrong::at(span, message));
        }
        if !guests.insert(directory.guest.clone()) {
            let guest = &directory.guest;
            return Err(Wrong::at(
                span,
                format!("the path {guest:?} is given twice"),
            ));
        }
        let host = folder.join(&directory.host);
        // By what they are, where they are there already.
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let (given, ours) = (real(&host), real(state));
        if given.starts_with(&ours) || ours.starts_with(&given) {
            let message = format!(
                "{} holds what the gateway remembers, or lies in it; no component may have it",
                host.display()
            );
            return Err(Wrong::at(span, message));
        }
        directories.push(DirectoryPart { host, ..directory });
    }
    let http_authorities = match &part.http_authorities {
        None => None,
        Some(path) => {
            let read = Certificates::read(folder.join(path.get_ref()));
            let wrong = |message| Wrong::at(path.span(), format!("http-authorities: {message}"));
            Some(read.map_err(wrong)?)
        }
    };
    Ok(Grants {
        http_outgoing: http::outgoing(part.http_outgoing.as_ref())?,
        http_authorities,
        args: part.args,
        env: part.env.into_iter().collect(),
        output: part.output,
        directories,
        sockets: part.sockets,
        wall_clock: part.wall_clock,
        keys: keys::grants(part.keys, keys)?,
    })
}
