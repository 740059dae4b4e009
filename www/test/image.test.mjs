// Pictures: every form gives the pixels that the native binary reads, and what shows none is refused at once.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { crc32, deflateSync } from "node:zlib";
import { native, openBlank, startBrowser, startServer, testBundle, www } from "./harness.mjs";

const PICTURE = "tiny/raw_1.png";
/** Milliseconds after which nobody waits any more. */
const PATIENCE = 300;
let browser, server, page, directory;

before(async () => {
  directory = mkdtempSync(join(tmpdir(), "ofa-image-"));
  browser = await startBrowser();
  server = await startServer({}, { "/made/": directory });
  page = await openPage();
});
after(async () => {
  await browser.close();
  await server.close();
  rmSync(directory, { recursive: true, force: true });
});

/** A page with a model, and with `seen`: what the model gets to see of a picture. */
async function openPage() {
  const page = await openBlank(browser, server);
  await page.evaluate(async () => {
    const post = Worker.prototype.postMessage;
    Worker.prototype.postMessage = function (message, ...rest) {
      if (message.method === "encodeImage") window.sent = structuredClone(message.args[1]);
      return post.call(this, message, ...rest);
    };
    window.ofa = await OFA.load("/bundle/", { device: "cpu" });
    window.seen = (image, options) =>
      window.ofa.encodeImage(image, options).then((encoded) => encoded.free().then(() => [...window.sent.data]), ({ code, message }) => `${code}: ${message}`);
    window.shown = (picture, attributes = {}) => Object.assign(new Image(), { ...attributes, src: `/golden/${picture}` });
  });
  return page;
}

