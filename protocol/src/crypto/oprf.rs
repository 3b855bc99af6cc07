//! The oblivious pseudorandom function of a passphrase, shared among safes: OPRF(ristretto255, SHA-512) in its verifiable mode (RFC 9497), whose key
//! no one has whole.
//!
//! ```text
//! key k, a polynomial p of degree t − 1 with p(0) = k       safe i has p(i), everybody knows p(i)·G
//! asker   B = r · HashToGroup(passphrase)      ──▶ safe i
//!         Z_i = p(i) · B, proof (DLEQ)         ◀──
//!         Z = Σ λ_i Z_i = k · B for any t      output = Finalize(passphrase, r, Z)
//! ```
//!
//! In verifiable mode the output is the same function of key and input as `F(k, input)` in mode 0x01 of the RFC; only the key is shared. What is our own here is
//! the interpolation; everything else is the library's. Spec: `spec/owner.md`.

use curve25519_dalek::{
    RistrettoPoint, Scalar,
    ristretto::CompressedRistretto,
    traits::{Identity, IsIdentity},
};
use rand_core::CryptoRng;
use rand_core_of_voprf as old;
use voprf::{BlindedElement, EvaluationElement, OprfClient, Proof, Ristretto255, VoprfClient, VoprfServer};
use zeroize::{Zeroize, Zeroizing};

use super::{CryptoError, Secret, blake3_commit, derive_secret};

/// An element of ristretto255 (RFC 9496), or of its scalar field, bytes.
pub const ELEMENT_LEN: usize = 32;
/// A proof that an evaluation used the committed share: two scalars, bytes.
pub const PROOF_LEN: usize = 64;
/// The output of the function, bytes: SHA-512.
pub const OUTPUT_LEN: usize = 64;

/// An element in its one encoding.
pub type Element = [u8; ELEMENT_LEN];

/// The randomness of this project for a library of the generation before.
struct Old<'a, R>(&'a mut R);

impl<R: CryptoRng> old::RngCore for Old<'_, R> {
    fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        self.0.fill_bytes(dest);
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), old::Error> {
        self.0.fill_bytes(dest);
        Ok(())
    }
}

impl<R: CryptoRng> old::CryptoRng for Old<'_, R> {}

/// Uniform, by reduction of 64 bytes.
fn make_scalar<R: CryptoRng>(rng: &mut R) -> Zeroizing<Scalar> {
    let mut wide = Zeroizing::new([0; 64]);
    rng.fill_bytes(&mut *wide);
    Zeroizing::new(Scalar::from_bytes_mod_order_wide(&wide))
}

/// From its one encoding.
fn scalar(secret: &Secret) -> Result<Zeroizing<Scalar>, CryptoError> {
    Option::from(Scalar::from_canonical_bytes(*secret.expose())).map(Zeroizing::new).ok_or(CryptoError)
}

fn secret_of(scalar: &Scalar) -> Secret {
    Secret::from_bytes(scalar.to_bytes())
}

/// An element that is not the identity.
fn point(element: &Element) -> Result<RistrettoPoint, CryptoError> {
    let point = CompressedRistretto(*element).decompress().ok_or(CryptoError)?;
    if point.is_identity() { Err(CryptoError) } else { Ok(point) }
}

/// A polynomial at `x`, lowest coefficient first.
fn evaluate_at(polynomial: &[Zeroizing<Scalar>], x: Scalar) -> Zeroizing<Scalar> {
    let mut sum = Zeroizing::new(Scalar::ZERO);
    for coefficient in polynomial.iter().rev() {
        *sum = *sum * x + **coefficient;
    }
    sum
}

/// The Lagrange coefficients at `at` for the points `xs`: `λ_i = Π_{j≠i} (at − x_j) / (x_i − x_j)`.
fn coefficients(xs: &[Scalar], at: Scalar) -> Result<Vec<Scalar>, CryptoError> {
    let one = |i: usize| {
        let (mut above, mut below) = (Scalar::ONE, Scalar::ONE);
        for (_, x) in xs.iter().enumerate().filter(|(j, _)| *j != i) {
            above *= at - x;
            below *= xs[i] - x;
        }
        // The library inverts zero to zero: points that are alike would go unnoticed.
        if below == Scalar::ZERO { Err(CryptoError) } else { Ok(above * below.invert()) }
    };
    (0..xs.len()).map(one).collect()
}

fn interpolate(points: &[(u8, RistrettoPoint)], at: u8) -> Result<RistrettoPoint, CryptoError> {
    if points.iter().any(|(x, _)| *x == 0) {
        return Err(CryptoError);
    }
    let xs: Vec<_> = points.iter().map(|(x, _)| Scalar::from(*x)).collect();
    let weights = coefficients(&xs, Scalar::from(at))?;
    Ok(weights.iter().zip(points).fold(RistrettoPoint::identity(), |sum, (weight, (_, point))| sum + point * weight))
}

