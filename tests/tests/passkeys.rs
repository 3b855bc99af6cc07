//! Passkeys open the vault beside its passphrase; nothing else does, and nothing of them can be altered or put back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use futures::executor::block_on;
use protocol::{
    codec::encode,
    crypto::{PassphraseCost, Secret},
    passphrase::Stretch,
};
use tests::fixture::{NOW, rng, secret};
use wallet_wasm::{
    machine::{Changes, Event, transition},
    passkey::{MAX_CREDENTIAL_LEN, MAX_LABEL_LEN, MAX_PASSKEYS, NewPasskey, PasskeyChange, PasskeyError},
    state::{Level, State},
    store::{MemoryStore, Store, StoreError, Stored},
    vault::{Vault, VaultError},
};

const LABEL: &str = "the blue key";

/// A wallet with one line of activity in it.
struct Made {
    store: MemoryStore,
    vault: Vault,
    kek: Secret,
}

fn made() -> Made {
    let mut rng = rng(91);
    let stretch = Stretch::make_random(PassphraseCost::LEAST, &mut rng);
    // What a passphrase would be stretched to; the stretching is not what is tested here.
    let kek = secret(90);
    let (mut vault, header) = Vault::create(&stretch, &kek, &mut rng).unwrap();
    let note = Event::Note(Level::Info, "a line".to_owned());
    let changes = transition(&State::default(), note, NOW, &mut rng).unwrap();
    let (mut commit, pending) = vault.seal(&changes, &mut rng).unwrap();
    commit.header = Some(header);
    let store = MemoryStore::default();
    block_on(store.commit(&commit)).unwrap();
    vault.committed(pending);
    Made { store, vault, kek }
}

/// Passkey number `number`, whose authenticator makes `secret(number)` of its salt.
fn passkey(number: u8) -> NewPasskey {
    let label = if number == 1 { LABEL.to_owned() } else { format!("key {number}") };
    NewPasskey {
        credential: vec![number; 16 + usize::from(number)],
        salt: [number; 32],
        output: secret(number.into()),
        label,
        added: NOW,
    }
}

fn change(vault: &mut Vault, store: &MemoryStore, change: &PasskeyChange) -> Result<(), StoreError> {
    let (commit, pending) = vault.seal_passkeys(change, &Changes::default(), &mut rng(92)).unwrap();
    block_on(store.commit(&commit))?;
    vault.committed(pending);
    Ok(())
}

fn add(made: &mut Made, number: u8) {
    change(&mut made.vault, &made.store, &PasskeyChange::Add(passkey(number))).unwrap();
}

fn stored(store: &MemoryStore) -> Stored {
    block_on(store.load()).unwrap()
}

fn by_passkey(stored: &Stored, number: u8) -> Result<State, VaultError> {
    let NewPasskey { credential, output, .. } = passkey(number);
    Vault::open_by_passkey(&credential, &output, stored).map(|(_, state)| state)
}

/// That the wallet is open: what was in it is there.
fn is_there(state: &State) -> bool {
    format!("{state:?}").contains("a line")
}

#[test]
fn a_passkey_opens_what_the_passphrase_opens() {
    let mut made = made();
    let before = stored(&made.store);
    assert_eq!(Vault::passkeys_of(&before).unwrap(), []);
    assert_eq!(by_passkey(&before, 1).unwrap_err(), VaultError::UnknownPasskey);
    add(&mut made, 1);
    add(&mut made, 2);
    let stored = stored(&made.store);
    assert!(is_there(&by_passkey(&stored, 1).unwrap()));
    assert!(is_there(&by_passkey(&stored, 2).unwrap()));
    assert!(is_there(&Vault::open(&made.kek, &stored).unwrap().1));
    // What the page needs to ask for them stands in clear, and nothing that would open anything.
    let offers = Vault::passkeys_of(&stored).unwrap();
    let asked: Vec<_> = offers.iter().map(|offer| (offer.credential.to_vec(), offer.salt.to_vec())).collect();
    let expected: Vec<_> = [1, 2].map(passkey).map(|new| (new.credential, new.salt.to_vec())).into();
    assert_eq!(asked, expected);
    let (opened, _) = Vault::open_by_passkey(&passkey(2).credential, &passkey(2).output, &stored).unwrap();
    let notes: Vec<_> = opened.passkeys().unwrap().into_iter().map(|(_, note)| (note.label, note.added)).collect();
    assert_eq!(notes, [(LABEL.to_owned(), NOW), ("key 2".to_owned(), NOW)]);
    let dump = made.store.dump();
    let shows = |wanted: &[u8]| dump.windows(wanted.len()).any(|window| window == wanted);
    assert!(shows(&passkey(1).credential), "the search finds what is there");
    assert!(!shows(LABEL.as_bytes()) && !shows(passkey(1).output.expose()));
}

