//! Two safes, whoever built them, of which one asks the other for its owners: what a thief, a safe that cheats, or an owner in a hurry would notice.

use protocol::{
    claim::{Claim, Shown, Verb},
    codec,
    crypto::Secret,
    ids::{AccountId, SafeId, Seconds},
    owner::{
        login::ChannelKey,
        messages::{Action, Challenge, Look, MAX_ANSWER_LEN, Outcome, Question, Topic},
        ticket::{Ticket, bind},
    },
    problem::Problem,
    relay::{Awaiting, Carried, Delivery, Errand, MAX_DELIVERY_LEN, MAX_PARCEL_LEN, PARCEL_SPAN, Parcel, delivery_len},
};
use safe_worker::{
    flow::{COSE, OCTETS},
    relay::PARCELS,
};

use crate::{
    owner::{by_passphrase, enrol, given, name, question_ask},
    visit::{Ask, Deposit, Got, SafeUnderTest, Visit, assert_refused, granted},
};

/// Makes a test of every case; `$each` calls it with the two safes.
#[macro_export]
macro_rules! relay_suite {
    ($each:path) => {
        $crate::relay_suite!($each:
            what_another_safe_keeps_is_fetched_through_one
            what_is_bound_to_its_owner_takes_a_ticket_that_is_fetched_too
            only_the_owner_has_something_fetched
            an_errand_counts_once_and_is_no_other_question
            a_parcel_opens_at_one_safe_once_and_in_its_time
            what_is_not_there_is_said_to_the_owner_only
            nobody_is_asked_whom_the_operator_does_not_name
            no_more_comes_back_than_was_asked_for
            noise_is_no_parcel
        );
    };
    ($each:path: $($case:ident)*) => {
        $(#[test]
        fn $case() {
            $each($crate::relay_suite::$case);
        })*
    };
}

/// An owner at the safe in between.
pub struct Owner {
    account: AccountId,
    wallet: ChannelKey,
}

impl Owner {
    /// One that no other test has.
    pub fn new(between: &mut Visit<'_>) -> Self {
        let seed = between.safe.draw();
        let account = name(seed).account(&between.identity.id());
        let wallet = between.opened(&account, &crate::fixture::secret(seed));
        Self { account, wallet }
    }

    /// Sends an errand.
    pub fn send(&self, between: &mut Visit<'_>, errand: &Errand) -> Got {
        between.ask_owner(&self.account, Topic::Relay, &codec::encode(errand), Some(self.wallet.proof())).0
    }

    /// Has something carried to the other safe.
    pub fn carry(
        &self,
        between: &mut Visit<'_>,
        other: &mut Visit<'_>,
        carried: &Carried,
        expiry: Seconds,
    ) -> Delivery {
        let (through, entry, most) = (between.identity.id(), other.entry(), delivery_len(MAX_ANSWER_LEN as u64));
        let (parcel, awaiting) = Parcel::make(carried, expiry, &entry, &through, &mut other.rng()).unwrap();
        let errand = Errand { to: other.identity.id(), parcel: codec::encode(&parcel).into(), most };
        awaiting.open(&granted(self.send(between, &errand), 200, OCTETS), most).unwrap()
    }

    /// Has a body fetched.
    pub fn fetch(&self, between: &mut Visit<'_>, other: &mut Visit<'_>, deposit: &Deposit) -> Delivery {
        let (errand, awaiting) = errand(between, other, deposit);
        awaiting.open(&granted(self.send(between, &errand), 200, OCTETS), errand.most).unwrap()
    }
}

/// A parcel for a claim.
pub fn parcel(through: &SafeId, other: &mut Visit<'_>, deposit: &Deposit, claim: &Claim) -> (Parcel, Awaiting) {
    let entry = other.entry();
    let carried = Carried::Claim(deposit.id, codec::encode(claim).into());
    Parcel::make(&carried, claim.expiry, &entry, through, &mut other.rng()).unwrap()
}

