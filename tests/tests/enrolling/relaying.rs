//! A recovery through one safe: it brings what the others keep, for its owner, and what it has had in its hands is protected anew.

use std::rc::Rc;

use protocol::relay::PARCEL_SPAN;
use safe_worker::{
    flow::{Answer, Head, Policy},
    relay::Target,
};
use wallet_wasm::{
    session::Contact,
    state::{Operation, Stage},
};

use super::*;

/// Safes of which the second asks the first. They stand in for those of the world from the moment at which they are asked for.
fn relaying(n: usize) -> (Safes, Rc<Vec<MemorySafe>>) {
    let mut safes = Safes::new(n);
    let relays: Vec<Target> =
        safes.all.iter().map(|safe| Target { safe: safe.id(), url: safe.url().to_owned() }).collect();
    let policy = |id: SafeId| {
        let relays = relays[..1].iter().filter(|_| id == relays[1].safe).cloned().collect();
        Policy { relays, ..Policy::default() }
    };
    safes.all = safes
        .all
        .into_iter()
        .map(|safe| {
            let policy = policy(safe.id());
            safe.with_policy(policy)
        })
        .collect();
    let twins: Rc<Vec<MemorySafe>> = Rc::new(Safes::new(n).all);
    let others = Rc::clone(&twins);
    safes.all[1].set_peers(move |url, body, now| bring(&others, url, body, now));
    (safes, twins)
}

fn bring(others: &[MemorySafe], url: &str, body: Vec<u8>, now: Seconds) -> Option<Answer> {
    let (safe, path) = others.iter().find_map(|safe| Some((safe, url.strip_prefix(safe.url())?)))?;
    let ask = Ask::post_to(path, body);
    let head: Head = head_of(&ask);
    Some(block_on(safe.handle(&head, ask.body, now)))
}

/// What the safes have is what those have that are asked from elsewhere.
fn catch_up(safes: &Safes, twins: &[MemorySafe]) {
    safes.all.iter().zip(twins).for_each(|(safe, twin)| twin.restore(safe.snapshot()));
}

/// Claim 22: the ciphertext at the first, its key at the second, for its owner only. `bound`: the ciphertext, too, and the third takes part, whom the second does not ask.
fn apart(safes: &Safes, bound: bool) -> Plan<SafeId> {
    let at = |index: usize, owner| Plan::place(Place::Safe { safe: safes.all[index].id(), owner });
    let keys = if bound { vec![at(1, true), at(2, true)] } else { vec![at(1, true)] };
    Plan::seal(at(0, bound), keys).unwrap()
}

struct Scene {
    safes: Safes,
    twins: Rc<Vec<MemorySafe>>,
    store: &'static MemoryStore,
    wallet: Wallet<'static>,
    value: ValueId,
    backup: BackupId,
}

const SECRET: &[u8] = b"a seed phrase of twenty-four words, of which these are only some";

/// A value whose ciphertext is at the first safe and its key at the second, on a new device.
fn scene() -> Scene {
    scene_of(false)
}

fn scene_of(bound: bool) -> Scene {
    let (safes, twins) = relaying(N);
    let (mut wallet, _) = enrolled(leak(), &safes);
    let value = wallet.add("Apart", SECRET);
    let backup = wallet.back_up_as(&[value], apart(&safes, bound), None, false).unwrap();
    settle(&mut wallet, &safes);
    let store = leak();
    let mut back = Wallet::create(store, 2);
    Comer::new(&safes, wallet.now(), &[0, 1, 2, 3, 4], 2).come_back_to(&mut back, 2);
    back.wait(wallet.now() - back.now());
    settle(&mut back, &safes);
    catch_up(&safes, &twins);
    Scene { safes, twins, store, wallet: back, value, backup }
}

impl Scene {
    fn second(&self) -> SafeId {
        self.safes.all[1].id()
    }

