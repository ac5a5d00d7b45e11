//! Whether a folder lies on storage that forgets: then nothing in it outlives a restart of the machine, and older versions and
//! lists are not noticed after one.

use std::path::Path;

/// File systems that live in memory.
const FORGETFUL: &[&str] = &["ramfs", "tmpfs"];

/// The file system in memory that the folder lies on, if it does.
pub(crate) fn forgets(folder: &Path) -> Option<&'static str> {
    let folder = folder.canonicalize().ok()?;
    // Where the kernel does not say it, nothing is said of it.
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    kind(&mounts, &folder)
}

/// proc_pid_mountinfo(5): `36 35 98:0 /root /mount-point options… - type source options`.
fn kind(mounts: &str, folder: &Path) -> Option<&'static str> {
    let mount = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let point = before.split(' ').nth(4)?.to_owned();
        let kind = after.split(' ').next()?.to_owned();
        folder
            .starts_with(&point)
            .then(|| (Path::new(&point).components().count(), kind))
    };
    // The innermost, and of several in one place the last.
    let (_, kind) = mounts
        .lines()
        .filter_map(mount)
        .max_by_key(|(depth, _)| *depth)?;
    FORGETFUL
        .iter()
        .copied()
        .find(|forgetful| *forgetful == kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn th21_a_folder_on_storage_that_forgets_is_noticed() {
        let mounts = "\
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 21 0:26 / /run rw,nosuid shared:5 - tmpfs tmpfs rw,size=400k
31 21 0:27 / /var/lib rw - tmpfs tmpfs rw
32 31 8:2 / /var/lib/countersign rw - ext4 /dev/sda2 rw
33 21 0:28 / /running rw - ramfs none rw
";
        for (folder, expected) in [
            ("/etc/countersign", None),
            ("/run/countersign", Some("tmpfs")),
            ("/var/lib/other", Some("tmpfs")),
            ("/var/lib/countersign", None),
            ("/var/lib/countersign/state", None),
            ("/running/state", Some("ramfs")),
        ] {
            assert_eq!(kind(mounts, Path::new(folder)), expected, "{folder}");
        }
        assert_eq!(kind("", Path::new("/")), None);
    }
}
