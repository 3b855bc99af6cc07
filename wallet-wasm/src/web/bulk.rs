//! Large content in the browser: sealed and opened chunk by chunk, in arrays outside the wasm memory.
//!
//! The platform's AES-GCM is six times faster than ours in wasm, and the memory of a wasm module never shrinks again. The format is
//! [`protocol::seal`], byte for byte; `tests/browser.rs` compares the two.

use core::ops::Range;
use std::vec::IntoIter;

use js_sys::{Array, Object, Uint8Array};
use protocol::{
    crypto::{CryptoError, Hasher},
    program::Task,
    seal::{CHUNK, Chunk, HEADER, Sealer, chunks, content_len, sealed_len},
};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AesGcmParams, CryptoKey, SubtleCrypto, WorkerGlobalScope};
use zeroize::Zeroizing;

/// The platform refused: nothing was sealed, or what was to be opened was altered.
#[derive(Debug, Clone, Copy)]
pub struct Refused;

impl From<JsValue> for Refused {
    fn from(_: JsValue) -> Self {
        Self
    }
}

impl From<CryptoError> for Refused {
    fn from(_: CryptoError) -> Self {
        Self
    }
}

/// The platform's AES-256-GCM under the keys of one sealed object.
struct Cipher {
    sealer: Sealer,
    key: CryptoKey,
}

fn subtle() -> Result<SubtleCrypto, Refused> {
    let scope: WorkerGlobalScope = js_sys::global().dyn_into().map_err(|_| Refused)?;
    Ok(scope.crypto()?.subtle())
}

impl Cipher {
    async fn new(sealer: Sealer) -> Result<Self, Refused> {
        let (key, _) = sealer.parts();
        let raw = Uint8Array::from(&key[..]);
        let usages: Array = ["encrypt", "decrypt"].into_iter().map(JsValue::from_str).collect();
        let key = JsFuture::from(subtle()?.import_key_with_str("raw", &raw, "AES-GCM", false, &usages)?).await;
        raw.fill(0, 0, raw.length());
        Ok(Self { sealer, key: key?.unchecked_into() })
    }

    fn params(&self, chunk: &Chunk) -> Object {
        let params = AesGcmParams::new_with_u8_array("AES-GCM", &Uint8Array::from(&self.sealer.nonce(chunk)[..]));
        params.set_additional_data_u8_array(&Uint8Array::from(self.sealer.parts().1));
        params.unchecked_into()
    }

    async fn seal(&self, chunk: &Chunk, content: &[u8]) -> Result<Uint8Array, Refused> {
        let promise = subtle()?.encrypt_with_object_and_u8_array(&self.params(chunk), &self.key, content)?;
        Ok(Uint8Array::new(&JsFuture::from(promise).await?))
    }

    async fn open(&self, chunk: &Chunk, sealed: &Uint8Array) -> Result<Uint8Array, Refused> {
        let promise = subtle()?.decrypt_with_object_and_js_u8_array(&self.params(chunk), &self.key, sealed)?;
        Ok(Uint8Array::new(&JsFuture::from(promise).await?))
    }
}

/// Gives an array's memory back at once. Left to the collector, the arrays of one large value would pile up to several times its size.
pub(crate) fn free(array: &Uint8Array) {
    // Where the browser cannot, the collector will.
    let _ = array.buffer().transfer_with_length(0);
}

/// Appends an array that held content, wipes it and gives it back.
fn take_into(array: &Uint8Array, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + array.length() as usize, 0);
    array.copy_to(&mut out[start..]);
    array.fill(0, 0, array.length());
    free(array);
}

/// Root of a body, see [`protocol::crypto::blake3`].
pub(crate) fn root_of(body: &Uint8Array) -> [u8; 32] {
    let mut hasher = Hasher::default();
    let mut portion = vec![0; CHUNK.min(body.length() as usize)];
    let mut at = 0;
    while at < body.length() {
        let end = body.length().min(at + CHUNK as u32);
        let portion = &mut portion[..(end - at) as usize];
        body.subarray(at, end).copy_to(portion);
        hasher.update(portion);
        at = end;
    }
    hasher.finish()
}

