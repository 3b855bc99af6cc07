//! What every safe does for owners, whoever built it: one suite, run as [`crate::safe_suite`] is. Spec: `spec/owner.md`.

#![allow(missing_docs, reason = "a case says by its name what it checks")]

use protocol::{
    claim::{CLAIM_SPAN, Shown, Verb},
    codec::{self, Bytes},
    crypto::{Secret, blake3, oprf::Blinded},
    ids::{AccountId, DeviceId, EnrolmentId, GuessId, SafeId},
    owner::{
        budget::{LIFETIME_GUESSES, PROMPT_GUESSES},
        device::{Device, Handle},
        enrolment::{Made, Stretched},
        login::{Agreed, Attempt, ChannelKey, Counter, Known, LoginError, agree},
        messages::{
            Account, Action, CredentialKind, Epoch, Evaluated, Greeting, Guess, Guesses, Head, Look, MAX_HEAD_LEN,
            MAX_KITS, Mark, NewCredential, Outcome, Refusal, Topic,
        },
        name::NameKey,
        ticket::{Right, Ticket, bind},
    },
    problem::Problem,
    register::{Ballot, Proposal, derive_claimant, seal_proposal},
};
use safe_worker::flow::{CBOR, COSE, OCTETS};

use crate::{
    fixture::{rng, stretched},
    owner::{PASSPHRASE, by_passphrase, enrol, given, guess_of, look_ask, name, question_ask},
    visit::{Ask, Deposit, Got, SafeUnderTest, Visit, assert_refused, granted},
};

/// One `#[test]` per case, as [`crate::safe_suite!`].
#[macro_export]
macro_rules! owner_suite {
    ($each:path) => {
        $crate::owner_suite!($each:
            an_owner_comes_back_with_name_and_passphrase
            a_name_that_is_not_known_is_answered_like_one_that_is
            a_guess_is_counted_once
            after_ten_guesses_the_next_waits
            only_own_tries_are_given_back
            an_enrolment_is_staged_tried_and_put_in_force
            an_enrolment_that_does_not_fit_is_refused
            a_wallet_keeps_the_book_and_the_passphrase_all_else
            nothing_is_put_in_force_in_a_turn_that_is_over
            a_question_counts_at_one_safe_account_and_path_once
            only_the_owner_acts
            credentials_come_and_go
            a_kit_has_guesses_of_its_own
            a_device_comes_in_the_place_of_the_passphrase
            whoever_greets_hears_from_who_has_the_key
            an_account_belongs_to_who_opened_it
            the_book_is_written_in_turns
            what_is_bound_is_given_to_its_owner_only
            what_is_bound_and_lives_once_is_claimed_by_its_owner_only
            what_a_wallet_lets_go_its_owner_takes_back
            what_is_bound_for_its_release_is_given_to_whoever_has_the_secret
            what_lives_once_is_let_go_for_good
            the_last_head_of_the_turn_before_is_kept_for_the_owner
            a_wallet_that_asks_without_end_does_not_keep_its_owner_from_acting
            noise_is_no_question
        );
    };
    ($each:path: $($case:ident)*) => {
        $(#[test]
        fn $case() {
            $each($crate::owner_suite::$case);
        })*
    };
}

/// An owner of 2 of 3 safes, of which one is under test; the others are played.
struct Party {
    name: NameKey,
    account: AccountId,
    made: Made,
    key: Secret,
    seed: u64,
}

const OTHERS: [SafeId; 2] = [SafeId([0xa1; 32]), SafeId([0xa2; 32])];

impl Party {
    fn new(visit: &mut Visit<'_>) -> Self {
        let seed = visit.safe.draw();
        let name = name(seed);
        let here = visit.identity.id();
        let made = enrol(seed, &[here, OTHERS[0], OTHERS[1]], 2, PASSPHRASE, &name, 1);
        let account = name.account(&here);
        Self { name, account, made, key: Secret::make_random(&mut rng(seed)), seed }
    }

    /// What the safes would show that are not under test.
    fn looks(&self, here: Look, at: SafeId) -> Vec<(SafeId, Look)> {
        let played = OTHERS.iter().map(|id| {
            let mut look = here.clone();
            look.slots[0] = given(&self.made, id).slot;
            (*id, look)
        });
        [(at, here.clone())].into_iter().chain(played).collect()
    }

    fn agreed(&self, visit: &mut Visit<'_>) -> Agreed {
        let look = visit.look(&self.account);
        agree(&self.name, &self.looks(look, visit.identity.id()), 3).unwrap()
    }

    fn attempt(&self, visit: &mut Visit<'_>, passphrase: &str, seed: u64) -> Attempt {
        self.agreed(visit).start(passphrase, &mut rng(seed)).unwrap()
    }

    /// What the enrolment is called here.
    fn id(&self, visit: &Visit<'_>) -> EnrolmentId {
        self.made.enrolment.id_at(&visit.identity.id())
    }

    /// Logs in with the safe under test and one that is played.
    fn log_in(&self, visit: &mut Visit<'_>, passphrase: &str, seed: u64) -> Result<Known, LoginError> {
        let mut attempt = self.attempt(visit, passphrase, seed);
        let guess = attempt.guess_at(&visit.identity.id());
        attempt.take(&visit.identity.id(), &visit.guess(&self.account, &guess))?;
        let played = given(&self.made, &OTHERS[1]);
        let answer =
            protocol::crypto::oprf::evaluate(&played.share, &attempt.guess_at(&OTHERS[1]).blinded, &mut rng(seed + 1))?;
        let left = Guesses { now: 1, ever: 1, wait: Some(0) };
        attempt.take(&OTHERS[1], &Evaluated::done(answer.element, answer.proof, left))?;
        let waiting = attempt.finish()?;
        let (stretch, output) = waiting.to_stretch();
        let stretched = Stretched::new(stretched(&stretch, output));
        waiting.finish(stretched)
    }
}

fn account_of(outcome: &Outcome) -> &Account {
    match outcome {
        Outcome::Account(account) => account,
        other => panic!("{other:?}"),
    }
}

/// A blinded element that nobody has sent yet.
fn fresh(visit: &mut Visit<'_>) -> [u8; 32] {
    Blinded::start(b"something", &mut visit.rng()).unwrap().1
}

pub fn an_owner_comes_back_with_name_and_passphrase(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    assert_eq!(visit.descriptor.owners, Some(true));
    let (party, here) = (Party::new(&mut visit), visit.identity.id());
    visit.enrolled(&party.account, &party.key, &party.made);
    let known = party.log_in(&mut visit, PASSPHRASE, 1).unwrap();
    let outcomes =
        visit.act(&party.account, &known.channel(&here), &[Action::Show, Action::Refund(vec![known.guess_at(&here)])]);
    let account = account_of(&outcomes[0]);
    assert_eq!((account.current, account.staged, account.previous), (Some(party.id(&visit)), None, None));
    assert_eq!(account.tries.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [known.guess_at(&here)]);
    let root = known.open_root(account.wrap.as_ref().unwrap()).unwrap();
    assert!(root.expose().same_as(party.made.root.expose()));
    assert_eq!(visit.look(&party.account).left.now, PROMPT_GUESSES);
    // Another passphrase is recognised as such, and its try stays counted.
    assert_eq!(
        party.log_in(&mut visit, "a wardrobe full of lighthouse keeper", 2).unwrap_err(),
        LoginError::WrongPassphrase
    );
    assert_eq!(visit.look(&party.account).left.now, PROMPT_GUESSES - 1);
}

pub fn a_name_that_is_not_known_is_answered_like_one_that_is(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let party = Party::new(&mut visit);
    visit.enrolled(&party.account, &party.key, &party.made);
    let stranger = name(visit.safe.draw()).account(&visit.identity.id());
    let raw = |visit: &mut Visit<'_>, account| granted(visit.ask(&look_ask(account)), 200, CBOR);
    let (known, unknown) = (raw(&mut visit, &party.account), raw(&mut visit, &stranger));
    assert_eq!(known.len(), unknown.len());
    let (known, unknown) = (Look::parse(&known).unwrap(), Look::parse(&unknown).unwrap());
    assert_eq!(known.left, unknown.left);
    // What is shown stays the same from look to look, is no other account's, and the two slots differ.
    let again = visit.look(&stranger);
    assert_eq!((&again.slots, again.challenge == unknown.challenge), (&unknown.slots, false));
    assert_ne!(unknown.slots[0], unknown.slots[1]);
    assert_ne!(unknown.slots[1], known.slots[1]);
    // A guess is answered, proven, counted, and answered again for nothing.
    for account in [party.account, stranger] {
        let guess = guess_of(EnrolmentId([9; 16]), fresh(&mut visit), 3);
        let Evaluated::Done(first, _, left) = visit.guess(&account, &guess) else { panic!("locked") };
        assert_eq!(left.now, PROMPT_GUESSES - 1);
        let Evaluated::Done(second, _, left) = visit.guess(&account, &guess) else { panic!("locked") };
        assert_eq!((first, left.now), (second, PROMPT_GUESSES - 1));
        assert_eq!(visit.look(&account).left.now, PROMPT_GUESSES - 1);
        // Whoever has no key is not the owner, in the same words.
        let key = ChannelKey::of_credential(1, Secret::make_random(&mut rng(4)));
        assert_refused(&visit.try_act(&account, &key, &[Action::Show]).0, Problem::NotOwner);
    }
}

