//! Which pieces to fetch: the cheapest that suffice.
//!
//! Group by group the cheapest children are quickly found, but groups may share safes, and what is best for each need not be best for all. So
//! that is the beginning of a branch and bound: as long as a lower bound says that it may be done cheaper, a piece of the best choice so far is
//! once done without and once taken for granted.

use super::{Choice, Layout, Price, child_lengths, split_of};
use crate::{
    crypto::Secret,
    ids::SafeId,
    plan::{Node, Place, Plan},
};

/// What is known when a choice is made.
pub(super) struct Choosing<'a> {
    pub(super) keys: &'a [(Vec<u8>, Secret)],
    pub(super) price: Price<'a>,
}

/// Where a choice is being made.
#[derive(Clone, Copy)]
pub(super) struct Here<'a> {
    pub(super) segment: u32,
    /// Length of the node's content in the first segment.
    pub(super) length: u64,
    /// What is had anyway.
    pub(super) have: &'a [(u32, Place<SafeId>)],
}

/// Steps of a search. Plans whose groups share safes in no order at all may want more; then the best choice found so far is taken.
const MAX_STEPS: usize = 512;

/// A search for the cheapest choice.
pub(super) struct Search<'a> {
    pub(super) layout: &'a Layout,
    pub(super) segment: u32,
    pub(super) keys: &'a [(Vec<u8>, Secret)],
    pub(super) price: Price<'a>,
}

impl Search<'_> {
    /// The cheapest choice, if there is any.
    pub(super) fn run(&self) -> Option<Choice> {
        let (mut best, mut steps) = (None, MAX_STEPS);
        self.branch(&mut Vec::new(), &mut Vec::new(), &mut best, &mut steps);
        best
    }

    fn sum(&self, pieces: &[(u32, Place<SafeId>)]) -> u64 {
        let prices = pieces.iter().filter_map(|(segment, place)| (self.price)(*segment, place));
        prices.fold(0, u64::saturating_add)
    }

    fn branch(
        &self,
        taken: &mut Vec<(u32, Place<SafeId>)>,
        left: &mut Vec<(u32, Place<SafeId>)>,
        best: &mut Option<Choice>,
        steps: &mut usize,
    ) {
        let Some(rest) = steps.checked_sub(1) else { return };
        *steps = rest;
        let is = |list: &[(u32, Place<SafeId>)], segment: u32, place: &Place<SafeId>| {
            list.iter().any(|(s, p)| *s == segment && p == place)
        };
        let price = |segment: u32, place: &Place<SafeId>| match () {
            () if is(left, segment, place) => None,
            () if is(taken, segment, place) => Some(0),
            () => (self.price)(segment, place),
        };
        let choosing = Choosing { keys: self.keys, price: &price };
        let root = Here { segment: self.segment, length: self.layout.length(0), have: &[] };
        let Some(mut choice) = choosing.node(&self.layout.plan, &mut Vec::new(), root) else { return };
        choice.cost = self.sum(&choice.uses);
        let open = choice.uses.iter().filter(|(segment, place)| price(*segment, place).is_some_and(|price| price > 0));
        let dearest = open.max_by_key(|(segment, place)| price(*segment, place)).cloned();
        if best.as_ref().is_none_or(|best| choice.cost < best.cost) {
            *best = Some(choice);
        }
        let least = choosing.least(&self.layout.plan, &mut Vec::new(), root).unwrap_or_default();
        let bound = self.sum(taken).saturating_add(least);
        if best.as_ref().is_some_and(|best| bound >= best.cost) {
            return;
        }
        let Some(dearest) = dearest else { return };
        left.push(dearest.clone());
        self.branch(taken, left, best, steps);
        left.pop();
        taken.push(dearest);
        self.branch(taken, left, best, steps);
        taken.pop();
    }
}

