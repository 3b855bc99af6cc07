//! Sealing by the platform's AES-256-GCM: compiled for a Worker, the cipher takes some 12 ms of processor time for a MiB, and a free plan gives a request 10.

use js_sys::{Array, Object, Reflect, Uint8Array};
use protocol::seal::{Chunk, Sealer, chunks, sealed_len};
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AesGcmParams, Crypto, CryptoKey, SubtleCrypto};

/// Seals content whole, as [`Sealer::seal`] does.
///
/// # Errors
/// What the platform says, or that the content is too long.
pub(super) async fn seal(sealer: &Sealer, content: &[u8]) -> Result<Vec<u8>, JsValue> {
    let crypto: Crypto = Reflect::get(&js_sys::global(), &"crypto".into())?.unchecked_into();
    let subtle = crypto.subtle();
    let key = key(&subtle, sealer).await?;
    let mut out = Vec::with_capacity(usize::try_from(sealed_len(content.len() as u64)).unwrap_or_default());
    out.extend_from_slice(sealer.header());
    for chunk in chunks(content.len()).map_err(|e| JsValue::from(e.to_string()))? {
        let part = &content[chunk.content.clone()];
        let promise = subtle.encrypt_with_object_and_u8_array(&params(sealer, &chunk), &key, part)?;
        let sealed = Uint8Array::new(&JsFuture::from(promise).await?);
        let start = out.len();
        out.resize(start + sealed.length() as usize, 0);
        sealed.copy_to(&mut out[start..]);
    }
    Ok(out)
}

async fn key(subtle: &SubtleCrypto, sealer: &Sealer) -> Result<CryptoKey, JsValue> {
    let raw = Uint8Array::from(&sealer.parts().0[..]);
    let usages = Array::of1(&"encrypt".into());
    let key = JsFuture::from(subtle.import_key_with_str("raw", &raw, "AES-GCM", false, &usages)?).await;
    raw.fill(0, 0, raw.length());
    Ok(key?.unchecked_into())
}

fn params(sealer: &Sealer, chunk: &Chunk) -> Object {
    let params = AesGcmParams::new_with_u8_array("AES-GCM", &Uint8Array::from(&sealer.nonce(chunk)[..]));
    params.set_additional_data_u8_array(&Uint8Array::from(sealer.parts().1));
    params.unchecked_into()
}
