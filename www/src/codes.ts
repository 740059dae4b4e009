import type { ChunkCache } from "./cache.js";
import { fetchCodesManifest, fetchShards, fetchSmallFiles } from "./download.js";
import { throwIfAborted } from "./errors.js";
import { CODES, type Source } from "./source.js";
import type { Drawing, Progress, StepEvent } from "./types.js";
import type { WasmCodes, WasmSession } from "./wasm.js";

/** A picture as the worker sends it. */
export type Drawn = Pick<Drawing, "image" | "fit">;

/** Fetches what turns the codes of a bundle's model into pictures; `open` begins to load it. */
export async function fetchCodes(
  open: (config: string) => Promise<WasmCodes>,
  bundle: { source: Source; cache: ChunkCache; signal: AbortSignal; onProgress: (progress: Progress) => void },
): Promise<WasmCodes> {
  const options = { ...bundle, source: bundle.source.folder(CODES) };
  const manifest = await fetchCodesManifest(options.source, options.cache, options.signal);
  const { config } = await fetchSmallFiles(manifest, options);
  throwIfAborted(options.signal);
  const codes = await open(config);
  try {
    await fetchShards(manifest, options, (file, bytes) => codes.addShard(file.name, bytes));
    codes.finish();
  } catch (error) {
    codes.free();
    throw error;
  }
  options.onProgress({ phase: "ready", loaded: manifest.totalBytes, total: manifest.totalBytes });
  return codes;
}

/** The picture of a sequence of codes; nothing before its first row is complete. */
export async function drawCodes(
  session: WasmSession,
  codes: WasmCodes,
  sequence: number[],
  caption: string | undefined,
): Promise<Drawn | undefined> {
  const picture = await session.draw(codes, Uint32Array.from(sequence), caption);
  if (!picture) return undefined;
  const { width, height, fit } = picture;
  const image = new ImageData(new Uint8ClampedArray(picture.rgba()), width, height);
  picture.free();
  return fit === undefined ? { image } : { image, fit };
}

/** Makes a picture of each complete row of codes, but spends no more time on them than their codes took. */
export function preview(
  columns: number,
  draw: (codes: number[]) => Promise<Drawn | undefined>,
): (event: StepEvent) => Promise<StepEvent | undefined> {
  let [ended, took] = [performance.now(), 0];
  return async (event) => {
    if (event.event !== "codes" || event.codes.length % columns > 0) return undefined;
    const started = performance.now();
    if (started - ended < took) return undefined;
    const drawn = await draw(event.codes);
    ended = performance.now();
    took = ended - started;
    return drawn && { event: "picture", step: event.step, image: drawn.image };
  };
}
