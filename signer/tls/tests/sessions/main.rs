//! Sessions over TLS with keys of several stores: between two programs of rustls, and with Mosquitto.

mod broker;
mod handshake;
mod mqtt;
mod pki;
