//! Greets whoever asks over HTTP. What is sent to `/echo` comes back.

use std::io::{Write, copy};

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

struct Hello;

wasip2::http::proxy::export!(Hello);

impl Guest for Hello {
    fn handle(request: IncomingRequest, answer: ResponseOutparam) {
        let echoes = request.path_with_query().as_deref() == Some("/echo");
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().expect("it is asked for once");
        ResponseOutparam::set(answer, Ok(response));

        let mut out = body.write().expect("it is asked for once");
        // Whoever asked may be gone; then nobody misses the answer.
        let written = if echoes {
            let asked = request.consume().expect("it is consumed once");
            let mut text = asked.stream().expect("it is asked for once");
            copy(&mut text, &mut out).map(|_| ())
        } else {
            out.write_all(b"Hello, world!\n")
        };
        let written = written.and_then(|()| Write::flush(&mut out));
        drop(out);
        if written.is_ok() {
            let _ = OutgoingBody::finish(body, None);
        }
    }
}
