// Answers: the same as natively, streamed, cancelled, many of one picture, on both devices.
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { goldens, native, openBlank, startBrowser, startServer, testBundle, www } from "./harness.mjs";

const PICTURE = "tiny/raw_1.png";
const QUESTION = "what colour is it?";
/** Bytes, on average: a step reads some tens of numbers, and the backend's own way of reading would map 16 KiB. */
const MOST_READ_BACK = 1024;
let browser, server, page;

before(async () => {
  browser = await startBrowser();
  server = await startServer();
  page = await openBlank(browser, server);
});
after(async () => {
  await browser.close();
  await server.close();
});

const nativeAnswers = () => {
  const common = ["--model", testBundle, "--image", join(goldens, PICTURE)];
  return { caption: native(["caption", ...common]), vqa: native(["vqa", ...common, "--text", QUESTION]) };
};

for (const [device, options] of [["cpu", { worker: true }], ["cpu", { worker: false }], ["webgpu", { worker: true, counters: true }]]) {
  test(`${device}${options.worker ? " in a worker" : " in the page"} answers as the native binary does`, { timeout: 600_000 }, async () => {
    const found = await page.evaluate(async ([device, options, picture, question]) => {
      const ofa = await OFA.load("/bundle/", { device, ...options });
      const image = `/golden/${picture}`;
      const caption = await ofa.caption(image);
      const vqa = await ofa.vqa(await (await fetch(image)).blob(), question);
      const { counters, device: used } = await ofa.refreshInfo();
      await ofa.dispose();
      return { caption, vqa, counters, used };
    }, [device, options, PICTURE, QUESTION]);
    const expected = nativeAnswers();
    for (const task of ["caption", "vqa"]) {
      assert.deepEqual(found[task].tokens, expected[task].tokens);
      assert.equal(found[task].text, expected[task].text);
      assert.ok(Math.abs(found[task].score - expected[task].score) < 1e-3, `${found[task].score} is not ${expected[task].score}`);
      assert.equal(found[task].alternatives.length, expected[task].alternatives.length);
    }
    assert.equal(found.used.kind, device);
    if (options.counters) {
      const steps = found.caption.timings.steps + found.vqa.timings.steps;
      // One readback a step, and one each to time the stem and the encoder.
      assert.ok(found.counters.readbacks <= steps + 4, `${found.counters.readbacks} readbacks in ${steps} steps`);
      const readback = found.counters.readbackBytes / found.counters.readbacks;
      assert.ok(readback <= MOST_READ_BACK, `${readback} bytes a readback`);
      assert.ok(found.counters.dispatches > 0);
    }
  });
}

test("what a caption takes is compiled while the weights download", { timeout: 600_000 }, async () => {
  const [load, answer] = await page.evaluate(async (picture) => {
    const ofa = await OFA.load("/models/seeded/", { device: "webgpu", counters: true });
    const { counters: load } = ofa.info;
    await ofa.caption(`/golden/${picture}`);
    const { counters: answer } = await ofa.refreshInfo();
    await ofa.dispose();
    return [load, answer];
  }, PICTURE);
  // Copies have kernels for numbers of fours and for others, and pictures and questions have any number.
  assert.ok(answer.pipelines <= load.pipelines / 10, `${answer.pipelines} left of ${load.pipelines}`);
  assert.ok(load.pipelines > 30, `${load.pipelines} compiled`);
});

test("two models that a page loads at once share the GPU", { timeout: 600_000 }, async () => {
  const kinds = await page.evaluate(async () => {
    const load = () => OFA.load("/bundle/", { device: "webgpu", worker: false });
    const models = await Promise.all([load(), load()]);
    for (const model of models) await model.dispose();
    return models.map(({ info }) => info.device.kind);
  });
  assert.deepEqual(kinds, ["webgpu", "webgpu"]);
});

for (const device of ["cpu", "webgpu"]) {
  test(`quantised weights answer on ${device} as natively`, { timeout: 600_000 }, async () => {
    const bundle = "models/seeded/";
    const found = await page.evaluate(async ([bundle, device, picture]) => {
      const ofa = await OFA.load(`/${bundle}`, { device });
      const { tokens } = await ofa.caption(`/golden/${picture}`);
      const { precision } = ofa.info;
      await ofa.dispose();
      return { tokens, precision };
    }, [bundle, device, PICTURE]);
    const expected = native(["caption", "--model", join(www, "demo", bundle), "--image", join(goldens, PICTURE)]);
    assert.deepEqual(found, { tokens: expected.tokens, precision: "q8" });
  });
}

