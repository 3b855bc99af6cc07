//! What two strangers must agree on to keep valuables at electronic safes: formats, certificates, plans.
//!
//! The modules stand in the order of the flow: a *value* goes into a [`bundle`], a [`plan`] says where it goes, the [`layout`]
//! makes [`envelope`]s of it, each is a [`deposit`] that a safe ([`identity`]) signs a [`certificate`] for; a [`claim`] brings it
//! back, and the [`book`] keeps what that needs. In between, an [`audit`] shows that it is still there, the [`register`] gives a value
//! that may live once to one claimant, [`evidence`] says who is at fault, and a [`token`] who may deposit. Below them lie [`seal`], [`sealed`],
//! [`cose`], [`codec`] and [`crypto`].
//!
//! In scope: bytes and their meaning. Out of scope: storage, networks, clocks, randomness: all come in as parameters.
//! The normative text is `spec/`.

pub mod analysis;
pub mod audit;
pub mod book;
pub mod bundle;
pub mod certificate;
pub mod claim;
pub mod codec;
pub mod cose;
pub mod crypto;
pub mod deposit;
pub mod envelope;
pub mod evidence;
pub mod identity;
pub mod ids;
pub mod layout;
pub mod owner;
pub mod padme;
pub mod passphrase;
pub mod piece_file;
pub mod plan;
pub mod problem;
pub mod program;
pub mod register;
pub mod relay;
pub mod seal;
pub mod sealed;
pub mod token;

/// The generation of formats and primitives, in every persisted and sent format:
/// ES384, HPKE (X-Wing as of draft-ietf-hpke-pq-03, KEM id 0x647a; HKDF-SHA384; AES-256-GCM), AES-256-GCM STREAM with 256 KiB chunks,
/// HKDF-SHA-384, Argon2id, BLAKE3, Shamir over GF(2^8), Leopard Reed–Solomon over GF(2^16).
pub const SUITE: u8 = 1;
