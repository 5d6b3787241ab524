// Dark or light: as the system says, until somebody chooses.

const listeners: (() => void)[] = [];
const system = matchMedia("(prefers-color-scheme: dark)");

export function onTheme(listener: () => void): void {
  listeners.push(listener);
}

export function chooseTheme(): void {
  const button = document.getElementById("theme");
  if (!button) return;
  button.hidden = false;
  button.addEventListener("click", () => {
    const root = document.documentElement;
    root.dataset["theme"] = isDark(root) ? "light" : "dark";
    listeners.forEach((listener) => listener());
  });
  system.addEventListener("change", () => listeners.forEach((listener) => listener()));
}

function isDark(root: HTMLElement): boolean {
  return root.dataset["theme"] ? root.dataset["theme"] === "dark" : system.matches;
}
