//! Memory that nobody can change any more, this process included: a file of the kernel's without a name, sealed.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use rustix::fs::{MemfdFlags, SealFlags, memfd_create};
use rustix::io::Errno;

/// Memory that is still being written.
pub(super) struct Open(File);

impl Open {
    /// Empty memory, which the system shows under this name. It can be started as a program by nobody, which is what some systems demand
    /// of all such memory (`vm.memfd_noexec`); code in it can be mapped nevertheless.
    pub(super) fn new(name: &str) -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let made = match memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
            // Linux before 6.3 does not know it, and demands nothing.
            Err(Errno::INVAL) => memfd_create(name, flags),
            made => made,
        };
        Ok(Self(File::from(made?)))
    }

    /// Writes all of these bytes to this place.
    pub(super) fn write_at(&self, bytes: &[u8], place: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, place)
    }

    /// Ends the writing, for everybody and for good.
    pub(super) fn seal(mut self) -> io::Result<Sealed> {
        self.0.rewind()?;
        let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&self.0, seals)?;
        Ok(Sealed(self.0))
    }
}

impl Write for Open {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Memory that stays as it is.
pub(super) struct Sealed(File);

impl Sealed {
    /// Where this process finds it as a file.
    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }

    /// A copy of what it holds.
    pub(super) fn read(&self) -> io::Result<Vec<u8>> {
        let mut file = &self.0;
        let mut bytes = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

impl From<Sealed> for OwnedFd {
    /// At its beginning, to be read by another process.
    fn from(Sealed(file): Sealed) -> Self {
        file.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_program_can_be_started_from_it_where_the_system_can_see_to_that() {
        use std::os::unix::fs::PermissionsExt as _;

        let open = Open::new("countersign-test").unwrap();
        let can = memfd_create("countersign-test", MemfdFlags::NOEXEC_SEAL).is_ok();
        let mode = open.0.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o111 == 0, can, "{mode:o}");
    }

    #[test]
    fn what_is_sealed_cannot_be_changed_even_by_who_holds_it() {
        let mut open = Open::new("countersign-test").unwrap();
        open.write_all(b"code").unwrap();
        let sealed = open.seal().unwrap();
        let mut again = File::options()
            .write(true)
            .open(sealed.path())
            .expect("its owner may open it");
        assert!(again.write_all(b"evil").is_err());
        assert!(again.set_len(2).is_err() && again.set_len(9).is_err());
        assert_eq!(sealed.read().unwrap(), b"code");
    }
}