pub fn a_guess_is_counted_once(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let (party, here) = (Party::new(&mut visit), visit.identity.id());
    visit.enrolled(&party.account, &party.key, &party.made);
    let mut attempt = party.attempt(&mut visit, PASSPHRASE, 1);
    let guess = attempt.guess_at(&visit.identity.id());
    let answers: Vec<_> = (0..3).map(|_| visit.guess(&party.account, &guess)).collect();
    for answer in &answers {
        attempt.take(&here, answer).unwrap();
        let Evaluated::Done(_, _, left) = answer else { panic!("locked") };
        assert_eq!((left.now, left.ever), (PROMPT_GUESSES - 1, LIFETIME_GUESSES - 1));
    }
    assert_eq!(attempt.missing(), 1, "one safe is one answer, however often it answers");
    // Under another id it is the same element still.
    visit.guess(&party.account, &Guess { id: GuessId([1; 16]), ..guess.clone() });
    assert_eq!(visit.look(&party.account).left.now, PROMPT_GUESSES - 1);
    // For another enrolment it is another key, and counts.
    visit.guess(&party.account, &Guess { enrolment: EnrolmentId([1; 16]), ..guess });
    assert_eq!(visit.look(&party.account).left.now, PROMPT_GUESSES - 2);
    // An element that is none, or the identity, gets nothing and costs nothing.
    for blinded in [[0; 32], [0xff; 32]] {
        let guess = codec::encode(&guess_of(party.id(&visit), blinded, 5));
        assert_refused(&visit.ask_owner(&party.account, Topic::Evaluate, &guess, None).0, Problem::Malformed);
    }
    assert_eq!(visit.look(&party.account).left.now, PROMPT_GUESSES - 2);
}

pub fn after_ten_guesses_the_next_waits(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let party = Party::new(&mut visit);
    let channel = visit.enrolled(&party.account, &party.key, &party.made);
    let id = party.id(&visit);
    let first = guess_of(id, fresh(&mut visit), 0);
    visit.guess(&party.account, &first);
    for n in 1..PROMPT_GUESSES {
        let guess = guess_of(id, fresh(&mut visit), n.into());
        let Evaluated::Done(_, _, left) = visit.guess(&party.account, &guess) else { panic!("locked") };
        assert_eq!(left.now, PROMPT_GUESSES - 1 - n);
    }
    for _ in 0..3 {
        let guess = guess_of(id, fresh(&mut visit), 99);
        let Evaluated::Locked(left) = visit.guess(&party.account, &guess) else { panic!("answered") };
        assert_eq!((left.now, left.ever), (0, LIFETIME_GUESSES - PROMPT_GUESSES));
        assert!(left.wait.is_some_and(|wait| wait > 86_000 && wait <= 86_400));
    }
    // What was answered is answered again; what is not the passphrase's path is open as before.
    assert!(matches!(visit.guess(&party.account, &first), Evaluated::Done(..)));
    let outcomes = visit.act(&party.account, &channel, &[Action::Show]);
    assert_eq!(account_of(&outcomes[0]).tries.len(), PROMPT_GUESSES as usize);
    // A new enrolment gives no new guesses.
    let next = enrol(party.seed + 1, &[visit.identity.id(), OTHERS[0]], 2, "something else entirely", &party.name, 2);
    let staged = Box::new(given(&next, &visit.identity.id()));
    let owner = by_passphrase(&party.made, &visit.identity.id());
    let outcomes = visit.act(
        &party.account,
        &owner,
        &[Action::Stage(staged), Action::Commit(next.enrolment.id_at(&visit.identity.id()), None)],
    );
    assert_eq!(outcomes, [Outcome::Done, Outcome::Done]);
    let guess = guess_of(next.enrolment.id_at(&visit.identity.id()), fresh(&mut visit), 100);
    assert!(matches!(visit.guess(&party.account, &guess), Evaluated::Locked(_)));
    // The owner forgets them all, knowing what it means.
    let owner = by_passphrase(&next, &visit.identity.id());
    assert_eq!(visit.act(&party.account, &owner, &[Action::Clear]), [Outcome::Done]);
    assert!(matches!(visit.guess(&party.account, &guess), Evaluated::Done(..)));
}

pub fn only_own_tries_are_given_back(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let party = Party::new(&mut visit);
    let channel = visit.enrolled(&party.account, &party.key, &party.made);
    let guesses: Vec<_> = (0..3).map(|n| guess_of(party.id(&visit), fresh(&mut visit), n)).collect();
    for guess in &guesses {
        visit.guess(&party.account, guess);
    }
    let mine = Action::Refund(vec![guesses[1].id, GuessId([7; 16])]);
    let outcomes = visit.act(&party.account, &channel, &[mine, Action::Show]);
    let left: Vec<_> = account_of(&outcomes[1]).tries.iter().map(|(id, _)| *id).collect();
    assert_eq!(left, [guesses[0].id, guesses[2].id]);
    assert_eq!(visit.look(&party.account).left.now, PROMPT_GUESSES - 2);
    // Given back, it is forgotten, and counts anew.
    visit.guess(&party.account, &guesses[1]);
    assert_eq!(visit.look(&party.account).left.now, PROMPT_GUESSES - 3);
}

pub fn an_enrolment_is_staged_tried_and_put_in_force(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let (party, here) = (Party::new(&mut visit), visit.identity.id());
    let channel = visit.opened(&party.account, &party.key);
    let before = visit.look(&party.account);
    let staged = Action::Stage(Box::new(given(&party.made, &here)));
    let id = party.id(&visit);
    for _ in 0..2 {
        assert_eq!(visit.act(&party.account, &channel, std::slice::from_ref(&staged)), [Outcome::Done]);
    }
    // It is not shown, and answers to who has the staging secret only, who is not counted.
    assert_eq!(visit.look(&party.account).slots, before.slots);
    let blinded = fresh(&mut visit);
    let commitment = party.made.enrolment.seat(&here).map(|(_, c)| *c).unwrap();
    let proven = |visit: &mut Visit<'_>, staging| {
        let (blinding, element) = Blinded::start(b"x", &mut rng(8)).unwrap();
        let guess = Guess { staging, ..guess_of(id, element, 8) };
        let Evaluated::Done(element, proof, left) = visit.guess(&party.account, &guess) else { panic!("locked") };
        let evaluation = protocol::crypto::oprf::Evaluation { element: *element, proof: *proof };
        (blinding.check(&evaluation, &commitment).is_ok(), left.now)
    };
    assert_eq!(proven(&mut visit, Some(party.made.staging_at(&here))), (true, PROMPT_GUESSES));
    assert_eq!(proven(&mut visit, Some(Secret::make_random(&mut rng(1)))), (false, PROMPT_GUESSES - 1));
    assert!(!proven(&mut visit, None).0);
    // In a channel of its passphrase the root can be read, and nothing else be done.
    let known = trial(&party, &mut visit);
    let outcomes =
        visit.act(&party.account, &known.channel(&here), &[Action::Show, Action::Clear, Action::Commit(id, None)]);
    let root = known.open_root(account_of(&outcomes[0]).wrap.as_ref().unwrap()).unwrap();
    assert!(root.expose().same_as(party.made.root.expose()));
    let not_allowed = Outcome::Refused(Refusal::NotAllowed);
    assert_eq!(outcomes[1..], [not_allowed.clone(), not_allowed]);
    // In force; the same again changes nothing; the next one has this one behind it.
    let unknown = Action::Commit(EnrolmentId([3; 16]), None);
    assert_eq!(visit.act(&party.account, &channel, &[unknown]), [Outcome::Refused(Refusal::Unknown)]);
    for _ in 0..2 {
        let outcomes = visit.act(&party.account, &channel, &[Action::Commit(id, None), staged.clone()]);
        assert_eq!(outcomes, [Outcome::Done, Outcome::Done]);
    }
    assert_eq!(visit.look(&party.account).slots[0], given(&party.made, &here).slot);
    let next = enrol(party.seed + 1, &[here, OTHERS[0], OTHERS[1]], 2, "another one", &party.name, 2);
    let (mine, other) = (given(&next, &here), next.enrolment.id_at(&here));
    let actions =
        [Action::Stage(Box::new(mine.clone())), Action::Commit(other, None), Action::Show, Action::Drop(other)];
    let outcomes = visit.act(&party.account, &known.channel(&here), &actions);
    let account = account_of(&outcomes[2]);
    assert_eq!((account.current, account.previous, account.generation), (Some(other), Some(id), 2));
    assert_eq!(outcomes[3], Outcome::Refused(Refusal::NotAllowed));
    let look = visit.look(&party.account);
    assert_eq!(look.slots, [mine.slot, given(&party.made, &here).slot]);
    // Who still has the passphrase of the one before it gets everything back, until that is dropped.
    assert!(matches!(visit.guess(&party.account, &guess_of(id, blinded, 1)), Evaluated::Done(..)));
    assert!(matches!(visit.act(&party.account, &known.channel(&here), &[Action::Show])[..], [Outcome::Account(_)]));
    let owner = by_passphrase(&next, &here);
    assert_eq!(
        visit.act(&party.account, &owner, &[Action::Drop(id), Action::Drop(id)]),
        [Outcome::Done, Outcome::Done]
    );
    assert_refused(&visit.try_act(&party.account, &known.channel(&here), &[Action::Show]).0, Problem::NotOwner);
    // What is older than what is in force is not staged any more.
    let stale = enrol(party.seed + 2, &[here, OTHERS[0]], 2, "a third one", &party.name, 2);
    let stale = Action::Stage(Box::new(given(&stale, &here)));
    assert_eq!(visit.act(&party.account, &owner, &[stale]), [Outcome::Refused(Refusal::OutOfOrder)]);
}

