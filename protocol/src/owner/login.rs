//! The login: from what safes show of a name to a key for each of them.
//!
//! ```text
//! agree(looks)      ─▶ Agreed       the statement that enough safes show alike
//!   .start(…)       ─▶ Attempt      a blinded passphrase; answers are checked as they come
//!   .finish()       ─▶ Waiting      for the stretching
//!   .finish(key)    ─▶ Known        the right passphrase: a key for each safe, and the root
//! Recognised        by this, or by a device, which knows the same without a guess
//! ```

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::{
    crypto::{
        CryptoError, Secret, blake3_commit, derive_secret,
        oprf::{Blinded, Element, Evaluation, OUTPUT_LEN, combine_line},
    },
    ids::{EnrolmentId, GuessId, SafeId},
    owner::{
        device::Device,
        enrolment::{Enrolment, OwnerRoot, SLOT_LEN, Stretched, derive_digest, open_slot},
        messages::{Account, Evaluated, Guess, LOCATOR_LEN, Look, Proof, Who},
        name::NameKey,
    },
    passphrase::Stretch,
};

/// A login came to its end. Each says what to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoginError {
    /// No two of the safes know the name.
    #[error("the safes that answered do not know this name; check it, and the safes")]
    UnknownName,
    /// Some do, but fewer than are needed.
    #[error("{answered} of the owner's safes answered, {needed} are needed; name more of them, or try again later")]
    TooFew {
        /// How many showed the same statement.
        answered: usize,
        /// How many must.
        needed: usize,
    },
    /// Fewer than half of the safes that were named show it: those who do may have made it up.
    #[error("the safes contradict each other about this name; name all of the owner's safes")]
    Contradiction,
    /// The passphrase is another one.
    #[error("this is not the passphrase")]
    WrongPassphrase,
    /// The safe's answer is not one that its share gives: it is faulty, or lies.
    #[error("the safe's answer is wrong")]
    WrongAnswer,
    /// A primitive refused.
    #[error("{0}")]
    Crypto(#[from] CryptoError),
}

/// A statement that enough safes show alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreed {
    /// The statement.
    pub enrolment: Enrolment,
    /// Its bytes.
    pub statement: Vec<u8>,
    /// The safes that show it.
    pub shown_by: Vec<SafeId>,
}

/// Finds the statement: opened with two answers, byte-equal at as many safes as it asks for and at more than half of the `named` ones. The newest, where there are two.
///
/// # Errors
/// [`LoginError`].
pub fn agree(name: &NameKey, looks: &[(SafeId, Look)], named: usize) -> Result<Agreed, LoginError> {
    let masks = name.masks();
    let slots: Vec<(&SafeId, &[u8])> = looks
        .iter()
        .flat_map(|(safe, look)| look.slots.iter().map(move |slot| (safe, &slot[..])))
        .filter(|(_, slot)| slot.len() == SLOT_LEN)
        .collect();
    let mut found: Vec<Agreed> = Vec::new();
    for (i, (safe, slot)) in slots.iter().enumerate() {
        let Some((point, _)) = slot.split_first_chunk::<32>() else { continue };
        for (other, second) in slots[..i].iter().filter(|(other, _)| other != safe) {
            let Some((second, _)) = second.split_first_chunk::<32>() else { continue };
            let line = combine_line([(&safe.0, &masks, point), (&other.0, &masks, second)]);
            // Two points of different lines, or of none, open nothing.
            if let Ok(line) = line
                && open_slot(slot, &line, safe).is_ok()
            {
                collect(&mut found, &slots, &line);
                break;
            }
        }
    }
    // Who is no seat of a statement has no say in it.
    for candidate in &mut found {
        let Agreed { enrolment, shown_by, .. } = candidate;
        shown_by.retain(|safe| enrolment.seat(safe).is_some());
    }
    let enough = |c: &&Agreed| c.shown_by.len() >= usize::from(c.enrolment.threshold);
    let best = found.iter().filter(enough).max_by_key(|c| (c.enrolment.generation, c.shown_by.len()));
    match (best, found.iter().max_by_key(|c| c.shown_by.len())) {
        (Some(best), _) if 2 * best.shown_by.len() > named => Ok(best.clone()),
        (Some(_), _) => Err(LoginError::Contradiction),
        (None, Some(most)) => {
            Err(LoginError::TooFew { answered: most.shown_by.len(), needed: usize::from(most.enrolment.threshold) })
        }
        (None, None) => Err(LoginError::UnknownName),
    }
}

