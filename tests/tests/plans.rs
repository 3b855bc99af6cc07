//! Plans: text, data, and what is done by them. What some places hold brings a value back exactly when the plan says so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use protocol::{
    analysis::{Analysis, Enrolment, Family, Principal, Set, Setting, analyse},
    book::KeptPiece,
    codec::{self, CodecError},
    crypto::Secret,
    envelope::Envelope,
    ids::{BackupId, DepositId, SafeId},
    layout::{Draft, GatherError, Layout, MAX_BOOK, SEGMENT_UNIT, Slot},
    piece_file::{self, MAX_PIECES, PieceFileError},
    plan::{MAX_DEPTH, Node, Place, Plan, PlanError},
    program::{Piece, Program, Reg, Step},
};
use safe_worker::memory::LIMITS;
use tests::fixture::{gather, lay, make_bodies, random_bytes, secret};

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Plans of every form; what cannot be is left out. `name` makes the names of safes.
fn any_plan<S: Clone + PartialEq + std::fmt::Debug + 'static>(
    name: impl Strategy<Value = S> + 'static,
    owner: impl Strategy<Value = bool> + 'static,
) -> impl Strategy<Value = Plan<S>> {
    let safe = (name, owner).prop_map(|(safe, owner)| Plan::place(Place::Safe { safe, owner }));
    let place = prop_oneof![
        6 => safe,
        1 => Just(Plan::place(Place::Book)),
        1 => Just(Plan::place(Place::File)),
        1 => Just(Plan::place(Place::Memory)),
    ];
    let made = place.prop_recursive(4, 24, 4, |inner| {
        let group = (prop::collection::vec(inner.clone(), 1..5), any::<prop::sample::Index>());
        // What is refused falls back to a child, so that nothing is drawn in vain.
        let or = |made: Result<Plan<S>, PlanError>, child: Plan<S>| made.unwrap_or(child);
        prop_oneof![
            (inner.clone(), prop::collection::vec(inner, 1..4)).prop_map(move |(c, k)| or(Plan::seal(c.clone(), k), c)),
            group.clone().prop_map(move |(c, k)| or(Plan::split(1 + k.index(c.len()), c.clone()), c[0].clone())),
            group.clone().prop_map(move |(c, k)| or(Plan::disperse(1 + k.index(c.len()), c.clone()), c[0].clone())),
            group.prop_map(move |(c, _)| or(Plan::copies(c.clone()), c[0].clone())),
        ]
    });
    made.prop_filter("a value is no words", |plan| !plan.is_chosen())
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn a_plan_is_the_same_as_data(plan in any_plan(any::<u8>().prop_map(|i| SafeId([i; 32])), any::<bool>())) {
        let bytes = codec::encode(&plan);
        prop_assert_eq!(codec::decode::<Plan<SafeId>>(&bytes, 1 << 16).unwrap(), plan);
    }

    #[test]
    fn a_plan_is_the_same_as_text(plan in any_plan("[A-E]|[ -~]{0,9}|\\PC{1,5}", any::<bool>()), spaces in "[ \n\t]{0,3}") {
        let text = plan.to_string();
        prop_assert_eq!(text.parse::<Plan<String>>().unwrap(), plan.clone());
        // Space is free outside of names.
        if !text.contains('"') {
            let airy = text.replace('(', &format!("{spaces}({spaces}")).replace(", ", &format!("{spaces},{spaces}"));
            prop_assert_eq!(format!("{spaces}{airy}{spaces}").parse::<Plan<String>>().unwrap(), plan);
        }
    }

    #[test]
    fn no_text_makes_the_parser_fail_otherwise_than_by_an_error(
        text in "(seal|split|disperse|copies|derive|at|book|memory|owner|[(),0-9\" A\\\\]){0,40}",
    ) {
        match text.parse::<Plan<String>>() {
            Ok(plan) => prop_assert_eq!(plan.to_string().parse::<Plan<String>>().unwrap(), plan),
            Err(error) => prop_assert!(error.at <= text.chars().count()),
        }
    }
}

#[test]
fn text_that_is_no_plan_is_refused_at_the_place() {
    let nested = format!("{}at(A){}", "seal(".repeat(30), ", at(B))".repeat(30));
    for (text, at, what) in [
        ("", 0, "at(…), book"),
        ("sael(at(A), at(B))", 0, "seal(…)"),
        ("seal(at(A) at(B))", 11, "“,”"),
        ("seal(at(A), at(B)", 17, "“)”, but the text ends"),
        ("seal(at(A), at(B)))", 18, "nothing more"),
        ("seal(at(), at(B))", 8, "the name of a safe"),
        ("seal(at(A), at(B, me))", 18, "owner"),
        ("seal(at(A), derive(at(B)))", 19, "1 are too few here; at least 2"),
        ("split(at(A), at(B))", 6, "how many suffice"),
        ("split(4, at(A), at(B))", 0, "a threshold of 4 does not fit 2 places; choose from 2 to 2"),
        ("seal(at(A), split(1, at(A), at(B)))", 12, "choose from 2 to 2"),
        ("copies(at(A), seal(at(B), split(2, at(C), at(C, owner))))", 26, "stands twice"),
        ("memory", 0, "memory holds words"),
        ("seal(memory, at(A))", 0, "memory holds words"),
        ("disperse(2, at(A), memory)", 0, "memory holds words"),
        ("derive(at(A), at(B))", 0, "at(…), book"),
        ("at(\"A)", 6, "“\"”"),
        (&nested, 84, "nested deeper"),
    ] {
        let error = text.parse::<Plan<String>>().expect_err(text);
        assert_eq!(error.at, at, "{text}: {error}");
        assert!(error.to_string().contains(what), "{text}: {error}");
        assert!(error.to_string().starts_with(&format!("at character {}: ", at + 1)));
    }
    assert!("at(A)".repeat(3300).parse::<Plan<String>>().unwrap_err().to_string().contains("longer than 16384 bytes"));
    // The longest plan, with the longest names.
    let name = |i: usize| format!("{}{i:02}", "\"".repeat(62));
    let wide = |_| Plan::disperse(9, (0..20).map(|i| Plan::at(name(i))).collect()).unwrap();
    let longest = Plan::copies((0..4).map(wide).collect()).unwrap();
    assert_eq!(longest.to_string().parse::<Plan<String>>().unwrap(), longest);
}