/// The header of a sealed form, for [`Sealer::of`].
pub(crate) fn header_of(sealed: &Uint8Array) -> Vec<u8> {
    sealed.subarray(0, HEADER as u32).to_vec()
}

/// Seals content of known length as it comes.
pub struct Writer {
    cipher: Cipher,
    chunks: IntoIter<Chunk>,
    next: Option<Chunk>,
    pending: Zeroizing<Vec<u8>>,
    missing: usize,
    out: Uint8Array,
}

impl Writer {
    /// For `len` bytes of content.
    ///
    /// # Errors
    /// [`Refused`] if the platform has no AES-GCM here.
    pub async fn new(sealer: Sealer, len: usize) -> Result<Self, Refused> {
        let total = u32::try_from(sealed_len(len as u64)).map_err(|_| Refused)?;
        let out = Uint8Array::new_with_length(total);
        out.set(&Uint8Array::from(&sealer.header()[..]), 0);
        let mut chunks = chunks(len)?.collect::<Vec<_>>().into_iter();
        let next = chunks.next();
        let cipher = Cipher::new(sealer).await?;
        Ok(Self { cipher, chunks, next, pending: Zeroizing::new(Vec::new()), missing: len, out })
    }

    /// How many bytes are still to come.
    pub const fn missing(&self) -> usize {
        self.missing
    }

    /// The next bytes; more than are missing are refused.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn push(&mut self, mut bytes: &[u8]) -> Result<(), Refused> {
        self.missing = self.missing.checked_sub(bytes.len()).ok_or(Refused)?;
        while !bytes.is_empty() {
            let chunk = self.next.clone().ok_or(Refused)?;
            let whole = chunk.content.len();
            if self.pending.is_empty() && bytes.len() >= whole {
                self.seal(&chunk, &bytes[..whole]).await?;
                bytes = &bytes[whole..];
                continue;
            }
            let take = bytes.len().min(whole - self.pending.len());
            self.pending.extend_from_slice(&bytes[..take]);
            bytes = &bytes[take..];
            if self.pending.len() == whole {
                let content = core::mem::take(&mut self.pending);
                self.seal(&chunk, &content).await?;
            }
        }
        Ok(())
    }

    async fn seal(&mut self, chunk: &Chunk, content: &[u8]) -> Result<(), Refused> {
        let sealed = self.cipher.seal(chunk, content).await?;
        self.out.set(&sealed, chunk.sealed.start as u32);
        free(&sealed);
        self.next = self.chunks.next();
        Ok(())
    }

    /// The sealed form.
    ///
    /// # Errors
    /// [`Refused`] if content is missing.
    pub async fn finish(mut self) -> Result<Uint8Array, Refused> {
        // Empty content is one empty chunk, which no push has made.
        if let Some(chunk) = self.next.clone().filter(|c| c.content.is_empty()) {
            self.seal(&chunk, &[]).await?;
        }
        if self.next.is_none() { Ok(self.out) } else { Err(Refused) }
    }
}

/// Seals content that is at hand whole.
///
/// # Errors
/// [`Refused`].
pub async fn seal(sealer: &Sealer, content: &[u8]) -> Result<Uint8Array, Refused> {
    let mut writer = Writer::new(sealer.clone(), content.len()).await?;
    writer.push(content).await?;
    writer.finish().await
}

