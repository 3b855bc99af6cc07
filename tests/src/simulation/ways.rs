//! What brings an owner back where the passphrase alone does not: a passkey, and the paper in the drawer, whose guesses no stranger uses up.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{
    codec,
    crypto::Secret,
    ids::SafeId,
    owner::{
        device::{Device, Handle},
        enrolment::OwnerRoot,
        kit::{Kit, Printed},
        login::{Counter, Recognised},
        messages::{Account, Action, MAX_ANSWER_LEN, Outcome, Topic},
    },
};
use wallet_wasm::{
    credentials::{first_lease_end, give, give_kit, keep_kit, kit_safes, list},
    machine::Event,
};

use super::World;

/// So many tries are made with one kit while messages are lost: those that its owner hears nothing of stay counted, as all do.
const TRIES: u32 = 5;

/// What an owner has in the drawer and on the key ring, and where it was taken in.
#[derive(Default)]
pub(super) struct Ways {
    passkey: Option<Passkey>,
    paper: Option<Paper>,
}

struct Passkey {
    handle: Handle,
    output: Secret,
    /// Safes that have it, and for which enrolment.
    at: BTreeMap<usize, u32>,
}

struct Paper {
    text: String,
    at: BTreeSet<usize>,
    tries: u32,
}

/// An owner who has shown himself on a device of his.
pub(super) struct AtHome {
    pub(super) known: Recognised,
    root: OwnerRoot,
    pub(super) accounts: Vec<(SafeId, Account)>,
}

/// How an owner shows himself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Passphrase,
    Kit,
    Passkey,
}

/// The ways, as often as they are gone.
pub(super) const WAYS: [Way; 4] = [Way::Passphrase, Way::Passphrase, Way::Kit, Way::Passkey];

impl Way {
    /// A visit by it, as it is counted.
    pub(super) const fn kind(self) -> &'static str {
        match self {
            Self::Passphrase => "visit from the safes alone",
            Self::Kit => "visit by kit",
            Self::Passkey => "visit by passkey",
        }
    }
}

impl Ways {
    /// A safe may know of neither any more.
    pub(super) fn forget_at(&mut self, index: usize) {
        if let Some(key) = &mut self.passkey {
            key.at.remove(&index);
        }
        self.forget_kit_at(index);
    }

    fn forget_kit_at(&mut self, index: usize) {
        if let Some(paper) = &mut self.paper {
            paper.at.remove(&index);
        }
    }

    /// Safes that have taken it in; `generation`: of the enrolment in force.
    pub(super) fn at(&self, way: Way, generation: u32) -> BTreeSet<usize> {
        match way {
            Way::Passphrase | Way::Kit => self.paper.iter().flat_map(|paper| paper.at.iter().copied()).collect(),
            Way::Passkey => {
                let all = self.passkey.iter().flat_map(|key| &key.at);
                all.filter(|(_, given)| **given == generation).map(|(at, _)| *at).collect()
            }
        }
    }

    fn device(&self) -> Option<Device> {
        self.passkey.as_ref().map(|key| key.handle.clone().unlock(&key.output))
    }
}

impl World<'_, '_> {
    pub(super) fn index_of(&self, safe: &SafeId) -> usize {
        self.ids.iter().position(|id| id == safe).expect("a safe of this world")
    }

    fn ways(&mut self) -> &mut Ways {
        &mut self.person.as_mut().expect("somebody is enrolled").ways
    }

    /// What is asked of a safe, by whoever has shown himself there.
    pub(super) fn act_at(&mut self, known: &Recognised, safe: &SafeId, actions: &Vec<Action>) -> Option<Vec<Outcome>> {
        let answer = self.ask_at(safe, Topic::Channel, &codec::encode(actions), Some(&known.channel(safe)))?;
        codec::decode(&answer, MAX_ANSWER_LEN).ok()
    }

    fn accounts(&mut self, known: &Recognised) -> Vec<(SafeId, Option<Account>)> {
        let mut accounts = Vec::new();
        for safe in known.agreed().shown_by.clone() {
            let account = match self.act_at(known, &safe, &vec![Action::Show]).map(|mut all| all.pop()) {
                Some(Some(Outcome::Account(account))) => Some(account),
                _ => None,
            };
            accounts.push((safe, account));
        }
        accounts
    }