/// What each may do who is known, in the order of [`may`].
fn attempts(made: &Made, next: &Made, here: &SafeId, mark: u32) -> Vec<Action> {
    let turn = Epoch { counter: mark, holder: DeviceId([1; 16]) };
    let key = Secret::from_bytes([mark.to_be_bytes()[3]; 32]);
    let new = NewCredential { kind: CredentialKind::Wallet, key, note: Vec::new().into(), wrap: None, locator: None };
    vec![
        Action::ReadHead,
        Action::Refund(vec![GuessId([9; 16])]),
        Action::Ticket(None),
        Action::Promise(turn),
        Action::WriteHead(head(turn, 1, [0; 32], b"content")),
        Action::Ticket(Some(turn)),
        Action::Stage(Box::new(given(next, here))),
        Action::Commit(EnrolmentId([8; 16]), None),
        Action::Drop(next.enrolment.id_at(here)),
        Action::Drop(made.enrolment.id_at(here)),
        Action::Clear,
        Action::Add(new),
        Action::Revoke(1),
    ]
}

/// Which of [`attempts`] are allowed: how many of the first, and those further on.
fn may(visit: &mut Visit<'_>, account: &AccountId, key: &ChannelKey, actions: &[Action]) -> Vec<usize> {
    let outcomes = visit.act(account, key, actions);
    let refused = Outcome::Refused(Refusal::NotAllowed);
    outcomes.iter().enumerate().filter(|(_, outcome)| **outcome != refused).map(|(at, _)| at).collect()
}

