//! What the requests of an owner cost a safe: accounts that are opened, enrolled at, guessed at and used, some hundred of each.

use protocol::{
    codec,
    crypto::{Secret, blake3, oprf::Blinded},
    identity::Identity,
    ids::{AccountId, DeviceId, SafeId},
    owner::{
        enrolment::Made,
        login::ChannelKey,
        messages::{Action, Address, Epoch, Greeting, Guess, Head, Look, MAX_HEAD_LEN, Mark, Opening, Question, Topic},
        name::NameKey,
    },
};
use rand_core::Rng;
use tests::owner::{enrol, given, guess_of};

use crate::{Ask, Bench, Bound, fresh, now, post};

/// Accounts: some seconds for each phase, and 15 MiB of heads.
const ACCOUNTS: usize = 200;
/// What a free plan gives a request, ms of processor time.
const BOUND: Bound = Bound { target: Some(10.0), storage: 0.0 };

/// One owner.
struct Owner {
    account: AccountId,
    key: Secret,
    made: Made,
}

impl Owner {
    fn make(here: SafeId) -> Self {
        let mut random = fresh();
        let name = NameKey::new(Secret::make_random(&mut random));
        let made =
            enrol(random.next_u64(), &[here, SafeId([0xa1; 32]), SafeId([0xa2; 32])], 2, "a passphrase", &name, 1);
        Self { account: name.account(&here), key: Secret::make_random(&mut random), made }
    }
}

pub(crate) fn measure(bench: &mut Bench, identity: &Identity) {
    let here = identity.id();
    let owners: Vec<Owner> = (0..ACCOUNTS).map(|_| Owner::make(here)).collect();
    look(bench, "look, unknown", &owners);
    // An account, and what is in it.
    ask(bench, identity, "open", &owners, Topic::Open, |owner| {
        codec::encode(&Opening { key: owner.key.clone(), note: vec![1; 176].into() })
    });
    act(bench, identity, "stage, commit", &owners, |owner| {
        let staged = given(&owner.made, &here);
        let id = staged.id;
        vec![Action::Stage(Box::new(staged)), Action::Commit(id, None)]
    });
    look(bench, "look", &owners);
    ask(bench, identity, "greet", &owners, Topic::Greet, |_| codec::encode(&Greeting { credential: None }));
    ask(bench, identity, "evaluate", &owners, Topic::Evaluate, |owner| codec::encode(&guess(owner, &here)));
    act(bench, identity, "show", &owners, |_| vec![Action::Show]);
    let epoch = Epoch { counter: 1, holder: DeviceId([1; 16]) };
    act(bench, identity, "promise", &owners, |_| vec![Action::Promise(epoch)]);
    act(bench, identity, "ticket", &owners, |_| vec![Action::Ticket(None)]);
    for (name, length) in [("write head, 4 KiB", 4096), ("write head, whole", MAX_HEAD_LEN)] {
        act(bench, identity, name, &owners, |_| {
            let mut sealed = vec![0; length];
            fresh().fill_bytes(&mut sealed);
            let mark = Mark { epoch, sequence: length as u64, before: [0; 32].into(), digest: blake3(&sealed).into() };
            vec![Action::WriteHead(Head { mark, sealed: sealed.into() })]
        });
    }
    act(bench, identity, "read head", &owners, |_| vec![Action::Show, Action::ReadHead]);
}

fn guess(owner: &Owner, here: &SafeId) -> Guess {
    let (_, blinded) = Blinded::start(b"a passphrase", &mut fresh()).unwrap();
    guess_of(owner.made.enrolment.id_at(here), blinded, fresh().next_u64())
}

fn look_of(owner: &Owner) -> Ask {
    Ask { method: "GET", path: format!("/v1/owners/{}", owner.account), kind: "", statement: None, body: Vec::new() }
}

fn look(bench: &mut Bench, name: &str, owners: &[Owner]) -> Vec<Look> {
    let asks: Vec<Ask> = owners.iter().map(look_of).collect();
    let looks: Vec<Look> = bench.phase(name, "", BOUND, &asks).iter().map(|look| Look::parse(look).unwrap()).collect();
    assert!(looks.iter().all(|look| look.time.abs_diff(now()) < 60));
    looks
}

/// Looks, which is not measured here, and asks.
fn ask_as(
    bench: &mut Bench,
    identity: &Identity,
    (name, topic): (&str, Topic),
    owners: &[Owner],
    plain: impl Fn(&Owner) -> Vec<u8>,
    channel: impl Fn(&Owner) -> Option<ChannelKey>,
) {
    let (here, entry) = (identity.id(), identity.current(now()).unwrap());
    let asks: Vec<Ask> = owners
        .iter()
        .map(|owner| {
            let look = Look::parse(&bench.send(&look_of(owner))).unwrap();
            let address = Address { safe: &here, account: &owner.account, topic };
            let key = channel(owner);
            let proof = key.as_ref().map(ChannelKey::proof);
            let (question, _) =
                Question::make(&address, &plain(owner), entry, &look.challenge, proof, &mut fresh()).unwrap();
            post(format!("/v1/owners/{}/{}", owner.account, topic.label()), codec::encode(&question))
        })
        .collect();
    bench.phase(name, "", BOUND, &asks);
}

fn ask(
    bench: &mut Bench,
    identity: &Identity,
    name: &str,
    owners: &[Owner],
    topic: Topic,
    plain: impl Fn(&Owner) -> Vec<u8>,
) {
    ask_as(bench, identity, (name, topic), owners, plain, |_| None);
}

fn act(bench: &mut Bench, identity: &Identity, name: &str, owners: &[Owner], actions: impl Fn(&Owner) -> Vec<Action>) {
    let key = |owner: &Owner| Some(ChannelKey::of_credential(1, owner.key.clone()));
    ask_as(bench, identity, (name, Topic::Channel), owners, |owner| codec::encode(&actions(owner)), key);
}