#[test]
fn what_another_passkey_gives_opens_nothing() {
    let mut made = made();
    add(&mut made, 1);
    add(&mut made, 2);
    let stored = stored(&made.store);
    let open = |credential: u8, output: u8| {
        Vault::open_by_passkey(&passkey(credential).credential, &passkey(output).output, &stored).map(|_| ())
    };
    assert_eq!(open(1, 1), Ok(()));
    assert_eq!(open(1, 2), Err(VaultError::WrongPasskey));
    assert_eq!(open(2, 1), Err(VaultError::WrongPasskey));
    assert_eq!(open(3, 1), Err(VaultError::UnknownPasskey));
    // The passphrase's key is no output, and an output no passphrase's key.
    let credential = passkey(1).credential;
    assert_eq!(Vault::open_by_passkey(&credential, &made.kek, &stored).map(|_| ()), Err(VaultError::WrongPasskey));
    assert_eq!(Vault::open(&passkey(1).output, &stored).map(|_| ()), Err(VaultError::WrongPassphrase));
}

#[test]
fn a_removed_passkey_opens_nothing_and_cannot_be_put_back() {
    let mut made = made();
    let without = stored(&made.store).header;
    add(&mut made, 1);
    let one = stored(&made.store).header;
    add(&mut made, 2);
    let both = stored(&made.store).header;
    let credential = |number| PasskeyChange::Remove(passkey(number).credential);
    change(&mut made.vault, &made.store, &credential(1)).unwrap();
    let mut left = stored(&made.store);
    assert_eq!(by_passkey(&left, 1).unwrap_err(), VaultError::UnknownPasskey);
    assert!(is_there(&by_passkey(&left, 2).unwrap()));
    for older in [one.clone(), both.clone(), without.clone()] {
        left.header = older;
        assert!(by_passkey(&left, 1).is_err());
        assert!(by_passkey(&left, 2).is_err());
        assert_eq!(Vault::open(&made.kek, &left).map(|_| ()), Err(VaultError::Damaged));
    }
    // With the last one the header is again what it was.
    change(&mut made.vault, &made.store, &credential(2)).unwrap();
    let mut none = stored(&made.store);
    assert_eq!(none.header, without);
    assert!(is_there(&Vault::open(&made.kek, &none).unwrap().1));
    for older in [one, both] {
        none.header = older;
        assert!(by_passkey(&none, 1).is_err());
        assert_eq!(Vault::open(&made.kek, &none).map(|_| ()), Err(VaultError::Damaged));
    }
    let refused = made.vault.seal_passkeys(&credential(2), &Changes::default(), &mut rng(93));
    assert_eq!(refused.unwrap_err(), PasskeyError::Unknown);
}

/// Whichever bit of the header is flipped, nothing opens: not by that passkey, not by another one, not by the passphrase.
#[test]
fn an_altered_header_opens_by_nothing() {
    let mut made = made();
    add(&mut made, 1);
    add(&mut made, 2);
    let sound = stored(&made.store);
    let len = sound.header.as_ref().unwrap().len();
    for at in 0..len {
        let mut altered = sound.clone();
        altered.header.as_mut().unwrap()[at] ^= 1 << (at % 8);
        assert!(Vault::open(&made.kek, &altered).is_err(), "byte {at}");
        assert!(by_passkey(&altered, 1).is_err(), "byte {at}");
        assert!(by_passkey(&altered, 2).is_err(), "byte {at}");
        let _ = Vault::passkeys_of(&altered);
        let _ = Vault::stretch(&altered);
    }
    for to in 0..len {
        let mut cut = sound.clone();
        cut.header.as_mut().unwrap().truncate(to);
        assert!(Vault::open(&made.kek, &cut).is_err() && by_passkey(&cut, 1).is_err(), "{to} bytes");
    }
}

