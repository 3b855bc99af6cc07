//! By what the owner is known at the safes, and the paper in the drawer: what safes list, put together, and whether the kit that was printed still fits.

use std::collections::BTreeMap;

use protocol::{
    certificate::read_unverified,
    crypto::CryptoError,
    ids::{SafeId, Seconds},
    owner::{
        device::Device,
        enrolment::OwnerRoot,
        kit::{Kit, KitSafe, Printed, safes_digest},
        login::{Agreed, Counter},
        messages::{Account, Action, CredentialKind, NewCredential},
        name::NameKey,
        note::{CredentialId, Note, credential_id},
    },
};
use rand_core::CryptoRng;

use crate::state::{Operation, Stage, State};

/// One credential, wherever it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What it is called at all safes; `None`: nobody has written down which it is.
    pub id: Option<CredentialId>,
    /// Its kind.
    pub kind: CredentialKind,
    /// What its owner calls it; may be empty.
    pub label: String,
    /// When it was added first.
    pub added: Seconds,
    /// Where it is known.
    pub at: Vec<KnownAt>,
}

/// A credential at one safe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownAt {
    /// Where.
    pub safe: SafeId,
    /// Its number there.
    pub number: u32,
    /// Of a device: for which enrolment it was added there.
    pub generation: Option<u32>,
}

impl Listed {
    /// What it is called in requests of the page.
    pub fn name(&self) -> String {
        match (&self.id, self.at.first()) {
            (Some(id), _) => hex(&id[..]),
            (None, Some(KnownAt { safe, number, .. })) => format!("{safe}/{number}"),
            (None, None) => String::new(),
        }
    }

    /// The safes at which it does not bring its owner back, for it was added before the enrolment that this wallet knows. Only devices are of one enrolment.
    pub fn behind(&self, generation: u32) -> impl Iterator<Item = &SafeId> {
        let device = self.kind == CredentialKind::Device;
        self.at.iter().filter(move |at| device && at.generation < Some(generation)).map(|at| &at.safe)
    }
}

fn hex(bytes: &[u8]) -> String {
    base16ct::lower::encode_string(bytes)
}

/// Puts together what safes list, the newest first. A credential without a note that opens stands by itself at each safe.
pub fn list(name: &NameKey, accounts: &[(SafeId, Account)]) -> Vec<Listed> {
    let mut noted: BTreeMap<[u8; 16], Listed> = BTreeMap::new();
    let mut others = Vec::new();
    for (safe, credential) in
        accounts.iter().flat_map(|(safe, account)| account.credentials.iter().map(move |c| (safe, c)))
    {
        let (number, kind, added) = (credential.number, credential.kind, credential.added);
        let here = |generation| KnownAt { safe: *safe, number, generation };
        match Note::open(name, safe, &credential.note) {
            Some(Note { id, label, generation }) => {
                let known = noted.entry(*id).or_insert(Listed { id: Some(id), kind, label, added, at: Vec::new() });
                known.added = known.added.min(added);
                known.at.push(here(generation));
            }
            None => others.push(Listed { id: None, kind, label: String::new(), added, at: vec![here(None)] }),
        }
    }
    let mut all: Vec<Listed> = noted.into_values().chain(others).collect();
    all.sort_by_key(|one| core::cmp::Reverse(one.added));
    all
}

/// What a safe is told of a device, for the first time or once more: with the root of the enrolment of now, and a note that says so.
///
/// # Errors
/// [`CryptoError`] never; the type is that of sealing.
pub fn give<R: CryptoRng>(
    name: &NameKey,
    safe: &SafeId,
    agreed: &Agreed,
    root: &OwnerRoot,
    (device, label): (&Device, &str),
    rng: &mut R,
) -> Result<Action, CryptoError> {
    let note = Note::new(device.credential_id(), label).of_generation(agreed.enrolment.generation);
    let note = note.seal(name, safe, rng)?;
    device.credential(agreed, root, safe, note, rng).map(Action::Add)
}

/// The kits that a safe lists, the newest first.
fn kits_at(name: &NameKey, safe: &SafeId, account: &Account) -> Vec<Listed> {
    let mut kits = list(name, &[(*safe, account.clone())]);
    kits.retain(|one| one.kind == CredentialKind::Kit);
    kits
}

/// What one safe is told of a new kit: those that were made and never printed make room for it; the one in the drawer stays until this one is beside it. `before`: the code of that
/// one, if this wallet has printed it.
///
/// # Errors
/// [`CryptoError`] never; the type is that of sealing.
pub fn give_kit<R: CryptoRng>(
    name: &NameKey,
    kit: &Kit,
    before: Option<&str>,
    (safe, account): (&SafeId, &Account),
    rng: &mut R,
) -> Result<Vec<Action>, CryptoError> {
    let code = kit.code();
    let kits = kits_at(name, safe, account);
    // Without knowing which one is in the drawer, the oldest is kept.
    let kept = kits.iter().find(|one| Some(one.label.as_str()) == before).or(kits.last()).map(Listed::name);
    let others = kits.iter().filter(|one| Some(one.name()) != kept && one.label != code);
    let mut actions: Vec<Action> = others.flat_map(|one| &one.at).map(|at| Action::Revoke(at.number)).collect();
    let note = Note::new(credential_id(&kit.secret), &code).seal(name, safe, rng)?.into();
    let (kind, key) = (CredentialKind::Kit, Counter::Kit(kit.secret.clone()).key_at(safe));
    actions.push(Action::Add(NewCredential { kind, key, note, wrap: None, locator: None }));
    Ok(actions)
}

/// What one safe is told when a kit is on paper: those before it count no more.
pub fn keep_kit(name: &NameKey, kit: &Kit, (safe, account): (&SafeId, &Account)) -> Vec<Action> {
    let code = kit.code();
    let others = kits_at(name, safe, account).into_iter().filter(|one| one.label != code);
    others.flat_map(|one| one.at).map(|at| Action::Revoke(at.number)).collect()
}

/// The owner's safes as a kit names them, where this wallet has them.
pub fn kit_safes(state: &State) -> Vec<KitSafe> {
    let seats = state.owner.iter().flat_map(|owner| &owner.seats);
    seats
        .filter_map(|seat| state.safes.get(&seat.safe))
        .map(|safe| KitSafe { id: safe.id, url: safe.url.clone() })
        .collect()
}

/// When the first of the leases ends that are running.
pub fn first_lease_end(state: &State) -> Option<Seconds> {
    let backups = state.backups.values().filter(|backup| backup.operation != Some(Operation::Release));
    let held = backups.flat_map(|backup| &backup.deposits).filter(|deposit| deposit.stage == Stage::Held);
    let signed = held.filter_map(|deposit| deposit.certificate.as_ref());
    signed.filter_map(|certificate| read_unverified(certificate).ok()).map(|says| says.lease_end).min()
}

/// Why the kit that was printed does not fit any more; `None`: it does.
pub fn why_stale(state: &State, printed: &Printed, now: Seconds) -> Option<&'static str> {
    let owner = state.owner.as_ref()?;
    if owner.generation != printed.generation {
        return Some("You have enrolled anew since it was printed.");
    }
    if safes_digest(&kit_safes(state)) != *printed.safes {
        return Some("Your safes, or their addresses, have changed since it was printed.");
    }
    // All leases are renewed as long as a wallet asks; the date on the paper is for when none does any more.
    printed
        .lease_end
        .filter(|end| *end <= now)
        .map(|_| "The date until which your safes had promised to keep everything is over.")
}
