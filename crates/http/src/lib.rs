//! Listener, TLS, limits and codec: all that the server knows about HTTP.
//!
//! [`serve`] binds an address and answers what lies below `/v1/` out of a [`Core`](strongroom_core::Core): it reads the request
//! within its limits, checks that the body is JSON of bounded complexity before anything parses it, hands it over as a
//! [`gate::Request`], and writes the reply. The only thing that it can send as an answer is a reply of the core, or
//! a fault of the transport's own (`status.rs` has the one table of faults).
//!
//! A request that was handed over is carried through even if its client hangs up, so that what it did in other systems
//! and in the audit log has an end.

mod body;
mod config;
mod connection;
mod cors;
mod error;
mod exchange;
mod form;
mod forwarded;
mod id;
mod inline;
pub mod json;
mod proxy_protocol;
mod reply;
mod request;
mod response_headers;
mod serve;
pub mod status;
mod tls;
mod unix;

pub use config::{Address, ForwardedFor, ListenerConfig, OpenRoutes, Tls, TlsVersion, networks};
pub use error::Error;
pub use proxy_protocol::ProxyProtocol;
pub use response_headers::ResponseHeaders;
pub use serve::{Serving, serve};
pub use tls::knows_cipher_suite;
pub use unix::UnixSocket;
