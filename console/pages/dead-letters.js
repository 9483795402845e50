import { $, ask, away, bytes, data, el, facts, foreign, listen, long, notices, number, say, time } from "./common.js";

const letters = new Map();

// The token stays in its field: it is stored nowhere, and goes with the page.
const token = () => $("token").value;

$("operator").addEventListener("submit", (event) => event.preventDefault());
$("operator-hint").textContent = data.operator ? say("operator.hint") : say("operator.nobody");
$("token").disabled = !data.operator;
$("token").addEventListener("input", () => letters.forEach(allow));

function allow(letter) {
  letter.buttons.forEach((button) => (button.disabled = !token()));
}

async function operate(letter, verb, body) {
  letter.result.textContent = say("letters.doing");
  letter.buttons.forEach((button) => (button.disabled = true));
  try {
    const done = await ask(`/api/dead-letters/${verb}`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${token()}` },
      body: JSON.stringify(body),
    });
    letter.result.textContent = verb === "replay" ? say("letters.again", number(done.offset)) : say("letters.never");
  } catch (error) {
    letter.result.textContent = error.status === 401 ? say("operator.wrong") : error.message;
  }
  $("done").textContent = `${letter.place}: ${letter.result.textContent}`;
  allow(letter);
}

function value(whole) {
  if (whole.value == null) return [el("p", { class: "lead" }, say("letters.no-value"))];
  return [
    el("h3", {}, say("letters.text", bytes(whole.value_bytes))),
    long(whole.value.text, say("letters.text", bytes(whole.value_bytes))),
    ...(whole.value.hex == null ? [] : [el("h3", {}, say("letters.hex")), long(whole.value.hex, say("letters.hex"), "hex")]),
  ];
}

async function open(letter, box, id) {
  box.replaceChildren(el("p", { class: "lead" }, say("log.reading")));
  try {
    const whole = await ask(`/api/dead-letters/one?id=${encodeURIComponent(id)}`);
    const pairs = [[say("letters.why"), whole.detail ?? ""], ["id", whole.id]];
    if (whole.event) pairs.push([say("letters.event"), whole.event]);
    if (whole.cut) pairs.push([say("letters.cut"), whole.cut]);
    if (whole.key) pairs.push([say("letters.key"), whole.key.text]);
    for (const [name, of] of whole.headers) pairs.push([foreign(name), of.hex == null ? of.text : el("code", {}, of.hex)]);
    const as = el("select", {}, el("option", { value: "" }, say("letters.as-told")), ...data.streams.map(({ name }) => el("option", { value: name }, name)));
    const replay = el("button", { type: "button", click: () => operate(letter, "replay", { id, as: as.value }) }, say("letters.replay"));
    const discard = el("button", { type: "button", click: () => operate(letter, "discard", { id }) }, say("letters.discard"));
    letter.buttons = [replay, discard];
    letter.result = el("p", { role: "status" });
    allow(letter);
    box.replaceChildren(facts(pairs), ...value(whole),
      el("div", { class: "tools" }, el("label", {}, say("letters.as"), " ", as), replay, discard), letter.result);
  } catch (error) {
    box.replaceChildren(el("p", { class: "wrong" }, error.message));
  }
}

function state(of) {
  if (of.replayed_ms) return say("letters.was-replayed", time(of.replayed_ms));
  if (of.discarded_ms) return say("letters.was-discarded", time(of.discarded_ms));
  return "";
}

function made(of) {
  const box = el("div", { class: "whole" });
  const letter = { buttons: [], result: el("p"), place: `${of.topic}/${of.partition}/${of.offset}`, state: el("span", { class: "size" }) };
  const details = el("details", { toggle: () => (details.open ? open(letter, box, of.id) : box.replaceChildren()) },
    el("summary", {},
      el("span", { class: "pill away" }, of.reason ?? "?"), " ",
      el("time", {}, time(of.at_ms)), " ", el("span", { class: "place" }, letter.place), " ",
      of.stream ? el("strong", {}, of.stream) : null, " ", bytes(of.bytes), " ", letter.state,
      el("span", { class: "detail" }, foreign(of.detail))),
    box);
  letter.node = el("li", { class: "card" }, details);
  return letter;
}

listen("/api/dead-letters/stream", (now) => {
  notices([away("mongodb", now.mongodb)]);
  if (now.counts) $("counts").replaceChildren(...(now.counts.length
    ? now.counts.map((row) => el("tr", {}, el("th", { scope: "row" }, row.reason), el("td", {}, number(row.open)), el("td", {}, number(row.replayed)), el("td", {}, number(row.discarded))))
    : [el("tr", {}, el("td", { colspan: "4" }, say("letters.none")))]));
  if (!now.letters) return;
  const there = new Set(now.letters.map((of) => of.id));
  for (const [id, letter] of letters) {
    if (!there.has(id)) {
      letter.node.remove();
      letters.delete(id);
    }
  }
  let before = null;
  for (const of of now.letters) {
    if (!letters.has(of.id)) letters.set(of.id, made(of));
    const letter = letters.get(of.id);
    letter.state.textContent = state(of);
    // Moved only if it is elsewhere: what is open stays so, and keeps the focus.
    const next = before ? before.nextElementSibling : $("letters").firstElementChild;
    if (next !== letter.node) $("letters").insertBefore(letter.node, next);
    before = letter.node;
  }
});
