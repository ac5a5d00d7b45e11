//! One call per verdict.

use countersign_testing::{EMPTY_COMPONENT, TestPki, TestPkiBuilder};
use countersign_trust_store::{
    Code, Now, Policy, Rejection, TrustState, UnverifiedComponent, VerifiedComponent,
};

/// The name that all test components have unless a test says otherwise; within the scope of every test device.
pub(crate) const NAME: &str = "test:guest";

/// A signed file by this PKI's device, whatever its certificates say.
pub(crate) fn signed(pki: &TestPki) -> Vec<u8> {
    pki.forge(
        EMPTY_COMPONENT,
        pki.statement(EMPTY_COMPONENT, &pki.manifest(NAME)),
    )
}

/// The verdict on any bytes by a host with this PKI's root.
pub(crate) fn judge(pki: &TestPki, bytes: Vec<u8>) -> Result<VerifiedComponent, Rejection> {
    judge_with(pki, bytes, &Policy::default(), &pki.now(), &pki.state())
}

pub(crate) fn judge_with(
    pki: &TestPki,
    bytes: Vec<u8>,
    policy: &Policy,
    now: &Now,
    state: &TrustState,
) -> Result<VerifiedComponent, Rejection> {
    let component = UnverifiedComponent::parse(bytes)?;
    pki.anchors().verify(component, policy, now, state)
}

/// The code with which a component signed under this PKI is refused.
pub(crate) fn code(builder: TestPkiBuilder) -> Code {
    let pki = builder.build();
    judge(&pki, signed(&pki))
        .expect_err("something is wrong with it")
        .code()
}

/// Demands that a component signed under this PKI is accepted.
pub(crate) fn accepted(builder: TestPkiBuilder) -> VerifiedComponent {
    let pki = builder.build();
    judge(&pki, signed(&pki)).unwrap_or_else(|rejection| panic!("{rejection}"))
}
