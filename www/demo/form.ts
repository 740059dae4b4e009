import type { AnswerOptions, Corners, TaskInputs, TaskName } from "ofa-web";
import { el, make } from "./dom";
import type { Field, Panel, Question } from "./panels";
import type { Region } from "./region";

interface Limits {
  label: string;
  min: number;
  max?: number;
  step?: number;
}

type Numeric = Exclude<keyof AnswerOptions, "promptType">;

/** Options that every panel offers; what is left empty is the task's own. */
const OPTIONS: Partial<Record<Numeric, Limits>> = {
  numBeams: { label: "Beams, or draws", min: 1, max: 64 },
  maxLen: { label: "Longest answer", min: 1 },
  imageSize: { label: "Image size", min: 16, step: 16 },
  topK: { label: "Draw from the likeliest", min: 1 },
  topP: { label: "Draw from probability", min: 0.01, max: 1, step: 0.01 },
  temperature: { label: "Temperature", min: 0.1, step: 0.1 },
  seed: { label: "Seed", min: 0 },
};

const commas = (text: string) => text.split(",").map((one) => one.trim()).filter(Boolean);

/** What was typed into a field: a text, or of answers a list. Either may be empty. */
const given = ({ name }: Field, { value }: { value: string }) => (name === "answers" ? commas(value) : value.trim());

/** The fields of the panel that is open. What was typed into a panel is there again when it is opened again. */
export class Form {
  private readonly typed = new Map<string, string>();
  private readonly chosen = new Map<string, AnswerOptions>();
  private fields = new Map<Field, HTMLInputElement | HTMLTextAreaElement>();
  private task: HTMLSelectElement | undefined;
  private panel: Panel | undefined;
  private readonly options = new Map<Numeric, HTMLInputElement>();

  constructor(private readonly region: Region) {
    for (const [name, { label, ...limits }] of Object.entries(OPTIONS)) {
      const input = make("input", { type: "number", id: `option-${name}`, placeholder: "auto" });
      for (const [limit, value] of Object.entries(limits)) input.setAttribute(limit, String(value));
      input.addEventListener("input", () => this.panel && this.chosen.set(this.panel.id, this.readOptions()));
      this.options.set(name as Numeric, input);
      el("options").append(make("label", {}, label, input));
    }
  }

  open(panel: Panel): void {
    this.panel = panel;
    const place = el("fields");
    place.replaceChildren();
    this.task = undefined;
    if (panel.tasks.length > 1) {
      this.task = make("select", { id: "task" }, ...panel.tasks.map(({ task, label }) => new Option(label, task)));
      place.append(make("label", {}, "Question", this.task));
    }
    this.fields = new Map(panel.fields.map((field) => {
      const common = { id: `field-${field.name}`, placeholder: field.example, autocomplete: "off" as const };
      const input = field.long ? make("textarea", common) : make("input", { ...common, type: "text" });
      input.value = this.typed.get(panel.id + field.name) ?? "";
      input.addEventListener("input", () => this.typed.set(panel.id + field.name, input.value));
      place.append(make("label", {}, field.optional ? `${field.label} (optional)` : field.label, input));
      return [field, input];
    }));
    const sides = panel.region ? make("div", { className: "sides", role: "group", ariaLabel: "Region" }) : undefined;
    if (sides) place.append(sides);
    this.region.use(sides);
    this.setOptions(this.chosen.get(panel.id) ?? panel.options ?? {});
  }

  /** What is still missing, in words. */
  missing(): string {
    const empty = [...this.fields].find(([field, input]) => !field.optional && given(field, input).length === 0);
    return empty ? `Fill in "${empty[0].label}" first` : "";
  }

  /** The first option that makes no sense, and why. The browser cannot point at one that is folded away. */
  wrong(): string {
    const input = [...this.options.values()].find(({ validity }) => !validity.valid);
    return input ? `"${input.labels?.[0]?.textContent}": ${input.validationMessage}` : "";
  }

  /** Fills empty fields with their examples, so that there is something to try. */
  useExamples(): void {
    for (const [field, input] of this.fields) {
      if (field.optional || given(field, input).length > 0) continue;
      input.value = field.example;
      input.dispatchEvent(new Event("input", { bubbles: true }));
    }
  }

  read(): Question {
    const inputs: TaskInputs = {};
    for (const [field, input] of this.fields) {
      const value = given(field, input);
      if (value.length > 0) Object.assign(inputs, { [field.name]: value });
    }
    if (this.panel?.region) inputs.region = [...this.region.value] as Corners;
    return { task: (this.task?.value ?? this.panel?.tasks[0]?.task) as TaskName, inputs, options: this.readOptions() };
  }

  private readOptions(): AnswerOptions {
    const options: AnswerOptions = {};
    for (const [name, input] of this.options) if (!Number.isNaN(input.valueAsNumber)) options[name] = input.valueAsNumber;
    return options;
  }

  /** Fills in a question of the panel that is open. */
  write({ task, inputs, options }: Question): void {
    if (this.task) this.task.value = task;
    for (const [{ name }, input] of this.fields) {
      input.value = name === "answers" ? (inputs.answers ?? []).join(", ") : (inputs[name] ?? "");
      input.dispatchEvent(new Event("input", { bubbles: true }));
    }
    if (inputs.region) this.region.set(inputs.region);
    this.setOptions(options);
  }

  private setOptions(options: AnswerOptions): void {
    for (const [name, input] of this.options) input.value = options[name] === undefined ? "" : String(options[name]);
  }
}
