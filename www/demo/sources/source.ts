/** A picture, and where it comes from. */
export interface Picture {
  blob: Blob;
  /** What it is called, to be read out. */
  name: string;
  /** The name of its file, where it has one. */
  file: string;
  /** What a source can restore it by, for links. */
  key?: string;
  /** It is of the world of drawn scenes. */
  ofScenes?: boolean;
  /** What may be asked about it. */
  questions?: string[];
  /** It changes while the visitor looks on, and the answer follows. */
  live?: boolean;
  /** It came with the tab that was opened. */
  untouched?: boolean;
}

/** A way to come by pictures, behind a tab of its own. */
export interface Source {
  id: string;
  label: string;
  /** Builds its controls into `place` and hands over each picture that is chosen, there or on its way. */
  mount(place: HTMLElement, choose: (picture: Picture | Promise<Picture>) => void): void;
  /** The picture of a key that one of its pictures had. */
  restore?(key: string): Promise<Picture>;
  /** A picture was chosen, here or elsewhere. */
  chosen?(picture: Picture): void;
  /** Its tab was opened. */
  enter?(): void;
  /** Its tab was left: cameras and the like go off. */
  leave?(): void;
}
