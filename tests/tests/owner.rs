//! An owner and a group of safes: what every subset of safes, every state of an enrolment, and every scheduler of guesses can and cannot do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    rc::Rc,
    task::{Context, Poll, Waker},
};

use protocol::{
    codec,
    crypto::{
        PassphraseCost, Secret, blake3, expand_seed,
        oprf::{Blinded, commitment, evaluate},
    },
    ids::{AccountId, DeviceId, EnrolmentId, SafeId, TokenId},
    owner::{
        budget::{LIFETIME_GUESSES, PROMPT_GUESSES, group_bound},
        enrolment::{Enrolling, Enrolment, EnrolmentError, Made, Staged, Stretched},
        login::{Agreed, ChannelKey, Known, LoginError, agree},
        messages::{Action, Epoch, Evaluated, Head, Look, Mark, Opening, Outcome, Past, Topic},
        name::NameKey,
        past::{MAX_PAST, kept},
    },
    problem::Problem,
};
use rand_core::{CryptoRng, Rng};
use safe_worker::{
    flow::OCTETS,
    memory::{FAULTS, Fault},
    owner::{ROW_SPAN, UNUSED_BOOK_SPAN, UNUSED_SPAN},
};
use tests::{
    fixture::{rng, secret, stretched},
    in_memory::{InMemory, head_of},
    owner::{PASSPHRASE, by_passphrase, enrol, given, guess_of, name, question_ask},
    visit::{Ask, Visit, assert_refused, granted},
};

/// An owner's group.
struct Group {
    safes: Vec<InMemory>,
    ids: Vec<SafeId>,
    name: NameKey,
    made: Made,
    threshold: u8,
}

impl Group {
    fn new(n: u64, t: u8, seed: u64) -> Self {
        let mut safes = InMemory::several(n);
        let ids: Vec<_> = safes.iter_mut().map(|safe| Visit::new(safe).identity.id()).collect();
        let name = name(seed);
        let made = enrol(seed, &ids, t, PASSPHRASE, &name, 1);
        for (safe, id) in safes.iter_mut().zip(&ids) {
            let key = Secret::make_random(&mut rng(seed));
            Visit::new(safe).enrolled(&name.account(id), &key, &made);
        }
        Self { safes, ids, name, made, threshold: t }
    }

    fn act(&mut self, at: usize, action: Action) -> Outcome {
        let key = by_passphrase(&self.made, &self.ids[at]);
        self.act_by(&key, at, action)
    }

    /// Acts as whoever has this key.
    fn act_by(&mut self, key: &ChannelKey, at: usize, action: Action) -> Outcome {
        let account = self.name.account(&self.ids[at]);
        Visit::new(&mut self.safes[at]).act(&account, key, &[action]).remove(0)
    }

    fn look(&mut self, at: usize) -> (SafeId, Look) {
        let account = self.name.account(&self.ids[at]);
        (self.ids[at], Visit::new(&mut self.safes[at]).look(&account))
    }

    fn looks(&mut self, at: &[usize]) -> Vec<(SafeId, Look)> {
        at.iter().map(|at| self.look(*at)).collect()
    }

    /// Logs in where it is possible, with these safes answering out of all that were named.
    fn log_in(&mut self, at: &[usize], passphrase: &str, rng: &mut impl CryptoRng) -> Result<Known, LoginError> {
        let looks = self.looks(at);
        let agreed = agree(&self.name, &looks, self.ids.len())?;
        self.go_on(agreed, passphrase, rng).0
    }

    /// The rest of a login, and who answered wrongly.
    fn go_on(
        &mut self,
        agreed: Agreed,
        passphrase: &str,
        rng: &mut impl CryptoRng,
    ) -> (Result<Known, LoginError>, Vec<SafeId>) {
        let shown_by = agreed.shown_by.clone();
        let mut attempt = agreed.start(passphrase, rng).unwrap();
        let mut wrong = Vec::new();
        for id in shown_by {
            let at = self.ids.iter().position(|one| *one == id).unwrap();
            let guess = attempt.guess_at(&id);
            let answer = Visit::new(&mut self.safes[at]).guess(&self.name.account(&id), &guess);
            if attempt.take(&id, &answer).is_err() {
                wrong.push(id);
            }
        }
        let known = attempt.finish().and_then(|waiting| {
            let (stretch, output) = waiting.to_stretch();
            let stretched = Stretched::new(stretched(&stretch, output));
            waiting.finish(stretched)
        });
        (known, wrong)
    }

    fn root(&mut self, known: &Known, at: usize) -> Secret {
        let (account, channel) = (self.name.account(&self.ids[at]), known.channel(&self.ids[at]));
        let outcomes = Visit::new(&mut self.safes[at]).act(&account, &channel, &[Action::Show]);
        let Outcome::Account(shown) = &outcomes[0] else { panic!("{outcomes:?}") };
        known.open_root(shown.wrap.as_ref().unwrap()).unwrap().expose().clone()
    }
}

/// Every subset of `n`, as lists of positions.
fn subsets(n: usize) -> impl Iterator<Item = Vec<usize>> {
    (0..1u32 << n).map(move |bits| (0..n).filter(|i| bits & (1 << i) != 0).collect())
}