/** A PNG: of `rgba`, or black and of one bit a pixel, so that the file stays small, whatever `width` × `height` are. */
function png(width, height, rgba) {
  const chunk = (type, data) => {
    const body = Buffer.concat([Buffer.from(type), data]);
    const [length, checksum] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(data.length);
    checksum.writeUInt32BE(crc32(body));
    return Buffer.concat([length, body, checksum]);
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set(rgba ? [8, 6] : [1, 0], 8);
  const stride = rgba ? 4 * width : Math.ceil(width / 8);
  const rows = Buffer.alloc(height * (stride + 1));
  for (let row = 0; rgba && row < height; row++) rows.set(rgba.slice(row * stride, (row + 1) * stride), row * (stride + 1) + 1);
  return [...Buffer.concat([Buffer.from("89504e470d0a1a0a", "hex"), chunk("IHDR", header), chunk("IDAT", deflateSync(rows)), chunk("IEND", Buffer.alloc(0))])];
}

test("pictures in every form give the same pixels", async () => {
  const pixels = await page.evaluate(async (picture) => {
    const blob = await (await fetch(`/golden/${picture}`)).blob();
    const bitmap = await createImageBitmap(blob);
    const canvas = Object.assign(document.createElement("canvas"), { width: bitmap.width, height: bitmap.height });
    const context = canvas.getContext("2d");
    context.drawImage(bitmap, 0, 0);
    const forms = [
      blob, new File([blob], "picture"), `/golden/${picture}`, new URL(`/golden/${picture}`, location.href), bitmap, canvas, window.shown(picture),
      context.getImageData(0, 0, canvas.width, canvas.height), new VideoFrame(bitmap, { timestamp: 0 }),
    ];
    const pixels = [];
    for (const form of forms) pixels.push(String(await window.seen(form)));
    return pixels;
  }, PICTURE);
  assert.match(pixels[0], /^\d+,/);
  assert.equal(new Set(pixels).size, 1, pixels.map((some) => some.slice(0, 80)).join(" | "));
});

test("what changes or is closed right after a call is read as it was", async () => {
  const found = await page.evaluate(async () => {
    const grey = (level) => Array(16).fill([level, level, level, 255]).flat();
    const canvas = (Canvas) => {
      const canvas = Canvas();
      const context = canvas.getContext("2d");
      const fill = (level) => {
        context.fillStyle = `rgb(${level} ${level} ${level})`;
        context.fillRect(0, 0, 4, 4);
      };
      fill(100);
      return { form: canvas, change: () => fill(200) };
    };
    const offscreen = () => canvas(() => new OffscreenCanvas(4, 4));
    const made = {
      offscreen: offscreen(),
      canvas: canvas(() => Object.assign(document.createElement("canvas"), { width: 4, height: 4 })),
      resized: { ...offscreen(), get change() { return () => { this.form.width = 8; }; } },
    };
    const data = new ImageData(new Uint8ClampedArray(grey(100)), 4, 4);
    made.data = { form: data, change: () => data.data.fill(0) };
    const bitmap = await createImageBitmap(offscreen().form);
    made.bitmap = { form: bitmap, change: () => bitmap.close() };
    const frame = new VideoFrame(offscreen().form, { timestamp: 0 });
    made.frame = { form: frame, change: () => frame.close() };
    const wrong = [];
    for (const [name, { form, change }] of Object.entries(made)) {
      const seen = window.seen(form);
      change();
      if (String(await seen) !== String(grey(100))) wrong.push(`${name}: ${await seen}`);
    }
    // What fills in a picture fetches its image codes first.
    const { form, change } = offscreen();
    const filled = window.ofa.infillImage(form, { numBeams: 1, topK: 1 });
    change();
    await filled;
    if (String([...window.sent.data]) !== String(grey(100))) wrong.push("infillImage");
    // A loop over its answer may begin later.
    const later = offscreen();
    const events = window.ofa.stream("caption", { image: later.form });
    later.change();
    for await (const event of events) if (event.event === "answer") break;
    if (String([...window.sent.data]) !== String(grey(100))) wrong.push("stream");
    return wrong;
  });
  assert.deepEqual(found, []);
});

test("a picture that cannot be read leaves no rejection behind where its call failed before", async () => {
  const own = await openPage();
  const problems = [];
  own.on("pageerror", (error) => problems.push(error.message));
  const { code } = await own.evaluate(async () => {
    await window.ofa.dispose();
    return window.caught(window.ofa.caption(new OffscreenCanvas(0, 0)));
  });
  await own.waitForTimeout(100);
  await own.context().close();
  assert.equal(code, "disposed");
  assert.deepEqual(problems, []);
});

test("boxes on an <img> are in pixels of what it shows, whatever the density of its file", async () => {
  const found = await page.evaluate(async (picture) => {
    const image = Object.assign(new Image(), { srcset: `/golden/${picture} 2x` });
    const place = ({ boxes: [{ pixels, normalized }] }) => ({ pixels, normalized });
    const encoded = await window.ofa.encodeImage(image, { task: "grounding" });
    const answers = {
      blob: await window.ofa.ground(`/golden/${picture}`, "a car"),
      element: await window.ofa.ground(image, "a car"),
      encoded: await window.ofa.ground(encoded, "a car"),
      together: (await window.ofa.runAll("grounding", encoded, [{ text: "a car" }]))[0],
    };
    await encoded.free();
    return { natural: [image.naturalWidth, image.naturalHeight], places: Object.entries(answers).map(([name, answer]) => [name, place(answer)]) };
  }, PICTURE);
  const [[, blob], ...elements] = found.places;
  assert.deepEqual(found.natural, [65, 95]);
  for (const [name, { pixels, normalized }] of elements) {
    assert.deepEqual(normalized, blob.normalized, name);
    for (const [side, value] of pixels.entries()) assert.ok(Math.abs(2 * value - blob.pixels[side]) < 1e-3, `${name}: ${pixels} and ${blob.pixels}`);
  }
});

test("what is transparent keeps its colours, as natively", async () => {
  const [width, height] = [24, 16];
  // The alpha of a row rises from none to all; colours do not know of it.
  const rgba = Array.from({ length: 4 * width * height }, (_, at) => (at % 4 < 3 ? (at * 37) % 256 : Math.min(255, (Math.floor(at / 4) % width) * 11)));
  const file = png(width, height, rgba);
  writeFileSync(join(directory, "transparent.png"), Buffer.from(file));
  const found = await page.evaluate(async (file) => {
    const blob = new Blob([new Uint8Array(file)], { type: "image/png" });
    const bitmap = await createImageBitmap(blob, { premultiplyAlpha: "none" });
    const forms = [blob, "/made/transparent.png", bitmap, Object.assign(new Image(), { src: "/made/transparent.png" })];
    const pixels = [];
    for (const form of forms) pixels.push(await window.seen(form));
    const getContext = OffscreenCanvas.prototype.getContext;
    OffscreenCanvas.prototype.getContext = function (kind, ...rest) { return kind === "2d" ? getContext.call(this, kind, ...rest) : null; };
    const withoutWebgl = await window.seen(blob);
    OffscreenCanvas.prototype.getContext = getContext;
    const { tokens, score } = await window.ofa.caption(blob);
    return { pixels, withoutWebgl, tokens, score };
  }, file);
  const different = found.pixels.map((pixels) => rgba.filter((value, at) => pixels[at] !== value).length);
  assert.deepEqual(different, [0, 0, 0, 0], "values of the blob, the address, the bitmap and the element that are not the file's");
  assert.equal(found.withoutWebgl.length, rgba.length, "it is read all the same");
  const expected = native(["caption", "--model", testBundle, "--image", join(directory, "transparent.png")]);
  assert.deepEqual(found.tokens, expected.tokens);
  assert.ok(Math.abs(found.score - expected.score) < 1e-3, `${found.score} is not ${expected.score}`);
});

test("what is wrong with a picture at an address is told with the address", async () => {
  writeFileSync(join(directory, "notes.png"), "not a picture");
  writeFileSync(join(directory, "app.html"), "<!doctype html><title>app</title>");
  const found = await page.evaluate(async () => {
    const data = `data:image/png;base64,${btoa("not a picture".repeat(100))}`;
    const long = await window.seen(`/made/notes.png?${"a".repeat(1000)}`);
    return { long: long.length, notes: await window.seen("/made/notes.png"), web: await window.seen("/made/app.html"), data: await window.seen(data) };
  });
  assert.match(found.notes, /^image: \/made\/notes\.png: not a picture this browser can read/);
  assert.match(found.web, /^fetch: \/made\/app\.html: expected a picture, found a web page/);
  assert.match(found.data, /^image: data:image\/png;base64,.*…: not a picture/);
  assert.ok(found.data.length < 200, found.data);
  assert.ok(found.long < 400, `${found.long} characters`);
});

test("pictures of another window are read as those of its own", async () => {
  const found = await page.evaluate(async (picture) => {
    const { contentWindow: other } = document.body.appendChild(document.createElement("iframe"));
    const element = Object.assign(other.document.createElement("img"), { src: new URL(`/golden/${picture}`, location.href).href });
    element.style.width = "4px";
    other.document.body.append(element);
    const bytes = await (await fetch(`/golden/${picture}`)).arrayBuffer();
    const forms = { element, blob: new other.Blob([bytes]), file: new other.File([bytes], "picture"), address: new other.URL(`/golden/${picture}`, location.href) };
    const own = String(await window.seen(`/golden/${picture}`));
    const differ = [];
    for (const [name, form] of Object.entries(forms)) if (String(await window.seen(form)) !== own) differ.push(name);
    return differ;
  }, PICTURE);
  assert.deepEqual(found, []);
});

test("an SVG is drawn where there is a document, and refused by name where there is none", async () => {
  const drawing = '<svg xmlns="http://www.w3.org/2000/svg" width="6" height="4"><rect width="6" height="4" fill="#c84632"/></svg>';
  writeFileSync(join(directory, "drawing.svg"), drawing);
  const found = await page.evaluate(async (drawing) => {
    const blob = new Blob([drawing], { type: "image/svg+xml" });
    const seen = [];
    for (const form of [blob, new Blob([drawing]), "/made/drawing.svg", Object.assign(new Image(), { src: "/made/drawing.svg" })]) seen.push(await window.seen(form));
    const script = `
      const { OFA } = await import("${location.origin}/ofa-web/ofa.js");
      const ofa = await OFA.load("${location.origin}/bundle/", { device: "cpu", worker: false });
      const answer = ofa.caption(new Blob([${JSON.stringify(drawing)}], { type: "image/svg+xml" }));
      postMessage(await answer.catch(({ code, message }) => code + ": " + message));`;
    const worker = new Worker(URL.createObjectURL(new Blob([script], { type: "text/javascript" })), { type: "module" });
    const inWorker = await new Promise((resolve) => { worker.onmessage = ({ data }) => resolve(data); });
    worker.terminate();
    return { seen, inWorker };
  }, drawing);
  for (const pixels of found.seen) assert.equal(String(pixels), String(Array(24).fill([0xc8, 0x46, 0x32, 255])));
  assert.match(found.inWorker, /^image: an SVG is drawn only where there is a document/);
});

test("the content security policy of the README is enough, and a drawing that a narrower one hides names it", async () => {
  const drawing = '<svg xmlns="http://www.w3.org/2000/svg" width="6" height="4"><rect width="6" height="4" fill="#c84632"/></svg>';
  const [policy] = /script-src 'self'[^`]*/.exec(readFileSync(join(www, "README.md"), "utf8"));
  const under = async (policy) => {
    const server = await startServer({ "blank.html": { headers: { "Content-Security-Policy": `default-src 'none'; ${policy}` } } });
    const page = await openBlank(browser, server);
    const answers = await page.evaluate(async ([drawing, picture]) => {
      const answers = [];
      for (const worker of [true, false]) {
        const ofa = await OFA.load("/bundle/", { device: "cpu", worker });
        for (const image of [new Blob([drawing], { type: "image/svg+xml" }), `/golden/${picture}`]) {
          answers.push(await ofa.caption(image, { maxLen: 2 }).then(({ kind }) => kind, ({ message }) => message));
        }
        await ofa.dispose();
      }
      return answers;
    }, [drawing, PICTURE]);
    await page.context().close();
    await server.close();
    return answers;
  };
  assert.deepEqual(await under(policy), Array(4).fill("text"));
  const [hidden, read] = await under(policy.replace("img-src blob:", ""));
  assert.match(hidden, /content security policy does not allow `img-src blob:`/);
  assert.equal(read, "text");
});

test("an <img> that waits to be scrolled to is read at once, and nobody waits for one that never comes", { timeout: 30_000 }, async () => {
  await page.route(/never\.png/, () => undefined);
  const found = await page.evaluate(async ([picture, patience]) => {
    const far = Object.assign(document.createElement("div"), { style: "height: 50000px" });
    const lazy = window.shown(picture, { loading: "lazy" });
    document.body.append(far, lazy);
    const seen = [];
    for (const form of [lazy, `/golden/${picture}`]) seen.push(String(await window.seen(form, { signal: AbortSignal.timeout(5000) })));
    const never = await window.seen(Object.assign(new Image(), { src: "/never.png" }), { signal: AbortSignal.timeout(patience) });
    return { seen, never };
  }, [PICTURE, PATIENCE]);
  await page.unroute(/never\.png/);
  assert.equal(found.seen[0], found.seen[1]);
  assert.match(found.never, /^aborted/);
});

test("a video is waited for until it shows something, and refused where it never will", { timeout: 60_000 }, async () => {
  await page.route(/never\.webm/, () => undefined);
  const found = await page.evaluate(async (patience) => {
    const canvas = Object.assign(document.createElement("canvas"), { width: 64, height: 64 });
    const context = canvas.getContext("2d");
    const recorder = new MediaRecorder(canvas.captureStream(30), { mimeType: "video/webm;codecs=vp8" });
    const parts = [];
    recorder.ondataavailable = ({ data }) => parts.push(data);
    // From the first frame on.
    const paint = setInterval(() => {
      context.fillStyle = `rgb(200 ${100 + (performance.now() % 2)} 50)`;
      context.fillRect(0, 0, 64, 64);
    }, 10);
    await new Promise((resolve) => setTimeout(resolve, 50));
    recorder.start();
    await new Promise((resolve) => setTimeout(resolve, 500));
    await new Promise((resolve) => {
      recorder.onstop = resolve;
      recorder.stop();
    });
    clearInterval(paint);
    const video = (attributes) => Object.assign(document.createElement("video"), { muted: true, ...attributes });
    const src = URL.createObjectURL(new Blob(parts, { type: "video/webm" }));
    const unbuffered = video({ preload: "none", src });
    return {
      fresh: (await window.seen(video({ src }))).slice(0, 3),
      unbuffered: (await window.seen(unbuffered)).slice(0, 3),
      none: await window.seen(video({})),
      blind: await window.seen(video({ srcObject: new MediaStream() })),
      broken: await window.seen(video({ src: URL.createObjectURL(new Blob(["no video"])) })),
      never: await window.seen(video({ src: "/never.webm" }), { signal: AbortSignal.timeout(patience) }),
    };
  }, PATIENCE);
  await page.unroute(/never\.webm/);
  for (const rgb of [found.fresh, found.unbuffered]) {
    // The codec keeps colours roughly.
    for (const [index, value] of [200, 100, 50].entries()) assert.ok(Math.abs(rgb[index] - value) < 20, `found ${rgb}`);
  }
  assert.match(found.none, /^image: the <video> element has no picture to show \(no address\)/);
  assert.match(found.blind, /^image: .*its stream has no video track/);
  assert.match(found.broken, /^image: the <video> element has no picture to show/);
  assert.match(found.never, /^aborted/);
});

test("odd pictures are answered, and absurd ones refused before they are unpacked", { timeout: 120_000 }, async () => {
  const found = await page.evaluate(async (files) => {
    const ask = (image) => window.ofa.caption(image, { numBeams: 1, maxLen: 2 }).then(({ kind }) => kind, ({ code, message }) => `${code}: ${message}`);
    const of = {};
    for (const [name, bytes] of Object.entries(files)) of[name] = await ask(new Blob([new Uint8Array(bytes)], { type: "image/png" }));
    of.transparent = await ask(new ImageData(3, 2));
    of.cut = await ask(new Blob([new Uint8Array(files.dot.slice(0, 40))]));
    of.canvas = await ask(Object.assign(document.createElement("canvas"), { width: 0, height: 0 }));
    of.unloaded = await ask(new Image());
    return of;
  }, { dot: png(1, 1), line: png(4000, 1), column: png(1, 4000), bomb: png(20_000, 20_000) });
  for (const answered of ["dot", "line", "column", "transparent"]) assert.equal(found[answered], "text", answered);
  assert.match(found.bomb, /^image: 20000 × 20000 pixels/);
  for (const refused of ["cut", "canvas", "unloaded"]) assert.match(found[refused], /^image: /);
});

test("a browser that gives noise for pixels is found out, and one that changes them a little is not", async () => {
  const page = await openPage();
  const found = await page.evaluate(async (picture) => {
    const honest = OffscreenCanvasRenderingContext2D.prototype.getImageData;
    const change = (by) => {
      OffscreenCanvasRenderingContext2D.prototype.getImageData = function (...area) {
        const image = honest.apply(this, area);
        image.data.set(image.data.map(by));
        return image;
      };
    };
    change(() => Math.random() * 256);
    const noise = await window.seen(`/golden/${picture}`);
    const needsNoCanvas = await window.seen(new ImageData(new Uint8ClampedArray([1, 2, 3, 255]), 1, 1));
    change((value, at) => (at % 4 < 3 ? value ^ 1 : value));
    const little = await window.seen(`/golden/${picture}`);
    return { noise, needsNoCanvas, little: little.length };
  }, PICTURE);
  await page.context().close();
  assert.match(found.noise, /^image: .*this browser scrambles or hides what pages read from pictures.*allow this site/);
  assert.deepEqual(found.needsNoCanvas, [1, 2, 3, 255]);
  assert.ok(found.little > 1000, "it is read");
});
