//! Memory that only a start or a reload needed: the program's own pages are given back, and most of what was freed.
//!
//! Decides nothing that anybody notices but whoever looks how much memory this process has: a page of the program that is needed again
//! is there again with the next use, from the file or the system's copy of it, and so is new memory. A system that is short of memory
//! takes the program's pages by itself; what was freed and kept, it can only swap out.

use std::io;
use std::ops::Range;

use rustix::mm::{Advice, madvise};

/// Where the code and constants of the program lie in memory that this library is part of: for a host that runs for years.
///
/// Code that is needed once, to start, stays in memory for as long as the program runs, where a system has enough. Of a gateway
/// that is more than half of what it has.
#[derive(Debug, Default)]
pub struct Program(Vec<Range<usize>>);

impl Program {
    /// Of this process.
    ///
    /// # Errors
    /// If `/proc` does not say so.
    pub fn of_this_process() -> io::Result<Self> {
        let file = std::fs::read_link("/proc/self/exe")?;
        let text = std::fs::read_to_string("/proc/self/smaps")?;
        let file = file.to_string_lossy();
        let here = (Self::of_this_process as fn() -> io::Result<Self>) as usize;
        Ok(Self(constant(&text, &file, here)))
    }

    /// Gives back what is not used just now. Other threads may use it at the same time; what they need is there again at once.
    ///
    /// # Errors
    /// If the system does not take it.
    #[expect(
        unsafe_code,
        reason = "advice about memory is unsafe, because most of it may lose what is there"
    )]
    pub fn give_back(&self) -> io::Result<()> {
        for part in &self.0 {
            let start = std::ptr::without_provenance_mut(part.start);
            // SAFETY: nothing is lost. The kernel said of this range that it is this program's file, that it cannot be written, and
            // that no page of it is a copy of this process's own; nothing here makes a program's file writable in memory, and the
            // kernel lets nobody write to a file that runs. What is read there next is read from that file. It still is what the
            // kernel spoke of: a program's own segments are mapped for as long as it runs.
            unsafe { madvise(start, part.len(), Advice::LinuxDontNeed) }?;
        }
        Ok(())
    }
}

/// From how many bytes (256 KiB) a block is mapped for itself, and goes back to the system when it is freed; and how many more are kept at
/// the end of each arena (512 KiB).
#[cfg(target_env = "gnu")]
const LARGE: std::ffi::c_int = 256 << 10;
#[cfg(target_env = "gnu")]
const KEPT: std::ffi::c_int = 2 * LARGE;

/// Has the allocator keep little of what is freed, for a host that runs for years: to be called before there is a second thread.
///
/// With each larger block that is freed, glibc raises the size from which blocks are mapped for themselves, up to 32 MiB: what is smaller
/// comes from arenas, which shrink at their ends alone. And it gives threads up to eight arenas for each processor, each of which grows to
/// whatever its threads once needed. Here the size stays at 256 KiB, and there are as many arenas as processors, whatever the environment
/// says (mallopt(3)). With another allocator nothing is done.
pub fn keep_little_of_what_is_freed() {
    #[cfg(target_env = "gnu")]
    {
        let processors = std::thread::available_parallelism().ok();
        let arenas = processors.and_then(|count| std::ffi::c_int::try_from(count.get()).ok());
        let settings = [
            (libc::M_MMAP_THRESHOLD, Some(LARGE)),
            (libc::M_TRIM_THRESHOLD, Some(KEPT)),
            (libc::M_ARENA_MAX, arenas),
        ];
        for (what, value) in settings {
            let Some(value) = value else { continue };
            // What it does not take, it goes on without.
            #[expect(unsafe_code, reason = "a setting of the allocator")]
            // SAFETY: each is one word, two of which glibc itself changes while programs run; an allocation at the same time, of which
            // there is none where this is called as it should be, finds the old or the new one, and either is good. What was handed
            // out stays as it is.
            let _ = unsafe { libc::mallopt(what, value) };
        }
    }
}

/// How far segments of a program may lie apart, in bytes (64 KiB): the largest page.
const GAP: usize = 64 << 10;

/// The ranges of this file, loaded as the program that has the address `here`, which cannot be written, and of which no page was ever
/// changed (proc(5), `/proc/pid/smaps`). Who reads the file's symbols may have mapped it a second time, for as long as he likes.
fn constant(smaps: &str, file: &str, here: usize) -> Vec<Range<usize>> {
    let mut of_file = Vec::<Mapped>::new();
    let mut next = None;
    for line in smaps.lines() {
        if let Some(mapped) = mapped(line, file) {
            of_file.extend(next.take());
            next = mapped;
        } else if let Some(next) = &mut next
            && let Some(("Anonymous" | "Swap", own)) = line.split_once(':')
        {
            // Relocated once, for all that it cannot be written since; what was changed may be swapped out instead.
            next.unchanged += u8::from(own.trim() == "0 kB");
        }
    }
    of_file.extend(next);
    let program = of_file
        .chunk_by(|one, next| {
            let apart = next.range.start.checked_sub(one.range.end);
            apart.is_some_and(|apart| apart <= GAP) && next.offset > one.offset
        })
        .find(|all| all.iter().any(|one| one.range.contains(&here)));
    // The system says both.
    let constant = program.into_iter().flatten();
    let constant = constant.filter(|one| !one.can_be_written && one.unchanged == 2);
    constant.map(|one| one.range.clone()).collect()
}

/// A range of the program's file.
struct Mapped {
    range: Range<usize>,
    /// Where in the file it begins, in bytes.
    offset: u64,
    can_be_written: bool,
    /// Of how many ways in which a page may be this process's own it is said that there is none.
    unchanged: u8,
}