impl Choosing<'_> {
    /// No way to a node's content is cheaper than this.
    fn least(&self, plan: &Plan<SafeId>, path: &mut Vec<u8>, here: Here<'_>) -> Option<u64> {
        let Here { segment, length, .. } = here;
        let known = segment > 0 && self.keys.iter().any(|(known, _)| known == path);
        let child = |path: &mut Vec<u8>, number: u8| {
            let (length, _) = child_lengths(plan, number, (length, length), 0)?;
            path.push(number);
            let least =
                plan.children().get(usize::from(number)).and_then(|c| self.least(c, path, Here { length, ..here }));
            path.pop();
            least
        };
        // What several children have in common is paid for once, so only what is apart may be added up.
        let apart = || {
            let places = plan.children().into_iter().map(|child| child.places().into_iter().map(|(_, place)| place));
            let places: Vec<Vec<&Place<SafeId>>> = places.map(Iterator::collect).collect();
            let shared = |(i, of): (usize, &Vec<&Place<SafeId>>)| places[..i].iter().flatten().any(|p| of.contains(p));
            !places.iter().enumerate().any(shared)
        };
        let of_some = |path: &mut Vec<u8>, k: usize, may: &dyn Fn(&Plan<SafeId>) -> bool| {
            let children = (0..).zip(plan.children()).filter(|(_, child)| may(child));
            let mut all: Vec<u64> = children.filter_map(|(number, _)| child(path, number)).collect();
            all.sort_unstable();
            all.truncate(k);
            let most = all.last().copied()?;
            (all.len() == k).then(|| if apart() { all.into_iter().fold(0, u64::saturating_add) } else { most })
        };
        // Both may need pieces of the first segment for what is further down, and the same ones.
        let with_first = |path: &mut Vec<u8>, here_alone: Option<u64>| match known {
            true => here_alone,
            false => Some(here_alone?.max(self.least(plan, path, Here { segment: 0, ..here })?)),
        };
        match plan.node() {
            Node::Place(Place::Memory) => (self.price)(0, &Place::Memory).map(|_| 0),
            Node::Place(place) => (self.price)(segment, place),
            Node::Copies(_) => of_some(path, 1, &|_| true),
            Node::Disperse(group) => of_some(path, group.k(), &|_| true),
            Node::Split(group) => {
                let (bulky, k) = split_of(group, length);
                if segment == 0 || !bulky {
                    return of_some(path, group.k(), &|_| true);
                }
                let shards = of_some(path, k, &|child| !child.is_chosen());
                with_first(path, shards)
            }
            Node::Seal { key, .. } if segment == 0 => of_some(path, 1 + key.len(), &|_| true),
            Node::Seal { .. } => {
                let content = child(path, 0);
                with_first(path, content)
            }
        }
    }

    /// The cheapest way to a node's content in a segment, beside what is had anyway, group by group.
    pub(super) fn node(&self, plan: &Plan<SafeId>, path: &mut Vec<u8>, here: Here<'_>) -> Option<Choice> {
        let Here { segment, length, have } = here;
        let known = segment > 0 && self.keys.iter().any(|(known, _)| known == path);
        let any = |_: &Plan<SafeId>| true;
        match plan.node() {
            Node::Place(place) => {
                // Words serve every segment.
                let segment = if *place == Place::Memory { 0 } else { segment };
                if have.iter().any(|(s, p)| *s == segment && p == place) {
                    return Some(Choice { segment, ..Choice::default() });
                }
                let cost = (self.price)(segment, place)?;
                Some(Choice { segment, cost, uses: vec![(segment, place.clone())], ..Choice::default() })
            }
            Node::Copies(_) => self.cheapest(plan, path, here, 1, &any),
            Node::Disperse(group) => self.cheapest(plan, path, here, group.k(), &any),
            Node::Split(group) => {
                let (bulky, k) = split_of(group, length);
                if segment == 0 || !bulky {
                    return self.cheapest(plan, path, here, group.k(), &any);
                }
                let shards = self.cheapest(plan, path, here, k, &|child| !child.is_chosen())?;
                if known { Some(shards) } else { self.with_first(shards, plan, path, here) }
            }
            Node::Seal { key, .. } => {
                let mut choice = Choice { segment, ..Choice::default() };
                self.pick(&mut choice, plan, path, 0, here)?;
                if segment > 0 {
                    return if known { Some(choice) } else { self.with_first(choice, plan, path, here) };
                }
                for (number, _) in (1..).zip(key) {
                    self.pick(&mut choice, plan, path, number, here)?;
                }
                Some(choice)
            }
        }
    }

    fn with_first(
        &self,
        mut choice: Choice,
        plan: &Plan<SafeId>,
        path: &mut Vec<u8>,
        here: Here<'_>,
    ) -> Option<Choice> {
        let have = [here.have, &choice.uses].concat();
        let first = self.node(plan, path, Here { segment: 0, have: &have, ..here })?;
        choice.cost = choice.cost.saturating_add(first.cost);
        choice.uses.extend(first.uses.iter().cloned());
        choice.first = Some(Box::new(first));
        Some(choice)
    }

    /// Adds a child to a choice.
    fn pick(
        &self,
        choice: &mut Choice,
        plan: &Plan<SafeId>,
        path: &mut Vec<u8>,
        number: u8,
        here: Here<'_>,
    ) -> Option<()> {
        let children = plan.children();
        let child = children.get(usize::from(number))?;
        let (length, _) = child_lengths(plan, number, (here.length, here.length), 0)?;
        let have = [here.have, &choice.uses].concat();
        path.push(number);
        let picked = self.node(child, path, Here { length, have: &have, ..here });
        path.pop();
        let picked = picked?;
        choice.cost = choice.cost.saturating_add(picked.cost);
        choice.uses.extend(picked.uses.iter().cloned());
        choice.picks.push((number, picked));
        Some(())
    }

    /// The k cheapest children.
    fn cheapest(
        &self,
        plan: &Plan<SafeId>,
        path: &mut Vec<u8>,
        here: Here<'_>,
        k: usize,
        may: &dyn Fn(&Plan<SafeId>) -> bool,
    ) -> Option<Choice> {
        let mut prices: Vec<(u64, u8)> = Vec::new();
        for (number, child) in (0..).zip(plan.children()) {
            let mut alone = Choice { segment: here.segment, ..Choice::default() };
            if may(child) && self.pick(&mut alone, plan, path, number, here).is_some() {
                prices.push((alone.cost, number));
            }
        }
        // Stable in the order of the children: data shards need no arithmetic.
        prices.sort_unstable();
        if prices.len() < k {
            return None;
        }
        let mut numbers: Vec<u8> = prices.into_iter().take(k).map(|(_, number)| number).collect();
        numbers.sort_unstable();
        let mut choice = Choice { segment: here.segment, ..Choice::default() };
        for number in numbers {
            self.pick(&mut choice, plan, path, number, here)?;
        }
        Some(choice)
    }
}
