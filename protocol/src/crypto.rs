//! The primitives, each named once. Nothing outside this file and its module [`oprf`] knows which cipher, curve or hash is in use.
//!
//! In scope: thin typed wrappers with our labels, sizes and errors. Out of scope: formats ([`crate::seal`],
//! [`crate::certificate`]) and any decision about keys. Randomness always comes in as a parameter; functions named
//! `derive_…` are deterministic, `make_…` are random.

pub mod oprf;

use core::convert::Infallible;

use aead_stream::{NewStream, StreamBE32, StreamPrimitive};
use aes_gcm::{Aes256Gcm, KeyInit};
use blake3::hazmat::{HasherExt, merge_subtrees_non_root, merge_subtrees_root};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use hpke::{Deserializable, Kem as _, OpModeR, OpModeS, Serializable, aead::AesGcm256, kdf::HkdfSha384, kem::XWing};
use p384::ecdsa::{Signature, signature::Signer, signature::Verifier};
use rand_core::{CryptoRng, TryCryptoRng, TryRng};
use reed_solomon_simd::{ReedSolomonDecoder, ReedSolomonEncoder};
use sha2::{Digest, Sha256, Sha384};
use shake::{ExtendableOutput, Shake256, Shake256Reader, XofReader};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::SUITE;

/// Length of every symmetric key, secret and digest of this suite, bytes.
pub const KEY_LEN: usize = 32;
/// Length of an ES384 signature (r ‖ s, RFC 9053 §2.1), bytes.
pub const SIGNATURE_LEN: usize = 96;
/// Length of an HPKE X-Wing public key, bytes (draft-connolly-cfrg-xwing-kem: 1184 + 32).
pub const HPKE_PUBLIC_LEN: usize = 1216;
/// Length of an HPKE X-Wing encapsulated key, bytes (1088 + 32).
pub const HPKE_ENC_LEN: usize = 1120;
/// Length of the AES-GCM tag, bytes.
pub const TAG_LEN: usize = 16;
/// Length of the fixed part of a STREAM nonce, bytes: 12 − 4 (counter) − 1 (last flag).
pub const STREAM_PREFIX_LEN: usize = 7;

/// A primitive refused its input. It carries no detail on purpose: what failed and what to do next is known by the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cryptographic check failed")]
pub struct CryptoError;

/// A 32-byte secret. It is wiped on drop, is compared in constant time, and shows nothing in `Debug`. It lies on the heap, because every move of what
/// lies on the stack, or in a list that grows, leaves a copy behind.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret(Box<[u8; KEY_LEN]>);

impl Secret {
    /// Takes bytes that are already secret.
    pub fn from_bytes(mut bytes: [u8; KEY_LEN]) -> Self {
        let secret = Self(Box::new(bytes));
        bytes.zeroize();
        secret
    }

    /// To be filled.
    fn blank() -> Self {
        Self(Box::new([0; KEY_LEN]))
    }

    /// Draws a fresh secret.
    pub fn make_random<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        let mut secret = Self::blank();
        rng.fill_bytes(&mut *secret.0);
        secret
    }

    /// The bytes, for sealing them or for deriving from them.
    pub fn expose(&self) -> &[u8; KEY_LEN] {
        &self.0
    }

    /// Equality in constant time.
    pub fn same_as(&self, other: &Self) -> bool {
        self.0.ct_eq(&*other.0).into()
    }
}

impl core::fmt::Debug for Secret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Secret(REDACTED)")
    }
}

impl TryFrom<&[u8]> for Secret {
    type Error = CryptoError;
    fn try_from(bytes: &[u8]) -> Result<Self, CryptoError> {
        let mut secret = Self::blank();
        if bytes.len() != KEY_LEN {
            return Err(CryptoError);
        }
        secret.0.copy_from_slice(bytes);
        Ok(secret)
    }
}

// ---- derivation and hashing ------------------------------------------------------------------------------------

