//! What the process takes from itself before anything of a stranger's runs in it: the file system but for what its
//! configuration names (landlock), and system calls that no gateway needs (seccomp). Neither can be given back.
//!
//! Decides what stays. It is a second wall behind Wasmtime's: whoever breaks out of a component finds this process unable to
//! reach another folder, to trace another process or to load anything into the kernel. What a component may touch is decided
//! elsewhere, and is less.

mod calls;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use countersign_keys::KeyUri;
use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible as _, PathBeneath, PathFd,
    Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus,
};
use serde::{Deserialize, Serialize};

use crate::config::{Config, Key, Work, is_missing};
use crate::finding::Finding;

/// What of landlock is used: everything up to the control of devices (Linux 6.10). An older kernel takes what it knows.
const LANDLOCK: ABI = ABI::V5;

/// What this program's libraries and the C library read, where it is there: what is linked, names and addresses, processors,
/// random numbers, this process.
const SYSTEM: &[&str] = &[
    "/bin",
    "/dev/null",
    "/dev/random",
    "/dev/urandom",
    "/dev/zero",
    "/etc",
    "/lib",
    "/lib64",
    "/proc",
    "/run/systemd/resolve",
    "/sys",
    "/usr",
];

/// Where a signer of the operator's own (`exec:`) finds what runs it and what it runs.
const PROGRAMS: &[&str] = &["/bin", "/lib", "/lib64", "/usr"];

/// Devices that hold keys and counters, by the beginning of their names in /dev.
const KEY_DEVICES: &[&str] = &["i2c-", "tpm", "tpmrm"];

/// How far a process is confined.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Confinement {
    pub(crate) files: Extent,
    pub(crate) calls: Extent,
    /// Whether it runs as root, and whether it has capabilities (capabilities(7)).
    root: bool,
    capabilities: bool,
    /// Under which reading is possible.
    #[serde(skip)]
    readable: Vec<PathBuf>,
    /// Under which everything but starting programs is possible.
    #[serde(skip)]
    writable: Vec<PathBuf>,
    /// What may be started, and under which everything may.
    #[serde(skip)]
    runnable: Vec<PathBuf>,
}

/// How much of a wall there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Extent {
    /// All of it.
    Whole,
    /// What this kernel knows of it.
    Part,
    /// None: this kernel has no such thing.
    None,
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Whole => "confined",
            Self::Part => "confined as far as this kernel can",
            Self::None => "not confined, because this kernel cannot",
        })
    }
}

/// What a configuration names.
#[derive(Debug, Default)]
struct Named {
    readable: Vec<PathBuf>,
    writable: Vec<PathBuf>,
    runnable: Vec<PathBuf>,
}

/// Takes from this thread, and from all that it starts from now on, whatever the configuration does not name. The process has no
/// other thread that matters yet.
///
/// # Errors
/// If the configuration demands a confinement that this kernel does not have; or the kernel refuses it otherwise.
pub(crate) fn confine(config: &Config) -> anyhow::Result<Confinement> {
    let named = Named::of(config)?;
    let confinement = confine_to(&named)?;
    if config.confine.required {
        for (what, extent) in [
            (
                "[confine]: the file system (landlock, Linux 6.10)",
                confinement.files,
            ),
            ("[confine]: system calls (seccomp)", confinement.calls),
        ] {
            if extent != Extent::Whole {
                bail!(
                    "{what} could not be confined wholly by this kernel, and mode = \"require\" demands it; boot another \
                     kernel, or set mode = \"auto\" and rely on the service manager's walls"
                );
            }
        }
    }
    Ok(confinement)
}

fn confine_to(named: &Named) -> anyhow::Result<Confinement> {
    let (files, real) = files(named).context("the file system cannot be confined")?;
    let calls = calls::refuse().context("system calls cannot be confined")?;
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let of = |key| status.lines().find_map(|line: &str| line.strip_prefix(key));
    let user = of("Uid:").and_then(|users| users.split_whitespace().nth(1));
    let is_nothing = |set: &str| set.trim().chars().all(|digit| digit == '0');
    Ok(Confinement {
        files,
        calls,
        root: user == Some("0"),
        capabilities: of("CapEff:").is_some_and(|set| !is_nothing(set)),
        readable: real.readable,
        writable: real.writable,
        runnable: real.runnable,
    })
}

