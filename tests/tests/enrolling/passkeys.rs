//! A passkey brings its owner back in the place of name and passphrase; after another enrolment it does so once it was used again.

use protocol::owner::messages::Account;
use wallet_wasm::credentials;

use super::{
    changing::{NEW, next},
    *,
};

/// An owner who has shown himself gives a passkey to his safes, for the first time or once more.
fn give(comer: &Comer<'_>, handle: &Handle, output: &Secret) {
    let known = comer.log_in();
    let device = handle.clone().unlock(output);
    for at in &comer.at {
        let (safe, account) = account(comer, &known, *at);
        let root = known.open_root(&account).unwrap();
        let device = (&device, "a key on the key ring");
        let new = credentials::give(&name(), &safe, known.agreed(), &root, device, &mut rng(43)).unwrap();
        let actions = [Act::Refund(known.tries_at(&safe)), new];
        let outcomes = Visit::new(&mut comer.door(*at)).act(&name().account(&safe), &known.channel(&safe), &actions);
        assert!(matches!(outcomes[..], [Outcome::Done, Outcome::Added(2)]), "{outcomes:?}");
    }
}

/// What a safe shows of an account.
fn account(comer: &Comer<'_>, known: &Recognised, at: usize) -> (SafeId, Account) {
    match comer.act(known, at, Act::Show) {
        Outcome::Account(account) => (comer.safes.all[at].id(), account),
        other => panic!("{other:?}"),
    }
}

/// By the passkey, as far as the safes let it in.
fn by_key(comer: &Comer<'_>, handle: &Handle, output: &Secret) -> Recognised {
    let handle = Handle::parse(&handle.to_bytes()[..]).unwrap();
    Recognised::Device(Box::new((comer.agreed(), handle.unlock(output))))
}

#[test]
fn a_passkey_brings_everything_back_without_name_or_guess() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut wallet, value) = enrolled(store, &safes);
    wallet.run(&safes, 200);
    let handle = Handle::make(name(), &mut rng(40));
    let output = secret(41);
    let all = Comer::new(&safes, wallet.now(), &[0, 1, 2, 3, 4], 2);
    let root = OwnerRoot::new(wallet.state.owner.as_ref().unwrap().root.clone().unwrap());
    give(&all, &handle, &output);
    // A new device, two safes dead: what the authenticator keeps, what it makes, and addresses.
    let comer = Comer::new(&safes, wallet.now(), &[0, 2, 4], 3);
    let handle = Handle::parse(&handle.to_bytes()[..]).unwrap();
    let known = Recognised::Device(Box::new((comer.agreed(), handle.unlock(&output))));
    let credential = secret(44);
    let told = comer.told(&known, &credential);
    assert!(told.iter().all(|told| told.account.tries.is_empty()), "no guess was made");
    let accounts: Vec<_> = told.iter().map(|told| (told.safe.id, told.account.clone())).collect();
    let mine = (credential.clone(), "the second one".to_owned());
    let (back, wrong) = come_back(String::new(), &name(), &known, mine, told, &[], &mut rng(45)).unwrap();
    assert_eq!((wrong.len(), back.name.as_str()), (0, "alice-7kq4m2"), "the book says who it is");
    let mut second = Wallet::create(leak(), 46);
    second.session.came_back();
    second.handle(Event::OwnerReturned(Box::new(back))).unwrap();
    second.run(&safes, 200);
    assert!(second.state.values.contains_key(&value));
    assert!(second.state.owner.as_ref().unwrap().root.as_ref().unwrap().same_as(root.expose()));
    // The owner sees by what he is known, the same everywhere; who does not know the name sees nothing of it.
    let listed = list(&name(), &accounts);
    let seen: Vec<_> = listed.iter().map(|one| (one.kind, one.label.as_str(), one.at.len())).collect();
    assert_eq!(
        BTreeSet::from_iter(seen.iter().map(|(_, label, at)| (*label, *at))),
        BTreeSet::from([("the first one", 3), ("a key on the key ring", 3)]),
    );
    assert!(listed.iter().any(|one| one.id == Some(credential_id(&secret(0xc))) && one.kind == CredentialKind::Wallet));
    let blind = list(&NameKey::new(secret(0xb)), &accounts);
    assert!(blind.iter().all(|one| one.id.is_none() && one.label.is_empty() && one.at.len() == 1));
    assert_eq!(blind.len(), 6);
    // Of another enrolment it opens nothing.
    let mut other = known.agreed().clone();
    other.statement[0] ^= 1;
    let stray = Recognised::Device(Box::new((other, Handle::make(name(), &mut rng(40)).unlock(&output))));
    assert!(accounts.iter().all(|(_, account)| stray.open_root(account).is_err()));
}

#[test]
fn after_a_change_a_passkey_brings_back_what_it_did_once_it_was_used_again() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut wallet, value) = enrolled(store, &safes);
    settle(&mut wallet, &safes);
    let all = [0, 1, 2, 3, 4];
    let (handle, output) = (Handle::make(name(), &mut rng(40)), secret(41));
    give(&Comer::new(&safes, wallet.now(), &all, 2), &handle, &output);
    let change = next(&safes, &wallet, &all, (PASSPHRASE, NEW), &all, 3);
    wallet.handle(Event::ChangeOwner(Box::new(change))).unwrap();
    settle(&mut wallet, &safes);
    assert_eq!(wallet.state.owner.as_ref().unwrap().generation, 2);
    let comer = Comer { passphrase: NEW, ..Comer::new(&safes, wallet.now(), &all, 3) };
    let behind = |comer: &Comer<'_>, known: &Recognised| {
        let accounts: Vec<_> = all.iter().map(|at| account(comer, known, *at)).collect();
        let opens = accounts.iter().filter(|(_, account)| known.open_root(account).is_ok()).count();
        let listed = list(&name(), &accounts);
        let key = listed.iter().find(|one| one.kind == CredentialKind::Device).unwrap();
        assert_eq!((key.label.as_str(), key.at.len(), listed.len()), ("a key on the key ring", N, 2));
        (opens, key.behind(2).copied().collect::<Vec<_>>())
    };
    // It is let in, and has nothing that it opens.
    let known = by_key(&comer, &handle, &output);
    assert_eq!(behind(&comer, &known), (0, safes.all.iter().map(MemorySafe::id).collect()));
    // Its owner uses it while a safe is away.
    let four = Comer { passphrase: NEW, ..Comer::new(&safes, wallet.now(), &[0, 1, 2, 3], 4) };
    give(&four, &handle, &output);
    assert_eq!(behind(&comer, &known), (4, vec![safes.all[4].id()]));
    let comer = Comer::new(&safes, wallet.now(), &[0, 2, 3], 5);
    let known = by_key(&comer, &handle, &output);
    let told = comer.told(&known, &secret(44));
    let mine = (secret(44), "the second one".to_owned());
    let (back, wrong) = come_back(String::new(), &name(), &known, mine, told, &[], &mut rng(45)).unwrap();
    assert_eq!(wrong, []);
    let mut second = Wallet::create(leak(), 46);
    second.session.came_back();
    second.handle(Event::OwnerReturned(Box::new(back))).unwrap();
    settle(&mut second, &safes);
    assert!(second.state.values.contains_key(&value));
}
