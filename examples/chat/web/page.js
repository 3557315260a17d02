/** What the parts of the page share: elements, avatars, what the browser keeps, and a word at the bottom. */

export const $ = (id) => document.getElementById(id);

/** Creates an element. Text from users only ever becomes a text node. */
export function make(tag, className = "", text = undefined) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

/** A button that does something. */
export function button(className, label, run) {
  const element = make("button", className);
  element.type = "button";
  if (label) element.setAttribute("aria-label", (element.title = label));
  element.onclick = run;
  return element;
}

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.append(document.createElementNS("http://www.w3.org/2000/svg", "use"));
  svg.firstChild.setAttribute("href", `#i-${name}`);
  svg.setAttribute("aria-hidden", "true");
  return svg;
}

/** Draws who it is: initials on a colour that stays the same for one name. */
export function paintAvatar(element, name) {
  let hash = 7;
  for (const char of name) hash = (hash * 31 + char.codePointAt(0)) % 360_000;
  const words = name.trim().split(/\s+/);
  const letters = words.length > 1 ? [...words[0]][0] + [...words.at(-1)][0] : [...name.trim()].slice(0, 2).join("");
  element.style.setProperty("--hue", String((hash * 137) % 360));
  element.textContent = letters.toUpperCase();
  return element;
}

export const avatar = (name) => paintAvatar(make("span", "avatar"), name);

export const count = (n, one, many) => `${n} ${n === 1 ? one : many}`;

/** Storage that may be switched off: the chat then forgets, and works. */
export function load(storage, key) {
  try {
    return storage().getItem(`fanfare.chat.${key}`);
  } catch {
    return null;
  }
}
export function save(storage, key, value) {
  try {
    if (value === undefined) storage().removeItem(`fanfare.chat.${key}`);
    else storage().setItem(`fanfare.chat.${key}`, value);
  } catch {
    // nothing is kept
  }
}
export const ofTab = () => sessionStorage;
export const ofBrowser = () => localStorage;

let toastTimer;
export function showToast(text) {
  $("toast").textContent = text;
  $("toast").hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => ($("toast").hidden = true), 4_000);
}
