//! From a choice of pieces to the program that rebuilds a segment: the inverse of laying out, bottom up.

use super::{Choice, KEY, WRAP_LEN, child_lengths, first, sharded, share_len, split_of};
use crate::{
    ids::SafeId,
    plan::{Group, Node, Place, Plan},
    program::{At, BLIND_LEN, Program, Reg, Sealing, Step},
    seal::sealed_len,
};

/// A register, and the pieces of its segment that it was made from.
pub(super) type Rebuilt = (Reg, Vec<usize>);

/// A program that rebuilds a segment, as far as it is written.
#[derive(Default)]
pub(super) struct Rebuilding {
    pub(super) program: Program,
    takes: Vec<(At, Reg)>,
    /// Keys that the program itself has found.
    found: Vec<(Vec<u8>, Reg)>,
}

impl Rebuilding {
    /// Rebuilds the content of a node from what was chosen.
    pub(super) fn node(
        &mut self,
        plan: &Plan<SafeId>,
        path: &mut Vec<u8>,
        choice: &Choice,
        depth: usize,
        lengths: (u64, u64),
    ) -> Rebuilt {
        let at = At { path: path.clone(), segment: choice.segment };
        match plan.node() {
            Node::Place(Place::Memory) => {
                let len = lengths.1 as usize;
                (self.program.add(|out| Step::Words { at, len, out }), Vec::new())
            }
            Node::Place(_) => {
                let known = self.takes.iter().position(|(taken, _)| *taken == at);
                let number = known.unwrap_or_else(|| {
                    let out = self.program.add(|out| Step::Take { at: at.clone(), out });
                    self.takes.push((at, out));
                    self.takes.len() - 1
                });
                (self.takes[number].1, vec![number])
            }
            Node::Copies(_) => {
                let picked = self.picks(plan, path, choice, depth, lengths);
                picked.into_iter().next().map_or((0, Vec::new()), |(_, rebuilt)| rebuilt)
            }
            Node::Disperse(group) => {
                let picked = self.picks(plan, path, choice, depth + 1, lengths);
                let taken: Vec<usize> = picked.iter().flat_map(|(_, (_, taken))| taken.clone()).collect();
                let shards = picked.iter().map(|(number, (reg, _))| (usize::from(*number), *reg)).collect();
                let (k, n, len) = (group.k(), group.children().len(), lengths.1);
                let out = self.program.add(|out| Step::Decode { k, n, len, shards, out });
                self.check(at, depth, vec![out], &taken);
                (out, taken)
            }
            Node::Split(group) => self.split(plan, group, path, choice, depth, lengths),
            Node::Seal { .. } => {
                let (key, sealed, taken) = self.unsealed(plan, path, choice, depth, lengths);
                let what = Sealing::Content;
                (self.program.add(|out| Step::Open { what, at, key, input: sealed, out }), taken)
            }
        }
    }

    fn picks(
        &mut self,
        plan: &Plan<SafeId>,
        path: &mut Vec<u8>,
        choice: &Choice,
        depth: usize,
        lengths: (u64, u64),
    ) -> Vec<(u8, Rebuilt)> {
        let children = plan.children();
        let mut rebuilt = Vec::with_capacity(choice.picks.len());
        for (number, picked) in &choice.picks {
            let child = children.get(usize::from(*number));
            let lengths = child_lengths(plan, *number, lengths, choice.segment);
            let Some((child, lengths)) = child.zip(lengths) else { continue };
            path.push(*number);
            rebuilt.push((*number, self.node(child, path, picked, depth, lengths)));
            path.pop();
        }
        rebuilt
    }

    fn check(&mut self, at: At, depth: usize, parts: Vec<Reg>, taken: &[usize]) {
        self.program.steps.push(Step::Check { at, depth, parts, taken: taken.to_vec() });
    }

    fn cut(&mut self, input: Reg, len: u64) -> (Reg, Reg) {
        let (first, second) = (self.program.fresh(), self.program.fresh());
        self.program.steps.push(Step::Cut { input, len: len as usize, first, second });
        (first, second)
    }