#[test]
fn exactly_the_groups_of_the_threshold_bring_the_owner_back() {
    for (n, t) in [(3, 2), (5, 3)] {
        let mut group = Group::new(n, t, 1);
        for at in subsets(n as usize) {
            let mut random = rng(at.iter().fold(7, |sum, at| sum * 31 + *at as u64));
            let known = group.log_in(&at, PASSPHRASE, &mut random);
            match known {
                Ok(known) => {
                    assert!(at.len() >= usize::from(t));
                    assert!(group.root(&known, at[0]).same_as(group.made.root.expose()));
                    for safe in at {
                        assert_eq!(group.act(safe, Action::Clear), Outcome::Done);
                    }
                }
                Err(LoginError::TooFew { answered, needed }) => {
                    assert_eq!((answered, needed), (at.len(), usize::from(t)));
                    assert!((2..usize::from(t)).contains(&at.len()));
                }
                Err(error) => {
                    assert_eq!(error, LoginError::UnknownName, "one safe does not say whether it knows a name");
                    assert!(at.len() < 2);
                }
            }
        }
    }
}

/// The same slot under another name and with another share.
fn misplaced(shown: &Staged) -> Staged {
    Staged { id: EnrolmentId([7; 16]), generation: 2, share: secret(9), ..shown.clone() }
}

#[test]
fn a_safe_that_answers_wrongly_is_named_and_left_out() {
    // One of five lies in its evaluation: four answer, three of them well.
    let mut group = Group::new(5, 3, 2);
    let looks = group.looks(&[0, 1, 2, 3]);
    let agreed = agree(&group.name, &looks, 5).unwrap();
    let liar = group.ids[1];
    let account = group.name.account(&liar);
    let mut attempt = agreed.start(PASSPHRASE, &mut rng(3)).unwrap();
    let left = Visit::new(&mut group.safes[1]).look(&account).left;
    let share = Secret::from_bytes([1; 32].map(|b: u8| b & 0x0f));
    let lie = evaluate(&share, &attempt.guess_at(&liar).blinded, &mut rng(4)).unwrap();
    assert_eq!(attempt.take(&liar, &Evaluated::done(lie.element, lie.proof, left)), Err(LoginError::WrongAnswer));
    // The proof of another, the answer of another, another's place: all the same.
    let other = group.ids[0];
    let guess = attempt.guess_at(&other);
    let answer = Visit::new(&mut group.safes[0]).guess(&group.name.account(&other), &guess);
    assert_eq!(attempt.take(&liar, &answer), Err(LoginError::WrongAnswer));
    let Evaluated::Done(element, ..) = answer else { panic!("locked") };
    let mixed = Evaluated::done(*element, lie.proof, left);
    assert_eq!(attempt.take(&other, &mixed), Err(LoginError::WrongAnswer));
    assert_eq!(attempt.take(&other, &Evaluated::Locked(left)), Err(LoginError::WrongAnswer));
    assert_eq!(attempt.take(&SafeId([1; 32]), &answer), Err(LoginError::WrongAnswer));
    assert_eq!(attempt.missing(), 3);
    attempt.take(&other, &answer).unwrap();
    assert_eq!(attempt.missing(), 2);
    assert_eq!(attempt.finish().err(), Some(LoginError::TooFew { answered: 1, needed: 3 }));
    // In full: one is dead, one shows the statement and has lost the share that goes with it.
    let other = misplaced(&given(&group.made, &liar));
    let (lost, id) = (group.made.enrolment.id_at(&liar), other.id);
    let key = ChannelKey::of_passphrase(id, other.key.clone(), *other.digest);
    for action in [Action::Stage(Box::new(other)), Action::Commit(id, None)] {
        assert_eq!(group.act(1, action), Outcome::Done);
    }
    assert_eq!(group.act_by(&key, 1, Action::Drop(lost)), Outcome::Done);
    let looks = group.looks(&[0, 1, 2, 3]);
    let agreed = agree(&group.name, &looks, 5).unwrap();
    assert!(agreed.shown_by.contains(&liar));
    let (known, wrong) = group.go_on(agreed, PASSPHRASE, &mut rng(5));
    assert_eq!(wrong, [liar]);
    known.unwrap();
}

#[test]
fn a_statement_that_was_made_up_is_not_followed() {
    let mut group = Group::new(5, 3, 2);
    let looks = group.looks(&[0, 1, 2, 3, 4]);
    let honest = agree(&group.name, &looks, 5).unwrap();
    assert_eq!(honest.statement, group.made.statement);
    // Two safes that know the name state a newer enrolment of their own, with two seats.
    let forged = enrol(77, &group.ids[..2], 2, "what they would like it to be", &group.name, 9);
    let replaced = |with: &dyn Fn(usize) -> bool, made: &Made, slot: usize| {
        let mut looks = looks.clone();
        for (at, (id, look)) in looks.iter_mut().enumerate().filter(|(at, _)| with(*at)) {
            let _ = at;
            if let Some((_, staged)) = made.staged.iter().find(|(safe, _)| safe == id) {
                look.slots[slot] = staged.slot.clone();
            }
        }
        looks
    };
    // Beside three honest ones, which are enough: too few of the named stand behind it.
    let two = replaced(&|at| at < 2, &forged, 0);
    assert_eq!(agree(&group.name, &two, 5), Err(LoginError::Contradiction));
    // Where it is their second slot, the honest statement is still at all five, and newer does not help what too few say.
    let both = replaced(&|at| at < 2, &forged, 1);
    assert_eq!(agree(&group.name, &both, 5), Err(LoginError::Contradiction));
    // One alone is not heard at all.
    let lone = enrol(78, &[group.ids[0], group.ids[4]], 2, "alone", &group.name, 9);
    let one = replaced(&|at| at == 0, &lone, 0);
    assert_eq!(agree(&group.name, &one, 5).unwrap().statement, group.made.statement);
    // A slot of another safe, cut short, or altered, opens nothing.
    for alter in [
        |looks: &mut Vec<(SafeId, Look)>| looks[0].1.slots[0] = looks[1].1.slots[0].clone(),
        |looks: &mut Vec<(SafeId, Look)>| looks[0].1.slots[0].0.truncate(2000),
        |looks: &mut Vec<(SafeId, Look)>| looks[0].1.slots[0].0[40] ^= 1,
        |looks: &mut Vec<(SafeId, Look)>| looks[0].1.slots[0].0[2000] ^= 1,
    ] {
        let mut altered = looks.clone();
        alter(&mut altered);
        let agreed = agree(&group.name, &altered, 5).unwrap();
        assert_eq!((agreed.statement, agreed.shown_by.len()), (group.made.statement.clone(), 4));
    }
    // Under another name nothing is known.
    assert_eq!(agree(&name(99), &looks, 5), Err(LoginError::UnknownName));
}

