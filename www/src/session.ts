import type { Crew } from "./crew.js";
import type { SmallFiles } from "./download.js";
import { OfaError, throwIfAborted, unlessAborted } from "./errors.js";
import { cpu } from "./probe.js";
import type { DeviceChoice, DeviceInfo } from "./types.js";
import { loadWasm, type WasmSession } from "./wasm.js";

/** Devices are opened one after the other: a GPU that is being opened already would refuse. */
let opened: Promise<unknown> = Promise.resolve();

/** Opens the device. One that `auto` found may turn out not to open: then the CPU takes its place. */
export async function openSession(
  choice: DeviceChoice,
  device: DeviceInfo,
  threads: number | undefined,
  files: Promise<SmallFiles>,
  signal: AbortSignal,
): Promise<{ session: WasmSession; device: DeviceInfo; crew: Crew | undefined }> {
  const [{ wasm, crew }, { config, tokenizer, generation }] = await Promise.all([unlessAborted(loadWasm(device.kind, threads), signal), files]);
  throwIfAborted(signal);
  try {
    const session = opened.then(() => wasm.Session.create(config, tokenizer, generation));
    opened = session.catch(() => undefined);
    return { session: await session, device, crew };
  } catch (error) {
    const { code, message } = OfaError.from(error);
    if (choice !== "auto" || device.kind === "cpu" || code !== "device") throw error;
    const [why] = message.split("\n");
    return openSession(choice, cpu(`the GPU (${device.name}) cannot be opened: ${why}`), threads, files, signal);
  }
}
