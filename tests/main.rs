//! Capitune as its users and its enemies meet it: on a real Postgres and a real nats-server.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(missing_docs, reason = "a test is a sentence")]

mod architecture;
mod audit;
#[cfg(target_os = "linux")]
mod clocks;
mod commands;
mod cqrs_es;
mod crashes;
mod crate_traps;
mod database_roles;
mod erasure;
mod evolution;
mod failover;
mod first_path;
mod http;
mod log;
mod mail;
mod migrations;
mod monitoring;
mod nats_cluster;
mod partitions;
mod projections;
mod quarantine;
mod rebuild;
mod relay;
mod replication;
mod restore;
mod row_level_security;
mod several_processes;
mod support;
mod system;
mod unknown_outcomes;
mod vault;
mod verify;
mod witnesses;
mod workers;