#[test]
fn a_statement_is_checked_before_anything_of_the_passphrase_is_used() {
    let group = Group::new(5, 3, 2);
    let good = &group.made.enrolment;
    assert_eq!(Enrolment::parse(&codec::encode(good)).as_ref(), Ok(good));
    let refused = |alter: &dyn Fn(&mut Enrolment)| {
        let mut bad = good.clone();
        alter(&mut bad);
        Enrolment::parse(&codec::encode(&bad)).unwrap_err()
    };
    assert_eq!(refused(&|e| e.threshold = 2), EnrolmentError::Threshold);
    assert_eq!(refused(&|e| e.threshold = 6), EnrolmentError::Threshold);
    assert_eq!(refused(&|e| e.seats.clear()), EnrolmentError::Threshold);
    assert_eq!(refused(&|e| e.seats[1].safe = e.seats[0].safe), EnrolmentError::Threshold);
    assert_eq!(refused(&|e| e.cost.memory_kib = 8), EnrolmentError::Cost);
    assert_eq!(refused(&|e| e.cost.memory_kib = 1 << 30), EnrolmentError::Cost);
    // A threshold that the polynomial does not have, a share of another key, no key at all.
    assert_eq!(refused(&|e| e.seats.swap(0, 1)), EnrolmentError::Commitments);
    assert_eq!(
        refused(&|e| e.seats[4].commitment = commitment(&secret(3)).unwrap().into()),
        EnrolmentError::Commitments
    );
    assert_eq!(refused(&|e| e.seats[0].commitment = [0; 32].into()), EnrolmentError::Commitments);
    assert_eq!(refused(&|e| e.seats[0].commitment = [0xff; 32].into()), EnrolmentError::Commitments);
    assert!(matches!(refused(&|e| e.suite = 2), EnrolmentError::Malformed(_)));
}

#[test]
fn a_root_is_that_of_its_statement() {
    let group = Group::new(3, 2, 2);
    let seed = protocol::crypto::derive_secret(&secret(2), "enrol", b"");
    let enrolling = Enrolling::start(&seed, &group.ids, 2, PASSPHRASE, PassphraseCost::LEAST).unwrap();
    let (stretch, output) = enrolling.to_stretch();
    let stretched = Stretched::new(stretched(stretch, output));
    let (wrap, made) = (given(&group.made, &group.ids[0]).wrap, &group.made);
    stretched.open_root(&wrap, &made.enrolment.id, &made.statement).unwrap();
    let mut other = made.statement.clone();
    *other.last_mut().unwrap() ^= 1;
    assert!(stretched.open_root(&wrap, &made.enrolment.id, &other).is_err());
}

/// How far the second enrolment has come at one safe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reached {
    Nothing,
    Staged,
    Committed,
    Dropped,
}

