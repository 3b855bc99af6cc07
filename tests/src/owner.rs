//! An owner at safes, whoever built them: the requests of `spec/owner.md` over [`Visit`], and an owner's group with what a wallet knows of it.

use protocol::{
    codec,
    crypto::{PassphraseCost, Secret, derive_secret},
    ids::{AccountId, EnrolmentId, GuessId, SafeId},
    owner::{
        enrolment::{Enrolling, Made, Staged, Stretched},
        login::ChannelKey,
        messages::{
            Action, Address, Answering, Challenge, Evaluated, Guess, Look, Opening, Outcome, Proof, Question, Topic,
        },
        name::NameKey,
    },
};
use safe_worker::flow::{CBOR, OCTETS};

use crate::{
    fixture::{rng, stretched},
    visit::{Ask, Got, Visit, granted},
};

/// A passphrase.
pub const PASSPHRASE: &str = "a wardrobe full of lighthouse keepers";

/// A stretched name, without the stretching.
pub fn name(seed: u64) -> NameKey {
    NameKey::new(derive_secret(&crate::fixture::secret(seed), "name", b""))
}

/// An enrolment of `t` of these safes.
pub fn enrol(seed: u64, safes: &[SafeId], t: u8, passphrase: &str, name: &NameKey, generation: u32) -> Made {
    let seed = derive_secret(&crate::fixture::secret(seed), "enrol", b"");
    let draft = Enrolling::start(&seed, safes, t, passphrase, PassphraseCost::LEAST).unwrap();
    let (stretch, output) = draft.to_stretch();
    let stretched = Stretched::new(stretched(stretch, output));
    draft.finish(&stretched, name, generation).unwrap()
}

/// What a safe is given.
pub fn given(made: &Made, safe: &SafeId) -> Staged {
    made.staged.iter().find(|(id, _)| id == safe).unwrap().1.clone()
}

/// The channel of whoever has the passphrase of an enrolment.
pub fn by_passphrase(made: &Made, safe: &SafeId) -> ChannelKey {
    let staged = given(made, safe);
    ChannelKey::of_passphrase(staged.id, staged.key, *staged.digest)
}

/// A guess of a blinded element.
pub fn guess_of(enrolment: EnrolmentId, blinded: [u8; 32], seed: u64) -> Guess {
    Guess {
        id: GuessId::make_random(&mut rng(seed)),
        enrolment,
        blinded: blinded.into(),
        staging: None,
        credential: None,
    }
}

/// The request for a look.
pub fn look_ask(account: &AccountId) -> Ask {
    Ask::get(&format!("/v1/owners/{account}"))
}

/// A question as it is sent.
pub fn question_ask(account: &AccountId, topic: Topic, question: &Question) -> Ask {
    Ask::post_to(&format!("/v1/owners/{account}/{}", topic.label()), codec::encode(question))
}

impl Visit<'_> {
    /// Looks.
    pub fn look(&mut self, account: &AccountId) -> Look {
        Look::parse(&granted(self.ask(&look_ask(account)), 200, CBOR)).unwrap()
    }

    /// A question that counts now.
    pub fn question(
        &mut self,
        account: &AccountId,
        topic: Topic,
        plain: &[u8],
        challenge: &Challenge,
        proof: Option<Proof<'_>>,
    ) -> (Question, Answering) {
        let (entry, mut rng) = (self.entry(), self.rng());
        let safe = self.identity.id();
        let address = Address { safe: &safe, account, topic };
        Question::make(&address, plain, &entry, challenge, proof, &mut rng).unwrap()
    }

    /// Looks and asks.
    pub fn ask_owner(
        &mut self,
        account: &AccountId,
        topic: Topic,
        plain: &[u8],
        proof: Option<Proof<'_>>,
    ) -> (Got, Answering) {
        let challenge = self.look(account).challenge;
        let (question, answering) = self.question(account, topic, plain, &challenge, proof);
        let ask = question_ask(account, topic, &question);
        let ask = if topic == Topic::Open { self.admitted(ask) } else { ask };
        (self.ask(&ask), answering)
    }

    /// Opens an account with a wallet's key.
    pub fn open_owner(&mut self, account: &AccountId, key: &Secret) -> Got {
        let opening = codec::encode(&Opening { key: key.clone(), note: vec![1, 2, 3].into() });
        self.ask_owner(account, Topic::Open, &opening, None).0
    }

    /// The same, for an account that is not there yet.
    pub fn opened(&mut self, account: &AccountId, key: &Secret) -> ChannelKey {
        let opening = codec::encode(&Opening { key: key.clone(), note: vec![1, 2, 3].into() });
        let (got, answering) = self.ask_owner(account, Topic::Open, &opening, None);
        let outcome: Outcome = answering.read(&granted(got, 200, OCTETS)).unwrap();
        assert_eq!(outcome, Outcome::Added(1));
        ChannelKey::of_credential(1, key.clone())
    }

    /// Guesses.
    pub fn guess(&mut self, account: &AccountId, guess: &Guess) -> Evaluated {
        let (got, answering) = self.ask_owner(account, Topic::Evaluate, &codec::encode(guess), None);
        answering.read(&granted(got, 200, OCTETS)).unwrap()
    }

    /// Acts, as far as the safe lets.
    pub fn try_act(&mut self, account: &AccountId, key: &ChannelKey, actions: &[Action]) -> (Got, Answering) {
        self.ask_owner(account, Topic::Channel, &codec::encode(&actions.to_vec()), Some(key.proof()))
    }

    /// Acts.
    pub fn act(&mut self, account: &AccountId, key: &ChannelKey, actions: &[Action]) -> Vec<Outcome> {
        let (got, answering) = self.try_act(account, key, actions);
        let outcomes: Vec<Outcome> = answering.read(&granted(got, 200, OCTETS)).unwrap();
        assert_eq!(outcomes.len(), actions.len());
        outcomes
    }

    /// An account with an enrolment in force.
    pub fn enrolled(&mut self, account: &AccountId, key: &Secret, made: &Made) -> ChannelKey {
        let channel = self.opened(account, key);
        let staged = Box::new(given(made, &self.identity.id()));
        let outcomes = self.act(
            account,
            &channel,
            &[Action::Stage(staged), Action::Commit(made.enrolment.id_at(&self.identity.id()), None)],
        );
        assert_eq!(outcomes, [Outcome::Done, Outcome::Done]);
        channel
    }
}
