//! By what the owner is known at the safes, and the paper in the drawer: what safes list, put together, and whether the kit that was printed still fits.

use std::collections::BTreeMap;

use protocol::{
    certificate::read_unverified,
    ids::{SafeId, Seconds},
    owner::{
        kit::{KitSafe, Printed, safes_digest},
        messages::{Account, CredentialKind},
        name::NameKey,
        note::{CredentialId, Note},
    },
};

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
    /// Where it is known, and under which number.
    pub at: Vec<(SafeId, u32)>,
}

impl Listed {
    /// What it is called in requests of the page.
    pub fn name(&self) -> String {
        match (&self.id, self.at.first()) {
            (Some(id), _) => hex(&id[..]),
            (None, Some((safe, number))) => format!("{safe}/{number}"),
            (None, None) => String::new(),
        }
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
        let here = (*safe, credential.number);
        let (kind, added) = (credential.kind, credential.added);
        match Note::open(name, safe, &credential.note) {
            Some(Note { id, label }) => {
                let known = noted.entry(*id).or_insert(Listed { id: Some(id), kind, label, added, at: Vec::new() });
                known.added = known.added.min(added);
                known.at.push(here);
            }
            None => others.push(Listed { id: None, kind, label: String::new(), added, at: vec![here] }),
        }
    }
    let mut all: Vec<Listed> = noted.into_values().chain(others).collect();
    all.sort_by_key(|one| core::cmp::Reverse(one.added));
    all
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
