//! What this machine lacks for now: room on a disk, memory, descriptors, processes, an answer of its disk. It may come back by itself, and
//! whatever was refused for want of it is tried again.

use std::io::{Error, ErrorKind};

use rustix::io::Errno;

/// What a call says for want of something (errno(3)).
const LACKS: [Errno; 9] = [
    // Of fork(2): no room for another process.
    Errno::AGAIN,
    Errno::DQUOT,
    Errno::IO,
    Errno::MFILE,
    Errno::NFILE,
    Errno::NOMEM,
    Errno::NOSPC,
    Errno::ROFS,
    Errno::STALE,
];

/// Whether something failed for want of something, and not for what was asked.
pub(crate) fn is_of_lack(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref());
    causes.any(says_lack)
}

/// Whether this is what a call says for want of something.
pub(crate) fn says_lack(error: &Error) -> bool {
    let number = error.raw_os_error().map(Errno::from_raw_os_error);
    let lacks = number.is_some_and(|number| LACKS.contains(&number));
    lacks || error.kind() == ErrorKind::StorageFull
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn th04_what_a_machine_lacks_is_told_from_what_it_was_asked_for() {
        let of = |number: i32| {
            anyhow::Error::new(Error::from_raw_os_error(number))
                .context("the file could not be read")
        };
        // EIO, EAGAIN, ENOMEM, EMFILE, ENOSPC; and ENOENT, EACCES, EINVAL.
        assert!(
            [5, 11, 12, 24, 28]
                .into_iter()
                .all(|number| is_of_lack(&of(number)))
        );
        assert!(
            ![2, 13, 22]
                .into_iter()
                .any(|number| is_of_lack(&of(number)))
        );
        let full = Error::new(ErrorKind::StorageFull, "no room for records");
        assert!(is_of_lack(&anyhow::Error::new(full).context("not written")));
        assert!(!is_of_lack(&anyhow::anyhow!("no room")));
    }
}