impl Confinement {
    /// How each wall is, and what it has beside that it does not need.
    pub(crate) fn findings(&self, what: &str) -> Vec<Finding> {
        let wall = |(extent, name): (Extent, &str)| {
            let said = format!("{name}: {extent}");
            match extent {
                Extent::Whole => Finding::ok(what, said),
                Extent::Part | Extent::None => Finding::warn(
                    what,
                    said,
                    "Boot a kernel with landlock (6.10 or newer) and seccomp; until then the unit's walls are all there are.",
                ),
            }
        };
        let walls = [
            (self.files, "the file system"),
            (self.calls, "system calls"),
        ];
        let mut findings: Vec<_> = walls.into_iter().map(wall).collect();
        if self.capabilities {
            findings.push(Finding::warn(
                what,
                "it has capabilities that it does not need",
                "Take them from it: CapabilityBoundingSet= in its unit.",
            ));
        }
        findings
    }

    /// A path that a configuration names and this process cannot reach any more.
    pub(crate) fn beyond(&self, config: &Config) -> anyhow::Result<Option<PathBuf>> {
        if self.files == Extent::None {
            return Ok(None);
        }
        let named = Named::of(config)?;
        let within = |path: &Path, folders: &[PathBuf]| {
            let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
            folders.iter().any(|folder| real.starts_with(folder))
        };
        let is_readable =
            |path: &PathBuf| within(path, &self.readable) || within(path, &self.writable);
        let is_writable = |path: &PathBuf| within(path, &self.writable);
        let is_runnable = |path: &PathBuf| within(path, &self.runnable);
        let unreadable = named.readable.into_iter().find(|path| !is_readable(path));
        let unwritable = || named.writable.into_iter().find(|path| !is_writable(path));
        // Not every system has all of its own folders.
        let missed = |path: &PathBuf| path.exists() && !is_runnable(path);
        let not_runnable = || named.runnable.into_iter().find(missed);
        Ok(unreadable.or_else(unwritable).or_else(not_runnable))
    }
}

impl Named {
    fn of(config: &Config) -> anyhow::Result<Self> {
        let mut readable = config.confine.read.clone();
        let mut writable = config.confine.write.clone();
        let program = std::env::current_exe().context("this program's file is not known")?;
        readable.extend(folder_of(&program));
        readable.push(config.folder.clone());
        // A file is exchanged by giving its name to another, so that its folder is what counts.
        readable.extend(config.lists.iter().filter_map(|path| folder_of(path)));
        let anchors = config.bundles.iter().map(|bundles| &bundles.anchors);
        readable.extend(anchors.filter_map(|path| folder_of(path)));
        readable.extend(config.certificates().filter_map(folder_of));
        writable.push(config.state.clone());
        writable.extend(
            [&config.audit, &config.control]
                .into_iter()
                .filter_map(|path| folder_of(path)),
        );
        let keys = config.known.keys.values();
        readable.extend(
            keys.clone()
                .flat_map(Key::files)
                .filter_map(|path| folder_of(&path)),
        );
        let mut runnable = itself()?;
        for key in keys.filter(|key| matches!(key.source.uri, KeyUri::Exec(_))) {
            runnable.extend(PROGRAMS.iter().map(PathBuf::from));
            let programs = key.source.programs();
            runnable.extend(programs.iter().filter_map(|path| folder_of(path)));
        }
        for service in &config.services {
            // What a bundle brings lies in the state.
            if !is_missing(service) {
                readable.extend(folder_of(&service.place.component));
            }
            if let Work::Messages(messages) = &service.work {
                let files = messages.files();
                readable.extend(files.iter().filter_map(|path| folder_of(path)));
            }
            for (folder, is_writable) in service.folders() {
                if is_writable {
                    writable.push(folder.to_owned());
                } else {
                    readable.push(folder.to_owned());
                }
            }
        }
        Ok(Self {
            readable,
            writable,
            runnable,
        })
    }
}

/// What the kernel opens to start this program once more, as its compiler: its file, and that of its loader.
fn itself() -> anyhow::Result<Vec<PathBuf>> {
    let program = std::env::current_exe().context("this program's file is not known")?;
    let loader = loader().context("this program's loader is not known")?;
    Ok(std::iter::once(program).chain(loader).collect())
}

