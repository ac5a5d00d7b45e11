//! Whether what decides over a gateway is its own: its program, its configuration, the folders that they lie in, the place of
//! what it remembers.
//!
//! Looked at before every start. A signature protects a component wherever it lies; the program that checks it, and the file that
//! says what it may touch, are protected by nothing but their owners and modes.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::config::{Config, Work};
use crate::finding::{Finding, Weight};

/// The bits of a mode that let the group and all others write, and the one that keeps them from exchanging what is another's.
const OF_GROUP: u32 = 0o020;
const OF_OTHERS: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// What forgets with the power, and what lies on another machine or promises nothing about what was synced.
const FORGETFUL: &[&str] = &["ramfs", "tmpfs"];
const DISTANT: &[&str] = &[
    "9p",
    "afs",
    "ceph",
    "cifs",
    "glusterfs",
    "nfs",
    "nfs4",
    "smb3",
    "virtiofs",
];

/// Demands before a start that nobody else can change what decides over the gateway: what was doubtful.
///
/// # Errors
/// If somebody can; the message says what to do.
pub(crate) fn demand(path: &Path, config: &Config) -> anyhow::Result<Vec<Finding>> {
    let mut findings = look(path, config)?;
    if let Some(finding) = findings
        .iter()
        .find(|finding| finding.weight == Weight::Refuse)
    {
        let next = finding.next.as_deref().unwrap_or_default();
        bail!("{}: {}; next: {next}", finding.what, finding.said);
    }
    // What is forgotten with the power is the operator's to decide, and is said at every start.
    findings.push(storage(&config.state));
    findings.retain(|finding| finding.weight != Weight::Ok);
    Ok(findings)
}

/// Looks at everything but the storage.
///
/// # Errors
/// If it cannot be looked at.
pub(crate) fn look(path: &Path, config: &Config) -> anyhow::Result<Vec<Finding>> {
    let ours = this_user()?;
    let program = std::env::current_exe().context("this program's file is not known")?;
    let mut findings = vec![
        owned("this program", &program, ours),
        owned("this program's folder", &folder_of(&program), ours),
        owned("the configuration", path, ours),
        owned("the configuration's folder", &config.folder, ours),
    ];
    findings.extend(all_owned(&named(config), ours));
    // Nothing is believed because it lies there: a group of its administrators may.
    for (what, file) in [
        ("the audit log's folder", &config.audit),
        ("the socket's folder", &config.control),
    ] {
        let mut finding = owned(what, &folder_of(file), ours);
        if finding.weight == Weight::Refuse && !open_to_all(&folder_of(file)) {
            finding.weight = Weight::Warn;
        }
        findings.push(finding);
    }
    findings.extend(above(&[&program, &config.folder, &config.state]));
    findings.push(if ours == 0 {
        Finding::root("user")
    } else {
        Finding::ok("user", format!("it runs as user {ours}"))
    });
    Ok(findings)
}

/// Demands of a configuration that is to count from now on that nobody else can change the files that it names.
///
/// # Errors
/// If somebody can; the message says what to do.
pub(crate) fn demand_named(config: &Config) -> anyhow::Result<()> {
    let ours = this_user()?;
    let found = all_owned(&named(config), ours);
    match found.iter().find(|found| found.weight == Weight::Refuse) {
        Some(found) => {
            let next = found.next.as_deref().unwrap_or_default();
            bail!("{}: {}; next: {next}", found.what, found.said)
        }
        None => Ok(()),
    }
}

/// What to say to who is not the user to whom the memory belongs.
pub(crate) fn another_user(state: &Path) -> Option<Finding> {
    let owner = fs::symlink_metadata(state).ok()?.uid();
    let ours = this_user().ok()?;
    (owner != ours).then(|| {
        let state = state.display();
        Finding::refuse(
            "user",
            format!("user {ours} looks, and {state} belongs to user {owner}"),
            format!(
                "Look as that user: runuser -u $(stat -c %U {state}) -- countersign-gateway doctor"
            ),
        )
    })
}

fn this_user() -> anyhow::Result<u32> {
    let process = fs::metadata("/proc/self").context("this process cannot be looked at")?;
    Ok(process.uid())
}

/// A file that a configuration names, and what it is for.
type Named = (String, PathBuf);

/// The files on which it rests what a configuration says: code that runs for keys, their secrets and certificates, and whom the
/// gateway believes in its connections and in bundles. Components and lists answer for themselves.
fn named(config: &Config) -> Vec<Named> {
    let mut named: Vec<Named> = Vec::new();
    for (name, key) in &config.known.keys {
        let programs = key.source.programs().into_iter();
        named.extend(programs.map(|file| (format!("what runs for the key {name}"), file)));
        let files = key.files().into_iter();
        named.extend(files.map(|file| (format!("a file of the key {name}"), file)));
    }
    let authorities = config.certificates();
    named.extend(authorities.map(|file| ("authorities".to_owned(), file.to_owned())));
    for service in &config.services {
        if let Work::Messages(messages) = &service.work {
            let files = messages.files().into_iter();
            named.extend(files.map(|file| ("whom a broker is believed by".to_owned(), file)));
        }
    }
    if let Some(bundles) = &config.bundles {
        named.push(("the roots of bundles".to_owned(), bundles.anchors.clone()));
        let roots = bundles.download.roots.iter();
        named.extend(roots.map(|file| ("the roots of downloads".to_owned(), file.clone())));
    }
    named
}

