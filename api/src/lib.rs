//! The HTTP API of Capitune, and every role of its binary.

mod accesses;
mod admission;
mod analytics_exports;
mod answer;
mod app;
mod archive;
mod auth;
mod avatars;
mod case_file;
pub mod cli;
mod client_address;
pub mod config;
mod cors;
mod demo;
mod diff;
mod edge;
pub mod embedded;
mod erasure;
mod error;
mod export;
mod extract;
mod graphql;
mod head_patience;
mod invitations;
mod lingering;
mod mail;
mod metadata;
mod object_place;
mod openapi;
mod problem;
mod rate_limit;
mod reads;
mod routes;
mod server;
mod sweep;
mod table;
mod telemetry;
mod witnesses;

/// Lets everything that speaks TLS do so by ring. To be called once, before any HTTP client is made.
pub fn install_tls() {
    // Whoever was first has installed the same.
    rustls::crypto::ring::default_provider().install_default().ok();
}
