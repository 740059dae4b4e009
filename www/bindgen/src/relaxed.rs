//! Relaxed SIMD, which not every browser has.

use crate::replace::replace;
use anyhow::{Result, bail};
use walrus::ir::{BinaryOp, Binop, Instr, LocalGet, LocalSet, TernOp, TernaryOp, Unop};
use walrus::{Module, ValType};

/// Puts `pmin` and `pmax` back, of which LLVM makes `relaxed_min` and `relaxed_max` though these treat what is no number as
/// they like.
///
/// # Errors
/// Another operation of relaxed SIMD than these and `f32x4.relaxed_madd`.
pub fn restore_extremes(module: &mut Module) -> Result<()> {
    let mut other = None;
    replace(module, |instruction| {
        let name = match instruction {
            Instr::Binop(Binop { op: BinaryOp::F32x4RelaxedMin }) => return Some(vec![binary(BinaryOp::F32x4PMin)]),
            Instr::Binop(Binop { op: BinaryOp::F32x4RelaxedMax }) => return Some(vec![binary(BinaryOp::F32x4PMax)]),
            Instr::Binop(Binop { op: BinaryOp::F64x2RelaxedMin }) => return Some(vec![binary(BinaryOp::F64x2PMin)]),
            Instr::Binop(Binop { op: BinaryOp::F64x2RelaxedMax }) => return Some(vec![binary(BinaryOp::F64x2PMax)]),
            Instr::TernOp(TernOp { op: TernaryOp::F32x4RelaxedMadd }) => return None,
            Instr::TernOp(TernOp { op }) => format!("{op:?}"),
            Instr::Binop(Binop { op }) => format!("{op:?}"),
            Instr::Unop(Unop { op }) => format!("{op:?}"),
            _ => return None,
        };
        if name.contains("Relaxed") {
            other = Some(name);
        }
        None
    });
    match other {
        Some(other) => bail!("expected no relaxed SIMD but f32x4.relaxed_madd, found {other}"),
        None => Ok(()),
    }
}

/// Takes each `f32x4.relaxed_madd` apart into `f32x4.mul` and `f32x4.add`. Says whether there was any.
pub fn take_apart(module: &mut Module) -> bool {
    // Holds what is added while the factors are multiplied.
    let addend = module.locals.add(ValType::V128);
    let mut found = false;
    replace(module, |op| match op {
        Instr::TernOp(TernOp { op: TernaryOp::F32x4RelaxedMadd }) => {
            found = true;
            Some(vec![
                Instr::LocalSet(LocalSet { local: addend }),
                binary(BinaryOp::F32x4Mul),
                Instr::LocalGet(LocalGet { local: addend }),
                binary(BinaryOp::F32x4Add),
            ])
        }
        _ => None,
    });
    found
}

fn binary(op: BinaryOp) -> Instr {
    Instr::Binop(Binop { op })
}