    /// The owner shows himself on a device of his, to whichever of its safes answer, and has his own try taken back there.
    pub(super) fn at_home(&mut self, owner: usize) -> Option<AtHome> {
        let enrolled = self.owners[owner].known.owner.as_ref()?;
        let counter = Counter::Wallet(enrolled.credential.clone());
        let seats: Vec<SafeId> = enrolled.seats.iter().map(|seat| seat.safe).collect();
        let seats: Vec<usize> = seats.iter().map(|safe| self.index_of(safe)).collect();
        let known = Recognised::Passphrase(Box::new(self.log_in(&seats, Some(counter))?));
        let accounts = self.accounts(&known);
        let accounts: Vec<_> = accounts.into_iter().filter_map(|(safe, account)| Some((safe, account?))).collect();
        let root = accounts.iter().find_map(|(_, account)| known.open_root(account).ok())?;
        for (safe, _) in &accounts {
            self.act_at(&known, safe, &vec![Action::Refund(known.tries_at(safe))]);
        }
        Some(AtHome { known, root, accounts })
    }

    /// A safe is given the passkey. Whether it says that it has it now.
    fn give_passkey_at(&mut self, known: &Recognised, safe: &SafeId, root: &OwnerRoot) -> bool {
        let name = self.person().name().clone();
        let Some(device) = self.ways().device() else { return false };
        let new = give(&name, safe, known.agreed(), root, (&device, "a key"), &mut self.dice.0).unwrap();
        let has = matches!(self.act_at(known, safe, &vec![new]).as_deref(), Some([Outcome::Added(_)]));
        if has {
            let (index, generation) = (self.index_of(safe), known.agreed().enrolment.generation);
            if let Some(key) = &mut self.ways().passkey {
                key.at.insert(index, generation);
            }
        }
        has
    }

    /// The owner adds a passkey, or uses the one that he has once more, so that it is of the enrolment in force.
    pub(super) fn give_passkey(&mut self, owner: usize) {
        let Some(AtHome { known, root, accounts }) = self.at_home(owner) else { return };
        if self.ways().passkey.is_none() {
            let handle = Handle::make(self.person().name().clone(), &mut self.dice.0);
            let output = Secret::make_random(&mut self.dice.0);
            self.ways().passkey = Some(Passkey { handle, output, at: BTreeMap::new() });
        }
        let mut given = 0;
        for (safe, _) in &accounts {
            given += u64::from(self.give_passkey_at(&known, safe, &root));
        }
        self.say(|| format!("wallet {owner}: a passkey is given to {given} safes"));
        *self.report.operations.entry("passkey given").or_default() += u64::from(given > 0);
    }