pub fn a_wallet_keeps_the_book_and_the_passphrase_all_else(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let (party, here) = (Party::new(&mut visit), visit.identity.id());
    let account = party.account;
    let opener = visit.opened(&account, &party.key);
    let next = enrol(party.seed + 1, &[here, OTHERS[0], OTHERS[1]], 2, "another one", &party.name, 2);
    let third = enrol(party.seed + 2, &[here, OTHERS[0], OTHERS[1]], 2, "a third one", &party.name, 3);
    // Before anything is in force a wallet can enrol; and what it cannot do, it cannot do then either.
    let first = attempts(&next, &party.made, &here, 1);
    assert_eq!(may(&mut visit, &account, &opener, &first[..12]), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let enrolling =
        [Action::Stage(Box::new(given(&party.made, &here))), Action::Commit(party.id(&visit), Some(Epoch::LAST))];
    for _ in 0..2 {
        assert_eq!(visit.act(&account, &opener, &enrolling), [Outcome::Done, Outcome::Done]);
    }
    let owner = by_passphrase(&party.made, &here);
    let add = |kind, n: u8| {
        let key = Secret::from_bytes([n; 32]);
        let locator = (kind == CredentialKind::Device).then(|| [n; 16].into());
        Action::Add(NewCredential { kind, key, note: Vec::new().into(), wrap: None, locator })
    };
    let kinds = [add(CredentialKind::Wallet, 0xaa), add(CredentialKind::Device, 0xbb)];
    assert_eq!(visit.act(&account, &owner, &kinds), [Outcome::Added(2), Outcome::Added(3)]);
    let wallet = ChannelKey::of_credential(2, Secret::from_bytes([0xaa; 32]));
    let device = ChannelKey::of_credential(3, Secret::from_bytes([0xbb; 32]));
    // Then it keeps the book, and lets itself go only.
    let actions = attempts(&party.made, &next, &here, 2);
    assert_eq!(may(&mut visit, &account, &wallet, &actions), [0, 1, 2, 3, 4, 5]);
    let shown = visit.act(&account, &owner, &[Action::Show]);
    let shown = account_of(&shown[0]);
    assert_eq!((shown.current, shown.staged, shown.credentials.len()), (Some(party.id(&visit)), None, 3));
    // A device of the owner does everything, save giving up what is in force.
    assert_eq!(may(&mut visit, &account, &device, &actions), [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12]);
    assert_eq!(visit.act(&account, &wallet, &[Action::Revoke(2)]), [Outcome::Done]);
    assert_refused(&visit.try_act(&account, &wallet, &[Action::Show]).0, Problem::NotOwner);
    // By the passphrase that was changed everything comes back, and nothing is undone; not even what is staged behind it is put in force.
    let change =
        [Action::Stage(Box::new(given(&next, &here))), Action::Commit(next.enrolment.id_at(&here), Some(Epoch::LAST))];
    assert_eq!(visit.act(&account, &owner, &change), [Outcome::Done, Outcome::Done]);
    let new = by_passphrase(&next, &here);
    assert_eq!(visit.act(&account, &new, &[Action::Stage(Box::new(given(&third, &here)))]), [Outcome::Done]);
    let actions = attempts(&next, &third, &here, 3);
    assert_eq!(may(&mut visit, &account, &owner, &actions), [0, 1, 2]);
    let other = [
        Action::Commit(third.enrolment.id_at(&here), Some(Epoch::LAST)),
        Action::Drop(party.id(&visit)),
        change[1].clone(),
    ];
    let not_allowed = Outcome::Refused(Refusal::NotAllowed);
    assert_eq!(visit.act(&account, &owner, &other), [not_allowed.clone(), not_allowed, Outcome::Done]);
    assert_eq!(visit.act(&account, &new, &[Action::Drop(party.id(&visit))]), [Outcome::Done]);
    assert_refused(&visit.try_act(&account, &owner, &[Action::Show]).0, Problem::NotOwner);
    // Only who has the very passphrase leaves the safe; what was guessed stays counted, and a wallet can enrol anew.
    let blinded = fresh(&mut visit);
    visit.guess(&account, &guess_of(next.enrolment.id_at(&here), blinded, 1));
    let left = visit.look(&account).left.now;
    assert_eq!(visit.act(&account, &new, &[Action::Drop(next.enrolment.id_at(&here))]), [Outcome::Done]);
    assert_refused(&visit.try_act(&account, &new, &[Action::Show]).0, Problem::NotOwner);
    assert_eq!(visit.look(&account).left.now, left);
    assert_eq!(visit.act(&account, &device, &[Action::ReadHead]), [Outcome::Head(None)]);
    let again = enrol(party.seed + 3, &[here, OTHERS[0]], 2, "a fourth one", &party.name, 1);
    let wallet = match &visit.act(&account, &device, &[add(CredentialKind::Wallet, 0xcc)])[..] {
        [Outcome::Added(number)] => ChannelKey::of_credential(*number, Secret::from_bytes([0xcc; 32])),
        other => panic!("{other:?}"),
    };
    assert_eq!(visit.act(&account, &wallet, &[Action::Stage(Box::new(given(&again, &here)))]), [Outcome::Done]);
}

pub fn nothing_is_put_in_force_in_a_turn_that_is_over(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let (party, here) = (Party::new(&mut visit), visit.identity.id());
    let account = party.account;
    let opener = visit.opened(&account, &party.key);
    let enrolling = [Action::Stage(Box::new(given(&party.made, &here))), Action::Commit(party.id(&visit), None)];
    assert_eq!(visit.act(&account, &opener, &enrolling), [Outcome::Done, Outcome::Done]);
    let owner = by_passphrase(&party.made, &here);
    let next = enrol(party.seed + 1, &[here, OTHERS[0], OTHERS[1]], 2, "another one", &party.name, 2);
    let id = next.enrolment.id_at(&here);
    let turn = |counter| Epoch { counter, holder: DeviceId([1; 16]) };
    let commit = |epoch| Action::Commit(id, epoch);
    let stage = Action::Stage(Box::new(given(&next, &here)));
    let actions = [stage, Action::Promise(turn(3)), commit(None), commit(Some(turn(2))), Action::Show];
    let outcomes = visit.act(&account, &owner, &actions);
    let late = Outcome::Refused(Refusal::Superseded);
    assert_eq!(outcomes[2..4], [late.clone(), late]);
    assert_eq!(account_of(&outcomes[4]).current, Some(party.id(&visit)));
    assert_eq!(visit.act(&account, &owner, &[commit(Some(turn(3)))]), [Outcome::Done]);
    // What is in force by now was an answer that was lost.
    let new = by_passphrase(&next, &here);
    assert_eq!(visit.act(&account, &new, &[commit(Some(turn(2))), commit(None)]), [Outcome::Done, Outcome::Done]);
}

/// A login on the staged enrolment.
fn trial(party: &Party, visit: &mut Visit<'_>) -> Known {
    let mut here = visit.look(&party.account);
    here.slots[0] = given(&party.made, &visit.identity.id()).slot;
    let agreed = agree(&party.name, &party.looks(here, visit.identity.id()), 3).unwrap();
    let mut attempt = agreed.start(PASSPHRASE, &mut rng(5)).unwrap();
    let guess =
        Guess { staging: Some(party.made.staging_at(&visit.identity.id())), ..attempt.guess_at(&visit.identity.id()) };
    attempt.take(&visit.identity.id(), &visit.guess(&party.account, &guess)).unwrap();
    let played = given(&party.made, &OTHERS[0]);
    let answer =
        protocol::crypto::oprf::evaluate(&played.share, &attempt.guess_at(&OTHERS[0]).blinded, &mut rng(6)).unwrap();
    let left = Guesses { now: 1, ever: 1, wait: Some(0) };
    attempt.take(&OTHERS[0], &Evaluated::done(answer.element, answer.proof, left)).unwrap();
    let waiting = attempt.finish().unwrap();
    let (stretch, output) = waiting.to_stretch();
    let stretched = Stretched::new(stretched(&stretch, output));
    waiting.finish(stretched).unwrap()
}

pub fn an_enrolment_that_does_not_fit_is_refused(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let (party, here) = (Party::new(&mut visit), visit.identity.id());
    let channel = visit.opened(&party.account, &party.key);
    let good = given(&party.made, &here);
    let bad = [
        {
            let mut s = good.clone();
            s.slot.0.pop();
            s
        },
        {
            let mut s = good.clone();
            s.wrap.0.push(0);
            s
        },
        {
            let mut s = good.clone();
            s.share = Secret::from_bytes([0; 32]);
            s
        },
        {
            let mut s = good.clone();
            s.share = Secret::from_bytes([0xff; 32]);
            s
        },
    ];
    for staged in bad {
        let outcome = visit.act(&party.account, &channel, &[Action::Stage(Box::new(staged))]);
        assert_eq!(outcome, [Outcome::Refused(Refusal::Malformed)]);
    }
    let outcomes = visit.act(&party.account, &channel, &[Action::Show]);
    assert_eq!(account_of(&outcomes[0]).staged, None);
}

pub fn a_question_counts_at_one_safe_account_and_path_once(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let party = Party::new(&mut visit);
    visit.enrolled(&party.account, &party.key, &party.made);
    let key = Secret::from_bytes([0xdd; 32]);
    let (kind, note, locator) = (CredentialKind::Device, vec![1].into(), Some([0xdd; 16].into()));
    let device = NewCredential { kind, key: key.clone(), note, wrap: None, locator };
    let owner = by_passphrase(&party.made, &visit.identity.id());
    assert_eq!(visit.act(&party.account, &owner, &[Action::Add(device)]), [Outcome::Added(2)]);
    let channel = ChannelKey::of_credential(2, key);
    let add = |n: u8| {
        let (kind, key) = (CredentialKind::Device, Secret::from_bytes([n; 32]));
        codec::encode(&vec![Action::Add(NewCredential {
            kind,
            key,
            note: vec![n].into(),
            wrap: None,
            locator: Some([n; 16].into()),
        })])
    };
    let challenge = visit.look(&party.account).challenge;
    let proof = channel.proof();
    let (question, answering) = visit.question(&party.account, Topic::Channel, &add(1), &challenge, Some(proof));
    // On another path, at another account, to another safe, for somebody else.
    let ask = |path: &str| Ask::post_to(&format!("/v1/owners/{}/{path}", party.account), codec::encode(&question));
    let as_open = visit.admitted(ask("open"));
    for ask in [as_open, ask("evaluate")] {
        assert_refused(&visit.ask(&ask), Problem::ClaimUnreadable);
    }
    let other = Party::new(&mut visit);
    visit.enrolled(&other.account, &other.key, &other.made);
    let moved = question_ask(&other.account, Topic::Channel, &question);
    assert_refused(&visit.ask(&moved), Problem::ChallengeExpired);
    let theirs = visit.look(&other.account).challenge;
    let moved = protocol::owner::messages::Question { challenge: theirs, ..question.clone() };
    assert_refused(&visit.ask(&question_ask(&other.account, Topic::Channel, &moved)), Problem::NotOwner);
    let mut stranger = rng(9);
    let elsewhere =
        protocol::owner::messages::Address { safe: &OTHERS[0], account: &party.account, topic: Topic::Channel };
    let entry = visit.entry();
    let (elsewhere, _) =
        protocol::owner::messages::Question::make(&elsewhere, &add(1), &entry, &challenge, Some(proof), &mut stranger)
            .unwrap();
    assert_refused(&visit.ask(&question_ask(&party.account, Topic::Channel, &elsewhere)), Problem::NotOwner);
    let who = Some(protocol::owner::messages::Who::Credential(1));
    let renamed = protocol::owner::messages::Question { who, ..question.clone() };
    assert_refused(&visit.ask(&question_ask(&party.account, Topic::Channel, &renamed)), Problem::NotOwner);
    // Altered anywhere.
    for at in 0..2 {
        let mut altered = question.clone();
        let bytes = if at == 0 { &mut altered.enc } else { &mut altered.ciphertext };
        bytes.0[5] ^= 1;
        assert_refused(&visit.ask(&question_ask(&party.account, Topic::Channel, &altered)), Problem::NotOwner);
    }
    // Once, as it was meant.
    let sealed = granted(visit.ask(&question_ask(&party.account, Topic::Channel, &question)), 200, OCTETS);
    assert_eq!(answering.read::<Vec<Outcome>>(&sealed).unwrap(), [Outcome::Added(3)]);
    for _ in 0..2 {
        let again = visit.ask(&question_ask(&party.account, Topic::Channel, &question));
        assert_refused(&again, Problem::ChallengeExpired);
    }
    // An answer is for who asked, and sent back it is no question.
    let (_, another) = visit.question(&party.account, Topic::Channel, &add(1), &challenge, Some(proof));
    assert!(another.open(&sealed).is_err());
    let reflected = Ask::post_to(&format!("/v1/owners/{}/channel", party.account), sealed);
    assert_refused(&visit.ask(&reflected), Problem::Malformed);
    // A challenge that was made up, or altered.
    let made_up = protocol::owner::messages::Challenge::from([0xff; 32]);
    let mut later = *challenge;
    later[7] ^= 0x40;
    for challenge in [made_up, later.into()] {
        let (question, _) = visit.question(&party.account, Topic::Channel, &add(3), &challenge, Some(proof));
        assert_refused(&visit.ask(&question_ask(&party.account, Topic::Channel, &question)), Problem::ChallengeExpired);
    }
    let outcomes = visit.act(&party.account, &channel, &[Action::Show]);
    assert_eq!(account_of(&outcomes[0]).credentials.len(), 3);
}

pub fn only_the_owner_acts(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let (party, here) = (Party::new(&mut visit), visit.identity.id());
    visit.enrolled(&party.account, &party.key, &party.made);
    let other = Party::new(&mut visit);
    visit.enrolled(&other.account, &other.key, &other.made);
    let known = party.log_in(&mut visit, PASSPHRASE, 1).unwrap();
    let theirs = other.log_in(&mut visit, PASSPHRASE, 1).unwrap();
    // The key of another owner, of another safe, of a number that has another key.
    let keys = [
        theirs.channel(&here),
        known.channel(&OTHERS[0]),
        ChannelKey::of_credential(1, other.key.clone()),
        ChannelKey::of_credential(2, party.key.clone()),
        ChannelKey::of_credential(0, party.key.clone()),
    ];
    for key in &keys {
        assert_refused(&visit.try_act(&party.account, key, &[Action::Clear]).0, Problem::NotOwner);
    }
    // A statement that differs in anything makes another channel.
    let downgraded = enrol(party.seed, &[here, OTHERS[0]], 2, PASSPHRASE, &party.name, 1);
    assert_ne!(downgraded.statement, party.made.statement);
    let digest = protocol::owner::enrolment::derive_digest(&here, &downgraded.statement);
    let mine = known.channel(&here);
    let proof = protocol::owner::messages::Proof { digest: &digest, ..mine.proof() };
    let plain = codec::encode(&vec![Action::Show]);
    assert_refused(&visit.ask_owner(&party.account, Topic::Channel, &plain, Some(proof)).0, Problem::NotOwner);
    assert_eq!(visit.act(&party.account, &mine, &[Action::Clear]), [Outcome::Done]);
}

pub fn credentials_come_and_go(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let party = Party::new(&mut visit);
    visit.enrolled(&party.account, &party.key, &party.made);
    let wallet = by_passphrase(&party.made, &visit.identity.id());
    let key = Secret::make_random(&mut visit.rng());
    let wrap = Some(given(&party.made, &visit.identity.id()).wrap);
    let locator = |n: u8| Some([n; 16].into());
    let new = NewCredential {
        kind: CredentialKind::Device,
        key: key.clone(),
        note: vec![5; 40].into(),
        wrap: wrap.clone(),
        locator: locator(1),
    };
    for _ in 0..2 {
        assert_eq!(visit.act(&party.account, &wallet, &[Action::Add(new.clone())]), [Outcome::Added(2)]);
    }
    let device = ChannelKey::of_credential(2, key);
    let outcomes = visit.act(&party.account, &device, &[Action::Show]);
    let listed = account_of(&outcomes[0]).credentials.clone();
    assert_eq!(
        listed.iter().map(|one| (one.number, one.kind)).collect::<Vec<_>>(),
        [(1, CredentialKind::Wallet), (2, CredentialKind::Device)]
    );
    assert_eq!((listed[1].note.len(), &listed[1].wrap), (40, &wrap));
    assert!(listed[1].added.abs_diff(visit.now()) <= 60);
    // Given anew by its owner it is what is given now, under its number; and it is found where it was.
    let wrap = Bytes(vec![7; 144]);
    let anew = NewCredential { note: vec![6; 41].into(), wrap: Some(wrap.clone()), ..new.clone() };
    let elsewhere = NewCredential { locator: locator(9), ..new.clone() };
    let long = NewCredential { note: vec![0; 257].into(), ..new.clone() };
    for (given, outcome) in
        [(anew, Outcome::Added(2)), (elsewhere, Outcome::Added(2)), (long, Outcome::Refused(Refusal::Malformed))]
    {
        assert_eq!(visit.act(&party.account, &wallet, &[Action::Add(given)]), [outcome]);
        let outcomes = visit.act(&party.account, &device, &[Action::Show]);
        let listed = &account_of(&outcomes[0]).credentials;
        assert_eq!((listed.len(), listed[1].number), (2, 2));
        assert_eq!((listed[1].note.len(), listed[1].wrap.as_ref()), (41, Some(&wrap)));
    }
    // Lost: it is revoked, by whoever else is the owner, and its number is not given again.
    assert_eq!(
        visit.act(&party.account, &wallet, &[Action::Revoke(2), Action::Revoke(2)]),
        [Outcome::Done, Outcome::Done]
    );
    assert_refused(&visit.try_act(&party.account, &device, &[Action::Show]).0, Problem::NotOwner);
    let unknown = Outcome::Refused(Refusal::Unknown);
    assert_eq!(visit.act(&party.account, &wallet, &[Action::Revoke(0), Action::Revoke(3)]), [unknown.clone(), unknown]);
    let another = NewCredential { key: Secret::make_random(&mut visit.rng()), ..new.clone() };
    assert_eq!(visit.act(&party.account, &wallet, &[Action::Add(another)]), [Outcome::Added(3)]);
    let note = vec![0; 257].into();
    let long = NewCredential { key: Secret::make_random(&mut visit.rng()), note, locator: locator(2), ..new };
    assert_eq!(visit.act(&party.account, &wallet, &[Action::Add(long)]), [Outcome::Refused(Refusal::Malformed)]);
}

/// What a greeting hears.
fn greet(visit: &mut Visit<'_>, account: &AccountId, credential: Option<Secret>) -> Result<Guesses, Problem> {
    let (got, answering) = visit.ask_owner(account, Topic::Greet, &codec::encode(&Greeting { credential }), None);
    match got {
        Got { status: 200, .. } => Ok(answering.read(&granted(got, 200, OCTETS)).unwrap()),
        got => {
            assert_refused(&got, Problem::NotOwner);
            Err(Problem::NotOwner)
        }
    }
}

fn kit_key(secret: &Secret, safe: &SafeId) -> Secret {
    Counter::Kit(secret.clone()).key_at(safe)
}

fn new_kit(secret: &Secret, safe: &SafeId) -> Action {
    let key = kit_key(secret, safe);
    Action::Add(NewCredential { kind: CredentialKind::Kit, key, note: vec![1].into(), wrap: None, locator: None })
}

pub fn a_kit_has_guesses_of_its_own(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let (party, here) = (Party::new(&mut visit), visit.identity.id());
    visit.enrolled(&party.account, &party.key, &party.made);
    let known = party.log_in(&mut visit, PASSPHRASE, 1).unwrap();
    let channel = known.channel(&here);
    let secrets: Vec<Secret> = (0..4).map(|n| Secret::make_random(&mut rng(party.seed + n))).collect();
    let outcomes = visit.act(
        &party.account,
        &channel,
        &[Action::Refund(vec![known.guess_at(&here)]), new_kit(&secrets[0], &here), new_kit(&secrets[0], &here)],
    );
    let Outcome::Added(number) = outcomes[1] else { panic!("{outcomes:?}") };
    assert_eq!(outcomes[2], Outcome::Added(number), "the same once more is the same one");
    let key = kit_key(&secrets[0], &here);
    let with = |guess: Guess, key: &Secret| Guess { credential: Some(key.clone()), ..guess };
    let id = party.id(&visit);
    // Strangers use up what the name has; the paper is out of their reach.
    for n in 0..PROMPT_GUESSES {
        let guess = guess_of(id, fresh(&mut visit), n.into());
        assert!(matches!(visit.guess(&party.account, &guess), Evaluated::Done(..)));
    }
    let guess = guess_of(id, fresh(&mut visit), 50);
    assert!(matches!(visit.guess(&party.account, &guess), Evaluated::Locked(_)));
    assert_eq!(greet(&mut visit, &party.account, Some(key.clone())).unwrap().now, PROMPT_GUESSES);
    let attempt = party.attempt(&mut visit, PASSPHRASE, 2).counted_by(Some(Counter::Kit(secrets[0].clone())));
    let mine = attempt.guess_at(&here);
    for _ in 0..2 {
        let Evaluated::Done(_, _, left) = visit.guess(&party.account, &mine) else { panic!("locked") };
        assert_eq!((left.now, left.ever), (PROMPT_GUESSES - 1, LIFETIME_GUESSES - 1));
    }
    assert_eq!(greet(&mut visit, &party.account, None).unwrap().now, 0);
    // It has as many as the name, and no more.
    for n in 1..PROMPT_GUESSES {
        let guess = with(guess_of(id, fresh(&mut visit), u64::from(n) + 60), &key);
        assert!(matches!(visit.guess(&party.account, &guess), Evaluated::Done(..)));
    }
    let locked = with(guess_of(id, fresh(&mut visit), 90), &key);
    assert!(matches!(visit.guess(&party.account, &locked), Evaluated::Locked(left) if left.now == 0));
    // So has the wallet that is enrolled, for what its owner does with the passphrase.
    let mine_too = with(guess_of(id, fresh(&mut visit), 92), &party.key);
    assert!(
        matches!(visit.guess(&party.account, &mine_too), Evaluated::Done(_, _, left) if left.now == PROMPT_GUESSES - 1)
    );
    // The own try is given back by who made it, as ever.
    let outcomes = visit.act(&party.account, &channel, &[Action::Refund(vec![mine.id])]);
    assert_eq!(outcomes, [Outcome::Done]);
    assert_eq!(greet(&mut visit, &party.account, Some(key.clone())).unwrap().now, 1);
    // One that nobody knows gets no share, here and where there is no account, in the same words; nor is a kit an owner.
    let stranger = name(visit.safe.draw()).account(&here);
    for account in [party.account, stranger] {
        let wrong = kit_key(&secrets[3], &here);
        greet(&mut visit, &account, Some(wrong.clone())).unwrap_err();
        let guess = codec::encode(&with(guess_of(id, fresh(&mut visit), 91), &wrong));
        assert_refused(&visit.ask_owner(&account, Topic::Evaluate, &guess, None).0, Problem::NotOwner);
        let alone = ChannelKey::of_credential(number, key.clone());
        assert_refused(&visit.try_act(&account, &alone, &[Action::Show]).0, Problem::NotOwner);
    }
    // One more may stand beside it until it has proven itself; then the first one goes, with its guesses.
    let more: Vec<_> = secrets[1..=MAX_KITS].iter().map(|secret| new_kit(secret, &here)).collect();
    let outcomes = visit.act(&party.account, &channel, &more);
    assert!(matches!(outcomes[..], [Outcome::Added(_), Outcome::Refused(Refusal::Malformed)]));
    let outcomes = visit.act(&party.account, &channel, &[Action::Show, Action::Revoke(number), Action::Show]);
    let tries = |outcome: &Outcome| account_of(outcome).tries.len();
    let kept = PROMPT_GUESSES as usize + 1;
    assert_eq!((tries(&outcomes[0]), tries(&outcomes[2])), (kept + PROMPT_GUESSES as usize - 1, kept));
    greet(&mut visit, &party.account, Some(key)).unwrap_err();
    let second = kit_key(&secrets[1], &here);
    assert_eq!(greet(&mut visit, &party.account, Some(second)).unwrap().now, PROMPT_GUESSES);
}

pub fn a_device_comes_in_the_place_of_the_passphrase(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let (party, here) = (Party::new(&mut visit), visit.identity.id());
    visit.enrolled(&party.account, &party.key, &party.made);
    let known = party.log_in(&mut visit, PASSPHRASE, 1).unwrap();
    let (agreed, root) = (known.agreed(), &party.made.root);
    let handle = Handle::make(party.name.clone(), &mut rng(party.seed + 1));
    let output = Secret::make_random(&mut rng(party.seed + 2));
    let device = handle.clone().unlock(&output);
    let new =
        |device: &Device, note: Vec<u8>, seed| device.credential(agreed, root, &here, note, &mut rng(seed)).unwrap();
    let add = Action::Add(new(&device, vec![7], 1));
    let outcomes = visit.act(&party.account, &known.channel(&here), &[add.clone(), add]);
    let Outcome::Added(number) = outcomes[0] else { panic!("{outcomes:?}") };
    assert_eq!(outcomes[1], Outcome::Added(number));
    // What the authenticator keeps and makes brings the root back, without a guess.
    let kept = Handle::parse(&handle.to_bytes()[..]).unwrap();
    let again = kept.unlock(&output);
    let before = greet(&mut visit, &party.account, None).unwrap();
    let outcomes = visit.act(&party.account, &again.channel(&here), &[Action::Show, Action::ReadHead]);
    let opened = again.open_root(account_of(&outcomes[0]), agreed).unwrap();
    assert!(opened.expose().same_as(root.expose()));
    assert_eq!(greet(&mut visit, &party.account, None).unwrap(), before);
    // Another authenticator, another handle, another account: not the owner.
    let other = handle.clone().unlock(&Secret::make_random(&mut rng(9)));
    let stray = Handle::make(party.name.clone(), &mut rng(10)).unlock(&output);
    for device in [&other, &stray] {
        assert_refused(&visit.try_act(&party.account, &device.channel(&here), &[Action::Show]).0, Problem::NotOwner);
    }
    let elsewhere = name(visit.safe.draw()).account(&here);
    assert_refused(&visit.try_act(&elsewhere, &again.channel(&here), &[Action::Show]).0, Problem::NotOwner);
    // A place is taken once; who has none is no device, and who is none has no place.
    let taken = NewCredential { locator: new(&device, vec![], 2).locator, ..new(&other, vec![], 3) };
    let nowhere = NewCredential { locator: None, ..new(&stray, vec![], 4) };
    let wallet = NewCredential { kind: CredentialKind::Wallet, ..new(&stray, vec![], 5) };
    let wrong = [Action::Add(taken), Action::Add(nowhere), Action::Add(wallet)];
    let outcomes = visit.act(&party.account, &again.channel(&here), &wrong);
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Refused(Refusal::Malformed)), "{outcomes:?}");
    // Lost, it is forgotten.
    assert_eq!(visit.act(&party.account, &known.channel(&here), &[Action::Revoke(number)]), [Outcome::Done]);
    assert_refused(&visit.try_act(&party.account, &again.channel(&here), &[Action::Show]).0, Problem::NotOwner);
}

