import { OfaError, type Attention, type DrawingsAnswer, type EncodedImage, type OFA, type Progress, type TaskAnswers, type TaskName } from "ofa-web";
import type { Question } from "./panels";

export type Answer = TaskAnswers[TaskName] | DrawingsAnswer;

/** What is shown while an answer is made. */
export interface Watch {
  signal: AbortSignal;
  onText: (text: string) => void;
  onPicture: (image: ImageData) => void;
  onProgress: (progress: Progress) => void;
}

/** Asks questions of one picture, which goes through the stem once for all tasks that see it alike. */
export class Asking {
  private readonly encoded = new Map<string, EncodedImage>();

  constructor(private readonly ofa: OFA, private readonly picture: Blob | undefined) {}

  async ask({ task, inputs, options }: Question, sees: string | null, watch: Watch): Promise<Answer> {
    const { signal, onPicture, onProgress } = watch;
    const given = { ...options, signal };
    try {
      const image = sees === null ? undefined : await this.image(task, sees, options.imageSize, signal);
      if (task === "image_gen") return await this.ofa.generateImage(inputs.text ?? "", { ...given, onPicture, onProgress });
      if (task === "infill_image" && image) return await this.ofa.infillImage(image, { ...given, onPicture, onProgress });
      return await this.ofa.run(task, image, inputs, { ...given, onToken: ({ text }) => watch.onText(text) });
    } catch (error) {
      // After a crash the model is loaded again, without these pictures.
      if (["internal", "device"].includes(OfaError.from(error).code)) this.forget();
      throw error;
    }
  }

  /** Where the model looked as it wrote an answer. */
  async attention({ task, inputs, options }: Question, sees: string, answer: Answer, signal: AbortSignal): Promise<Attention> {
    const image = await this.image(task, sees, options.imageSize, signal);
    return this.ofa.attention(task, image, inputs, answer, { ...options, signal });
  }

  /** Frees what was encoded. */
  forget(): void {
    for (const image of this.encoded.values()) image.free().catch(() => undefined);
    this.encoded.clear();
  }

  private async image(task: TaskName, sees: string, imageSize: number | undefined, signal: AbortSignal): Promise<EncodedImage> {
    const key = `${sees} ${imageSize ?? ""}`;
    const known = this.encoded.get(key);
    if (known) return known;
    const options = imageSize === undefined ? { signal, task } : { signal, task, imageSize };
    const image = await this.ofa.encodeImage(this.picture as Blob, options);
    this.encoded.set(key, image);
    return image;
  }
}
