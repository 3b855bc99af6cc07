//! Formulas over principals, and their tables over all sets: 64 sets to a machine word, 2048 to a block.

/// Words of a table that are computed at a time, so that all of a formula's intermediate results stay in the first cache.
const BLOCK: usize = 32;
/// Variables within one word.
pub(super) const LOW: usize = 6;
/// Variables within one block.
const LOW_IN_BLOCK: usize = LOW + BLOCK.ilog2() as usize;
/// Sets in which each of the low variables is.
pub(super) const PATTERNS: [u64; LOW] = [
    0xaaaa_aaaa_aaaa_aaaa,
    0xcccc_cccc_cccc_cccc,
    0xf0f0_f0f0_f0f0_f0f0,
    0xff00_ff00_ff00_ff00,
    0xffff_0000_ffff_0000,
    0xffff_ffff_0000_0000,
];

/// One step of a formula in postfix order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Var(usize),
    Const(bool),
    /// At least k of the n results before it.
    AtLeast(usize, usize),
    /// The result before it is kept under a number, and stands there no more.
    Keep(usize),
    /// What was kept.
    Kept(usize),
}

type Block = [u64; BLOCK];

/// What a part of a formula says of as many sets as a block has.
#[derive(Clone, Copy)]
enum Truth {
    /// The same of all.
    Same(bool),
    /// Of each its own: the number of a block.
    Each(usize),
}

impl Truth {
    /// Whether this is certainly what it was; a block may have been computed anew.
    const fn is_still(&self, before: &Self) -> bool {
        matches!((self, before), (Self::Same(true), Self::Same(true)) | (Self::Same(false), Self::Same(false)))
    }
}

/// Counts of variables that are kept: ten thresholds of two dozen groups.
const MOST_COUNTS: usize = 256;
/// Bits of a count of up to 20 children, or of 20 safes.
const COUNT_BITS: usize = 5;

/// Blocks by number: those of the variables that change within a block, then one for every operation, then counts of such variables.
struct Blocks {
    all: Vec<Block>,
    /// (variables as bits, how many of them, block): the same wherever they are counted.
    counts: Vec<(usize, usize, usize)>,
    /// What is needed again and again.
    kept: [Truth; 2],
}

impl Blocks {
    fn new(ops: usize) -> Self {
        let word = |v: usize, i: usize| match PATTERNS.get(v) {
            Some(pattern) => *pattern,
            None if i >> (v - LOW) & 1 == 1 => !0,
            None => 0,
        };
        let mut all: Vec<Block> = (0..LOW_IN_BLOCK).map(|v| core::array::from_fn(|i| word(v, i))).collect();
        all.resize(LOW_IN_BLOCK + ops, [0; BLOCK]);
        Self { all, counts: Vec::new(), kept: [Truth::Same(false); 2] }
    }

    /// One operation on the results before it, in one block of a table.
    fn step(&mut self, op: &Op, at: usize, number: usize, stack: &mut Vec<Truth>) {
        let result = match *op {
            Op::Const(truth) => Truth::Same(truth),
            Op::Var(v) if v < LOW_IN_BLOCK => Truth::Each(v),
            // The higher variables are the same all over a block.
            Op::Var(v) => Truth::Same(number >> (v - LOW_IN_BLOCK) & 1 == 1),
            Op::Keep(which) | Op::Kept(which) => self.kept[which],
            Op::AtLeast(k, n) => {
                let inputs = stack.len().saturating_sub(n);
                let result = self.at_least(k, &stack[inputs..], at);
                stack.truncate(inputs);
                result
            }
        };
        stack.push(result);
    }

    /// At least k of these; what has to be computed for this operation alone gets its block.
    fn at_least(&mut self, k: usize, inputs: &[Truth], op: usize) -> Truth {
        let open =
            || inputs.iter().filter_map(|input| if let Truth::Each(number) = input { Some(*number) } else { None });
        let given = inputs.iter().filter(|input| matches!(input, Truth::Same(true))).count();
        let (missing, count) = (k.saturating_sub(given), open().count());
        if missing == 0 || missing > count {
            return Truth::Same(missing == 0);
        }
        if let (1, Some(only)) = (count, open().next()) {
            return Truth::Each(only);
        }
        let variables =
            open().fold(0_usize, |bits, number| if number < LOW_IN_BLOCK { bits | 1 << number } else { bits });
        let of_variables = variables.count_ones() as usize == count;
        let known = self.counts.iter().find(|(of, least, _)| (*of, *least) == (variables, missing));
        if let Some((.., number)) = known.filter(|_| of_variables) {
            return Truth::Each(*number);
        }
        let blocks = || open().filter_map(|number| self.all.get(number));
        let fold = |start: u64, join: fn(u64, u64) -> u64| {
            let mut out = [start; BLOCK];
            blocks().for_each(|input| out.iter_mut().zip(input).for_each(|(out, word)| *out = join(*out, *word)));
            out
        };
        let result = match missing {
            1 => fold(0, |a, b| a | b),
            all if all == count => fold(!0, |a, b| a & b),
            some => count_to(some, blocks()),
        };
        let number = if of_variables && self.counts.len() < MOST_COUNTS {
            self.counts.push((variables, missing, self.all.len()));
            self.all.push(result);
            self.all.len() - 1
        } else {
            self.all[LOW_IN_BLOCK + op] = result;
            LOW_IN_BLOCK + op
        };
        Truth::Each(number)
    }
}

