//! Evidence: what a safe states under signature when it is asked what became of a deposit, and what follows from such statements.
//!
//! A certificate is a promise. A *testimony* or *receipt* of the same safe that contradicts it convicts the safe before anybody, for only
//! the safe can sign; silence, and whatever is not signed, convicts nobody. [`judge`] decides, from signed bytes alone. Spec: `spec/evidence.md`.

use core::fmt;

use minicbor::{Decode, Encode};

use crate::{
    SUITE,
    certificate::{self, CertificateError, MAX_SIGNED_LEN, Registration, Release, verify_receipt},
    codec::{self, CodecError},
    cose::{self, Kind, Unverified},
    crypto::{Secret, SigningKey, blake3, same_bytes},
    deposit::{derive_hash, recognises},
    identity::{Descriptor, Entry, Identity, IdentityError},
    ids::{ClaimantId, DepositId, Root, SafeId, Seconds, SecretHash},
};

/// How far a safe's clock may be ahead of the judge's, seconds. A day: beyond it, a date in the future is no question of clocks.
pub const CLOCK_TOLERANCE: Seconds = 86_400;

/// What a safe states of a deposit.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(flat)]
#[non_exhaustive]
pub enum Verdict {
    /// It has these bytes: length and root, measured when it was asked.
    #[n(0)]
    Kept(#[n(0)] u64, #[n(1)] Root),
    /// A holder let it go, and presented this release secret.
    #[n(1)]
    Released(#[n(0)] Secret),
    /// The lease has ended and the bytes were removed.
    #[n(2)]
    Expired,
    /// The demand did not show the audit secret; what it showed has this hash.
    #[n(3)]
    NotOwner(#[n(0)] SecretHash),
    /// It has these bytes, and gives them to this claimant of a unique value only.
    #[n(4)]
    Claimed(#[n(0)] u64, #[n(1)] Root, #[n(2)] ClaimantId),
    /// The ledger has no record of the deposit, or none that was confirmed.
    #[n(5)]
    Unknown,
    /// The ledger has it, the storage does not.
    #[n(6)]
    Lost,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept(length, root) => write!(f, "it has {length} bytes with root {root}"),
            Self::Released(_) => f.write_str("a holder let it go, and showed the release secret"),
            Self::Expired => f.write_str("the lease has ended and the bytes were removed"),
            Self::NotOwner(hash) => write!(f, "a stranger asked, with a secret of hash {hash}"),
            Self::Claimed(length, root, claimant) => {
                write!(f, "it has {length} bytes with root {root} and gives them to claimant {claimant} only")
            }
            Self::Unknown => f.write_str("it knows of no such certified deposit"),
            Self::Lost => f.write_str("it no longer has the bytes"),
        }
    }
}

/// Content of a testimony: the signed answer to a demand.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub struct Testimony {
    /// Format generation.
    #[n(0)]
    pub suite: u8,
    /// The safe.
    #[n(1)]
    pub safe: SafeId,
    /// Serial of the chain entry that signs.
    #[n(2)]
    pub entry: u32,
    /// The deposit.
    #[n(3)]
    pub deposit: DepositId,
    /// BLAKE3 of the demand, as it was sent.
    #[n(4)]
    pub demand: Root,
    /// When it was stated.
    #[n(5)]
    pub issued: Seconds,
    /// What is stated.
    #[n(6)]
    pub verdict: Verdict,
}

impl Testimony {
    /// A testimony of our suite.
    pub const fn new(
        safe: SafeId,
        entry: u32,
        deposit: DepositId,
        demand: Root,
        issued: Seconds,
        verdict: Verdict,
    ) -> Self {
        Self { suite: SUITE, safe, entry, deposit, demand, issued, verdict }
    }

    /// Signs it. Inverse of [`verify_testimony`].
    pub fn sign(&self, key: &SigningKey) -> Vec<u8> {
        cose::sign(key, Kind::Testimony, &codec::encode(self))
    }
}

/// Checks a testimony against the safe's identity.
///
/// # Errors
/// [`CertificateError`].
pub fn verify_testimony(bytes: &[u8], identity: &Identity) -> Result<Testimony, CertificateError> {
    let unverified = Unverified::parse(bytes, Kind::Testimony, MAX_SIGNED_LEN)?;
    let testimony: Testimony = codec::decode(unverified.payload(), MAX_SIGNED_LEN)?;
    codec::expect_suite(testimony.suite)?;
    certificate::check_signature(&unverified, identity, testimony.safe, testimony.entry, testimony.issued)?;
    Ok(testimony)
}

/// Checks that a testimony answers this very demand: the request's body as it was sent.
///
/// # Errors
/// [`CertificateError`]; `Differs` for a testimony about another demand.
pub fn verify_answer(bytes: &[u8], demand: &[u8], identity: &Identity) -> Result<Testimony, CertificateError> {
    let testimony = verify_testimony(bytes, identity)?;
    if testimony.demand.0 == blake3(demand) { Ok(testimony) } else { Err(CertificateError::Differs) }
}

/// Something that a safe signs or serves, told apart and read; of what it says, nothing has been checked but a descriptor's chain.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Exhibit {
    /// A registration certificate.
    Certificate(Registration),
    /// An offer. It binds nobody.
    Offer(Registration),
    /// A receipt for a release.
    Receipt(Release),
    /// The answer to a demand.
    Testimony(Testimony),
    /// What a safe says of itself.
    Descriptor(Box<(Descriptor, Identity)>),
}

