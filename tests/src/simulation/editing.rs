//! Changes of somebody who has several devices: whichever he makes where, and whichever device he comes back on, each of them is kept that was not
//! written over by who had it before him.

use std::collections::BTreeMap;

use protocol::{
    crypto::blake3,
    ids::{BackupId, EditionId, Root, ValueId},
};
use wallet_wasm::{
    machine::Event,
    owner::Owner as Enrolled,
    state::{Backup, Content, Next, Operation, Value},
};

use super::{Owner, World};

/// What a value was changed into.
pub(super) struct Draft {
    pub(super) content: Vec<u8>,
    edition: Option<EditionId>,
    /// More was lost of it than its plan stands.
    excused: bool,
}

impl Draft {
    /// Whether it is the content that somebody has of a value.
    fn is_at(&self, place: &Owner<'_>, value: &Value) -> bool {
        value.content.as_ref().is_some_and(|here| here.root == Some(root(&self.content)) && place.disk.has(&here.blob))
    }

    /// Whether a backup is one of it.
    fn is_in(&self, backup: &Backup) -> bool {
        let roots = || backup.roots.iter().flatten().any(|known| *known == Some(root(&self.content)));
        let editions = || backup.values.iter().any(|meta| meta.edition() == self.edition);
        roots() || self.edition.is_some() && editions()
    }
}

/// All of somebody's drafts.
pub(super) type Drafts = BTreeMap<Root, Draft>;

fn root(content: &[u8]) -> Root {
    Root(blake3(content))
}

impl World<'_, '_> {
    /// From now on a change that he made is known by what it is, and not by its value: of one value there may be several.
    pub(super) fn draft_all_of(&mut self, owner: usize) {
        let place = &mut self.owners[owner];
        let edition = |id: &ValueId| place.known.values.get(id).and_then(|value| value.meta.edition());
        let changed: Vec<(ValueId, EditionId)> =
            place.expected.keys().filter_map(|id| Some((*id, edition(id)?))).collect();
        let mut drafts = Drafts::new();
        for (id, edition) in changed {
            let Some(content) = place.expected.remove(&id) else { continue };
            let excused = place.excused.contains(&id);
            drafts.insert(root(&content), Draft { content, edition: Some(edition), excused });
        }
        self.person_mut().drafts.extend(drafts);
    }

    /// He goes to one of his devices, has his values there, and changes them.
    pub(super) fn edit(&mut self, step: usize) {
        let Some(owner) = self.dice.pick(&self.person().devices.clone()) else { return };
        let tab = self.dice.below(self.owners[owner].tabs.len());
        self.take_over(owner, tab);
        let Some(place) = self.owners[owner].tabs.get(tab) else { return };
        let state = &place.wallet.state;
        if !state.owner.as_ref().is_some_and(Enrolled::writes) {
            self.come_back(owner, tab);
            return;
        }
        let of = |value: &Value| {
            let (backup, id) = (value.backup?, value.meta.id);
            let often = !value.meta.lives_once() && state.backups.get(&backup)?.operation.is_none();
            often.then(|| (backup, state.is_local(&id), state.is_changed(value)))
        };
        let backed_up: Vec<_> = state.values.values().filter_map(of).collect();
        let (kind, event) = match self.dice.pick(&backed_up) {
            Some((backup, false, _)) => ("recover", Event::Recover(backup, Vec::new())),
            Some((backup, true, true)) => {
                let (next, plan, words) = self.plan_with_words();
                ("renew", Event::Renew(backup, Next { backup: next, plan, words }))
            }
            _ => return self.change_draft(owner, tab, step),
        };
        let result = self.in_tab(owner, tab, |tab| tab.wallet.try_handle(event));
        self.say(|| format!("wallet {owner}, window {tab}: {kind}: {result:?}"));
        if matches!(result, Some(Ok(()))) {
            *self.report.operations.entry(kind).or_default() += 1;
        }
    }