#[test]
fn whatever_was_written_of_a_new_enrolment_the_owner_comes_back() {
    const NEW: &str = "another passphrase altogether";
    const REACHED: [Reached; 4] = [Reached::Nothing, Reached::Staged, Reached::Committed, Reached::Dropped];
    let all: Vec<usize> = (0..5).collect();
    // All that a wallet may leave behind: it stages everywhere before it commits, and drops what was before only once t + f have committed.
    for case in 0..4u32.pow(5) {
        let reached: Vec<_> = (0..5).map(|at| REACHED[(case / 4u32.pow(at) % 4) as usize]).collect();
        let count = |least: Reached| reached.iter().filter(|one| **one as u8 >= least as u8).count();
        let ordered = reached.windows(2).all(|pair| pair[0] as u8 >= pair[1] as u8);
        let lawful = (count(Reached::Committed) == 0 || count(Reached::Staged) == 5)
            && (count(Reached::Dropped) == 0 || count(Reached::Committed) >= 4);
        // Safes are alike, so one order stands for all.
        if !lawful || !ordered {
            continue;
        }
        let mut group = Group::new(5, 3, 3);
        let next = enrol(33, &group.ids, 3, NEW, &group.name, 2);
        for (at, reached) in reached.iter().enumerate() {
            let staged = Action::Stage(Box::new(given(&next, &group.ids[at])));
            let steps = [
                staged,
                Action::Commit(next.enrolment.id_at(&group.ids[at]), None),
                Action::Drop(group.made.enrolment.id_at(&group.ids[at])),
            ];
            for step in steps.into_iter().take(*reached as usize) {
                // What was before is dropped by whoever has the new one.
                let made = if matches!(step, Action::Drop(_)) { &next } else { &group.made };
                let key = by_passphrase(made, &group.ids[at]);
                assert_eq!(group.act_by(&key, at, step), Outcome::Done);
            }
        }
        let committed = count(Reached::Committed);
        // With one safe lying: it is away, or set back to where the second enrolment had not begun.
        for liar in 0..5 {
            let present: Vec<_> = all.iter().copied().filter(|at| *at != liar).collect();
            let looks = group.looks(&present);
            let agreed = agree(&group.name, &looks, 5).unwrap();
            let fresh = agreed.enrolment.id == next.enrolment.id;
            // Before anything is dropped both passphrases are known to the owner's wallet; after that the new one is enough.
            assert!(fresh || count(Reached::Dropped) == 0, "{reached:?} without {liar}");
            assert_eq!(fresh, committed - usize::from(reached[liar] as u8 >= Reached::Committed as u8) >= 3);
            let passphrase = if fresh { NEW } else { PASSPHRASE };
            let made = if fresh { &next } else { &group.made };
            let (root, statement) = (made.root.expose().clone(), made.statement.clone());
            assert_eq!(agreed.statement, statement);
            let (known, wrong) = group.go_on(agreed, passphrase, &mut rng(u64::from(case) * 8 + liar as u64));
            let known = known.unwrap_or_else(|e| panic!("{reached:?} without {liar}: {e}"));
            assert!(wrong.is_empty());
            let at = present.into_iter().find(|at| known.agreed().shown_by.contains(&group.ids[*at])).unwrap();
            assert!(group.root(&known, at).same_as(&root));
            for (at, reached) in reached.iter().enumerate() {
                let made = if *reached as u8 >= Reached::Committed as u8 { &next } else { &group.made };
                let key = by_passphrase(made, &group.ids[at]);
                assert_eq!(group.act_by(&key, at, Action::Clear), Outcome::Done);
            }
        }
    }
}

#[test]
fn a_safe_that_stops_in_the_middle_has_counted_or_not_answered() {
    for fault in FAULTS {
        let mut group = Group::new(2, 2, 4);
        let account = group.name.account(&group.ids[0]);
        let (_, element) = Blinded::start(b"guess", &mut rng(1)).unwrap();
        let guess = guess_of(group.made.enrolment.id_at(&group.ids[0]), element, 1);
        let mut visit = Visit::new(&mut group.safes[0]);
        let challenge = visit.look(&account).challenge;
        let (question, _) = visit.question(&account, Topic::Evaluate, &codec::encode(&guess), &challenge, None);
        let ask = question_ask(&account, Topic::Evaluate, &question);
        group.safes[0].safe.set_faults([(1, fault)]);
        let got = group.safes[0].try_exchange(&ask);
        let answered = got.is_some_and(|got| got.status == 200);
        group.safes[0].safe.catch_up();
        group.safes[0].safe.set_faults([]);
        let counted = PROMPT_GUESSES - Visit::new(&mut group.safes[0]).look(&account).left.now;
        assert!(!answered || counted == 1, "{fault:?}");
        assert!(counted <= 1);
        // Asked again, it is the same guess.
        assert!(matches!(Visit::new(&mut group.safes[0]).guess(&account, &guess), Evaluated::Done(..)));
        assert_eq!(Visit::new(&mut group.safes[0]).look(&account).left.now, PROMPT_GUESSES - 1, "{fault:?}");
    }
}

#[test]
fn tries_at_a_name_that_is_not_there_are_forgotten_after_a_month() {
    let mut safe = InMemory::new();
    let account = name(5).account(&Visit::new(&mut safe).identity.id());
    for n in 0..3 {
        let (_, element) = Blinded::start(b"guess", &mut rng(n)).unwrap();
        Visit::new(&mut safe).guess(&account, &guess_of(EnrolmentId([1; 16]), element, n));
        safe.wait(86_400);
    }
    assert_eq!(safe.safe.owners(), 1);
    safe.wait(26 * 86_400);
    safe.wake();
    assert_eq!((safe.safe.owners(), Visit::new(&mut safe).look(&account).left.now), (1, PROMPT_GUESSES - 3));
    safe.wait(4 * 86_400);
    safe.wake();
    assert_eq!((safe.safe.owners(), Visit::new(&mut safe).look(&account).left.now), (0, PROMPT_GUESSES));
}

#[test]
fn a_look_leaves_nothing_behind() {
    let mut safe = InMemory::new();
    let account = name(5).account(&Visit::new(&mut safe).identity.id());
    (0..3).for_each(|_| drop(Visit::new(&mut safe).look(&account)));
    assert_eq!(safe.safe.owners(), 0);
}

