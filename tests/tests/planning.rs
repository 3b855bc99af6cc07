//! What a person reads of a plan, in the wallet that it is for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use protocol::{
    identity::Whereabouts,
    ids::{SafeId, ValueId},
};
use tests::world::{Safes, Wallet};
use wallet_wasm::{
    machine::Event,
    planning::{Case, Outlook, Way, operator_of, weigh},
    store::MemoryStore,
};

/// A wallet with five safes, “Safe 0” to “Safe 4”, and one value. Of the safes that `said` is about, this is what they say.
fn with_wallet_where(
    said: &[(usize, Whereabouts)],
    look: impl Fn(&dyn Fn(&str, &[usize], &[usize], &[(usize, f64)]) -> Outlook),
) {
    let (safes, store) = (Safes::new(5), MemoryStore::default());
    let mut wallet = Wallet::create(&store, 1);
    let ids = wallet.trust(&safes);
    for (number, said) in said {
        let seen = wallet.state.safes.get(&ids[*number]).unwrap().clone();
        let seen = protocol::book::KnownSafe { whereabouts: Some(said.clone()), ..seen };
        wallet.handle(Event::SafeSeen(seen)).unwrap();
    }
    let value: ValueId = wallet.add("Seed phrase", &[7; 1000]);
    let of = |numbers: &[usize]| -> Vec<SafeId> { numbers.iter().map(|i| ids[*i]).collect() };
    let at = |text: &str| {
        let named = |text: String, (i, letter): (usize, char)| {
            text.replace(&format!("at({letter}"), &format!("at(\"Safe {i}\""))
        };
        "ABCDE".chars().enumerate().fold(text.to_owned(), named)
    };
    look(&|text, gone, curious, often| {
        let availability = often.iter().map(|(number, often)| (ids[*number], *often)).collect();
        let case = Case { gone: of(gone), curious: of(curious), availability };
        weigh(&wallet.state, &at(text), &[value], &case)
    });
}

fn with_wallet(look: impl Fn(&dyn Fn(&str, &[usize], &[usize]) -> Outlook)) {
    with_wallet_where(&[], |weigh| look(&|text, gone, curious| weigh(text, gone, curious, &[])));
}

const CARRIED: &str = "Good On another device: the same, with the certificate file and its passphrase.";
const THIEF: &str = "Note Whoever has this device with the wallet open can get it, and so can whoever has the certificate file and knows or \
                     guesses its passphrase.";

fn sentences(outlook: &Outlook) -> Vec<String> {
    outlook.sentences.iter().map(|s| format!("{:?} {}", s.tone, s.text)).collect()
}

#[test]
fn what_a_person_reads_is_what_the_plan_does() {
    with_wallet(|weigh| {
        let says = |text: &str, expected: &[&str]| {
            let outlook = weigh(text, &[], &[]);
            assert_eq!(outlook.refusal, None, "{text}");
            assert_eq!(sentences(&outlook), expected, "{text}");
        };
        says(
            "at(A)",
            &[
                "Good To bring it back it takes Safe 0.",
                CARRIED,
                "Warning If Safe 0 is lost, it is lost.",
                "Warning Only the secrets of your wallet keep a single safe (Safe 0) from reading it, or a part of it.",
                THIEF,
            ],
        );
        says(
            "copies(at(A), at(B))",
            &[
                "Good To bring it back it takes Safe 0 or Safe 1.",
                CARRIED,
                "Good Any one of the 2 safes can be lost.",
                "Warning Only the secrets of your wallet keep a single safe (Safe 0 or Safe 1) from reading it, or a part of it.",
                THIEF,
            ],
        );
        says(
            "seal(at(A), derive(memory, at(B)))",
            &[
                "Good To bring it back it takes Safe 0, Safe 1 and your words.",
                CARRIED,
                "Warning If Safe 0 or Safe 1 is lost, it is lost.",
                "Warning Without your words nothing brings it back.",
                "Good The safes cannot read it, not even all of them together.",
                "Good This device alone does not give it away.",
                "Note Whoever has this device can try to guess your words: choose some that nobody would.",
            ],
        );
        says(
            "seal(copies(at(A), at(B)), split(2, at(C), at(D), file))",
            &[
                "Good To bring it back it takes Safe 0 or Safe 1, and any 2 of Safe 2, Safe 3 and your file.",
                CARRIED,
                "Good Any one of the 4 safes can be lost.",
                "Good Fewer than 3 safes together can read nothing, not even with all secrets of your wallet.",
                THIEF,
            ],
        );
        says(
            "seal(disperse(3, at(A), at(B), at(C), at(D), at(E)), split(3, at(A), at(B), at(C), at(D), at(E)))",
            &[
                "Good To bring it back it takes any 3 of Safe 0, Safe 1, Safe 2, Safe 3 and Safe 4.",
                CARRIED,
                "Good Any 2 of the 5 safes can be lost.",
                "Good Fewer than 3 safes together can read nothing, not even with all secrets of your wallet.",
                THIEF,
            ],
        );
    });
}

