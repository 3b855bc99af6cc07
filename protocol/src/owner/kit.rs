//! The kit: one page of paper with which its owner comes back while the recovery name's guesses are used up, or its name forgotten.
//!
//! It says the name, the safes and a secret. The secret opens nothing: shown to a safe, it lets tries be counted by themselves, out of the reach of whoever knows the name only.
//! What opens is the passphrase, and what stands on the paper does not help to guess it: fewer safes than the threshold learn nothing that a try could be compared with, whoever
//! has the kit. Spec: `spec/kit.md`.

use base64ct::{Base64UrlUnpadded, Encoding};
use minicbor::{Decode, Encode, bytes::ByteArray};
use rand_core::CryptoRng;

use crate::{
    SUITE,
    codec::{self, CodecError},
    crypto::{Secret, blake3_commit},
    identity::MAX_URL_LEN,
    ids::{SafeId, Seconds},
    owner::{enrolment::MAX_SEATS, name::MAX_NAME_CHARS},
};

/// What the text of a kit begins with.
pub const PREFIX: &str = "strongroom-kit:";
/// Longest kit, bytes: twenty safes of 32 and 256 with their heads, and less than 400 for the rest.
pub const MAX_KIT_LEN: usize = MAX_SEATS * (32 + MAX_URL_LEN + 8) + 400;
/// Length of the check behind a kit, bytes: one mistake in four billion is not noticed.
const CHECK_LEN: usize = 4;
/// Characters of a code: 30 bits.
const CODE_CHARS: usize = 6;
/// What a code is made of, as a name's suffix.
const CODE_ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// A text was refused. Each says what to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KitError {
    /// Not the text of a kit.
    #[error("this is not the text of a kit: it begins with “{PREFIX}”; enter all of it")]
    NotAKit,
    /// A character is wrong or missing.
    #[error("a character of the kit's text is wrong or missing; compare it with the paper")]
    Mistyped,
    /// Of a newer kind.
    #[error("the kit is of another version: {0}")]
    Malformed(#[from] CodecError),
}

/// A safe as a kit names it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct KitSafe {
    /// The safe.
    #[n(0)]
    pub id: SafeId,
    /// Where it was when the kit was made.
    #[n(1)]
    pub url: String,
}

/// What stands on the paper.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub struct Kit {
    /// Format generation.
    #[n(0)]
    pub suite: u8,
    /// The recovery name.
    #[n(1)]
    pub name: String,
    /// The secret.
    #[n(2)]
    pub secret: Secret,
    /// Generation of the enrolment in force when it was made: a lower bound of what safes may show.
    #[n(3)]
    pub generation: u32,
    /// How many safes must answer.
    #[n(4)]
    pub threshold: u8,
    /// The safes.
    #[n(5)]
    pub safes: Vec<KitSafe>,
    /// When it was made.
    #[n(6)]
    pub made: Seconds,
    /// When the first of the leases ended that were running then.
    #[n(7)]
    pub lease_end: Option<Seconds>,
}

/// What a kit is called, on the paper and on the page, so that one finds which paper is the right one: 30 bits that say nothing of the secret.
pub fn code_of(secret: &Secret) -> String {
    let whole = blake3_commit("strongroom 1 kit code", &[secret.expose()]);
    whole.iter().take(CODE_CHARS).map(|byte| char::from(CODE_ALPHABET[usize::from(byte & 31)])).collect()
}

impl Kit {
    /// A fresh one.
    pub fn make<R: CryptoRng>(
        name: String,
        generation: u32,
        threshold: u8,
        safes: Vec<KitSafe>,
        (made, lease_end): (Seconds, Option<Seconds>),
        rng: &mut R,
    ) -> Self {
        let secret = Secret::make_random(rng);
        Self { suite: SUITE, name, secret, generation, threshold, safes, made, lease_end }
    }

    /// What it is called.
    pub fn code(&self) -> String {
        code_of(&self.secret)
    }

    /// The text for paper and QR code: [`PREFIX`], and base64url (RFC 4648 §5) of the CBOR with a check behind it.
    pub fn to_text(&self) -> String {
        let mut bytes = codec::encode(self);
        bytes.extend_from_slice(&check_of(&bytes));
        format!("{PREFIX}{}", Base64UrlUnpadded::encode_string(&bytes))
    }

