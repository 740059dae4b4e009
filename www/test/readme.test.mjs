// What the README shows in JavaScript, line by line.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { openBlank, startBrowser, startServer, www } from "./harness.mjs";

const TASKS = [...readFileSync(join(www, "src/tasks.gen.ts"), "utf8").matchAll(/^ {2}(\w+): (\w+)Answer;$/gm)].map(([, task, answer]) => ({ task, answer }));
const LINES = readFileSync(join(www, "../README.md"), "utf8").split("## Every task in one line")[1].split("```js\n")[1].split("```")[0].trim().split("\n");
let browser, server, page;
before(async () => {
  browser = await startBrowser();
  server = await startServer();
  page = await openBlank(browser, server);
  await page.evaluate(async () => {
    window.ofa = await OFA.load("/bundle/", { device: "cpu" });
    window.image = "/golden/tiny/raw_0.png";
    // Which task a line runs, the worker is told.
    const post = Worker.prototype.postMessage;
    Worker.prototype.postMessage = function (message, ...rest) {
      if (message.method === "run") window.task = message.args[0];
      return post.call(this, message, ...rest);
    };
  });
});
after(async () => {
  await browser.close();
  await server.close();
});

test("there is a line for every task", () => assert.equal(LINES.length, TASKS.length));

for (const [index, { task, answer }] of TASKS.entries()) {
  test(LINES[index] ?? task, { timeout: 60_000 }, async () => {
    const found = await page.evaluate((line) => eval(`(async () => { const { kind } = ${line}; return [window.task, kind]; })()`), LINES[index].replace(/;$/, ""));
    assert.deepEqual(found, [task, answer.toLowerCase()]);
  });
}