impl Exhibit {
    /// Reads whatever it is; `None`: nothing that a safe signs or serves.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        fn content<T: Encode<()> + for<'b> Decode<'b, ()>>(bytes: &[u8], kind: Kind) -> Option<T> {
            let signed = Unverified::parse(bytes, kind, MAX_SIGNED_LEN).ok()?;
            codec::decode(signed.payload(), MAX_SIGNED_LEN).ok()
        }
        content(bytes, Kind::Certificate)
            .map(Self::Certificate)
            .or_else(|| content(bytes, Kind::Offer).map(Self::Offer))
            .or_else(|| content(bytes, Kind::Receipt).map(Self::Receipt))
            .or_else(|| content(bytes, Kind::Testimony).map(Self::Testimony))
            .or_else(|| Some(Self::Descriptor(Box::new(Identity::of_descriptor(bytes, None).ok()?))))
    }
}

/// What is brought before the judge.
#[derive(Debug, Clone, Copy, Default)]
pub struct Case<'a> {
    /// The certificate, and renewed ones of the same deposit if there are any.
    pub certificates: &'a [Vec<u8>],
    /// Descriptors of the safe: the one it serves now, and older ones that the holder kept.
    pub descriptors: &'a [Vec<u8>],
    /// Receipts and testimonies.
    pub statements: &'a [Vec<u8>],
    /// The judge made a demand himself and got no signed answer.
    pub unanswered: bool,
}

/// A statement by which a safe convicts itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It states that it no longer has the bytes.
    Lost,
    /// It states other bytes than it certified.
    Altered {
        /// The length that it states, bytes.
        length: u64,
    },
    /// It states a release, and shows no release secret that fits.
    FalseRelease,
    /// It states the end of a lease that had not ended.
    EarlyExpiry {
        /// When the lease ends.
        end: Seconds,
    },
    /// It states that it does not know what it certified.
    Disowned,
    /// It states that the demand showed a stranger's secret, and names the hash of the right one.
    FalseStranger,
    /// It dates a statement after the present.
    Postdated,
    /// Its identity signed two different key entries under one number.
    TwoEntries {
        /// The number.
        serial: u32,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost => f.write_str("it certified the bytes and states that it no longer has them"),
            Self::Altered { length } => {
                write!(f, "it states that it holds {length} other bytes than the ones it certified")
            }
            Self::FalseRelease => f.write_str(
                "it states that the deposit was released, and cannot show the secret that only the holder had",
            ),
            Self::EarlyExpiry { .. } => {
                f.write_str("it states that the lease has ended, before the end that it certified")
            }
            Self::Disowned => f.write_str("it states that it does not know the deposit that it certified"),
            Self::FalseStranger => {
                f.write_str("it states that a stranger asked, and names the very secret that it certified")
            }
            Self::Postdated => f.write_str("it signed a date that has not come yet"),
            Self::TwoEntries { serial } => {
                write!(f, "its identity signed two different keys under the number {serial}")
            }
        }
    }
}

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// Nothing here contradicts the certificate.
    NoContradiction,
    /// The safe is at fault.
    SafeAtFault {
        /// By which statement.
        fault: Fault,
        /// When it made the statement; `None` for its keys.
        at: Option<Seconds>,
    },
    /// A holder of the deposit's secrets let it go; the safe need not have it any more.
    Released {
        /// When, as the safe dates it.
        at: Seconds,
    },
    /// The lease had ended when the safe stated that it has the bytes no longer.
    LeaseEnded {
        /// When it ended.
        end: Seconds,
    },
    /// The demand was made with another secret than the certificate's; it says nothing about the safe.
    WrongSecret,
    /// The certificate is none of this safe: it binds nobody.
    NoCertificate(CertificateError),
    /// The safe's chain of keys could not be checked, so nothing could.
    NoChain(IdentityError),
    /// The certificate was signed with a key that was revoked since. Whoever stole the key could have written it, with any date, so it
    /// convicts nobody.
    KeyRevoked {
        /// Serial of the entry.
        serial: u32,
    },
    /// The safe did not answer the judge's own demand. That is an observation, not a proof.
    DidNotAnswer,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoContradiction => f.write_str("nothing here contradicts the certificate"),
            Self::SafeAtFault { fault, .. } => write!(f, "the safe is at fault: {fault}"),
            Self::Released { .. } => f.write_str(
                "a holder of the deposit's secrets let it go, and the safe shows the secret; the safe is not at fault",
            ),
            Self::LeaseEnded { .. } => f.write_str("the lease had ended; the safe is not at fault"),
            Self::WrongSecret => f.write_str(
                "the demand was made with another secret than the certificate's; this says nothing about the safe",
            ),
            Self::NoCertificate(error) => write!(f, "this is no certificate of the safe ({error}); it binds nobody"),
            Self::NoChain(error) => write!(f, "nothing can be decided: {error}"),
            Self::KeyRevoked { serial } => write!(
                f,
                "the certificate was signed with key {serial}, which was revoked since; whoever stole the key could have written it, so it \
                 proves nothing by itself"
            ),
            Self::DidNotAnswer => {
                f.write_str("the safe did not answer the demand; that was observed here and proves nothing elsewhere")
            }
        }
    }
}

