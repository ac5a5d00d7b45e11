//! A virtual machine with Debian on it: made once for each release, and every time as it was made.
//!
//! Its disk is never written: what happens on it is gone when it is switched off. It has a TPM (swtpm) and no network.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::process::{capture, run, say, target};

/// What is installed beside Debian's smallest: a kernel, a service manager, and what the walk asks.
const PACKAGES: &[&str] = &[
    "bash-completion",
    "curl",
    "dbus",
    "e2fsprogs",
    "iproute2",
    "jq",
    "kmod",
    "linux-image-amd64",
    "man-db",
    "openssl",
    "procps",
    "systemd",
    "systemd-sysv",
    "tpm2-tools",
    "udev",
    "zstd",
];

/// The disk's size; of what is empty nothing is kept.
const DISK: &str = "4G";

/// How long it may run before it is taken for stuck: emulated, it is some ten times slower.
const MOST: Duration = Duration::from_secs(2_700);

/// The unit that walks. It is not waited for, so that the machine is up while it runs.
const UNIT: &str = "\
[Unit]
Description=The walk
RequiresMountsFor=/goods
After=countersign-gateway.service

[Service]
Type=exec
ExecStart=/bin/sh -u /goods/walk.sh
StandardInput=null
StandardOutput=file:/dev/ttyS1
StandardError=inherit

[Install]
WantedBy=multi-user.target
";

/// A machine that is switched off.
pub(super) struct Machine {
    folder: PathBuf,
    disk: PathBuf,
}

/// A process that ends when this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Machine {
    /// The machine with this release, and with what these packages depend on; but not with them.
    pub(super) fn prepare(release: &str, packages: &[PathBuf]) -> Result<Self> {
        ensure!(
            release.chars().all(|letter| letter.is_ascii_alphanumeric()),
            "{release} is no release of Debian"
        );
        let folder = target().join("machines").join(release);
        let (system, disk) = (folder.join("system"), folder.join("disk"));
        fs::create_dir_all(&folder)?;
        let done = folder.join("done");
        let wanted = wanted(packages)?;
        if fs::read_to_string(&done).is_ok_and(|have| have == wanted) {
            return Ok(Self { folder, disk });
        }
        let _ = fs::remove_file(&done);
        if !system.join("etc/debian_version").exists() || system.join("debootstrap").exists() {
            // One that was cut off may have left the kernel's file systems mounted in there.
            run(Command::new("rm")
                .args(["-rf", "--one-file-system"])
                .arg(&system))?;
            say(&format!("fetching {release}, once (some minutes)"));
            let mut debootstrap = Command::new("debootstrap");
            debootstrap.args(["--variant=minbase", release]);
            run(debootstrap.arg(&system).arg(mirror()?))?;
        }
        say("installing what the packages depend on");
        let mut install = Command::new("chroot");
        install
            .arg(&system)
            .env("DEBIAN_FRONTEND", "noninteractive");
        install.args(["apt-get", "install", "-qq", "-y", "--no-install-recommends"]);
        run(install.args(wanted.split_whitespace()))?;

        fs::write(system.join("etc/systemd/system/walk.service"), UNIT)?;
        fs::write(system.join("etc/hostname"), "machine\n")?;
        fs::create_dir_all(system.join("goods"))?;
        let table = "LABEL=system / ext4 defaults 0 1\nLABEL=goods /goods ext4 ro 0 0\n";
        fs::write(system.join("etc/fstab"), table)?;
        run(Command::new("systemctl")
            .arg("--root")
            .arg(&system)
            .args(["enable", "walk.service"]))?;
        disk_of(&system, "system", &disk)?;
        fs::write(&done, wanted)?;
        Ok(Self { folder, disk })
    }

    /// Switches it on with these goods, and returns what the walk said when the machine is off again.
    pub(super) fn play(&self, goods: &Path) -> Result<String> {
        let carried = self.folder.join("goods");
        disk_of(goods, "goods", &carried)?;
        let tpm = self.folder.join("tpm");
        let _ = fs::remove_dir_all(&tpm);
        fs::create_dir_all(&tpm)?;
        let socket = tpm.join("control");
        let mut chip = Command::new("swtpm");
        chip.args(["socket", "--tpm2", "--tpmstate"]);
        chip.arg(with("dir=", &tpm));
        chip.arg("--ctrl").arg(with("type=unixio,path=", &socket));
        let _chip = start(&mut chip)?;
        let until = Instant::now() + Duration::from_secs(20);
        while !socket.exists() {
            ensure!(Instant::now() < until, "swtpm does not start");
            sleep(Duration::from_millis(50));
        }

        let (console, said) = (self.folder.join("console"), self.folder.join("said"));
        // What an earlier one said is not this one's.
        let _ = fs::remove_file(&said);
        let system = self.folder.join("system");
        let mut machine = Command::new("qemu-system-x86_64");
        // Emulated, which takes minutes, and is the same everywhere: a virtual machine in a virtual machine may not start.
        machine.args([
            "-machine",
            "q35",
            "-accel",
            "tcg,thread=multi",
            "-cpu",
            "max",
        ]);
        machine.args(["-smp", "2", "-m", "2048", "-nodefaults", "-display", "none"]);
        machine.args(["-device", "virtio-rng-pci"]);
        machine.arg("-kernel").arg(system.join("vmlinuz"));
        machine.arg("-initrd").arg(system.join("initrd.img"));
        machine.args(["-append", "root=LABEL=system rw console=ttyS0 panic=-1"]);
        for disk in [&self.disk, &carried] {
            machine.arg("-drive");
            machine.arg(with("format=raw,if=virtio,snapshot=on,file=", disk));
        }
        machine
            .arg("-chardev")
            .arg(with("socket,id=chip,path=", &socket));
        machine.args(["-tpmdev", "emulator,id=tpm,chardev=chip"]);
        machine.args(["-device", "tpm-tis,tpmdev=tpm"]);
        machine.arg("-serial").arg(with("file:", &console));
        machine.arg("-serial").arg(with("file:", &said));
        let mut machine = start(&mut machine)?;

        let until = Instant::now() + MOST;
        let mut shown = 0;
        loop {
            let ended = machine.0.try_wait()?;
            let text = fs::read(&said).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).replace('\r', "");
            print!("{}", text.get(shown..).unwrap_or_default());
            shown = text.len();
            if let Some(status) = ended {
                ensure!(
                    status.success(),
                    "the machine ended with {status}; its console is in {}",
                    console.display()
                );
                return Ok(text);
            }
            ensure!(
                Instant::now() < until,
                "the machine is stuck; its console is in {}",
                console.display()
            );
            sleep(Duration::from_millis(200));
        }
    }
}