    /// The generation that is to follow, as the engine makes it.
    fn next(&self) -> Option<Next> {
        let plan = self.wallet.state.backups[&self.backup].plan.clone();
        Some(Next { backup: BackupId([0x77; 16]), plan, words: None })
    }

    fn begin(&mut self) {
        let event = Event::RecoverThrough(self.backup, self.second(), self.next());
        self.wallet.handle(event).unwrap();
    }

    fn settle(&mut self) {
        settle(&mut self.wallet, &self.safes);
    }

    fn why(&self) -> String {
        let backup = &self.wallet.state.backups[&self.backup];
        self.wallet.session.failures(&self.wallet.state, backup).join("; ")
    }
}

fn has(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|part| part == needle)
}

#[test]
fn one_safe_brings_what_another_keeps_and_it_is_protected_anew() {
    let mut scene = scene();
    let before = scene.wallet.state.backups[&scene.backup].clone();
    let deposit = before.deposits.iter().find(|deposit| !deposit.is_bound()).unwrap().clone();
    let body = scene.safes.all[0].body(&deposit.id).unwrap();
    // The first cannot be reached from here.
    scene.safes.away = vec![0];
    scene.begin();
    scene.settle();
    assert_eq!(scene.wallet.content(&scene.value).as_deref(), Some(SECRET));
    // The safe in between has nothing of it.
    let memory = scene.safes.all[1].dump();
    for part in body.chunks(24).filter(|part| part.len() == 24) {
        assert!(!has(&memory, part));
    }
    let secrets = DepositSecrets::derive(&deposit.d);
    assert!(!has(&memory, secrets.retrieve.expose()) && !has(&memory, &deposit.id.0));
    // The next generation is under way, and what was before stays until it is there.
    let next = &scene.wallet.state.backups[&BackupId([0x77; 16])];
    assert_eq!((next.operation, next.replaces), (Some(Operation::Register), Some(scene.backup)));
    assert!(scene.safes.all[0].holds(&deposit.id));
    scene.safes.away.clear();
    scene.settle();
    // Then everything is another one, at both safes at the same time, and nothing is left of it.
    let next = &scene.wallet.state.backups[&BackupId([0x77; 16])];
    assert!(next.operation.is_none() && next.deposits.iter().all(|deposit| deposit.stage == Stage::Held));
    assert!(!scene.wallet.state.backups.contains_key(&scene.backup));
    assert!(before.deposits.iter().all(|old| scene.safes.all.iter().all(|safe| !safe.holds(&old.id))));
    let renewed = next.deposits.iter().find(|deposit| deposit.safe == scene.safes.all[0].id()).unwrap();
    let anew = scene.safes.all[0].body(&renewed.id).unwrap();
    assert!(body.chunks(16).all(|part| part.len() < 16 || !has(&anew, part)));
    assert_eq!(scene.wallet.content(&scene.value).as_deref(), Some(SECRET));
}

/// Every safe wants to see its owner, as by the plan that a form begins with: the other one vouches for him by a ticket that is fetched, too.
#[test]
fn what_is_bound_to_its_owner_is_brought_as_well() {
    let mut scene = scene_of(true);
    let before = scene.wallet.state.backups[&scene.backup].clone();
    let first = scene.safes.all[0].id();
    let deposit = before.deposits.iter().find(|deposit| deposit.safe == first).unwrap().clone();
    assert!(deposit.is_bound());
    scene.safes.away = vec![0];
    // What it is asked for directly fails again and again meanwhile.
    scene.wallet.session.failed(first, Contact::Away, "does not answer".to_owned(), scene.wallet.now());
    scene.begin();
    scene.settle();
    assert_eq!(scene.wallet.content(&scene.value).as_deref(), Some(SECRET), "{}", scene.why());
    let memory = scene.safes.all[1].dump();
    let secrets = DepositSecrets::derive(&deposit.d);
    assert!(!has(&memory, secrets.retrieve.expose()) && !has(&memory, &deposit.id.0));
    // Neither who its owner is there, nor what it takes to be known as him.
    assert!(!has(&memory, &name().account(&first).0));
    let owner = scene.wallet.state.owner.as_ref().unwrap();
    assert!(!has(&memory, owner.key_at(&first).expose()));
    assert_eq!(scene.wallet.session.contact(&first).0, Contact::Away);
    scene.safes.away.clear();
    scene.settle();
    assert!(!scene.wallet.state.backups.contains_key(&scene.backup));
}

