import { el, show } from "./dom";

const SAMPLES = ["house", "boat", "snowman", "fruit", "balloons"];

/** Wires up all the ways to choose a picture. */
export function choosePictures(chosen: (picture: Blob, name: string) => void, failed: (error: unknown) => void): void {
  const drop = el("drop");
  const file = el<HTMLInputElement>("file");
  const choose = (picture: Blob, name: string) => {
    const preview = el<HTMLImageElement>("preview");
    URL.revokeObjectURL(preview.src);
    preview.src = URL.createObjectURL(picture);
    preview.alt = name;
    show("preview", true);
    for (const button of document.querySelectorAll<HTMLButtonElement>("#samples button")) {
      button.setAttribute("aria-pressed", String(button.title === name));
    }
    chosen(picture, name);
  };
  const first = (files: FileList | null | undefined) => {
    const found = files?.[0];
    if (found) choose(found, found.name);
  };
  file.addEventListener("change", () => {
    first(file.files);
    file.value = "";
  });
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) drop.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    first(event.dataTransfer?.files);
  });
  document.addEventListener("paste", (event) => {
    const picture = [...(event.clipboardData?.files ?? [])].find(({ type }) => type.startsWith("image/"));
    if (picture) choose(picture, picture.name || "pasted picture");
  });
  const sample = async (name: string) => choose(await (await fetch(`samples/${name}.png`)).blob(), name);
  el("samples").append(...SAMPLES.map((name) => {
    const button = document.createElement("button");
    const image = document.createElement("img");
    button.type = "button";
    button.title = name;
    button.setAttribute("aria-pressed", "false");
    image.src = `samples/${name}.png`;
    image.alt = `Sample: ${name}`;
    button.append(image);
    button.addEventListener("click", () => {
      sample(name).catch(failed);
    });
    return button;
  }));
  // Something to ask about from the start.
  sample(SAMPLES[0] as string).catch(failed);
}
