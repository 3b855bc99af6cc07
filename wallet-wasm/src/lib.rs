//! The wallet of Strongroom.
//!
//! [`machine`] decides: `(state, event, now, randomness) → changes`, pure. [`state`] is what it remembers, [`session`] what it knows only
//! while it is open, and from both follows what to do next ([`session::Action`]): nothing is queued that could be lost. [`planning`] takes plans as text, [`drafts`] rules. [`exchange`] turns an
//! action into a request to a safe and an answer into an event, [`audits`] likewise for many deposits at once, [`claiming`] for values that live once, [`owner`] for who comes back with a name and a passphrase. [`book`] is what the safes keep for him. [`rules`] say what is done by itself, [`retiring`] what leaves a safe, [`upkeep`] when pieces are looked at again, [`room`] what does not fit. [`vault`] seals every record under what the passphrase opens, or a [`passkey`]; [`store`] keeps them, [`view`] is what a
//! person sees, [`examine`] what signed files say. `web` (wasm only) is the engine in the browser: IndexedDB, fetch, bindings.
//!
//! Order, always: blob durable → state committed → sent. A closed tab is then an ordinary event: the next start reads the state and
//! goes on with the same bytes, because everything random comes from the operation's seed.

pub mod audits;
pub mod book;
pub mod changing;
pub mod claiming;
pub mod credentials;
pub mod drafts;
pub mod examine;
pub mod exchange;
pub mod keeping;
pub mod machine;
pub mod owner;
pub mod passkey;
pub mod planning;
pub mod proving;
pub mod relaying;
pub mod retiring;
pub mod room;
pub mod rules;
pub mod session;
pub mod state;
pub mod store;
pub mod upkeep;
pub mod vault;
pub mod view;

#[cfg(target_family = "wasm")]
pub mod web;