/// A header from before there were passkeys is the four first entries of one with them.
#[test]
fn a_header_without_passkeys_is_what_it_was() {
    let mut made = made();
    let old = stored(&made.store);
    assert_eq!(old.header.as_ref().unwrap()[0], 0x84);
    assert!(is_there(&Vault::open(&made.kek, &old).unwrap().1));
    add(&mut made, 1);
    let new = stored(&made.store).header.unwrap();
    assert_eq!(new[0], 0x85);
    assert!(new[1..].starts_with(&old.header.unwrap()[1..]));
    // An empty list is written as none, and read as damage.
    let mut empty = stored(&made.store);
    let head = new.len() - encode(&Vault::passkeys_of(&empty).unwrap()).len();
    empty.header = Some([&new[..head], &[0x80]].concat());
    assert_eq!(Vault::passkeys_of(&empty), Err(VaultError::Damaged));
}

#[test]
fn so_many_passkeys_and_no_more() {
    let mut made = made();
    let number = |at: usize| u8::try_from(at + 1).unwrap();
    let tries = |vault: &Vault, new: NewPasskey| {
        vault.seal_passkeys(&PasskeyChange::Add(new), &Changes::default(), &mut rng(94)).map(|_| ())
    };
    for at in 0..MAX_PASSKEYS {
        // The longest that there can be, so that the cap of the header is enough.
        let credential = vec![number(at); MAX_CREDENTIAL_LEN];
        let new = NewPasskey { credential, label: "é".repeat(MAX_LABEL_LEN), added: u64::MAX, ..passkey(number(at)) };
        change(&mut made.vault, &made.store, &PasskeyChange::Add(new.clone())).unwrap();
        assert_eq!(tries(&made.vault, new), Err(PasskeyError::Known));
    }
    let stored = stored(&made.store);
    for at in 0..MAX_PASSKEYS {
        let credential = vec![number(at); MAX_CREDENTIAL_LEN];
        Vault::open_by_passkey(&credential, &passkey(number(at)).output, &stored).unwrap();
    }
    let (vault, _) = Vault::open(&made.kek, &stored).unwrap();
    assert!(vault.passkeys().unwrap().iter().all(|(_, note)| note.label.len() == MAX_LABEL_LEN));
    assert_eq!(tries(&vault, passkey(number(MAX_PASSKEYS))), Err(PasskeyError::TooMany));
}

#[test]
fn what_no_authenticator_gives_is_refused() {
    let made = made();
    for len in [0, MAX_CREDENTIAL_LEN + 1] {
        let new = NewPasskey { credential: vec![7; len], ..passkey(1) };
        let refused = made.vault.seal_passkeys(&PasskeyChange::Add(new), &Changes::default(), &mut rng(95));
        assert_eq!(refused.unwrap_err(), PasskeyError::Malformed);
    }
}

/// Two windows add at the same time: the later one is superseded, takes over what the earlier one wrote, and both are there.
#[test]
fn two_windows_lose_no_passkey() {
    let mut made = made();
    let (mut second, _) = Vault::open(&made.kek, &stored(&made.store)).unwrap();
    add(&mut made, 1);
    let late = PasskeyChange::Add(passkey(2));
    assert!(matches!(change(&mut second, &made.store, &late), Err(StoreError::Superseded { .. })));
    second.reload(&stored(&made.store)).unwrap();
    change(&mut second, &made.store, &late).unwrap();
    // The first knows nothing of it and writes something else: superseded, too, and the passkeys stay.
    let (commit, _) = made.vault.seal(&Changes::default(), &mut rng(96)).unwrap();
    assert!(matches!(block_on(made.store.commit(&commit)), Err(StoreError::Superseded { .. })));
    made.vault.reload(&stored(&made.store)).unwrap();
    let (commit, _) = made.vault.seal(&Changes::default(), &mut rng(97)).unwrap();
    assert_eq!(commit.header, None);
    block_on(made.store.commit(&commit)).unwrap();
    for number in [1, 2] {
        assert!(is_there(&by_passkey(&stored(&made.store), number).unwrap()));
    }
    assert_eq!(made.vault.passkeys().unwrap().len(), 2);
}