/// An errand to retrieve a deposit.
pub fn errand(between: &Visit<'_>, other: &mut Visit<'_>, deposit: &Deposit) -> (Errand, Awaiting) {
    let claim = other.claim(&deposit.id, Verb::Retrieve, &deposit.secrets.retrieve);
    let (parcel, awaiting) = parcel(&between.identity.id(), other, deposit, &claim);
    let most = delivery_len(deposit.body.len() as u64);
    (Errand { to: other.identity.id(), parcel: codec::encode(&parcel).into(), most }, awaiting)
}

fn refused(problem: Problem) -> impl Fn(&Delivery) -> bool {
    move |delivery| matches!(delivery, Delivery::Refused(slug, _) if slug == problem.slug())
}

type Safe<'a> = &'a mut dyn SafeUnderTest;

/// The shortest body, and the longest.
pub fn what_another_safe_keeps_is_fetched_through_one(between: Safe<'_>, other: Safe<'_>) {
    let (mut between, mut other) = (Visit::new(between), Visit::new(other));
    assert!(between.descriptor.relays.as_ref().unwrap().contains(&other.identity.id()));
    let owner = Owner::new(&mut between);
    let longest = usize::try_from(other.descriptor.limits.body).unwrap();
    for length in [1, 5000, longest] {
        let (deposit, ..) = other.held(length);
        let (errand, awaiting) = errand(&between, &mut other, &deposit);
        let brought = granted(owner.send(&mut between, &errand), 200, OCTETS);
        // What the safe in between had in its hands is not the body.
        assert!(length < 32 || !brought.windows(32).any(|part| part == &deposit.body[..32]));
        assert_eq!(brought.len() as u64, codec_len(length));
        assert_eq!(awaiting.open(&brought, errand.most).unwrap(), Delivery::Body(deposit.body.clone().into()));
        // A second one, from the same owner, opens with its own only.
        let (again, awaiting_again) = self::errand(&between, &mut other, &deposit);
        let again = granted(owner.send(&mut between, &again), 200, OCTETS);
        assert_ne!(brought, again);
        assert!(awaiting.open(&again, errand.most).is_err());
        assert!(awaiting_again.open(&brought, errand.most).is_err());
        let mut altered = again;
        *altered.last_mut().unwrap() ^= 1;
        assert!(awaiting_again.open(&altered, errand.most).is_err());
    }
}

fn codec_len(body: usize) -> u64 {
    let delivery = codec::encode(&Delivery::Body(vec![0; body].into()));
    protocol::seal::sealed_len(delivery.len() as u64)
}