/// The judge's answer.
#[derive(Debug, Clone)]
pub struct Judgement {
    /// What follows.
    pub finding: Finding,
    /// What the certificate says, where it counts.
    pub registration: Option<Registration>,
    /// Statements that do not count, by their place, with the reason. What nobody signed convicts nobody.
    pub ignored: Vec<(usize, CertificateError)>,
}

/// A statement that counts.
enum Said {
    Testimony(Testimony),
    Receipt(Release),
}

impl Said {
    const fn issued(&self) -> Seconds {
        match self {
            Self::Testimony(testimony) => testimony.issued,
            Self::Receipt(release) => release.issued,
        }
    }
}

/// Decides which side is at fault. `now` is the judge's clock.
pub fn judge(case: &Case<'_>, now: Seconds) -> Judgement {
    let nothing = |finding| Judgement { finding, registration: None, ignored: Vec::new() };
    let first = case.certificates.first().map_or(&[][..], Vec::as_slice);
    let chain = certificate::read_unverified(first)
        .map_err(Finding::NoCertificate)
        .and_then(|claimed| merge(case.descriptors, claimed.safe));
    let chain = match chain {
        Ok(chain) => chain,
        Err(finding) => return nothing(finding),
    };
    let registration = match promised(case.certificates, &chain) {
        Ok(registration) => registration,
        Err(finding) => return nothing(finding),
    };
    let mut ignored = Vec::new();
    let mut said = Vec::new();
    for (place, bytes) in case.statements.iter().enumerate() {
        match read_statement(bytes, &chain, &registration) {
            Ok(statement) => said.push(statement),
            Err(error) => ignored.push((place, error)),
        }
    }
    said.sort_by_key(Said::issued);
    let finding = decide(&said, &registration, now, case.unanswered);
    Judgement { finding, registration: Some(registration), ignored }
}

/// What the certificates promise together: the first that binds the safe, until the latest end of those of the same deposit.
fn promised(certificates: &[Vec<u8>], chain: &Identity) -> Result<Registration, Finding> {
    let mut promised: Result<Registration, Finding> = Err(Finding::NoCertificate(CodecError::Malformed.into()));
    for (place, bytes) in certificates.iter().enumerate() {
        match (binding(bytes, chain), &mut promised) {
            (Ok(further), Ok(known)) => {
                let same = (further.deposit, further.hashes, further.root) == (known.deposit, known.hashes, known.root);
                known.lease_end = known.lease_end.max(if same { further.lease_end } else { 0 });
            }
            (Ok(first), Err(_)) => promised = Ok(first),
            (Err(finding), Err(_)) if place == 0 => promised = Err(finding),
            (Err(_), _) => {}
        }
    }
    promised
}

/// A certificate that binds the safe: signed with a key that still stands.
fn binding(bytes: &[u8], chain: &Identity) -> Result<Registration, Finding> {
    let claimed = certificate::read_unverified(bytes).map_err(Finding::NoCertificate)?;
    match certificate::verify(bytes, chain, None) {
        // Overtaken by a revocation it may be the safe's own or the thief's; before it, with a date made up, likewise.
        Ok(_) | Err(CertificateError::OutsideEntry) if is_revoked(chain, claimed.entry) => {
            Err(Finding::KeyRevoked { serial: claimed.entry })
        }
        Ok(held) => Ok(held.registration().clone()),
        Err(error) => Err(Finding::NoCertificate(error)),
    }
}