#[test]
fn nicknames_are_bound_to_safes_when_a_plan_is_applied() {
    let safes = [("A", 1), ("home safe", 2), ("B", 3), ("twin", 4), ("twin", 5)];
    let find = |name: &String| {
        let mut found = safes.iter().filter(|(known, _)| known == name).map(|(_, i)| SafeId([*i; 32]));
        let first = found.next().ok_or_else(|| PlanError::UnknownSafe(name.clone()))?;
        if found.next().is_some() { Err(PlanError::AmbiguousSafe(name.clone())) } else { Ok(first) }
    };
    let bind = |text: &str| text.parse::<Plan<String>>().unwrap().bind(&find);
    let bound = bind("seal(at(A), copies(at(\"home safe\"), book))").unwrap();
    assert_eq!(bound.safes(), [&SafeId([1; 32]), &SafeId([2; 32])]);
    let name = |id: &SafeId| safes.iter().find(|(_, i)| *i == id.0[0]).unwrap().0.to_owned();
    assert_eq!(bound.to_text(&name), "seal(at(A), copies(at(\"home safe\"), book))");
    assert_eq!(bind("at(C)"), Err(PlanError::UnknownSafe("C".to_owned())));
    assert_eq!(bind("at(twin)"), Err(PlanError::AmbiguousSafe("twin".to_owned())));
    // Two names that are one safe.
    let same = |_: &String| Ok(SafeId([9; 32]));
    assert_eq!("copies(at(A), at(B))".parse::<Plan<String>>().unwrap().bind(&same), Err(PlanError::PlaceTwice));
}

#[test]
fn plans_that_cannot_be_are_refused() {
    let at = |i: u8| Plan::at(SafeId([i; 32]));
    let seal = |content, key| Plan::seal(content, vec![key]).unwrap();
    let ids: Vec<SafeId> = (0..3).map(|i| SafeId([i; 32])).collect();
    assert!(matches!(Plan::split(1, vec![at(1), at(2)]), Err(PlanError::Threshold { k: 1, n: 2, least: 2 })));
    assert!(matches!(Plan::disperse(0, vec![at(1)]), Err(PlanError::Threshold { .. })));
    assert!(matches!(Plan::disperse(3, vec![at(1), at(2)]), Err(PlanError::Threshold { .. })));
    assert!(matches!(Plan::disperse(1, (0..21).map(at).collect()), Err(PlanError::TooWide(21))));
    assert_eq!(Plan::copies(vec![at(1)]), Err(PlanError::TooFew { got: 1, least: 2 }));
    assert_eq!(Plan::copies((0..21).map(at).collect()), Err(PlanError::TooWide(21)));
    assert_eq!(Plan::seal(at(1), vec![]), Err(PlanError::TooFew { got: 0, least: 1 }));
    assert_eq!(Plan::spread(2, &[ids[0], ids[1], ids[0]]), Err(PlanError::PlaceTwice));
    let twice = vec![at(1), Plan::place(Place::Safe { safe: SafeId([1; 32]), owner: true })];
    assert_eq!(Plan::disperse(1, twice), Err(PlanError::PlaceTwice));
    // Words can be fewer than k shares, and one of several copies.
    let memory = || Plan::place(Place::Memory);
    let copy = |i| Plan::copies(vec![memory(), at(i)]).unwrap();
    assert!(Plan::split(2, vec![memory(), at(1)]).is_ok());
    assert_eq!(Plan::split(2, vec![copy(1), copy(2), at(3)]), Err(PlanError::Memory));
    assert!(Plan::split(3, vec![copy(1), copy(2), at(3)]).is_ok());
    assert_eq!(Plan::copies(vec![copy(1), copy(2)]), Err(PlanError::Memory));
    assert_eq!(Plan::seal(copy(1), vec![at(2)]), Err(PlanError::Memory));
    let wide = |from: u8| Plan::disperse(1, (from..from + 20).map(at).collect()).unwrap();
    assert!(Plan::copies(vec![wide(0), wide(0), wide(0), wide(0)]).is_ok());
    assert_eq!(Plan::copies(vec![wide(0), wide(0), wide(0), wide(0), wide(0)]), Err(PlanError::TooMany(100)));
    assert_eq!(Plan::copies(vec![wide(0), wide(1)]), Err(PlanError::TooManySafes(21)));
    // Data is held to the same.
    assert_eq!(codec::decode::<Plan<SafeId>>(&[0x81, 8], 99), Err(CodecError::Malformed));
    let deep = (1..MAX_DEPTH).fold(at(0), |plan, i| seal(plan, at(i as u8)));
    let bytes = codec::encode(&deep);
    assert!(codec::decode::<Plan<SafeId>>(&bytes, 1 << 16).is_ok());
    assert_eq!(Plan::seal(deep, vec![at(9)]), Err(PlanError::TooDeep));
    let deeper = [&[0x83, 1][..], &bytes, &codec::encode(&at(9))].concat();
    assert_eq!(codec::decode::<Plan<SafeId>>(&deeper, 1 << 16), Err(CodecError::Malformed));
    // Text is for people; spread(2 of 3) reads like its definition.
    let name = |safe: &SafeId| ["A", "B", "C"][usize::from(safe.0[0])].to_owned();
    let text = Plan::spread(2, &ids).unwrap().to_text(&name);
    assert_eq!(text, "seal(disperse(2, at(A), at(B), at(C)), split(2, at(A), at(B), at(C)))");
    let text = Plan::guarded(2, &ids[..2]).unwrap().to_text(&name);
    assert_eq!(
        text,
        "seal(disperse(2, at(A, owner), at(B, owner)), derive(book, split(2, at(A, owner), at(B, owner))))"
    );
    let refused = |plan: &Plan<SafeId>| Layout::new(BackupId([0; 16]), plan, 5, LIMITS.body).err();
    // What a safe gives to its owner only is another body than what it gives to whoever has the certificate.
    let guarded = Layout::new(BackupId([0; 16]), &Plan::guarded(2, &ids[..2]).unwrap(), 5, LIMITS.body).unwrap();
    let slots: Vec<_> = guarded.slots().iter().map(|slot| (slot.safe, slot.owner)).collect();
    assert_eq!(slots, [(ids[0], true), (ids[1], true)]);
    let of_owner = Plan::place(Place::Safe { safe: ids[0], owner: true });
    let mixed = Layout::new(BackupId([0; 16]), &seal(Plan::at(ids[0]), of_owner), 5, LIMITS.body).unwrap();
    assert_eq!(mixed.slots().iter().map(|slot| slot.owner).collect::<Vec<_>>(), [false, true]);
    assert_eq!(refused(&seal(Plan::place(Place::Book), Plan::place(Place::File))), Some(PlanError::NoSafe));
    let small = Layout::new(BackupId([0; 16]), &seal(at(1), at(1)), 5, 900);
    assert_eq!(small.err(), Some(PlanError::LimitTooSmall(900)));
    // What stays with the owner is bounded.
    let kept = |place, bundle| Layout::new(BackupId([0; 16]), &seal(Plan::place(place), at(1)), bundle, LIMITS.body);
    assert!(kept(Place::Book, 60_000).is_ok() && kept(Place::File, 30 << 20).is_ok());
    assert!(matches!(kept(Place::Book, 66_000), Err(PlanError::BookFull { got: 66_000.., most: MAX_BOOK })));
    assert!(matches!(kept(Place::File, 33 << 20), Err(PlanError::FileFull { most: MAX_PIECES, .. })));
}

