//! Suites that run on every implementation of a thing. The tests themselves stand in `tests/tests/`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

pub mod decoders;
pub mod fixture;
pub mod in_memory;
pub mod owner;
pub mod owner_suite;
pub mod plug;
pub mod relay_suite;
pub mod safe_suite;
pub mod simulation;
pub mod visit;
pub mod world;
