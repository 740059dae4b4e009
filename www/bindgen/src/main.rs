//! `ofa-bindgen IN.wasm OUT_DIR NAME`: JavaScript bindings for one wasm file, `NAME_bg.wasm`. If it uses relaxed SIMD,
//! that is `NAME_relaxed_bg.wasm`, and `NAME_bg.wasm` the same for browsers without.

mod relaxed;

use anyhow::{Context, Result};
use std::path::Path;
use std::process::ExitCode;
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
    let [plain, relaxed] = ["bg", "relaxed_bg"].map(|kind| out_dir.join(format!("{name}_{kind}.wasm")));
    // What an earlier build left does not belong to these bindings.
    for old in [&plain, &relaxed].into_iter().filter(|path| path.exists()) {
        std::fs::remove_file(old).with_context(|| old.display().to_string())?;
    }
    let mut output = Bindgen::new()
        .input_path(input)
        .out_name(name)
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
        std::fs::write(&relaxed, whole).with_context(|| relaxed.display().to_string())?;
    }
    Ok(())
}