/// `HKDF-SHA-384[salt, info](key, out.len())`, RFC 5869.
///
/// # Errors
/// If more than 255 × 48 bytes are asked for.
pub fn derive_bytes(key: &[u8], salt: &[u8], info: &[u8], out: &mut [u8]) -> Result<(), CryptoError> {
    Hkdf::<Sha384>::new(Some(salt), key).expand(info, out).map_err(|_| CryptoError)
}

/// One 32-byte secret out of another: `HKDF-SHA-384[salt = "", info = "strongroom" ‖ suite ‖ len(label) ‖ label ‖ context](key, 32)`.
///
/// The label says the purpose; the context separates objects of one purpose. One-way: the result tells nothing of the key.
pub fn derive_secret(key: &Secret, label: &str, context: &[u8]) -> Secret {
    let mut info = Vec::with_capacity(12 + label.len() + context.len());
    info.extend_from_slice(b"strongroom");
    info.push(SUITE);
    // Labels are our own constants, all far below 256 bytes; the length keeps label and context apart.
    info.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
    info.extend_from_slice(label.as_bytes());
    info.extend_from_slice(context);
    let mut out = Secret::blank();
    // 32 bytes are always within HKDF's limit of 255 blocks, so there is no error to report.
    let _ = derive_bytes(&*key.0, b"", &info, &mut *out.0);
    out
}

/// BLAKE3 of the bytes: the root of the hash tree that audits walk.
pub fn blake3(bytes: &[u8]) -> [u8; 32] {
    *blake3::hash(bytes).as_bytes()
}

/// A node of the BLAKE3 tree that is not its root.
pub type Node = blake3::hazmat::ChainingValue;

/// The node over a group of whole chunks that begins at `offset` bytes and is not the whole input. Groups are as long as a power of two of chunks
/// of 1 KiB, save the last one.
pub fn blake3_group(group: &[u8], offset: u64) -> Node {
    blake3::Hasher::new().set_input_offset(offset).update(group).finalize_non_root()
}

/// The node above two nodes.
pub fn blake3_parent(left: &Node, right: &Node) -> Node {
    merge_subtrees_non_root(left, right, blake3::hazmat::Mode::Hash)
}

/// The root above two nodes.
pub fn blake3_root(left: &Node, right: &Node) -> [u8; 32] {
    *merge_subtrees_root(left, right, blake3::hazmat::Mode::Hash).as_bytes()
}

/// BLAKE3 over several parts, each preceded by its length as 8 bytes big-endian, under a context string (`derive_key` mode).
pub fn blake3_commit(context: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut commitment = Commitment::new(context);
    for part in parts {
        commitment.begin_part(part.len() as u64);
        commitment.update(part);
    }
    commitment.finish()
}

/// [`blake3_commit`] for parts that come in portions.
pub struct Commitment(blake3::Hasher);

impl Commitment {
    /// Begins under a context string.
    pub fn new(context: &str) -> Self {
        Self(blake3::Hasher::new_derive_key(context))
    }

    /// Begins a part of `length` bytes; [`Self::update`] must bring exactly as many.
    pub fn begin_part(&mut self, length: u64) {
        self.0.update(&length.to_be_bytes());
    }

    /// The next bytes of the part.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The commitment to all parts.
    pub fn finish(&self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}

/// [`blake3`] of bytes that come in portions.
#[derive(Default)]
pub struct Hasher(blake3::Hasher);

impl Hasher {
    /// The next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The root of all bytes so far.
    pub fn finish(&self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}

/// SHA-256 (FIPS 180-4): only for key thumbprints, where RFC 9679 asks for it.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// `HMAC-SHA-384(key, bytes)`, first 32 bytes (RFC 2104 §5 allows truncation to half).
pub fn mac(key: &Secret, bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    if let Ok(mut mac) = <Hmac<Sha384> as KeyInit>::new_from_slice(&*key.0) {
        mac.update(bytes);
        out.copy_from_slice(&mac.finalize().into_bytes()[..32]);
    }
    out
}

/// Equality of public or secret byte strings in constant time (for equal lengths).
pub fn same_bytes(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// Cost of one passphrase guess: Argon2id (RFC 9106), version 0x13.
#[derive(Debug, Clone, Copy, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct PassphraseCost {
    /// Memory, KiB.
    #[n(0)]
    pub memory_kib: u32,
    /// Passes over the memory.
    #[n(1)]
    pub passes: u32,
    /// Lanes.
    #[n(2)]
    pub lanes: u32,
}

impl PassphraseCost {
    /// 64 MiB, three passes, one lane: 170 ms in a browser on the reference machine.
    pub const STANDARD: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 1 };
    /// The least that is ever accepted from a file, so that a forged header cannot make guessing cheap.
    pub const LEAST: Self = Self { memory_kib: 19 * 1024, passes: 2, lanes: 1 };
    /// The most: 1 GiB and 16 passes, so that a forged header cannot hang the wallet.
    pub const MOST: Self = Self { memory_kib: 1024 * 1024, passes: 16, lanes: 4 };