// ---- execution -----------------------------------------------------------------------------------------------------

fn op_seed() -> Secret {
    secret(0x0b5eed)
}

/// Plans over a few safes that have one body of a segment each: nothing is given to its owner only.
fn any_executable(safes: u8) -> impl Strategy<Value = Plan<SafeId>> {
    any_plan((0..safes).prop_map(|i| SafeId([i; 32])), Just(false))
}

/// A set of principals, as the law's own words read it.
#[derive(Clone, Copy)]
struct Held<'a> {
    set: Set,
    analysis: &'a Analysis<SafeId>,
    setting: &'a Setting<SafeId>,
}

impl Held<'_> {
    fn has(&self, principal: &Principal<SafeId>) -> bool {
        self.analysis.members(self.set).any(|member| member == principal)
    }

    fn has_safe(&self, safe: &SafeId) -> bool {
        self.has(&Principal::Safe(*safe))
    }

    /// Whether enough safes say that this is the owner: those that are there, or all that keep to the rules.
    fn is_owner(&self, answering: bool) -> bool {
        let enrolled = self.setting.enrolment.as_ref().is_some_and(|enrolment| {
            !answering || enrolment.safes.iter().filter(|safe| self.has_safe(safe)).count() >= enrolment.t
        });
        self.has(&Principal::Device) || (enrolled && self.has(&Principal::Passphrase))
    }

    fn has_book(&self, answering: bool) -> bool {
        self.is_owner(answering) || (self.has(&Principal::Kit) && self.has(&Principal::Passphrase))
    }

    /// What the owner can get if only the safes of the set answer.
    fn recovers(&self, place: &Place<SafeId>) -> bool {
        match place {
            Place::Safe { safe, owner } => {
                self.has_book(true) && self.has_safe(safe) && (!owner || self.is_owner(true))
            }
            Place::Book => self.has_book(true),
            Place::File => self.has(&Principal::File),
            Place::Memory => self.has(&Principal::Memory),
        }
    }

    /// The safe or one that had the same pieces.
    fn had(&self, safe: &SafeId) -> bool {
        let former = |(former, present): &(SafeId, SafeId)| present == safe && self.has(&Principal::Former(*former));
        self.has_safe(safe) || self.setting.former.iter().any(former)
    }

    /// What others get who have the set: all other safes give to whoever presents a certificate, and to the owner.
    fn gets(&self, place: &Place<SafeId>) -> bool {
        match place {
            Place::Safe { safe, owner } => self.has_book(false) && (!owner || self.is_owner(false) || self.had(safe)),
            Place::Book => self.has_book(false),
            other => self.recovers(other),
        }
    }

    /// Whether guesses of the passphrase can be tried with nobody's help.
    fn tries(&self) -> bool {
        let enrolled = |enrolment: &Enrolment<SafeId>| {
            enrolment.safes.iter().filter(|safe| self.has_safe(safe)).count() >= enrolment.t
        };
        self.has(&Principal::Kit) || self.setting.enrolment.as_ref().is_some_and(enrolled)
    }

    /// The same set, after it has guessed.
    fn having_guessed(&self) -> Self {
        Self { set: self.set | self.analysis.set(|p| *p == Principal::Passphrase), ..*self }
    }

    /// What safes have between them that know the secrets of their envelopes and the book.
    fn pools(&self, place: &Place<SafeId>) -> bool {
        match place {
            Place::Safe { safe, .. } => self.had(safe),
            Place::Book => true,
            Place::File | Place::Memory => false,
        }
    }
}

/// What follows from pieces by the rules of Dolev and Yao, over the very steps that made them. Of what is erasure coded, a part counts as all.
fn reads(program: &Program, held: &dyn Fn(&[u8]) -> bool) -> bool {
    let mut known = vec![false; program.registers];
    loop {
        let before = known.clone();
        for step in &program.steps {
            match step {
                Step::Emit { at, input, parents } => {
                    if held(&at.path) {
                        known[*input] = true;
                        parents.iter().for_each(|parent| known[*parent] = true);
                    }
                }
                Step::Words { at, out, .. } => known[*out] |= held(&at.path),
                Step::Derive { parts, out, .. } | Step::Commit { parts, out, .. } => {
                    known[*out] |= parts.iter().all(|part| known[*part]);
                }
                Step::Seal { key, input, out, .. } => {
                    known[*input] |= known[*key] && known[*out];
                    known[*out] |= known[*key] && known[*input];
                }
                Step::Join { first, second, out } => {
                    known[*out] |= known[*first] && known[*second];
                    known[*first] |= known[*out];
                    known[*second] |= known[*out];
                }
                Step::Share { k, input, fixed, outs, .. } => {
                    let all: Vec<Reg> = fixed.iter().chain(outs).map(|(_, share)| *share).collect();
                    if all.iter().filter(|share| known[**share]).count() >= usize::from(*k) {
                        known[*input] = true;
                        all.iter().for_each(|share| known[*share] = true);
                    }
                }
                Step::Encode { input, outs, .. } => {
                    known[*input] |= outs.iter().any(|shard| known[*shard]);
                    if known[*input] {
                        outs.iter().for_each(|shard| known[*shard] = true);
                    }
                }
                Step::Draw { .. } => {}
                other => unreachable!("{other:?} lays nothing out"),
            }
        }
        if known == before {
            return known[program.segment];
        }
    }
}

