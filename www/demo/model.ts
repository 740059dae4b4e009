import { OFA, OfaError, type BundleInput, type DeviceChoice, type Progress, type TaskName } from "ofa-web";
import { bytes, el, rest, say, show, tell } from "./dom";
import { fetched } from "./fetched";

interface Listed {
  name: string;
  url: string;
  size: string;
  note?: string;
  /** What it was taught, if that is not everything. */
  tasks?: TaskName[];
  /** What to say of pictures that are not of its world, if that is the world of drawn scenes. */
  world?: string;
}

const PHASES: Record<Progress["phase"], string> = {
  compile: "Compiling", download: "Downloading", verify: "Building the model", upload: "Uploading", ready: "Ready",
};
/** Where a loaded model was chosen: what an address says of it, or nothing of a folder of the visitor's. */
export type Origin = URLSearchParams | undefined;

/** Choices of the picker that are not in the list. */
const FROM_URL = "url";
const FROM_FOLDER = "folder";
const NOTES: Record<string, string> = {
  [FROM_URL]: "The folder of a bundle on a server that allows other sites to read it (CORS).",
  [FROM_FOLDER]: "The folder that ofa convert or ofa export wrote. It is read in this tab and not uploaded.",
};

/** The card that chooses and loads a model. */
export class ModelCard {
  ofa: OFA | undefined;
  /** What the model was taught; nothing known means everything. */
  tasks: readonly TaskName[] | undefined;
  /** What to say of pictures that are not drawn scenes, if it knows no others. */
  world: string | undefined;
  origin: Origin;
  private loading: AbortController | undefined;
  private listed: Listed[] = [];
  private readonly model = el<HTMLSelectElement>("model");
  private readonly device = el<HTMLSelectElement>("device");

  constructor(private readonly changed: () => void) {
    this.model.addEventListener("change", () => this.chosen());
    el("model-form").addEventListener("submit", (event) => {
      event.preventDefault();
      void this.load();
    });
    el("cancel-load").addEventListener("click", () => {
      this.cancel();
      el("load").focus();
    });
  }

  get busy(): boolean {
    return this.loading !== undefined;
  }

  cancel(): void {
    this.loading?.abort();
  }

  /** Fills the list; what the address asks for is chosen. Whether there is one to load. */
  async list(): Promise<boolean> {
    const address = new URLSearchParams(location.search);
    try {
      this.listed = (await (await fetched("models.json")).json()) as Listed[];
    } catch (error) {
      tell("error", error);
    }
    this.model.append(
      ...this.listed.map(({ name, size }, index) => new Option(`${name} (${size})`, String(index))),
      new Option("From an address …", FROM_URL),
      new Option("From a folder …", FROM_FOLDER),
    );
    const wanted = address.get("model");
    if (wanted) {
      const index = this.listed.findIndex(({ url }) => url === wanted);
      this.model.value = index < 0 ? FROM_URL : String(index);
      if (index < 0) el<HTMLInputElement>("url").value = wanted;
    }
    this.device.value = ["webgpu", "cpu"].find((kind) => kind === address.get("device")) ?? "auto";
    this.chosen();
    return Boolean(wanted) || this.listed.length > 0;
  }

  /** One at a time. */
  async load(): Promise<void> {
    if (this.busy) return;
    let bundle: BundleInput;
    try {
      bundle = this.bundle();
    } catch (error) {
      // The model that is there stays.
      return tell("error", error);
    }
    const controller = (this.loading = new AbortController());
    show("error", false);
    say("Loading the model");
    let before = this.ofa;
    this.ofa = undefined;
    // What is being asked ends before the model that it asks.
    this.update();
    // Of an address that holds no bundle nothing is heard, and the model before stays.
    const onProgress = (progress: Progress) => {
      void before?.dispose();
      before = undefined;
      showProgress(progress);
    };
    try {
      // Another may be chosen while this is loaded.
      const listed = this.listed[Number(this.model.value)];
      const origin = this.chosenOrigin(bundle);
      const loaded = await OFA.load(bundle, { device: this.device.value as DeviceChoice, signal: controller.signal, onProgress });
      this.ofa = loaded;
      [this.tasks, this.world, this.origin] = [listed?.tasks, listed?.world, origin];
      const { device, precision, parameters, bytes: size } = loaded.info;
      const threads = (device.threads ?? 1) > 1 ? `, ${device.threads} threads` : "";
      el("badge").textContent = `${listed ? `${listed.name} · ` : ""}${device.kind === "webgpu" ? "WebGPU" : "CPU"}${threads} · ${precision} · ${(parameters / 1e6).toFixed(1)} M parameters · ${bytes(size)}`;
      el("badge").title = device.name;
      el("reason").textContent = device.reason ? `Running on the CPU: ${device.reason}.` : "";
      say(PHASES.ready);
    } catch (error) {
      if (controller.signal.aborted) say("Loading was cancelled");
      tell("error", error);
      this.ofa = before;
    } finally {
      this.loading = undefined;
      this.update();
    }
  }

  private update(): void {
    show("progress", this.busy);
    show("cancel-load", this.busy);
    rest(el("load"), this.busy);
    show("badge", this.ofa !== undefined);
    show("reason", Boolean(this.ofa?.info.device.reason));
    this.changed();
  }

  private chosen(): void {
    const { value } = this.model;
    show("url-label", value === FROM_URL);
    show("folder-label", value === FROM_FOLDER);
    el("model-note").textContent = NOTES[value] ?? this.listed[Number(value)]?.note ?? "";
  }

  /** What an address says of the choice; of the first model of the list on any device, nothing. */
  private chosenOrigin(bundle: BundleInput): Origin {
    if (typeof bundle !== "string") return undefined;
    const { value } = this.device;
    return new URLSearchParams({
      ...(bundle !== this.listed[0]?.url && { model: bundle }),
      ...(value !== "auto" && { device: value }),
    });
  }

  private bundle(): BundleInput {
    if (this.model.value === FROM_URL) {
      const url = el<HTMLInputElement>("url").value.trim();
      if (!url) throw new OfaError("option", "Enter the address of a bundle: the folder that holds manifest.json");
      return url;
    }
    if (this.model.value === FROM_FOLDER) {
      const files = el<HTMLInputElement>("folder").files;
      if (!files?.length) throw new OfaError("option", "Choose the folder of a bundle: it holds manifest.json");
      return { files };
    }
    const listed = this.listed[Number(this.model.value)];
    if (!listed) throw new OfaError("option", "Choose a model");
    return listed.url;
  }
}

function showProgress(progress: Progress): void {
  el<HTMLProgressElement>("bar").value = progress.loaded / progress.total;
  el("progress-text").textContent = inWords(progress);
}

/** Phase, bytes and file. */
export function inWords({ phase, loaded, total, file }: Progress): string {
  const amount = phase === "download" || phase === "upload" ? `${bytes(loaded)} of ${bytes(total)}` : "";
  return [PHASES[phase], amount, file].filter(Boolean).join(" · ");
}