    /// Whether it lies between [`Self::LEAST`] and [`Self::MOST`].
    pub fn is_acceptable(&self) -> bool {
        let within = |v, least, most| (least..=most).contains(&v);
        within(self.memory_kib, Self::LEAST.memory_kib, Self::MOST.memory_kib)
            && within(self.passes, Self::LEAST.passes, Self::MOST.passes)
            && within(self.lanes, Self::LEAST.lanes, Self::MOST.lanes)
    }
}

/// `Argon2id[salt, cost](passphrase, 32)`. The passphrase is already normalised ([`crate::passphrase`]).
///
/// # Errors
/// If the cost lies outside [`PassphraseCost::LEAST`] … [`PassphraseCost::MOST`] or memory is short.
pub fn derive_from_passphrase(passphrase: &[u8], salt: &[u8; 32], cost: PassphraseCost) -> Result<Secret, CryptoError> {
    if !cost.is_acceptable() {
        return Err(CryptoError);
    }
    let params =
        argon2::Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(KEY_LEN)).map_err(|_| CryptoError)?;
    let mut out = Secret::blank();
    argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
        .hash_password_into(passphrase, salt, &mut *out.0)
        .map_err(|_| CryptoError)?;
    Ok(out)
}

/// The deterministic stream of random bytes that a seed expands to: SHAKE256 (FIPS 202, §6.2) of the seed. Only the wallet that made a seed
/// ever expands it, so no other implementation needs to agree.
pub fn expand_seed(seed: &Secret) -> impl CryptoRng + use<> {
    let mut sponge = Shake256::default();
    shake::Update::update(&mut sponge, &*seed.0);
    Stream(sponge.finalize_xof())
}

struct Stream(Shake256Reader);

impl TryRng for Stream {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.read(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.read(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.0.read(out);
        Ok(())
    }
}

impl TryCryptoRng for Stream {}

// ---- authenticated encryption ----------------------------------------------------------------------------------

/// AES-256-GCM in STREAM: chunk `i` under nonce `prefix ‖ BE32(i) ‖ last`. Positions are free to choose, so chunks can be
/// made and opened out of order.
pub struct ChunkCipher(StreamBE32<Aes256Gcm>);

impl ChunkCipher {
    /// A cipher for one sealed object. A (key, prefix) pair serves one content only.
    pub fn new(key: &[u8; KEY_LEN], prefix: &[u8; STREAM_PREFIX_LEN]) -> Self {
        Self(StreamBE32::from_aead(Aes256Gcm::new(key.into()), prefix.into()))
    }

    /// Encrypts one chunk in place and appends its tag.
    ///
    /// # Errors
    /// If the chunk exceeds the cipher's limits (2^36 bytes).
    pub fn seal_chunk(&self, position: u32, last: bool, aad: &[u8], chunk: &mut Vec<u8>) -> Result<(), CryptoError> {
        self.0.encrypt_in_place(position, last, aad, chunk).map_err(|_| CryptoError)
    }

