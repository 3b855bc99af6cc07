//! The seal format: authenticated encryption of content of any length under a 32-byte key.
//!
//! ```text
//! info   = CBOR [suite, purpose, object, version, chunk size]
//! HKDF-SHA-384[salt, info](key, 71) → cipher key 32 ‖ nonce prefix 7 ‖ commitment 32
//! sealed = salt 32 ‖ commitment 32 ‖ chunk 0 ‖ chunk 1 ‖ …
//! chunk  = AES-256-GCM(cipher key, prefix ‖ BE32(i) ‖ last, AAD = info, ≤ 256 KiB of content) ‖ tag 16
//! ```
//!
//! The commitment is compared before anything is decrypted: AES-GCM alone lets one ciphertext open under two keys.
//! Empty content is one empty last chunk. Chunks can be made and opened in any order, which is what lets a wallet work on
//! one segment of a large value at a time. Spec: `spec/piece.md` §1.

use core::ops::Range;

use zeroize::Zeroizing;

use crate::crypto::{ChunkCipher, CryptoError, KEY_LEN, STREAM_PREFIX_LEN, Secret, TAG_LEN, derive_bytes, same_bytes};

/// Content bytes per chunk.
pub const CHUNK: usize = 256 * 1024;
/// Salt and commitment.
pub const HEADER: usize = 64;
/// Length of a whole sealed chunk.
pub const SEALED_CHUNK: usize = CHUNK + TAG_LEN;

/// What is sealed and what for. Everything here is bound into the key and into every chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purpose<'a> {
    /// The role, one of the constants of the caller's module (`"content"`, `"envelope"`, …).
    pub purpose: &'a str,
    /// The object: an id or a path.
    pub object: &'a [u8],
    /// The object's version, where it has any; otherwise 0.
    pub version: u64,
}

impl Purpose<'_> {
    /// `CBOR [suite, purpose, object, version, chunk size]`.
    pub fn info(&self) -> Vec<u8> {
        let object = crate::codec::Bytes(self.object.to_vec());
        crate::codec::encode(&(crate::SUITE, self.purpose, object, self.version, CHUNK as u32))
    }
}

/// Length of the sealed form of `len` bytes of content.
pub const fn sealed_len(len: u64) -> u64 {
    let chunks = if len == 0 { 1 } else { len.div_ceil(CHUNK as u64) };
    HEADER as u64 + len + chunks * TAG_LEN as u64
}

/// Inverse of [`sealed_len`]; `None` for lengths that no content has.
pub const fn content_len(sealed: u64) -> Option<u64> {
    let Some(body) = sealed.checked_sub(HEADER as u64) else { return None };
    let chunks = body.div_ceil(SEALED_CHUNK as u64);
    if chunks == 0 {
        return None;
    }
    let Some(len) = body.checked_sub(chunks * TAG_LEN as u64) else { return None };
    if sealed_len(len) == sealed { Some(len) } else { None }
}

/// Where one chunk stands in the content and in the sealed form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Number, from 0.
    pub index: u32,
    /// Whether it is the last.
    pub last: bool,
    /// Its bytes of the content.
    pub content: Range<usize>,
    /// Its bytes of the sealed form, tag included.
    pub sealed: Range<usize>,
}

/// The chunks of a content of `len` bytes, in order; never none.
///
/// # Errors
/// If there are more than 2^32.
pub fn chunks(len: usize) -> Result<impl Iterator<Item = Chunk>, CryptoError> {
    let count = u32::try_from(len.div_ceil(CHUNK).max(1)).map_err(|_| CryptoError)?;
    Ok((0..count).map(move |index| {
        let content = index as usize * CHUNK..len.min((index as usize + 1) * CHUNK);
        let start = HEADER + index as usize * SEALED_CHUNK;
        let sealed = start..start + content.len() + TAG_LEN;
        Chunk { index, last: index + 1 == count, content, sealed }
    }))
}

/// The derived keys of one sealed object; seals and opens its chunks in any order.
#[derive(Clone)]
pub struct Sealer {
    info: Vec<u8>,
    header: [u8; HEADER],
    key: Zeroizing<[u8; KEY_LEN]>,
    prefix: [u8; STREAM_PREFIX_LEN],
}

impl Sealer {
    /// Derives the keys for sealing under a given salt. A salt serves one content only: draw it, or derive it from the
    /// seed of the operation that owns the content.
    ///
    /// # Errors
    /// Never for the fixed lengths used here; the type is HKDF's.
    pub fn new(key: &Secret, salt: &[u8; 32], purpose: &Purpose<'_>) -> Result<Self, CryptoError> {
        let info = purpose.info();
        let mut okm = Zeroizing::new([0; KEY_LEN + STREAM_PREFIX_LEN + 32]);
        derive_bytes(key.expose(), salt, &info, &mut *okm)?;
        let mut sealer =
            Self { info, header: [0; HEADER], key: Zeroizing::new([0; KEY_LEN]), prefix: [0; STREAM_PREFIX_LEN] };
        sealer.key.copy_from_slice(&okm[..KEY_LEN]);
        sealer.prefix.copy_from_slice(&okm[KEY_LEN..KEY_LEN + STREAM_PREFIX_LEN]);
        sealer.header[..32].copy_from_slice(salt);
        sealer.header[32..].copy_from_slice(&okm[KEY_LEN + STREAM_PREFIX_LEN..]);
        Ok(sealer)
    }