/// Draws a key and shares it: `n` shares, the first for index 1, of which any `t` evaluate.
///
/// # Errors
/// Unless 2 ≤ `t` ≤ `n`. (The chance of a share or key that is zero is 2^−247; it is refused too.)
pub fn make_key_shares<R: CryptoRng>(t: u8, n: u8, rng: &mut R) -> Result<Vec<Secret>, CryptoError> {
    if t < 2 || t > n {
        return Err(CryptoError);
    }
    let polynomial: Vec<_> = (0..t).map(|_| make_scalar(rng)).collect();
    let shares: Vec<_> = (0..=n).map(|x| evaluate_at(&polynomial, Scalar::from(x))).collect();
    if shares.iter().any(|share| **share == Scalar::ZERO) {
        return Err(CryptoError);
    }
    Ok(shares.iter().skip(1).map(|share| secret_of(share)).collect())
}

/// `share · G`: what everybody may know of a share.
///
/// # Errors
/// If it is zero or not a scalar in its one encoding.
pub fn commitment(share: &Secret) -> Result<Element, CryptoError> {
    let share = scalar(share)?;
    if *share == Scalar::ZERO {
        return Err(CryptoError);
    }
    Ok(RistrettoPoint::mul_base(&share).compress().to_bytes())
}

/// Checks that the commitments, of index 1, 2, …, lie on one polynomial of degree `t − 1`, so that any `t` of the shares make the same key, and
/// that neither a share nor the key is zero.
///
/// # Errors
/// If they do not, or one of them is no element or the identity.
pub fn check_commitments(t: u8, commitments: &[Element]) -> Result<(), CryptoError> {
    let n = u8::try_from(commitments.len()).map_err(|_| CryptoError)?;
    if t < 2 || t > n {
        return Err(CryptoError);
    }
    let points = (1..=n).zip(commitments).map(|(x, c)| Ok((x, point(c)?))).collect::<Result<Vec<_>, CryptoError>>()?;
    let (basis, rest) = points.split_at(usize::from(t));
    if interpolate(basis, 0)?.is_identity() {
        return Err(CryptoError);
    }
    for (x, expected) in rest {
        if interpolate(basis, *x)? != *expected {
            return Err(CryptoError);
        }
    }
    Ok(())
}

/// A safe's answer to a blinded passphrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evaluation {
    /// `share · B`.
    pub element: Element,
    /// That it is the committed share (DLEQ, RFC 9497 §2.2.1).
    pub proof: [u8; PROOF_LEN],
}

/// `BlindEvaluate` with a share (RFC 9497 §3.3.2).
///
/// # Errors
/// If the share is zero or none, or the blinded element is none or the identity.
pub fn evaluate<R: CryptoRng>(share: &Secret, blinded: &Element, rng: &mut R) -> Result<Evaluation, CryptoError> {
    let server = VoprfServer::<Ristretto255>::new_with_key(share.expose()).map_err(|_| CryptoError)?;
    let blinded = BlindedElement::deserialize(blinded).map_err(|_| CryptoError)?;
    let made = server.blind_evaluate(&mut Old(rng), &blinded);
    Ok(Evaluation { element: made.message.serialize().into(), proof: made.proof.serialize().into() })
}

/// A passphrase that was blinded, until the answers are there.
pub struct Blinded {
    input: Zeroizing<Vec<u8>>,
    client: VoprfClient<Ristretto255>,
}

impl core::fmt::Debug for Blinded {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Blinded(REDACTED)")
    }
}

impl Blinded {
    /// `Blind` (RFC 9497 §3.3.2): the element tells nothing of the input, whoever sees it.
    ///
    /// # Errors
    /// Never for passphrases, which are far shorter than the 65,535 bytes that the function takes.
    pub fn start<R: CryptoRng>(input: &[u8], rng: &mut R) -> Result<(Self, Element), CryptoError> {
        let made = VoprfClient::<Ristretto255>::blind(input, &mut Old(rng)).map_err(|_| CryptoError)?;
        let element = made.message.serialize().into();
        Ok((Self { input: Zeroizing::new(input.to_vec()), client: made.state }, element))
    }

