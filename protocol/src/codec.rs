//! Deterministic CBOR (RFC 8949 §4.2.1) for everything persisted or sent.
//!
//! Maps have small integer keys in ascending order and definite lengths; what has another encoding is refused, so that equal
//! things have equal bytes and hashes of bytes are hashes of things. Sizes are capped before anything is decoded.

use minicbor::{Decode, Encode, encode::Write};
use zeroize::Zeroizing;

/// Bytes were refused. The message says why; nothing of the input was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// Longer than the cap of its kind.
    #[error("{got} bytes, where at most {most} are taken")]
    TooLong {
        /// What came, bytes.
        got: usize,
        /// What is taken, bytes.
        most: usize,
    },
    /// Not CBOR, or not of the expected shape.
    #[error("not of the expected shape")]
    Malformed,
    /// Well-formed, but not the one deterministic encoding of its content.
    #[error("not in deterministic encoding (RFC 8949 §4.2.1)")]
    NotDeterministic,
    /// Made by another generation of the formats.
    #[error("suite {0} is unknown here; a newer version may know it")]
    UnknownSuite(u8),
}

/// Encodes. Inverse of [`decode`].
pub fn encode<T: Encode<()>>(value: &T) -> Vec<u8> {
    struct Sink(Vec<u8>);
    impl Write for Sink {
        type Error = core::convert::Infallible;
        fn write_all(&mut self, bytes: &[u8]) -> Result<(), Self::Error> {
            self.0.extend_from_slice(bytes);
            Ok(())
        }
    }
    let mut sink = Sink(Vec::new());
    // Writing to memory cannot fail and no type here has an encoder that refuses.
    let _ = minicbor::encode(value, &mut sink);
    sink.0
}

/// Decodes what [`encode`] made, and nothing else.
///
/// # Errors
/// [`CodecError`]: too long, malformed, trailing bytes, or not deterministic.
pub fn decode<T: Encode<()> + for<'b> Decode<'b, ()>>(bytes: &[u8], most: usize) -> Result<T, CodecError> {
    if bytes.len() > most {
        return Err(CodecError::TooLong { got: bytes.len(), most });
    }
    let mut decoder = minicbor::Decoder::new(bytes);
    let value: T = decoder.decode().map_err(|_| CodecError::Malformed)?;
    if decoder.position() != bytes.len() {
        return Err(CodecError::Malformed);
    }
    if encode(&value) != bytes {
        return Err(CodecError::NotDeterministic);
    }
    Ok(value)
}

/// Fails for any suite but ours.
///
/// # Errors
/// [`CodecError::UnknownSuite`].
pub const fn expect_suite(suite: u8) -> Result<(), CodecError> {
    if suite == crate::SUITE { Ok(()) } else { Err(CodecError::UnknownSuite(suite)) }
}

/// A byte string of any length, CBOR major type 2.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl<C> Encode<C> for Bytes {
    fn encode<W: Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Bytes {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        d.bytes().map(|b| Self(b.to_vec()))
    }
}

impl core::ops::Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

/// A byte string that is wiped when it is dropped and shows nothing in logs.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretBytes(pub Zeroizing<Vec<u8>>);

impl core::fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "SecretBytes({})", self.0.len())
    }
}

impl<C> Encode<C> for SecretBytes {
    fn encode<W: Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for SecretBytes {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        d.bytes().map(|b| Self(b.to_vec().into()))
    }
}

impl<C> Encode<C> for crate::crypto::Secret {
    fn encode<W: Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(self.expose())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for crate::crypto::Secret {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Self::try_from(d.bytes()?).map_err(minicbor::decode::Error::message)
    }
}
