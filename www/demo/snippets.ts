// The question just asked, as a line of code.
import type { TaskInputs, TaskName } from "ofa-web";
import type { Question } from "./panels";

/** Methods of `OFA` that take, behind the picture, these inputs in this order; other tasks are run by name. */
const METHODS: Partial<Record<TaskName, { name: string; image: boolean; inputs: (keyof TaskInputs)[] }>> = {
  caption: { name: "caption", image: true, inputs: [] },
  vqa: { name: "vqa", image: true, inputs: ["text"] },
  grounding: { name: "ground", image: true, inputs: ["text"] },
  region_caption: { name: "describeRegion", image: true, inputs: ["region"] },
  detect: { name: "detect", image: true, inputs: [] },
  match: { name: "match", image: true, inputs: ["text"] },
  classify: { name: "classify", image: true, inputs: ["answers"] },
  entailment: { name: "entail", image: true, inputs: ["text"] },
  ocr: { name: "readText", image: true, inputs: [] },
  infill_image: { name: "infillImage", image: true, inputs: [] },
  image_gen: { name: "generateImage", image: false, inputs: ["text"] },
  infill_text: { name: "infillText", image: false, inputs: ["text"] },
};

const literal = (value: unknown): string =>
  typeof value === "object" && value !== null && !Array.isArray(value)
    ? `{ ${Object.entries(value).map(([key, value]) => `${key}: ${literal(value)}`).join(", ")} }`
    : Array.isArray(value) ? `[${value.map(literal).join(", ")}]` : JSON.stringify(value);

/** A call on `ofa`, the picture being `image`. */
export function javascript({ task, inputs, options }: Question): string {
  const method = METHODS[task];
  const given: Record<string, unknown> = { ...inputs };
  const list: unknown[] = (method?.inputs ?? []).map((name) => {
    const value = given[name];
    delete given[name];
    return value;
  });
  const args = list.map(literal);
  if (!method) return `await ofa.run(${[literal(task), "undefined", literal(inputs), ...(Object.keys(options).length ? [literal(options)] : [])].join(", ")})`;
  const rest = { ...given, ...options };
  if (method.image) args.unshift("image");
  if (Object.keys(rest).length) args.push(literal(rest));
  return `await ofa.${method.name}(${args.join(", ")})`;
}

const FLAGS = { numBeams: "num-beams", maxLen: "max-len", imageSize: "image-size", topK: "top-k", topP: "top-p", seed: "seed", temperature: "temperature" } as const;
const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;

/** A command; `picture` is the file's name, if there is one. */
export function command({ task, inputs, options }: Question, picture: string | undefined): string {
  const parts = [`ofa predict ${task} --model MODEL`];
  if (picture) parts.push(`--image ${quoted(picture)}`);
  for (const name of ["text", "text2", "caption"] as const) if (inputs[name] !== undefined) parts.push(`--${name} ${quoted(inputs[name])}`);
  if (inputs.region) parts.push(`--region ${inputs.region.join(",")}`);
  if (inputs.answers) parts.push(`--answers <(printf '%s\\n' ${inputs.answers.map(quoted).join(" ")})`);
  for (const [name, flag] of Object.entries(FLAGS)) {
    const value = options[name as keyof typeof FLAGS];
    if (value !== undefined) parts.push(`--${flag} ${value}`);
  }
  if (task === "image_gen" || task === "infill_image") parts.push("--out drawing.png");
  return parts.join(" ");
}
