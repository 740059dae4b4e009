//! `ofa-bindgen IN.wasm OUT_DIR NAME`: JavaScript bindings for one wasm file.

use std::process::ExitCode;
use wasm_bindgen_cli_support::Bindgen;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [input, out_dir, name] = args.as_slice() else {
        eprintln!("usage: ofa-bindgen IN.wasm OUT_DIR NAME");
        return ExitCode::from(2);
    };
    let mut bindgen = Bindgen::new();
    let done = bindgen
        .input_path(input)
        .out_name(name)
        // Names of functions are a fifth of the file and serve nobody.
        .remove_name_section(true)
        .remove_producers_section(true)
        .web(true)
        .and_then(|bindgen| bindgen.typescript(true).generate(out_dir));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ofa-bindgen: {input}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
