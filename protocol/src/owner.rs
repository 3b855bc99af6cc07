//! The owner: who comes with nothing but a recovery name, a passphrase and the addresses of the safes.
//!
//! ```text
//! name ──Argon2id──▶ account at each safe, mask of the enrolment
//!   look       the enrolment's statement, byte-equal at t safes; guesses left            nothing is counted
//!   evaluate   the passphrase, blinded ─▶ each safe with its share, with proof           counted first, then answered
//!              t answers ─▶ Argon2id ─▶ the statement's result? ─▶ a key for each safe
//!   channel    under that key: the root, which opens the book; credentials; enrolments
//! ```
//!
//! In the order of the flow: the [`name`]; the [`enrolment`] that all safes state alike; the [`messages`] to a safe; the [`budget`] of guesses; the
//! [`login`]; the head of the [`book`] that it opens, and which [`past`] ones a safe keeps; and the [`ticket`]s for what is bound to its owner. Beside the passphrase: the [`device`] in its place, and the [`kit`] with
//! guesses of its own; a [`note`] says which credential is which. No safe, and no group below the threshold, learns anything that would let it try passphrases by itself. Spec: `spec/owner.md`.

pub mod book;
pub mod budget;
pub mod device;
pub mod enrolment;
pub mod kit;
pub mod login;
pub mod messages;
pub mod name;
pub mod note;
pub mod past;
pub mod ticket;