#[test]
fn what_the_safes_store_tells_nothing_of_the_owner() {
    let mut group = Group::new(5, 3, 6);
    group.log_in(&[0, 1, 2, 3, 4], PASSPHRASE, &mut rng(1)).unwrap();
    let dumps: Vec<_> = group.safes.iter().map(|safe| safe.safe.dump()).collect();
    let holds = |dump: &[u8], bytes: &[u8]| dump.windows(bytes.len()).any(|window| window == bytes);
    for (at, dump) in dumps.iter().enumerate() {
        let made = &group.made;
        for absent in
            [PASSPHRASE.as_bytes(), group.name.expose().expose(), made.root.expose().expose(), &made.statement[40..72]]
        {
            assert!(!holds(dump, absent));
        }
        assert!(holds(dump, given(made, &group.ids[at]).share.expose()), "the search finds what is there");
        // Nothing at one safe is also at another: what they store does not show that it is one owner's.
        for (other, id) in group.ids.iter().enumerate().filter(|(other, _)| *other != at) {
            let theirs = given(made, id);
            let account = group.name.account(id);
            for alien in [
                &theirs.share.expose()[..],
                &theirs.key.expose()[..],
                &theirs.slot[..32],
                &theirs.digest[..],
                &account.0,
            ] {
                assert!(!holds(dump, alien), "of {other} at {at}");
            }
        }
    }
}

/// Guesses as an adversary makes them who knows the name: some at once, some again, answers lost, Workers stopped, safes set back; while the owner logs in, and enrols anew.
struct Adversary<'a, R> {
    group: &'a mut Group,
    random: &'a mut R,
    /// Safes that are set back after every answer.
    rolled_back: usize,
    /// What was guessed: enrolment, element, and which safes have answered.
    guesses: Vec<(Enrolment, [u8; 32], u64, Vec<usize>)>,
}

impl<R: CryptoRng> Adversary<'_, R> {
    fn below(&mut self, most: usize) -> usize {
        (self.random.next_u64() % most as u64) as usize
    }

    /// One request about one guess at one safe.
    fn ask(&mut self, guess: usize, at: usize) {
        let (enrolment, element, seed, _) = self.guesses[guess].clone();
        let id = self.group.ids[at];
        let account = self.group.name.account(&id);
        let snapshot = (at < self.rolled_back).then(|| self.group.safes[at].safe.snapshot());
        let mut visit = Visit::new(&mut self.group.safes[at]);
        let challenge = visit.look(&account).challenge;
        let plain = codec::encode(&guess_of(enrolment.id_at(&id), element, seed));
        let (question, answering) = visit.question(&account, Topic::Evaluate, &plain, &challenge, None);
        let ask = question_ask(&account, Topic::Evaluate, &question);
        let fault = [Fault::FailsBefore, Fault::FailsAfter, Fault::Twice, Fault::StopsBefore, Fault::StopsAfter];
        let fault = fault.get(self.below(15)).copied();
        self.group.safes[at].safe.set_faults(fault.map(|fault| (1, fault)));
        let got = self.group.safes[at].try_exchange(&ask);
        self.group.safes[at].safe.set_faults([]);
        let answered = got
            .filter(|got| got.status == 200)
            .is_some_and(|got| matches!(answering.read::<Evaluated>(&got.body), Ok(Evaluated::Done(..))));
        if answered && !self.guesses[guess].3.contains(&at) {
            self.guesses[guess].3.push(at);
        }
        if let Some(snapshot) = snapshot {
            self.group.safes[at].safe.restore(snapshot);
        }
    }

    fn guess(&mut self, enrolment: Enrolment) {
        let seed = self.random.next_u64();
        let (_, element) = Blinded::start(&seed.to_be_bytes(), &mut rng(seed)).unwrap();
        self.guesses.push((enrolment, element, seed, Vec::new()));
    }

    /// Passphrases that could be tried: answered by as many as the threshold.
    fn tried(&self) -> usize {
        self.guesses.iter().filter(|guess| guess.3.len() >= usize::from(self.group.threshold)).count()
    }
}

/// One run; how many passphrases the adversary could try.
fn attack(seed: u64, n: u64, t: u8, rolled_back: usize, days: u64) -> usize {
    let mut random = expand_seed(&secret(seed));
    let mut group = Group::new(n, t, seed);
    let mut enrolments = vec![(group.made.enrolment.clone(), PASSPHRASE)];
    let mut adversary = Adversary { group: &mut group, random: &mut random, rolled_back, guesses: Vec::new() };
    for day in 0..=days {
        // Half of the runs ask evenly, to get the most; half as it comes.
        for _ in 0..if day == 0 { 70 } else { 8 } {
            let enrolment = enrolments[adversary.below(enrolments.len())].0.clone();
            adversary.guess(enrolment);
            let guess = adversary.guesses.len() - 1;
            let mut order: Vec<usize> = (0..n as usize).collect();
            if seed.is_multiple_of(2) {
                let lefts: Vec<_> = (0..n as usize).map(|at| adversary.group.look(at).1.left.now).collect();
                order.sort_by_key(|at| (*at >= rolled_back, core::cmp::Reverse(lefts[*at])));
            } else {
                (0..order.len()).for_each(|i| order.swap(i, adversary.random.next_u64() as usize % n as usize));
            }
            for at in order.into_iter().take(usize::from(t)) {
                (0..3).for_each(|_| adversary.ask(guess, at));
            }
            // Something that was asked before, again.
            let again = (adversary.below(guess + 1), adversary.below(n as usize));
            adversary.ask(again.0, again.1);
            match adversary.below(25) {
                // The owner logs in, and takes back the own try.
                0 => {
                    let (_, passphrase) = enrolments[enrolments.len() - 1];
                    let all: Vec<_> = (0..n as usize).collect();
                    let mut own = rng(adversary.random.next_u64());
                    if let Ok(known) = adversary.group.log_in(&all, passphrase, &mut own) {
                        for at in all {
                            adversary.group.act(at, Action::Refund(vec![known.guess_at(&adversary.group.ids[at])]));
                        }
                    }
                }
                // The owner enrols anew.
                1 if enrolments.len() < 3 => {
                    let generation = enrolments.len() as u32 + 1;
                    let next = enrol(
                        seed + u64::from(generation),
                        &adversary.group.ids,
                        t,
                        "new",
                        &adversary.group.name,
                        generation,
                    );
                    for at in 0..n as usize {
                        let staged = Box::new(given(&next, &adversary.group.ids[at]));
                        adversary.group.act(at, Action::Stage(staged));
                        adversary.group.act(at, Action::Commit(next.enrolment.id_at(&adversary.group.ids[at]), None));
                    }
                    enrolments.push((next.enrolment.clone(), "new"));
                    adversary.group.made = next;
                }
                _ => {}
            }
        }
        adversary.group.safes[0].wait(86_400);
    }
    adversary.tried()
}