/// A safe that does not know this device gives it nothing, whoever asks.
#[test]
fn who_is_not_known_where_it_is_kept_gets_nothing_of_it() {
    let mut scene = scene_of(true);
    let first = scene.safes.all[0].id();
    let number = scene.wallet.state.owner.as_ref().unwrap().seat(&first).unwrap().number.unwrap();
    let known = Comer::new(&scene.safes, scene.wallet.now(), &[0, 1, 2, 3, 4], 5);
    let channel = known.log_in().channel(&first);
    let mut door = known.door(0);
    Visit::new(&mut door).act(&name().account(&first), &channel, &[Act::Revoke(number)]);
    catch_up(&scene.safes, &scene.twins);
    scene.safes.away = vec![0];
    scene.begin();
    scene.settle();
    assert_eq!(scene.wallet.content(&scene.value), None);
    assert!(scene.why().contains("does not know you on this device"), "{}", scene.why());
    // The other ones are where they were, and come back with their owner.
    assert!(scene.safes.all[0].holds(&scene.wallet.state.backups[&scene.backup].deposits[0].id));
}

#[test]
fn whatever_is_lost_on_the_way_it_comes_to_its_end() {
    let faults = [Fault::LostBefore, Fault::LostAfter, Fault::Twice];
    for (crash, bound) in (0..12).flat_map(|crash| [(crash, false), (crash, true)]) {
        let mut scene = scene_of(bound);
        scene.safes.away = vec![0];
        scene.begin();
        for step in 0..crash {
            let actions = scene.wallet.session.actions(&scene.wallet.state, scene.wallet.now());
            let Some(action) = actions.into_iter().next() else { break };
            scene.wallet.session.started(&action, &scene.wallet.state);
            let fault = if step + 1 == crash { faults[crash % 3] } else { Fault::None };
            scene.wallet.act(&action, &scene.safes, fault).unwrap();
            scene.wallet.session.ended(&action);
        }
        // The device is closed in the middle, and opened again.
        let now = scene.wallet.now();
        scene.wallet = Wallet::open(scene.store, 100 + crash as u64);
        scene.wallet.wait(now - scene.wallet.now());
        let under_way = scene.wallet.state.backups.get(&scene.backup).is_some_and(|backup| backup.through.is_some());
        assert!(under_way || scene.wallet.content(&scene.value).is_some());
        scene.settle();
        assert_eq!(scene.wallet.content(&scene.value).as_deref(), Some(SECRET), "cut off at {crash}");
        scene.safes.away.clear();
        scene.settle();
        assert!(!scene.wallet.state.backups.contains_key(&scene.backup), "cut off at {crash}");
    }
}

