// Written from the crate's table of tasks, src/task/table.rs, by a test: OFA_BLESS=1 cargo test listing
import type { BoxesAnswer, CodesAnswer, LabelsAnswer, ObjectsAnswer, TextAnswer } from "./types.js";

/** What each task answers. */
export interface TaskAnswers {
  /** Describes an image in one sentence. Given: image. */
  caption: TextAnswer;
  /** Answers a question about an image. Given: image, text, objects?, answers?. */
  vqa: TextAnswer;
  /** Says whether an answer to a question about an image is right: yes or no. Given: image, text, text2. */
  vqa_match: LabelsAnswer;
  /** Finds the region that a phrase describes. Given: image, text. */
  grounding: BoxesAnswer;
  /** Describes one region of an image. Given: image, region. */
  region_caption: TextAnswer;
  /** Lists the objects in an image and where they are. Given: image. */
  detect: ObjectsAnswer;
  /** Says whether an image implies a sentence: yes, no or maybe. Given: image, text, caption?. */
  entailment: LabelsAnswer;
  /** Says whether a caption describes an image: yes or no. Given: image, text. */
  match: LabelsAnswer;
  /** Names what an image shows, out of the answers given. Given: image, answers. */
  classify: LabelsAnswer;
  /** Draws an image from a caption. Given: text. */
  image_gen: CodesAnswer;
  /** Draws the middle of an image, which it does not see. Given: image. */
  infill_image: CodesAnswer;
  /** Completes a text with gaps. Given: text. */
  infill_text: TextAnswer;
  /** Reads the text on an image. Given: image. */
  ocr: TextAnswer;
  /** Summarises an article in one sentence. Given: text. */
  summary: TextAnswer;
  /** Says whether a sentence is grammatical. Given: text. */
  cola: LabelsAnswer;
  /** Says whether a premise implies a hypothesis. Given: text, text2. */
  mnli: LabelsAnswer;
  /** Says whether two sentences mean the same. Given: text, text2. */
  mrpc: LabelsAnswer;
  /** Says whether a sentence answers a question. Given: text, text2. */
  qnli: LabelsAnswer;
  /** Says whether two questions ask the same. Given: text, text2. */
  qqp: LabelsAnswer;
  /** Says whether a text implies a hypothesis. Given: text, text2. */
  rte: LabelsAnswer;
  /** Says whether a text is positive or negative. Given: text. */
  sst2: LabelsAnswer;
}

/** How each task sees images, null for none: an encoded image serves the tasks that see it alike. */
export const TASK_IMAGES: Record<keyof TaskAnswers, string | null> = {
  caption: "480",
  vqa: "480",
  vqa_match: "480",
  grounding: "512",
  region_caption: "512",
  detect: "256",
  entailment: "480",
  match: "480",
  classify: "480 imagenet",
  image_gen: null,
  infill_image: "256 middle",
  infill_text: null,
  ocr: "480 padded",
  summary: null,
  cola: null,
  mnli: null,
  mrpc: null,
  qnli: null,
  qqp: null,
  rte: null,
  sst2: null,
};