#[test]
fn no_scheduler_gets_more_guesses_than_the_bound() {
    let mut most = 0;
    for seed in 0..8 {
        let tried = attack(seed, 5, 3, 0, 0);
        let bound = group_bound(5, 3, 0, PROMPT_GUESSES).unwrap();
        assert!(tried as u64 <= bound, "seed {seed}: {tried} of {bound}");
        most = most.max(tried);
    }
    assert!(most >= 14, "an adversary that gets {most} of 16 does not try hard");
}

#[test]
fn no_scheduler_gets_more_guesses_than_the_bound_from_safes_that_are_set_back() {
    for seed in 0..4 {
        for (n, t, rolled_back) in [(5, 3, 1), (3, 2, 1)] {
            let tried = attack(seed, n, t, rolled_back, 0);
            let bound = group_bound(n as u32, t.into(), rolled_back as u32, PROMPT_GUESSES).unwrap();
            assert!(tried as u64 <= bound, "seed {seed}: {tried} of {bound}");
            assert!(tried as u64 > bound / 2, "seed {seed}: {tried} of {bound}");
        }
    }
}

#[test]
fn over_the_weeks_it_is_one_a_day_and_then_none() {
    let bound = group_bound(3, 2, 0, LIFETIME_GUESSES).unwrap();
    let tried = attack(2, 3, 2, 0, 40) as u64;
    assert!(tried <= bound && tried > bound / 2, "{tried} of {bound}");
}

#[test]
fn an_account_that_is_opened_again_under_another_token_is_counted_once() {
    let mut safe = InMemory::admitting(true);
    let mut same = safe.clone();
    let mut visit = Visit::new(&mut same);
    let account = name(1).account(&visit.identity.id());
    let tokens = [0, 1].map(|_| visit.token(1 << 30, 10, u64::MAX).unwrap());
    // The answer was lost, and the owner has entered another token since.
    for (_, text) in &tokens {
        let mut visit = Visit::new(&mut safe);
        visit.admission = Some(text.clone());
        assert_eq!(visit.open_owner(&account, &secret(3)).status, 200);
    }
    let used = || tokens.each_ref().map(|(token, _)| safe.safe.used(&token.id).deposits);
    assert_eq!(used(), [1, 0]);
    // Nor twice if it was abandoned, and is another wallet's now.
    safe.wait(UNUSED_SPAN);
    let mut other = safe.clone();
    let mut visit = Visit::new(&mut other);
    visit.admission = Some(tokens[1].1.clone());
    assert_eq!(visit.open_owner(&account, &secret(4)).status, 200);
    assert_eq!(used(), [1, 0]);
}

/// A wallet's request for this account under one token.
fn opening_ask(safe: &mut InMemory, account: &AccountId, token: &str) -> Ask {
    let mut visit = Visit::new(safe);
    visit.admission = Some(token.to_owned());
    let opening = codec::encode(&Opening { key: secret(3), note: vec![1, 2, 3].into() });
    let challenge = visit.look(account).challenge;
    let (question, _) = visit.question(account, Topic::Open, &opening, &challenge, None);
    visit.admitted(question_ask(account, Topic::Open, &question))
}

/// A safe that wants tokens, an account there, and two tokens.
fn with_two_tokens() -> (InMemory, AccountId, [(TokenId, String); 2]) {
    let mut safe = InMemory::admitting(true);
    let mut visit = Visit::new(&mut safe);
    let account = name(1).account(&visit.identity.id());
    let tokens = [0, 1].map(|_| visit.token(1 << 30, 10, u64::MAX).unwrap());
    (safe, account, tokens.map(|(token, text)| (token.id, text)))
}

/// The owner comes until the account is open; then it is counted under one of the tokens.
#[track_caller]
fn assert_counted_once(
    safe: &mut InMemory,
    account: &AccountId,
    tokens: &[(TokenId, String); 2],
    by: usize,
    how: &str,
) {
    safe.safe.set_faults([]);
    let opened = (0..3).any(|_| {
        let ask = opening_ask(safe, account, &tokens[by].1);
        safe.try_exchange(&ask).is_some_and(|got| got.status == 200)
    });
    let used = tokens.each_ref().map(|(token, _)| safe.safe.used(token).deposits);
    assert!(opened && used.iter().sum::<u64>() == 1, "{how}, then by {by}: {opened} {used:?}");
}