/// What is wrong with these files, and with the folders in which they have their names; or that nothing is.
fn all_owned(named: &[Named], ours: u32) -> Vec<Finding> {
    let mut seen = BTreeSet::new();
    let mut findings = Vec::new();
    for (what, file) in named {
        // The name that is given, and the one that a link leads to.
        for path in [Some(file.clone()), file.canonicalize().ok()]
            .into_iter()
            .flatten()
        {
            let folder = folder_of(&path);
            for (what, path) in [
                (what.clone(), path),
                (format!("the folder of {what}"), folder),
            ] {
                // What is not there is missed by whoever needs it.
                if path.exists() && seen.insert(path.clone()) {
                    findings.push(owned(&what, &path, ours));
                }
            }
        }
    }
    let count = findings.len();
    findings.retain(|finding| finding.weight != Weight::Ok);
    if findings.is_empty() && count > 0 {
        findings.push(Finding::ok(
            "what the configuration names",
            format!("{count} files and folders are their owners' alone"),
        ));
    }
    findings
}

/// Whether nobody but this user and root can change what is at a path.
fn owned(what: &str, path: &Path, ours: u32) -> Finding {
    let shown = path.display();
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => {
            return Finding::refuse(
                what,
                format!("{shown} cannot be looked at: {error}"),
                "Correct what the message names.",
            );
        }
    };
    if ![0, ours].contains(&metadata.uid()) {
        return Finding::refuse(
            what,
            format!(
                "{shown} belongs to user {}, who can change it",
                metadata.uid()
            ),
            format!("Give it to root: chown root {shown}"),
        );
    }
    if metadata.mode() & (OF_GROUP | OF_OTHERS) == 0 {
        return Finding::ok(what, format!("{shown} is its owner's alone"));
    }
    let said = format!(
        "others than its owner may write {shown} (mode {:o})",
        metadata.mode() & 0o7777
    );
    let next = format!("Take that away: chmod go-w {shown}");
    if is_sticky_folder(&metadata) {
        Finding::warn(what, said, next)
    } else {
        Finding::refuse(what, said, next)
    }
}

fn is_sticky_folder(metadata: &Metadata) -> bool {
    metadata.is_dir() && metadata.mode() & STICKY != 0
}

fn open_to_all(path: &Path) -> bool {
    fs::metadata(path)
        .is_ok_and(|metadata| metadata.mode() & OF_OTHERS != 0 && !is_sticky_folder(&metadata))
}

/// Folders above these that all may write: whoever may can put another folder in their place.
fn above(paths: &[&Path]) -> Vec<Finding> {
    let real = paths.iter().filter_map(|path| path.canonicalize().ok());
    let mut folders: Vec<PathBuf> = real
        .flat_map(|path| {
            path.ancestors()
                .skip(2)
                .map(Path::to_owned)
                .collect::<Vec<_>>()
        })
        .filter(|folder| open_to_all(folder))
        .collect();
    folders.sort();
    folders.dedup();
    let warn = |folder: PathBuf| {
        let shown = folder.display();
        Finding::warn(
            "a folder above",
            format!("all may write {shown}, and so exchange what is in it"),
            format!("Take that away: chmod o-w {shown}"),
        )
    };
    folders.into_iter().map(warn).collect()
}

/// Whether what is remembered stays when the power goes.
pub(crate) fn storage(state: &Path) -> Finding {
    let what = "storage";
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let real = state.canonicalize().unwrap_or_else(|_| state.to_owned());
    let shown = state.display();
    let Some(kind) = file_system(&mounts, &real) else {
        return Finding::warn(
            what,
            format!("on what {shown} lies could not be found out"),
            "See to it that it is a disk of this machine.",
        );
    };
    let next = "Give [gateway] state a folder on a disk of this machine.";
    if FORGETFUL.contains(&kind) {
        let said = format!(
            "{shown} lies in memory ({kind}): which versions must not come back is forgotten with the power"
        );
        return Finding::refuse(what, said, next);
    }
    if DISTANT.contains(&kind) || kind.starts_with("fuse") {
        let said = format!("{shown} lies on {kind}, which may lose what it said was written");
        return Finding::warn(what, said, next);
    }
    Finding::ok(what, format!("{shown} lies on {kind}"))
}