    /// The owner prints a kit, and keeps it if it brings him back; then the one before counts no more.
    pub(super) fn print_kit(&mut self, owner: usize, tab: usize) {
        let Some(AtHome { known, root, accounts }) = self.at_home(owner) else { return };
        let (name, enrolment) = (self.person().name().clone(), known.agreed().enrolment.clone());
        let known_here = &self.owners[owner].known;
        let before = known_here.owner.as_ref().and_then(|owner| owner.kit.as_ref()).map(|kit| kit.code.clone());
        let (safes, lease_end) = (kit_safes(known_here), first_lease_end(known_here));
        let (said, moment) = ("alice-7kq4m2".to_owned(), (self.now, lease_end));
        let kit = Kit::make(said, enrolment.generation, enrolment.threshold, safes, moment, &mut self.dice.0);
        let mut paper = Paper { text: kit.to_text(), at: BTreeSet::new(), tries: 0 };
        for (safe, account) in &accounts {
            let actions = give_kit(&name, &kit, before.as_deref(), (safe, account), &mut self.dice.0).unwrap();
            let index = self.index_of(safe);
            let drawer = self.ways().paper.as_ref().and_then(|paper| Kit::parse(&paper.text).ok());
            let kept = drawer.map(|kit| kit.code());
            let listed = list(&name, &[(*safe, account.clone())]);
            let its = listed.into_iter().find(|one| Some(&one.label) == kept.as_ref());
            let revoked = |number| actions.iter().any(|one| matches!(one, Action::Revoke(other) if *other == number));
            if its.is_some_and(|its| its.at.iter().any(|at| revoked(at.number))) {
                assert!(kept != before, "the kit in the drawer makes room for one that is not printed yet");
                // Another device has printed it, and this one does not know which one counts.
                self.ways().forget_kit_at(index);
            }
            let outcomes = self.act_at(&known, safe, &actions);
            if matches!(outcomes.as_deref(), Some([.., Outcome::Added(_)])) {
                paper.at.insert(index);
            }
        }
        let seats: Vec<usize> = accounts.iter().map(|(safe, _)| self.index_of(safe)).collect();
        let tried = self.log_in(&seats, Some(Counter::Kit(kit.secret.clone())));
        let Some(tried) = tried.map(|known| Recognised::Passphrase(Box::new(known))) else { return };
        let mut proven = false;
        for (safe, account) in self.accounts(&tried) {
            let opened = account.and_then(|account| tried.open_root(&account).ok());
            proven |= opened.is_some_and(|opened| opened.expose().same_as(root.expose()));
            self.act_at(&tried, &safe, &vec![Action::Refund(tried.tries_at(&safe))]);
        }
        if !proven || paper.at.len() < usize::from(enrolment.threshold) {
            return;
        }
        // From here on the new one is in the drawer, whatever becomes of the one before.
        self.ways().paper = Some(paper);
        for (safe, account) in self.accounts(&known) {
            let Some(account) = account else { continue };
            let actions = keep_kit(&name, &kit, (&safe, &account));
            if !actions.is_empty() {
                self.act_at(&known, &safe, &actions);
            }
        }
        let printed = Printed::of(&kit);
        self.in_tab(owner, tab, |tab| tab.wallet.try_handle(Event::KitPrinted(printed)));
        self.say(|| format!("wallet {owner}: kit {} is printed", kit.code()));
        *self.report.operations.entry("kit printed").or_default() += 1;
    }

    /// The owner shows himself at these safes, this way; `None`: that is not to be had, or it does not bring him back.
    pub(super) fn show_by(&mut self, way: Way, group: &[usize]) -> Option<Recognised> {
        match way {
            Way::Passphrase => self.log_in(group, None).map(|known| Recognised::Passphrase(Box::new(known))),
            Way::Kit => {
                let (calm, ways) = (self.calm, self.ways());
                let paper = ways.paper.as_mut().filter(|paper| calm || paper.tries < TRIES)?;
                paper.tries += u32::from(!calm);
                let kit = Kit::parse(&paper.text).expect("it was printed");
                self.log_in(group, Some(Counter::Kit(kit.secret))).map(|known| Recognised::Passphrase(Box::new(known)))
            }
            Way::Passkey => self.by_passkey(group),
        }
    }

    /// As a wallet does it: what opens is looked at before anything is left anywhere, and where it is known for an enrolment before this one it is given anew.
    fn by_passkey(&mut self, group: &[usize]) -> Option<Recognised> {
        let device = self.ways().device()?;
        let mut agreed = self.look_around(group)?;
        let known = Recognised::Device(Box::new((agreed.clone(), device.clone())));
        let mut accounts = self.accounts(&known);
        let opens = |account: &Option<Account>| account.as_ref().and_then(|account| known.open_root(account).ok());
        let root = accounts.iter().find_map(|(_, account)| opens(account))?;
        for (safe, account) in &accounts {
            let here = account.as_ref().is_some_and(|a| a.current == Some(agreed.enrolment.id_at(safe)));
            if here && opens(account).is_none() {
                self.give_passkey_at(&known, safe, &root);
            }
        }
        accounts = self.accounts(&known);
        agreed.shown_by = accounts.iter().filter(|(_, account)| opens(account).is_some()).map(|(id, _)| *id).collect();
        let enough = agreed.shown_by.len() >= usize::from(agreed.enrolment.threshold);
        enough.then(|| Recognised::Device(Box::new((agreed, device))))
    }
}