    /// Reads the text, with whatever space paper, mail and fingers have put into it. Inverse of [`Self::to_text`].
    ///
    /// # Errors
    /// [`KitError`].
    pub fn parse(text: &str) -> Result<Self, KitError> {
        let plain: String = text.chars().filter(|c| !c.is_whitespace()).take(2 * MAX_KIT_LEN).collect();
        let body = plain.strip_prefix(PREFIX).ok_or(KitError::NotAKit)?;
        let bytes = Base64UrlUnpadded::decode_vec(body).map_err(|_| KitError::Mistyped)?;
        let (content, check) = bytes.split_last_chunk::<CHECK_LEN>().ok_or(KitError::Mistyped)?;
        if check_of(content) != *check {
            return Err(KitError::Mistyped);
        }
        let kit: Self = codec::decode(content, MAX_KIT_LEN)?;
        codec::expect_suite(kit.suite)?;
        let fits = kit.safes.len() <= MAX_SEATS
            && kit.name.chars().count() <= MAX_NAME_CHARS
            && kit.safes.iter().all(|safe| safe.url.len() <= MAX_URL_LEN);
        if fits { Ok(kit) } else { Err(CodecError::Malformed.into()) }
    }
}

fn check_of(bytes: &[u8]) -> [u8; CHECK_LEN] {
    let whole = blake3_commit("strongroom 1 kit check", &[bytes]);
    let mut check = [0; CHECK_LEN];
    check.copy_from_slice(&whole[..CHECK_LEN]);
    check
}

/// What the wallet remembers of the kit that was printed: enough to say whether the paper still fits, not to print it again.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Printed {
    /// What it is called.
    #[n(0)]
    pub code: String,
    /// Generation of the enrolment.
    #[n(1)]
    pub generation: u32,
    /// When it was made.
    #[n(2)]
    pub made: Seconds,
    /// The end of the first lease that it says.
    #[n(3)]
    pub lease_end: Option<Seconds>,
    /// [`safes_digest`] of the safes that it names.
    #[n(4)]
    pub safes: ByteArray<32>,
}

/// Recognises a list of safes with their addresses.
pub fn safes_digest(safes: &[KitSafe]) -> [u8; 32] {
    let mut sorted: Vec<&KitSafe> = safes.iter().collect();
    sorted.sort_unstable_by_key(|safe| safe.id);
    let parts: Vec<&[u8]> = sorted.iter().flat_map(|safe| [&safe.id.0[..], safe.url.as_bytes()]).collect();
    blake3_commit("strongroom 1 kit safes", &parts)
}

impl Printed {
    /// Of a kit that was tried.
    pub fn of(kit: &Kit) -> Self {
        let (generation, made, lease_end) = (kit.generation, kit.made, kit.lease_end);
        Self { code: kit.code(), generation, made, lease_end, safes: safes_digest(&kit.safes).into() }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::crypto::expand_seed;

    fn kit() -> Kit {
        let safes = (1..=5).map(|n| KitSafe { id: SafeId([n; 32]), url: format!("https://safe{n}.example.org") });
        let mut rng = expand_seed(&Secret::from_bytes([3; 32]));
        Kit::make("alice-7kq4m2".to_owned(), 2, 3, safes.collect(), (1_800_000_000, Some(1_860_000_000)), &mut rng)
    }

    #[test]
    fn a_text_is_read_as_it_was_written() {
        let kit = kit();
        let text = kit.to_text();
        assert!(text.len() < 700, "{} characters go into a code that telephones read", text.len());
        let spaced: String =
            text.chars().enumerate().flat_map(|(i, c)| [Some(c), (i % 40 == 0).then_some('\n')]).flatten().collect();
        for text in [&text, &spaced] {
            let read = Kit::parse(text).unwrap();
            assert_eq!(codec::encode(&read), codec::encode(&kit));
        }
        assert_eq!((kit.code().len(), kit.code()), (6, Kit::parse(&text).unwrap().code()));
    }

    #[test]
    fn a_wrong_character_is_noticed_wherever_it_is() {
        let text = kit().to_text();
        for at in PREFIX.len()..text.len() {
            let mut wrong = text.clone().into_bytes();
            wrong[at] = if wrong[at] == b'A' { b'B' } else { b'A' };
            assert!(Kit::parse(&String::from_utf8(wrong).unwrap()).is_err(), "at {at}");
            assert!(Kit::parse(&text[..at]).is_err(), "cut at {at}");
        }
        assert_eq!(Kit::parse("strongroom-piece:AAAA").unwrap_err(), KitError::NotAKit);
        assert_eq!(Kit::parse("").unwrap_err(), KitError::NotAKit);
    }

    #[test]
    fn a_list_of_safes_is_the_same_in_any_order() {
        let mut safes = kit().safes;
        let digest = safes_digest(&safes);
        safes.reverse();
        assert_eq!(safes_digest(&safes), digest);
        safes[0].url.push('/');
        assert_ne!(safes_digest(&safes), digest);
    }
}
