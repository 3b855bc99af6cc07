//! The owner's next enrolment in the browser: the passphrase in force is tried, what becomes of the new one is made and handed to the machine ([`crate::changing`]).

use std::rc::Rc;

use protocol::{
    crypto::{PassphraseCost, Secret},
    ids::SafeId,
    owner::{
        enrolment::{Enrolling, OwnerRoot, Stretched, may_be},
        login::Recognised,
        name::NameKey,
    },
    passphrase::{self, check_new},
};

use crate::{
    changing::{Change, OldKey, taken},
    machine::{Event, WalletError},
    owner::Making,
    state::Level,
    web::{
        credentials::DoneReport,
        driver::{Driver, fresh_rng},
        error::EngineError,
        nfc,
    },
};

impl Driver {
    /// Changes the passphrase (`new`; `None`: it stays), the safes and how many of them must answer. `instead`: in the place of a change that another device has begun, which
    /// is gone.
    pub(crate) async fn change_owner(
        self: &Rc<Self>,
        current: &str,
        new: Option<&str>,
        threshold: u8,
        safes: &[String],
        instead: bool,
    ) -> Result<(), EngineError> {
        let ids = safes.iter().map(|id| super::safe_id(id)).collect::<Result<Vec<_>, _>>()?;
        self.change_to((current, new), threshold, &ids, (instead, false)).await
    }

    /// Shuts out whoever has a device that is lost: the safes forget it, another root takes the place of the one that it knew (with another passphrase, if there is one), and what
    /// that has told of is protected anew.
    pub(crate) async fn device_lost(
        self: &Rc<Self>,
        credential: &str,
        current: &str,
        new: Option<&str>,
    ) -> Result<DoneReport, EngineError> {
        // What is wrong with it is said before anything is done.
        new.map(|typed| check_new(typed, nfc)).transpose()?;
        let report = self.revoke(credential, current).await?;
        let owner = self.with(|open| open.state.owner.clone())?.ok_or(WalletError::Unknown("owner"))?;
        let safes: Vec<SafeId> = owner.seats.iter().map(|seat| seat.safe).collect();
        // A change that is announced may be that device's: it is not to hold its owner up.
        self.change_to((current, new), owner.threshold, &safes, (true, true)).await?;
        Ok(report)
    }

    async fn change_to(
        self: &Rc<Self>,
        (current, new): (&str, Option<&str>),
        threshold: u8,
        ids: &[SafeId],
        (instead, renews): (bool, bool),
    ) -> Result<(), EngineError> {
        let current = passphrase::normalise(current, nfc)?;
        let new = match new {
            Some(typed) => check_new(typed, nfc)?,
            None => current.clone(),
        };
        if !may_be(usize::from(threshold), ids.len()) {
            let text = "More than half of the safes must be needed, and at least two.";
            return Err(EngineError::new(("bad-threshold", text, Some("Choose other numbers."))));
        }
        let owner = self.with(|open| open.state.owner.clone())?.ok_or(WalletError::Unknown("owner"))?;
        let busy = owner.changing.as_ref().is_some_and(|changing| !changing.switched);
        let root = owner.root.clone().filter(|_| owner.writes() && !busy).ok_or(WalletError::Busy)?;
        if owner.announced.is_some() && !instead {
            return Err(WalletError::Announced.into());
        }
        let key = NameKey::new(owner.name_key.clone());
        // The safes of the enrolment in force, as this wallet knows them.
        let seats = self.with(|open| {
            let known = owner.seats.iter().filter_map(|seat| open.state.safes.get(&seat.safe));
            known.cloned().collect::<Vec<_>>()
        })?;
        let urls = seats.into_iter().map(|safe| safe.url).collect();
        let mut coming = self.look_around(owner.name.clone(), key.clone(), urls).await?;
        if coming.agreed.enrolment.generation != owner.generation.max(1) {
            return Err(WalletError::Outdated.into());
        }
        // An enrolled wallet has guesses of its own, so that no stranger keeps its owner from acting.
        coming.counted_by(Some(owner.credential.clone()));
        let (known, _) = self.log_in(&coming, &current).await?;
        let mut ids = ids.to_vec();
        if instead {
            let shown = Recognised::Passphrase(Box::new(known.clone()));
            let accounts = self.accounts_at_home(&coming, &shown).await;
            let asked = coming.safes.iter().map(|found| &found.safe.id).zip(&accounts);
            let taken = taken(known.agreed(), asked.filter_map(|(id, account)| Some((id, account.as_ref()?))));
            let names = self.with(|open| {
                let wanted = taken.iter().filter(|id| ids.contains(id));
                wanted.map(|id| open.state.nickname(id)).collect::<Vec<_>>().join(", ")
            })?;
            if !names.is_empty() {
                let text = format!(
                    "What the other device had begun is in force at {names}, so it no longer brings you back. Choose another safe in its place."
                );
                ids.retain(|id| !taken.contains(id));
                self.handle(Event::Note(Level::Warning, text)).await?;
            }
        }
        let threshold = threshold.min(u8::try_from(ids.len()).unwrap_or(u8::MAX));
        if !may_be(usize::from(threshold), ids.len()) {
            let text = "Too few of your safes are left that know the passphrase in force.";
            return Err(EngineError::new(("too-few-safes", text, Some("Change to other safes under “Recover”."))));
        }
        let mut rng = fresh_rng()?;
        let enrolment = &known.agreed().enrolment;
        let last = enrolment.generation.max(owner.announced.map_or(0, |other| other.generation));
        let generation = last.saturating_add(1);
        let seed = Secret::make_random(&mut rng);
        let enrolling = Enrolling::start(&seed, &ids, threshold, &new, PassphraseCost::STANDARD)?;
        let enrolling = enrolling.after(OwnerRoot::new(root));
        let (stretch, output) = enrolling.to_stretch();
        let stretched = self.derive_key_of(stretch, output).await?;
        let made = enrolling.finish(&Stretched::new(stretched.clone()), &key, generation)?;
        let old = enrolment.seats.iter().map(|seat| OldKey::of(&known, &seat.safe)).collect();
        let change = Change { generation, threshold, making: Making::of(&made, stretched), old, instead, renews };
        self.with(|open| open.session.came_back())?;
        self.handle(Event::ChangeOwner(Box::new(change))).await
    }
}