test("auto takes the CPU where the GPU is emulated, and says why", async () => {
  const device = await page.evaluate(() => OFA.probe());
  assert.equal(device.kind, "cpu");
  assert.match(device.reason, /software|no WebGPU/);
});

test("tokens stream, and leaving the loop cancels", async () => {
  const found = await page.evaluate(async (picture) => {
    const ofa = await OFA.load("/bundle/", { device: "cpu" });
    const events = [];
    for await (const event of ofa.stream("caption", { image: `/golden/${picture}` })) events.push(event);
    let seen = 0;
    for await (const event of ofa.stream("caption", { image: `/golden/${picture}` }, { numBeams: 2 })) if (event.event && ++seen === 2) break;
    const after = await ofa.caption(`/golden/${picture}`);
    const controller = new AbortController();
    const aborted = await window.caught(ofa.caption(`/golden/${picture}`, { signal: controller.signal, onToken: () => controller.abort() }));
    const before = await window.caught(ofa.caption(`/golden/${picture}`, { signal: AbortSignal.abort() }));
    await ofa.dispose();
    const disposed = await window.caught(ofa.caption(`/golden/${picture}`));
    return { events, seen, after: after.text, aborted, before, disposed };
  }, PICTURE);
  const tokens = found.events.filter(({ event }) => event === "token");
  assert.deepEqual(tokens.map(({ step }) => step), tokens.map((_, index) => index + 1));
  assert.equal(found.events.at(-1).answer.text, found.after);
  assert.equal(found.seen, 2);
  assert.equal(found.aborted.code, "aborted");
  assert.equal(found.before.name, "AbortError");
  assert.equal(found.disposed.code, "disposed");
});

test("one encoded picture answers many questions, and closed ones choose among the answers", async () => {
  const found = await page.evaluate(async (picture) => {
    const [ofa, other] = await Promise.all([OFA.load("/bundle/", { device: "cpu" }), OFA.load("/bundle/", { device: "cpu" })]);
    const image = await ofa.encodeImage(`/golden/${picture}`);
    const [caption, again, closed] = await Promise.all([
      ofa.caption(image), ofa.caption(`/golden/${picture}`), ofa.vqa(image, "what colour?", { answers: ["red", "blue", "green"] }),
    ]);
    const foreign = await window.caught(other.caption(image));
    await image.free();
    const freed = await window.caught(ofa.caption(image));
    await Promise.all([ofa.dispose(), other.dispose()]);
    return { same: caption.text === again.text, closed, foreign, freed };
  }, PICTURE);
  assert.ok(found.same);
  assert.deepEqual(found.closed.alternatives.map(({ text }) => text).sort(), ["blue", "green", "red"]);
  assert.equal(found.foreign.code, "option");
  assert.equal(found.freed.code, "option");
});

test("errors keep their codes across the worker, and say what is wrong", async () => {
  const found = await page.evaluate(async (picture) => {
    const ofa = await OFA.load("/bundle/", { device: "cpu" });
    const image = `/golden/${picture}`;
    const ask = (options, input = image) => window.caught(ofa.caption(input, options));
    const result = {
      beams: await ask({ numBeams: 0 }),
      size: await ask({ imageSize: 100_000 }),
      unknown: await ask({ numBeans: 3 }),
      task: await window.caught(ofa.run("nothing", image)),
      question: await window.caught(ofa.vqa(image, " ")),
      missing: await ask({}, "/golden/nothing.png"),
      text: await ask({}, new Blob(["not a picture"])),
      empty: await ask({}, new Blob([])),
      number: await ask({}, 7),
      still: (await ofa.caption(image)).kind,
    };
    await ofa.dispose();
    return result;
  }, PICTURE);
  const expected = {
    beams: ["option", /numBeams.*1 to 64.*found 0/], size: ["option", /imageSize/], unknown: ["option", /numBeans/], task: ["task", /caption, vqa/],
    question: ["task", /empty/], missing: ["fetch", /nothing\.png.*404/], text: ["image", /not a picture/], empty: ["image", /empty/], number: ["image", /found 7/],
  };
  for (const [name, [code, message]] of Object.entries(expected)) {
    assert.equal(found[name].code, code, `${name}: ${found[name].message}`);
    assert.match(found[name].message, message);
  }
  assert.equal(found.still, "text");
});