/// Each way in which one of both can cheat or fail: the owner hears of which it is, and nothing is lost.
#[test]
fn whoever_cheats_gives_nothing_and_takes_nothing() {
    type Way = fn(&[MemorySafe], &str, Vec<u8>, Seconds) -> Option<Answer>;
    let altered: Way = |others, url, body, now| {
        let mut answer = bring(others, url, body, now)?;
        *answer.body.last_mut()? ^= 1;
        Some(answer)
    };
    let other_bytes: Way = |others, url, body, now| {
        others[0].corrupt(|body| body[0] ^= 1);
        bring(others, url, body, now)
    };
    let lost: Way = |others, url, body, now| {
        others[0].lose_records();
        bring(others, url, body, now)
    };
    let late: Way = |others, url, body, now| bring(others, url, body, now + 2 * PARCEL_SPAN);
    let away: Way = |_, _, _, _| None;
    let redirects: Way =
        |_, _, _, _| Some(Answer { status: 302, content_type: "", header: None, problem: None, body: Vec::new() });
    let ways = [
        (altered, "did not come through"),
        (other_bytes, "returned other bytes than it signed for"),
        (lost, "does not have what it signed for"),
        (away, "does not answer"),
        (redirects, "does not answer"),
    ];
    for (way, says) in ways {
        let mut scene = scene();
        let twins = Rc::clone(&scene.twins);
        scene.safes.away = vec![0];
        scene.safes.all[1].set_peers(move |url, body, now| way(&twins, url, body, now));
        scene.begin();
        scene.wallet.run(&scene.safes, 100);
        assert!(scene.why().contains(says), "{} is not {says}", scene.why());
        assert_eq!(scene.wallet.content(&scene.value), None);
        // By itself, the first safe gives it.
        scene.safes.away.clear();
        scene.wallet.handle(Event::Cancel(scene.backup)).unwrap();
        scene.wallet.session.retry();
        scene.wallet.handle(Event::Recover(scene.backup, Vec::new())).unwrap();
        scene.settle();
        assert_eq!(scene.wallet.content(&scene.value).as_deref(), Some(SECRET), "{says}");
    }
    // A clock that is wrong is set right, and it is tried again.
    let mut scene = scene();
    let (twins, tries) = (Rc::clone(&scene.twins), Cell::new(0));
    scene.safes.all[1].set_peers(move |url, body, now| {
        tries.set(tries.get() + 1);
        if tries.get() == 1 { late(&twins, url, body, now) } else { bring(&twins, url, body, now + 2 * PARCEL_SPAN) }
    });
    scene.safes.away = vec![0];
    scene.begin();
    scene.settle();
    assert_eq!(scene.wallet.content(&scene.value).as_deref(), Some(SECRET));
}

#[test]
fn a_safe_brings_nothing_that_its_operator_or_its_owner_does_not_let_it() {
    let mut scene = scene();
    // The third asks nobody.
    let (third, backup) = (scene.safes.all[2].id(), scene.backup);
    scene.safes.away = vec![0];
    scene.wallet.handle(Event::RecoverThrough(backup, third, None)).unwrap();
    scene.wallet.run(&scene.safes, 100);
    assert!(scene.why().contains("is none that “Safe 2” asks"), "{}", scene.why());
    scene.wallet.handle(Event::Cancel(backup)).unwrap();
    assert!(scene.wallet.state.backups[&backup].through.is_none());
    // A wallet that has only the certificates is no owner.
    let mut thief = Wallet::create(leak(), 9);
    thief.wait(scene.wallet.now() - thief.now());
    let book = book_of(&scene.wallet.state, &[scene.value], scene.wallet.now()).unwrap();
    thief.handle(Event::Import(book)).unwrap();
    let through = Event::RecoverThrough(backup, scene.second(), None);
    assert!(matches!(thief.handle(through), Err(WalletError::NotEnrolled(_))));
    // And one that was revoked at the carrier is told so.
    let second = scene.safes.all[1].id();
    scene.wallet.handle(Event::RecoverThrough(backup, second, None)).unwrap();
    let number = scene.wallet.state.owner.as_ref().unwrap().seat(&second).unwrap().number.unwrap();
    let comer = Comer::new(&scene.safes, scene.wallet.now(), &[0, 1, 2, 3, 4], 5);
    let known = comer.log_in();
    let mut door = comer.door(1);
    let mut visit = Visit::new(&mut door);
    let account = name().account(&second);
    visit.act(&account, &known.channel(&second), &[Act::Revoke(number)]);
    scene.wallet.run(&scene.safes, 100);
    assert!(scene.why().contains("does not know you on this device"), "{}", scene.why());
}
