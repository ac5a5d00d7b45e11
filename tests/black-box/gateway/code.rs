//! What the gateway compiles, in which process, and what it keeps of it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use countersign_testing::TestPki;
use countersign_trust_store::{AnchorSource, Code, Purpose};
use serde_json::Value;
use wasm_encoder::{
    BlockType, CodeSection, Component, Function, FunctionSection, Module, ModuleSection,
    TypeSection, ValType,
};

use super::{Bench, ONCE, SOON, healthy, is, is_on_its_way};
use crate::programs::{fill, program, run};

/// The entries of the folder of compiled code.
fn entries(bench: &Bench) -> Vec<std::path::PathBuf> {
    let folder = fs::read_dir(bench.path("state/code")).expect("the folder is made");
    let paths = folder.map(|entry| entry.expect("readable").path());
    paths
        .filter(|path| path.extension().is_some_and(|ending| ending == "code"))
        .collect()
}

/// Where the code came from, by the records of acceptance, in their order.
fn origins(bench: &Bench) -> Vec<String> {
    let records = bench.records();
    let accepted = records
        .iter()
        .filter(|record| record["event"] == "accepted");
    accepted
        .map(|record| record["native_code"].as_str().expect("a word").to_owned())
        .collect()
}

#[test]
fn te15_code_is_kept_and_compiled_again_where_it_was_changed() {
    let bench = Bench::new();
    bench.configure(&[("pump", SOON)]);
    bench.sign("pump", "endless-loop", 1);
    for _ in 0..2 {
        let gateway = bench.start();
        bench.until("pump", is("running"));
        assert_eq!(gateway.stop(), 0);
    }
    assert_eq!(origins(&bench), ["compiled", "cached"]);
    let [entry] = &entries(&bench)[..] else {
        panic!("one entry")
    };
    let mode = fs::metadata(entry).expect("ours").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let good = fs::read(entry).expect("ours");
    let mut bad = good.clone();
    let last = bad.len() - 1;
    bad[last / 2] ^= 0x10;
    fs::write(entry, &bad).expect("ours");
    let gateway = bench.start();
    bench.until("pump", is("running"));
    assert_eq!(gateway.stop(), 0);
    assert_eq!(origins(&bench), ["compiled", "cached", "recompiled"]);
    let log = bench.log();
    assert!(
        log.contains(
            "pump: the code that was kept is not used, and it was compiled again: its seal"
        ),
        "{log}"
    );
    // Sealed anew, it is used.
    let gateway = bench.start();
    bench.until("pump", is("running"));
    assert_eq!(gateway.stop(), 0);
    assert_eq!(origins(&bench).last().map(String::as_str), Some("cached"));
}

#[test]
fn te16_a_folder_of_code_that_others_may_open_keeps_the_gateway_from_starting() {
    let bench = Bench::new();
    bench.configure(&[("pump", SOON)]);
    bench.sign("pump", "endless-loop", 1);
    let code = bench.path("state/code");
    fs::create_dir(&code).expect("ours");
    for open in [0o755, 0o770] {
        fs::set_permissions(&code, fs::Permissions::from_mode(open)).expect("ours");
        let ran = bench.ran("run", &[]);
        assert_eq!(ran.status, 2, "{ran:?}");
        assert!(ran.stderr.contains("close it with chmod go-rwx"), "{ran:?}");
    }
    fs::remove_dir(&code).expect("ours");
    let elsewhere = bench.path("elsewhere");
    fs::create_dir(&elsewhere).expect("ours");
    fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o700)).expect("ours");
    std::os::unix::fs::symlink(&elsewhere, &code).expect("ours");
    let ran = bench.ran("run", &[]);
    assert_eq!(ran.status, 2, "{ran:?}");
    assert!(ran.stderr.contains("is a link to one"), "{ran:?}");
}

/// Somebody whom a bench's gateway trusts with precompiled code.
pub(super) struct Desk {
    pub(super) pki: TestPki,
    key: PathBuf,
    chain: PathBuf,
}

