//! Rules: what they match, what they do by themselves, and what they leave alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use proptest::prelude::*;
use protocol::{
    bundle::ValueMeta,
    ids::{BackupId, SafeId, ValueId},
    plan::Plan,
};
use tests::{
    plug::{N, TICKET, leak, moved, protected, state_of, with_plug_pulled},
    world::{START, Safes, Trouble, Wallet},
};
use wallet_wasm::{
    drafts::{self, ConditionDraft, RuleDraft},
    machine::{Event, WalletError},
    room::Room,
    rules::{self, Condition, Deed, Effect, MAX_AT_ONCE, MAX_RULES, Rule, RuleError},
    session::{Action, Errand},
    state::{Next, Operation, State},
    upkeep::DAY,
};

const LONG: usize = 2_000;

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn rule(name: &str, when: Vec<Condition>, plan: Plan<SafeId>, moves: bool) -> Rule {
    Rule { name: name.to_owned(), when, plan, moves, on: true }
}

/// A wallet that knows its safes.
fn start(safes: &Safes) -> (Wallet<'static>, Vec<SafeId>) {
    let mut wallet = Wallet::create(leak(), 1);
    let ids = wallet.trust(safes);
    (wallet, ids)
}

fn set(wallet: &mut Wallet<'_>, rules: Vec<Rule>) {
    wallet.handle(Event::SetRules(rules)).unwrap();
}

/// Everything by three of five.
fn everything(ids: &[SafeId], moves: bool) -> Vec<Rule> {
    vec![rule("Everything", Vec::new(), Plan::spread(3, ids).unwrap(), moves)]
}

fn due(wallet: &Wallet<'_>) -> Vec<(ValueId, Deed)> {
    rules::due(&wallet.state, &wallet.session.room(&wallet.state), wallet.now())
}

/// Whether anything is to be done that is not the weekly look.
fn is_idle(wallet: &Wallet<'_>) -> bool {
    wallet.session.actions(&wallet.state, wallet.now()).is_empty()
}

fn lines(wallet: &Wallet<'_>, with: &str) -> usize {
    wallet.state.activity.iter().filter(|line| line.text.contains(with)).count()
}

#[test]
fn what_conditions_ask_for() {
    let safes = Safes::new(3);
    let (mut wallet, ids) = start(&safes);
    let plan = Plan::spread(2, &ids).unwrap();
    let of_kind = |kind: &'static str| move |meta: &mut ValueMeta| meta.kind = kind.to_owned();
    let ticket = wallet.add_as("Ticket", &[1; 100], |meta| {
        meta.kind = "ticket".into();
        meta.tags = Some(words(&["travel", "spring"]));
    });
    let file = wallet.add_as("File", &[2; LONG], of_kind("file"));
    let backed = wallet.add_as("Note", &[3; 100], of_kind("note"));
    wallet.register(backed, &ids, 2);
    wallet.run(&safes, 1000);
    wallet.change(&backed, &[4; 100]).unwrap();
    let met = |wallet: &Wallet<'_>, when: &[Condition]| {
        let rule = rule("It", when.to_vec(), plan.clone(), false);
        let mut met: Vec<_> =
            rules::preview(&wallet.state, &rule, wallet.now()).into_iter().map(|(id, _)| id).collect();
        met.sort_unstable();
        met
    };
    let sorted = |ids: &[ValueId]| {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids
    };
    let length = LONG as u64;
    let cases: Vec<(Vec<Condition>, Vec<ValueId>)> = vec![
        (vec![], vec![ticket, file, backed]),
        (vec![Condition::Kind(words(&["ticket", "voucher"]))], vec![ticket]),
        (vec![Condition::Kind(words(&["note", "file"]))], vec![file, backed]),
        (vec![Condition::Tag(words(&["spring"]))], vec![ticket]),
        (vec![Condition::Tag(words(&["autumn"]))], vec![]),
        (vec![Condition::Larger(length)], vec![]),
        (vec![Condition::Larger(length - 1)], vec![file]),
        (vec![Condition::Smaller(100)], vec![]),
        (vec![Condition::Smaller(101)], vec![ticket, backed]),
        (vec![Condition::Changed], vec![backed]),
        (vec![Condition::Smaller(101), Condition::Kind(words(&["ticket"]))], vec![ticket]),
    ];
    for (when, expected) in cases {
        assert_eq!(met(&wallet, &when), sorted(&expected), "{when:?}");
    }
    // Times: to the second.
    let (older, unused) = ([Condition::Older(7 * DAY)], [Condition::Unused(7 * DAY)]);
    wallet.set_now(START + 7 * DAY - 1);
    assert_eq!((met(&wallet, &older).len(), met(&wallet, &unused).len()), (0, 0));
    wallet.wait(1);
    assert_eq!((met(&wallet, &older).len(), met(&wallet, &unused).len()), (3, 3));
    wallet.handle(Event::Used(ticket)).unwrap();
    wallet.change(&backed, &[5; 100]).unwrap();
    assert_eq!((met(&wallet, &older).len(), met(&wallet, &unused)), (3, vec![file]));
    wallet.wait(7 * DAY);
    assert_eq!(met(&wallet, &unused).len(), 3);
}