    /// One of his devices has what he changes on another one, and may have changed it, too. For a while nothing goes wrong, for this takes both devices and their safes; then he comes back
    /// on the one that does not know.
    pub(super) fn edit_apart(&mut self) {
        // Some that no other one of his has.
        let step = 3 * super::STEPS + self.report.steps as usize;
        let mut devices = self.person().devices.clone();
        let Some(first) = self.dice.pick(&devices) else { return };
        devices.retain(|at| *at != first);
        let Some(second) = self.dice.pick(&devices) else { return };
        let calm = std::mem::replace(&mut self.calm, true);
        self.change_on_one(first, second, step);
        self.calm = calm;
        let before = self.contents_of(second);
        self.come_back(second, 0);
        self.look_for_contents(second, &before);
    }

    /// What a device has of values that may live more than once.
    fn contents_of(&self, at: usize) -> Vec<(ValueId, Content)> {
        let often = self.owners[at].known.values.values().filter(|value| !value.meta.lives_once());
        often.filter_map(|value| Some((value.meta.id, value.content.clone()?))).collect()
    }

    /// Whatever its owner heard of, all that a device had is there, under whichever name, until what is in its place is there, too.
    fn look_for_contents(&self, at: usize, before: &[(ValueId, Content)]) {
        let place = &self.owners[at];
        for (id, content) in before {
            let same = |here: &Content| here.root == content.root && place.disk.has(&here.blob);
            let here = place.known.values.values().filter_map(|value| value.content.as_ref()).any(same);
            assert!(here, "what wallet {at} had of {id} is gone, and nothing is in its place so far");
        }
    }

    /// What was kept until a change is there waits for something, and only as long as that is not there.
    fn look_at_kept(&self) {
        for at in &self.person().devices {
            let values = &self.owners[*at].known.values;
            for (kept, until) in values.values().filter_map(|kept| Some((kept, kept.until?))) {
                let comes = values.get(&until).is_some_and(|value| value.content.is_none() && value.backup.is_some());
                assert!(comes && kept.backup.is_none(), "{} of wallet {at} waits for nothing", kept.meta.id);
            }
        }
    }

    /// A backup with which nothing is done is one of some value.
    fn look_for_leftovers(&self) {
        for at in &self.person().devices {
            let known = &self.owners[*at].known;
            let idle = known.backups.values().filter(|backup| backup.operation.is_none() && backup.chapter.is_none());
            for backup in idle.filter(|backup| backup.replaces.is_none()) {
                let used = known.values.values().any(|value| value.backup == Some(backup.id));
                assert!(used, "{} of wallet {at} is of no value, and nobody lets it go", backup.id);
            }
        }
    }

    fn change_on_one(&mut self, first: usize, second: usize, step: usize) {
        let mut left = 150;
        self.come_back(first, 0);
        self.put_in_as(first, 0, step, false);
        let of_first = self.owners[first].known.values.values();
        let free =
            of_first.filter(|value| value.backup.is_none() && value.content.is_some() && !value.meta.lives_once());
        let free: Vec<ValueId> = free.map(|value| value.meta.id).collect();
        if let Some(value) = self.dice.pick(&free) {
            let (_, register) = self.registration(first, 0, &[value]);
            self.in_tab(first, 0, |tab| tab.wallet.try_handle(register));
        }
        while self.go_on(&mut left) {}
        self.come_back(second, 0);
        while self.go_on(&mut left) {}
        let known = |at: usize| &self.owners[at].known;
        let shared = |value: &&Value| {
            let backup = value.backup.filter(|id| known(second).backups.contains_key(id));
            let idle = backup.is_some_and(|id| known(first).backups.get(&id).is_some_and(|b| b.operation.is_none()));
            let other = known(second).values.get(&value.meta.id);
            idle && !value.meta.lives_once() && other.is_some_and(|other| other.backup == value.backup)
        };
        let all: Vec<(ValueId, Option<BackupId>)> =
            known(first).values.values().filter(shared).map(|value| (value.meta.id, value.backup)).collect();
        let Some((id, Some(backup))) = self.dice.pick(&all) else { return };
        for at in [first, second] {
            if !self.owners[at].known.is_local(&id) {
                self.in_tab(at, 0, |tab| tab.wallet.try_handle(Event::Recover(backup, vec![id])));
            }
        }
        while self.go_on(&mut left) {}
        if self.dice.one_of(3) {
            self.change_draft_of(second, 0, step, id);
        }
        self.come_back(first, 0);
        self.change_draft_of(first, 0, step, id);
        let next = Next { backup: BackupId::make_random(&mut self.dice.0), plan: self.plan(), words: None };
        let renewed = self.in_tab(first, 0, |tab| tab.wallet.try_handle(Event::Renew(backup, next)));
        self.say(|| format!("wallet {first}: changes {id}, which wallet {second} has: {renewed:?}"));
        while self.go_on(&mut left) {}
    }

