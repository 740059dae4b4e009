//! Memory that several workers share. The crate names the atomic instructions that it needs as imports of `atomics`,
//! since Rust's own come with a standard library that is built for threads, which is none of the stable tools'.

use crate::replace::replace;
use anyhow::{Context, Result, bail};
use std::collections::HashMap;
use std::path::Path;
use walrus::ir::{
    AtomicNotify, AtomicOp, AtomicRmw, AtomicWait, AtomicWidth, Call, Const, Drop, Instr, Load, LoadKind, MemArg,
    Store, StoreKind, Unreachable, Value,
};
use walrus::{ConstExpr, Data, DataKind, FunctionBuilder, ImportKind, MemoryId, Module, ValType};

/// All that WebAssembly addresses, in pages.
const MOST_PAGES: u64 = 1 << 16;
const WORD: MemArg = MemArg { align: 4, offset: 0 };

/// Whether the crate may share its work.
pub fn are_used(module: &Module) -> bool {
    module.imports.iter().any(|import| import.module == "atomics")
}

/// Puts instructions in the place of calls of the imports: atomic ones where memory is shared. In a module of its own
/// there is nothing to share, and all numbers are 0.
///
/// # Errors
/// An import that is none of those known here.
pub fn fill_in(module: &mut Module, shared: bool) -> Result<()> {
    let memory = only_memory(module)?;
    let mut instead = HashMap::new();
    for import in module.imports.iter().filter(|import| import.module == "atomics") {
        let ImportKind::Function(id) = import.kind else { bail!("atomics.{}: expected a function", import.name) };
        let atomic = instructions(&import.name, memory).with_context(|| format!("atomics.{}: unknown", import.name))?;
        let alone = match import.name.as_str() {
            "load" => vec![Drop {}.into(), Const { value: Value::I32(0) }.into()],
            _ => vec![Unreachable {}.into()],
        };
        instead.insert(id, (import.id(), if shared { atomic } else { alone }));
    }
    replace(module, |instruction| match instruction {
        Instr::Call(Call { func }) => instead.get(func).map(|(_, instructions)| instructions.clone()),
        _ => None,
    });
    for (function, (import, _)) in instead {
        module.imports.delete(import);
        module.funcs.delete(function);
    }
    Ok(())
}

/// What takes an import's arguments and leaves its result.
fn instructions(name: &str, memory: MemoryId) -> Option<Vec<Instr>> {
    let change = |op| AtomicRmw { memory, op, width: AtomicWidth::I32, arg: WORD }.into();
    Some(match name {
        "load" => vec![Load { memory, kind: LoadKind::I32 { atomic: true }, arg: WORD }.into()],
        "store" => vec![Store { memory, kind: StoreKind::I32 { atomic: true }, arg: WORD }.into()],
        "add" => vec![change(AtomicOp::Add)],
        "swap" => vec![change(AtomicOp::Xchg)],
        // For as long as it takes.
        "wait" => vec![
            Const { value: Value::I64(-1) }.into(),
            AtomicWait { memory, arg: WORD, sixty_four: false }.into(),
            Drop {}.into(),
        ],
        // However many.
        "notify" => {
            vec![Const { value: Value::I32(-1) }.into(), AtomicNotify { memory, arg: WORD }.into(), Drop {}.into()]
        }
        _ => return None,
    })
}

/// Makes the memory one that is given to the module, so that others can have it too. What it holds at first is written
/// when the module starts, which members leave out, and they are given a stack: `__stack_pointer` is exported.
///
/// # Errors
/// A module that is not as the linker leaves it.
pub fn share_memory(module: &mut Module) -> Result<()> {
    let memory = only_memory(module)?;
    let import = module.imports.add("env", "memory", memory);
    let shared = module.memories.get_mut(memory);
    (shared.import, shared.shared, shared.maximum) = (Some(import), true, Some(MOST_PAGES));
    shared.data_segments.clear();
    let mut start = FunctionBuilder::new(&mut module.types, &[], &[]);
    let mut body = start.func_body();
    for id in module.data.iter().map(Data::id).collect::<Vec<_>>() {
        let segment = module.data.get_mut(id);
        let DataKind::Active { offset, .. } = std::mem::replace(&mut segment.kind, DataKind::Passive) else { continue };
        let ConstExpr::Value(Value::I32(offset)) = offset else { bail!("expected data at a known address") };
        body.i32_const(offset).i32_const(0).i32_const(segment.value.len() as i32);
        body.memory_init(memory, id).data_drop(id);
    }
    if let Some(start) = module.start {
        body.call(start);
    }
    module.start = Some(start.finish(vec![], &mut module.funcs));
    let stack = module.globals.iter().find(|global| global.name.as_deref() == Some("__stack_pointer"));
    let stack = stack.context("expected a global __stack_pointer")?.id();
    module.exports.add("__stack_pointer", stack);
    without_thread_locals(module);
    Ok(())
}

/// What wasm-bindgen looks for where memory is shared: thread-locals, of which there are none.
fn without_thread_locals(module: &mut Module) {
    let at = module.locals.add(ValType::I32);
    let initialise = FunctionBuilder::new(&mut module.types, &[ValType::I32], &[]).finish(vec![at], &mut module.funcs);
    module.exports.add("__wasm_init_tls", initialise);
    for (name, mutable, value) in [("__tls_size", false, 0), ("__tls_align", false, 1), ("__tls_base", true, 0)] {
        let global = module.globals.add_local(ValType::I32, mutable, false, ConstExpr::Value(Value::I32(value)));
        module.exports.add(name, global);
    }
}

/// Has the bindings copy random bytes, which browsers do not write to memory that is shared.
///
/// # Errors
/// Bindings that ask for them in another way than those known here.
pub fn copy_random_bytes(bindings: &Path) -> Result<()> {
    let code = std::fs::read_to_string(bindings).with_context(|| bindings.display().to_string())?;
    let known = "globalThis.crypto.getRandomValues(getArrayU8FromWasm0(arg0, arg1))";
    let copied = "getArrayU8FromWasm0(arg0, arg1).set(globalThis.crypto.getRandomValues(new Uint8Array(arg1)))";
    let copying = code.replace(known, copied);
    let [asked, answered] = ["crypto.getRandomValues(", copied].map(|part| copying.matches(part).count());
    if asked != answered {
        bail!("{}: expected random bytes only by {known}", bindings.display());
    }
    std::fs::write(bindings, copying).with_context(|| bindings.display().to_string())
}

fn only_memory(module: &Module) -> Result<MemoryId> {
    let mut memories = module.memories.iter();
    match (memories.next(), memories.next()) {
        (Some(memory), None) => Ok(memory.id()),
        _ => bail!("expected one memory"),
    }
}