/// The kind of the file system that holds a path (proc_pid_mountinfo(5)).
fn file_system<'a>(mounts: &'a str, path: &Path) -> Option<&'a str> {
    let holds = mounts.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let place = left.split(' ').nth(4)?.replace("\\040", " ");
        let kind = right.split(' ').next()?;
        path.starts_with(&place).then_some((place.len(), kind))
    });
    // Of mounts at one place the last is seen.
    holds
        .max_by_key(|(length, _)| *length)
        .map(|(_, kind)| kind)
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn th19_what_others_may_change_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        fs::write(&path, "").expect("written");
        let ours = fs::metadata(&path).expect("ours").uid();
        let weight = |path: &Path, mode, user| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
            owned("it", path, user).weight
        };
        assert_eq!(weight(&path, 0o644, ours), Weight::Ok);
        assert_eq!(weight(&path, 0o664, ours), Weight::Refuse);
        assert_eq!(weight(&path, 0o646, ours), Weight::Refuse);
        assert_eq!(weight(folder.path(), 0o755, ours), Weight::Ok);
        assert_eq!(weight(folder.path(), 0o777, ours), Weight::Refuse);
        assert_eq!(weight(folder.path(), 0o1777, ours), Weight::Warn);
        if ours != 0 {
            assert_eq!(weight(&path, 0o644, ours + 1), Weight::Refuse);
        }
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("ours");
        let inner = folder.path().join("a/b");
        fs::create_dir_all(&inner).expect("made");
        let found = above(&[&inner]);
        let is_named =
            |finding: &Finding| finding.said.contains(&folder.path().display().to_string());
        assert!(found.iter().any(is_named), "{found:?}");
    }

    #[test]
    fn th06_th19_what_a_configuration_rests_on_is_nobody_elses_to_change() {
        let folder = tempfile::tempdir().expect("a folder");
        let mode = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
        };
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("open")).expect("ours");
        for file in ["program", "pin", "chain.pem", "roots.pem", "open/module.so"] {
            fs::write(at(file), "").expect("ours");
            mode(&at(file), 0o644);
        }
        std::os::unix::fs::symlink(at("open/module.so"), at("module.so")).expect("a link");
        let text = format!(
            "[bundles]\nline = \"plant\"\nanchors = \"roots.pem\"\n\
             [[key]]\nname = \"one\"\nuri = \"exec:{program} 3\"\nchain = \"chain.pem\"\nsecret = \"pin\"\n\
             [[key]]\nname = \"two\"\nuri = \"pkcs11:token=a;object=b?module-path={module}\"\nchain = \"missing.pem\"\n",
            program = at("program").display(),
            module = at("module.so").display(),
        );
        fs::write(at("gateway.toml"), text).expect("ours");
        mode(&at("gateway.toml"), 0o644);
        let config = Config::load(&at("gateway.toml")).expect("good");
        demand_named(&config).expect("all of it is ours");
        let looked = || look(&at("gateway.toml"), &config).expect("seen");
        let told = |findings: &[Finding], path: &Path| {
            let shown = path.display().to_string();
            findings
                .iter()
                .any(|found| found.weight == Weight::Refuse && found.said.contains(&shown))
        };
        for file in [
            "program",
            "pin",
            "chain.pem",
            "roots.pem",
            "open/module.so",
            "open",
        ] {
            assert!(!told(&looked(), &at(file)), "{file}");
            let before = fs::metadata(at(file)).expect("there").permissions();
            mode(&at(file), if file == "open" { 0o777 } else { 0o664 });
            let error = demand_named(&config).expect_err(file).to_string();
            assert!(error.contains("chmod go-w"), "{error}");
            // The same is told at a start, and by who asks what is wrong.
            assert!(told(&looked(), &at(file)), "{file}");
            fs::set_permissions(at(file), before).expect("ours");
        }
        demand_named(&config).expect("all of it is ours again");
    }

    #[test]
    fn th21_what_forgets_with_the_power_is_found() {
        let mounts = "\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:5 / /run rw,nosuid - tmpfs tmpfs rw
24 22 0:6 / /srv/a\\040b rw - nfs4 server:/b rw
25 22 0:7 / /var/lib rw - ext4 /dev/sda2 rw
26 22 0:8 / /var/lib rw - tmpfs tmpfs rw
";
        let kind = |path: &str| file_system(mounts, Path::new(path));
        assert_eq!(kind("/etc/countersign"), Some("ext4"));
        assert_eq!(kind("/run/countersign"), Some("tmpfs"));
        assert_eq!(kind("/running"), Some("ext4"));
        assert_eq!(kind("/srv/a b/c"), Some("nfs4"));
        assert_eq!(kind("/var/lib/countersign"), Some("tmpfs"));
        assert_eq!(file_system("", Path::new("/")), None);
        // Where the kernel keeps what it says of itself, nothing stays.
        assert_ne!(storage(Path::new("/dev/shm")).weight, Weight::Ok);
    }
}
