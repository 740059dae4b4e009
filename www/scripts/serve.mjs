// A static server on 127.0.0.1 with byte ranges, and with the faults that tests ask for.
//
// node scripts/serve.mjs [DIR] [--port N] [--open] [--isolated]
import { spawn } from "node:child_process";
import { createReadStream, existsSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize, sep } from "node:path";
import { pathToFileURL } from "node:url";

const TYPES = {
  ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css",
  ".json": "application/json", ".wasm": "application/wasm", ".png": "image/png", ".jpg": "image/jpeg", ".svg": "image/svg+xml",
};

/** With these a page may share memory with its workers. */
export const ISOLATED = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };

/**
 * Serves `roots`, a map from path prefixes to directories, each file with `headers`.
 *
 * `faults` maps the end of a path to what goes wrong there: `{ cut: BYTES, times }` ends the connection early,
 * `{ most: BYTES }` after so many bytes of each answer, `{ flip: OFFSET }` changes a byte, `{ status: CODE, times }` answers
 * with an error, `{ page: true, times }` with a web page, `{ query }` with an error where the address has another query,
 * `{ noRange: true }` ignores ranges, `{ headers }` changes some, `{ delay: MS }` waits before every piece. `times` is how
 * often; without it, always.
 */
export async function serve(roots, { port = 0, faults = {}, headers = {} } = {}) {
  const requests = [];
  const server = createServer((request, response) => {
    const { path, search } = read(request.url);
    if (path === undefined) return end(response, 400, "not an address");
    requests.push({ path, range: request.headers.range });
    const file = locate(roots, path);
    if (!file) return end(response, 404, `no ${path} here`);
    const fault = Object.entries(faults).find(([tail]) => path.endsWith(tail))?.[1] ?? {};
    const active = fault.times === undefined || fault.times-- > 0;
    if (active && fault.status) return end(response, fault.status, "as the test asked");
    if (active && fault.page) return end(response, 200, "<!doctype html><title>app</title>", "text/html");
    if (fault.query !== undefined && fault.query !== search) return end(response, 403, "not signed");
    send(request, response, file, active ? fault : {}, headers);
  });
  await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${server.address().port}/`;
  return { url, requests, close: () => new Promise((resolve) => { server.closeAllConnections(); server.close(resolve); }) };
}

function read(address) {
  try {
    const { pathname, search } = new URL(address, "http://localhost");
    return { path: decodeURIComponent(pathname), search };
  } catch {
    return {};
  }
}

function locate(roots, path) {
  for (const [prefix, directory] of Object.entries(roots).sort(([a], [b]) => b.length - a.length)) {
    if (!path.startsWith(prefix)) continue;
    const rest = normalize(path.slice(prefix.length)) .replace(/^[/\\]+/, "");
    if (rest.split(sep).includes("..")) return undefined;
    const file = join(directory, rest === "." || rest === "" ? "index.html" : rest);
    const found = existsSync(file) && statSync(file).isDirectory() ? join(file, "index.html") : file;
    return existsSync(found) ? found : undefined;
  }
  return undefined;
}

function end(response, status, text, type = "text/plain") {
  response.writeHead(status, { "content-type": type }).end(text);
}

function send(request, response, file, fault, more) {
  const { size } = statSync(file);
  const range = fault.noRange ? null : /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
  const start = range ? Number(range[1]) : 0;
  const last = range?.[2] ? Math.min(Number(range[2]), size - 1) : size - 1;
  if (range && start >= size) return end(response, 416, "beyond the end");
  const headers = { "content-type": TYPES[extname(file)] ?? "application/octet-stream", "content-length": last - start + 1, "cache-control": "no-store", ...more };
  if (!fault.noRange) headers["accept-ranges"] = "bytes";
  if (range) headers["content-range"] = `bytes ${start}-${last}/${size}`;
  response.writeHead(range ? 206 : 200, { ...headers, ...fault.headers });
  if (size === 0) return response.end();
  let position = start;
  const cut = Math.min(fault.cut ?? Infinity, start + (fault.most ?? Infinity));
  const stream = createReadStream(file, { start, end: last });
  stream.on("data", (piece) => {
    if (fault.flip !== undefined && fault.flip >= position && fault.flip < position + piece.length) piece[fault.flip - position] ^= 1;
    position += piece.length;
    if (position > cut) {
      stream.destroy();
      response.write(piece.subarray(0, Math.max(0, piece.length - (position - cut))), () => response.destroy());
      return;
    }
    const goesOn = response.write(piece);
    if (fault.delay) {
      stream.pause();
      setTimeout(() => stream.resume(), fault.delay);
    } else if (!goesOn) {
      stream.pause();
      response.once("drain", () => stream.resume());
    }
  });
  stream.on("end", () => response.end());
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const options = process.argv.slice(2);
  const at = options.indexOf("--port");
  const port = at < 0 ? 8080 : Number(options.splice(at, 2)[1]);
  const directory = options.find((option) => !option.startsWith("--")) ?? "dist-demo";
  const headers = options.includes("--isolated") ? ISOLATED : {};
  const { url } = await serve({ "/": directory }, { port, headers }).catch(() => serve({ "/": directory }, { headers }));
  console.log(`Serving ${directory} at ${url}  (Ctrl-C ends)`);
  if (options.includes("--open")) {
    const opener = { darwin: "open", win32: "explorer" }[process.platform] ?? "xdg-open";
    spawn(opener, [url], { stdio: "ignore", detached: true }).on("error", () => console.log(`Open ${url} in your browser.`)).unref();
  }
}