    /// He changes a value on one of his devices.
    pub(super) fn change_draft(&mut self, owner: usize, tab: usize, step: usize) {
        let place = &self.owners[owner];
        let mine = place.known.values.values().filter(|value| value.content.is_some() && !value.meta.lives_once());
        let mine: Vec<ValueId> = mine.map(|value| value.meta.id).collect();
        let Some(id) = self.dice.pick(&mine) else { return };
        self.change_draft_of(owner, tab, step, id);
    }

    fn change_draft_of(&mut self, owner: usize, tab: usize, step: usize, id: ValueId) {
        let Some(Ok(before)) = self.in_tab(owner, tab, |tab| Ok(tab.wallet.try_content(&id))) else { return };
        let Some(Ok(before)) = before else { return };
        // As long as before, or longer.
        let mut text = before.clone();
        text.reverse();
        let mark = format!("changed {owner}-{step} ").into_bytes();
        let over = if self.dice.one_of(2) { mark.len().min(text.len() - super::check::TRACE) } else { 0 };
        text.splice(..over, mark);
        let result = self.in_tab(owner, tab, |tab| tab.wallet.change(&id, &text));
        self.say(|| format!("wallet {owner}, window {tab}: change {id}: {result:?}"));
        // Whoever was not told may find it changed all the same.
        let Some(value) = self.owners[owner].known.values.get(&id) else { return };
        if value.content.as_ref().is_none_or(|content| content.root != Some(root(&text))) {
            return;
        }
        let edition = value.meta.edition();
        let devices = self.devices_of(owner);
        for at in devices {
            let expected = &mut self.owners[at].expected;
            if expected.get(&id) == Some(&before) {
                expected.remove(&id);
            }
        }
        let drafts = &mut self.person_mut().drafts;
        drafts.remove(&root(&before));
        drafts.insert(root(&text), Draft { content: text, edition, excused: false });
        *self.report.operations.entry("change of one of several devices").or_default() += 1;
    }

    /// He deletes what a device has of a value.
    pub(super) fn remove_draft(&mut self, content: &[u8]) {
        if let Some(person) = &mut self.person {
            person.drafts.remove(&root(content));
        }
    }

    /// What a device alone had goes with it.
    pub(super) fn forget_drafts(&mut self) {
        let kept = |draft: &Draft| self.has_draft(draft);
        let gone = self.person().drafts.iter().filter(|(_, draft)| !kept(draft));
        let gone: Vec<Root> = gone.map(|(root, _)| *root).collect();
        self.person_mut().drafts.retain(|root, _| !gone.contains(root));
    }

    /// How often a device found that something was changed elsewhere.
    fn count_merges(&mut self) {
        let notes = |text: &str| {
            let places = self.person().devices.iter().map(|at| &self.owners[*at]);
            places.flat_map(|place| &place.known.activity).filter(|note| note.text.contains(text)).count() as u64
        };
        let (gives_way, both) = (notes("was changed on another device"), notes("and on another one. Both are kept"));
        *self.report.operations.entry("device takes a change over").or_default() += gives_way;
        *self.report.operations.entry("change kept as both").or_default() += both;
    }