/// For every set of principals: analysis and execution agree on what the owner gets back, analysis and closure on what is read.
fn law(plan: &Plan<SafeId>, setting: &Setting<SafeId>, len: u64) {
    let analysis = analyse(plan, setting).unwrap();
    let layout = Layout::restore(BackupId([7; 16]), plan, len, SEGMENT_UNIT).unwrap();
    let bundle = random_bytes(len as usize, 1);
    let words = secret(4);
    let laid: Vec<Piece> = (0..layout.segments())
        .flat_map(|segment| {
            let pieces = lay(&layout, &op_seed(), Some(&words), &bundle, segment).unwrap();
            let due = layout.sketches(segment).into_iter().map(|s| (s.path, s.length as usize, s.depth));
            assert!(due.eq(pieces.iter().map(|p| (p.path.clone(), p.bytes.len(), p.parents.len()))));
            pieces
        })
        .collect();
    let program = layout.laying(0);
    let places = plan.places();
    // Many sets hold the same places, and only these matter to programs.
    let (mut gathered, mut read) = (BTreeMap::new(), BTreeMap::new());
    for set in 0..1 << analysis.principals.len() {
        let holder = Held { set, analysis: &analysis, setting };
        let mask = |test: &dyn Fn(&Place<SafeId>) -> bool| -> Vec<bool> {
            places.iter().map(|(_, place)| test(place)).collect()
        };
        let at = |mask: &[bool], path: &[u8]| places.iter().zip(mask).any(|((p, _), held)| *held && p == path);
        let mut reads =
            |mask: Vec<bool>| *read.entry(mask.clone()).or_insert_with(|| reads(&program, &|path| at(&mask, path)));
        let who = || (analysis.members(set).collect::<Vec<_>>(), plan.to_string());

        let recovers = mask(&|place| holder.recovers(place));
        let back = *gathered.entry(recovers.clone()).or_insert_with(|| {
            let held: Vec<Piece> = laid.iter().filter(|piece| at(&recovers, &piece.path)).cloned().collect();
            let remembered = places.iter().zip(&recovers).any(|((_, place), held)| **place == Place::Memory && *held);
            match gather(&layout, remembered.then_some(&words), &held, &[]) {
                Ok(back) => {
                    assert!(back == bundle, "{:?}", who());
                    true
                }
                Err(GatherError::TooFew) => false,
                Err(other) => panic!("{other}: {:?}", who()),
            }
        });
        assert_eq!(analysis.recovering.contains(set), back, "recovery: {:?}", who());
        let gets = mask(&|place| holder.gets(place));
        assert_eq!(analysis.disclosing.contains(set), reads(gets), "disclosure: {:?}", who());
        let guessed = holder.having_guessed();
        let guesses = holder.tries() && reads(mask(&|place| guessed.gets(place)));
        assert_eq!(analysis.guessing.contains(set), guesses, "guessing: {:?}", who());
        let pools = mask(&|place| holder.pools(place));
        assert_eq!(analysis.coalitions.contains(set), reads(pools), "coalition: {:?}", who());
    }
}

fn any_setting(safes: u8) -> impl Strategy<Value = Setting<SafeId>> {
    let id = |i: u8| SafeId([i; 32]);
    let enrolment = (1..=usize::from(safes)).prop_map(move |t| Enrolment { safes: (0..safes).map(id).collect(), t });
    let former = prop_oneof![Just(Vec::new()), (0..safes).prop_map(move |present| vec![(id(99), id(present))])];
    (prop::option::of(enrolment), former).prop_map(|(enrolment, former)| Setting { enrolment, former })
}

#[test]
fn a_passphrase_is_guessed_at_leisure_by_a_threshold_of_safes_or_with_the_kit() {
    let safes = ids_of(5);
    let plan = Plan::guarded(3, &safes).unwrap();
    let setting = Setting { enrolment: Some(Enrolment { safes: safes.clone(), t: 3 }), former: Vec::new() };
    let analysis = analyse(&plan, &setting).unwrap();
    let kit = analysis.set(|p| *p == Principal::Kit);
    let sets = analysis.guessing_passphrase(usize::MAX);
    // The kit has the book, but the key is given to the owner only, whom three safes know by then.
    assert_eq!(sets.len(), 1 + 10);
    assert!(sets.iter().all(|set| *set == kit || (set & analysis.safes() == *set && set.count_ones() == 3)));
    // Two can do nothing, and the passphrase itself opens everything, within what the safes allow.
    assert!(!analysis.guessing.contains(analysis.set(|p| safes[..2].iter().any(|s| *p == Principal::Safe(*s)))));
    assert!(analysis.disclosing.contains(analysis.set(|p| *p == Principal::Passphrase)));
    // Without an enrolment only the kit can be tried on.
    let alone = analyse(&Plan::spread(3, &safes).unwrap(), &Setting::default()).unwrap();
    assert_eq!(alone.guessing_passphrase(9), [alone.set(|p| *p == Principal::Kit)]);
    // Words are guessed by whoever has the rest.
    let words = analyse(
        &Plan::seal(Plan::at(safes[0]), vec![Plan::place(Place::Memory)]).unwrap(),
        &Setting { enrolment: None, former: Vec::new() },
    );
    let words = words.unwrap();
    let with = |wanted: &[Principal<SafeId>]| words.set(|p| wanted.contains(p));
    assert_eq!(words.guessing_words(9), [with(&[Principal::Device]), with(&[Principal::Kit, Principal::Passphrase])]);
    assert!(words.guessing_passphrase(9).iter().all(|set| *set == with(&[Principal::Kit, Principal::Memory])));
}

proptest! {
    #![proptest_config(cases(10_000))]

    #[test]
    fn analysis_execution_and_closure_agree_on_every_set(
        plan in any_plan((0..3_u8).prop_map(|i| SafeId([i; 32])), any::<bool>()),
        setting in any_setting(3),
        len in prop_oneof![1..300_u64, 4000..5000_u64],
    ) {
        law(&plan, &setting, len);
    }
}

