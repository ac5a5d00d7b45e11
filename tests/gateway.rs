//! Black-box tests of the built gateway, in a binary of their own: they are built without what tests of other programs need.

#[path = "shared/browser.rs"]
#[expect(
    dead_code,
    reason = "the authority's page has more to do than this one"
)]
mod browser;
#[path = "shared/components.rs"]
mod components;
#[allow(dead_code, reason = "tests of other programs use the rest")]
#[path = "shared/device.rs"]
mod device;
#[path = "black-box/gateway.rs"]
mod gateway;
#[path = "black-box/http.rs"]
mod http;
#[allow(dead_code, reason = "tests of other programs use the rest")]
#[path = "shared/programs.rs"]
mod programs;