test("a thousand answers leave memory flat", { timeout: 600_000 }, async () => {
  const own = await openBlank(browser, server);
  const devtools = await own.context().newCDPSession(own);
  const rounds = (count) => own.evaluate(async (count) => {
    for (let round = 0; round < count; round++) await window.ask();
  }, count);
  const memory = async () => {
    await devtools.send("HeapProfiler.collectGarbage");
    const { usedSize } = await devtools.send("Runtime.getHeapUsage");
    return { heap: usedSize, wasm: await own.evaluate(() => window.wasmMemory.buffer.byteLength) };
  };
  await own.evaluate(async (picture) => {
    const ofa = await OFA.load("/bundle/", { device: "cpu", worker: false });
    window.wasmMemory = (await (await import("/ofa-web/ofa-web/wasm/cpu/ofa.js")).default()).memory;
    const image = await (await fetch(`/golden/${picture}`)).blob();
    window.ask = () => ofa.vqa(image, "what is it?", { numBeams: 2, maxLen: 3, imageSize: 32 });
  }, PICTURE);
  await rounds(50);
  const before = await memory();
  await rounds(1000);
  const after = await memory();
  await own.context().close();
  assert.equal(after.wasm, before.wasm, "the wasm's memory grew");
  // Compiled code and caches of the browser itself come and go.
  assert.ok(after.heap - before.heap < 500_000, `the heap went from ${before.heap} to ${after.heap} bytes`);
});