#[test]
fn a_ticket_older_than_a_week_goes_to_the_safes_by_itself() {
    let safes = Safes::new(N);
    let (mut wallet, ids) = start(&safes);
    let when = vec![Condition::Kind(words(&["ticket"])), Condition::Older(7 * DAY)];
    set(&mut wallet, vec![rule("Tickets", when, Plan::spread(3, &ids).unwrap(), true)]);
    let ticket = wallet.add_as("Ticket", TICKET, |meta| meta.kind = "ticket".into());
    let once = wallet.add_as("Voucher", TICKET, |meta| {
        meta.kind = "ticket".into();
        meta.unique = Some(true);
    });
    let note = wallet.add("Note", b"stays");
    assert_eq!(wallet.run(&safes, 1000), 0);
    // The next thing that time brings.
    assert_eq!(wallet.session.next_try(&wallet.state, wallet.now()), Some(START + 7 * DAY));
    wallet.wait(7 * DAY);
    wallet.run(&safes, 1000);
    for id in [ticket, once] {
        assert_eq!((wallet.content(&id), state_of(&wallet, id)), (None, ("moved", None)));
    }
    assert_eq!((wallet.content(&note).as_deref(), state_of(&wallet, note).0), (Some(&b"stays"[..]), "local-only"));
    assert_eq!(lines(&wallet, "as your rule “Tickets” says"), 2);
    wallet.handle(Event::Recover(wallet.backup_of(&ticket), Vec::new())).unwrap();
    wallet.run(&safes, 1000);
    assert_eq!(wallet.content(&ticket).as_deref(), Some(TICKET));
}

#[test]
fn only_what_was_changed_is_backed_up_again_by_the_plan_that_it_has() {
    let safes = Safes::new(N);
    let (mut wallet, ids) = start(&safes);
    set(&mut wallet, everything(&ids, false));
    let values: Vec<ValueId> = (0..3u8).map(|i| wallet.add(&format!("Value {i}"), &[i; 40])).collect();
    let own = wallet.add("By hand", b"by two of three");
    wallet.register(own, &ids[..3], 2);
    wallet.run(&safes, 10_000);
    assert!(values.iter().chain([&own]).all(|id| state_of(&wallet, *id) == ("protected", None)));
    let before: Vec<BackupId> = values.iter().map(|id| wallet.backup_of(id)).collect();
    let old = wallet.backup_of(&own);
    assert!(is_idle(&wallet));
    wallet.change(&values[1], b"another one").unwrap();
    wallet.change(&own, b"changed, too").unwrap();
    wallet.run(&safes, 10_000);
    let after: Vec<BackupId> = values.iter().map(|id| wallet.backup_of(id)).collect();
    assert_eq!((after[0], after[2]), (before[0], before[2]));
    assert_ne!(after[1], before[1]);
    assert_ne!(wallet.backup_of(&own), old);
    assert_eq!(wallet.state.backups[&wallet.backup_of(&own)].plan, Plan::spread(2, &ids[..3]).unwrap());
    assert!(values.iter().chain([&own]).all(|id| state_of(&wallet, *id) == ("protected", None)));
    // The generations before are let go: nobody holds more than the four backups.
    let held: usize = safes.all.iter().map(|safe| safe.counts().1).sum();
    assert_eq!(held, 3 * N + 3);
    assert!(is_idle(&wallet));
}