/// The file of the loader that the kernel put beside this program; one that is linked statically has none.
fn loader() -> io::Result<Option<PathBuf>> {
    let vector = std::fs::read("/proc/self/auxv")?;
    let (words, _) = vector.as_chunks::<{ size_of::<libc::c_ulong>() }>();
    let words: Vec<_> = words
        .iter()
        .map(|word| libc::c_ulong::from_ne_bytes(*word))
        .collect();
    let (pairs, _) = words.as_chunks::<2>();
    let base = pairs
        .iter()
        .find(|[kind, _]| *kind == libc::AT_BASE)
        .map(|[_, value]| *value);
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    Ok(maps.lines().find_map(|line| {
        let (start, _) = line.split_once('-')?;
        let start = libc::c_ulong::from_str_radix(start, 16).ok()?;
        (Some(start) == base).then_some(())?;
        Some(PathBuf::from(line.get(line.find('/')?..)?))
    }))
}

fn folder_of(path: &Path) -> Option<PathBuf> {
    let folder = path.parent()?;
    Some(if folder.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        folder.to_owned()
    })
}

/// Devices of this machine that may hold keys.
fn key_devices() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("/dev").into_iter().flatten().flatten();
    let is_one = |name: &str| KEY_DEVICES.iter().any(|prefix| name.starts_with(prefix));
    entries
        .filter(|entry| entry.file_name().to_str().is_some_and(is_one))
        .map(|entry| entry.path())
        .collect()
}

