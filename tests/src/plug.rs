//! Pulling the plug: the same story again and again, with a fault and a crash after each of its steps, and a look after every one at where
//! the value is.

use protocol::{
    ids::{BackupId, SafeId, ValueId},
    plan::Plan,
};
use wallet_wasm::{
    state::{Backup, Stage},
    store::MemoryStore,
    view::draw,
};

use crate::world::{Fault, Safes, Wallet};

/// Safes in every world here.
pub const N: usize = 5;
/// How many of them bring a value back.
pub const K: usize = 3;
/// What every value here is.
pub const TICKET: &[u8] = b"row 7, seat 12";
const FAULTS: [Fault; 4] = [Fault::None, Fault::LostBefore, Fault::LostAfter, Fault::Twice];

/// A store outlives the wallet that crashed on it.
pub fn leak() -> &'static MemoryStore {
    Box::leak(Box::default())
}

/// State and operation of a value, as its owner sees them.
pub fn state_of(wallet: &Wallet<'_>, value: ValueId) -> (&'static str, Option<&'static str>) {
    let view = draw(&wallet.state, &wallet.session, wallet.now(), true);
    let shown = view.values.into_iter().find(|v| v.id == value.to_string()).unwrap();
    (shown.state, shown.operation.map(|at| view.operations[at].kind))
}

/// How many safes have what they signed for.
pub fn holding(safes: &Safes, backup: &Backup) -> usize {
    let there = |safe: &SafeId, deposit| safes.all.iter().any(|s| s.id() == *safe && s.holds(deposit));
    backup.deposits.iter().filter(|d| there(&d.safe, &d.id)).count()
}

/// The value is here, or enough safes have signed for its pieces and still have them, and the wallet has what it takes to ask.
pub fn assert_somewhere(wallet: &Wallet<'_>, safes: &Safes, value: ValueId, when: &str) {
    if wallet.content(&value).is_some_and(|content| content == TICKET) {
        return;
    }
    let backup = wallet.state.values[&value].backup.map(|id| &wallet.state.backups[&id]);
    let backup = backup.unwrap_or_else(|| panic!("{when}: neither content nor backup"));
    assert!(backup.all_at(Stage::Held) && backup.deposits.iter().all(|d| d.certificate.is_some()), "{when}");
    assert!(holding(safes, backup) >= K, "{when}: {} safes hold it", holding(safes, backup));
}

/// A value whose registration has begun.
pub fn begin(store: &'static MemoryStore, safes: &Safes, moving: bool) -> (Wallet<'static>, ValueId, BackupId) {
    let mut wallet = Wallet::create(store, 1);
    let ids = wallet.trust(safes);
    let value = wallet.add("Ticket", TICKET);
    let backup = wallet.back_up_as(&[value], Plan::spread(K, &ids).unwrap(), None, moving).unwrap();
    (wallet, value, backup)
}

/// A value that is at the safes only.
pub fn moved(store: &'static MemoryStore, safes: &Safes) -> (Wallet<'static>, ValueId, BackupId) {
    let (mut wallet, value, backup) = begin(store, safes, true);
    wallet.run(safes, 1000);
    assert_eq!((wallet.content(&value), state_of(&wallet, value)), (None, ("moved", None)));
    (wallet, value, backup)
}

/// A value that is here and at the safes.
pub fn protected(store: &'static MemoryStore, safes: &Safes) -> (Wallet<'static>, ValueId, BackupId) {
    let (mut wallet, value, backup) = begin(store, safes, false);
    wallet.run(safes, 1000);
    assert_eq!(state_of(&wallet, value), ("protected", None));
    (wallet, value, backup)
}

/// Acts until nothing is left to do, with a fault at one step and the plug pulled after it; looks after every step.
pub fn with_plug_pulled(
    start: impl Fn(&'static MemoryStore, &Safes) -> (Wallet<'static>, ValueId, BackupId),
    end: impl Fn(Wallet<'static>, &Safes, ValueId, &str),
) {
    let count = {
        let safes = Safes::new(N);
        start(leak(), &safes).0.run(&safes, 10_000)
    };
    for (crash, fault) in (0..=count).flat_map(|crash| FAULTS.map(|fault| (crash, fault))) {
        let when = format!("{fault:?} and a crash after step {crash} of {count}");
        let (store, safes) = (leak(), Safes::new(N));
        let (mut wallet, value, _) = start(store, &safes);
        for step in 0..crash {
            let Some(action) = wallet.session.actions(&wallet.state, crate::world::START).into_iter().next() else {
                break;
            };
            wallet.act(&action, &safes, if step + 1 == crash { fault } else { Fault::None }).unwrap();
            assert_somewhere(&wallet, &safes, value, &when);
        }
        drop(wallet);
        let mut wallet = Wallet::open(store, 100 + crash as u64);
        assert_somewhere(&wallet, &safes, value, &when);
        // What a safe does not answer is asked again after a pause.
        for _ in 0..20 {
            while wallet.run(&safes, 1) > 0 {
                assert_somewhere(&wallet, &safes, value, &when);
            }
            wallet.wait(60);
        }
        end(wallet, &safes, value, &when);
    }
}
