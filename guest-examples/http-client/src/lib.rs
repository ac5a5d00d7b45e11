//! Asks another server what it was asked: a path that ends in `/http://plant.example:8080/level` fetches that address, and
//! answers with what came back, or with the error's name.

use std::io::{Read, Write};

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingRequest, OutgoingBody, OutgoingRequest, OutgoingResponse,
    ResponseOutparam, Scheme,
};

struct Client;

wasip2::http::proxy::export!(Client);

impl Guest for Client {
    fn handle(request: IncomingRequest, answer: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let address = path.find("http").map_or("", |start| &path[start..]);
        let (status, text) = match fetch(address) {
            Ok(text) => (200, text),
            Err(error) => (502, format!("{error:?}\n").into_bytes()),
        };
        let response = OutgoingResponse::new(Fields::new());
        let _ = response.set_status_code(status);
        let body = response.body().expect("it is asked for once");
        ResponseOutparam::set(answer, Ok(response));
        let mut out = body.write().expect("it is asked for once");
        let written = out.write_all(&text).and_then(|()| Write::flush(&mut out));
        drop(out);
        if written.is_ok() {
            let _ = OutgoingBody::finish(body, None);
        }
    }
}

fn fetch(address: &str) -> Result<Vec<u8>, ErrorCode> {
    let (scheme, rest) = match address.split_once("://") {
        Some(("http", rest)) => (Scheme::Http, rest),
        Some(("https", rest)) => (Scheme::Https, rest),
        _ => return Err(ErrorCode::HttpRequestUriInvalid),
    };
    let end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let request = OutgoingRequest::new(Fields::new());
    let set = request
        .set_scheme(Some(&scheme))
        .and_then(|()| request.set_authority(Some(authority)))
        .and_then(|()| request.set_path_with_query(Some(if path.is_empty() { "/" } else { path })));
    set.map_err(|()| ErrorCode::HttpRequestUriInvalid)?;
    let coming = outgoing_handler::handle(request, None)?;
    coming.subscribe().block();
    let response = match coming.get() {
        Some(Ok(response)) => response?,
        _ => return Err(ErrorCode::InternalError(None)),
    };
    let body = response.consume().expect("it is consumed once");
    let mut stream = body.stream().expect("it is asked for once");
    let mut text = Vec::new();
    stream
        .read_to_end(&mut text)
        .map_err(|_| ErrorCode::HttpResponseIncomplete)?;
    Ok(text)
}
