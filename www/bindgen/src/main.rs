//! `ofa-bindgen IN.wasm OUT_DIR NAME`: JavaScript bindings for one wasm file, `NAME_bg.wasm`. If it uses relaxed SIMD,
//! that is `NAME_relaxed_bg.wasm`, and `NAME_bg.wasm` the same for browsers without.

mod relaxed;

use anyhow::{Context, Result};
use std::path::Path;
use std::process::ExitCode;
use walrus::ModuleConfig;
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
    Bindgen::new()
        .input_path(input)
        .out_name(name)
        // Names of functions are a fifth of the file and serve nobody.
        .remove_name_section(true)
        .remove_producers_section(true)
        .web(true)?
        .typescript(true)
        .generate(out_dir)?;
    let [plain, relaxed] = ["bg", "relaxed_bg"].map(|kind| out_dir.join(format!("{name}_{kind}.wasm")));
    let mut config = ModuleConfig::new();
    config.generate_name_section(false).generate_producers_section(false);
    let mut module = config.parse_file(&plain)?;
    if relaxed::replace(&mut module)? {
        std::fs::rename(&plain, &relaxed).with_context(|| relaxed.display().to_string())?;
        module.emit_wasm_file(&plain)?;
    }
    Ok(())
}