/// Of a line that begins a range, that range, if it is one of the file's; `None` for any other line.
#[expect(
    clippy::option_option,
    reason = "a line of another kind, and a range of another kind"
)]
fn mapped(line: &str, file: &str) -> Option<Option<Mapped>> {
    let mut words = line.splitn(6, ' ');
    let (start, end) = words.next()?.split_once('-')?;
    let hexadecimal = |text| usize::from_str_radix(text, 16).ok();
    let range = hexadecimal(start)?..hexadecimal(end)?;
    let can_be_written = !matches!(words.next()?, "r-xp" | "r--p");
    let offset = u64::from_str_radix(words.next()?, 16).ok()?;
    // Behind device and inode; it may hold spaces.
    let path = words.nth(2).unwrap_or_default().trim_start();
    Some((path == file && !range.is_empty()).then_some(Mapped {
        range,
        offset,
        can_be_written,
        unchanged: 0,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
00400000-00500000 r--p 00000000 fe:00 12345                      /opt/our own/gateway (deleted)
Rss:                1024 kB
Anonymous:             0 kB
Swap:                  0 kB
VmFlags: rd mr mw me
00500000-01500000 r-xp 00100000 fe:00 12345                      /opt/our own/gateway (deleted)
Anonymous:             0 kB
Swap:                  0 kB
01500000-01600000 r--p 01100000 fe:00 12345                      /opt/our own/gateway (deleted)
Anonymous:           988 kB
Swap:                  0 kB
01600000-01700000 r--p 01200000 fe:00 12345                      /opt/our own/gateway (deleted)
Anonymous:             0 kB
Swap:                988 kB
01700000-01710000 rw-p 01300000 fe:00 12345                      /opt/our own/gateway (deleted)
Anonymous:             0 kB
Swap:                  0 kB
7e0000000000-7e0000800000 r--p 00000000 fe:00 12345                      /opt/our own/gateway (deleted)
Anonymous:             0 kB
Swap:                  0 kB
7f0000000000-7f0000001000 r-xp 00000000 00:01 99                 /memfd:countersign-code (deleted)
Anonymous:             0 kB
Swap:                  0 kB
7f0000002000-7f0000003000 rw-p 00000000 00:00 0
Anonymous:             4 kB
Swap:                  0 kB
";

    #[test]
    fn only_what_is_the_files_own_and_unchanged_is_given_back() {
        let file = "/opt/our own/gateway (deleted)";
        let ranges = constant(SMAPS, file, 0x60_0000);
        assert_eq!(ranges, [0x40_0000..0x50_0000, 0x50_0000..0x150_0000]);
        assert!(constant(SMAPS, "/opt/our own/gateway", 0x60_0000).is_empty());
        assert!(constant("Anonymous: 0 kB\nSwap: 0 kB\n-\n", "", 0).is_empty());
        // The same file once more, for its symbols; and no code of it that this is.
        let again = constant(SMAPS, file, 0x7e00_0000_1000);
        assert_eq!(
            again,
            std::iter::once(0x7e00_0000_0000..0x7e00_0080_0000).collect::<Vec<_>>()
        );
        assert!(constant(SMAPS, file, 0x7f00_0000_0000).is_empty());
        // Right behind the program, too.
        let right_behind = SMAPS
            .replace("7e0000000000-7e0000800000", "01710000-01f10000")
            .replace("rw-p 01300000", "r--p 01300000");
        assert_eq!(constant(&right_behind, file, 0x60_0000).len(), 3);
        let again = constant(&right_behind, file, 0x171_0000);
        assert!(matches!(&again[..], [only] if only.start == 0x171_0000));
        // What a system does not say is not taken for granted.
        for unsaid in ["Anonymous", "Swap"] {
            let silent = SMAPS.replace(unsaid, "Unknown");
            assert!(constant(&silent, file, 0x60_0000).is_empty());
        }
    }

    /// Kilobytes of this process's memory that a line of `/proc/self/status` tells (proc(5)).
    fn resident(what: &str) -> usize {
        let status = std::fs::read_to_string("/proc/self/status").expect("it is there");
        let line = status.lines().find_map(|line| line.strip_prefix(what));
        let amount = line.and_then(|line| line.trim().strip_suffix("kB"));
        amount.expect("its form").trim().parse().expect("a number")
    }

    #[test]
    fn a_program_that_gave_its_pages_back_goes_on() {
        let program = Program::of_this_process().expect("/proc");
        assert!(program.0.iter().any(|range| range.len() > 1 << 20));
        let before = resident("RssFile:");
        // Others run beside this, and have theirs back soon; the libraries keep theirs.
        let after = (0..20).map(|_| {
            program.give_back().expect("taken");
            resident("RssFile:")
        });
        let least = after.min().expect("twenty");
        assert!(least < before, "{least} {before}");
        let digest = crate::format::Digest::of(b"abc").to_string();
        assert!(digest.starts_with("ba7816bf") && digest.ends_with("f20015ad"));
    }

    #[cfg(target_env = "gnu")]
    #[test]
    fn what_is_freed_goes_back_whatever_was_freed_before() {
        keep_little_of_what_is_freed();
        // By itself glibc keeps blocks of this size once it was given back one.
        let large = || std::hint::black_box(vec![1_u8; 24 << 20]);
        drop(large());
        let falls = (0..20).map(|_| {
            let block = large();
            let before = resident("RssAnon:");
            drop(block);
            before.saturating_sub(resident("RssAnon:"))
        });
        // Others run beside this, and take as they please.
        let most = falls.max().expect("twenty");
        assert!(most > 16 << 10, "{most}");
    }
}
