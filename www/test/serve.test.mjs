// The server that the demo and the tests use.
import assert from "node:assert/strict";
import { get } from "node:http";
import { test } from "node:test";
import { serve } from "../scripts/serve.mjs";
import { www } from "./harness.mjs";

test("an address that is none is refused, and the server goes on", async () => {
  const server = await serve({ "/": www });
  // Clients like `fetch` would not send these.
  const statusOf = (path) => new Promise((resolve, reject) => {
    get({ port: new URL(server.url).port, path }, (response) => resolve(response.resume().statusCode)).on("error", reject);
  });
  const found = [];
  for (const path of ["/%", "//", "/package.json"]) found.push(await statusOf(path));
  await server.close();
  assert.deepEqual(found, [400, 400, 200]);
});
