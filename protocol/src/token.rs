//! Admission tokens: what an operator hands out so that a safe takes deposits of those who have one, and of nobody else.
//!
//! A token states its quota itself, under a MAC by a key that only the safe has: it is checked before any object is touched, and a
//! stranger without one costs the safe nothing but a hash. Spec: `spec/safe.md`.

use base64ct::{Base64UrlUnpadded, Encoding};
use minicbor::{Decode, Encode};

use crate::{
    SUITE,
    codec::{self, Bytes, CodecError},
    crypto::{Secret, derive_secret, mac, same_bytes},
    ids::{SafeId, Seconds, TokenId},
};

/// First letters of a token, so that it is recognised where it is pasted.
pub const TOKEN_PREFIX: &str = "strongroom-token-";
/// Longest token, characters: prefix 17, and base64url of 32 bytes MAC, 34 safe, 17 id, three numbers of 9 and 8 for heads.
pub const MAX_TOKEN_LEN: usize = 17 + 118 * 4 / 3 + 16;

/// A token was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Not a token at all.
    #[error("not a token; copy it again from where the operator gave it")]
    Malformed,
    /// Made by another key, or altered.
    #[error("a token of another safe, or an altered one")]
    WrongSafe,
    /// Its time is over.
    #[error("the token's time is over; ask the operator for a new one")]
    Expired,
}

impl From<CodecError> for TokenError {
    fn from(_: CodecError) -> Self {
        Self::Malformed
    }
}

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Token {
    /// Format generation.
    #[n(0)]
    pub suite: u8,
    /// The safe that it is for.
    #[n(1)]
    pub safe: SafeId,
    /// Its name, under which its use is counted.
    #[n(2)]
    pub id: TokenId,
    /// Bytes of all bodies together.
    #[n(3)]
    pub bytes: u64,
    /// Deposits.
    #[n(4)]
    pub deposits: u64,
    /// First second in which it no longer counts.
    #[n(5)]
    pub until: Seconds,
}

fn tag(key: &Secret, bytes: &[u8]) -> Bytes {
    Bytes(mac(&derive_secret(key, "token", b""), bytes).to_vec())
}

impl Token {
    /// A token of our suite.
    pub const fn new(safe: SafeId, id: TokenId, bytes: u64, deposits: u64, until: Seconds) -> Self {
        Self { suite: SUITE, safe, id, bytes, deposits, until }
    }

    /// Text of the token. Inverse of [`Self::parse`].
    pub fn mint(&self, key: &Secret) -> String {
        let bytes = codec::encode(self);
        let tag = tag(key, &bytes);
        format!("{TOKEN_PREFIX}{}", Base64UrlUnpadded::encode_string(&codec::encode(&(Bytes(bytes), tag))))
    }

    /// Checks a token at the safe.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn parse(text: &str, key: &Secret, safe: &SafeId, now: Seconds) -> Result<Self, TokenError> {
        if text.len() > MAX_TOKEN_LEN {
            return Err(TokenError::Malformed);
        }
        let encoded = text.trim().strip_prefix(TOKEN_PREFIX).ok_or(TokenError::Malformed)?;
        let bytes = Base64UrlUnpadded::decode_vec(encoded).map_err(|_| TokenError::Malformed)?;
        let (bytes, claimed): (Bytes, Bytes) = codec::decode(&bytes, MAX_TOKEN_LEN)?;
        if !same_bytes(&claimed, &tag(key, &bytes)) {
            return Err(TokenError::WrongSafe);
        }
        let token: Self = codec::decode(&bytes, MAX_TOKEN_LEN)?;
        codec::expect_suite(token.suite)?;
        if token.safe != *safe {
            return Err(TokenError::WrongSafe);
        }
        if now < token.until { Ok(token) } else { Err(TokenError::Expired) }
    }
}
