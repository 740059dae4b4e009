/** The wasm files, by what a browser has: on the CPU there are some with relaxed SIMD, and some for several threads. */
export const WASM = {
  cpu: "cpu/ofa_bg.wasm",
  relaxed: "cpu/ofa_relaxed_bg.wasm",
  threads: "cpu/ofa_threads_bg.wasm",
  relaxedThreads: "cpu/ofa_threads_relaxed_bg.wasm",
  gpu: "gpu/ofa_bg.wasm",
};

/** The bindings of a wasm file. */
export const bindings = (file) => file.replace(/(_relaxed)?_bg\.wasm$/, ".js");