    fn key(&mut self, path: &[u8]) -> Reg {
        match self.found.iter().find(|(known, _)| known == path) {
            Some((_, reg)) => *reg,
            None => self.program.add(|out| Step::Know { path: path.to_vec(), out }),
        }
    }

    fn learn(&mut self, path: &[u8], key: Reg) {
        self.program.steps.push(Step::Learn { path: path.to_vec(), key });
        self.found.push((path.to_vec(), key));
    }

    /// (content key, sealed content, pieces) of a seal.
    fn unsealed(
        &mut self,
        plan: &Plan<SafeId>,
        path: &mut Vec<u8>,
        choice: &Choice,
        depth: usize,
        lengths: (u64, u64),
    ) -> (Reg, Reg, Vec<usize>) {
        if let Some(first) = &choice.first {
            self.unsealed(plan, path, first, depth, (lengths.0, lengths.0));
        }
        let picked = self.picks(plan, path, choice, depth, lengths);
        let taken = picked.iter().flat_map(|(_, (_, taken))| taken.clone()).collect();
        let mut regs = picked.iter().map(|(_, (reg, _))| *reg);
        let content = regs.next().unwrap_or_default();
        if choice.segment > 0 {
            return (self.key(path), content, taken);
        }
        let parts = regs.collect();
        let (wrap, sealed) = self.cut(content, WRAP_LEN);
        let kek = self.program.add(|out| Step::Derive { path: path.clone(), parts, out });
        let (what, at) = (Sealing::Wrap, first(path));
        let key = self.program.add(|out| Step::Open { what, at, key: kek, input: wrap, out });
        self.learn(path, key);
        (key, sealed, taken)
    }

    fn split(
        &mut self,
        plan: &Plan<SafeId>,
        group: &Group<SafeId>,
        path: &mut Vec<u8>,
        choice: &Choice,
        depth: usize,
        lengths: (u64, u64),
    ) -> Rebuilt {
        let at = At { path: path.clone(), segment: choice.segment };
        let (bulky, k) = split_of(group, lengths.0);
        if let Some(first) = &choice.first {
            self.split(plan, group, path, first, depth, (lengths.0, lengths.0));
        }
        let picked = self.picks(plan, path, choice, depth + 1, lengths);
        let taken: Vec<usize> = picked.iter().flat_map(|(_, (_, taken))| taken.clone()).collect();
        let children = group.children();
        let (mut shares, mut fixed, mut shards) = (Vec::new(), Vec::new(), Vec::new());
        for (number, (reg, _)) in &picked {
            if children.get(usize::from(*number)).is_some_and(Plan::is_chosen) {
                fixed.push((*number, *reg));
                continue;
            }
            let mut rest = *reg;
            if !bulky {
                shares.push(rest);
                continue;
            }
            if choice.segment == 0 {
                let (share, shard) = self.cut(rest, share_len(KEY));
                shares.push(share);
                rest = shard;
            }
            let index = sharded(group).iter().position(|(sharded, _)| sharded == number);
            shards.push((index.unwrap_or_default(), rest));
        }
        let mut committed = Vec::new();
        let mut secret = None;
        if choice.segment == 0 || !bulky {
            let k = group.k() as u8;
            let shared = self.program.add(|out| Step::Combine { k, shares, fixed, out });
            committed.push(shared);
            secret = Some(self.cut(shared, BLIND_LEN as u64).1);
        }
        if !bulky {
            self.check(at, depth, committed, &taken);
            return (secret.unwrap_or_default(), taken);
        }
        // In the first segment there may be more shards than are needed: those with words have none.
        shards.truncate(k);
        let (n, len) = (sharded(group).len(), sealed_len(lengths.1));
        let sealed = self.program.add(|out| Step::Decode { k, n, len, shards, out });
        committed.push(sealed);
        self.check(at.clone(), depth, committed, &taken);
        if let Some(key) = secret {
            self.learn(path, key);
        }
        let key = self.key(path);
        let what = Sealing::Shared;
        (self.program.add(|out| Step::Open { what, at, key, input: sealed, out }), taken)
    }
}