impl Desk {
    /// Has the bench's gateway trust a new one.
    pub(super) fn of(bench: &Bench) -> Self {
        let pki = TestPki::builder().scope(&["test:*"]).seed(7).build();
        let folder = bench.path("desk");
        fs::create_dir(&folder).expect("ours");
        let files = pki.write(&folder);
        let desk = Self {
            key: files.key,
            chain: files.chain,
            pki,
        };
        desk.trusted_by(bench, &program("countersign-gateway"));
        desk
    }

    /// Has the bench's gateway be this program, with roots by which it trusts this one.
    fn trusted_by(&self, bench: &Bench, program: &Path) {
        let roots = [
            AnchorSource::new(bench.pki.root().to_vec()),
            AnchorSource {
                purpose: Purpose::PrecompiledCode,
                ..self.pki.anchor_source()
            },
        ];
        fill(program, &bench.path("countersign-gateway"), &roots);
    }

    /// Compiles the component in a file, and vouches for its code: the file of that. What nobody vouched for lies beside it, as
    /// `OUTPUT.unsigned`; and for which target it is.
    pub(super) fn vouch(&self, bench: &Bench, component: &Path, output: &Path) -> String {
        let unsigned = output.with_extension("code.unsigned");
        let made = run(bench
            .command("precompile")
            .arg(component)
            .arg("--list")
            .arg(bench.path("crls.pem"))
            .arg("--output")
            .arg(&unsigned));
        assert_eq!(made.status, 0, "{made:?}");
        let signed = run(Command::new(program("countersign"))
            .arg("sign-code")
            .arg(&unsigned)
            .arg("--key")
            .arg(&self.key)
            .arg("--chain")
            .arg(&self.chain)
            .arg("--output")
            .arg(output)
            .arg("--json"));
        assert_eq!(signed.status, 0, "{signed:?}");
        let said: Value = serde_json::from_str(&signed.stdout).expect("JSON");
        said["target"].as_str().expect("a target").to_owned()
    }
}

