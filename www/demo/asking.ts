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

  ask(question: Question, sees: string | null, { signal, onText, onPicture, onProgress }: Watch): Promise<Answer> {
    const { task, inputs, options } = question;
    const given = { ...options, signal };
    return this.about(question, sees, signal, (image): Promise<Answer> => {
      if (task === "image_gen") return this.ofa.generateImage(inputs.text ?? "", { ...given, onPicture, onProgress });
      if (task === "infill_image" && image) return this.ofa.infillImage(image, { ...given, onPicture, onProgress });
      return this.ofa.run(task, image, inputs, { ...given, onToken: ({ text }) => onText(text) });
    });
  }

  /** Where the model looked as it wrote an answer. */
  attention(question: Question, sees: string, answer: Answer, signal: AbortSignal): Promise<Attention> {
    const { task, inputs, options } = question;
    return this.about(question, sees, signal, (image) =>
      this.ofa.attention(task, image as EncodedImage, inputs, answer, { ...options, signal }));
  }

  /** Frees what was encoded. */
  forget(): void {
    for (const image of this.encoded.values()) image.free().catch(() => undefined);
    this.encoded.clear();
  }

  /** Works with the encoded picture, if the task sees one. What went with a model of before is encoded again. */
  private async about<R>(
    question: Question,
    sees: string | null,
    signal: AbortSignal,
    work: (image: EncodedImage | undefined) => Promise<R>,
  ): Promise<R> {
    const { task, options } = question;
    const known = this.encoded.size > 0;
    try {
      return await work(sees === null ? undefined : await this.image(task, sees, options.imageSize, signal));
    } catch (error) {
      const { code } = OfaError.from(error);
      // After a crash the model is loaded again, without these pictures.
      if (["internal", "device", "option"].includes(code)) this.forget();
      if (code === "option" && known) return this.about(question, sees, signal, work);
      throw error;
    }
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