/// Released by hand, cancelled, brought back, recovered: no rule does at once again what its owner has just undone.
#[test]
fn what_its_owner_took_back_is_left_alone_until_it_changes() {
    type Undo = fn(&mut Wallet<'_>, &Safes, ValueId);
    let undo: [(&str, bool, Undo); 4] = [
        ("released", false, |wallet, _, value| wallet.handle(Event::Release(wallet.backup_of(&value))).unwrap()),
        ("brought back", true, |wallet, _, value| wallet.handle(Event::BringBack(wallet.backup_of(&value))).unwrap()),
        ("recovered", true, |wallet, _, value| {
            wallet.handle(Event::Recover(wallet.backup_of(&value), Vec::new())).unwrap();
        }),
        ("cancelled", false, |wallet, safes, value| {
            wallet.change(&value, b"for a moment").unwrap();
            wallet.run(safes, 3);
            let successor = wallet.state.successor(&wallet.backup_of(&value)).unwrap().id;
            wallet.handle(Event::Cancel(successor)).unwrap();
        }),
    ];
    for (what, moves, undo) in undo {
        let safes = Safes::new(N);
        let (mut wallet, ids) = start(&safes);
        set(&mut wallet, everything(&ids, moves));
        let value = wallet.add("Value", TICKET);
        wallet.run(&safes, 10_000);
        assert_eq!(state_of(&wallet, value).0, if moves { "moved" } else { "protected" }, "{what}");
        undo(&mut wallet, &safes, value);
        wallet.run(&safes, 10_000);
        let left = state_of(&wallet, value);
        assert!(wallet.content(&value).is_some() && left.1.is_none(), "{what}: {left:?}");
        let rule = wallet.state.rules[0].clone();
        assert_eq!(rules::preview(&wallet.state, &rule, wallet.now()), [(value, Effect::LeftAlone)], "{what}");
        wallet.wait(400 * DAY);
        assert_eq!(due(&wallet), [], "{what}");
        // Changed it is a new thing; or its owner says so.
        let mut again = Wallet::open(wallet.store(), 5);
        again.set_now(wallet.now());
        again.handle(Event::FollowRules(value)).unwrap();
        assert!(!due(&again).is_empty(), "{what}");
        wallet = again;
        wallet.change(&value, b"changed").unwrap();
        wallet.run(&safes, 10_000);
        assert_eq!(state_of(&wallet, value), (if moves { "moved" } else { "protected" }, None), "{what}");
    }
}

/// A rule about what is not used takes up again what was recovered, when it was not used for as long.
#[test]
fn what_was_recovered_goes_again_when_it_is_not_used() {
    let safes = Safes::new(N);
    let (mut wallet, ids) = start(&safes);
    set(&mut wallet, vec![rule("Old", vec![Condition::Unused(30 * DAY)], Plan::spread(3, &ids).unwrap(), true)]);
    let value = wallet.add("Value", TICKET);
    assert_eq!(wallet.run(&safes, 1000), 0);
    wallet.wait(30 * DAY);
    wallet.run(&safes, 1000);
    assert_eq!(state_of(&wallet, value), ("moved", None));
    wallet.handle(Event::Recover(wallet.backup_of(&value), Vec::new())).unwrap();
    wallet.run(&safes, 1000);
    wallet.wait(30 * DAY - 1);
    wallet.run(&safes, 1000);
    assert_eq!(state_of(&wallet, value), ("protected", None));
    wallet.wait(1);
    wallet.run(&safes, 1000);
    assert_eq!(state_of(&wallet, value), ("moved", None));
}

#[test]
fn the_first_rule_gives_the_plan_and_any_of_them_moves() {
    let safes = Safes::new(N);
    let (mut wallet, ids) = start(&safes);
    let (first, second) = (Plan::spread(2, &ids[..3]).unwrap(), Plan::spread(3, &ids).unwrap());
    let off = Rule { on: false, ..rule("Off", Vec::new(), Plan::at(ids[0]), true) };
    let tickets = vec![Condition::Kind(words(&["ticket"]))];
    set(
        &mut wallet,
        vec![off, rule("Tickets", tickets, first.clone(), false), rule("All", Vec::new(), second.clone(), true)],
    );
    let ticket = wallet.add_as("Ticket", TICKET, |meta| meta.kind = "ticket".into());
    let note = wallet.add("Note", TICKET);
    wallet.run(&safes, 10_000);
    let plan_of = |id| wallet.state.backups[&wallet.backup_of(&id)].plan.clone();
    assert_eq!((plan_of(ticket), plan_of(note)), (first, second));
    assert_eq!((state_of(&wallet, ticket).0, state_of(&wallet, note).0), ("moved", "moved"));
}

#[test]
fn what_is_coupled_goes_together_or_stays() {
    let safes = Safes::new(N);
    let (mut wallet, ids) = start(&safes);
    let (a, b) = (wallet.add_as("A", TICKET, |meta| meta.kind = "ticket".into()), wallet.add("B", b"a note"));
    wallet.back_up(&[a, b], Plan::spread(3, &ids).unwrap(), None).unwrap();
    wallet.run(&safes, 1000);
    let tickets = |kinds: &[&str]| vec![rule("Some", vec![Condition::Kind(words(kinds))], Plan::at(ids[0]), true)];
    set(&mut wallet, tickets(&["ticket"]));
    assert_eq!(wallet.run(&safes, 1000), 0);
    set(&mut wallet, tickets(&["ticket", "note"]));
    assert_eq!(due(&wallet).len(), 1, "one speaks for both");
    wallet.run(&safes, 1000);
    assert_eq!((wallet.content(&a), wallet.content(&b)), (None, None));
}

/// What cannot be done is left to its owner, who is told once, and nothing is tried again and again.
#[test]
fn what_a_rule_cannot_do_is_left_to_its_owner() {
    let safes = Safes::new(N);
    let (mut wallet, ids) = start(&safes);
    let mut small = wallet.state.safes[&ids[0]].clone();
    small.limit_body = 1_000;
    wallet.handle(Event::SafeSeen(small)).unwrap();
    set(&mut wallet, vec![rule("Everything", Vec::new(), Plan::spread(2, &ids[..2]).unwrap(), true)]);
    let value = wallet.add("Value", &[7; LONG]);
    wallet.run(&safes, 100);
    assert_eq!((state_of(&wallet, value).0, is_idle(&wallet)), ("local-only", true));
    assert_eq!(lines(&wallet, "is left to you by your rules"), 1);
    // A trial that fails: the safes have other bytes than they signed for.
    let safes = Safes::new(N);
    let (mut wallet, value, _) = protected(leak(), &safes);
    safes.all.iter().for_each(|safe| safe.corrupt(|body| body.reverse()));
    let ids: Vec<SafeId> = wallet.state.safes.keys().copied().collect();
    set(&mut wallet, everything(&ids, true));
    for _ in 0..5 {
        wallet.run(&safes, 1000);
        wallet.wait(61);
    }
    assert!(wallet.content(&value).is_some());
}

#[test]
fn a_change_whose_plan_has_words_waits_for_its_owner() {
    let safes = Safes::new(N);
    let (mut wallet, ids) = start(&safes);
    let value = wallet.add("Value", TICKET);
    let plan =
        Plan::seal(Plan::spread(2, &ids[..3]).unwrap(), vec![Plan::place(protocol::plan::Place::Memory)]).unwrap();
    let words = protocol::crypto::Secret::from_bytes([3; 32]);
    wallet.back_up(&[value], plan, Some(&words)).unwrap();
    wallet.run(&safes, 1000);
    set(&mut wallet, everything(&ids, false));
    wallet.change(&value, b"changed").unwrap();
    assert_eq!((wallet.run(&safes, 1000), state_of(&wallet, value).0), (0, "at-risk"));
    let rule = wallet.state.rules[0].clone();
    assert_eq!(rules::preview(&wallet.state, &rule, wallet.now()), [(value, Effect::NeedsOwner)]);
}

#[test]
fn many_values_are_seen_to_a_few_at_a_time() {
    let safes = Safes::new(N);
    let (mut wallet, ids) = start(&safes);
    let values: Vec<ValueId> = (0..40u8).map(|i| wallet.add(&format!("Value {i}"), &[i; 40])).collect();
    set(&mut wallet, everything(&ids, true));
    assert_eq!(due(&wallet).len(), MAX_AT_ONCE);
    let mut most = 0;
    while wallet.run(&safes, 1) > 0 {
        let making = |b: &&wallet_wasm::state::Backup| b.operation == Some(Operation::Register) && b.unmade().is_some();
        most = most.max(wallet.state.backups.values().filter(making).count());
    }
    assert!(most <= MAX_AT_ONCE, "{most} at a time");
    assert!(values.iter().all(|id| wallet.content(id).is_none()));
}

/// A rule that moves, with a fault at every step and the plug pulled after it.
#[test]
fn a_rule_comes_to_its_end_whatever_happens() {
    let start = |store, safes: &Safes| {
        let mut wallet = Wallet::create(store, 1);
        let ids = wallet.trust(safes);
        let value = wallet.add("Ticket", TICKET);
        set(&mut wallet, everything(&ids, true));
        (wallet, value, BackupId([0; 16]))
    };
    with_plug_pulled(start, |wallet, safes, value, when| {
        assert_eq!((wallet.content(&value), state_of(&wallet, value)), (None, ("moved", None)), "{when}");
        assert!(safes.all.iter().all(|safe| safe.counts().1 == 1), "{when}: one backup, and nothing left of others");
    });
}

/// Two windows see at the same moment that something is due.
#[test]
fn two_windows_do_it_once() {
    let (store, safes) = (leak(), Safes::new(N));
    let mut one = Wallet::create(store, 1);
    let ids = one.trust(&safes);
    let value = one.add("Value", TICKET);
    set(&mut one, everything(&ids, false));
    let mut two = Wallet::open(store, 2);
    let action = Action::ApplyRule(value);
    assert!([&one, &two].iter().all(|w| w.session.actions(&w.state, w.now()).contains(&action)));
    one.begin(&action).unwrap();
    two.begin(&action).unwrap();
    assert_eq!((one.state.backups.len(), two.state.backups.len()), (1, 1));
}

#[test]
fn rules_that_cannot_be_followed_are_refused() {
    let safes = Safes::new(N);
    let (mut wallet, ids) = start(&safes);
    let plan = Plan::spread(3, &ids).unwrap();
    let mut refused = |rules: Vec<Rule>| match wallet.handle(Event::SetRules(rules)) {
        Err(WalletError::Rule(error)) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(vec![rule(" ", Vec::new(), plan.clone(), false)]), RuleError::Name);
    assert_eq!(refused(vec![rule(&"x".repeat(65), Vec::new(), plan.clone(), false)]), RuleError::Name);
    let empty = vec![Condition::Kind(Vec::new())];
    assert_eq!(refused(vec![rule("It", empty, plan.clone(), false)]), RuleError::Empty);
    assert_eq!(refused(vec![rule("It", vec![Condition::Changed; 17], plan.clone(), false)]), RuleError::TooMany);
    assert_eq!(refused(vec![rule("It", Vec::new(), plan.clone(), false); MAX_RULES + 1]), RuleError::TooMany);
    let stranger = Plan::at(SafeId([1; 32]));
    assert_eq!(refused(vec![rule("It", Vec::new(), stranger, false)]), RuleError::UnknownSafe);
    for place in ["memory", "file"] {
        let text = format!("seal(at({0}), {place})", ids[0]);
        let plan = wallet_wasm::planning::bind(&wallet.state, &text).unwrap();
        let error = wallet.handle(Event::SetRules(vec![rule("It", Vec::new(), plan, false)])).unwrap_err();
        assert_eq!(error, WalletError::Rule(RuleError::NeedsOwner));
    }
    // A safe that a rule names stays, until the rule names another one.
    set(&mut wallet, vec![rule("It", Vec::new(), plan, false)]);
    let refused = wallet.handle(Event::RemoveSafe(ids[0])).unwrap_err();
    assert_eq!(refused, WalletError::SafeInRule("It".into()));
    set(&mut wallet, Vec::new());
    wallet.handle(Event::RemoveSafe(ids[0])).unwrap();
}

#[test]
fn the_page_has_rules_as_text() {
    let safes = Safes::new(3);
    let (mut wallet, ids) = start(&safes);
    let when = vec![
        Condition::Kind(words(&["ticket"])),
        Condition::Tag(words(&["travel"])),
        Condition::Larger(1),
        Condition::Smaller(2),
        Condition::Older(3),
        Condition::Changed,
        Condition::Unused(4),
        Condition::RoomBelow(5),
    ];
    let all = rule("All", when, Plan::spread(2, &ids).unwrap(), true);
    let draft = drafts::draw(&wallet.state, &all);
    assert_eq!(drafts::read(&wallet.state, &draft), Ok(all.clone()));
    // Also where two safes have one name.
    let mut state = wallet.state.clone();
    let name = state.safes[&ids[1]].nickname.clone();
    state.safes.get_mut(&ids[0]).unwrap().nickname = name;
    assert_eq!(drafts::read(&state, &drafts::draw(&state, &all)), Ok(all));
    let value = wallet.add("Value", TICKET);
    let simple = RuleDraft { when: Vec::new(), ..draft.clone() };
    let shown = drafts::preview(&wallet.state, &simple, wallet.now());
    assert_eq!((shown.error, shown.values[0].id.clone(), shown.values[0].effect), (None, value.to_string(), "moves"));
    let unknown = ConditionDraft { what: "coloured".into(), words: Vec::new(), amount: 0.0 };
    let broken = [
        (RuleDraft { name: String::new(), ..simple.clone() }, "name"),
        (RuleDraft { plan: "spread(".into(), ..simple.clone() }, "character 1"),
        (RuleDraft { plan: "at(Nobody)".into(), ..simple.clone() }, "Nobody"),
        (RuleDraft { when: vec![unknown], ..simple }, "condition"),
    ];
    for (draft, says) in broken {
        let error = drafts::preview(&wallet.state, &draft, wallet.now()).error.unwrap();
        assert!(error.contains(says), "{error}");
    }
}

/// A value that is elsewhere, or on its way, is nobody's business.
#[test]
fn what_is_not_here_is_left_as_it_is() {
    let safes = Safes::new(N);
    let (mut wallet, value, backup) = moved(leak(), &safes);
    let ids: Vec<SafeId> = wallet.state.safes.keys().copied().collect();
    set(&mut wallet, everything(&ids, true));
    assert_eq!(wallet.run(&safes, 1000), 0);
    let next = Next { backup: BackupId([9; 16]), plan: Plan::spread(2, &ids).unwrap(), words: None };
    wallet.handle(Event::Renew(backup, next)).unwrap();
    assert!(matches!(wallet.try_handle(Event::Move(backup)), Err(Trouble::Wallet(_))));
    wallet.run(&safes, 1000);
    assert_eq!((wallet.content(&value), state_of(&wallet, value)), (None, ("moved", None)));
}

/// What is asked of safes for a value that does not match: nothing.
#[test]
fn a_rule_sends_nothing_of_what_it_does_not_match() {
    let safes = Safes::new(N);
    let (mut wallet, ids) = start(&safes);
    set(
        &mut wallet,
        vec![rule("Tickets", vec![Condition::Kind(words(&["ticket"]))], Plan::spread(3, &ids).unwrap(), true)],
    );
    wallet.add("Note", TICKET);
    let sends = |wallet: &Wallet<'_>| {
        let actions = wallet.session.actions(&wallet.state, wallet.now());
        actions.iter().any(|action| matches!(action, Action::Send(_, _, Errand::Put)))
    };
    assert!(!sends(&wallet) && is_idle(&wallet));
}

