//! Dispersal: stripes and shards, `spec/piece.md` §5.

use zeroize::Zeroizing;

use super::{GatherError, SHARD_UNIT, STRIPE};
use crate::crypto::{self, CryptoError};

/// Length of each shard of `len` bytes: 64 KiB for each full stripe, and for the rest a k-th, rounded up to 64.
pub const fn shard_len(len: u64, k: u64) -> u64 {
    let rest = len % (k * STRIPE);
    len / (k * STRIPE) * STRIPE + rest.div_ceil(k).next_multiple_of(SHARD_UNIT)
}

/// (start in the shard, bytes per shard) of every stripe.
fn stripes(len: u64, k: u64) -> impl Iterator<Item = (usize, usize)> {
    let full = len / (k * STRIPE);
    let rest = shard_len(len, k) - full * STRIPE;
    let last = (rest > 0).then_some((full * STRIPE, rest));
    (0..full).map(|i| (i * STRIPE, STRIPE)).chain(last).map(|(from, each)| (from as usize, each as usize))
}

/// All n shards, of which any k rebuild. Inverse of [`gather_dispersed`].
pub(crate) fn make_dispersed(content: &[u8], k: usize, n: usize) -> Result<Vec<Zeroizing<Vec<u8>>>, CryptoError> {
    let each = shard_len(content.len() as u64, k as u64) as usize;
    let mut shards: Vec<_> = (0..n).map(|_| Zeroizing::new(Vec::with_capacity(each))).collect();
    let mut rest = content;
    for (_, each) in stripes(content.len() as u64, k as u64) {
        let (now, later) = rest.split_at(rest.len().min(k * each));
        rest = later;
        let mut padded = Zeroizing::new(Vec::new());
        let stripe = if now.len() == k * each {
            now
        } else {
            padded.reserve_exact(k * each);
            padded.extend_from_slice(now);
            padded.resize(k * each, 0);
            &padded
        };
        let data: Vec<&[u8]> = stripe.chunks(each).collect();
        let more = crypto::erasure_encode(&data, n)?;
        let all = data.into_iter().chain(more.iter().map(Vec::as_slice));
        shards.iter_mut().zip(all).for_each(|(shard, bytes)| shard.extend_from_slice(bytes));
    }
    Ok(shards)
}

pub(crate) fn gather_dispersed(
    shards: &[(usize, &[u8])],
    k: usize,
    n: usize,
    len: u64,
) -> Result<Zeroizing<Vec<u8>>, GatherError> {
    let each = shard_len(len, k as u64);
    if shards.len() != k || shards.iter().any(|(_, bytes)| bytes.len() as u64 != each) {
        return Err(GatherError::Inconsistent);
    }
    // Data shards alone need no arithmetic.
    let systematic = shards.iter().map(|(i, _)| *i).eq(0..k);
    let len = usize::try_from(len).map_err(|_| CryptoError)?;
    let mut content = Zeroizing::new(Vec::with_capacity(len + k * SHARD_UNIT as usize));
    for (from, each) in stripes(len as u64, k as u64) {
        let parts: Vec<(usize, &[u8])> = shards.iter().map(|(i, bytes)| (*i, &bytes[from..from + each])).collect();
        if systematic {
            parts.iter().for_each(|(_, bytes)| content.extend_from_slice(bytes));
        } else {
            crypto::erasure_decode(k, n, &parts)?.iter().for_each(|bytes| content.extend_from_slice(bytes));
        }
    }
    content.truncate(len);
    Ok(content)
}