    /// Checks one answer against the safe's commitment.
    ///
    /// # Errors
    /// If the safe used another share, or the answer is none.
    pub fn check(&self, answer: &Evaluation, commitment: &Element) -> Result<(), CryptoError> {
        let element = EvaluationElement::deserialize(&answer.element).map_err(|_| CryptoError)?;
        let proof = Proof::deserialize(&answer.proof).map_err(|_| CryptoError)?;
        let known = point(commitment)?;
        // Its output is that of the share alone, and nobody's.
        let mut output = self.client.finalize(&self.input, &element, &proof, known).map_err(|_| CryptoError)?;
        output.zeroize();
        Ok(())
    }

    /// The output, from answers that were checked, each with its index. Which ones does not matter if there are as many as the threshold.
    ///
    /// # Errors
    /// If an index is zero or doubled, or an answer is none.
    pub fn finish(self, answers: &[(u8, Element)]) -> Result<Zeroizing<[u8; OUTPUT_LEN]>, CryptoError> {
        let points = answers.iter().map(|(x, e)| Ok((*x, point(e)?))).collect::<Result<Vec<_>, CryptoError>>()?;
        let whole = interpolate(&points, 0)?.compress().to_bytes();
        let whole = EvaluationElement::deserialize(&whole).map_err(|_| CryptoError)?;
        // The state begins with the blinding factor, which is all that finishing takes; proofs have been checked share by share.
        let state = Zeroizing::new(self.client.serialize().to_vec());
        let blind = state.get(..ELEMENT_LEN).ok_or(CryptoError)?;
        let client = OprfClient::<Ristretto255>::deserialize(blind).map_err(|_| CryptoError)?;
        let mut output = client.finalize(&self.input, &whole).map_err(|_| CryptoError)?;
        let mut out = Zeroizing::new([0; OUTPUT_LEN]);
        out.copy_from_slice(&output);
        output.zeroize();
        Ok(out)
    }
}

// ---- a secret that any two of its points give ------------------------------------------------------------------

/// The point of a name on a line: a scalar that is never zero in practice.
fn abscissa(name: &[u8]) -> Scalar {
    let half = |part: u8| blake3_commit("strongroom 1 line", &[name, &[part]]);
    let mut wide = [0; 64];
    wide[..32].copy_from_slice(&half(0));
    wide[32..].copy_from_slice(&half(1));
    Scalar::from_bytes_mod_order_wide(&wide)
}

/// A scalar out of a secret: for masks and for what stands in for a point that is not there.
fn derive_scalar(key: &Secret, label: &str, context: &[u8]) -> Zeroizing<Scalar> {
    let half = |part: u8| derive_secret(key, label, &[context, &[part]].concat());
    let mut wide = Zeroizing::new([0; 64]);
    wide[..32].copy_from_slice(half(0).expose());
    wide[32..].copy_from_slice(half(1).expose());
    Zeroizing::new(Scalar::from_bytes_mod_order_wide(&wide))
}

/// A random line over the scalars; its value at zero is the secret, and any two of its points give it. A point tells nothing, and masked it is a uniform scalar: nobody can tell it
/// from [`derive_stand_in`].
pub struct Line([Zeroizing<Scalar>; 2]);

impl Line {
    /// Draws one.
    pub fn make_random<R: CryptoRng>(rng: &mut R) -> Self {
        Self([make_scalar(rng), make_scalar(rng)])
    }

    /// The secret.
    pub fn secret(&self) -> Secret {
        secret_of(&self.0[0])
    }

    /// The point of a name, under the mask that `key` gives for it.
    pub fn masked(&self, name: &[u8], key: &Secret) -> Element {
        (*evaluate_at(&self.0, abscissa(name)) + *derive_scalar(key, "mask", name)).to_bytes()
    }
}

/// The secret of a line from two masked points, given as (name, mask key, bytes).
///
/// # Errors
/// If the names are alike, or the bytes are no scalars.
pub fn combine_line(points: [(&[u8], &Secret, &Element); 2]) -> Result<Secret, CryptoError> {
    let xs = points.map(|(name, ..)| abscissa(name));
    let weights = coefficients(&xs, Scalar::ZERO)?;
    let mut sum = Zeroizing::new(Scalar::ZERO);
    for (weight, (name, key, masked)) in weights.iter().zip(points) {
        let masked: Scalar = Option::from(Scalar::from_canonical_bytes(*masked)).ok_or(CryptoError)?;
        *sum += weight * (masked - *derive_scalar(key, "mask", name));
    }
    Ok(secret_of(&sum))
}

/// What a safe shows in place of a masked point that it does not have.
pub fn derive_stand_in(key: &Secret, context: &[u8]) -> Element {
    derive_scalar(key, "stand in", context).to_bytes()
}

/// A key that stands in for a share that a safe does not have, so that it answers as if it had one.
pub fn derive_share(key: &Secret, context: &[u8]) -> Secret {
    secret_of(&derive_scalar(key, "share", context))
}