    /// Inverse of [`Self::seal_chunk`].
    ///
    /// # Errors
    /// If the tag does not fit: another key, place, flag, associated data, or altered bytes.
    pub fn open_chunk(&self, position: u32, last: bool, aad: &[u8], chunk: &mut Vec<u8>) -> Result<(), CryptoError> {
        self.0.decrypt_in_place(position, last, aad, chunk).map_err(|_| CryptoError)
    }
}

// ---- signatures ------------------------------------------------------------------------------------------------

/// A P-384 key that signs ES384. Its `Debug` shows nothing; the scalar is wiped on drop.
#[derive(Clone)]
pub struct SigningKey(p384::ecdsa::SigningKey);

impl core::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SigningKey(REDACTED)")
    }
}

impl SigningKey {
    /// Draws a key, by rejection until the scalar lies in range.
    pub fn make_random<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        loop {
            let mut scalar = Zeroizing::new([0; 48]);
            rng.fill_bytes(&mut *scalar);
            if let Ok(key) = Self::from_bytes(&*scalar) {
                return key;
            }
        }
    }

    /// From its 48-byte scalar, big-endian.
    ///
    /// # Errors
    /// If it is zero, not below the group order, or of another length.
    pub fn from_bytes(scalar: &[u8]) -> Result<Self, CryptoError> {
        p384::ecdsa::SigningKey::from_slice(scalar).map(Self).map_err(|_| CryptoError)
    }

    /// The scalar, for the operator's secret store.
    pub fn expose(&self) -> Zeroizing<[u8; 48]> {
        let mut out = Zeroizing::new([0; 48]);
        out.copy_from_slice(&self.0.to_bytes());
        out
    }

    /// The public half.
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(*self.0.verifying_key())
    }

    /// ES384, with the nonce of RFC 6979: equal messages give equal signatures, so that a repeated request gets the same bytes.
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_LEN] {
        let signature: Signature = self.0.sign(message);
        signature.to_bytes().into()
    }
}

/// The public half of a [`SigningKey`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyingKey(p384::ecdsa::VerifyingKey);

impl VerifyingKey {
    /// From a compressed SEC1 point, 49 bytes.
    ///
    /// # Errors
    /// If the bytes are not a compressed point on the curve, or are its identity.
    pub fn from_compressed(bytes: &[u8]) -> Result<Self, CryptoError> {
        // The library would also take 0x05, x alone: a second spelling of the same key.
        if bytes.len() != 49 || !matches!(bytes[0], 2 | 3) {
            return Err(CryptoError);
        }
        p384::ecdsa::VerifyingKey::from_sec1_bytes(bytes).map(Self).map_err(|_| CryptoError)
    }

    /// Inverse of [`Self::from_compressed`].
    pub fn to_compressed(&self) -> [u8; 49] {
        let mut out = [0; 49];
        out.copy_from_slice(self.0.to_sec1_point(true).as_bytes());
        out
    }

    /// The affine coordinates, 48 bytes each.
    pub fn coordinates(&self) -> ([u8; 48], [u8; 48]) {
        let point = self.0.to_sec1_point(false);
        let bytes = point.as_bytes();
        let (mut x, mut y) = ([0; 48], [0; 48]);
        x.copy_from_slice(&bytes[1..49]);
        y.copy_from_slice(&bytes[49..97]);
        (x, y)
    }

    /// Checks an ES384 signature.
    ///
    /// # Errors
    /// If it does not fit the key and the message.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let signature = Signature::from_slice(signature).map_err(|_| CryptoError)?;
        self.0.verify(message, &signature).map_err(|_| CryptoError)
    }
}

// ---- sealing to a safe -----------------------------------------------------------------------------------------

/// A safe's HPKE key, private half (X-Wing seed, 32 bytes).
#[derive(Clone)]
pub struct HpkePrivateKey {
    seed: Secret,
    key: <XWing as hpke::Kem>::PrivateKey,
}

impl core::fmt::Debug for HpkePrivateKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("HpkePrivateKey(REDACTED)")
    }
}

impl HpkePrivateKey {
    /// From the 32-byte X-Wing seed.
    ///
    /// # Errors
    /// If the library refuses the seed; no seed is known that it refuses.
    pub fn from_seed(seed: Secret) -> Result<Self, CryptoError> {
        let key = <XWing as hpke::Kem>::PrivateKey::from_bytes(&*seed.0).map_err(|_| CryptoError)?;
        Ok(Self { seed, key })
    }