pub fn whoever_greets_hears_from_who_has_the_key(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let party = Party::new(&mut visit);
    visit.enrolled(&party.account, &party.key, &party.made);
    let stranger = name(visit.safe.draw()).account(&visit.identity.id());
    let guess = guess_of(party.id(&visit), fresh(&mut visit), 1);
    visit.guess(&party.account, &guess);
    for (account, left) in [(party.account, PROMPT_GUESSES - 1), (stranger, PROMPT_GUESSES)] {
        assert_eq!(greet(&mut visit, &account, None).unwrap().now, left);
        assert_eq!(visit.look(&account).left.now, left);
        // The answer is to this question: nobody else can open it, and it opens none.
        let greeting = codec::encode(&Greeting { credential: None });
        let (got, _) = visit.ask_owner(&account, Topic::Greet, &greeting, None);
        let (_, another) = visit.ask_owner(&account, Topic::Greet, &greeting, None);
        assert!(another.read::<Guesses>(&granted(got, 200, OCTETS)).is_err());
        // A question of another kind is none of this.
        let challenge = visit.look(&account).challenge;
        let (question, _) = visit.question(&account, Topic::Evaluate, &greeting, &challenge, None);
        assert_refused(&visit.ask(&question_ask(&account, Topic::Greet, &question)), Problem::ClaimUnreadable);
    }
}

