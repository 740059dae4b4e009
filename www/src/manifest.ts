import { OfaError } from "./errors.js";

/** Bytes of a shard that one hash covers. */
export const CHUNK = 1 << 20;

/** More than any model here has; a manifest that claims it is wrong. */
const MAX_BYTES = 16 * 2 ** 30;
const MAX_FILES = 4096;
const MAX_MANIFEST_BYTES = 8 << 20;

export interface FileEntry {
  name: string;
  size: number;
  sha256: string;
  /** SHA-256 of each chunk; shards only. */
  chunks: string[];
}

/** What a bundle consists of. */
export interface Manifest {
  totalBytes: number;
  parameters: number;
  precision: string;
  /** In the order in which they are wanted. */
  files: FileEntry[];
  /** What it was read from. */
  text: string;
}

/** Reads and checks a manifest, which may come from anywhere; the `needed` files must be listed. */
export function parseManifest(text: string, where: string, needed: readonly string[]): Manifest {
  const wrong = (what: string): never => {
    throw new OfaError("manifest", `${where}: not the manifest of a bundle: ${what}`);
  };
  if (text.length > MAX_MANIFEST_BYTES) wrong(`${text.length} characters long`);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    wrong(text.trimStart().startsWith("<") ? "a web page was found; is the address right?" : "not JSON");
  }
  const object = record(json) ?? wrong("expected an object");
  if (object.version !== 1) wrong(`expected version 1, found ${JSON.stringify(object.version)}`);
  const list = object.files;
  if (!Array.isArray(list) || list.length === 0 || list.length > MAX_FILES) wrong("expected a list of `files`");
  const names = new Set<string>();
  const files = (list as unknown[]).map((value): FileEntry => {
    const { name, size, sha256, chunks = [] } = record(value) ?? wrong("a file is not an object");
    if (typeof name !== "string" || !/^[\w-][\w.-]*$/.test(name)) wrong(`bad file name ${JSON.stringify(name)}`);
    if (names.has(name as string)) wrong(`two files named ${String(name)}`);
    names.add(name as string);
    if (!isCount(size)) wrong(`${String(name)}: bad size ${JSON.stringify(size)}`);
    if (!isHash(sha256)) wrong(`${String(name)}: bad sha256`);
    if (!Array.isArray(chunks) || !chunks.every(isHash)) wrong(`${String(name)}: bad chunk hashes`);
    const shard = (name as string).endsWith(".safetensors");
    const expected = shard ? Math.ceil((size as number) / CHUNK) : 0;
    if ((chunks as string[]).length !== expected) {
      wrong(`${String(name)}: expected ${expected} chunk hashes, found ${(chunks as string[]).length}`);
    }
    return { name: name as string, size: size as number, sha256: sha256 as string, chunks: chunks as string[] };
  });
  for (const name of needed) if (!names.has(name)) wrong(`${name} is not listed`);
  if (!files.some(isShard)) wrong("no shard is listed");
  const total = files.reduce((sum, file) => sum + file.size, 0);
  if (total !== object.total_bytes || total > MAX_BYTES) {
    wrong(`expected total_bytes ${total}, found ${JSON.stringify(object.total_bytes)}`);
  }
  if (!isCount(object.parameters)) wrong("bad `parameters`");
  if (typeof object.precision !== "string") wrong("bad `precision`");
  return { totalBytes: total, parameters: object.parameters as number, precision: object.precision as string, files, text };
}

export function isShard(file: FileEntry): boolean {
  return file.name.endsWith(".safetensors");
}

function record(value: unknown): Record<string, unknown> | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 && value <= MAX_BYTES;
}

function isHash(value: unknown): value is string {
  return typeof value === "string" && /^[0-9a-f]{64}$/.test(value);
}
