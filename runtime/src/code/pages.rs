//! Memory of this process's own for code that stays until the process ends, in large pages where the system gives them.
//!
//! A system needs longer to find some megabytes in small pages than this library to read and to authenticate them. Where code has been
//! loaded from here, it is never given back, because Wasmtime tells no later than while it still needs it that a component is gone: for
//! hosts that run one component and end.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::mm::{
    Advice, MapFlags, MprotectFlags, ProtFlags, madvise, mmap_anonymous, mprotect, munmap,
};
use wasmtime::CustomCodeMemory;
use wasmtime::error::Context as _;

/// Whether this system is one on which code may be loaded from such memory. Others keep instructions apart from data near the processor,
/// which Wasmtime sees to where it maps memory itself.
pub(crate) const USABLE: bool = cfg!(all(target_os = "linux", target_arch = "x86_64"));

/// The pages of x86-64, in bytes (4 KiB and 2 MiB).
const SMALL: usize = 4 << 10;
pub(super) const LARGE: usize = 2 << 20;

/// Memory that is being written, in parts that are handed out once each.
#[derive(Debug)]
pub(super) struct Open {
    _mapped: Mapped,
    start: NonNull<u8>,
    /// How much is written, in bytes.
    bytes: usize,
    /// How much is a part.
    part: usize,
    /// The next part that nobody has.
    next: AtomicUsize,
}

// SAFETY: nobody else has this memory, and through a shared reference each part of it is handed out once, to one thread.
#[expect(unsafe_code, reason = "a pointer to memory that this type alone has")]
unsafe impl Send for Open {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "a pointer to memory that this type alone has")]
unsafe impl Sync for Open {}

/// A mapping. Dropped, it is gone.
#[derive(Debug)]
struct Mapped {
    at: NonNull<u8>,
    bytes: usize,
}

impl Drop for Mapped {
    #[expect(unsafe_code, reason = "the end of a mapping")]
    fn drop(&mut self) {
        // SAFETY: this type made the mapping, and it goes with the last that knew of it.
        let _ = unsafe { munmap(self.at.as_ptr().cast(), self.bytes) };
    }
}

impl Open {
    /// So many bytes, which are zero, to be written in parts of this size.
    pub(super) fn new(bytes: usize, part: usize) -> io::Result<Self> {
        let too_large = || io::Error::from(io::ErrorKind::OutOfMemory);
        let whole = bytes
            .checked_next_multiple_of(SMALL)
            .ok_or_else(too_large)?;
        // From one large page to the next some is not used, and not touched.
        let size = whole.checked_add(LARGE).ok_or_else(too_large)?;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        #[expect(unsafe_code, reason = "new memory")]
        // SAFETY: a new mapping where the system likes it touches no other.
        let at = unsafe { mmap_anonymous(std::ptr::null_mut(), size, access, MapFlags::PRIVATE) }?;
        let at = NonNull::new(at.cast::<u8>()).ok_or_else(too_large)?;
        let mapped = Mapped { at, bytes: size };
        let before = at.as_ptr().align_offset(LARGE);
        if before > LARGE {
            return Err(too_large());
        }
        #[expect(unsafe_code, reason = "an address within new memory")]
        // SAFETY: less than what was mapped beyond `whole`.
        let start = unsafe { at.add(before) };
        let large = whole - whole % LARGE;
        if large > 0 {
            #[expect(unsafe_code, reason = "advice about memory")]
            // SAFETY: of this very mapping, and nothing of it is lost by that. A system without large pages does not take it.
            let _ = unsafe { madvise(start.as_ptr().cast(), large, Advice::LinuxHugepage) };
        }
        Ok(Self {
            _mapped: mapped,
            start,
            bytes,
            part,
            next: AtomicUsize::new(0),
        })
    }

    /// The next part that nobody has, and its number.
    #[expect(clippy::mut_from_ref, reason = "each part is handed out once")]
    pub(super) fn next(&self) -> Option<(usize, &mut [u8])> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let from = number.checked_mul(self.part)?;
        let left = self.bytes.checked_sub(from).filter(|left| *left > 0)?;
        #[expect(unsafe_code, reason = "each part is handed out once")]
        // SAFETY: within the mapping, which lives as long as this; initialised, to zeros; and no number comes twice, so that nobody else
        // has this part for as long as this is borrowed. (A counter that began anew would have been asked as often as there are addresses.)
        let part = unsafe {
            std::slice::from_raw_parts_mut(self.start.add(from).as_ptr(), left.min(self.part))
        };
        Some((number, part))
    }

    /// Ends the writing: nothing is written there any more.
    pub(super) fn close(self) -> io::Result<Closed> {
        let whole = self.bytes.next_multiple_of(SMALL);
        #[expect(unsafe_code, reason = "memory that nobody writes to any more")]
        // SAFETY: of this very mapping, of which all parts have come back, because this is not borrowed.
        unsafe { mprotect(self.start.as_ptr().cast(), whole, MprotectFlags::READ) }?;
        Ok(Closed(self))
    }
}

