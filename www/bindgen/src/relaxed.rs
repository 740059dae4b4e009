//! Relaxed SIMD, which not every browser has.

use anyhow::{Result, bail};
use walrus::ir::{
    BinaryOp, Binop, Instr, InstrSeq, LocalGet, LocalSet, TernOp, TernaryOp, Unop, VisitorMut, dfs_pre_order_mut,
};
use walrus::{LocalId, Module, ValType};

/// Puts what every browser has in its place: `f32x4.mul` and `f32x4.add` for `relaxed_madd`, and for `relaxed_min` and
/// `relaxed_max`, which LLVM makes of `pmin` and `pmax`, these again. Says whether there was any.
///
/// # Errors
/// Another operation of relaxed SIMD.
pub fn replace(module: &mut Module) -> Result<bool> {
    let mut found = false;
    let functions: Vec<_> = module.funcs.iter_local().map(|(id, _)| id).collect();
    for id in functions {
        let mut visitor = Replace { addend: module.locals.add(ValType::V128), found: false, unknown: None };
        let function = module.funcs.get_mut(id).kind.unwrap_local_mut();
        let entry = function.entry_block();
        dfs_pre_order_mut(&mut visitor, function, entry);
        if let Some(op) = visitor.unknown {
            bail!(
                "expected no other operations of relaxed SIMD than relaxed_madd, relaxed_min and relaxed_max, found {op}"
            );
        }
        found |= visitor.found;
    }
    Ok(found)
}

struct Replace {
    /// Holds what is added while the factors are multiplied.
    addend: LocalId,
    found: bool,
    unknown: Option<String>,
}

impl VisitorMut for Replace {
    fn start_instr_seq_mut(&mut self, sequence: &mut InstrSeq) {
        let mut instructions = Vec::with_capacity(sequence.instrs.len());
        for (instruction, place) in sequence.instrs.drain(..) {
            match self.replacement(&instruction) {
                Some(others) => instructions.extend(others.into_iter().map(|other| (other, place))),
                None => instructions.push((instruction, place)),
            }
        }
        sequence.instrs = instructions;
    }
}

impl Replace {
    fn replacement(&mut self, instruction: &Instr) -> Option<Vec<Instr>> {
        let binary = |op| Instr::Binop(Binop { op });
        let others = match instruction {
            Instr::TernOp(TernOp { op: TernaryOp::F32x4RelaxedMadd }) => vec![
                Instr::LocalSet(LocalSet { local: self.addend }),
                binary(BinaryOp::F32x4Mul),
                Instr::LocalGet(LocalGet { local: self.addend }),
                binary(BinaryOp::F32x4Add),
            ],
            Instr::Binop(Binop { op: BinaryOp::F32x4RelaxedMin }) => vec![binary(BinaryOp::F32x4PMin)],
            Instr::Binop(Binop { op: BinaryOp::F32x4RelaxedMax }) => vec![binary(BinaryOp::F32x4PMax)],
            Instr::Binop(Binop { op: BinaryOp::F64x2RelaxedMin }) => vec![binary(BinaryOp::F64x2PMin)],
            Instr::Binop(Binop { op: BinaryOp::F64x2RelaxedMax }) => vec![binary(BinaryOp::F64x2PMax)],
            Instr::TernOp(TernOp { op }) => return self.note(op),
            Instr::Binop(Binop { op }) => return self.note(op),
            Instr::Unop(Unop { op }) => return self.note(op),
            _ => return None,
        };
        self.found = true;
        Some(others)
    }

    /// Leaves an operation as it is, unless it is one that not every browser has.
    fn note(&mut self, op: &impl std::fmt::Debug) -> Option<Vec<Instr>> {
        let name = format!("{op:?}");
        if name.contains("Relaxed") {
            self.unknown = Some(name);
        }
        None
    }
}