/// At least k of these, counted bit by bit, every place of a word for itself.
fn count_to<'a>(k: usize, mut inputs: impl Iterator<Item = &'a Block>) -> Block {
    let mut count = [[0_u64; BLOCK]; COUNT_BITS];
    while let Some(first) = inputs.next() {
        let second = inputs.next().unwrap_or(&[0; BLOCK]);
        let [ones, higher @ ..] = &mut count;
        // Two at a time, for then one carry goes up.
        let mut carry = [0; BLOCK];
        for (i, carry) in carry.iter_mut().enumerate() {
            let (a, b, c) = (first[i], second[i], ones[i]);
            (ones[i], *carry) = (a ^ b ^ c, a & b | c & (a ^ b));
        }
        for bits in higher {
            for (bit, carry) in bits.iter_mut().zip(&mut carry) {
                (*bit, *carry) = (*bit ^ *carry, *bit & *carry);
            }
        }
    }
    // The count reaches k where adding 32 − k to it overflows.
    let complement = (1 << COUNT_BITS) - k;
    let mut carry = [0; BLOCK];
    for (i, bits) in count.iter().enumerate() {
        for (carry, bit) in carry.iter_mut().zip(bits) {
            *carry = if complement >> i & 1 == 1 { bit | *carry } else { bit & *carry };
        }
    }
    carry
}

/// A formula, and before it what it needs again and again.
#[derive(Debug)]
pub(super) struct Formula {
    /// What is kept, ahead of it.
    pub(super) kept: Vec<Op>,
    /// It itself.
    pub(super) ops: Vec<Op>,
}

impl Formula {
    /// Its variables as numbers from 0, so that a table has no more than matter; which they were before.
    pub(super) fn condense(&mut self) -> Vec<usize> {
        let ops = || self.kept.iter().chain(&self.ops);
        let mut vars: Vec<usize> = ops().filter_map(|op| if let Op::Var(v) = op { Some(*v) } else { None }).collect();
        vars.sort_unstable();
        vars.dedup();
        for op in self.kept.iter_mut().chain(&mut self.ops) {
            if let Op::Var(v) = op {
                *v = vars.binary_search(v).unwrap_or_default();
            }
        }
        vars
    }

    /// For every operation, where the part begins whose last it is, and on what this depends that may differ from block to block.
    fn outline(&self) -> Vec<(usize, usize)> {
        let mut outline: Vec<(usize, usize)> = Vec::with_capacity(self.ops.len());
        let mut stack: Vec<(usize, usize)> = Vec::new();
        for (at, op) in self.ops.iter().enumerate() {
            let of = match *op {
                Op::Var(v) if v >= LOW_IN_BLOCK => (at, 1 << (v - LOW_IN_BLOCK)),
                Op::Const(_) | Op::Var(_) | Op::Keep(_) => (at, 0),
                Op::Kept(number) => (at, kept_bit(number)),
                Op::AtLeast(_, n) => {
                    let parts = stack.split_off(stack.len().saturating_sub(n));
                    (parts.first().map_or(at, |first| first.0), parts.iter().fold(0, |all, part| all | part.1))
                }
            };
            stack.push(of);
            outline.push(of);
        }
        outline
    }

    /// Its table over n variables.
    pub(super) fn tabulate(&self, n: usize) -> Vec<u64> {
        let words = 1_usize << n.saturating_sub(LOW);
        let mut table = Vec::with_capacity(words);
        let outline = self.outline();
        // Parts by where they begin, the longest first.
        let mut beginning: Vec<Vec<usize>> = vec![Vec::new(); self.ops.len()];
        (0..self.ops.len()).rev().for_each(|at| beginning[outline[at].0].push(at));
        let mut results = vec![Truth::Same(false); self.ops.len()];
        let mut blocks = Blocks::new(self.kept.len() + self.ops.len());
        let mut stack: Vec<Truth> = Vec::with_capacity(self.ops.len());
        for number in 0..words.div_ceil(BLOCK) {
            // What differs from the block before; at first, everything.
            let mut changed = if number == 0 { !0 } else { number ^ (number - 1) };
            for (at, op) in self.kept.iter().enumerate() {
                if let Op::Keep(which) = *op {
                    let now = stack.pop().unwrap_or(Truth::Same(false));
                    if !now.is_still(&blocks.kept[which]) {
                        changed |= kept_bit(which);
                    }
                    blocks.kept[which] = now;
                } else {
                    blocks.step(op, at, number, &mut stack);
                }
            }
            let mut at = 0;
            while let Some(op) = self.ops.get(at) {
                let unchanged = |end: &&usize| number > 0 && outline[**end].1 & changed == 0;
                if let Some(end) = beginning[at].iter().find(unchanged) {
                    stack.push(results[*end]);
                    at = end + 1;
                    continue;
                }
                blocks.step(op, self.kept.len() + at, number, &mut stack);
                results[at] = stack.last().copied().unwrap_or(Truth::Same(false));
                at += 1;
            }
            let end = words.min(table.len() + BLOCK);
            match stack.pop() {
                Some(Truth::Each(block)) => table.extend(&blocks.all[block][..end - table.len()]),
                result => table.resize(end, if matches!(result, Some(Truth::Same(true))) { !0 } else { 0 }),
            }
        }
        if n < LOW {
            table[0] &= (1_u64 << (1 << n)) - 1;
        }
        table
    }
}

/// The bit of what is kept, above those of all variables.
const fn kept_bit(number: usize) -> usize {
    1 << (usize::BITS as usize - 1 - number)
}