#[test]
fn te15_code_that_lies_beside_a_component_is_used_if_somebody_vouches_for_it() {
    let bench = Bench::new();
    let desk = Desk::of(&bench);
    bench.configure(&[("pump", SOON)]);
    bench.sign("pump", "endless-loop", 1);
    let signed = bench.path("signed.code");
    let target = desk.vouch(&bench, &bench.path("pump.wasm"), &signed);
    let beside = bench.path(&format!("pump.wasm.{target}.code"));

    let code = fs::read(&signed).expect("ours");
    let mut changed = code.clone();
    let last = changed.len() - 1;
    changed[last] ^= 1;
    let unsigned = fs::read(bench.path("signed.code.unsigned")).expect("ours");
    for (bytes, size, refused) in [
        (&code, 0, None),
        (&changed, 0, Some("digest-mismatch")),
        (&code, 1, Some("it is longer")),
        // What nobody believes is not read, however long it is.
        (&unsigned, 600 << 20, Some("malformed")),
    ] {
        fs::write(&beside, bytes).expect("ours");
        let file = fs::File::options().write(true).open(&beside);
        let length = u64::try_from(bytes.len()).expect("a size") + size;
        file.and_then(|file| file.set_len(length)).expect("ours");
        let gateway = bench.start();
        bench.until("pump", is("running"));
        assert_eq!(gateway.stop(), 0);
        let log = bench.log();
        match refused {
            None => assert!(!log.contains("is not used"), "{log}"),
            Some(why) => assert!(log.contains(&format!("is not used: {why}")), "{log}"),
        }
    }
    // Nothing of what was not believed was run, and each has its record.
    assert_eq!(
        origins(&bench),
        ["precompiled", "compiled", "cached", "cached"]
    );
    let records = bench.records();
    let refused: Vec<_> = records
        .iter()
        .filter(|record| record["event"] == "code-refused")
        .map(|record| record["code"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(refused, ["digest-mismatch", "", "malformed"]);
    let first = records
        .iter()
        .find(|record| record["event"] == "accepted")
        .expect("a record");
    let key = desk.pki.certified_key();
    let key = key.chain().public_key().spki_sha256().to_string();
    assert_eq!(first["code_signer"]["key_sha256"], key.as_str(), "{first}");
}

#[test]
fn te15_td10_corrected_code_is_taken_by_a_reload_and_kept_with_what_proved_healthy() {
    let bench = Bench::new();
    let desk = Desk::of(&bench);
    bench.configure(&[("pump", SOON)]);
    bench.sign("pump", "endless-loop", 1);
    let signed = bench.path("signed.code");
    let target = desk.vouch(&bench, &bench.path("pump.wasm"), &signed);
    let beside = bench.path(&format!("pump.wasm.{target}.code"));
    fs::write(&beside, b"no code").expect("ours");
    let gateway = bench.start();
    let pump = bench.until("pump", healthy);
    assert!(pump["code-signer"].is_null(), "{pump}");
    // The component is the same; its code is another.
    fs::copy(&signed, &beside).expect("ours");
    let (reloaded, done) = bench.reload();
    assert_eq!(done["exchanged"][0], "pump", "{reloaded:?}");
    let pump = bench.until("pump", healthy);
    assert!(pump["code-signer"].is_string(), "{pump}");
    let (_, done) = bench.reload();
    assert_eq!(done["unchanged"][0], "pump", "{done}");
    // Worse code than that which runs is said, and changes nothing.
    fs::write(&beside, b"no code").expect("ours");
    let (_, done) = bench.reload();
    assert_eq!(done["unchanged"][0], "pump", "{done}");
    // The next version comes without code and does not live: what takes its place has the code that it proved healthy with.
    fs::remove_file(&beside).expect("ours");
    bench.sign("pump", "trap", 2);
    assert_eq!(bench.reload().0.status, 0);
    bench.until("pump", |service| service["newer"].is_string());
    assert_eq!(
        origins(&bench),
        ["compiled", "precompiled", "compiled", "precompiled"]
    );
    assert_eq!(gateway.stop(), 0);
}

#[test]
#[ignore = "needs a gateway without a compiler: cargo xtask soak without-compiler"]
fn te15_without_a_compiler_what_somebody_vouches_for_runs_and_nothing_else() {
    let without = std::env::var_os("COUNTERSIGN_GATEWAY_WITHOUT_COMPILER");
    let without = PathBuf::from(without.expect("cargo xtask soak without-compiler"));
    let bench = Bench::new();
    let desk = Desk::of(&bench);
    let names = ["pump", "bare", "bent"];
    bench.configure(&names.map(|name| (name, SOON)));
    for name in names {
        bench.sign(name, "endless-loop", 1);
    }
    // All compiled by a gateway that has a compiler; one comes without its code, and one with another.
    for name in ["pump", "bent"] {
        let signed = bench.path(&format!("{name}.signed.code"));
        let target = desk.vouch(&bench, &bench.path(&format!("{name}.wasm")), &signed);
        let mut code = fs::read(&signed).expect("ours");
        if name == "bent" {
            let last = code.len() - 1;
            code[last] ^= 1;
        }
        let beside = bench.path(&format!("{name}.wasm.{target}.code"));
        fs::write(beside, code).expect("ours");
    }
    desk.trusted_by(&bench, &without);
    let found = bench.ran("doctor", &[]).stdout;
    assert!(
        found.contains("runs what was compiled elsewhere"),
        "{found}"
    );
    let gateway = bench.start();
    bench.until("pump", healthy);
    assert_eq!(origins(&bench), ["precompiled"]);
    let log = bench.log();
    for (name, code) in [("bare", Code::NoCompiler), ("bent", Code::DigestMismatch)] {
        let service = bench.service(name);
        assert_eq!(
            (&service["state"], &service["code"]),
            (&"refused".into(), &code.as_str().into()),
            "{service} {log}"
        );
    }
    assert_eq!(gateway.stop(), 0);
    // It starts again, and another component in its place, for which the code beside it is not, does not take it.
    let gateway = bench.start();
    bench.until("pump", healthy);
    bench.sign("pump", "trap", 2);
    let (_, done) = bench.reload();
    let why = done["refused"]["pump"]["why"].as_str().unwrap_or_default();
    assert!(why.contains("has no compiler"), "{done}");
    let pump = bench.until("pump", healthy);
    assert_eq!(pump["version"], "1.0.0", "{pump}");
    assert_eq!(gateway.stop(), 0);
}

/// Has the kernel refuse that memory becomes code which was written (prctl(2), PR_SET_MDWE), as systemd's
/// MemoryDenyWriteExecute does, and becomes what it is told to.
const WITHOUT_NEW_CODE: &str = "import ctypes, os, sys
if ctypes.CDLL(None, use_errno=True).prctl(65, 1, 0, 0, 0) != 0:
    sys.exit(os.strerror(ctypes.get_errno()))
os.execv(sys.argv[1], sys.argv[1:])";

#[test]
fn where_memory_cannot_become_code_components_are_interpreted() {
    let bench = Bench::new();
    bench.sign("pump", "endless-loop", 1);
    let confined = || {
        let mut command = Command::new("python3");
        command.args(["-c", WITHOUT_NEW_CODE]);
        command.arg(bench.path("countersign-gateway")).arg("run");
        command
    };
    let configure = |compile: &str| {
        bench.configure_with(&format!(
            "[gateway]\nstate = \"state\"\nlists = [\"crls.pem\"]\ncompile = {compile}\n\
             [[service]]\nname = \"pump\"\ncomponent = \"pump.wasm\"\nsigned-as = \"test:pump\"\n{SOON}\n"
        ));
    };
    configure("{ interpreted = true }");
    for _ in 0..2 {
        let gateway = bench.start_by(confined());
        bench.until("pump", healthy);
        assert_eq!(gateway.stop(), 0);
    }
    assert_eq!(origins(&bench), ["compiled", "cached"]);
    // As it would be without: the kernel does refuse.
    configure("{ interpreted = false }");
    let gateway = bench.start_by(confined());
    let pump = bench.until("pump", |service| service["code"].is_string());
    assert_eq!(pump["code"], Code::ComponentInvalid.as_str(), "{pump}");
    assert_eq!(gateway.stop(), 0);
}

#[test]
fn te14_what_keeps_the_compiler_busy_is_refused_and_its_neighbour_runs() {
    let bench = Bench::new();
    bench.sign("pump", "endless-loop", 1);
    let bombs = [
        ("functions", many_functions(100_000)),
        ("locals", many_locals(50_000)),
        ("tables", giant_tables(40, 65_000)),
        ("blocks", deep_blocks(60_000)),
        ("types", wide_types()),
    ];
    let mut text = "[gateway]\nstate = \"state\"\nlists = [\"crls.pem\"]\n\
        compile = { memory = \"512MiB\", cpu = \"1s\", time = \"30s\" }\n"
        .to_owned();
    for (name, bytes) in &bombs {
        let manifest = bench.pki.manifest(&format!("test:{name}"));
        let file = bench.pki.sign(bytes, &manifest);
        fs::write(bench.path(&format!("{name}.wasm")), file).expect("our own folder");
    }
    let names = bombs.iter().map(|(name, _)| (*name, ONCE));
    for (name, more) in names.chain([("pump", SOON)]) {
        text.push_str(&format!(
            "\n[[service]]\nname = \"{name}\"\ncomponent = \"{name}.wasm\"\nsigned-as = \"test:{name}\"\n{more}\n"
        ));
    }
    bench.configure_with(&text);
    let started = Instant::now();
    let gateway = bench.start();
    bench.until("pump", healthy);
    let taken = started.elapsed();
    // Each is over in its own time; reading and verifying them comes on top.
    let most = Duration::from_secs(30 * 5 + 60);
    assert!(taken < most, "{taken:?}");
    let mut stopped = 0;
    for (name, _) in &bombs {
        let service = bench.until(name, |service| !is_on_its_way(service));
        // What can be compiled within the limits has nothing to run.
        if service["state"] == "refused" {
            assert_eq!(
                service["code"],
                Code::ComponentInvalid.as_str(),
                "{service}"
            );
            let why = service["why"].as_str().expect("a sentence");
            stopped += usize::from(why.starts_with("compiling the component was stopped: "));
        }
    }
    assert!(stopped >= 1, "none took too much: {}", bench.status());
    let many = bench.service("functions");
    assert!(
        many["why"]
            .as_str()
            .is_some_and(|why| why.contains("processor time")),
        "{many}"
    );
    // What would keep it busy again is not compiled again, after a restart neither, until something is another.
    assert_eq!(gateway.stop(), 0);
    let gateway = bench.start();
    let many = bench.until("functions", |service| service["code"].is_string());
    assert!(
        many["why"]
            .as_str()
            .is_some_and(|why| why.contains("is not tried again until")),
        "{many}"
    );
    assert_eq!(gateway.stop(), 0);
}

#[test]
fn td15_te14_a_list_counts_at_once_while_something_compiles() {
    let bench = Bench::new();
    bench.sign("pump", "endless-loop", 1);
    let manifest = bench.pki.manifest("test:bomb");
    let file = bench.pki.sign(&many_functions(100_000), &manifest);
    fs::write(bench.path("bomb.wasm"), file).expect("our own folder");
    // The other is to compile still when all is ready.
    let at_once = "restart = { healthy-after = \"50ms\" }";
    bench.configure(&[("bomb", ONCE), ("pump", at_once)]);
    let gateway = bench.start();
    bench.until("pump", healthy);
    fs::write(bench.path("newer.crl"), bench.pki.crl_against_device(1_000))
        .expect("our own folder");
    let text = fs::read_to_string(bench.path("gateway.toml")).expect("a configuration");
    bench.configure_with(&text.replace("[\"crls.pem\"]", "[\"crls.pem\", \"newer.crl\"]"));
    let bomb = bench.service("bomb");
    assert!(is_on_its_way(&bomb), "{bomb}");
    // Nobody waits for what compiles, and what was signed by who is revoked now is not compiled to its end.
    let (reloaded, done) = bench.reload();
    assert_eq!(done["stopped"][0], "pump", "{reloaded:?}");
    assert_eq!(done["refused"]["pump"]["code"], "revoked", "{done}");
    assert_eq!(done["refused"]["bomb"]["code"], "revoked", "{done}");
    assert_eq!(gateway.stop(), 0);
}

/// A component around a module whose functions have these bodies.
fn component(bodies: impl IntoIterator<Item = Function>) -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32], [ValType::I32]);
    let (mut functions, mut code) = (FunctionSection::new(), CodeSection::new());
    for body in bodies {
        functions.function(0);
        code.function(&body);
    }
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&code);
    let mut component = Component::new();
    component.section(&ModuleSection(&module));
    component.finish()
}