/// Both safes have an owner's account; what the other one keeps for him, it gives to nobody else.
pub fn what_is_bound_to_its_owner_takes_a_ticket_that_is_fetched_too(between: Safe<'_>, other: Safe<'_>) {
    let (mut between, mut other) = (Visit::new(between), Visit::new(other));
    let (owner, there) = (Owner::new(&mut between), Owner::new(&mut other));
    let mut deposit = other.draw(300);
    deposit.statement.owner = Some(bind(&deposit.secrets.audit, &there.account));
    let offer = granted(other.put(&deposit), 201, COSE);
    granted(other.confirm(&deposit, &offer), 200, COSE);
    let now = other.now();
    let soon = now + PARCEL_SPAN;
    let mut carry =
        |other: &mut Visit<'_>, carried: Carried, expiry| owner.carry(&mut between, other, &carried, expiry);
    let claim = |other: &mut Visit<'_>, ticket: Option<Ticket>| {
        let (entry, shown) = (other.entry(), Shown { ticket, ..Shown::secret(deposit.secrets.retrieve.clone()) });
        let claim = Claim::make_with(&shown, &entry, &deposit.id, Verb::Retrieve, soon, &mut other.rng()).unwrap();
        Carried::Claim(deposit.id, codec::encode(&claim).into())
    };
    let without = claim(&mut other, None);
    assert!(refused(Problem::NotOwner)(&carry(&mut other, without, soon)));
    // A look, and a question that counts once.
    let looked = |delivery| match delivery {
        Delivery::Body(look) => Look::parse(&look).unwrap(),
        other => panic!("{other:?}"),
    };
    let look = looked(carry(&mut other, Carried::Look(there.account), soon));
    let asked = |other: &mut Visit<'_>, topic, proof, challenge: &Challenge| {
        let actions = codec::encode(&vec![Action::Ticket(None)]);
        let (question, answering) = other.question(&there.account, topic, &actions, challenge, proof);
        (Carried::Question(there.account, codec::encode(&question).into()), answering)
    };
    let proof = || Some(there.wallet.proof());
    let (question, answering) = asked(&mut other, Topic::Channel, proof(), &look.challenge);
    let ticket = match carry(&mut other, question.clone(), soon) {
        Delivery::Body(answer) => match &answering.read::<Vec<Outcome>>(&answer).unwrap()[..] {
            [Outcome::Ticket(ticket)] => Ticket::parse(ticket).unwrap(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    assert!(refused(Problem::ChallengeExpired)(&carry(&mut other, question, soon)));
    let with = claim(&mut other, Some(ticket));
    assert_eq!(carry(&mut other, with, soon), Delivery::Body(deposit.body.clone().into()));
    // Another topic, another's key, and what comes too late, or was made ahead.
    let challenge = looked(carry(&mut other, Carried::Look(there.account), soon)).challenge;
    let (question, _) = asked(&mut other, Topic::Relay, proof(), &challenge);
    assert!(refused(Problem::NotOwner)(&carry(&mut other, question, soon)));
    let (question, _) = asked(&mut other, Topic::Channel, Some(owner.wallet.proof()), &challenge);
    assert!(refused(Problem::NotOwner)(&carry(&mut other, question, soon)));
    let (question, _) = asked(&mut other, Topic::Greet, None, &challenge);
    assert!(matches!(carry(&mut other, question, soon), Delivery::Refused(..)));
    for expiry in [now - 100, now + 10 * PARCEL_SPAN] {
        assert!(refused(Problem::ClaimExpired)(&carry(&mut other, Carried::Look(there.account), expiry)));
        let (question, _) = asked(&mut other, Topic::Channel, proof(), &challenge);
        assert!(refused(Problem::ClaimExpired)(&carry(&mut other, question, expiry)));
    }
    let noise = Carried::Question(there.account, vec![0xa0].into());
    assert!(refused(Problem::Malformed)(&carry(&mut other, noise, soon)));
}

/// Neither a stranger, nor who has only staged a passphrase.
pub fn only_the_owner_has_something_fetched(between: Safe<'_>, other: Safe<'_>) {
    let (mut between, mut other) = (Visit::new(between), Visit::new(other));
    let here = between.identity.id();
    let (owner, stranger) = (Owner::new(&mut between), Owner::new(&mut between));
    let (deposit, ..) = other.held(100);
    let mut ask = |between: &mut Visit<'_>, key: &ChannelKey| {
        let (errand, _) = errand(between, &mut other, &deposit);
        between.ask_owner(&owner.account, Topic::Relay, &codec::encode(&errand), Some(key.proof())).0
    };
    assert_refused(&ask(&mut between, &stranger.wallet), Problem::NotOwner);
    let unknown = ChannelKey::of_credential(7, Secret::make_random(&mut between.rng()));
    assert_refused(&ask(&mut between, &unknown), Problem::NotOwner);
    // Staged is not in force; in force it is.
    let seed = between.safe.draw();
    let safes = [here, SafeId([0xb1; 32]), SafeId([0xb2; 32])];
    let made = enrol(seed, &safes, 2, crate::owner::PASSPHRASE, &name(seed), 1);
    between.act(&owner.account, &owner.wallet, &[Action::Stage(Box::new(given(&made, &here)))]);
    let passphrase = by_passphrase(&made, &here);
    assert_refused(&ask(&mut between, &passphrase), Problem::NotOwner);
    between.act(&owner.account, &owner.wallet, &[Action::Commit(made.enrolment.id_at(&here), None)]);
    granted(ask(&mut between, &passphrase), 200, OCTETS);
    // Without a proof it is no question of anybody's.
    let (errand, _) = errand(&between, &mut other, &deposit);
    let bare = between.ask_owner(&owner.account, Topic::Relay, &codec::encode(&errand), None).0;
    assert_refused(&bare, Problem::Malformed);
}

/// Sent again, or as what it is not, it is refused, and nothing goes to the other safe for it.
pub fn an_errand_counts_once_and_is_no_other_question(between: Safe<'_>, other: Safe<'_>) {
    let (mut between, mut other) = (Visit::new(between), Visit::new(other));
    let owner = Owner::new(&mut between);
    let (deposit, ..) = other.held(100);
    let mut asked = |between: &mut Visit<'_>, topic: Topic| -> Question {
        let (errand, _) = errand(between, &mut other, &deposit);
        let challenge = between.look(&owner.account).challenge;
        between.question(&owner.account, topic, &codec::encode(&errand), &challenge, Some(owner.wallet.proof())).0
    };
    let question = asked(&mut between, Topic::Relay);
    let ask = question_ask(&owner.account, Topic::Relay, &question);
    granted(between.ask(&ask), 200, OCTETS);
    assert_refused(&between.ask(&ask), Problem::ChallengeExpired);
    for (topic, path) in [(Topic::Relay, Topic::Channel), (Topic::Channel, Topic::Relay)] {
        let question = asked(&mut between, topic);
        assert_refused(&between.ask(&question_ask(&owner.account, path, &question)), Problem::NotOwner);
    }
}

