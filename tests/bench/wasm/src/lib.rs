//! Single operations, as the wallet does them, for the benchmark's page.
#![cfg(target_family = "wasm")]

use js_sys::Uint8Array;
use protocol::{
    crypto::{Secret, combine_shares, erasure_decode, erasure_encode, expand_seed, make_shares},
    layout::STRIPE,
    seal::{CHUNK, Purpose, Sealer},
};
use wallet_wasm::web::Writer;
use wasm_bindgen::prelude::{JsError, wasm_bindgen};
use zeroize::Zeroizing;

fn fresh() -> Result<Secret, JsError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|_| JsError::new("no random numbers"))?;
    Ok(Secret::from_bytes(seed))
}

/// Seals content as the wallet stores it: chunk by chunk, by the platform's AES-GCM.
///
/// # Errors
/// If the platform refuses.
#[wasm_bindgen]
pub async fn seal(content: Uint8Array) -> Result<Uint8Array, JsError> {
    let failed = |_| JsError::new("the platform refused");
    let purpose = Purpose { purpose: "bench", object: b"", version: 0 };
    let sealer = Sealer::new(&fresh()?, fresh()?.expose(), &purpose).map_err(|_| JsError::new("no keys"))?;
    let length = content.length();
    let mut writer = Writer::new(sealer, length as usize).await.map_err(failed)?;
    for start in (0..length).step_by(CHUNK) {
        let portion = Zeroizing::new(content.subarray(start, length.min(start + CHUNK as u32)).to_vec());
        writer.push(&portion).await.map_err(failed)?;
    }
    writer.finish().await.map_err(failed)
}

/// Computes the recovery shards of content, stripe by stripe. Gives the number of bytes made.
///
/// # Errors
/// Unless 1 ≤ k < n.
#[wasm_bindgen]
pub fn disperse(content: &[u8], k: usize, n: usize) -> Result<usize, JsError> {
    let mut made = 0;
    for stripe in content.chunks_exact(k * STRIPE as usize) {
        let data: Vec<&[u8]> = stripe.chunks(STRIPE as usize).collect();
        let recovery = erasure_encode(&data, n).map_err(|_| JsError::new("not dispersed"))?;
        made += recovery.iter().map(Vec::len).sum::<usize>();
    }
    Ok(made)
}

/// The last `k` of the `n` shards of every stripe of content, one after the other: those from which rebuilding takes longest.
///
/// # Errors
/// Unless 1 ≤ k < n.
#[wasm_bindgen]
pub fn last_shards(content: &[u8], k: usize, n: usize) -> Result<Vec<u8>, JsError> {
    let mut last = Vec::with_capacity(content.len());
    for stripe in content.chunks_exact(k * STRIPE as usize) {
        let data: Vec<&[u8]> = stripe.chunks(STRIPE as usize).collect();
        let recovery = erasure_encode(&data, n).map_err(|_| JsError::new("not dispersed"))?;
        let all = data.into_iter().chain(recovery.iter().map(Vec::as_slice));
        all.skip(n - k).for_each(|shard| last.extend_from_slice(shard));
    }
    Ok(last)
}

/// Inverse of [`last_shards`].
///
/// # Errors
/// If they are not what it made.
#[wasm_bindgen]
pub fn undisperse(shards: &[u8], k: usize, n: usize) -> Result<Vec<u8>, JsError> {
    let mut content = Vec::with_capacity(shards.len());
    for stripe in shards.chunks_exact(k * STRIPE as usize) {
        let parts: Vec<(usize, &[u8])> = (n - k..n).zip(stripe.chunks(STRIPE as usize)).collect();
        let data = erasure_decode(k, n, &parts).map_err(|_| JsError::new("not rebuilt"))?;
        data.iter().for_each(|shard| content.extend_from_slice(shard));
    }
    Ok(content)
}

/// Shares a secret; the shares come one after the other.
///
/// # Errors
/// Unless 2 ≤ k ≤ n.
#[wasm_bindgen]
pub fn split(secret: &[u8], k: u8, n: u8) -> Result<Vec<u8>, JsError> {
    let mut rng = expand_seed(&fresh()?);
    let shares = make_shares(secret, k, n, &[], &mut rng).map_err(|_| JsError::new("not shared"))?;
    Ok(shares.iter().flat_map(|share| share.iter().copied()).collect())
}

/// Inverse of [`split`], from some of its shares of `length` bytes each.
///
/// # Errors
/// If they are no shares.
#[wasm_bindgen]
pub fn combine(shares: &[u8], length: usize) -> Result<Vec<u8>, JsError> {
    let shares: Vec<_> = shares.chunks(length).map(|share| Zeroizing::new(share.to_vec())).collect();
    let secret = combine_shares(&shares).map_err(|_| JsError::new("not combined"))?;
    Ok(secret.to_vec())
}