/// Whether a plan's content follows from what is said of its places; of what is erasure coded, a part may do.
fn follows(plan: &Plan<SafeId>, part: bool, place: &dyn Fn(&Place<SafeId>) -> bool) -> bool {
    let count = || plan.children().into_iter().filter(|child| follows(child, part, place)).count();
    match plan.node() {
        Node::Place(at) => place(at),
        Node::Seal { .. } => count() == plan.children().len(),
        Node::Split(group) => count() >= group.k(),
        Node::Disperse(group) => count() >= if part { 1 } else { group.k() },
        _ => count() > 0,
    }
}

/// Plans over so many safes that their tables are computed in many blocks.
fn any_wide_plan() -> impl Strategy<Value = Plan<SafeId>> {
    const SAFES: u8 = 14;
    let id = |i: u8| SafeId([i; 32]);
    let places = move |owner: bool, from: u8| {
        (from..SAFES).map(|i| Plan::place(Place::Safe { safe: id(i), owner })).collect::<Vec<_>>()
    };
    let group = (any::<bool>(), 0..10_u8, any::<prop::sample::Index>(), any::<bool>()).prop_map(
        move |(owner, from, k, split)| {
            let children = places(owner, from);
            let k = 2 + k.index(children.len() - 1);
            if split { Plan::split(k, children) } else { Plan::disperse(k, children) }.unwrap()
        },
    );
    let key = prop_oneof![3 => group.clone(), 1 => any_plan((0..SAFES).prop_map(id), any::<bool>())];
    (group, prop::collection::vec(key, 1..4)).prop_filter_map("too many places", |(c, k)| Plan::seal(c, k).ok())
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn and_over_many_safes_analysis_is_what_its_words_say(
        plan in any_wide_plan(),
        setting in any_setting(14),
        sets in prop::collection::vec(any::<Set>(), 2000),
    ) {
        let analysis = analyse(&plan, &setting).unwrap();
        let all = analysis.set(|_| true);
        // Those at random, and those where a safe more or less decides.
        let near = |family: &Family| {
            let minimal = family.minimal(200).into_iter();
            minimal.flat_map(|set| [set, set & set.saturating_sub(1), set | 1 << 13]).collect::<Vec<_>>()
        };
        let decisive = [&analysis.recovering, &analysis.disclosing, &analysis.guessing, &analysis.coalitions].map(near);
        for set in sets.into_iter().map(|set| set & all).chain(decisive.concat()) {
            let holder = Held { set, analysis: &analysis, setting: &setting };
            let guessed = holder.having_guessed();
            let recovers = follows(&plan, false, &|place| holder.recovers(place));
            let gets = follows(&plan, true, &|place| holder.gets(place));
            let guesses = holder.tries() && follows(&plan, true, &|place| guessed.gets(place));
            let pools = follows(&plan, true, &|place| holder.pools(place));
            prop_assert_eq!(analysis.recovering.contains(set), recovers, "recovery");
            prop_assert_eq!(analysis.disclosing.contains(set), gets, "disclosure");
            prop_assert_eq!(analysis.guessing.contains(set), guesses, "guessing");
            prop_assert_eq!(analysis.coalitions.contains(set), pools, "coalition");
        }
    }
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn and_with_more_safes(plan in any_executable(6), len in prop_oneof![1..300_u64, Just(9000)]) {
        law(&plan, &Setting::default(), len);
    }

    #[test]
    fn and_over_several_segments(plan in any_executable(3), len in SEGMENT_UNIT + 1..140_000) {
        law(&plan, &Setting::default(), len);
    }

    #[test]
    fn families_are_what_their_tables_say(
        plan in any_plan((0..5_u8).prop_map(|i| SafeId([i; 32])), any::<bool>()),
        setting in any_setting(3),
    ) {
        let analysis = analyse(&plan, &setting).unwrap();
        let n = analysis.principals.len();
        let own = analysis.set(|p| !matches!(p, Principal::Safe(_) | Principal::Former(_)));
        for family in [&analysis.recovering, &analysis.disclosing, &analysis.guessing, &analysis.coalitions] {
            let smaller = |set: Set| (0..n).map(|i| 1 << i).filter(move |bit| set & bit != 0).map(move |bit| set & !bit);
            let all = || 0..1 << n;
            let minimal: Vec<Set> =
                all().filter(|set| family.contains(*set) && !smaller(*set).any(|s| family.contains(s))).collect();
            prop_assert!(all().all(|set| family.contains(set) || !smaller(set).any(|s| family.contains(s))), "monotone");
            let mut found = family.minimal(usize::MAX);
            prop_assert_eq!(family.least(), found.first().map(|set| set.count_ones() as usize));
            found.sort_unstable();
            prop_assert_eq!(&found, &minimal);
            prop_assert_eq!(family.count_minimal(), minimal.len() as u64);
            // Every way to fill a pattern is a minimal set, and there are no others.
            let binomial = |n: u64, k: u64| (0..k).fold(1, |product, i| product * (n - i) / (i + 1));
            let patterns = family.patterns();
            for pattern in &patterns {
                let ways: u64 = pattern.parts.iter().map(|(of, count)| binomial(of.len() as u64, *count as u64)).product();
                prop_assert_eq!(ways, pattern.sets);
                let lowest: Set = pattern.parts.iter().flat_map(|(of, count)| &of[..*count]).map(|v| 1 << v).sum();
                prop_assert!(minimal.contains(&lowest));
            }
            prop_assert_eq!(patterns.iter().map(|pattern| pattern.sets).sum::<u64>(), minimal.len() as u64);
            // With some principals given.
            let rest = family.given(own, 0);
            prop_assert!(all().all(|set| rest.contains(set) == family.contains(set | own)));
            let without = family.given(0, own);
            prop_assert!(all().all(|set| without.contains(set) == family.contains(set & !own)));
            let chance = |i: usize| [0.5, 0.9, 0.25, 0.75][i % 4];
            let of = |set: Set| (0..n).map(|i| if set >> i & 1 == 1 { chance(i) } else { 1.0 - chance(i) }).product::<f64>();
            let sum: f64 = all().filter(|set| family.contains(*set)).map(of).sum();
            prop_assert!((family.probability(&chance) - sum).abs() < 1e-9);
        }
        let safes = analysis.safes();
        let survives = |f: u32| (0..1 << n).filter(|lost: &Set| lost & !safes == 0 && lost.count_ones() == f)
            .all(|lost| analysis.together(lost).survives);
        let losses = (0..=safes.count_ones()).take_while(|f| survives(*f)).last();
        prop_assert_eq!(analysis.losses(true), losses.map(|f| f as usize));
    }
}