    /// Derives the keys of an object that was sealed before, from its header.
    ///
    /// # Errors
    /// If the commitment does not fit: another key, purpose, object or version, or altered bytes.
    pub fn of(key: &Secret, sealed: &[u8], purpose: &Purpose<'_>) -> Result<Self, CryptoError> {
        let header: &[u8; HEADER] = sealed.first_chunk().ok_or(CryptoError)?;
        let salt: &[u8; 32] = header.first_chunk().ok_or(CryptoError)?;
        let sealer = Self::new(key, salt, purpose)?;
        if same_bytes(&sealer.header, header) { Ok(sealer) } else { Err(CryptoError) }
    }

    /// Salt and commitment, which stand before the first chunk.
    pub const fn header(&self) -> &[u8; HEADER] {
        &self.header
    }

    /// Key and associated data, for a shell that has AES-256-GCM of its own.
    pub fn parts(&self) -> (&[u8; KEY_LEN], &[u8]) {
        (&self.key, &self.info)
    }

    /// Nonce of a chunk: `prefix ‖ BE32(i) ‖ last`.
    pub fn nonce(&self, chunk: &Chunk) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce[..STREAM_PREFIX_LEN].copy_from_slice(&self.prefix);
        nonce[STREAM_PREFIX_LEN..11].copy_from_slice(&chunk.index.to_be_bytes());
        nonce[11] = u8::from(chunk.last);
        nonce
    }

    /// Seals one chunk of the content and appends it to `out`.
    ///
    /// # Errors
    /// If the chunk exceeds the cipher's limits, which [`CHUNK`] does not.
    pub fn seal_chunk(&self, chunk: &Chunk, content: &[u8], out: &mut Vec<u8>) -> Result<(), CryptoError> {
        let mut buffer = Vec::with_capacity(content.len() + TAG_LEN);
        buffer.extend_from_slice(content);
        self.cipher().seal_chunk(chunk.index, chunk.last, &self.info, &mut buffer)?;
        out.extend_from_slice(&buffer);
        Ok(())
    }

    fn cipher(&self) -> ChunkCipher {
        ChunkCipher::new(&self.key, &self.prefix)
    }

    /// Appends the sealed bytes `from..to` of the content's sealed form (header included in the numbering) to `out`.
    /// Chunks that the range cuts are sealed whole and cut, so that any division into ranges gives the same bytes.
    ///
    /// # Errors
    /// If the range leaves the sealed form, or the content exceeds 2^32 chunks.
    pub fn seal_range(&self, content: &[u8], from: u64, to: u64, out: &mut Vec<u8>) -> Result<(), CryptoError> {
        let total = sealed_len(content.len() as u64);
        if from > to || to > total {
            return Err(CryptoError);
        }
        let header_end = to.min(HEADER as u64);
        if from < header_end {
            out.extend_from_slice(&self.header[from as usize..header_end as usize]);
        }
        let mut sealed = Vec::with_capacity(SEALED_CHUNK);
        for chunk in chunks(content.len())? {
            let (start, end) = (chunk.sealed.start as u64, chunk.sealed.end as u64);
            if end <= from || start >= to {
                continue;
            }
            sealed.clear();
            self.seal_chunk(&chunk, &content[chunk.content.clone()], &mut sealed)?;
            let cut = |at: u64| (at.clamp(start, end) - start) as usize;
            out.extend_from_slice(&sealed[cut(from)..cut(to)]);
        }
        Ok(())
    }

    /// Seals content whole.
    ///
    /// # Errors
    /// [`CryptoError`], never for content below 2^32 chunks.
    pub fn seal(&self, content: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let total = sealed_len(content.len() as u64);
        let mut out = Vec::with_capacity(usize::try_from(total).map_err(|_| CryptoError)?);
        self.seal_range(content, 0, total, &mut out)?;
        Ok(out)
    }

    /// Opens a whole sealed form; inverse of [`Self::seal`].
    ///
    /// # Errors
    /// If a chunk was altered, moved, removed or added.
    pub fn open(&self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let len = content_len(sealed.len() as u64).ok_or(CryptoError)?;
        let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(len).map_err(|_| CryptoError)?));
        self.open_into(sealed, &mut content)?;
        Ok(content)
    }

    /// Opens a whole sealed form to the end of `content`, so that large content need not be moved again.
    ///
    /// # Errors
    /// As [`Self::open`]; what was appended until then is authentic but not all, and is to be thrown away.
    pub fn open_into(&self, sealed: &[u8], content: &mut Vec<u8>) -> Result<(), CryptoError> {
        let len = content_len(sealed.len() as u64).ok_or(CryptoError)?;
        let cipher = self.cipher();
        let mut buffer = Zeroizing::new(Vec::with_capacity(SEALED_CHUNK));
        for chunk in chunks(usize::try_from(len).map_err(|_| CryptoError)?)? {
            buffer.clear();
            buffer.extend_from_slice(&sealed[chunk.sealed]);
            cipher.open_chunk(chunk.index, chunk.last, &self.info, &mut buffer)?;
            content.extend_from_slice(&buffer);
        }
        Ok(())
    }
}

/// Seals content whole.
///
/// # Errors
/// [`CryptoError`], never for content below 2^32 chunks.
pub fn seal(key: &Secret, salt: &[u8; 32], purpose: &Purpose<'_>, content: &[u8]) -> Result<Vec<u8>, CryptoError> {
    Sealer::new(key, salt, purpose)?.seal(content)
}

/// Opens what [`seal`] made.
///
/// # Errors
/// [`CryptoError`] if the key, the purpose or any byte differs.
pub fn open(key: &Secret, purpose: &Purpose<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    Sealer::of(key, sealed, purpose)?.open(sealed)
}