#[test]
fn an_account_is_counted_once_whatever_failed_while_it_was_opened() {
    let (mut whole, account, tokens) = with_two_tokens();
    let ask = opening_ask(&mut whole, &account, &tokens[0].1);
    whole.safe.set_faults([]);
    assert_eq!(whole.try_exchange(&ask).unwrap().status, 200);
    let calls = whole.safe.calls();
    assert!(calls >= 6, "{calls}");
    for (call, fault) in (1..=calls).flat_map(|call| FAULTS.map(|fault| (call, fault))) {
        for next in [0, 1] {
            let (mut safe, account, tokens) = with_two_tokens();
            let ask = opening_ask(&mut safe, &account, &tokens[0].1);
            safe.safe.set_faults([(call, fault)]);
            let _ = safe.try_exchange(&ask);
            safe.safe.catch_up();
            assert_counted_once(&mut safe, &account, &tokens, next, &format!("call {call} {fault:?}"));
        }
    }
}

#[test]
fn a_token_that_is_full_leaves_nothing_of_an_account() {
    let (mut safe, account, _) = with_two_tokens();
    let full = Visit::new(&mut safe).token(1, 0, u64::MAX).unwrap().1;
    let ask = opening_ask(&mut safe, &account, &full);
    assert_refused(&safe.try_exchange(&ask).unwrap(), Problem::OverQuota);
    assert_eq!(safe.safe.owners(), 0);
}

/// Two requests of an owner cross: the first one comes so far, then the second one, and then each to its end. What they were answered; 0: the Worker stopped.
fn cross(safe: &mut InMemory, asks: &[Ask; 2], (first, second): (u64, u64)) -> [u16; 2] {
    safe.safe.set_interleaved(true);
    let now = safe.clock.get();
    let mut running = asks.each_ref().map(|ask| {
        let safe = Rc::clone(&safe.safe);
        Some(Box::pin(async move { safe.handle(&head_of(ask), ask.body.clone(), now).await.status }))
    });
    let mut said = [0; 2];
    let mut context = Context::from_waker(Waker::noop());
    for (at, steps) in [(0, first), (1, second), (0, 100), (1, 100)] {
        for _ in 0..steps {
            let Some(one) = &mut running[at] else { break };
            if let Poll::Ready(status) = one.as_mut().poll(&mut context) {
                (said[at], running[at]) = (status, None);
            }
        }
    }
    safe.safe.set_interleaved(false);
    said
}

/// Under two tokens, or under one and the first question cannot be read.
#[test]
fn an_account_is_counted_once_whatever_two_of_its_owners_requests_do_to_each_other() {
    let orders = (0..14).flat_map(|first| (0..14).map(move |second| (first, second)));
    for ((first, second), unreadable) in orders.flat_map(|order| [(order, false), (order, true)]) {
        let (mut safe, account, tokens) = with_two_tokens();
        let mut asks = tokens.each_ref().map(|(_, text)| opening_ask(&mut safe, &account, text));
        if unreadable {
            asks[0].token = Some(tokens[1].1.clone());
            asks[0].body.iter_mut().rev().take(4).for_each(|byte| *byte ^= 1);
        }
        let said = cross(&mut safe, &asks, (first, second));
        let how = format!("after {first} and {second}, {unreadable}: {said:?}");
        assert!(said.iter().all(|status| [200, 503].contains(status) || unreadable), "{how}");
        for by in [0, 1] {
            assert_counted_once(&mut safe, &account, &tokens, by, &how);
        }
    }
}

/// And one call of either fails meanwhile, or its answer is lost. (A row that is written only after it was freed cannot be known of.)
#[test]
fn an_account_is_counted_once_whatever_fails_while_two_of_its_owners_requests_cross() {
    let faults = [Fault::FailsBefore, Fault::FailsAfter, Fault::Twice];
    for (first, second) in (0..10).flat_map(|first| (0..10).map(move |second| (first, second))) {
        // Half of them, so that each call meets each place of the other request.
        let calls = (1..=16).filter(|call| (first + second + call) % 2 == 1);
        for (call, fault) in calls.flat_map(|call| faults.map(|fault| (call, fault))) {
            let (mut safe, account, tokens) = with_two_tokens();
            let asks = tokens.each_ref().map(|(_, text)| opening_ask(&mut safe, &account, text));
            safe.safe.set_faults([(call, fault)]);
            let said = cross(&mut safe, &asks, (first, second));
            safe.safe.catch_up();
            let how = format!("after {first} and {second}, call {call} {fault:?}: {said:?}");
            // Whoever comes next heals what is its own.
            assert_counted_once(
                &mut safe,
                &account,
                &tokens,
                usize::from((first + second) % 4 >= 2 && call % 3 > 0),
                &how,
            );
        }
    }
}

/// Nobody comes again whose opening failed: the row is free an hour later, and nothing is left of it.
#[test]
fn a_row_of_an_opening_that_failed_is_freed_by_itself() {
    for (call, fault) in (1..=12).flat_map(|call| FAULTS.map(|fault| (call, fault))) {
        let (mut safe, account, tokens) = with_two_tokens();
        let mut ask = opening_ask(&mut safe, &account, &tokens[0].1);
        // It opens nothing in any case.
        ask.body.iter_mut().rev().take(4).for_each(|byte| *byte ^= 1);
        safe.safe.set_faults([(call, fault)]);
        let _ = safe.try_exchange(&ask);
        safe.safe.catch_up();
        safe.safe.set_faults([]);
        safe.wait(ROW_SPAN);
        safe.wake();
        let used = safe.safe.used(&tokens[0].0).deposits;
        assert_eq!((used, safe.safe.owners()), (0, 0), "call {call} {fault:?}");
    }
}

