import { OfaError } from "./errors.js";
import type { DeviceChoice, DeviceInfo } from "./types.js";

export const DEVICES = ["auto", "webgpu", "cpu"] as const;

/** WebGPU's default limits, which the model stays within; an adapter below them is broken. */
const LIMITS = {
  maxStorageBufferBindingSize: 128 << 20,
  maxBufferSize: 256 << 20,
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupStorageSize: 16 << 10,
  maxComputeWorkgroupsPerDimension: 65_535,
  maxStorageBuffersPerShaderStage: 8,
} as const;

const SOFTWARE = /swiftshader|llvmpipe|lavapipe|softpipe|basic render|\bwarp\b/i;

/** Finds out what the model would run on. Downloads nothing. */
export async function probe(choice: DeviceChoice = "auto"): Promise<DeviceInfo> {
  if (!DEVICES.includes(choice)) {
    throw new OfaError("option", `device: expected one of ${DEVICES.join(", ")}, found ${String(choice)}`);
  }
  if (choice === "cpu") return { kind: "cpu", name: "WebAssembly SIMD" };
  const found = await adapter();
  const usable = typeof found === "string" ? found : limitProblem(found.adapter);
  if (choice === "webgpu") {
    if (usable || typeof found === "string") throw new OfaError("unsupported", `WebGPU cannot be used: ${usable}`);
    return { kind: "webgpu", name: found.name };
  }
  if (usable || typeof found === "string") return cpu(`no WebGPU: ${usable}`);
  if (found.software) return cpu(`the only GPU is emulated in software (${found.name}), which is slower than the CPU`);
  return { kind: "webgpu", name: found.name };
}

export function cpu(reason: string): DeviceInfo {
  return { kind: "cpu", name: "WebAssembly SIMD", reason };
}

async function adapter(): Promise<{ adapter: GPUAdapter; name: string; software: boolean } | string> {
  // Outside of a browser there may be no navigator at all.
  const gpu = globalThis.navigator?.gpu;
  if (!gpu) return globalThis.isSecureContext === false ? "pages get it only over https or from localhost" : "there is none here";
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" }).catch(() => null);
  if (!adapter) return "the browser offers no adapter";
  // Older browsers know of an adapter only whether it is a fallback.
  const { vendor, architecture, device, description, isFallbackAdapter } = (adapter.info ?? adapter) as Partial<GPUAdapterInfo>;
  const name = [description || device, vendor, architecture].filter(Boolean).join(" ") || "unnamed adapter";
  return { adapter, name, software: isFallbackAdapter === true || SOFTWARE.test(name) };
}

function limitProblem(adapter: GPUAdapter): string | undefined {
  for (const [name, least] of Object.entries(LIMITS)) {
    const found = adapter.limits[name as keyof typeof LIMITS];
    if (!(found >= least)) return `${name} is ${found}, the model needs ${least}`;
  }
  return undefined;
}