fn arbitrary_condition() -> impl Strategy<Value = Condition> {
    prop_oneof![
        prop_oneof![Just("note"), Just("ticket")].prop_map(|kind| Condition::Kind(words(&[kind]))),
        (0u64..200).prop_map(Condition::Larger),
        (0u64..200).prop_map(Condition::Smaller),
        (0u64..100).prop_map(Condition::Older),
        (0u64..100).prop_map(Condition::Unused),
        Just(Condition::Changed),
        (0u64..400).prop_map(Condition::RoomBelow),
    ]
}

proptest! {
    /// Whoever sleeps until [`rules::next_due`] misses nothing: until then time alone makes nothing due.
    #[test]
    fn nothing_is_due_before_its_time(
        conditions in prop::collection::vec(prop::collection::vec(arbitrary_condition(), 0..4), 1..4),
        moves in prop::collection::vec(any::<bool>(), 3),
        values in prop::collection::vec((0u64..100, 1usize..200, prop::option::of(0u64..100), any::<bool>()), 1..5),
        free in prop::option::of(0u64..500),
        now in 0u64..150,
    ) {
        let safes = Safes::new(3);
        let mut wallet = Wallet::create(leak(), 1);
        let ids = wallet.trust(&safes);
        let plan = Plan::spread(2, &ids).unwrap();
        for (created, length, left, ticket) in values {
            wallet.set_now(START + created);
            let value = wallet.add_as("Value", &vec![1; length], |meta| {
                meta.kind = if ticket { "ticket" } else { "note" }.into();
            });
            if let Some(left) = left {
                let value = wallet.state.values.get_mut(&value).unwrap();
                value.left_alone = Some(START + created + left);
            }
        }
        let all = conditions.into_iter().zip(moves).map(|(when, moves)| rule("It", when, plan.clone(), moves));
        wallet.state.rules = all.collect();
        let state: &State = &wallet.state;
        let room = Room { free, wanted: 0 };
        let (now, all) = (START + now, START + 400);
        let whole = |at| rules::due(state, &room, at).into_iter().map(|(id, _)| id).collect::<Vec<_>>();
        let first = whole(now);
        let changes = (now..all).find(|at| whole(*at) != first);
        if let Some(changes) = changes {
            let next = rules::next_due(state, now);
            prop_assert!(next.is_some_and(|next| next <= changes), "{changes} and not {next:?}");
        }
    }
}