    /// The seed, for the operator's secret store.
    pub const fn seed(&self) -> &Secret {
        &self.seed
    }

    /// The public half, [`HPKE_PUBLIC_LEN`] bytes.
    pub fn public(&self) -> Vec<u8> {
        XWing::sk_to_pk(&self.key).to_bytes().to_vec()
    }

    /// Opens a question and keeps what seals its answer. Inverse of [`hpke_ask`].
    ///
    /// # Errors
    /// If anything at all differs from what was sealed, the shared key included.
    pub fn hear(&self, asked: &Asked, info: &[u8], psk: Option<Psk<'_>>) -> Result<Heard, CryptoError> {
        let enc = <XWing as hpke::Kem>::EncappedKey::from_bytes(&asked.enc).map_err(|_| CryptoError)?;
        let mode = match &psk {
            None => OpModeR::Base,
            Some(psk) => OpModeR::Psk(psk.bundle()?),
        };
        let mut context = hpke::setup_receiver::<AesGcm256, HkdfSha384, XWing>(&mode, &self.key, &enc, info)
            .map_err(|_| CryptoError)?;
        let question = context.open(&asked.ciphertext, b"").map(Zeroizing::new).map_err(|_| CryptoError)?;
        let mut answer = Secret::blank();
        context.export(ANSWER, &mut *answer.0).map_err(|_| CryptoError)?;
        Ok(Heard { question, answer })
    }

    /// HPKE base mode `OpenBase(enc, skR, info, aad, ct)`, RFC 9180 §6.1. Inverse of [`hpke_seal`].
    ///
    /// # Errors
    /// If anything at all differs from what was sealed.
    pub fn open(
        &self,
        enc: &[u8],
        info: &[u8],
        aad: &[u8],
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let enc = <XWing as hpke::Kem>::EncappedKey::from_bytes(enc).map_err(|_| CryptoError)?;
        hpke::single_shot_open::<AesGcm256, HkdfSha384, XWing>(&OpModeR::Base, &self.key, &enc, info, ciphertext, aad)
            .map(Zeroizing::new)
            .map_err(|_| CryptoError)
    }
}

/// HPKE base mode `SealBase(pkR, info, aad, pt)`, RFC 9180 §6.1, with X-Wing, HKDF-SHA384 and AES-256-GCM.
/// Returns (encapsulated key, ciphertext).
///
/// # Errors
/// If the public key is not one.
pub fn hpke_seal<R: CryptoRng>(
    public: &[u8],
    info: &[u8],
    aad: &[u8],
    plaintext: &[u8],
    rng: &mut R,
) -> Result<(Vec<u8>, Vec<u8>), CryptoError> {
    let public = <XWing as hpke::Kem>::PublicKey::from_bytes(public).map_err(|_| CryptoError)?;
    let (enc, ciphertext) = hpke::single_shot_seal_with_rng::<AesGcm256, HkdfSha384, XWing>(
        &OpModeS::Base,
        &public,
        info,
        plaintext,
        aad,
        rng,
    )
    .map_err(|_| CryptoError)?;
    Ok((enc.to_bytes().to_vec(), ciphertext))
}

/// A key that both sides have already, for HPKE's PSK mode: who opens it knows that the sender has it. 32 bytes, as RFC 9180 §9.5 asks for.
#[derive(Debug, Clone, Copy)]
pub struct Psk<'a> {
    /// The key.
    pub key: &'a Secret,
    /// Which one it is.
    pub id: &'a [u8],
}

impl<'a> Psk<'a> {
    fn bundle(&self) -> Result<hpke::PskBundle<'a>, CryptoError> {
        // The library panics far above this.
        if self.id.is_empty() || self.id.len() > 256 {
            return Err(CryptoError);
        }
        hpke::PskBundle::new(self.key.expose(), self.id).map_err(|_| CryptoError)
    }
}

/// Exporter context (RFC 9180 §5.3) of what seals the answer to a question.
const ANSWER: &[u8] = b"answer";

