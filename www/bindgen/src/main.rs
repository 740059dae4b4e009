//! `ofa-bindgen IN.wasm OUT_DIR NAME`: JavaScript bindings for one wasm file, `NAME_bg.wasm`. If it uses relaxed SIMD,
//! that is `NAME_relaxed_bg.wasm`, and `NAME_bg.wasm` the same for browsers without. If it can share its work with other
//! threads, the same again as `NAME_threads`.

mod relaxed;
mod replace;
mod threads;

use anyhow::{Context, Result};
use std::path::Path;
use std::process::ExitCode;
use walrus::Module;
use wasm_bindgen_cli_support::Bindgen;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [input, out_dir, name] = args.as_slice() else {
        eprintln!("usage: ofa-bindgen IN.wasm OUT_DIR NAME");
        return ExitCode::from(2);
    };
    match bind(Path::new(input), Path::new(out_dir), name) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ofa-bindgen: {input}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bind(input: &Path, out_dir: &Path, name: &str) -> Result<()> {
    let module = std::fs::read(input)?;
    for (name, shared) in [(name.to_owned(), false), (format!("{name}_threads"), true)] {
        let [plain, relaxed] = ["bg", "relaxed_bg"].map(|kind| out_dir.join(format!("{name}_{kind}.wasm")));
        // What an earlier build left does not belong to these bindings.
        for old in [&plain, &relaxed].into_iter().filter(|path| path.exists()) {
            std::fs::remove_file(old).with_context(|| old.display().to_string())?;
        }
        let mut module = Module::from_buffer(&module)?;
        if shared && !threads::are_used(&module) {
            continue;
        }
        threads::fill_in(&mut module, shared)?;
        if shared {
            threads::share_memory(&mut module)?;
        }
        emit(module.emit_wasm(), out_dir, &name, &relaxed)?;
        if shared {
            threads::copy_random_bytes(&out_dir.join(format!("{name}.js")))?;
        }
    }
    Ok(())
}

fn emit(module: Vec<u8>, out_dir: &Path, name: &str, relaxed: &Path) -> Result<()> {
    let mut output = Bindgen::new()
        .input_bytes(name, module)
        // Names of functions are a fifth of the file and serve nobody.
        .remove_name_section(true)
        .remove_producers_section(true)
        .web(true)?
        .typescript(true)
        .generate_output()?;
    let module = output.wasm_mut();
    relaxed::restore_extremes(module)?;
    let whole = module.emit_wasm();
    let apart = relaxed::take_apart(module);
    output.emit(out_dir)?;
    if apart {
        std::fs::write(relaxed, whole).with_context(|| relaxed.display().to_string())?;
    }
    Ok(())
}
