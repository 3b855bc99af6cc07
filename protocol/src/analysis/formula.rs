//! Formulas over safes, and their tables over all sets: 64 sets to a machine word, 2048 to a block.

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
    Gate(Gate),
    Const(bool),
    /// At least k of the n results before it.
    AtLeast(usize, usize),
}

/// What a place may ask for beside safes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    /// The book.
    Book,
    /// That safes take whoever asks for the owner.
    Authenticated,
    /// The owner's file.
    File,
    /// The owner's words.
    Memory,
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

/// Counts of variables that are kept: ten thresholds of two dozen groups.
const MOST_COUNTS: usize = 256;
/// Bits of a count of up to 20 children, or of 20 safes.
const COUNT_BITS: usize = 5;

/// Blocks by number: those of the variables that change within a block, then one for every operation, then counts of such variables.
struct Blocks {
    all: Vec<Block>,
    /// (variables as bits, how many of them, block): the same wherever they are counted.
    counts: Vec<(usize, usize, usize)>,
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
        Self { all, counts: Vec::new() }
    }

    /// One operation on the results before it, in one block of a table.
    fn step(&mut self, op: &Op, at: usize, number: usize, stack: &mut Vec<Truth>) {
        let result = match *op {
            Op::Const(truth) => Truth::Same(truth),
            Op::Var(v) if v < LOW_IN_BLOCK => Truth::Each(v),
            // The higher variables are the same all over a block.
            Op::Var(v) => Truth::Same(number >> (v - LOW_IN_BLOCK) & 1 == 1),
            // A gate that nobody opened.
            Op::Gate(_) => Truth::Same(false),
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

/// A formula in postfix order.
#[derive(Debug)]
pub(super) struct Formula(pub(super) Vec<Op>);

impl Formula {
    /// What is left of it where every gate is open or shut: no gate, and no constant but alone.
    pub(super) fn given(&self, open: impl Fn(Gate) -> bool) -> Self {
        let mut ops: Vec<Op> = Vec::with_capacity(self.0.len());
        // Where in `ops` each result begins, unless it is the same for all and stands nowhere.
        let mut stack: Vec<Result<usize, bool>> = Vec::new();
        for op in &self.0 {
            let result = match *op {
                Op::Const(truth) => Err(truth),
                Op::Gate(gate) => Err(open(gate)),
                Op::Var(_) => {
                    ops.push(*op);
                    Ok(ops.len() - 1)
                }
                Op::AtLeast(k, n) => {
                    let parts = stack.split_off(stack.len().saturating_sub(n));
                    let missing = k.saturating_sub(parts.iter().filter(|part| **part == Err(true)).count());
                    let left = parts.iter().filter(|part| part.is_ok()).count();
                    let from = parts.iter().find_map(|part| part.ok()).unwrap_or(ops.len());
                    if missing == 0 || missing > left {
                        ops.truncate(from);
                        Err(missing == 0)
                    } else {
                        if left > 1 {
                            ops.push(Op::AtLeast(missing, left));
                        }
                        Ok(from)
                    }
                }
            };
            stack.push(result);
        }
        if let Some(Err(truth)) = stack.pop() {
            ops.push(Op::Const(truth));
        }
        Self(ops)
    }

    /// For every operation, where the part begins whose last it is, and on which variables this depends that differ from block to block.
    fn outline(&self) -> Vec<(usize, usize)> {
        let mut outline: Vec<(usize, usize)> = Vec::with_capacity(self.0.len());
        let mut stack: Vec<(usize, usize)> = Vec::new();
        for (at, op) in self.0.iter().enumerate() {
            let of = match *op {
                Op::Var(v) if v >= LOW_IN_BLOCK => (at, 1 << (v - LOW_IN_BLOCK)),
                Op::Const(_) | Op::Gate(_) | Op::Var(_) => (at, 0),
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

    /// Its table over n variables, or as many as a word has.
    pub(super) fn tabulate(&self, n: usize) -> Vec<u64> {
        let words = 1_usize << n.saturating_sub(LOW);
        if let [Op::Const(truth)] = self.0[..] {
            return vec![if truth { !0 } else { 0 }; words];
        }
        let mut table = Vec::with_capacity(words);
        let outline = self.outline();
        // Parts by where they begin, the longest first.
        let mut beginning: Vec<Vec<usize>> = vec![Vec::new(); self.0.len()];
        (0..self.0.len()).rev().for_each(|at| beginning[outline[at].0].push(at));
        let mut results = vec![Truth::Same(false); self.0.len()];
        let mut blocks = Blocks::new(self.0.len());
        let mut stack: Vec<Truth> = Vec::with_capacity(self.0.len());
        for number in 0..words.div_ceil(BLOCK) {
            // What differs from the block before; at first, everything.
            let changed = if number == 0 { !0 } else { number ^ (number - 1) };
            let mut at = 0;
            while let Some(op) = self.0.get(at) {
                let unchanged = |end: &&usize| number > 0 && outline[**end].1 & changed == 0;
                if let Some(end) = beginning[at].iter().find(unchanged) {
                    stack.push(results[*end]);
                    at = end + 1;
                    continue;
                }
                blocks.step(op, at, number, &mut stack);
                results[at] = stack.last().copied().unwrap_or(Truth::Same(false));
                at += 1;
            }
            let end = words.min(table.len() + BLOCK);
            match stack.pop() {
                Some(Truth::Each(block)) => table.extend(&blocks.all[block][..end - table.len()]),
                result => table.resize(end, if matches!(result, Some(Truth::Same(true))) { !0 } else { 0 }),
            }
        }
        table
    }
}