/// What is held of a backup: (segment, place).
type Hold<'a> = &'a dyn Fn(u32, &[u8]) -> bool;

/// Whether a segment of a node can be had from pieces that are held, each for itself. Keys, and the shares of those of long splits, stand in the
/// first segment only. `long`: it is content and not a key, and so is longer than what is shared as it is.
fn can(plan: &Plan<SafeId>, path: &[u8], segment: u32, long: bool, held: Hold<'_>) -> bool {
    let child = |number: usize, child: &Plan<SafeId>, segment, long| {
        can(child, &[path, &[number as u8]].concat(), segment, long, held)
    };
    let children = plan.children();
    let count = |segment, chosen: bool| {
        let counted = children.iter().enumerate().filter(|(_, plan)| chosen || !plan.is_chosen());
        counted.filter(|(number, plan)| child(*number, plan, segment, long)).count()
    };
    match plan.node() {
        Node::Place(Place::Memory) => true,
        Node::Place(_) => held(segment, path),
        Node::Copies(_) => count(segment, true) > 0,
        Node::Disperse(group) => count(segment, true) >= group.k(),
        Node::Split(group) if segment == 0 || !long => count(segment, true) >= group.k(),
        Node::Split(group) => {
            let words = group.children().iter().filter(|child| child.is_chosen()).count();
            count(segment, false) >= group.k() - words && count(0, true) >= group.k()
        }
        Node::Seal { content, key } => {
            let keys = (1..).zip(key).all(|(number, part)| child(number, part, 0, false));
            child(0, content, segment, long) && child(0, content, 0, long) && keys
        }
        _ => unreachable!(),
    }
}

