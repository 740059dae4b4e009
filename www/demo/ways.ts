// What the ways to answer cost: candidates, the trie, a raster of image codes and its picture.
import { OfaError, type OFA } from "ofa-web";

/** As many as the original's VQA has answers. */
const CANDIDATES = 3129;
/** Codes of the middle of a picture, as the original's checkpoints fill it in; a whole one has 1,024. */
const MIDDLE = 256;
const BEAMS = 5;
/** Long enough that a step's time is an average. */
const LENGTH = 12;

/** Answers of as many tokens as a step's average needs, which branch at every one of them. */
function candidates(count: number): string[] {
  return Array.from({ length: count }, (_, index) => [...String(index).padStart(LENGTH, "0")].join(" "));
}

/** Milliseconds. */
export async function ways(ofa: OFA, picture: string): Promise<Record<string, number>> {
  const image = await ofa.encodeImage(picture, { task: "vqa" });
  const question = "what is it?";
  const each = async (answer: Promise<{ timings: { decodeMs: number; steps: number } }>) => {
    const { timings } = await answer;
    return timings.decodeMs / timings.steps;
  };
  const words = Array.from({ length: CANDIDATES }, (_, index) => `${index}`);
  const trie = () => each(ofa.vqa(image, question, { answers: candidates(100), numBeams: BEAMS, maxLen: 2 * LENGTH }));
  const free = () => each(ofa.vqa(image, question, { numBeams: BEAMS, minLen: LENGTH, maxLen: LENGTH }));
  // Kernels of new shapes are compiled the first time.
  await trie();
  await free();
  const found: Record<string, number> = {
    allCandidates: (await ofa.vqa(image, question, { answers: words })).timings.decodeMs,
    freeBeamStep: await free(),
    trieBeamStep: await trie(),
  };
  await image.free();
  let begun = performance.now();
  let codes: number[] = [];
  for await (const event of ofa.stream("image_gen", { text: question }, { numBeams: 1 })) {
    if (event.event === "answer") {
      [codes = []] = event.answer.codes;
      found[`codes${codes.length}`] = event.answer.timings.decodeMs;
    } else if (event.step === 1) begun = performance.now();
    else if (event.step === MIDDLE + 1) found[`codes${MIDDLE}`] = performance.now() - begun;
  }
  try {
    await ofa.drawCodes(codes);
  } catch (error) {
    if (OfaError.from(error).code === "file") return found;
    throw error;
  }
  const started = performance.now();
  await ofa.drawCodes(codes);
  found.picture = performance.now() - started;
  return found;
}
