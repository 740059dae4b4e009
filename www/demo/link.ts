// A question in the address: `#task=vqa&text=…&picture=sample:house`.
import type { AnswerOptions, Corners, TaskInputs } from "ofa-web";
import { PANELS, type Question } from "./panels";

const TEXTS = ["text", "text2", "caption"] as const;
const NUMBERS = ["numBeams", "maxLen", "imageSize", "topK", "topP", "seed", "temperature"] as const;

/** What a link restores. */
export interface Linked {
  question: Question;
  /** Where the picture can be had again. */
  picture: string | undefined;
}

export function toHash({ question, picture }: Linked): string {
  const { task, inputs, options } = question;
  const hash = new URLSearchParams({ task });
  for (const name of TEXTS) if (inputs[name] !== undefined) hash.set(name, inputs[name]);
  for (const answer of inputs.answers ?? []) hash.append("answer", answer);
  if (inputs.region) hash.set("region", inputs.region.join(","));
  for (const name of NUMBERS) if (options[name] !== undefined) hash.set(name, String(options[name]));
  if (picture) hash.set("picture", picture);
  return `#${hash}`;
}

/** Nothing, if it is no question; what of it makes no sense is left out. */
export function fromHash(text: string): Linked | undefined {
  const hash = new URLSearchParams(text.replace(/^#/, ""));
  const task = PANELS.flatMap(({ tasks }) => tasks).find((one) => one.task === hash.get("task"))?.task;
  if (!task) return undefined;
  const inputs: TaskInputs = {};
  for (const name of TEXTS) {
    const value = hash.get(name);
    if (value !== null) inputs[name] = value;
  }
  const answers = hash.getAll("answer");
  if (answers.length) inputs.answers = answers;
  const region = hash.get("region")?.split(",").map(Number);
  if (region?.length === 4 && region.every((side) => side >= 0 && side <= 1)) inputs.region = region as Corners;
  const options: AnswerOptions = {};
  for (const name of NUMBERS) {
    const value = hash.get(name);
    if (value && Number.isFinite(Number(value))) options[name] = Number(value);
  }
  return { question: { task, inputs, options }, picture: hash.get("picture") ?? undefined };
}
