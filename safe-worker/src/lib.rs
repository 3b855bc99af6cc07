//! An electronic safe.
//!
//! [`machine`] decides: `(record, request, now, randomness, keys) → (reply, record, effects)`, pure. [`record`] is what it remembers of a
//! deposit, [`account`] what a token's holder uses, [`operator`] what belongs to the safe as a whole. [`owner`] does the same for an owner who comes with a passphrase. [`flow`] is the order of ledger and
//! storage for each HTTP request, over any [`flow::Platform`]; [`memory`] is a platform for tests. `edge` (wasm only) is the platform on
//! Cloudflare: Durable Objects, KV, routes. Spec: `spec/safe.md`, `spec/deposit.md`.

pub mod account;
pub mod flow;
pub mod machine;
pub mod memory;
pub mod operator;
pub mod owner;
pub mod record;
pub mod relay;

#[cfg(target_family = "wasm")]
mod edge;