/// Opens every slot that a line opens.
fn collect(found: &mut Vec<Agreed>, slots: &[(&SafeId, &[u8])], line: &Secret) {
    for (safe, slot) in slots {
        let Ok(statement) = open_slot(slot, line, safe) else { continue };
        let Ok(enrolment) = Enrolment::parse(&statement) else { continue };
        let at = found.iter().position(|candidate| candidate.statement == statement).unwrap_or_else(|| {
            found.push(Agreed { enrolment, statement, shown_by: Vec::new() });
            found.len() - 1
        });
        if !found[at].shown_by.contains(safe) {
            found[at].shown_by.push(**safe);
        }
    }
}

impl Agreed {
    /// Begins a try. All randomness is of the seed: begun again with it, the try is the same one, and what was counted is not counted again.
    ///
    /// # Errors
    /// [`CryptoError`], never for normalised passphrases.
    pub fn start<R: CryptoRng>(self, passphrase: &str, rng: &mut R) -> Result<Attempt, CryptoError> {
        let guess = GuessId::make_random(rng);
        let (blinded, element) = Blinded::start(passphrase.as_bytes(), rng)?;
        Ok(Attempt { agreed: self, guess, blinded, element, answers: Vec::new(), counter: None })
    }
}

/// What a try is called at one safe, as [`Enrolment::id_at`].
fn guess_at(guess: &GuessId, safe: &SafeId) -> GuessId {
    let whole = blake3_commit("strongroom 1 guess at", &[&safe.0, &guess.0]);
    let mut id = GuessId([0; 16]);
    id.0.copy_from_slice(&whole[..16]);
    id
}

/// Whose guesses a try is counted among, where it is not those that everybody has who knows the name.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Counter {
    /// Those of a kit, with its secret.
    Kit(Secret),
    /// Those of an enrolled wallet, with the secret of its credential.
    Wallet(Secret),
}

impl Counter {
    /// The key at a safe: `derive(secret, "kit" or "wallet", safe)`. Two safes cannot tell that theirs belong together.
    pub fn key_at(&self, safe: &SafeId) -> Secret {
        match self {
            Self::Kit(secret) => derive_secret(secret, "kit", &safe.0),
            Self::Wallet(secret) => derive_secret(secret, "wallet", &safe.0),
        }
    }
}

/// A try that is under way.
#[derive(Debug)]
pub struct Attempt {
    agreed: Agreed,
    guess: GuessId,
    blinded: Blinded,
    element: Element,
    answers: Vec<(u8, Element)>,
    counter: Option<Counter>,
}

impl Attempt {
    /// The same try, counted among those of a credential.
    #[must_use]
    pub fn counted_by(self, counter: Option<Counter>) -> Self {
        Self { counter, ..self }
    }

    /// The statement it is for.
    pub const fn agreed(&self) -> &Agreed {
        &self.agreed
    }

    /// What is sent to a safe; it tells nothing of the passphrase.
    pub fn guess_at(&self, safe: &SafeId) -> Guess {
        Guess {
            id: guess_at(&self.guess, safe),
            enrolment: self.agreed.enrolment.id_at(safe),
            blinded: self.element.into(),
            staging: None,
            credential: self.counter.as_ref().map(|counter| counter.key_at(safe)),
        }
    }

    /// Takes a safe's answer.
    ///
    /// # Errors
    /// [`LoginError::WrongAnswer`] if it is none that the safe's share gives; the others can still be enough.
    pub fn take(&mut self, safe: &SafeId, answer: &Evaluated) -> Result<(), LoginError> {
        let (index, commitment) = self.agreed.enrolment.seat(safe).ok_or(LoginError::WrongAnswer)?;
        let Evaluated::Done(element, proof, _) = answer else { return Err(LoginError::WrongAnswer) };
        let evaluation = Evaluation { element: **element, proof: **proof };
        self.blinded.check(&evaluation, commitment).map_err(|_| LoginError::WrongAnswer)?;
        if self.answers.iter().all(|(known, _)| *known != index) {
            self.answers.push((index, evaluation.element));
        }
        Ok(())
    }

    /// How many more answers are needed.
    pub fn missing(&self) -> usize {
        usize::from(self.agreed.enrolment.threshold).saturating_sub(self.answers.len())
    }

    /// Ends the round.
    ///
    /// # Errors
    /// [`LoginError::TooFew`].
    pub fn finish(self) -> Result<Waiting, LoginError> {
        let needed = usize::from(self.agreed.enrolment.threshold);
        let enough = self.answers.get(..needed);
        let enough = enough.ok_or(LoginError::TooFew { answered: self.answers.len(), needed })?;
        let output = self.blinded.finish(enough)?;
        Ok(Waiting { agreed: self.agreed, guess: self.guess, element: self.element, output })
    }
}

/// A try whose answers are there.
#[derive(Debug)]
pub struct Waiting {
    agreed: Agreed,
    guess: GuessId,
    element: Element,
    output: Zeroizing<[u8; OUTPUT_LEN]>,
}

