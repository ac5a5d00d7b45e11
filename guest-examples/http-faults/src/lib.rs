//! Does over HTTP what a guest should not: each path is one fault.
//!
//! `/count` answers how often this memory was asked before, which must be never.

use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};

use wasip2::cli::stdout;
use wasip2::clocks::monotonic_clock;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

struct Faults;

wasip2::http::proxy::export!(Faults);

static ASKED: AtomicU32 = AtomicU32::new(0);

impl Guest for Faults {
    fn handle(request: IncomingRequest, answer: ResponseOutparam) {
        let before = ASKED.fetch_add(1, Ordering::Relaxed);
        let path = request.path_with_query().unwrap_or_default();
        match path.as_str() {
            "/trap" => panic!("this path always panics"),
            "/loop" => loop {
                std::hint::black_box(());
            },
            "/wait" => monotonic_clock::subscribe_duration(3_600_000_000_000).block(),
            "/memory" => {
                let mut all = Vec::new();
                loop {
                    all.push(vec![1_u8; 1 << 20]);
                }
            }
            "/silence" => {}
            "/error" => ResponseOutparam::set(answer, Err(ErrorCode::LoopDetected)),
            "/exit" => wasip2::cli::exit::exit(Ok(())),
            "/flood" => loop {
                let _ = stdout::get_stdout().write_all(&[b'x'; 1_000]);
            },
            "/half" => {
                // Says nothing of its length, begins, and does not end.
                let (body, mut out) = begin(answer);
                let _ = out.write_all(b"half").and_then(|()| Write::flush(&mut out));
                drop(out);
                let _ = &body;
                panic!("this answer is never whole")
            }
            "/mark" => {
                more().fill(0xc7);
                panic!("what it leaves is for nobody")
            }
            "/scan" => {
                let left = more().iter().filter(|byte| **byte != 0).count();
                finish(answer, &format!("{left}\n"));
            }
            "/slow" => {
                monotonic_clock::subscribe_duration(500_000_000).block();
                finish(answer, "slow\n");
            }
            _ => finish(answer, &format!("{before}\n")),
        }
    }
}

/// A mebibyte that this memory did not have before.
fn more() -> &'static mut [u8] {
    const PAGE: usize = 64 << 10;
    const PAGES: usize = 16;
    let before = core::arch::wasm32::memory_grow(0, PAGES);
    assert_ne!(before, usize::MAX, "there is room");
    let start = core::ptr::with_exposed_provenance_mut(before * PAGE);
    // SAFETY: these pages were just added, so that nothing else is in them.
    unsafe { core::slice::from_raw_parts_mut(start, PAGES * PAGE) }
}

fn begin(answer: ResponseOutparam) -> (OutgoingBody, wasip2::io::streams::OutputStream) {
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body().expect("it is asked for once");
    ResponseOutparam::set(answer, Ok(response));
    let out = body.write().expect("it is asked for once");
    (body, out)
}

fn finish(answer: ResponseOutparam, text: &str) {
    let (body, mut out) = begin(answer);
    let written = out
        .write_all(text.as_bytes())
        .and_then(|()| Write::flush(&mut out));
    drop(out);
    if written.is_ok() {
        let _ = OutgoingBody::finish(body, None);
    }
}