    fn has_draft(&self, draft: &Draft) -> bool {
        let mut places = self.person().devices.iter().map(|at| &self.owners[*at]);
        places.any(|place| place.known.values.values().any(|value| draft.is_at(place, value)))
    }

    fn backups_of<'w>(&'w self, draft: &'w Draft) -> impl Iterator<Item = (usize, &'w Backup)> {
        let all = self.person().devices.iter().flat_map(|at| {
            let backups = self.owners[*at].known.backups.values();
            backups.map(|backup| (*at, backup))
        });
        all.filter(|(_, backup)| draft.is_in(backup))
    }

    /// What a device has and holds to be backed up is what was backed up.
    fn look_at_copies(&self) {
        let devices = || self.person().devices.iter().map(|at| (*at, &self.owners[*at]));
        let root = |backup: &Backup, at: usize| backup.roots.as_ref().and_then(|roots| *roots.get(at)?);
        let of = |backup: &Backup, value: &ValueId| {
            let at = backup.values.iter().position(|meta| meta.id == *value)?;
            let mut known = devices().filter_map(|(_, place)| place.known.backups.get(&backup.id));
            known.find_map(|backup| root(backup, at))
        };
        for (at, place) in devices() {
            for value in place.known.values.values().filter(|value| !place.known.is_changed(value)) {
                let (Some(content), Some(backup)) = (&value.content, value.backup) else { continue };
                let Some(backup) = place.known.backups.get(&backup) else { continue };
                let fine = of(backup, &value.meta.id).is_none_or(|root| content.root == Some(root));
                assert!(fine, "{} of wallet {at} is not what was backed up, and nobody says so", value.meta.id);
            }
        }
    }

    /// What one of his devices lets go nobody may wait for any more.
    fn see_what_is_let_go(&mut self) {
        let backups = self.person().devices.iter().flat_map(|at| self.owners[*at].known.backups.values());
        let let_go = backups.filter(|backup| backup.operation == Some(Operation::Release)).map(|backup| backup.id);
        let let_go: Vec<BackupId> = let_go.collect();
        self.person_mut().let_go.extend(let_go);
    }

    /// Each is on a device, or at the safes.
    pub(super) fn look_at_drafts(&mut self) {
        if self.person.is_none() {
            return;
        }
        self.look_at_copies();
        self.look_at_kept();
        self.see_what_is_let_go();
        let person = self.person();
        let mut beyond = Vec::new();
        for (root, draft) in person.drafts.iter().filter(|(_, draft)| !draft.excused) {
            let mut backups = self.backups_of(draft).map(|(_, backup)| backup);
            if self.has_draft(draft) || backups.any(|backup| self.is_recoverable(backup)) {
                continue;
            }
            let lost = self.backups_of(draft).any(|(_, backup)| self.is_beyond(backup));
            assert!(
                lost,
                "a change ({:?}) of whoever is enrolled is lost, and the safes are not to blame",
                draft.edition
            );
            beyond.push(*root);
        }
        for root in beyond {
            self.fault("more lost than the plan stands");
            self.person_mut().drafts.entry(root).and_modify(|draft| draft.excused = true);
        }
    }

    /// In the end each is what some value of a device is.
    pub(super) fn prove_drafts(&mut self) {
        self.count_merges();
        self.look_for_leftovers();
        for draft in self.person().drafts.values().filter(|draft| !draft.excused) {
            let stranded = self.backups_of(draft).any(|(at, backup)| self.is_stranded(at, backup));
            let mut places = self.person().devices.iter().map(|at| &self.owners[*at]);
            let here = places.any(|place| {
                let has = |value: &Value| {
                    draft.is_at(place, value)
                        && place.tabs[0].wallet.content(&value.meta.id).as_ref() == Some(&draft.content)
                };
                place.known.values.values().any(has)
            });
            assert!(here || stranded, "a change ({:?}) does not come back", draft.edition);
        }
    }
}