impl Waiting {
    /// What is to be stretched, and how.
    pub fn to_stretch(&self) -> (Stretch, &[u8]) {
        (self.agreed.enrolment.stretch(), &*self.output)
    }

    /// Ends with what [`Self::to_stretch`] became.
    ///
    /// # Errors
    /// [`LoginError::WrongPassphrase`]. Nothing that was derived from it has left.
    pub fn finish(self, stretched: Stretched) -> Result<Known, LoginError> {
        if !stretched.is_of(&self.agreed.enrolment) {
            return Err(LoginError::WrongPassphrase);
        }
        Ok(Known { agreed: self.agreed, guess: self.guess, element: self.element, stretched })
    }
}

/// An owner who is known.
#[derive(Debug, Clone)]
pub struct Known {
    agreed: Agreed,
    guess: GuessId,
    element: Element,
    stretched: Stretched,
}

/// The key to one safe's channel.
#[derive(Debug)]
pub struct ChannelKey {
    who: Who,
    key: Secret,
    digest: [u8; 32],
}

impl ChannelKey {
    /// Of a credential.
    pub const fn of_credential(number: u32, key: Secret) -> Self {
        Self { who: Who::Credential(number), key, digest: [0; 32] }
    }

    /// Of a device that does not know its number there.
    pub fn of_device(locator: [u8; LOCATOR_LEN], key: Secret) -> Self {
        Self { who: Who::Device(locator.into()), key, digest: [0; 32] }
    }

    /// Of the passphrase of an enrolment, by who has the key that was made of it: as it is called at this safe, and what the safe remembers of the statement. It belongs to no
    /// try, for there is nothing to be taken back.
    pub fn of_passphrase(id: EnrolmentId, key: Secret, digest: [u8; 32]) -> Self {
        Self { who: Who::Passphrase(id, GuessId([0; 16]), [0; 32].into()), key, digest }
    }

    /// As a question takes it.
    pub const fn proof(&self) -> Proof<'_> {
        Proof { who: self.who, key: &self.key, digest: &self.digest }
    }
}

impl Known {
    /// The statement.
    pub const fn agreed(&self) -> &Agreed {
        &self.agreed
    }

    /// The try, as it is called at a safe, to be taken back.
    pub fn guess_at(&self, safe: &SafeId) -> GuessId {
        guess_at(&self.guess, safe)
    }

    /// The key to the channel of a safe.
    pub fn channel(&self, safe: &SafeId) -> ChannelKey {
        let enrolment = &self.agreed.enrolment;
        ChannelKey {
            who: Who::Passphrase(enrolment.id_at(safe), self.guess_at(safe), self.element.into()),
            key: self.stretched.key_for(safe, &enrolment.id),
            digest: derive_digest(safe, &self.agreed.statement),
        }
    }

    /// Opens the root that a safe returned, and checks that it was made for the statement.
    ///
    /// # Errors
    /// [`CryptoError`] if it was not: that safe is faulty, or lies.
    pub fn open_root(&self, wrap: &[u8]) -> Result<OwnerRoot, CryptoError> {
        self.stretched.open_root(wrap, &self.agreed.enrolment.id, &self.agreed.statement)
    }
}

/// An owner who is known, by whatever he came with.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Recognised {
    /// By the passphrase, with a kit or without.
    Passphrase(Box<Known>),
    /// By a device.
    Device(Box<(Agreed, Device)>),
}

impl Recognised {
    /// The statement.
    pub fn agreed(&self) -> &Agreed {
        match self {
            Self::Passphrase(known) => known.agreed(),
            Self::Device(known) => &known.0,
        }
    }

    /// The key to the channel of a safe.
    pub fn channel(&self, safe: &SafeId) -> ChannelKey {
        match self {
            Self::Passphrase(known) => known.channel(safe),
            Self::Device(known) => known.1.channel(safe),
        }
    }

    /// The tries, as they are called at a safe, to be taken back.
    pub fn tries_at(&self, safe: &SafeId) -> Vec<GuessId> {
        match self {
            Self::Passphrase(known) => vec![known.guess_at(safe)],
            Self::Device(_) => Vec::new(),
        }
    }

    /// Opens the root that a safe returned, and checks that it was made for the statement.
    ///
    /// # Errors
    /// [`CryptoError`] if it was not: that safe is faulty, or lies; or the device was added to an enrolment before this one.
    pub fn open_root(&self, account: &Account) -> Result<OwnerRoot, CryptoError> {
        match self {
            Self::Passphrase(known) => known.open_root(account.wrap.as_ref().ok_or(CryptoError)?),
            Self::Device(known) => known.1.open_root(account, &known.0),
        }
    }
}