/// A word of a command line that ends with a path.
fn with(word: &str, path: &Path) -> OsString {
    let mut word = OsString::from(word);
    word.push(path);
    word
}

fn start(command: &mut Command) -> Result<Running> {
    let started = command.stdin(Stdio::null()).spawn();
    let name = command.get_program().to_owned();
    Ok(Running(started.with_context(|| {
        format!("cannot start {}", name.to_string_lossy())
    })?))
}

/// The names of what is installed: ours, and what the packages depend on.
fn wanted(packages: &[PathBuf]) -> Result<String> {
    let mut names: Vec<String> = PACKAGES.iter().map(ToString::to_string).collect();
    for package in packages {
        let field = capture(
            Command::new("dpkg-deb")
                .arg("-f")
                .arg(package)
                .arg("Depends"),
        )?;
        let first = |one: &str| {
            one.split(['|', '('])
                .next()
                .map(|name| name.trim().to_owned())
        };
        names.extend(field.split(',').filter_map(first));
    }
    names.retain(|name| !name.is_empty());
    names.sort();
    names.dedup();
    Ok(names.join(" "))
}

/// Where this machine's own Debian comes from.
fn mirror() -> Result<String> {
    let listed =
        capture(Command::new("apt-get").args(["indextargets", "--format", "$(SITE) $(ORIGIN)"]))?;
    let ours = listed.lines().find_map(|line| line.strip_suffix(" Debian"));
    match ours {
        Some(site) => Ok(site.to_owned()),
        None => bail!("this machine has no source of Debian's packages; add one to /etc/apt"),
    }
}

/// A file that is a disk with this folder on it.
fn disk_of(folder: &Path, label: &str, disk: &Path) -> Result<()> {
    let _ = fs::remove_file(disk);
    let mut make = Command::new("mkfs.ext4");
    make.args(["-q", "-L", label, "-d"]).arg(folder);
    run(make.arg(disk).arg(DISK))
}