/// Does what a program leaves to its shell, and gives the input's memory back as it goes.
pub(crate) async fn run(task: Task) -> Result<Zeroizing<Vec<u8>>, Refused> {
    let Task { sealer, input, open } = task;
    let content = if open { content_len(input.len() as u64).ok_or(Refused)? } else { input.len() as u64 };
    let total = if open { content } else { sealed_len(content) };
    let mut out = Zeroizing::new(Vec::with_capacity(usize::try_from(total).map_err(|_| Refused)?));
    if !open {
        out.extend_from_slice(sealer.header());
    }
    let cipher = Cipher::new(sealer).await?;
    for chunk in chunks(usize::try_from(content).map_err(|_| Refused)?)? {
        if open {
            let sealed = Uint8Array::from(input.get(chunk.sealed.clone()).ok_or(Refused)?);
            take_into(&cipher.open(&chunk, &sealed).await?, &mut out);
            free(&sealed);
        } else {
            let sealed = cipher.seal(&chunk, input.get(chunk.content.clone()).ok_or(Refused)?).await?;
            take_into(&sealed, &mut out);
        }
    }
    Ok(out)
}

/// Reads a sealed form, from the front to the back in any portions.
pub struct Reader {
    cipher: Cipher,
    sealed: Uint8Array,
    chunks: Vec<Chunk>,
    /// The chunk that was opened last: a portion mostly begins where the one before ended.
    last: Option<(u32, Zeroizing<Vec<u8>>)>,
}

impl Reader {
    /// Reads `sealed` with what opens it.
    ///
    /// # Errors
    /// [`Refused`] if its length is that of no content.
    pub async fn new(sealer: Sealer, sealed: Uint8Array) -> Result<Self, Refused> {
        let len = content_len(u64::from(sealed.length())).ok_or(Refused)?;
        let chunks = chunks(usize::try_from(len).map_err(|_| Refused)?)?.collect();
        Ok(Self { cipher: Cipher::new(sealer).await?, sealed, chunks, last: None })
    }

    fn piece(&self, chunk: &Chunk) -> Uint8Array {
        self.sealed.subarray(chunk.sealed.start as u32, chunk.sealed.end as u32)
    }

    /// Appends these bytes of the content.
    ///
    /// # Errors
    /// [`Refused`] if they were altered or there are not so many.
    pub async fn read(&mut self, range: Range<usize>, out: &mut Vec<u8>) -> Result<(), Refused> {
        if self.chunks.last().is_none_or(|last| range.end > last.content.end) {
            return Err(Refused);
        }
        for number in range.start / CHUNK..range.end.div_ceil(CHUNK) {
            let chunk = self.chunks.get(number).cloned().ok_or(Refused)?;
            if self.last.as_ref().is_none_or(|(index, _)| *index != chunk.index) {
                let content = self.cipher.open(&chunk, &self.piece(&chunk)).await?;
                let mut plain = Zeroizing::new(Vec::with_capacity(chunk.content.len()));
                take_into(&content, &mut plain);
                self.last = Some((chunk.index, plain));
            }
            let (_, plain) = self.last.as_ref().ok_or(Refused)?;
            let from = range.start.max(chunk.content.start) - chunk.content.start;
            let to = range.end.min(chunk.content.end) - chunk.content.start;
            out.extend_from_slice(plain.get(from..to).ok_or(Refused)?);
        }
        Ok(())
    }

    /// Gives the sealed form's memory back.
    pub fn free(&self) {
        free(&self.sealed);
    }

    /// The whole content, in wasm memory.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn read_all(self) -> Result<Zeroizing<Vec<u8>>, Refused> {
        let len = self.chunks.last().map_or(0, |c| c.content.end);
        let mut out = Zeroizing::new(Vec::with_capacity(len));
        for chunk in &self.chunks {
            take_into(&self.cipher.open(chunk, &self.piece(chunk)).await?, &mut out);
        }
        Ok(out)
    }

    /// The whole content, as an array for the page.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn into_array(self) -> Result<Uint8Array, Refused> {
        let len = self.chunks.last().map_or(0, |c| c.content.end);
        let out = Uint8Array::new_with_length(u32::try_from(len).map_err(|_| Refused)?);
        for chunk in &self.chunks {
            let content = self.cipher.open(chunk, &self.piece(chunk)).await?;
            out.set(&content, chunk.content.start as u32);
            content.fill(0, 0, content.length());
            free(&content);
        }
        Ok(out)
    }
}