/// Whoever brings it, and whatever is changed about it.
pub fn a_parcel_opens_at_one_safe_once_and_in_its_time(between: Safe<'_>, other: Safe<'_>) {
    let (mut between, mut other) = (Visit::new(between), Visit::new(other));
    let (here, there) = (between.identity.id(), other.identity.id());
    let owner = Owner::new(&mut between);
    let (deposit, ..) = other.held(300);
    let most = delivery_len(300);
    let bring = |visit: &mut Visit<'_>, parcel: &Parcel| visit.ask(&Ask::post_to(PARCELS, codec::encode(parcel)));
    let fresh = |other: &mut Visit<'_>, expiry: Seconds| {
        let (entry, secret) = (other.entry(), &deposit.secrets.retrieve);
        let claim = Claim::make(secret, &entry, &deposit.id, Verb::Retrieve, expiry, &mut other.rng()).unwrap();
        parcel(&here, other, &deposit, &claim)
    };
    let now = other.now();
    let (good, awaiting) = fresh(&mut other, now + PARCEL_SPAN);
    // Another safe, another carrier, another time, another key.
    assert_refused(&bring(&mut between, &good), Problem::ClaimUnreadable);
    let altered = [
        Parcel { through: there, ..good.clone() },
        Parcel { expiry: good.expiry + 1, ..good.clone() },
        Parcel { ciphertext: good.enc.clone(), ..good.clone() },
        Parcel { entry: 9, ..good.clone() },
    ];
    for parcel in &altered {
        assert_refused(&bring(&mut other, parcel), Problem::ClaimUnreadable);
    }
    // The safe in between carries none that is not made for it to carry.
    let errand = Errand { to: there, parcel: codec::encode(&altered[0]).into(), most };
    assert_refused(&owner.send(&mut between, &errand), Problem::Malformed);
    // It counts; brought once more by whoever saw it, it says so, to its maker only.
    let first = granted(bring(&mut other, &good), 200, OCTETS);
    assert_eq!(awaiting.open(&first, most).unwrap(), Delivery::Body(deposit.body.clone().into()));
    let second = granted(bring(&mut other, &good), 200, OCTETS);
    assert!(refused(Problem::ClaimReplayed)(&awaiting.open(&second, most).unwrap()));
    assert_ne!(first[..32], second[..32]);
    // Too late, or made ahead.
    for expiry in [now - 100, now + 10 * PARCEL_SPAN] {
        let (parcel, awaiting) = fresh(&mut other, expiry);
        let brought = granted(bring(&mut other, &parcel), 200, OCTETS);
        assert!(refused(Problem::ClaimExpired)(&awaiting.open(&brought, most).unwrap()));
    }
}

