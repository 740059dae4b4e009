//! Instructions in the place of others.

use walrus::Module;
use walrus::ir::{Instr, InstrSeq, VisitorMut, dfs_pre_order_mut};

/// Replaces the instructions for which `by` has others.
pub fn replace(module: &mut Module, by: impl FnMut(&Instr) -> Option<Vec<Instr>>) {
    let mut visitor = Replace(by);
    for (_, function) in module.funcs.iter_local_mut() {
        let entry = function.entry_block();
        dfs_pre_order_mut(&mut visitor, function, entry);
    }
}

struct Replace<F>(F);

impl<F: FnMut(&Instr) -> Option<Vec<Instr>>> VisitorMut for Replace<F> {
    fn start_instr_seq_mut(&mut self, sequence: &mut InstrSeq) {
        let mut instructions = Vec::with_capacity(sequence.instrs.len());
        for (instruction, place) in sequence.instrs.drain(..) {
            match (self.0)(&instruction) {
                Some(others) => instructions.extend(others.into_iter().map(|other| (other, place))),
                None => instructions.push((instruction, place)),
            }
        }
        sequence.instrs = instructions;
    }
}