pub(super) fn many_functions(count: usize) -> Vec<u8> {
    let mut body = Function::new([(4, ValType::I32)]);
    for local in 1..5 {
        body.instructions()
            .local_get(local - 1)
            .i32_const(7)
            .i32_mul()
            .local_tee(local)
            .i32_popcnt()
            .local_set(local - 1);
    }
    body.instructions().local_get(0).end();
    component(std::iter::repeat_n(body, count))
}

fn many_locals(count: u32) -> Vec<u8> {
    let mut body = Function::new([(count - 1, ValType::I32)]);
    for block in 0..200 {
        body.instructions().local_get(0).if_(BlockType::Empty);
        for local in (1..count).step_by(101) {
            body.instructions()
                .local_get(local)
                .local_get((local + block) % count)
                .i32_add()
                .local_set(local - 1);
        }
        body.instructions().end();
    }
    body.instructions().local_get(7).end();
    component([body])
}

fn giant_tables(count: usize, targets: usize) -> Vec<u8> {
    let mut body = Function::new([]);
    for _ in 0..count {
        body.instructions()
            .block(BlockType::Empty)
            .local_get(0)
            .br_table(vec![0; targets], 0)
            .end();
    }
    body.instructions().local_get(0).end();
    component([body])
}

fn deep_blocks(depth: usize) -> Vec<u8> {
    let mut body = Function::new([]);
    for _ in 0..depth {
        body.instructions()
            .local_get(0)
            .if_(BlockType::Empty)
            .local_get(0)
            .local_set(0);
    }
    for _ in 0..depth {
        body.instructions().end();
    }
    body.instructions().local_get(0).end();
    component([body])
}

/// Types whose size doubles with each line: a pair of what was before.
fn wide_types() -> Vec<u8> {
    use wasm_encoder::{ComponentTypeSection, ComponentValType, PrimitiveValType};
    let mut types = ComponentTypeSection::new();
    types.defined_type().primitive(PrimitiveValType::U8);
    for before in 0..900 {
        let before = ComponentValType::Type(before);
        types.defined_type().tuple([before, before]);
    }
    let mut component = Component::new();
    component.section(&types);
    component.finish()
}
