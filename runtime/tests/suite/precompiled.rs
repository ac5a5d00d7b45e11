//! Code that came with a component: run only under a root for it, beside the component's own signature, and on the host that
//! it was compiled for.

use countersign_format::{Digest, Grants, GuestLimits, PrecompiledStatement};
use countersign_runtime::trust_store::{
    AnchorSource, Anchors, Code, Now, Purpose, Rejection, TrustState, UnixTime, VerifiedComponent,
    VerifiedPrecompiled,
};
use countersign_runtime::wasmtime::Store;
use countersign_runtime::wasmtime::component::Linker;
use countersign_runtime::{
    Ceiling, CodeOrigin, CodeTarget, GuestContext, LoadError, Runtime, build_id,
};
use countersign_testing::{Role, TestPki, TestPkiBuilder};

use crate::support::binary;

const SEVEN: &str = r#"(component
    (core module $m (func (export "run") (result i32) i32.const 7))
    (core instance $i (instantiate $m))
    (func (export "run") (result u32) (canon lift (core func $i "run"))))"#;

/// A PKI for components, another for code, and a host that trusts each with its own.
struct Desk {
    components: TestPki,
    code: TestPki,
    host: Runtime,
}

impl Desk {
    fn new() -> Self {
        Self::with(TestPki::builder().seed(2))
    }

    fn with(code: TestPkiBuilder) -> Self {
        let (components, code) = (TestPki::new(), code.build());
        let host = Runtime::builder(anchors(&components, &code));
        let host = host.build().unwrap();
        Self {
            components,
            code,
            host,
        }
    }

    fn verified(&self, wat: &str) -> VerifiedComponent {
        let mut manifest = self.components.manifest("test:guest");
        manifest.grants = Grants::default();
        manifest.limits = GuestLimits::default();
        let file = self.components.sign(&binary(wat), &manifest);
        let (now, state) = (self.components.now(), self.components.state());
        self.host.verify(file, &now, &state).unwrap()
    }

    /// What was compiled, not signed.
    fn compiled(&self, target: CodeTarget) -> (PrecompiledStatement, Vec<u8>) {
        let made = self.host.precompile(&self.verified(SEVEN), target).unwrap();
        let (statement, code) = PrecompiledStatement::parse_unsigned(&made).unwrap();
        (statement, code.to_vec())
    }

    fn signed(&self, statement: &PrecompiledStatement, code: &[u8]) -> Vec<u8> {
        self.code.sign_code(statement, code)
    }

    fn judge(&self, file: Vec<u8>, wat: &str) -> Result<VerifiedPrecompiled, LoadError> {
        judge(&self.host, &self.components, file, &self.verified(wat))
    }
}

fn anchors(components: &TestPki, code: &TestPki) -> Anchors {
    let for_code = AnchorSource {
        purpose: Purpose::PrecompiledCode,
        ..code.anchor_source()
    };
    Anchors::new(vec![components.anchor_source(), for_code]).unwrap()
}

fn judge(
    host: &Runtime,
    pki: &TestPki,
    file: Vec<u8>,
    component: &VerifiedComponent,
) -> Result<VerifiedPrecompiled, LoadError> {
    host.verify_precompiled(file, component, &pki.now(), &pki.state())
}

#[track_caller]
fn rejected(judged: Result<VerifiedPrecompiled, LoadError>) -> Rejection {
    match judged {
        Err(LoadError::Rejected(rejection)) => rejection,
        other => panic!("{other:?}"),
    }
}

/// Runs the component with this code: what it gives, and where the code came from.
async fn run(
    host: &Runtime,
    component: VerifiedComponent,
    code: VerifiedPrecompiled,
) -> Result<(u32, CodeOrigin), LoadError> {
    let linker = Linker::<GuestContext>::new(host.engine());
    let ready = host.load_precompiled(component, code, &Ceiling::new(), &linker)?;
    let origin = ready.code_origin().clone();
    let store = Store::new(host.engine(), ready.context().unwrap());
    let mut guest = ready.start(store).await.unwrap();
    let given = guest.call_export::<(), (u32,)>(None, "run", ()).await;
    Ok((given.unwrap().0, origin))
}

#[tokio::test]
async fn code_that_is_vouched_for_runs_and_nothing_is_compiled() {
    let desk = Desk::new();
    let serving = Runtime::builder(anchors(&desk.components, &desk.code)).for_serving(2);
    let serving = serving.build().unwrap();
    for target in [CodeTarget::Baseline, CodeTarget::Native] {
        let (statement, code) = desk.compiled(target);
        assert_eq!(statement.cpu().is_empty(), target == CodeTarget::Baseline);
        let file = desk.signed(&statement, &code);
        for host in [&desk.host, &serving] {
            let judged = desk.judge(file.clone(), SEVEN).unwrap();
            let ran = run(host, desk.verified(SEVEN), judged).await.unwrap();
            assert_eq!(ran, (7, CodeOrigin::Precompiled));
        }
    }
}

