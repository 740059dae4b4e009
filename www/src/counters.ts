import type { Counters } from "./types.js";

/** Counts this realm's calls into WebGPU from now on; read and reset with the function it returns. */
export function countGpuCalls(): () => Counters {
  const zero = (): Counters => ({ dispatches: 0, submits: 0, pipelines: 0, readbacks: 0, readbackBytes: 0, buffers: 0 });
  let counts = zero();
  const wrap = (type: string, method: string, note: (self: object, args: unknown[]) => void) => {
    const prototype = (globalThis as unknown as Record<string, { prototype: Record<string, unknown> } | undefined>)[type]?.prototype;
    const original = prototype?.[method];
    if (!prototype || typeof original !== "function") return;
    prototype[method] = function (this: object, ...args: unknown[]): unknown {
      note(this, args);
      return original.apply(this, args);
    };
  };
  wrap("GPUComputePassEncoder", "dispatchWorkgroups", () => counts.dispatches++);
  wrap("GPUComputePassEncoder", "dispatchWorkgroupsIndirect", () => counts.dispatches++);
  wrap("GPUQueue", "submit", () => counts.submits++);
  wrap("GPUDevice", "createComputePipeline", () => counts.pipelines++);
  wrap("GPUDevice", "createComputePipelineAsync", () => counts.pipelines++);
  wrap("GPUDevice", "createBuffer", () => counts.buffers++);
  wrap("GPUBuffer", "mapAsync", (self, [mode, offset, size]) => {
    if (mode !== 1 /* GPUMapMode.READ */) return;
    counts.readbacks++;
    counts.readbackBytes += (size as number | undefined) ?? (self as GPUBuffer).size - ((offset as number | undefined) ?? 0);
  });
  return () => {
    const taken = counts;
    counts = zero();
    return taken;
  };
}