#[test]
fn a_case_is_judged_exactly_and_a_cost_is_counted() {
    with_wallet(|weigh| {
        let plan = "seal(disperse(3, at(A), at(B), at(C), at(D), at(E)), split(3, at(A), at(B), at(C), at(D), at(E)))";
        for (gone, curious, recovers, reads) in
            [(&[][..], &[][..], true, false), (&[0, 4], &[1, 2], true, false), (&[0, 1, 4], &[1, 2, 3], false, true)]
        {
            let scenario = weigh(plan, gone, curious).scenario.unwrap();
            assert_eq!((scenario.recovers, scenario.recovers_elsewhere, scenario.reads), (recovers, recovers, reads));
        }
        let outlook = weigh(plan, &[], &[]);
        assert_eq!((outlook.losses, outlook.losses_elsewhere, outlook.coalition), (Some(2), Some(2), Some(3)));
        // Sets as the API gives them: the wallet and any three safes; who reads it; who guesses at leisure.
        let ways = |ways: &[Way]| -> Vec<Vec<(usize, Vec<String>)>> {
            ways.iter().map(|way| way.parts.iter().map(|part| (part.count, part.of.clone())).collect()).collect()
        };
        let one = |name: &str| (1, vec![name.to_owned()]);
        let safes = (3, (0..5).map(|i| format!("Safe {i}")).collect::<Vec<_>>());
        let file = (2, vec!["the certificate file".to_owned(), "its passphrase".to_owned()]);
        assert_eq!(ways(&outlook.recovering), [vec![safes.clone(), one("this device")], vec![safes, file.clone()]]);
        assert_eq!(outlook.recovering.iter().map(|way| way.sets).collect::<Vec<_>>(), [10, 10]);
        assert_eq!(ways(&outlook.disclosing), [vec![one("this device")], vec![file]]);
        assert_eq!(ways(&outlook.guessing), [vec![one("the certificate file")]]);
        // Three, four or five of five, each there 99 times of 100.
        assert!((outlook.availability - 0.999_990_149_4).abs() < 1e-10);
        let cost = outlook.cost.unwrap();
        assert_eq!((cost.requests, cost.writes, cost.book_bytes, cost.file_bytes), (10, 5, 0, 0));
        assert_eq!(cost.safes.len(), 5);
        // The value, a third of it at each of five; shares, heads and padding.
        assert!((5 * 1000 / 3..5 * 1300).contains(&(cost.bytes as i32)), "{}", cost.bytes);
        let kept = weigh("split(2, at(A), file, seal(at(B), book))", &[], &[]).cost.unwrap();
        assert!(kept.book_bytes == 32 && kept.file_bytes > 1000, "{kept:?}");
    });
}

#[test]
fn what_cannot_be_read_or_carried_out_says_why() {
    with_wallet(|weigh| {
        let unreadable = weigh("seal(at(A) at(B))", &[], &[]);
        assert_eq!(unreadable.reading.error.unwrap().at, Some(18), "in the page's units");
        assert!(unreadable.scenario.is_none() && unreadable.sentences.is_empty());
        let stranger = weigh("seal(at(A), at(X))", &[], &[]).reading.error.unwrap();
        assert_eq!(
            (stranger.at, &*stranger.message),
            (None, "No safe is called “X”; use the name of one of your safes.")
        );
        // It is weighed all the same.
        let guarded = weigh(
            "seal(disperse(2, at(A), at(B), at(C)), derive(book, split(2, at(A, owner), at(B, owner), at(C, owner))))",
            &[],
            &[],
        );
        let refusal = guarded.refusal.unwrap();
        assert!(refusal.contains("does not know you as its owner yet"), "{refusal}");
        assert_eq!((guarded.losses, guarded.losses_elsewhere), (Some(1), None));
        assert!(guarded.cost.is_none());
    });
}

