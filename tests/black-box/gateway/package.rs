//! What is installed with the gateway: its unit, its user, its first configuration, its pages.

use super::*;

/// The most exposure of a unit that is accepted, in tenths: 2 of 10, where systemd calls everything up to 2 "OK".
const EXPOSURE: u32 = 20;

fn packaging(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging");
    folder.join(name).canonicalize().expect("it is there")
}

#[test]
fn th19_its_unit_is_one_that_systemd_takes_and_finds_closed() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let unit = fs::read_to_string(packaging("countersign-gateway.service")).expect("a unit");
    let program = program("countersign-gateway");
    let path = folder.path().join("countersign-gateway.service");
    let installed = "/usr/bin/countersign-gateway";
    assert!(unit.contains(installed));
    fs::write(
        &path,
        unit.replace(installed, program.to_str().expect("UTF-8")),
    )
    .expect("written");
    let analyze = |arguments: &[&str]| {
        let mut command = Command::new("systemd-analyze");
        let ran = run(command
            .args(arguments)
            .arg(&path)
            .env("SYSTEMD_COLORS", "0"));
        assert_eq!(ran.status, 0, "apt-get install systemd; {ran:?}");
        ran
    };
    let verified = analyze(&["verify", "--man=no"]);
    let objections = verified.stderr.lines();
    let unexpected = objections.filter(|line| line.contains("countersign-gateway"));
    assert_eq!(unexpected.collect::<Vec<_>>(), Vec::<&str>::new());
    let threshold = format!("--threshold={EXPOSURE}");
    let judged = analyze(&["security", "--offline=true", "--no-pager", &threshold]);
    assert!(
        judged.stdout.contains("Overall exposure level"),
        "{judged:?}"
    );
}

#[test]
fn its_user_is_made_with_the_groups_of_key_hardware() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    fs::create_dir(folder.path().join("etc")).expect("our own folder");
    let ran = run(Command::new("systemd-sysusers")
        .arg(format!("--root={}", folder.path().display()))
        .arg(packaging("countersign-gateway.sysusers")));
    assert_eq!(ran.status, 0, "apt-get install systemd; {ran:?}");
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).expect("made");
    let users = read("etc/passwd");
    assert!(
        users.contains("countersign:") && users.contains(":/var/lib/countersign:"),
        "{users}"
    );
    let groups = read("etc/group");
    for group in ["tss:", "i2c:"] {
        let members = groups.lines().find(|line| line.starts_with(group));
        assert!(
            members.is_some_and(|line| line.ends_with(":countersign")),
            "{groups}"
        );
    }
}

#[test]
fn th06_its_first_configuration_runs_nothing_and_its_examples_are_right() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let path = folder.path().join("gateway.toml");
    let check = |text: &str| {
        fs::write(&path, text).expect("written");
        let mut command = Command::new(program("countersign-gateway"));
        run(command.arg("check").arg("--config").arg(&path))
    };
    let text = fs::read_to_string(packaging("gateway.toml")).expect("a configuration");
    let ran = check(&text);
    assert_eq!(ran.status, 2, "{ran:?}");
    assert!(ran.stderr.contains("no [[service]]"), "{ran:?}");
    // Whatever has the form of an entry is one when its mark is taken away.
    let is_entry = |line: &str| line.starts_with('[') || line.contains(" = ");
    let lines = text.lines().map(|line| match line.strip_prefix("# ") {
        Some(entry) if is_entry(entry) => entry,
        _ => line,
    });
    let ran = check(&lines.collect::<Vec<_>>().join("\n"));
    assert_eq!(ran.status, i32::from(Code::NoRoot.exit_status()), "{ran:?}");
}

#[test]
fn its_pages_and_completions_name_every_verb() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let gateway = || Command::new(program("countersign-gateway"));
    let made = run(gateway().arg("man").arg(folder.path()));
    assert_eq!(made.status, 0, "{made:?}");
    let help = run(gateway().arg("--help")).stdout;
    let completions = run(gateway().args(["completions", "bash"])).stdout;
    let verbs = [
        "run", "status", "logs", "trust", "verify", "doctor", "reload",
    ];
    for verb in verbs {
        assert!(help.contains(&format!("\n  {verb} ")), "{help}");
        assert!(
            completions.contains(&format!("countersign__gateway__subcmd__{verb}")),
            "{verb}"
        );
        let page = folder.path().join(format!("countersign-gateway-{verb}.1"));
        let page = fs::read_to_string(page).expect("a page");
        assert!(
            page.contains(".SH SYNOPSIS") && page.contains("config"),
            "{page}"
        );
    }
    let page = fs::read_to_string(folder.path().join("countersign-gateway.1")).expect("a page");
    assert!(
        page.contains(".SH EXTRA") && page.contains("Exit status"),
        "{page}"
    );
}
