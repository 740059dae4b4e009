import type { AnswerOptions, TaskInputs, TaskName } from "ofa-web";

/** A text that the visitor gives. */
export interface Field {
  name: "text" | "text2" | "caption" | "answers";
  label: string;
  example: string;
  optional?: boolean;
  /** Several lines. */
  long?: boolean;
}

/** One way to ask, behind a tab of its own. */
export interface Panel {
  id: string;
  tab: string;
  /** The tasks that it asks; of several, the visitor picks one. */
  tasks: { task: TaskName; label: string }[];
  /** One sentence about it. */
  about: string;
  /** What the button says. */
  verb: string;
  fields: Field[];
  picture: boolean;
  /** A region is chosen on the picture. */
  region?: boolean;
  /** It draws, so the bundle's image codes are needed. */
  draws?: boolean;
  options?: AnswerOptions;
}

/** What is asked: all that a link, a line of code and the model need. */
export interface Question {
  task: TaskName;
  inputs: TaskInputs;
  options: AnswerOptions;
}

const SENTENCES: Field[] = [
  { name: "text", label: "First", example: "a man rides a horse" },
  { name: "text2", label: "Second", example: "somebody is riding" },
];

export const PANELS: readonly Panel[] = [
  { id: "describe", tab: "Describe", tasks: [{ task: "caption", label: "" }], about: "One sentence about the picture.", verb: "Describe", picture: true, fields: [] },
  {
    id: "ask", tab: "Ask", tasks: [{ task: "vqa", label: "" }], about: "Any question about the picture; with answers given, only those are weighed.", verb: "Ask", picture: true,
    fields: [
      { name: "text", label: "Question", example: "what colour is the ring?" },
      { name: "answers", label: "Only these answers, separated by commas", example: "red, blue, green", optional: true },
    ],
  },
  {
    id: "find", tab: "Find", tasks: [{ task: "grounding", label: "" }], about: "Where in the picture something is.", verb: "Find", picture: true,
    fields: [{ name: "text", label: "What to find", example: "the red ring" }],
  },
  { id: "region", tab: "Region", tasks: [{ task: "region_caption", label: "" }], about: "Drag a box over the picture, or move its sides below; the model says what is in it.", verb: "Describe the region", picture: true, region: true, fields: [] },
  { id: "objects", tab: "Objects", tasks: [{ task: "detect", label: "" }], about: "What there is in the picture, and where.", verb: "List the objects", picture: true, fields: [] },
  {
    id: "match", tab: "Match", tasks: [{ task: "match", label: "" }], about: "How likely it is that a caption describes the picture.", verb: "Compare", picture: true,
    fields: [{ name: "text", label: "Caption", example: "a red ring and a penguin" }],
  },
  {
    id: "classify", tab: "Classify", tasks: [{ task: "classify", label: "" }], about: "Which of the names fits best.", verb: "Classify", picture: true,
    fields: [{ name: "answers", label: "Names, separated by commas", example: "a penguin, a rocket, a strawberry" }],
  },
  {
    id: "entail", tab: "Follows?", tasks: [{ task: "entailment", label: "" }], about: "Whether a sentence follows from the picture: yes, no or maybe.", verb: "Judge", picture: true,
    fields: [
      { name: "text", label: "Sentence", example: "there is an animal" },
      { name: "caption", label: "A caption of the picture", example: "a red ring and a penguin", optional: true },
    ],
  },
  { id: "read", tab: "Read", tasks: [{ task: "ocr", label: "" }], about: "The text on the picture.", verb: "Read", picture: true, fields: [] },
  { id: "infill", tab: "Fill in", tasks: [{ task: "infill_image", label: "" }], about: "The model does not see the marked square and draws it from what is around.", verb: "Fill in", picture: true, draws: true, fields: [] },
  {
    id: "draw", tab: "Draw", tasks: [{ task: "image_gen", label: "" }], about: "Pictures from words. Of several, the one that the model itself thinks fits best comes first.", verb: "Draw", picture: false, draws: true,
    options: { numBeams: 4, topK: 256, seed: 1 },
    fields: [{ name: "text", label: "What to draw", example: "a red circle above a blue square" }],
  },
  {
    id: "text", tab: "Text", verb: "Write", picture: false, about: "Texts alone. A gap is written <mask>.",
    tasks: [{ task: "infill_text", label: "Complete the gaps" }, { task: "summary", label: "Summarise" }],
    fields: [{ name: "text", label: "Text", example: "a picture of a red <mask> and a penguin", long: true }],
  },
  {
    id: "pairs", tab: "Pairs", verb: "Judge", picture: false, about: "Two texts: does one follow from, answer or equal the other?", fields: SENTENCES,
    tasks: [
      { task: "mnli", label: "Does the first imply the second? yes, no or maybe" },
      { task: "rte", label: "Does the first imply the second?" },
      { task: "mrpc", label: "Do both mean the same?" },
      { task: "qqp", label: "Do both questions ask the same?" },
      { task: "qnli", label: "Does the second answer the question in the first?" },
    ],
  },
  {
    id: "judge", tab: "Judge", verb: "Judge", picture: false, about: "One sentence: is it good news, is it good grammar?",
    fields: [{ name: "text", label: "Sentence", example: "what a fine day" }],
    tasks: [{ task: "sst2", label: "Positive or negative?" }, { task: "cola", label: "Grammatical?" }],
  },
];

export function panelOf(task: TaskName): Panel | undefined {
  return PANELS.find(({ tasks }) => tasks.some((one) => one.task === task));
}