/// A question to a safe, on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Encapsulated key, [`HPKE_ENC_LEN`] bytes.
    pub enc: Vec<u8>,
    /// Ciphertext.
    pub ciphertext: Vec<u8>,
}

/// A question that was opened.
#[derive(Debug)]
pub struct Heard {
    /// What was asked.
    pub question: Zeroizing<Vec<u8>>,
    /// Seals the answer. Only the asker has it too.
    pub answer: Secret,
}

/// HPKE `SetupBaseS` or `SetupPSKS`, one `Seal` without associated data, and `Export("answer", 32)` for what comes back (RFC 9180 §5.1–5.3).
///
/// # Errors
/// If the public key is not one.
pub fn hpke_ask<R: CryptoRng>(
    public: &[u8],
    info: &[u8],
    psk: Option<Psk<'_>>,
    question: &[u8],
    rng: &mut R,
) -> Result<(Asked, Secret), CryptoError> {
    let public = <XWing as hpke::Kem>::PublicKey::from_bytes(public).map_err(|_| CryptoError)?;
    let mode = match &psk {
        None => OpModeS::Base,
        Some(psk) => OpModeS::Psk(psk.bundle()?),
    };
    let (enc, mut context) = hpke::setup_sender_with_rng::<AesGcm256, HkdfSha384, XWing>(&mode, &public, info, rng)
        .map_err(|_| CryptoError)?;
    let ciphertext = context.seal(question, b"").map_err(|_| CryptoError)?;
    let mut answer = Secret::blank();
    context.export(ANSWER, &mut *answer.0).map_err(|_| CryptoError)?;
    Ok((Asked { enc: enc.to_bytes().to_vec(), ciphertext }, answer))
}

// ---- sharing and dispersal -------------------------------------------------------------------------------------

/// Shamir's sharing over GF(2^8) with the AES polynomial, byte by byte; share `i` (from 0) is the evaluation at `x = i + 1`.
/// A share is `x ‖ bytes`. Up to `k − 1` shares may be given, as (i, bytes without x); the others follow.
///
/// # Errors
/// Unless 2 ≤ `k` ≤ `n` ≤ 255, the secret is not empty, and fewer than `k` distinct shares of its length are given.
pub fn make_shares<R: CryptoRng>(
    secret: &[u8],
    k: u8,
    n: u8,
    given: &[(u8, &[u8])],
    rng: &mut R,
) -> Result<Vec<Zeroizing<Vec<u8>>>, CryptoError> {
    use vsss_rs::{Gf256, IdentifierGf256};
    if k < 2 || k > n || secret.is_empty() || given.len() >= usize::from(k) {
        return Err(CryptoError);
    }
    if given.is_empty() {
        let ids = (1..=n).map(|x| IdentifierGf256(Gf256(x)));
        return Gf256::split_bytes_with_participant_ids_iter(usize::from(k), usize::from(n), secret, rng, ids)
            .map(|shares| shares.into_iter().map(Zeroizing::new).collect())
            .map_err(|_| CryptoError);
    }
    // k points determine the polynomial: the secret at 0, what is given, and random ones. The library interpolates at 0; moved by x, its
    // field's addition, it interpolates at x.
    let mut points: Vec<(u8, Zeroizing<Vec<u8>>)> = vec![(0, Zeroizing::new(secret.to_vec()))];
    for (i, bytes) in given {
        let x = i.checked_add(1).filter(|x| *x <= n).ok_or(CryptoError)?;
        points.push((x, Zeroizing::new(bytes.to_vec())));
    }
    let mut free = 1..=n;
    while points.len() < usize::from(k) {
        let x = free.next().ok_or(CryptoError)?;
        if points.iter().all(|(known, _)| *known != x) {
            let mut bytes = Zeroizing::new(vec![0; secret.len()]);
            rng.fill_bytes(&mut bytes);
            points.push((x, bytes));
        }
    }
    let share = |x: u8| {
        if let Some((_, bytes)) = points.iter().find(|(known, _)| *known == x) {
            return Ok(Zeroizing::new([&[x], bytes.as_slice()].concat()));
        }
        let moved: Vec<_> =
            points.iter().map(|(at, bytes)| Zeroizing::new([&[at ^ x], bytes.as_slice()].concat())).collect();
        let bytes = combine_shares(&moved)?;
        Ok(Zeroizing::new([&[x], bytes.as_slice()].concat()))
    };
    (1..=n).map(share).collect()
}