/// Memory that is not written to any more.
#[derive(Debug)]
pub(super) struct Closed(Open);

impl Closed {
    pub(super) fn bytes(&self) -> &[u8] {
        #[expect(unsafe_code, reason = "memory that this type has")]
        // SAFETY: within the mapping, initialised, and written to by nobody since it was closed.
        unsafe {
            std::slice::from_raw_parts(self.0.start.as_ptr(), self.0.bytes)
        }
    }

    /// Leaves it where it is until this process ends.
    pub(super) fn stay(self) {
        std::mem::forget(self);
    }
}

/// Has Wasmtime ask here to make code executable, which it does not do itself with memory that it has not mapped.
#[derive(Debug)]
pub(crate) struct Executable;

impl CustomCodeMemory for Executable {
    fn required_alignment(&self) -> usize {
        SMALL
    }

    fn publish_executable(&self, code: *const u8, bytes: usize) -> wasmtime::Result<()> {
        let access = MprotectFlags::READ | MprotectFlags::EXEC;
        #[expect(
            unsafe_code,
            reason = "code becomes executable, and is written by nobody"
        )]
        // SAFETY: Wasmtime says of these whole pages that they are the code of one component, which it has mapped or was given for
        // good, and to which nobody writes any more.
        let closed = unsafe { mprotect(code.cast_mut().cast(), bytes, access) };
        // In the words that Wasmtime has for its own.
        closed.context("unable to make memory executable")
    }

    fn unpublish_executable(&self, code: *const u8, bytes: usize) -> wasmtime::Result<()> {
        #[expect(unsafe_code, reason = "code stops being executable")]
        // SAFETY: as above, and no code of it runs any more. It is not made writable: what could not be loaded is copied from here, and
        // what was loaded is not written again. Wasmtime takes no error here, and there is none but for what is not mapped.
        let _ = unsafe { mprotect(code.cast_mut().cast(), bytes, MprotectFlags::READ) };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_handed_out_once_and_all_of_them_are_what_was_written() {
        // More than two large pages, and no whole number of parts.
        let bytes = 2 * LARGE + 3 * SMALL + 7;
        let open = Open::new(bytes, 100_000).unwrap();
        let fill = || {
            while let Some((number, part)) = open.next() {
                assert!(part.iter().all(|byte| *byte == 0));
                part.fill(u8::try_from(number + 1).unwrap());
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(fill);
            fill();
        });
        assert!(open.next().is_none());
        let closed = open.close().unwrap();
        assert_eq!(closed.bytes().len(), bytes);
        let written = closed.bytes().iter().enumerate();
        for (place, byte) in written {
            assert_eq!(usize::from(*byte), place / 100_000 + 1);
        }
        assert_eq!(closed.bytes().as_ptr().align_offset(LARGE), 0);
    }

    #[test]
    fn what_is_closed_cannot_be_written_and_is_executed_only_where_wasmtime_says_so() {
        let access = |at: *const u8| {
            let maps = std::fs::read_to_string("/proc/self/maps").expect("it is there");
            let holds = |line: &&str| {
                let (range, _) = line.split_once(' ').expect("its form");
                let (from, to) = range.split_once('-').expect("its form");
                let number = |text| usize::from_str_radix(text, 16).expect("its form");
                (number(from)..number(to)).contains(&(at as usize))
            };
            let line = maps.lines().find(holds)?;
            line.split(' ').nth(1).map(str::to_owned)
        };
        let open = Open::new(3 * LARGE, LARGE).unwrap();
        let at = open.start.as_ptr().cast_const();
        assert_eq!(access(at).as_deref(), Some("rw-p"));
        let closed = open.close().unwrap();
        assert_eq!(access(at).as_deref(), Some("r--p"));
        Executable.publish_executable(at, LARGE).unwrap();
        assert_eq!(access(at).as_deref(), Some("r-xp"));
        assert_eq!(access(at.wrapping_add(LARGE)).as_deref(), Some("r--p"));
        Executable.unpublish_executable(at, LARGE).unwrap();
        assert_eq!(access(at).as_deref(), Some("r--p"));
        assert_eq!(closed.bytes()[3 * LARGE - 1], 0);
        // What is no page does not become executable, which is said; that it does not stop being so is no error.
        let nowhere = std::ptr::without_provenance(1);
        let refused = Executable.publish_executable(nowhere, SMALL).unwrap_err();
        assert!(format!("{refused:#}").contains("unable to make memory executable"));
        Executable.unpublish_executable(nowhere, SMALL).unwrap();
    }

    #[test]
    fn more_than_there_is_is_refused() {
        for bytes in [usize::MAX, usize::MAX - LARGE, isize::MAX as usize] {
            assert!(Open::new(bytes, 1).is_err());
        }
        let nothing = Open::new(0, 1).unwrap();
        assert!(nothing.next().is_none());
    }
}
