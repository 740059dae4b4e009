/** The wasm files, by what a browser has: on the CPU there are one with relaxed SIMD and one without. */
export const WASM = { cpu: "cpu/ofa_bg.wasm", relaxed: "cpu/ofa_relaxed_bg.wasm", gpu: "gpu/ofa_bg.wasm" };
