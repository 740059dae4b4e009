import { LocalEngine } from "./engine.js";
import { Crash, OfaError } from "./errors.js";
import type { FromWorker, ToWorker } from "./protocol.js";
import type { Progress, StepEvent } from "./types.js";

const engine = new LocalEngine();
const running = new Map<number, AbortController>();
const post = (message: FromWorker) => self.postMessage(message);

self.onmessage = async ({ data }: MessageEvent<ToWorker>) => {
  if (data.method === "abort") {
    running.get(data.id)?.abort();
    return;
  }
  if (data.method === "leave") {
    engine.leave();
    return;
  }
  const { id } = data;
  const controller = new AbortController();
  running.set(id, controller);
  try {
    post({ id, result: await call(data, controller.signal) });
  } catch (error) {
    const { code, message } = OfaError.from(error);
    post({ id, error: { code, message }, crashed: error instanceof Crash });
  } finally {
    running.delete(id);
  }
};

function call(data: Exclude<ToWorker, { method: "abort" | "leave" }>, signal: AbortSignal): Promise<unknown> {
  const onEvent = (event: Progress | StepEvent) => post({ id: data.id, event });
  switch (data.method) {
    case "load":
      return engine.load(...data.args, onEvent, signal);
    case "encodeImage":
      return engine.encodeImage(...data.args, signal);
    case "freeImage":
      return engine.freeImage(...data.args);
    case "run":
      return engine.run(...data.args, onEvent, signal);
    case "runAll":
      return engine.runAll(...data.args, signal);
    case "attention":
      return engine.attention(...data.args, signal);
    case "loadCodes":
      return engine.loadCodes(onEvent, signal);
    case "draw":
      return engine.draw(...data.args, signal);
    case "info":
      return engine.info();
  }
}
