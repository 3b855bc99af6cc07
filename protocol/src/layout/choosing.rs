//! Which pieces to fetch: the cheapest that suffice.

use super::{Choice, Price, child_lengths, split_of};
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

impl Choosing<'_> {
    /// The cheapest way to a node's content in a segment, beside what is had anyway.
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
