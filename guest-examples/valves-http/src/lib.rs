//! Shows a plant's valves over HTTP: GET /NAME says how far one is open, POST /NAME opens it by ten per cent more. The valves
//! are its host's, lent by an interface of his own.

use std::io::Write;

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    Fields, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

use bindings::acme::plant::valves;

mod bindings {
    #![allow(missing_docs, reason = "generated; the documentation is in plant.wit")]
    wit_bindgen::generate!({
        path: "../../runtime/examples/server/plant.wit",
        world: "acme:plant/panel",
    });
}

/// How much further POST opens a valve, in per cent.
const STEP: u8 = 10;

struct Panel;

wasip2::http::proxy::export!(Panel);

impl Guest for Panel {
    fn handle(request: IncomingRequest, answer: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let valve = path.trim_start_matches('/');
        if valve == "spin" {
            loop {
                std::hint::black_box(());
            }
        }
        let open = match request.method() {
            Method::Post => valves::open(valve, STEP),
            _ => valves::read(valve),
        };
        let (status, text) = match open {
            Some(open) => (200, format!("{valve} is open by {open} %\n")),
            None => (404, "there is no such valve\n".to_owned()),
        };
        let response = OutgoingResponse::new(Fields::new());
        response
            .set_status_code(status)
            .expect("these are statuses of HTTP");
        let body = response.body().expect("it is asked for once");
        ResponseOutparam::set(answer, Ok(response));
        let mut out = body.write().expect("it is asked for once");
        // Whoever asked may be gone; then nobody misses the answer.
        let written = out
            .write_all(text.as_bytes())
            .and_then(|()| Write::flush(&mut out));
        drop(out);
        if written.is_ok() {
            let _ = OutgoingBody::finish(body, None);
        }
    }
}