proptest! {
    #![proptest_config(cases(1000))]

    /// A safe may have lost one segment and not another, so keys may have to come by other ways than content.
    #[test]
    fn every_segment_comes_back_from_whatever_pieces_suffice(
        plan in any_executable(4),
        len in SEGMENT_UNIT + 1..140_000,
        lost in prop::collection::vec(prop::bool::weighted(0.3), 80),
    ) {
        let layout = Layout::restore(BackupId([7; 16]), &plan, len, SEGMENT_UNIT).unwrap();
        let (bundle, words) = (random_bytes(len as usize, 1), secret(4));
        let laid = (0..layout.segments()).flat_map(|s| lay(&layout, &op_seed(), Some(&words), &bundle, s).unwrap());
        // What one place has of one segment is there or gone together.
        let places = plan.places();
        let hold = |segment: u32, path: &[u8]| {
            let (_, place) = places.iter().find(|(known, _)| known == path).unwrap();
            let number = places.iter().position(|(_, first)| first == place).unwrap();
            !lost[(segment as usize * places.len() + number) % lost.len()]
        };
        let held: Vec<Piece> = laid.filter(|piece| hold(piece.segment, &piece.path)).collect();
        for segment in 0..layout.segments() {
            let (from, to) = layout.range(segment).unwrap();
            let back = layout.gather(Some(&words), &[], segment, held.clone()).map(|(bytes, _)| bytes.to_vec());
            if can(&plan, &[], segment, true, &hold) {
                prop_assert_eq!(back.map(|back| back == bundle[from as usize..to as usize]), Ok(true), "{}, segment {}", plan, segment);
            } else {
                prop_assert_eq!(back.err(), Some(GatherError::TooFew), "{}, segment {}", plan, segment);
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(2000))]

    /// Held against all sets of places that are enough.
    #[test]
    fn what_is_chosen_is_the_cheapest_that_suffices(
        plan in any_executable(4),
        segment in 0..2_u32,
        prices in prop::collection::vec(0..5_u64, 16),
        gone in prop::collection::vec(prop::bool::weighted(0.1), 16),
    ) {
        let layout = Layout::restore(BackupId([7; 16]), &plan, SEGMENT_UNIT * 2, SEGMENT_UNIT).unwrap();
        let mut places: Vec<(u32, Place<SafeId>)> = Vec::new();
        for piece in plan.places().into_iter().flat_map(|(_, place)| [(0, place.clone()), (segment, place.clone())]) {
            // Words serve every segment.
            if !places.contains(&piece) && (piece.0 == 0 || piece.1 != Place::Memory) {
                places.push(piece);
            }
        }
        let at = |segment: u32, place: &Place<SafeId>| {
            places.iter().position(|(s, p)| *s == segment && p == place).unwrap()
        };
        let all = |number: usize| (!gone[number]).then(|| prices[number]);
        let cheapest = (0..1_usize << places.len())
            .filter(|set| (0..places.len()).all(|number| set >> number & 1 == 0 || !gone[number]))
            .filter(|set| layout.choose(segment, &[], &|s, p| (set >> at(s, p) & 1 == 1).then_some(0)).is_some())
            .map(|set| (0..places.len()).filter(|number| set >> number & 1 == 1).map(|number| prices[number]).sum::<u64>())
            .min();
        let choice = layout.choose(segment, &[], &|s, p| all(at(s, p)));
        let found = choice.map(|choice| choice.uses.iter().map(|(s, p)| prices[at(*s, p)]).sum::<u64>());
        prop_assert_eq!(found, cheapest, "{}, segment {}", plan, segment);
    }
}

#[test]
fn a_safe_that_serves_two_groups_is_asked_alone() {
    let at = |i: u8| Plan::at(SafeId([i; 32]));
    let plan = Plan::seal(Plan::copies(vec![at(1), at(2)]).unwrap(), vec![at(2)]).unwrap();
    let layout = Layout::restore(BackupId([7; 16]), &plan, 100, SEGMENT_UNIT).unwrap();
    let choice = layout.choose(0, &[], &|_, _| Some(1)).unwrap();
    assert_eq!(choice.uses, [(0, Place::Safe { safe: SafeId([2; 32]), owner: false })]);
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn a_file_gives_its_pieces_back_and_notices_every_altered_bit(plan in any_executable(3), at: prop::sample::Index, bit in 0..8_u8) {
        let layout = Layout::restore(BackupId([7; 16]), &plan, 100, SEGMENT_UNIT).unwrap();
        let laid = lay(&layout, &op_seed(), Some(&secret(4)), &random_bytes(100, 1), 0).unwrap();
        let pieces: Vec<_> = layout.pieces_at(&Place::File, &laid).into_iter().cloned().map(Into::into).collect();
        prop_assume!(!pieces.is_empty());
        let file = piece_file::write(&layout, pieces.clone()).unwrap();
        prop_assert!(piece_file::read(&layout, &file).as_ref() == Ok(&pieces));
        let mut altered = file.clone();
        altered[at.index(file.len())] ^= 1_u8 << bit;
        prop_assert!(piece_file::read(&layout, &altered).is_err());
        let other = Layout::restore(BackupId([8; 16]), &plan, 100, SEGMENT_UNIT).unwrap();
        prop_assert_eq!(piece_file::read(&other, &file).err(), Some(PieceFileError::Stray));
        prop_assert_eq!(piece_file::write(&layout, pieces[1..].to_vec()).err(), Some(PieceFileError::Stray));
    }
}

#[test]
fn wrong_words_are_told_from_damage() {
    let at = |i: u8| Plan::at(SafeId([i; 32]));
    let memory = || Plan::place(Place::Memory);
    for plan in [
        Plan::seal(at(1), vec![memory(), at(2)]).unwrap(),
        Plan::split(2, vec![memory(), at(1), at(2)]).unwrap(),
        Plan::seal(at(1), vec![Plan::split(2, vec![memory(), at(2)]).unwrap()]).unwrap(),
    ] {
        for len in [50_u64, 5000] {
            let layout = Layout::restore(BackupId([7; 16]), &plan, len, SEGMENT_UNIT).unwrap();
            let bundle = random_bytes(len as usize, 2);
            let laid = lay(&layout, &op_seed(), Some(&secret(4)), &bundle, 0).unwrap();
            assert_eq!(lay(&layout, &op_seed(), None, &bundle, 0).err(), Some(GatherError::WordsMissing), "{plan}");
            // So few that the words are needed.
            let shares = matches!(plan.node(), Node::Split(_));
            let few: Vec<Piece> = laid.into_iter().filter(|piece| !shares || piece.path != [2]).collect();
            let from = |words: Option<u64>| gather(&layout, words.map(secret).as_ref(), &few, &[]);
            assert!(from(Some(4)).as_ref() == Ok(&bundle), "{plan}");
            assert_eq!(from(Some(5)).err(), Some(GatherError::Words), "{plan}");
            assert_eq!(from(None).err(), Some(GatherError::TooFew), "{plan}");
        }
    }
}

// ---- bodies --------------------------------------------------------------------------------------------------------

/// A backup that was made, as its wallet knows it.
struct Made {
    layout: Layout,
    deposits: Vec<(Slot, DepositId, Secret)>,
    bodies: Vec<Vec<u8>>,
}

fn ids_of(n: usize) -> Vec<SafeId> {
    (0..n).map(|i| SafeId([i as u8 + 1; 32])).collect()
}

impl Made {
    fn new(plan: &Plan<SafeId>, bundle: &[u8], limit: u64) -> Self {
        let layout = Layout::new(BackupId([6; 16]), plan, bundle.len() as u64, limit).unwrap();
        let deposits: Vec<_> = layout
            .slots()
            .into_iter()
            .enumerate()
            .map(|(i, slot)| (slot, DepositId((i as u128).to_be_bytes()), secret(1000 + i as u64)))
            .collect();
        let mut made = Self { layout, deposits, bodies: Vec::new() };
        for segment in 0..made.layout.segments() {
            let bodies = made.bodies_of(segment, &op_seed(), bundle);
            let due = made.layout.bodies(segment).into_iter().map(|(_, length)| length);
            assert!(due.eq(bodies.iter().map(|body| body.len() as u64)));
            assert!(bodies.iter().all(|body| body.len() as u64 <= limit));
            made.bodies.extend(bodies);
        }
        assert_eq!(made.bodies.len(), made.deposits.len());
        assert_eq!(made.layout.slot_count(), made.deposits.len() as u64);
        made
    }

    fn bodies_of(&self, segment: u32, seed: &Secret, bundle: &[u8]) -> Vec<Vec<u8>> {
        make_bodies(&self.layout, seed, &lay(&self.layout, seed, None, bundle, segment).unwrap(), &self.drafts(segment))
    }

    fn drafts(&self, segment: u32) -> Vec<Draft<'_>> {
        let of_segment = self.deposits.iter().filter(|(slot, ..)| slot.segment == segment);
        of_segment.map(|(slot, deposit, d)| Draft { slot: *slot, deposit: *deposit, d }).collect()
    }

    /// What the wallet opens of what some safes send.
    fn envelopes(&self, safes: &[SafeId]) -> Vec<(Slot, Envelope)> {
        let all = self.deposits.iter().zip(&self.bodies).filter(|((slot, ..), _)| safes.contains(&slot.safe));
        all.map(|((slot, deposit, d), body)| (*slot, Envelope::open(d, deposit, body).unwrap())).collect()
    }

    fn recover(&self, envelopes: &[(Slot, Envelope)]) -> Result<Vec<u8>, GatherError> {
        gather(&self.layout, None, &[], envelopes)
    }

    /// The envelope of a slot with one byte of a piece altered, under its right key: what a careless wallet might make.
    fn altered(&self, number: usize, path: &[u8], at: usize) -> Envelope {
        let ((_, deposit, d), body) = (&self.deposits[number], &self.bodies[number]);
        let envelope = Envelope::open(d, deposit, body).unwrap();
        let mut plain = Envelope::sealer(d, deposit, body).unwrap().open(body).unwrap();
        let head = 4 + u32::from_be_bytes(*plain.first_chunk().unwrap()) as usize;
        let before = envelope.head.pieces.iter().take_while(|p| *p.path != *path);
        let start = head + before.map(|p| p.length as usize).sum::<usize>();
        plain[start + at] ^= 1;
        Envelope::of_plain(plain).unwrap()
    }
}