#[test]
fn an_account_that_was_opened_and_never_used_is_open_to_another_wallet_after_some_weeks() {
    let safe = InMemory::new();
    let mut door = safe.clone();
    let mut visit = Visit::new(&mut door);
    let (name, here) = (name(3), visit.identity.id());
    let made = enrol(3, &[here, SafeId([0xa1; 32]), SafeId([0xa2; 32])], 2, PASSPHRASE, &name, 1);
    let account = name.account(&here);
    let [lost, next, last] = [1, 2, 3].map(secret);
    let lost_channel = visit.opened(&account, &lost);
    let staged = || Action::Stage(Box::new(given(&made, &here)));
    let turn = Epoch { counter: 7, holder: DeviceId([1; 16]) };
    // What a device has begun that is lost then: a share, a turn, a head of the book.
    let content = b"head";
    let mark = Mark { epoch: turn, sequence: 1, before: [0; 32].into(), digest: blake3(content).into() };
    let head = Head { mark, sealed: content.to_vec().into() };
    visit.act(&account, &lost_channel, &[staged(), Action::Promise(turn), Action::WriteHead(head)]);
    let (_, fresh) = Blinded::start(b"guess", &mut rng(3)).unwrap();
    visit.guess(&account, &guess_of(made.enrolment.id_at(&here), fresh, 1));
    // Whoever comes in time has it for as long again; without a book it is a week.
    safe.wait(UNUSED_BOOK_SPAN - 1);
    visit.act(&account, &lost_channel, &[Action::Show]);
    safe.wait(UNUSED_BOOK_SPAN - 1);
    assert_refused(&visit.open_owner(&account, &next), Problem::OwnerExists);
    safe.wait(1);
    let left = visit.look(&account).left;
    granted(visit.open_owner(&account, &next), 200, OCTETS);
    let channel = ChannelKey::of_credential(2, next.clone());
    let outcomes = visit.act(&account, &channel, &[Action::Show, Action::ReadHead]);
    let [Outcome::Account(shown), Outcome::Head(None)] = &outcomes[..] else { panic!("{outcomes:?}") };
    let numbers: Vec<u32> = shown.credentials.iter().map(|credential| credential.number).collect();
    assert_eq!((numbers, shown.staged, shown.promised, shown.book), (vec![2], None, Epoch::NONE, None));
    // What strangers have used up stays so.
    assert_eq!((shown.tries.len(), visit.look(&account).left), (1, left));
    // The first one is nobody any more.
    assert_refused(&visit.try_act(&account, &lost_channel, &[Action::Show]).0, Problem::NotOwner);
    assert_refused(&visit.open_owner(&account, &lost), Problem::OwnerExists);
    // What was in force once is its owner's for ever, and when he has left, too.
    let commit = Action::Commit(made.enrolment.id_at(&here), None);
    assert_eq!(visit.act(&account, &channel, &[staged(), commit]), [Outcome::Done, Outcome::Done]);
    let leave = Action::Drop(made.enrolment.id_at(&here));
    for action in [None, Some((by_passphrase(&made, &here), leave)), Some((channel, Action::Revoke(2)))] {
        if let Some((who, action)) = action {
            assert_eq!(visit.act(&account, &who, &[action]), [Outcome::Done]);
        }
        safe.wait(4 * UNUSED_SPAN);
        safe.wake();
        assert_refused(&visit.open_owner(&account, &last), Problem::OwnerExists);
    }
}

/// Whoever writes what and when: of each time that counts, what stood then is kept, and little else.
#[test]
fn what_stood_in_the_book_at_the_times_that_count_is_kept() {
    for seed in 0..64 {
        let mut random = rng(seed);
        let (mut now, mut turn, mut sequence) = (1_700_000_000, 1, 0);
        let (mut all, mut listed): (Vec<Past>, Vec<Past>) = (Vec::new(), Vec::new());
        for _ in 0..400 {
            turn += u32::from(random.next_u32().is_multiple_of(50));
            sequence += 1;
            let from = now;
            // Seconds, hours, or days.
            now += u64::from(random.next_u32() % [60, 20_000, 300_000][random.next_u32() as usize % 3]);
            let epoch = Epoch { counter: turn, holder: DeviceId([1; 16]) };
            let mark = Mark { epoch, sequence, before: [0; 32].into(), digest: [0; 32].into() };
            let past = Past { mark, from, until: now };
            all.insert(0, past);
            listed.insert(0, past);
            listed = kept(&listed, epoch, now).copied().collect();
            assert!(listed.len() <= MAX_PAST);
        }
        let later = now + u64::from(random.next_u32() % 100_000);
        let shown: Vec<Past> =
            kept(&listed, Epoch { counter: turn, holder: DeviceId([1; 16]) }, later).copied().collect();
        for (step, span) in [(10_800, 86_400), (86_400, 604_800)] {
            let times = (0..).map(|n| later - later % step - n * step).take_while(|at| at + span > later);
            for at in times {
                let stood = |past: &&Past| past.from <= at && at < past.until;
                // What stands still is no past one.
                let Some(there) = all.iter().find(stood) else { continue };
                assert!(shown.contains(there), "{seed}: what stood at {at} is not there at {later}");
            }
        }
    }
}
