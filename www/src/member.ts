import type { Berth } from "./crew.js";

/** What a member calls of its instance. */
interface MemberExports {
  __stack_pointer: WebAssembly.Global;
  crew_join(): void;
  crew_failed(): void;
}

self.onmessage = ({ data: { module, memory, stack } }: MessageEvent<Berth>) => {
  // Kernels call nothing but each other, unless they panic.
  const refuse = (name: string) => () => { throw new Error(`a kernel panicked, and called ${name}`); };
  const imports: Record<string, Record<string, WebAssembly.ImportValue>> = {};
  for (const { module: from, name, kind } of WebAssembly.Module.imports(module)) {
    (imports[from] ??= {})[name] = kind === "memory" ? memory : refuse(name);
  }
  const exports = new WebAssembly.Instance(module, imports).exports as unknown as MemberExports;
  exports.__stack_pointer.value = stack;
  try {
    exports.crew_join();
  } catch (error) {
    exports.crew_failed();
    throw error;
  }
  self.close();
};