pub fn an_account_belongs_to_who_opened_it(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let party = Party::new(&mut visit);
    // Tries that came before it was opened stay counted.
    let early = guess_of(EnrolmentId([1; 16]), fresh(&mut visit), 1);
    visit.guess(&party.account, &early);
    let channel = visit.opened(&party.account, &party.key);
    assert_eq!(visit.look(&party.account).left.now, PROMPT_GUESSES - 1);
    granted(visit.open_owner(&party.account, &party.key), 200, OCTETS);
    let other = Secret::make_random(&mut visit.rng());
    assert_refused(&visit.open_owner(&party.account, &other), Problem::OwnerExists);
    let outcomes = visit.act(&party.account, &channel, &[Action::Show]);
    assert_eq!(account_of(&outcomes[0]).credentials.len(), 1);
    // Without any credential left it is still nobody else's.
    assert_eq!(visit.act(&party.account, &channel, &[Action::Revoke(1)]), [Outcome::Done]);
    assert_refused(&visit.open_owner(&party.account, &other), Problem::OwnerExists);
}

fn head(epoch: Epoch, sequence: u64, before: [u8; 32], content: &[u8]) -> Head {
    let mark = Mark { epoch, sequence, before: before.into(), digest: blake3(content).into() };
    Head { mark, sealed: content.to_vec().into() }
}

pub fn the_book_is_written_in_turns(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let party = Party::new(&mut visit);
    let channel = visit.enrolled(&party.account, &party.key, &party.made);
    let turn = |counter, holder: u8| Epoch { counter, holder: DeviceId([holder; 16]) };
    let mut act = |action: Action| visit.act(&party.account, &channel, &[action]).remove(0);
    assert_eq!(act(Action::ReadHead), Outcome::Head(None));
    let (mine, theirs) = (turn(1, 1), turn(1, 2));
    assert_eq!(act(Action::Promise(mine)), Outcome::Promised(None));
    let first = head(mine, 1, [0; 32], b"first");
    for _ in 0..2 {
        assert_eq!(act(Action::WriteHead(first.clone())), Outcome::Done);
    }
    let second = head(mine, 2, *first.mark.digest, b"second");
    // Out of line: not after this one, or not the next, or not what it says.
    let lies = head(mine, 2, [1; 32], b"second");
    assert_eq!(act(Action::WriteHead(lies)), Outcome::Refused(Refusal::OutOfOrder));
    assert_eq!(act(Action::WriteHead(head(mine, 1, [0; 32], b"another"))), Outcome::Refused(Refusal::OutOfOrder));
    let swapped = Head { sealed: b"third".to_vec().into(), ..second.clone() };
    assert_eq!(act(Action::WriteHead(swapped)), Outcome::Refused(Refusal::Malformed));
    let long = head(mine, 2, *first.mark.digest, &vec![7; MAX_HEAD_LEN + 1]);
    assert_eq!(act(Action::WriteHead(long)), Outcome::Refused(Refusal::Malformed));
    assert_eq!(act(Action::WriteHead(second.clone())), Outcome::Done);
    assert_eq!(act(Action::ReadHead), Outcome::Head(Some(second.clone())));
    // One that was missed is made good.
    let fourth = head(mine, 4, [4; 32], &vec![7; MAX_HEAD_LEN]);
    assert_eq!(act(Action::WriteHead(fourth.clone())), Outcome::Done);
    assert_eq!(act(Action::ReadHead), Outcome::Head(Some(fourth.clone())));
    // Another device takes its turn; the first one is told.
    assert_eq!(act(Action::Promise(theirs)), Outcome::Promised(Some(fourth.mark)));
    let fifth = head(mine, 5, *fourth.mark.digest, b"fifth");
    assert_eq!(act(Action::WriteHead(fifth)), Outcome::Refused(Refusal::Superseded));
    assert_eq!(act(Action::Promise(mine)), Outcome::Refused(Refusal::Superseded));
    let anew = head(theirs, 4, [4; 32], b"fourth, written by the second device");
    assert_eq!(act(Action::WriteHead(anew.clone())), Outcome::Done);
    assert_eq!(act(Action::ReadHead), Outcome::Head(Some(anew)));
}

/// A deposit that is bound to an account, certified.
fn bound(visit: &mut Visit<'_>, account: &AccountId, unique: bool) -> Deposit {
    let mut deposit = visit.draw(100);
    deposit.statement.owner = Some(bind(&deposit.secrets.audit, account));
    deposit.statement.unique = unique.then_some(true);
    hold(visit, deposit)
}