/// In the order of time: the first statement that settles it does.
fn decide(said: &[Said], registration: &Registration, now: Seconds, unanswered: bool) -> Finding {
    let mut wrong_secret = false;
    for statement in said {
        let at = statement.issued();
        let fault = |fault| Finding::SafeAtFault { fault, at: Some(at) };
        if at > now.saturating_add(CLOCK_TOLERANCE) {
            return fault(Fault::Postdated);
        }
        let verdict = match statement {
            // A receipt that was let in shows the right secret.
            Said::Receipt(_) => return Finding::Released { at },
            Said::Testimony(testimony) => &testimony.verdict,
        };
        let end = registration.lease_end;
        // What was said before the certificate was issued does not contradict it.
        if at < registration.issued {
            continue;
        }
        let over = at >= end;
        match verdict {
            Verdict::Released(secret) if recognises(&registration.hashes.release, secret) => {
                return Finding::Released { at };
            }
            Verdict::Released(_) if !over => return fault(Fault::FalseRelease),
            Verdict::Kept(length, root) | Verdict::Claimed(length, root, _)
                if !over && (*length, *root) != (registration.length, registration.root) =>
            {
                return fault(Fault::Altered { length: *length });
            }
            Verdict::Kept(..) | Verdict::Claimed(..) => {}
            Verdict::NotOwner(hash) if same_bytes(&hash.0, &registration.hashes.audit.0) => {
                return fault(Fault::FalseStranger);
            }
            Verdict::NotOwner(_) => wrong_secret = true,
            Verdict::Lost if !over => return fault(Fault::Lost),
            Verdict::Unknown if !over => return fault(Fault::Disowned),
            Verdict::Expired if !over => return fault(Fault::EarlyExpiry { end }),
            Verdict::Released(_) | Verdict::Lost | Verdict::Unknown | Verdict::Expired => {
                return Finding::LeaseEnded { end };
            }
        }
    }
    match (unanswered, wrong_secret) {
        (true, _) => Finding::DidNotAnswer,
        (false, true) => Finding::WrongSecret,
        (false, false) => Finding::NoContradiction,
    }
}

/// A receipt or testimony about this deposit that the safe signed with a key that still stands.
fn read_statement(bytes: &[u8], chain: &Identity, of: &Registration) -> Result<Said, CertificateError> {
    let statement = match Unverified::parse(bytes, Kind::Receipt, MAX_SIGNED_LEN) {
        Ok(_) => Said::Receipt(verify_receipt(bytes, chain, of)?),
        Err(_) => Said::Testimony(verify_testimony(bytes, chain)?),
    };
    let entry = match &statement {
        Said::Receipt(release) => release.entry,
        Said::Testimony(testimony) if testimony.deposit != of.deposit => return Err(CertificateError::Differs),
        Said::Testimony(testimony) => testimony.entry,
    };
    if is_revoked(chain, entry) { Err(CertificateError::OutsideEntry) } else { Ok(statement) }
}

fn is_revoked(chain: &Identity, serial: u32) -> bool {
    chain.entry(serial).is_some_and(|entry| entry.revoked.is_some())
}

/// One chain from all that the safe served: every entry that its identity signed, with the revocation where one of them has it.
fn merge(descriptors: &[Vec<u8>], safe: SafeId) -> Result<Identity, Finding> {
    let mut merged: Option<Identity> = None;
    for bytes in descriptors {
        let (_, identity) = Identity::of_descriptor(bytes, Some(safe)).map_err(Finding::NoChain)?;
        merged = Some(match merged {
            None => identity,
            Some(known) => known
                .merged(&identity)
                .map_err(|serial| Finding::SafeAtFault { fault: Fault::TwoEntries { serial }, at: None })?,
        });
    }
    merged.ok_or(Finding::NoChain(CodecError::Malformed.into()))
}

/// Whether two entries of one serial are the same but for a revocation.
fn same_but_revoked(a: &Entry, b: &Entry) -> bool {
    Entry { revoked: None, ..a.clone() } == Entry { revoked: None, ..b.clone() }
}

impl Identity {
    /// Entries of both chains, with the earlier revocation where either has one.
    ///
    /// # Errors
    /// The serial under which the two chains have different keys.
    pub fn merged(&self, other: &Self) -> Result<Self, u32> {
        let (long, short) = if self.entries().len() < other.entries().len() { (other, self) } else { (self, other) };
        let mut merged = long.clone();
        for (into, entry) in merged.entries_mut().iter_mut().zip(short.entries()) {
            if !same_but_revoked(into, entry) {
                return Err(entry.serial);
            }
            into.revoked = match (into.revoked, entry.revoked) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
        Ok(merged)
    }
}

/// The audit secret's hash, as [`Verdict::NotOwner`] names it.
pub fn stranger(secret: &Secret) -> Verdict {
    Verdict::NotOwner(derive_hash(secret))
}