#[test]
fn te15_code_needs_a_root_of_its_own() {
    let desk = Desk::new();
    let (statement, code) = desk.compiled(CodeTarget::Baseline);
    let file = desk.signed(&statement, &code);
    // Who signs components is nobody here, even the component's own signer.
    let theirs = desk.components.sign_code(&statement, &code);
    let rejection = rejected(desk.judge(theirs, SEVEN));
    assert!(
        matches!(rejection, Rejection::UntrustedRoot { .. }),
        "{rejection}"
    );
    // And who signs code signs no components.
    let component = (desk.code).sign(&binary(SEVEN), &desk.code.manifest("test:guest"));
    let refused = desk
        .host
        .verify(component, &desk.code.now(), &desk.code.state());
    assert!(
        matches!(refused, Err(Rejection::UntrustedRoot { .. })),
        "{refused:?}"
    );
    // A host has no such root unless somebody wanted one.
    let plain = Runtime::builder(desk.components.anchors()).build().unwrap();
    let judged = judge(&plain, &desk.components, file, &desk.verified(SEVEN));
    let rejection = rejected(judged);
    assert!(matches!(rejection, Rejection::NoRootForCode), "{rejection}");
}

#[test]
fn te15_code_of_another_component_or_changed_code_is_refused() {
    let desk = Desk::new();
    let (statement, code) = desk.compiled(CodeTarget::Baseline);
    let file = desk.signed(&statement, &code);
    let other = desk.judge(file.clone(), "(component)");
    let rejection = rejected(other);
    assert!(
        matches!(rejection, Rejection::CodeOfAnother { .. }),
        "{rejection}"
    );
    let start = file.len() - code.len();
    for at in (start..file.len()).step_by(997).chain([file.len() - 1]) {
        let mut changed = file.clone();
        changed[at] ^= 0x20;
        let rejection = rejected(desk.judge(changed, SEVEN));
        assert!(
            matches!(rejection, Rejection::DigestMismatch { .. }),
            "byte {at}: {rejection}"
        );
    }
    // What is signed, and the signature: whatever changes there, nothing of it is believed.
    for at in (0..start).step_by(7) {
        let mut changed = file.clone();
        changed[at] ^= 0x04;
        desk.judge(changed, SEVEN).expect_err("a changed byte");
    }
    for end in [0, 10, start - 1, start, file.len() - 1] {
        let cut = file[..end].to_vec();
        desk.judge(cut, SEVEN).expect_err("a cut file");
    }
}

