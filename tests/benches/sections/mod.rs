//! What is measured, by and by.

pub mod audit;
pub mod http;
pub mod log_ins;
pub mod read;
pub mod start;
pub mod tables;
pub mod write;