/// A few segments at most.
fn any_spread() -> impl Strategy<Value = (usize, usize, usize, u64)> {
    let k_of_n = (2usize..=6).prop_flat_map(|n| (2..=n, Just(n)));
    let limit = (1u64..=3).prop_map(|stripes| stripes * 100_000);
    (k_of_n, prop_oneof![1..400usize, 1..400_000usize], limit).prop_map(|((k, n), size, limit)| (k, n, size, limit))
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn any_k_safes_recover_and_fewer_do_not((k, n, size, limit) in any_spread(), mut order in any::<u64>()) {
        let bundle = random_bytes(size, 1);
        let safes = ids_of(n);
        let made = Made::new(&Plan::spread(k, &safes).unwrap(), &bundle, limit);
        let mut chosen = safes;
        for i in (1..n).rev() {
            chosen.swap(i, (order % (i as u64 + 1)) as usize);
            order /= i as u64 + 1;
        }
        let envelopes = made.envelopes(&chosen[..k]);
        for (slot, envelope) in &envelopes {
            prop_assert!(made.layout.unpack(*slot, envelope).is_ok());
            let elsewhere = Slot { segment: slot.segment + 1, ..*slot };
            prop_assert_eq!(made.layout.unpack(elsewhere, envelope).err(), Some(GatherError::Stray));
        }
        prop_assert!(made.recover(&envelopes).as_ref() == Ok(&bundle));
        prop_assert_eq!(made.recover(&made.envelopes(&chosen[1..k])), Err(GatherError::TooFew));
    }

    #[test]
    fn an_altered_piece_is_never_taken_for_the_content((k, n, size, limit) in any_spread(), which: usize, at: usize) {
        let bundle = random_bytes(size, 2);
        let safes = ids_of(n);
        let made = Made::new(&Plan::spread(k, &safes).unwrap(), &bundle, limit);
        let which = which % n;
        let number = made.deposits.iter().position(|(slot, ..)| slot.safe == safes[which]).unwrap();
        // The altered one and k − 1 others, so that it must be used.
        let chosen: Vec<SafeId> = (0..k).map(|i| safes[(which + i) % n]).collect();
        let honest = made.envelopes(&chosen);
        let place = honest.iter().position(|(slot, _)| *slot == made.deposits[number].0).unwrap();
        let with = |path: &[u8], at| {
            let mut envelopes = made.envelopes(&chosen);
            envelopes[place].1 = made.altered(number, path, at);
            made.recover(&envelopes)
        };
        let shard = honest[place].1.piece(&[0, which as u8]).unwrap().1.len();
        // Zeros that fill up the last stripe are no content: nothing is lost if a copied shard has others there.
        let altered = with(&[0, which as u8], at % shard);
        prop_assert!(altered == Err(GatherError::Inconsistent) || altered.as_ref() == Ok(&bundle));
        if which == 0 {
            prop_assert_eq!(with(&[0, 0], 0), Err(GatherError::Inconsistent));
        }
        for at in [0, 1 + at % 64] {
            prop_assert!(with(&[1, which as u8], at).is_err());
        }
    }

    #[test]
    fn bodies_are_a_pure_function_of_seed_bundle_and_names((k, n, size, limit) in any_spread()) {
        let bundle = random_bytes(size, 3);
        let made = Made::new(&Plan::spread(k, &ids_of(n)).unwrap(), &bundle, limit);
        let last = made.layout.segments() - 1;
        let again = made.bodies_of(last, &op_seed(), &bundle);
        let tail = &made.bodies[made.bodies.len() - again.len()..];
        prop_assert!(again == tail);
        // Nothing is alike under another seed, and no two bodies share a beginning.
        let other = made.bodies_of(last, &secret(1), &bundle);
        prop_assert!(other.iter().zip(tail).all(|(a, b)| a.len() == b.len() && a[..64] != b[..64]));
        prop_assert!((1..tail.len()).all(|i| tail[i][..64] != tail[0][..64]));
    }
}

#[test]
fn what_holds_secrets_shows_none_of_them() {
    let plan = Plan::copies(vec![Plan::at(SafeId([1; 32])), Plan::place(Place::Book)]).unwrap();
    let bundle = [171; 40];
    let made = Made::new(&plan, &bundle, LIMITS.body);
    let pieces = lay(&made.layout, &op_seed(), None, &bundle, 0).unwrap();
    let kept = KeptPiece::from(pieces[1].clone());
    assert_eq!(*kept.bytes.0, bundle);
    let envelopes = made.envelopes(&ids_of(1));
    for shown in [format!("{pieces:?}"), format!("{kept:?}"), format!("{envelopes:?}"), format!("{:?}", op_seed())] {
        assert!(!shown.contains("171, 171") && !shown.to_lowercase().contains("abab"), "{shown}");
    }
}

#[test]
fn strangers_pieces_and_wrong_lengths_are_refused() {
    let bundle = random_bytes(1000, 5);
    let made = Made::new(&Plan::spread(2, &ids_of(3)).unwrap(), &bundle, LIMITS.body);
    let envelopes = made.envelopes(&ids_of(2));
    assert_eq!(made.recover(&envelopes).as_ref(), Ok(&bundle));
    // Envelopes of another backup are strays, whatever else fits.
    let other = Layout::new(BackupId([7; 16]), &Plan::spread(2, &ids_of(3)).unwrap(), 1000, LIMITS.body).unwrap();
    assert_eq!(other.unpack(envelopes[0].0, &envelopes[0].1).err(), Some(GatherError::Stray));
    assert!(lay(&made.layout, &op_seed(), None, &bundle[1..], 0).is_err());
    assert!(lay(&made.layout, &op_seed(), None, &bundle, 1).is_err());
    let d = secret(1);
    let stranger =
        Draft { slot: Slot { segment: 0, safe: SafeId([99; 32]), owner: false }, deposit: DepositId([1; 16]), d: &d };
    let pieces = lay(&made.layout, &op_seed(), None, &bundle, 0).unwrap();
    assert!(made.layout.envelope(&op_seed(), &stranger, &pieces).is_err());
}