fn hold(visit: &mut Visit<'_>, deposit: Deposit) -> Deposit {
    let offer = granted(visit.put(&deposit), 201, COSE);
    granted(visit.confirm(&deposit, &offer), 200, COSE);
    deposit
}

/// The ticket that an owner gets; `epoch`: one that lets go.
fn ticket(visit: &mut Visit<'_>, account: &AccountId, key: &ChannelKey, epoch: Option<Epoch>) -> Ticket {
    match &visit.act(account, key, &[Action::Ticket(epoch)])[..] {
        [Outcome::Ticket(ticket)] => Ticket::parse(ticket).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn shown(secret: &Secret, ticket: Option<Ticket>) -> Shown {
    Shown { ticket, ..Shown::secret(secret.clone()) }
}

pub fn what_is_bound_is_given_to_its_owner_only(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let (party, other) = (Party::new(&mut visit), Party::new(&mut visit));
    let (mine, theirs) = (visit.opened(&party.account, &party.key), visit.opened(&other.account, &other.key));
    let deposit = bound(&mut visit, &party.account, false);
    let secrets = deposit.secrets.clone();
    // The certificate and its secrets are not enough; whoever has not even these learns nothing of owners.
    assert_refused(&visit.retrieve(&deposit), Problem::NotOwner);
    assert_refused(&visit.release(&deposit), Problem::NotOwner);
    let stranger = Secret::from_bytes([9; 32]);
    assert_refused(&visit.show(&deposit, Verb::Retrieve, &Shown::secret(stranger)), Problem::NotFound);
    // Another owner's ticket is none, and neither is one that somebody made.
    let foreign = ticket(&mut visit, &other.account, &theirs, None);
    assert_refused(&visit.show(&deposit, Verb::Retrieve, &shown(&secrets.retrieve, Some(foreign))), Problem::NotOwner);
    let forged = Ticket::write(&Secret::from_bytes([1; 32]), &party.account, Right::Release, visit.now() + 60);
    assert_refused(&visit.show(&deposit, Verb::Retrieve, &shown(&secrets.retrieve, Some(forged))), Problem::NotOwner);
    // His own is, for what it allows, and without the secret it is nothing.
    let good = ticket(&mut visit, &party.account, &mine, None);
    let body = visit.show(&deposit, Verb::Retrieve, &shown(&secrets.retrieve, Some(good.clone())));
    assert!(granted(body, 200, OCTETS) == deposit.body);
    assert_refused(
        &visit.show(&deposit, Verb::Retrieve, &shown(&secrets.audit, Some(good.clone()))),
        Problem::NotFound,
    );
    assert_refused(
        &visit.show(&deposit, Verb::Release, &shown(&secrets.release, Some(good.clone()))),
        Problem::NotOwner,
    );
    // Account, right, expiry and MAC, each altered.
    for (at, bit) in [(0, 1), (32, 1), (39, 1), (72, 1)] {
        let mut bytes = good.to_bytes();
        bytes[at] ^= bit;
        let altered = Some(Ticket::parse(&bytes).unwrap());
        assert_refused(
            &visit.show(&deposit, Verb::Release, &shown(&secrets.release, altered.clone())),
            Problem::NotOwner,
        );
        assert_refused(&visit.show(&deposit, Verb::Retrieve, &shown(&secrets.retrieve, altered)), Problem::NotOwner);
    }
    // To let go takes the turn.
    let epoch = |counter| Epoch { counter, holder: DeviceId([1; 16]) };
    visit.act(&party.account, &mine, &[Action::Promise(epoch(2))]);
    let superseded = [Outcome::Refused(Refusal::Superseded)];
    assert_eq!(visit.act(&party.account, &mine, &[Action::Ticket(Some(epoch(1)))]), superseded);
    assert_eq!(visit.act(&party.account, &mine, &[Action::Ticket(Some(epoch(3)))]), superseded);
    let release = ticket(&mut visit, &party.account, &mine, Some(epoch(2)));
    // What anybody may do who has the right secret takes no owner: to look whether it is there, and to have it attested.
    let renewed = visit.show(&deposit, Verb::Renew, &Shown::secret(secrets.audit.clone()));
    granted(renewed, 200, COSE);
    let receipt = visit.show(&deposit, Verb::Release, &shown(&secrets.release, Some(release)));
    granted(receipt, 200, COSE);
}

pub fn what_is_bound_and_lives_once_is_claimed_by_its_owner_only(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let party = Party::new(&mut visit);
    let mine = visit.opened(&party.account, &party.key);
    let deposit = bound(&mut visit, &party.account, true);
    let x = Secret::from_bytes([7; 32]);
    let ballot = Ballot { counter: 1, claimant: derive_claimant(&x) };
    let accept = Proposal::Accept(0, ballot, ballot.claimant);
    let secret = deposit.secrets.retrieve.clone();
    assert_refused(&visit.propose(&deposit.id, &secret, &accept), Problem::NotOwner);
    let good = ticket(&mut visit, &party.account, &mine, None);
    let (entry, expiry) = (visit.entry(), visit.now() + CLAIM_SPAN);
    let with = seal_proposal(&secret, &accept, Some(&good), &entry, &deposit.id, expiry, &mut visit.rng()).unwrap();
    let got = visit.ask(&Ask::post(&deposit.id, "register", codec::encode(&with)));
    granted(got, 200, CBOR);
    let all = Shown { x: Some(x), ..shown(&secret, Some(good)) };
    let body = visit.show(&deposit, Verb::Retrieve, &all);
    assert!(granted(body, 200, OCTETS) == deposit.body);
    // The owner is not the claimant by that alone.
    let claimless = Shown { x: None, ..all };
    assert_refused(&visit.show(&deposit, Verb::Retrieve, &claimless), Problem::Claimed);
}

/// An owner with an enrolment in force: his wallet's channel with its turn, and his own.
fn with_turn(visit: &mut Visit<'_>) -> (Party, ChannelKey, Epoch, ChannelKey) {
    let party = Party::new(visit);
    let wallet = visit.enrolled(&party.account, &party.key, &party.made);
    let turn = Epoch { counter: 1, holder: DeviceId([1; 16]) };
    visit.act(&party.account, &wallet, &[Action::Promise(turn)]);
    let himself = by_passphrase(&party.made, &visit.identity.id());
    (party, wallet, turn, himself)
}

fn owner_ticket(visit: &mut Visit<'_>, account: &AccountId, key: &ChannelKey) -> Ticket {
    match &visit.act(account, key, &[Action::OwnerTicket])[..] {
        [Outcome::Ticket(ticket)] => Ticket::parse(ticket).unwrap(),
        other => panic!("{other:?}"),
    }
}

pub fn what_a_wallet_lets_go_its_owner_takes_back(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let (party, wallet, turn, himself) = with_turn(&mut visit);
    let deposit = bound(&mut visit, &party.account, false);
    let secrets = deposit.secrets.clone();
    let fetch = ticket(&mut visit, &party.account, &wallet, None);
    let release = ticket(&mut visit, &party.account, &wallet, Some(turn));
    let own = owner_ticket(&mut visit, &party.account, &himself);
    let let_go =
        |visit: &mut Visit<'_>| visit.show(&deposit, Verb::Release, &shown(&secrets.release, Some(release.clone())));
    let receipt = granted(let_go(&mut visit), 200, COSE);
    assert_eq!(granted(let_go(&mut visit), 200, COSE), receipt);
    // It is gone for everybody: with a ticket to fetch, with the owner's own, and under its own statement.
    for ticket in [&fetch, &release, &own] {
        let got = visit.show(&deposit, Verb::Retrieve, &shown(&secrets.retrieve, Some(ticket.clone())));
        assert_refused(&got, Problem::Gone);
    }
    assert_refused(&visit.show(&deposit, Verb::Renew, &Shown::secret(secrets.audit.clone())), Problem::Gone);
    assert_refused(&visit.put(&deposit), Problem::Gone);
    // What a thief of the wallet has does not bring it back, and does not let it go any sooner.
    assert_eq!(visit.act(&party.account, &wallet, &[Action::OwnerTicket]), [Outcome::Refused(Refusal::NotAllowed)]);
    let restore = |visit: &mut Visit<'_>, secret: &Secret, ticket: Option<&Ticket>| {
        visit.show(&deposit, Verb::Restore, &shown(secret, ticket.cloned()))
    };
    for ticket in [None, Some(&fetch), Some(&release)] {
        assert_refused(&restore(&mut visit, &secrets.release, ticket), Problem::NotOwner);
    }
    let other = Party::new(&mut visit);
    visit.enrolled(&other.account, &other.key, &other.made);
    let theirs = by_passphrase(&other.made, &visit.identity.id());
    let foreign = owner_ticket(&mut visit, &other.account, &theirs);
    assert_refused(&restore(&mut visit, &secrets.release, Some(&foreign)), Problem::NotOwner);
    assert_refused(&restore(&mut visit, &secrets.retrieve, Some(&own)), Problem::NotFound);
    // The owner, by his passphrase, has it back, as often as he asks.
    let certificate = granted(restore(&mut visit, &secrets.release, Some(&own)), 200, COSE);
    assert_eq!(granted(restore(&mut visit, &secrets.release, Some(&own)), 200, COSE), certificate);
    let body = visit.show(&deposit, Verb::Retrieve, &shown(&secrets.retrieve, Some(fetch)));
    assert!(granted(body, 200, OCTETS) == deposit.body);
    // What he lets go himself is gone for good, at once, whoever let it go before.
    granted(let_go(&mut visit), 200, COSE);
    granted(visit.show(&deposit, Verb::Release, &shown(&secrets.release, Some(own.clone()))), 200, COSE);
    assert_refused(&restore(&mut visit, &secrets.release, Some(&own)), Problem::Gone);
}

pub fn what_is_bound_for_its_release_is_given_to_whoever_has_the_secret(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let (party, wallet, turn, himself) = with_turn(&mut visit);
    let mut deposit = visit.draw(100);
    deposit.statement.release_only = Some(true);
    assert_refused(&visit.put(&deposit), Problem::BadStatement);
    deposit.statement.owner = Some(bind(&deposit.secrets.audit, &party.account));
    let deposit = hold(&mut visit, deposit);
    let secrets = deposit.secrets.clone();
    assert!(granted(visit.retrieve(&deposit), 200, OCTETS) == deposit.body);
    // To let it go takes its owner, and he can take it back.
    assert_refused(&visit.release(&deposit), Problem::NotOwner);
    let release = ticket(&mut visit, &party.account, &wallet, Some(turn));
    granted(visit.show(&deposit, Verb::Release, &shown(&secrets.release, Some(release))), 200, COSE);
    assert_refused(&visit.retrieve(&deposit), Problem::Gone);
    let own = owner_ticket(&mut visit, &party.account, &himself);
    granted(visit.show(&deposit, Verb::Restore, &shown(&secrets.release, Some(own))), 200, COSE);
    assert!(granted(visit.retrieve(&deposit), 200, OCTETS) == deposit.body);
    // What is bound to nobody goes at once, and stays gone.
    let free = visit.draw(100);
    let free = hold(&mut visit, free);
    let restore =
        |visit: &mut Visit<'_>| visit.show(&free, Verb::Restore, &Shown::secret(free.secrets.release.clone()));
    granted(restore(&mut visit), 200, COSE);
    granted(visit.release(&free), 200, COSE);
    assert_refused(&restore(&mut visit), Problem::Gone);
}

pub fn what_lives_once_is_let_go_for_good(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let (party, wallet, turn, himself) = with_turn(&mut visit);
    let deposit = bound(&mut visit, &party.account, true);
    let release = ticket(&mut visit, &party.account, &wallet, Some(turn));
    granted(visit.show(&deposit, Verb::Release, &shown(&deposit.secrets.release, Some(release))), 200, COSE);
    let own = owner_ticket(&mut visit, &party.account, &himself);
    let back = visit.show(&deposit, Verb::Restore, &shown(&deposit.secrets.release, Some(own)));
    assert_refused(&back, Problem::Gone);
}

pub fn the_last_head_of_the_turn_before_is_kept_for_the_owner(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let (party, wallet, mine, himself) = with_turn(&mut visit);
    let theirs = Epoch { counter: 2, holder: DeviceId([2; 16]) };
    let first = head(mine, 1, [0; 32], b"first");
    let second = head(mine, 2, *first.mark.digest, &vec![7; MAX_HEAD_LEN]);
    let act =
        |visit: &mut Visit<'_>, key: &ChannelKey, action: Action| visit.act(&party.account, key, &[action]).remove(0);
    let past = |visit: &mut Visit<'_>| match act(visit, &himself, Action::ListPast) {
        Outcome::Past(past) => past.into_iter().map(|past| past.mark).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    for head in [&first, &second] {
        assert_eq!(act(&mut visit, &wallet, Action::WriteHead(head.clone())), Outcome::Done);
    }
    // A thief takes another turn, and leaves nothing in the book.
    for n in [3, 5, 7] {
        let empty = head(theirs, n, [0; 32], format!("empty {n}").as_bytes());
        assert_eq!(act(&mut visit, &wallet, Action::WriteHead(empty)), Outcome::Done);
    }
    assert!(past(&mut visit).contains(&second.mark));
    let read = Action::ReadPast(second.mark);
    assert_eq!(act(&mut visit, &himself, read.clone()), Outcome::Head(Some(second.clone())));
    let unknown = Action::ReadPast(Mark { sequence: 9, ..second.mark });
    assert_eq!(act(&mut visit, &himself, unknown), Outcome::Head(None));
    // He sees nothing of it, and neither does whoever knows the passphrase before.
    for action in [Action::ListPast, read] {
        assert_eq!(act(&mut visit, &wallet, action), Outcome::Refused(Refusal::NotAllowed));
    }
    // A safe that is left forgets them.
    let current = party.id(&visit);
    assert_eq!(act(&mut visit, &himself, Action::Drop(current)), Outcome::Done);
    let staged = Box::new(given(&party.made, &visit.identity.id()));
    assert_eq!(act(&mut visit, &wallet, Action::Stage(staged)), Outcome::Done);
    assert_eq!(act(&mut visit, &wallet, Action::Commit(current, Some(theirs))), Outcome::Done);
    assert_eq!(past(&mut visit), []);
    assert_eq!(act(&mut visit, &wallet, Action::ReadHead), Outcome::Head(None));
}

pub fn a_wallet_that_asks_without_end_does_not_keep_its_owner_from_acting(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let (party, wallet, turn, himself) = with_turn(&mut visit);
    // Nor by turns so far ahead that none is left.
    let far = |counter| Action::Promise(Epoch { counter, holder: DeviceId([9; 16]) });
    for counter in [u32::MAX, turn.counter + 1025] {
        let refused = visit.act(&party.account, &wallet, &[far(counter)]);
        assert_eq!(refused, [Outcome::Refused(Refusal::OutOfOrder)]);
        let head = head(Epoch { counter, holder: DeviceId([9; 16]) }, 1, [0; 32], b"far");
        let refused = visit.act(&party.account, &wallet, &[Action::WriteHead(head)]);
        assert_eq!(refused, [Outcome::Refused(Refusal::OutOfOrder)]);
    }
    assert_eq!(visit.act(&party.account, &wallet, &[far(turn.counter + 1024)]), [Outcome::Promised(None)]);
    assert_eq!(visit.act(&party.account, &himself, &[far(1_000_000)]), [Outcome::Promised(None)]);
    let show = codec::encode(&vec![Action::Show]);
    let refused = (0..64).any(|_| {
        let (got, _) = visit.ask_owner(&party.account, Topic::Channel, &show, Some(wallet.proof()));
        got.status == Problem::Unavailable.status()
    });
    assert!(refused, "a wallet has only so many questions at a time");
    assert!(matches!(visit.act(&party.account, &himself, &[Action::Show])[..], [Outcome::Account(_)]));
    // Nor by using up a deposit's numbers with what takes no owner.
    let deposit = bound(&mut visit, &party.account, false);
    let own = owner_ticket(&mut visit, &party.account, &himself);
    let audit = Shown::secret(deposit.secrets.audit.clone());
    let refused = (0..70).map(|_| visit.show(&deposit, Verb::Renew, &audit)).last().unwrap();
    assert_refused(&refused, Problem::Unavailable);
    granted(visit.show(&deposit, Verb::Restore, &shown(&deposit.secrets.release, Some(own))), 200, COSE);
}

pub fn noise_is_no_question(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let party = Party::new(&mut visit);
    let channel = visit.enrolled(&party.account, &party.key, &party.made);
    let path = |tail: &str| format!("/v1/owners/{}{tail}", party.account);
    for tail in ["/open", "/evaluate", "/channel"] {
        for body in [vec![], vec![0xff; 40], vec![0xa0], vec![0; 2000]] {
            let ask = visit.admitted(Ask::post_to(&path(tail), body));
            assert_refused(&visit.ask(&ask), Problem::Malformed);
        }
        assert_refused(&visit.ask(&Ask::get(&path(tail))), Problem::MethodNotAllowed);
        let typed = Ask { content_type: Some("text/plain"), ..Ask::post_to(&path(tail), vec![1]) };
        assert_refused(&visit.ask(&typed), Problem::UnsupportedMediaType);
    }
    for tail in ["0", "/", "/nothing"] {
        assert_refused(&visit.ask(&Ask::get(&path(tail))), Problem::NoSuchPath);
    }
    // Sealed, and still not what is expected.
    for plain in [vec![], vec![0xff; 10], codec::encode(&1u8), codec::encode(&vec![Action::Show; 17])] {
        let got = visit.ask_owner(&party.account, Topic::Channel, &plain, Some(channel.proof())).0;
        assert_refused(&got, Problem::Malformed);
        assert_refused(&visit.ask_owner(&party.account, Topic::Evaluate, &plain, None).0, Problem::Malformed);
    }
    assert_eq!(visit.look(&party.account).left.now, PROMPT_GUESSES);
}
