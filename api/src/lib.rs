//! The HTTP API of Capitune, and every role of its binary.

mod accesses;
mod answer;
mod app;
mod auth;
pub mod cli;
mod client_address;
pub mod config;
mod demo;
mod diff;
mod edge;
pub mod embedded;
mod erasure;
mod error;
mod export;
mod extract;
mod jobs;
mod lingering;
mod mail;
mod metadata;
mod openapi;
mod problem;
mod rate_limit;
mod reads;
mod routes;
mod server;
mod telemetry;