/// Confines this thread to these folders: how far, and the folders as they are. Nothing that is merely readable or writable can
/// be started: what a component writes into a folder of its own stays data. Libraries are read, and need no more.
fn files(named: &Named) -> anyhow::Result<(Extent, Named)> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let run = read | AccessFs::Execute;
    let write = AccessFs::from_all(LANDLOCK) & !BitFlags::from(AccessFs::Execute);
    let device = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev;
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(LANDLOCK))?
        .create()?;
    let mut allow = |path: &Path, access: BitFlags<AccessFs>| -> anyhow::Result<Option<PathBuf>> {
        let Ok(real) = path.canonicalize() else {
            // What is not there cannot be kept open. It is told when it is asked for.
            return Ok(None);
        };
        let file = PathFd::new(&real)?;
        let access = if real.is_dir() {
            access
        } else {
            access & AccessFs::from_file(LANDLOCK)
        };
        (&mut rules).add_rule(PathBeneath::new(file, access))?;
        Ok(Some(real))
    };
    for path in SYSTEM {
        let null = ["/dev/null", "/dev/zero"].contains(path);
        allow(Path::new(path), if null { device } else { read })?;
    }
    for path in key_devices() {
        allow(&path, device)?;
    }
    let mut real = Named::default();
    for (paths, access, found) in [
        (&named.readable, read, &mut real.readable),
        (&named.writable, write, &mut real.writable),
        (&named.runnable, run, &mut real.runnable),
    ] {
        for path in paths {
            found.extend(allow(path, access)?);
        }
    }
    let extent = match rules.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => Extent::Whole,
        RulesetStatus::PartiallyEnforced => Extent::Part,
        RulesetStatus::NotEnforced => Extent::None,
    };
    Ok((extent, real))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use countersign_testing::write_program;

    use super::*;

    #[test]
    fn th19_what_is_not_named_is_out_of_reach_and_the_kernel_s_doors_are_shut() {
        let (inside, outside) = (tempfile::tempdir(), tempfile::tempdir());
        let (inside, outside) = (inside.expect("a folder"), outside.expect("a folder"));
        for folder in [&inside, &outside] {
            std::fs::write(folder.path().join("file"), "text").expect("written");
        }
        let (readable, secret) = (inside.path().join("file"), outside.path().join("file"));
        // A thread confines itself and what it starts: the other tests stay as they are.
        let confined = std::thread::spawn(move || {
            let confinement = confine_to(&Named {
                readable: vec![inside.path().to_owned(), inside.path().join("missing")],
                writable: Vec::new(),
                runnable: itself().expect("known"),
            })
            .expect("confined");
            assert_eq!(std::fs::read_to_string(&readable).expect("named"), "text");
            let refused = |outcome: std::io::Result<()>| {
                let error = outcome.expect_err("out of reach");
                assert_eq!(
                    error.kind(),
                    std::io::ErrorKind::PermissionDenied,
                    "{error}"
                );
            };
            if confinement.files != Extent::None {
                refused(std::fs::read(&secret).map(drop));
                refused(std::fs::read_dir(outside.path()).map(drop));
                refused(std::fs::write(&readable, "changed"));
                refused(std::fs::write(inside.path().join("new"), "new"));
                let link = inside.path().join("link");
                refused(std::os::unix::fs::symlink(&secret, link));
            }
            assert_eq!(confinement.calls, Extent::Whole);
            // Which root may do everywhere else.
            refused(std::os::unix::fs::chroot("/"));
            // What a gateway needs goes on.
            let joined = std::thread::spawn(|| "a thread").join();
            assert_eq!(joined.expect("threads start"), "a thread");
            let status = std::fs::read_to_string("/proc/thread-self/status").expect("ours");
            for line in ["NoNewPrivs:\t1", "Seccomp:\t2"] {
                assert!(status.contains(line), "{status}");
            }
        });
        confined.join().expect("as it must be");
    }

    #[test]
    fn th19_more_rights_than_it_needs_are_said_at_its_start() {
        let confined = |files, calls, capabilities| Confinement {
            files,
            calls,
            root: false,
            capabilities,
            readable: Vec::new(),
            writable: Vec::new(),
            runnable: Vec::new(),
        };
        let doubts = |confinement: Confinement| -> Vec<String> {
            let findings = confinement.findings("this program");
            let doubtful = findings.into_iter().filter(|one| one.next.is_some());
            doubtful.map(|finding| finding.said).collect()
        };
        assert!(doubts(confined(Extent::Whole, Extent::Whole, false)).is_empty());
        assert_eq!(
            doubts(confined(Extent::Part, Extent::None, true)),
            [
                "the file system: confined as far as this kernel can",
                "system calls: not confined, because this kernel cannot",
                "it has capabilities that it does not need"
            ]
        );
    }

    #[test]
    fn th19_a_component_that_a_bundle_is_to_bring_opens_no_folder() {
        let text = r#"
            [gateway]
            state = "/state"

            [bundles]
            line = "plant"
            anchors = "/anchors/roots.pem"

            [[service]]
            name = "door"
            component = "/components/door.wasm"
            signed-as = "test:door"

            [[service]]
            name = "pump"
            component = "bundle:pump.wasm"
            signed-as = "test:pump"
        "#;
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("gateway.toml");
        std::fs::write(&file, text).expect("written");
        let config = Config::load(&file).expect("a configuration");
        let named = Named::of(&config).expect("this program is known");
        // Neither the folder from which the gateway was started, nor the root of all.
        let is_absolute = |path: &PathBuf| path.is_absolute() && path.parent().is_some();
        assert!(named.readable.iter().all(is_absolute), "{named:?}");
        let has = |path: &str| {
            named
                .readable
                .iter()
                .any(|folder| folder == Path::new(path))
        };
        assert!(has("/components") && has("/anchors"), "{named:?}");
    }

    #[test]
    fn th19_nothing_is_started_but_this_program_and_what_an_operator_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let program = std::fs::read("/bin/true").expect("readable");
        let [readable, writable, runnable] = ["readable", "writable", "runnable"].map(|name| {
            let folder = folder.path().join(name);
            std::fs::create_dir(&folder).expect("our own folder");
            write_program(&folder.join("program"), &program);
            folder
        });
        let start = |program: &Path| {
            let ran = Command::new(program)
                .arg("--list")
                .stdout(Stdio::null())
                .status();
            ran.map(|status| assert!(status.success(), "{}", program.display()))
        };
        // Without walls all of them start, so that the refusals below are the walls'.
        for folder in [&readable, &writable, &runnable] {
            start(&folder.join("program")).expect("started");
        }
        let confined = std::thread::spawn(move || {
            let mut may = itself().expect("known");
            assert_eq!(may.len(), 2, "{may:?}");
            may.push(runnable.clone());
            let confinement = confine_to(&Named {
                readable: vec![readable.clone()],
                writable: vec![writable.clone()],
                runnable: may,
            })
            .expect("confined");
            // As the compiler is started.
            start(Path::new("/proc/self/exe")).expect("this program starts");
            start(&runnable.join("program")).expect("named");
            if confinement.files == Extent::None {
                return;
            }
            let inside = [&readable, &writable].map(|folder| folder.join("program"));
            for program in inside
                .iter()
                .map(PathBuf::as_path)
                .chain([Path::new("/bin/true")])
            {
                let error = start(program).expect_err("data");
                let kind = std::io::ErrorKind::PermissionDenied;
                assert_eq!(error.kind(), kind, "{}: {error}", program.display());
            }
            // What was written just now is no better.
            let new = writable.join("new");
            std::fs::copy(runnable.join("program"), &new).expect("written");
            assert!(start(&new).is_err());
        });
        confined.join().expect("as it must be");
    }
}