#[test]
fn how_often_each_safe_is_there_may_differ() {
    with_wallet_where(&[], |weigh| {
        let of = |text: &str, often: &[(usize, f64)]| weigh(text, &[], &[], often).availability;
        assert!((of("seal(at(A), at(B))", &[(0, 0.9), (1, 0.5)]) - 0.45).abs() < 1e-12);
        assert!((of("copies(at(A), at(B))", &[(0, 0.9), (1, 0.5)]) - 0.95).abs() < 1e-12);
        // Whoever is not named is there 99 times of 100; nonsense is none of a probability.
        assert!((of("seal(at(A), at(B))", &[(0, 2.0)]) - 0.99).abs() < 1e-12);
        assert!((of("at(A)", &[(0, f64::NAN)]) - 0.99).abs() < 1e-12);
    });
}

#[test]
fn safes_that_fall_together_are_told_by_what_they_say() {
    let said = |operator: &str, cloud: &str, region: &str| {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Whereabouts { operator: some(operator), cloud: some(cloud), region: some(region) }
    };
    let whereabouts = [
        (0, said("Nordfels", "Cloudflare", "EU")),
        (1, said("Nordfels", "Cloudflare", "US")),
        (2, said("", "Cloudflare", "EU")),
        (3, said("Alpenbund", "own machines", " ")),
        // What is blank is nothing in common.
        (4, Whereabouts { operator: None, cloud: Some(String::new()), region: Some(" ".into()) }),
    ];
    with_wallet_where(&whereabouts, |weigh| {
        let warned = |text: &str| {
            let all = sentences(&weigh(text, &[], &[], &[]));
            all.into_iter().filter(|text| text.contains(" share ")).collect::<Vec<_>>()
        };
        let spread = |k: usize, names: &str| {
            let at = names.chars().map(|name| format!("at({name})")).collect::<Vec<_>>().join(", ");
            format!("seal(disperse({k}, {at}), split({k}, {at}))")
        };
        assert_eq!(
            warned(&spread(2, "ABCDE")),
            [
                "Note Safe 0 and Safe 1 share the operator “Nordfels”: together they have enough pieces to read it.",
                "Note Safe 0, Safe 1 and Safe 2 share the cloud “Cloudflare”: together they have enough pieces to read it.",
                "Note Safe 0 and Safe 2 share the region “EU”: together they have enough pieces to read it.",
            ]
        );
        assert_eq!(
            warned(&spread(2, "ABC")),
            [
                "Warning Safe 0 and Safe 1 share the operator “Nordfels”: what happens there can lose it, and they have enough \
                 pieces to read it.",
                "Warning Safe 0, Safe 1 and Safe 2 share the cloud “Cloudflare”: what happens there can lose it, and they have enough \
                 pieces to read it.",
                "Warning Safe 0 and Safe 2 share the region “EU”: what happens there can lose it, and they have enough pieces \
                 to read it.",
            ]
        );
        // One group that shares two things is named once.
        assert_eq!(
            warned("seal(at(A), derive(at(B), file))"),
            [
                "Warning Safe 0 and Safe 1 share the operator “Nordfels” and the cloud “Cloudflare”: what happens there can lose it."
            ]
        );
        assert_eq!(warned(&spread(2, "CDE")), Vec::<String>::new());
    });
}

#[test]
fn safes_of_one_operator_are_told_by_their_addresses() {
    for (url, operator) in [
        ("https://safe.example", "safe.example"),
        ("https://a.safe.example/path", "safe.example"),
        ("https://one.alice.workers.dev", "alice.workers.dev"),
        ("https://alice.workers.dev:8443", "alice.workers.dev"),
        ("http://127.0.0.1:4601", "127.0.0.1"),
        ("http://[::1]:4601", "[::1]:4601"),
        ("http://localhost:4601", "localhost"),
    ] {
        assert_eq!(operator_of(url), operator, "{url}");
    }
}