/// The safe in between learns of no refusal what it is.
pub fn what_is_not_there_is_said_to_the_owner_only(between: Safe<'_>, other: Safe<'_>) {
    let (mut between, mut other) = (Visit::new(between), Visit::new(other));
    let owner = Owner::new(&mut between);
    let nowhere = other.draw(100);
    assert!(refused(Problem::NotFound)(&owner.fetch(&mut between, &mut other, &nowhere)));
    let (deposit, ..) = other.held(100);
    granted(other.release(&deposit), 200, COSE);
    assert!(refused(Problem::Gone)(&owner.fetch(&mut between, &mut other, &deposit)));
    // Another right is not carried.
    let (deposit, ..) = other.held(100);
    let claim = other.claim(&deposit.id, Verb::Release, &deposit.secrets.release);
    let (parcel, awaiting) = parcel(&between.identity.id(), &mut other, &deposit, &claim);
    let told = granted(other.ask(&Ask::post_to(PARCELS, codec::encode(&parcel))), 200, OCTETS);
    assert!(refused(Problem::Malformed)(&awaiting.open(&told, 1000).unwrap()));
    assert_eq!(owner.fetch(&mut between, &mut other, &deposit), Delivery::Body(deposit.body.into()));
}

/// No address is ever the owner's.
pub fn nobody_is_asked_whom_the_operator_does_not_name(between: Safe<'_>, other: Safe<'_>) {
    let (mut between, mut other) = (Visit::new(between), Visit::new(other));
    let owner = Owner::new(&mut between);
    let (deposit, ..) = other.held(100);
    for to in [between.identity.id(), SafeId([0x55; 32])] {
        let (errand, _) = errand(&between, &mut other, &deposit);
        assert_refused(&owner.send(&mut between, &Errand { to, ..errand }), Problem::NotRelayed);
    }
    // What is no parcel does not leave.
    for carried in [Vec::new(), vec![0xa0], vec![0; MAX_PARCEL_LEN + 1]] {
        let errand = Errand { to: other.identity.id(), parcel: carried.into(), most: 1000 };
        assert_refused(&owner.send(&mut between, &errand), Problem::Malformed);
    }
}

/// Longer than certified, or than any body.
pub fn no_more_comes_back_than_was_asked_for(between: Safe<'_>, other: Safe<'_>) {
    let (mut between, mut other) = (Visit::new(between), Visit::new(other));
    let owner = Owner::new(&mut between);
    let (deposit, ..) = other.held(70_000);
    for most in [0, 100, codec_len(70_000) - 1] {
        let (errand, _) = errand(&between, &mut other, &deposit);
        assert_refused(&owner.send(&mut between, &Errand { most, ..errand }), Problem::RelayFailed);
    }
    let (errand, awaiting) = errand(&between, &mut other, &deposit);
    assert_refused(
        &owner.send(&mut between, &Errand { most: MAX_DELIVERY_LEN + 1, ..errand.clone() }),
        Problem::Malformed,
    );
    let brought = granted(owner.send(&mut between, &Errand { most: codec_len(70_000), ..errand }), 200, OCTETS);
    assert_eq!(awaiting.open(&brought, MAX_DELIVERY_LEN).unwrap(), Delivery::Body(deposit.body.into()));
}

/// Whatever else comes in the place of a parcel.
pub fn noise_is_no_parcel(between: Safe<'_>, other: Safe<'_>) {
    let (between, mut other) = (Visit::new(between), Visit::new(other));
    for noise in [vec![], vec![0xff; 10], vec![0xa0], vec![0; MAX_PARCEL_LEN]] {
        assert_refused(&other.ask(&Ask::post_to(PARCELS, noise)), Problem::Malformed);
    }
    assert_refused(&other.ask(&Ask::post_to(PARCELS, vec![0; MAX_PARCEL_LEN + 1])), Problem::TooLarge);
    assert_refused(&other.ask(&Ask::get(PARCELS)), Problem::MethodNotAllowed);
    let (deposit, ..) = other.held(10);
    let (errand, _) = errand(&between, &mut other, &deposit);
    let mut parcel = errand.parcel.0;
    let typed = Ask { content_type: Some(OCTETS), ..Ask::post_to(PARCELS, parcel.clone()) };
    assert_refused(&other.ask(&typed), Problem::UnsupportedMediaType);
    parcel.push(0);
    assert_refused(&other.ask(&Ask::post_to(PARCELS, parcel)), Problem::Malformed);
}
