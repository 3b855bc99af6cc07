//! From a plan to the program that lays a segment out: `spec/piece.md` §4, top down.

use super::{KEY, child_lengths, first, sharded, split_of, words_len, words_of};
use crate::{
    ids::SafeId,
    plan::{Group, Node, Place, Plan},
    program::{At, Program, Reg, Sealing, Step},
};

/// A program that lays a segment out, as far as it is written.
pub(super) struct Laying {
    pub(super) program: Program,
    pub(super) segment: u32,
}

impl Laying {
    fn at(&self, path: &[u8]) -> At {
        At { path: path.to_vec(), segment: self.segment }
    }

    fn draw(&mut self, label: &'static str, at: At) -> Reg {
        self.program.add(|out| Step::Draw { label, at, out })
    }

    fn words(&mut self, path: Vec<u8>, len: u64) -> Reg {
        let at = self.at(&path);
        self.program.add(|out| Step::Words { at, len: len as usize, out })
    }

    fn seal(&mut self, what: Sealing, path: &[u8], key: Reg, input: Reg) -> Reg {
        let at = self.at(path);
        self.program.add(|out| Step::Seal { what, at, key, input, out })
    }

    fn join(&mut self, first: Reg, second: Reg) -> Reg {
        self.program.add(|out| Step::Join { first, second, out })
    }

    fn commit(&mut self, path: &[u8], parts: Vec<Reg>) -> Reg {
        let at = self.at(path);
        self.program.add(|out| Step::Commit { at, parts, out })
    }

    fn encode(&mut self, k: usize, n: usize, input: Reg) -> Vec<Reg> {
        let outs: Vec<Reg> = (0..n).map(|_| self.program.fresh()).collect();
        self.program.steps.push(Step::Encode { k, input, outs: outs.clone() });
        outs
    }

    /// Lays out what is in a register; `inputs` are those of the children, `None`: nothing in this segment.
    fn children(
        &mut self,
        plan: &Plan<SafeId>,
        path: &mut Vec<u8>,
        inputs: &[Option<Reg>],
        parents: &[Reg],
        lengths: (u64, u64),
    ) {
        for ((number, child), input) in (0..).zip(plan.children()).zip(inputs) {
            let lengths = child_lengths(plan, number, lengths, self.segment);
            if let Some((input, lengths)) = input.zip(lengths) {
                path.push(number);
                self.node(child, path, input, parents, lengths);
                path.pop();
            }
        }
    }

    /// Lays out what is in a register at a node.
    pub(super) fn node(
        &mut self,
        plan: &Plan<SafeId>,
        path: &mut Vec<u8>,
        input: Reg,
        parents: &[Reg],
        lengths: (u64, u64),
    ) {
        match plan.node() {
            Node::Place(Place::Memory) => {}
            Node::Place(_) => {
                self.program.steps.push(Step::Emit { at: self.at(path), input, parents: parents.to_vec() });
            }
            Node::Copies(children) => {
                self.children(plan, path, &vec![Some(input); children.len()], parents, lengths);
            }
            Node::Disperse(group) => {
                let parents = [parents, &[self.commit(path, vec![input])]].concat();
                let shards = self.encode(group.k(), group.children().len(), input);
                let shards: Vec<Option<Reg>> = shards.into_iter().map(Some).collect();
                self.children(plan, path, &shards, &parents, lengths);
            }
            Node::Split(group) => {
                let (pieces, commitment) = self.split(group, path, input, lengths);
                self.children(plan, path, &pieces, &[parents, &[commitment]].concat(), lengths);
            }
            Node::Seal { key, .. } => {
                let content_key = self.draw("content key", first(path));
                let mut inputs = vec![Some(self.seal(Sealing::Content, path, content_key, input))];
                if self.segment == 0 {
                    let parts: Vec<Reg> = (1..).zip(key).map(|(number, part)| self.part(number, part, path)).collect();
                    let derive = |out| Step::Derive { path: path.clone(), parts: parts.clone(), out };
                    let kek = self.program.add(derive);
                    let wrap = self.seal(Sealing::Wrap, path, kek, content_key);
                    inputs[0] = inputs[0].map(|sealed| self.join(wrap, sealed));
                    inputs.extend(parts.into_iter().map(Some));
                }
                self.children(plan, path, &inputs, parents, lengths);
            }
        }
    }

    /// One part of a key.
    fn part(&mut self, number: u8, part: &Plan<SafeId>, path: &[u8]) -> Reg {
        let path = [path, &[number]].concat();
        match words_of(part, &path) {
            Some(words) => self.words(words, KEY),
            None => self.draw("key part", first(&path)),
        }
    }

    /// What the children of a split get, and the commitment that their pieces name.
    fn split(
        &mut self,
        group: &Group<SafeId>,
        path: &[u8],
        input: Reg,
        lengths: (u64, u64),
    ) -> (Vec<Option<Reg>>, Reg) {
        let (bulky, k) = split_of(group, lengths.0);
        let mut pieces: Vec<Option<Reg>> = vec![None; group.children().len()];
        let mut committed = Vec::new();
        let (secret, sealed, len) = if bulky {
            let key = self.draw("shared key", first(path));
            (key, Some(self.seal(Sealing::Shared, path, key, input)), KEY)
        } else {
            (input, None, lengths.1)
        };
        if self.segment == 0 || !bulky {
            let blind = self.draw("blind", self.at(path));
            let input = self.join(blind, secret);
            committed.push(input);
            let mut fixed = Vec::new();
            let mut outs = Vec::new();
            for (number, child) in (0_u8..).zip(group.children()) {
                let piece = match words_of(child, &[path, &[number]].concat()) {
                    Some(words) => {
                        let piece = self.words(words, words_len(len));
                        fixed.push((number, piece));
                        piece
                    }
                    None => {
                        let piece = self.program.fresh();
                        outs.push((number, piece));
                        piece
                    }
                };
                pieces[usize::from(number)] = Some(piece);
            }
            let (k, n) = (group.k() as u8, group.children().len() as u8);
            self.program.steps.push(Step::Share { at: self.at(path), k, n, input, fixed, outs });
        }
        committed.extend(sealed);
        let commitment = self.commit(path, committed);
        if let Some(sealed) = sealed {
            let children = sharded(group);
            let shards = self.encode(k, children.len(), sealed);
            for ((number, _), shard) in children.into_iter().zip(shards) {
                let piece = &mut pieces[usize::from(number)];
                *piece = Some(piece.map_or(shard, |share| self.join(share, shard)));
            }
        }
        (pieces, commitment)
    }
}