for (const worker of [true, false]) {
  test(`a caller's mistake ${worker ? "beside a worker" : "in the page"} fails alone, and says what it was`, { timeout: 120_000 }, async () => {
    const found = await page.evaluate(async ([picture, worker]) => {
      const ofa = await OFA.load("/bundle/", { device: "cpu", worker });
      const blob = await (await fetch(`/golden/${picture}`)).blob();
      const image = await ofa.encodeImage(blob);
      const question = { text: "what is it?" };
      const others = ofa.runAll("vqa", image, Array(20).fill(question));
      const { tokens } = await ofa.vqa(image, question.text);
      const detached = new ImageData(2, 2);
      structuredClone(detached.data.buffer, { transfer: [detached.data.buffer] });
      const round = { text: "what is it?" };
      round.self = round;
      const mistakes = {
        svg: () => ofa.caption(document.createElementNS("http://www.w3.org/2000/svg", "svg")),
        size: () => ofa.caption({ width: 3 }),
        detached: () => ofa.caption(detached),
        seed: () => ofa.caption(image, { topP: 0.9, seed: 7n }),
        round: () => ofa.run("vqa", image, round),
        options: () => ofa.caption(image, null),
        drawing: () => ofa.generateImage("a red car", null),
        closed: () => ofa.vqa(image, "is it red?", null),
        task: () => ofa.run(undefined, image),
        encoded: () => ofa.encodeImage(blob, { task: null }),
        questions: () => ofa.runAll("vqa", image),
        stream: () => ofa.stream("vqa", null).next(),
        answer: () => ofa.attention("vqa", image, question),
        blind: () => ofa.attention("vqa", undefined, question, { tokens }),
        codes: () => ofa.drawCodes(),
        words: () => ofa.drawCodes([1, "x"]),
        below: () => ofa.drawCodes([-1]),
        lost: () => ofa.caption(image, { maxLen: NaN }),
        handler: () => ofa.runAll("vqa", image, [question], { onToken: () => undefined }),
        signal: () => ofa.caption(image, { signal: new AbortController() }),
        text: () => ofa.vqa(image, 5),
        names: () => ofa.classify(image, "red"),
        corners: () => ofa.describeRegion(image, [0, 1]),
        late: () => ofa.caption(image, { imageSize: 32 }),
        early: () => ofa.encodeImage(blob, { numBeams: "x" }),
        cache: () => OFA.load("/bundle/", { cache: false }),
        misspelt: () => OFA.load("/bundle/", { devise: "cpu" }),
        threads: () => OFA.load("/bundle/", { device: "cpu", threads: 3.7 }),
        list: () => OFA.load([blob]),
        files: () => OFA.load({ files: blob }),
        cached: () => OFA.isCached({ files: [] }),
        cleared: () => OFA.clearCache(),
        bundle: () => OFA.load(null),
        loading: () => OFA.load("/bundle/", null),
      };
      const errors = {};
      for (const [name, make] of Object.entries(mistakes)) errors[name] = await window.caught(Promise.resolve().then(make));
      const whole = await ofa.vqa(image, "is it a \ufffd");
      const cut = await ofa.vqa(image, "is it a 🐧".slice(0, 9));
      const answered = (await others).length;
      await ofa.dispose();
      return { errors, answered, cut: cut.tokens, whole: whole.tokens };
    }, [PICTURE, worker]);
    const expected = {
      svg: ["image", /found SVGSVGElement/], size: ["image", /found Object/], detached: ["image", /ImageData has no pixels/], seed: ["option", /seed is a bigint/],
      round: ["option", /plain values.*(circular|cyclic)/i], options: ["option", /options, found null/], drawing: ["option", /options, found null/],
      closed: ["option", /options, found null/], task: ["task", /found undefined/], encoded: ["task", /found null/], questions: ["option", /list of inputs, found undefined/],
      stream: ["option", /inputs, found null/], answer: ["option", /tokens of an answer, found undefined/], blind: ["image", /found undefined/],
      codes: ["option", /codes: expected a list.*found undefined/], words: ["option", /whole numbers, found string/], below: ["option", /whole numbers, found -1/],
      bundle: ["option", /bundle, or \{ files \}, found null/], loading: ["option", /options, found null/],
      lost: ["option", /maxLen is NaN/], handler: ["option", /onToken: this call takes no such callback/], signal: ["option", /AbortSignal, found AbortController/],
      text: ["option", /`text`: expected a string, found integer `5`/], names: ["option", /`answers`: expected a sequence, found string "red"/],
      corners: ["option", /`region`: expected an array of length 4/], late: ["option", /imageSize: the image has been encoded already, in the model's own size/],
      early: ["option", /`numBeams`: expected usize, found string "x"/], cache: ["option", /cache: expected "auto" or "none", found boolean/],
      misspelt: ["option", /devise/], threads: ["option", /1 to 64, found 3\.7/], list: ["option", /\{ files \}.*found Array/],
      files: ["option", /\{ files \}.*found Blob/], cached: ["option", /address of a bundle, found Object/], cleared: ["option", /address of a bundle, found undefined/],
    };
    for (const [name, [code, message]] of Object.entries(expected)) {
      assert.equal(found.errors[name].code, code, `${name}: ${found.errors[name].message}`);
      assert.match(found.errors[name].message, message, name);
    }
    assert.equal(found.answered, 20, "what was asked before is answered");
    assert.deepEqual(found.cut, found.whole, "half an emoji is read as what is no character");
  });

  test(`what a callback throws ${worker ? "beside a worker" : "in the page"} is reported, and ends nothing`, async () => {
    const found = await page.evaluate(async ([picture, worker]) => {
      const reports = [];
      const listen = (event) => {
        event.preventDefault();
        reports.push(event.error.message);
      };
      window.addEventListener("error", listen);
      const fail = (name) => () => { throw new Error(name); };
      const ofa = await OFA.load("/bundle/", { device: "cpu", worker, onProgress: fail("progress") });
      const { kind } = await ofa.caption(`/golden/${picture}`, { onToken: fail("token"), maxLen: 3 });
      const { drawings } = await ofa.generateImage("a red car", { numBeams: 1, topK: 16, seed: 5, onPicture: fail("picture"), onProgress: fail("codes") });
      await ofa.dispose();
      window.removeEventListener("error", listen);
      return { kind, drawn: drawings.length, reports: [...new Set(reports)] };
    }, [PICTURE, worker]);
    assert.deepEqual(found, { kind: "text", drawn: 1, reports: ["progress", "token", "codes", "picture"] });
  });
}

for (const worker of [true, false]) {
  test(`why a call ${worker ? "beside a worker" : "in the page"} was aborted is told`, async () => {
    const found = await page.evaluate(async ([picture, worker]) => {
      const ofa = await OFA.load("/bundle/", { device: "cpu", worker });
      // Encoded, so that calls take their turns in the order in which they are made.
      const image = await ofa.encodeImage(`/golden/${picture}`);
      const reason = new Error("another picture was chosen");
      const during = new AbortController();
      const calls = {
        before: ofa.caption(image, { signal: AbortSignal.abort(reason) }),
        during: ofa.caption(image, { signal: during.signal, onToken: () => during.abort(reason) }),
        queued: ofa.runAll("caption", image, [{}], { signal: during.signal }),
      };
      const told = {};
      for (const [name, call] of Object.entries(calls)) {
        told[name] = await call.then(() => "answered", ({ code, cause }) => (cause === reason ? code : `${code}: ${cause}`));
      }
      // A whole answer of a few tokens may take less than a thread is kept.
      const late = await window.caught(ofa.caption(image, { numBeams: 8, minLen: 120, maxLen: 120, signal: AbortSignal.timeout(1) }));
      await ofa.dispose();
      return { told, late };
    }, [PICTURE, worker]);
    assert.deepEqual(found.told, { before: "aborted", during: "aborted", queued: "aborted" });
    assert.deepEqual(found.late, { name: "AbortError", code: "aborted", message: "aborted: it took longer than its signal allows" });
  });
}

test("a trap of another module of the page is no business of the model", async () => {
  const found = await page.evaluate(async (picture) => {
    // It exports `trap`, which does nothing else.
    const code = [0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 7, 8, 1, 4, 116, 114, 97, 112, 0, 0, 10, 5, 1, 3, 0, 0, 11];
    const { instance } = await WebAssembly.instantiate(new Uint8Array(code));
    const reports = [];
    const listen = (event) => {
      reports.push([event.error instanceof WebAssembly.RuntimeError, event.defaultPrevented]);
      event.preventDefault();
    };
    const ofa = await OFA.load("/bundle/", { device: "cpu", worker: false });
    const onToken = () => {
      if (reports.length > 0) return;
      // Behind the model's own.
      window.addEventListener("error", listen);
      queueMicrotask(instance.exports.trap);
    };
    const answer = await window.caught(ofa.caption(`/golden/${picture}`, { onToken }));
    window.removeEventListener("error", listen);
    await ofa.dispose();
    return { answer, reports };
  }, PICTURE);
  assert.equal(found.answer.code, "none", found.answer.message);
  assert.deepEqual(found.reports, [[true, false]]);
});

for (const worker of [true, false]) {
  test(`a trap ${worker ? "in the worker" : "in the page"} fails the call, and the next one finds the model loaded again`, async () => {
    const own = await openBlank(browser, server);
    await own.evaluate(async (worker) => { window.ofa = await OFA.load("/bundle/", { device: "cpu", worker }); }, worker);
    const caption = () => own.evaluate((picture) => window.caught(window.ofa.caption(`/golden/${picture}`).then(({ text }) => { window.text = text; })), PICTURE);
    // The model asks for the time at every stage. That it traps there is as good as anywhere.
    const realm = worker ? own.workers()[0] : own;
    await realm.evaluate(() => { performance.now = () => { throw new WebAssembly.RuntimeError("unreachable"); }; });
    const failed = await caption();
    if (!worker) await own.evaluate(() => { delete performance.now; });
    const again = await caption();
    const text = await own.evaluate(() => window.text);
    await own.context().close();
    assert.equal(failed.code, "internal", failed.message);
    assert.match(failed.message, /unreachable.*loaded again/);
    assert.equal(again.code, "none", again.message);
    assert.equal(text, nativeAnswers().caption.text);
  });
}

test("a crash is told to all that waited, and what it took along is free", async () => {
  const own = await openBlank(browser, server);
  for (const worker of [true, false]) {
    await own.evaluate(async ([picture, worker]) => {
      window.ofa = await OFA.load("/bundle/", { device: "cpu", worker });
      window.image = await window.ofa.encodeImage(`/golden/${picture}`);
    }, [PICTURE, worker]);
    const realm = worker ? own.workers()[0] : own;
    await realm.evaluate(() => { performance.now = () => { throw new WebAssembly.RuntimeError("unreachable"); }; });
    const { errors, freed } = await own.evaluate(async () => {
      const errors = await Promise.all([1, 2, 3].map(() => window.caught(window.ofa.caption(window.image))));
      delete performance.now;
      return { errors, freed: await window.caught(window.image.free()) };
    });
    for (const { code, message } of errors) assert.match(`${code}: ${message}`, /^internal: .*unreachable.*loaded again/);
    const late = await own.evaluate(async (picture) => {
      const image = await window.ofa.encodeImage(`/golden/${picture}`);
      await window.ofa.dispose();
      return window.caught(image.free());
    }, PICTURE);
    assert.deepEqual([freed, late], [{ code: "none" }, { code: "none" }]);
  }
  await own.context().close();
});

test("what a picture on its way ends with is told, and a crash there leads to the model being loaded again", async () => {
  const own = await openBlank(browser, server);
  const found = await own.evaluate(async () => {
    const { Session } = await import("/ofa-web/ofa-web/wasm/cpu/ofa.js");
    const ofa = await OFA.load("/bundle/", { device: "cpu", worker: false });
    const draw = () => window.caught(ofa.generateImage("a red car", { numBeams: 1, topK: 16, seed: 5 }));
    const { draw: original } = Session.prototype;
    Session.prototype.draw = () => Promise.reject({ code: "option", message: "no such codes" });
    const refused = await draw();
    Session.prototype.draw = () => Promise.reject({ code: "device", message: "the GPU is lost" });
    const lost = await draw();
    Session.prototype.draw = original;
    const again = await draw();
    await ofa.dispose();
    return { refused, lost, again };
  });
  await own.context().close();
  assert.deepEqual([found.refused.code, found.refused.message], ["option", "no such codes"]);
  assert.deepEqual([found.lost.code, found.lost.message], ["device", "the GPU is lost"]);
  assert.equal(found.again.code, "none", found.again.message);
});

test("a model in the page that is disposed of ends its call at the next step, and is free then", async () => {
  const own = await openBlank(browser, server);
  const found = await own.evaluate(async (picture) => {
    const { Session } = await import("/ofa-web/ofa-web/wasm/cpu/ofa.js");
    const { free } = Session.prototype;
    const happened = [];
    Session.prototype.free = function () {
      happened.push("freed");
      return free.call(this);
    };
    const ofa = await OFA.load("/bundle/", { device: "cpu", worker: false });
    const image = await ofa.encodeImage(`/golden/${picture}`);
    let disposed;
    const onToken = () => {
      happened.push("token");
      disposed ??= ofa.dispose().then(() => happened.push("disposed"));
    };
    const error = await window.caught(ofa.caption(image, { onToken }));
    await disposed;
    return { error, happened };
  }, PICTURE);
  await own.context().close();
  assert.equal(found.error.code, "disposed");
  assert.match(found.error.message, /disposed of/);
  assert.deepEqual(found.happened, ["token", "freed", "disposed"]);
});

test("closed questions asked together are cancelled half way, and answered as one by one", async () => {
  const own = await openBlank(browser, server);
  const found = await own.evaluate(async (picture) => {
    const { Session } = await import("/ofa-web/ofa-web/wasm/cpu/ofa.js");
    const ofa = await OFA.load("/bundle/", { device: "cpu", worker: false });
    const image = await ofa.encodeImage(`/golden/${picture}`);
    const questions = Array.from({ length: 20 }, (_, index) => ({ text: `is it ${index}?`, answers: ["yes", "no"] }));
    const together = await ofa.runAll("vqa", image, questions);
    const apart = [];
    for (const question of questions) apart.push(await ofa.run("vqa", image, question));
    const { runAll } = Session.prototype;
    const controller = new AbortController();
    let steps = 0;
    Session.prototype.runAll = async function (...args) {
      const goesOn = args.pop();
      // As the page would, as soon as it is its turn.
      setTimeout(() => controller.abort());
      return runAll.call(this, ...args, () => (steps++, goesOn()));
    };
    const many = Array.from({ length: 10 }, () => questions).flat();
    const { code } = await window.caught(ofa.runAll("vqa", image, many, { signal: controller.signal }));
    return { together: together.map(({ text }) => text), apart: apart.map(({ text }) => text), code, steps };
  }, PICTURE);
  await own.context().close();
  assert.deepEqual(found.together, found.apart);
  assert.equal(found.code, "aborted");
  assert.ok(found.steps > 0 && found.steps < 200, `${found.steps} steps`);
});

test("a call in the page that is cancelled while it waits does not wait for its turn, and what goes on goes on", async () => {
  const own = await openBlank(browser, server);
  const found = await own.evaluate(async (picture) => {
    const { Session } = await import("/ofa-web/ofa-web/wasm/cpu/ofa.js");
    const ofa = await OFA.load("/bundle/", { device: "cpu", worker: false });
    const image = await ofa.encodeImage(`/golden/${picture}`);
    const { run } = Session.prototype;
    const happened = [];
    let release;
    Session.prototype.run = async function (...args) {
      happened.push("begun");
      if (!release) await new Promise((resolve) => (release = resolve));
      const answer = await run.apply(this, args);
      happened.push("ended");
      return answer;
    };
    const first = ofa.caption(image);
    const second = window.caught(ofa.caption(image, { signal: AbortSignal.timeout(50) })).then(({ code }) => happened.push(code));
    const third = ofa.caption(image);
    await Promise.race([second, new Promise((resolve) => setTimeout(resolve, 1000))]);
    release();
    await Promise.all([first, third]);
    return happened;
  }, PICTURE);
  await own.context().close();
  assert.deepEqual(found, ["begun", "aborted", "ended", "begun", "ended"]);
});

test("a device that crashes while it compiles ahead fails the load, and not the next one", async () => {
  const own = await openBlank(browser, server);
  const found = await own.evaluate(async () => {
    const { Session } = await import("/ofa-web/ofa-web/wasm/cpu/ofa.js");
    Session.prototype.rehearse = () => Promise.reject(new WebAssembly.RuntimeError("unreachable"));
    const load = () => window.caught(OFA.load("/bundle/", { device: "cpu", worker: false, cache: "none" }).then((ofa) => ofa.dispose()));
    return { crashed: await load(), next: await load() };
  });
  await own.context().close();
  assert.equal(found.crashed.code, "internal");
  assert.match(found.crashed.message, /unreachable/);
  assert.equal(found.next.code, "none", found.next.message);
});

test("a load that ends while the device compiles ahead leaves nothing that fails later", async () => {
  const own = await openBlank(browser, server);
  const problems = [];
  own.on("pageerror", (error) => problems.push(error.message));
  const found = await own.evaluate(async () => {
    const { Session } = await import("/ofa-web/ofa-web/wasm/cpu/ofa.js");
    const { rehearse } = Session.prototype;
    let crash;
    Session.prototype.rehearse = () => new Promise((_, reject) => (crash = () => reject(new WebAssembly.RuntimeError("unreachable"))));
    const controller = new AbortController();
    const onProgress = ({ phase }) => phase === "upload" && controller.abort();
    const options = { device: "cpu", worker: false, cache: "none" };
    const aborted = await window.caught(OFA.load("/bundle/", { ...options, signal: controller.signal, onProgress }));
    Session.prototype.rehearse = rehearse;
    crash();
    await new Promise((resolve) => setTimeout(resolve, 100));
    return { aborted, next: await window.caught(OFA.load("/bundle/", options).then((ofa) => ofa.dispose())) };
  });
  await own.context().close();
  assert.equal(found.aborted.code, "aborted");
  assert.equal(found.next.code, "none", found.next.message);
  assert.deepEqual(problems, []);
});

test("a GPU that is lost fails the call, and the next one finds the model loaded again", { timeout: 300_000 }, async () => {
  const own = await openBlank(browser, server);
  const found = await own.evaluate(async (picture) => {
    const request = GPUAdapter.prototype.requestDevice;
    let gpu;
    GPUAdapter.prototype.requestDevice = async function (...args) { return (gpu = await request.apply(this, args)); };
    const ofa = await OFA.load("/models/seeded/", { device: "webgpu", worker: false });
    const ask = () => ofa.caption(`/golden/${picture}`, { numBeams: 1, maxLen: 2, imageSize: 32 });
    gpu.destroy();
    const lost = await window.caught(ask());
    return { lost, again: (await ask()).kind };
  }, PICTURE);
  await own.context().close();
  assert.match(found.lost.code, /^(device|internal)$/);
  assert.doesNotMatch(found.lost.message, /[Bb]acktrace/);
  assert.equal(found.again, "text");
});

test("a worker that dies fails its calls, and the next one finds the model loaded again", async () => {
  const found = await page.evaluate(async (picture) => {
    const workers = [];
    const Original = window.Worker;
    window.Worker = class extends Original {
      constructor(...args) {
        super(...args);
        workers.push(this);
      }
    };
    const ofa = await OFA.load("/bundle/", { device: "cpu" });
    const failed = window.caught(ofa.caption(`/golden/${picture}`, { onToken: () => workers[0].dispatchEvent(new ErrorEvent("error", { message: "boom", cancelable: true })) }));
    const error = await failed;
    const { text } = await ofa.caption(`/golden/${picture}`);
    await ofa.dispose();
    window.Worker = Original;
    return { error, text, workers: workers.length };
  }, PICTURE);
  assert.equal(found.error.code, "internal");
  assert.equal(typeof found.text, "string");
  assert.equal(found.workers, 2);
});

/** A page whose model's worker has died. */
async function openCrashed() {
  const own = await openBlank(browser, server);
  await own.evaluate(async () => {
    const Original = window.Worker;
    window.Worker = class extends Original {
      constructor(...args) {
        super(...args);
        window.last = this;
      }
    };
    window.ofa = await OFA.load("/bundle/", { device: "cpu", cache: "none" });
    window.last.dispatchEvent(new ErrorEvent("error", { message: "boom", cancelable: true }));
  });
  return own;
}

test("a model that cannot be loaded again now is loaded by the call after", async () => {
  const own = await openCrashed();
  const caption = (signal) => own.evaluate(([picture, aborted]) => {
    const signal = aborted ? AbortSignal.timeout(100) : undefined;
    return window.caught(window.ofa.caption(`/golden/${picture}`, signal && { signal }));
  }, [PICTURE, signal]);
  // The first notices the crash.
  assert.equal((await caption()).code, "internal");
  await own.route(/tokenizer\.json/, (route) => route.fulfill({ status: 404 }));
  assert.equal((await caption()).code, "fetch");
  await own.unroute(/tokenizer\.json/);
  await own.route(/tokenizer\.json/, async (route) => {
    await new Promise((resolve) => setTimeout(resolve, 1500));
    await route.continue();
  });
  // Giving up does not wait for the model, and what was begun serves the next.
  assert.match((await caption(true)).code, /aborted|internal/);
  assert.equal((await caption()).code, "none");
  await own.context().close();
});

test("a model that is disposed of while it is loaded again is not waited for", { timeout: 60_000 }, async () => {
  const own = await openCrashed();
  await own.route(/\.safetensors/, () => undefined);
  const found = await own.evaluate(async (picture) => {
    await window.caught(window.ofa.caption(`/golden/${picture}`));
    const waiting = window.caught(window.ofa.caption(`/golden/${picture}`));
    await new Promise((resolve) => setTimeout(resolve, 300));
    const disposed = await Promise.race([window.ofa.dispose().then(() => true), new Promise((resolve) => setTimeout(resolve, 2000, false))]);
    return { disposed, waiting: await waiting };
  }, PICTURE);
  await own.context().close();
  assert.ok(found.disposed);
  assert.equal(found.waiting.code, "disposed");
  assert.match(found.waiting.message, /disposed/);
});

test("a picture that nobody waits for any more is freed, and what cannot cross to the worker costs no model", async () => {
  const found = await page.evaluate(async (picture) => {
    const sent = [];
    const Original = window.Worker;
    window.Worker = class extends Original {
      postMessage(message, transfer) {
        sent.push(message.method);
        super.postMessage(message, transfer);
      }
    };
    const ofa = await OFA.load("/bundle/", { device: "cpu" });
    const controller = new AbortController();
    const given = window.caught(ofa.encodeImage(`/golden/${picture}`, { signal: controller.signal }));
    while (!sent.includes("encodeImage")) await new Promise((resolve) => setTimeout(resolve, 1));
    controller.abort();
    const aborted = await given;
    for (let waited = 0; waited < 5000 && !sent.includes("freeImage"); waited += 10) await new Promise((resolve) => setTimeout(resolve, 10));
    const strange = await window.caught(ofa.caption(`/golden/${picture}`, { onProgress: () => undefined }));
    const nothing = await window.caught(ofa.caption(document.querySelector("#nothing")));
    const { text } = await ofa.caption(`/golden/${picture}`);
    await ofa.dispose();
    window.Worker = Original;
    return { aborted, sent, strange, nothing, text, loads: sent.filter((method) => method === "load").length };
  }, PICTURE);
  assert.equal(found.aborted.code, "aborted");
  assert.ok(found.sent.includes("freeImage"), `sent ${found.sent}`);
  assert.equal(found.strange.code, "option", found.strange.message);
  assert.equal(found.nothing.code, "image", found.nothing.message);
  assert.match(found.nothing.message, /found null/);
  assert.equal(typeof found.text, "string");
  assert.equal(found.loads, 1);
});
