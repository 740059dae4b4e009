import { make } from "./dom";

export interface Tab {
  id: string;
  label: string;
}

/**
 * A row of tabs over one panel: Tab enters at the selected one, arrows, Home and End move and select. Where opening a panel
 * does more than show it, they only move (`manual`), and Enter or Space selects.
 */
export class Tabs {
  private readonly buttons: HTMLButtonElement[];
  private chosen = "";

  constructor(
    list: HTMLElement,
    private readonly panel: HTMLElement,
    private readonly tabs: readonly Tab[],
    private readonly selected: (id: string) => void,
    manual = false,
  ) {
    list.role = "tablist";
    panel.role = "tabpanel";
    this.buttons = tabs.map(({ id, label }, index) => {
      const button = make("button", { type: "button", role: "tab", id: `${list.id}-${id}`, textContent: label, tabIndex: -1 });
      button.setAttribute("aria-controls", panel.id);
      button.addEventListener("click", () => this.select(id));
      button.addEventListener("keydown", (event) => {
        const last = tabs.length - 1;
        const to = { ArrowRight: index === last ? 0 : index + 1, ArrowLeft: index === 0 ? last : index - 1, Home: 0, End: last }[event.key];
        if (to === undefined) return;
        event.preventDefault();
        if (!manual) this.select((tabs[to] as Tab).id);
        this.buttons[to]?.focus();
      });
      return button;
    });
    list.append(...this.buttons);
  }

  get current(): string {
    return this.chosen;
  }

  select(id: string): void {
    if (id === this.chosen || this.tabs.every((tab) => tab.id !== id)) return;
    this.chosen = id;
    this.tabs.forEach((tab, index) => {
      const button = this.buttons[index] as HTMLButtonElement;
      button.ariaSelected = String(tab.id === id);
      button.tabIndex = tab.id === id ? 0 : -1;
      if (tab.id === id) this.panel.setAttribute("aria-labelledby", button.id);
    });
    this.selected(id);
  }
}