/// Inverse of [`make_shares`] for any `k` of its shares. With fewer, or with altered ones, the result is another secret:
/// the caller checks a commitment.
///
/// # Errors
/// If there are fewer than two shares, lengths differ, or an `x` is zero or doubled.
pub fn combine_shares(shares: &[Zeroizing<Vec<u8>>]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    // The library takes owned vectors; this copy is wiped with the rest.
    let copies: Zeroizing<Vec<Vec<u8>>> = Zeroizing::new(shares.iter().map(|s| s.to_vec()).collect());
    let length = copies.first().map_or(0, Vec::len);
    let distinct = (0..copies.len()).all(|i| (0..i).all(|j| copies[i].first() != copies[j].first()));
    if copies.len() < 2 || length < 2 || !distinct || copies.iter().any(|s| s.len() != length || s[0] == 0) {
        return Err(CryptoError);
    }
    vsss_rs::Gf256::combine_bytes(&*copies).map(Zeroizing::new).map_err(|_| CryptoError)
}

/// Recovery shards of a systematic Reed–Solomon code (Leopard, GF(2^16)): from `k` equal data shards, `n − k` more.
///
/// # Errors
/// Unless all shards have one length that is a positive multiple of 64, and 1 ≤ k < n ≤ 255.
pub fn erasure_encode(data: &[&[u8]], n: usize) -> Result<Vec<Vec<u8>>, CryptoError> {
    let recovery = n.checked_sub(data.len()).ok_or(CryptoError)?;
    if n > 255 || data.first().is_none_or(|d| d.is_empty() || d.len() % 64 != 0) {
        return Err(CryptoError);
    }
    if recovery == 0 {
        return Ok(Vec::new());
    }
    let mut encoder = ReedSolomonEncoder::new(data.len(), recovery, data[0].len()).map_err(|_| CryptoError)?;
    for shard in data {
        encoder.add_original_shard(shard).map_err(|_| CryptoError)?;
    }
    let made = encoder.encode().map_err(|_| CryptoError)?;
    Ok(made.recovery_iter().map(<[u8]>::to_vec).collect())
}

/// The `k` data shards from any `k` of the `n` shards, given as (index, bytes); indices below `k` are data shards.
///
/// # Errors
/// If fewer than `k` distinct shards are given, or their lengths differ.
pub fn erasure_decode(k: usize, n: usize, shards: &[(usize, &[u8])]) -> Result<Vec<Vec<u8>>, CryptoError> {
    let mut data: Vec<Option<Vec<u8>>> = vec![None; k];
    for (index, bytes) in shards {
        if let Some(slot) = data.get_mut(*index) {
            *slot = Some(bytes.to_vec());
        }
    }
    if data.iter().any(Option::is_none) {
        let recovery = n.checked_sub(k).filter(|r| *r > 0).ok_or(CryptoError)?;
        let length = shards.first().map_or(0, |(_, bytes)| bytes.len());
        let mut decoder = ReedSolomonDecoder::new(k, recovery, length).map_err(|_| CryptoError)?;
        for (index, bytes) in shards {
            let added = match index.checked_sub(k) {
                None => decoder.add_original_shard(*index, bytes),
                Some(index) => decoder.add_recovery_shard(index, bytes),
            };
            added.map_err(|_| CryptoError)?;
        }
        let restored = decoder.decode().map_err(|_| CryptoError)?;
        for (index, bytes) in restored.restored_original_iter() {
            if let Some(slot) = data.get_mut(index) {
                *slot = Some(bytes.to_vec());
            }
        }
    }
    data.into_iter().collect::<Option<Vec<_>>>().ok_or(CryptoError)
}
