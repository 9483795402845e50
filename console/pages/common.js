// What every page uses. What comes from events is only ever written as text.

export const data = JSON.parse(document.getElementById("data").textContent);
const lang = document.documentElement.lang;

export const $ = (id) => document.getElementById(id);

/** The text of a key, with its holes filled in order. */
export function say(key, ...values) {
  const text = data.text[key] ?? key;
  return values.reduce((filled, value) => filled.replace("{}", () => String(value)), text);
}

/** An element: attributes by name (a function is a listener), then children, of which strings are text. */
export function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(key, value);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== false && value != null) node.setAttribute(key, value);
  }
  node.append(...children.filter((child) => child != null));
  return node;
}

export function svg(name, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value != null) node.setAttribute(key, value);
  }
  node.append(...children.filter((child) => child != null));
  return node;
}

// What a reader would not see, or what would turn the text around it: controls, marks of direction, and blanks of no width.
const UNSEEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0e\ufeff\uffa0\ufff0-\ufffb]|[\u{e0000}-\u{e0fff}]/gu;

/** Text of an event, isolated from its neighbours, with a sign for whatever cannot be seen. */
export function foreign(text, name = "bdi") {
  const node = document.createElement(name);
  let from = 0;
  for (const found of text.matchAll(UNSEEN)) {
    node.append(text.slice(from, found.index));
    const code = found[0].codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
    node.append(el("span", { class: "unseen", title: say("unseen") }, `U+${code}`));
    from = found.index + found[0].length;
  }
  node.append(text.slice(from));
  return node;
}

const PIECE = 50_000;

/** A long text, a piece at a time: all of it at once would stop the page. */
export function long(text, label, kind = "") {
  const box = el("div", { class: `long ${kind}` });
  const pre = el("div", { class: "pre", tabindex: "0", role: "region", "aria-label": label });
  box.append(pre);
  let from = 0;
  const more = el("button", { type: "button", click: () => add() });
  const add = () => {
    let to = Math.min(text.length, from + PIECE);
    // Not between the halves of a character.
    if (to < text.length && (text.charCodeAt(to - 1) & 0xfc00) === 0xd800) to += 1;
    pre.append(foreign(text.slice(from, to), "span"));
    from = to;
    more.textContent = say("more", number(text.length - from));
    if (from >= text.length) more.remove();
    else if (!more.isConnected) box.append(more);
  };
  add();
  return box;
}

const whole = new Intl.NumberFormat(lang, { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat(lang, { maximumFractionDigits: 1 });

export const number = (n) => (n == null ? "–" : whole.format(n));
export const rate = (n) => (n == null ? "–" : `${(n < 10 ? tenth : whole).format(n)}/s`);

export function bytes(n) {
  if (n == null) return "–";
  for (const [unit, size] of [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]]) {
    if (n >= size) return `${tenth.format(n / size)} ${unit}`;
  }
  return `${whole.format(n)} B`;
}

/** How long ago, or how long. */
export function seconds(s) {
  if (s == null) return "–";
  if (s < 1) return say("below-a-second");
  if (s < 120) return `${whole.format(s)} s`;
  if (s < 7200) return `${whole.format(s / 60)} min`;
  if (s < 172_800) return `${whole.format(s / 3600)} h`;
  return say("days", whole.format(s / 86_400));
}

export const time = (ms) => (ms == null ? "–" : new Date(ms).toISOString().replace("T", " ").replace("Z", ""));

/** What is wrong, in words, above everything; each once. */
export function notices(words) {
  const box = $("notices");
  const now = words.filter((word) => word).join("\n");
  if (box.dataset.now === now) return;
  box.dataset.now = now;
  box.replaceChildren(...words.filter((word) => word).map((word) => el("p", { class: "notice" }, word)));
}

/** Words for stores that are away. */
export const away = (name, error) => (error ? `${say(`${name}-away`)} (${error})` : null);

function linked(state) {
  const node = $("link");
  if (node.dataset.state === state) return;
  node.dataset.state = state;
  node.textContent = say(`link.${state}`);
}

/** Hears of updates while the page is looked at; returns how to stop. */
export function listen(url, update) {
  let source = null;
  let again = 0;
  const open = () => {
    clearTimeout(again);
    source?.close();
    source = new EventSource(url);
    source.onopen = () => linked("open");
    source.onmessage = (event) => update(JSON.parse(event.data));
    source.onerror = () => {
      linked("broken");
      // A refusal ends it for good; a broken connection the browser mends itself.
      if (source.readyState === EventSource.CLOSED) again = setTimeout(open, 3000);
    };
  };
  const look = () => {
    if (document.hidden) {
      clearTimeout(again);
      source?.close();
      linked("paused");
    } else open();
  };
  document.addEventListener("visibilitychange", look);
  look();
  return () => {
    document.removeEventListener("visibilitychange", look);
    clearTimeout(again);
    source?.close();
  };
}

/** The stream of the page's address, chosen by a select. */
export function chosen(select, change) {
  const names = data.streams.map((stream) => stream.name);
  select.replaceChildren(...names.map((name) => el("option", { value: name }, name)));
  const asked = new URLSearchParams(location.search).get("stream");
  select.value = names.includes(asked) ? asked : names[0];
  select.addEventListener("change", () => {
    history.replaceState(null, "", `?stream=${encodeURIComponent(select.value)}`);
    change(select.value);
  });
  change(select.value);
}

/** JSON of an answer, or an error with its words. */
export async function ask(url, options) {
  let answer;
  try {
    answer = await fetch(url, options);
  } catch {
    throw new Error(say("link.broken"));
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw Object.assign(new Error(body.detail ?? `${answer.status}`), { status: answer.status, code: body.error });
  return body;
}

/** Pairs of names and values. */
export function facts(pairs) {
  return el("dl", { class: "facts" }, ...pairs.flatMap(([name, value]) => [
    el("dt", {}, name),
    el("dd", {}, typeof value === "string" ? foreign(value) : value),
  ]));
}