#[test]
fn te15_code_for_another_build_target_or_processor_is_refused() {
    let desk = Desk::new();
    let (ours, code) = desk.compiled(CodeTarget::Baseline);
    let wants = |build: &str, target: &str, cpu: &[&str]| {
        let cpu = cpu.iter().map(ToString::to_string).collect();
        let component = *ours.component_digest();
        PrecompiledStatement::new(component, &code, build.into(), target.into(), cpu).unwrap()
    };
    let build = build_id();
    let others = [
        (
            "build",
            wants("countersign 0.0.1; wasmtime 48.0.7", ours.target(), &[]),
        ),
        ("target", wants(build, "riscv64gc-unknown-linux-gnu", &[])),
        ("target", wants(build, "pulley64", &[])),
        (
            "processor feature",
            wants(build, ours.target(), &["avx4096"]),
        ),
    ];
    for (expected, statement) in others {
        match desk.judge(desk.signed(&statement, &code), SEVEN) {
            Err(LoadError::CodeForAnother { what, .. }) => assert_eq!(what, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
    desk.judge(desk.signed(&wants(build, ours.target(), &[]), &code), SEVEN)
        .expect("it was the difference");
}

#[test]
fn tc39_who_vouches_for_code_stays_within_his_scope_and_can_be_revoked() {
    let narrow = Desk::with(TestPki::builder().seed(2).scope(&["other:*"]));
    let (statement, code) = narrow.compiled(CodeTarget::Baseline);
    let judged = narrow.judge(narrow.signed(&statement, &code), SEVEN);
    let rejection = rejected(judged);
    assert!(
        matches!(rejection, Rejection::SignerNotAuthorised { .. }),
        "{rejection}"
    );
    let revoked = TestPki::builder().seed(2);
    let revoked = Desk::with(revoked.revoke(Role::Leaf));
    let judged = revoked.judge(revoked.signed(&statement, &code), SEVEN);
    // The statement is of another desk's component, of the same bytes.
    let rejection = rejected(judged);
    assert!(
        matches!(rejection, Rejection::Revoked { .. }),
        "{rejection}"
    );
}

#[test]
fn te15_who_vouches_is_judged_before_the_code_is_read() {
    let desk = Desk::new();
    let (statement, code) = desk.compiled(CodeTarget::Baseline);
    let file = desk.signed(&statement, &code);
    let front = &file[..file.len() - code.len()];
    let component = desk.verified(SEVEN);
    let (now, state) = (desk.components.now(), desk.components.state());
    let judge = |front: &[u8]| desk.host.verify_voucher(front, &component, &now, &state);
    let voucher = judge(front).unwrap();
    assert_eq!(voucher.file_size(), u64::try_from(file.len()).unwrap());
    judge(&front[..front.len() - 1]).expect_err("it is not whole");
    let other = voucher.clone().hold_against([front, b"other"].concat());
    assert!(
        matches!(other, Err(Rejection::DigestMismatch { .. })),
        "{other:?}"
    );
    // Somebody else's code, who is believed as well.
    let narrow = PrecompiledStatement::new(
        component.digest(),
        b"other",
        build_id().to_owned(),
        statement.target().to_owned(),
        Vec::new(),
    );
    let changed = desk.signed(&narrow.unwrap(), b"other");
    let changed = voucher.clone().hold_against(changed);
    assert!(matches!(changed, Err(Rejection::Format(_))), "{changed:?}");
    assert_eq!(voucher.hold_against(file).unwrap().code(), code);
}

#[test]
fn td01_td14_code_that_was_admitted_is_believed_after_the_end_of_who_vouches_until_a_list_names_him()
 {
    let desk = Desk::with(TestPki::builder().seed(2).valid(Role::Leaf, -100, 100));
    let (statement, code) = desk.compiled(CodeTarget::Baseline);
    let file = desk.signed(&statement, &code);
    let component = desk.verified(SEVEN);
    let later = Now::at(UnixTime::from_secs(
        desk.components.time().as_secs() + 365 * 86_400,
    ));
    let judge = |state: &TrustState, file: &[u8]| {
        (desk.host).verify_precompiled(file.to_vec(), &component, &later, state)
    };
    let mut state = desk.components.state();
    assert_eq!(rejected(judge(&state, &file)).code(), Code::Expired);
    let admitted = desk.judge(file.clone(), SEVEN).unwrap();
    assert_eq!(admitted.chain().admitted_at(), None);
    state.note_admission(admitted.admission().clone());
    let again = judge(&state, &file).unwrap();
    assert_eq!(again.admission(), admitted.admission());
    assert_eq!(again.chain().admitted_at(), Some(desk.components.time()));
    // Of other code by the same signer nothing is remembered.
    let build = build_id().to_owned();
    let target = statement.target().to_owned();
    let other = PrecompiledStatement::new(component.digest(), b"x", build, target, Vec::new());
    let other = desk.signed(&other.unwrap(), b"x");
    assert_eq!(rejected(judge(&state, &other)).code(), Code::Expired);
    state.add_crl(&desk.code.crl_against_device(7)).unwrap();
    assert_eq!(rejected(judge(&state, &file)).code(), Code::Revoked);
}

#[tokio::test]
async fn code_for_one_component_is_not_loaded_for_another() {
    let desk = Desk::new();
    let (statement, code) = desk.compiled(CodeTarget::Baseline);
    let judged = desk.judge(desk.signed(&statement, &code), SEVEN).unwrap();
    // Verified for one, and loaded with another.
    let other = desk.verified("(component)");
    let ran = run(&desk.host, other, judged).await;
    assert!(
        matches!(
            ran,
            Err(LoadError::CodeForAnother {
                what: "component",
                ..
            })
        ),
        "{ran:?}"
    );
}

#[tokio::test]
async fn the_interpreter_runs_its_own_code_and_no_other() {
    let desk = Desk::new();
    let interpreting = Runtime::builder(anchors(&desk.components, &desk.code))
        .interpreted()
        .build()
        .unwrap();
    let (statement, code) = desk.compiled(CodeTarget::Interpreter);
    assert_eq!(statement.target(), interpreting.code_target());
    let file = desk.signed(&statement, &code);
    let component = || desk.verified(SEVEN);
    let judged = judge(&interpreting, &desk.components, file, &component()).unwrap();
    let ran = run(&interpreting, component(), judged).await.unwrap();
    assert_eq!(ran, (7, CodeOrigin::Precompiled));
    let (statement, code) = desk.compiled(CodeTarget::Native);
    let native = desk.signed(&statement, &code);
    let judged = judge(&interpreting, &desk.components, native, &component());
    assert!(
        matches!(
            judged,
            Err(LoadError::CodeForAnother { what: "target", .. })
        ),
        "{judged:?}"
    );
    // Signed by somebody who may, and not what he says that it is: Wasmtime looks itself.
    let lying = PrecompiledStatement::new(
        *statement.component_digest(),
        &code,
        build_id().to_owned(),
        interpreting.code_target().to_owned(),
        Vec::new(),
    )
    .unwrap();
    assert_eq!(*lying.code_digest(), Digest::of(&code));
    let file = desk.signed(&lying, &code);
    let judged = judge(&interpreting, &desk.components, file, &component()).unwrap();
    let ran = run(&interpreting, component(), judged).await;
    assert!(
        matches!(ran, Err(LoadError::ComponentInvalid { .. })),
        "{ran:?}"
    );
}
