// The page of `zeroshot serve`. Text from users and answers is written with textContent only.
"use strict";

const WAIT = 250; // ms after the last key before labels are sent
const AT_ONCE = 4; // requests in flight
const TOP = 10; // labels shown per image
const RETRIES = 3; // of a busy server
const KEY = "zeroshot-key";
const NONE = "none of these";

const $ = (id) => document.getElementById(id);
const params = new URLSearchParams(location.search);
const demo = params.has("demo");
const own = document.documentElement.dataset.ownLabels === "yes";

const images = []; // {file, item, url}
let heads = [];
let loaded = false; // what the server offers is known
let loading = null;
let turn = 0; // answers of earlier turns are dropped
let abort = new AbortController();
let timer = 0;
let stream = null;

class Refused extends Error {
  constructor(status, message, wait) {
    super(message);
    this.status = status;
    this.wait = wait; // seconds, of a busy server
  }
}

// ---- elements

function make(tag, name, text) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text !== undefined) element.textContent = text;
  return element;
}

function showError(text) {
  $("error").textContent = text;
}

const percent = (value) => `${(100 * value).toFixed(1)}%`;

// ---- requests

async function ask(path, options = {}) {
  const key = sessionStorage.getItem(KEY);
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  let response;
  try {
    response = await fetch(path, { ...options, headers, credentials: "omit" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "The server does not answer. Check that it is running.");
  }
  const answer = await response.json().catch(() => null);
  if (response.ok && answer !== null) return answer;
  const wait = Number(response.headers.get("Retry-After")) || 1;
  throw new Refused(response.status, reason(response.status, answer), wait);
}

function reason(status, answer) {
  const sent = answer && answer.error && (answer.error.message || answer.error);
  if (status === 401) return "The key is missing or wrong. Enter a valid key.";
  if (status === 413) return `The image is too large for this server. ${text(sent)}`;
  if (status === 503) return `Try again later: ${text(sent) || "the server is busy"}.`;
  if (status === 504) return "The server took too long. Try again, or use fewer labels.";
  return text(sent) || `The server returned an error (status ${status}).`;
}

const text = (value) => (typeof value === "string" ? value : "");

async function classify(file, signal) {
  const form = new FormData();
  form.append("image", file, file.name || "image");
  form.append("top", String(TOP));
  if ($("head").value) form.append("head", $("head").value);
  else form.append("labels", JSON.stringify(labels()));
  for (let tried = 0; ; tried += 1) {
    try {
      return await ask("v1/classify", { method: "POST", body: form, signal });
    } catch (error) {
      if (error.status !== 503 || tried >= RETRIES) throw error;
      await new Promise((done) => setTimeout(done, 1000 * Math.min(error.wait, 5)));
      signal.throwIfAborted();
    }
  }
}

// ---- labels and heads

function labels() {
  const lines = $("labels").value.split("\n");
  const parts = lines.filter((line) => line.trim()).length > 1 ? lines : lines.flatMap(byComma);
  return [...new Set(parts.map((part) => part.trim()).filter(Boolean))];
}

const byComma = (line) => line.split(",");

const chosenHead = () => heads.find((head) => head.name === $("head").value);

function showHead() {
  const found = chosenHead();
  $("own-part").hidden = Boolean(found) || !own;
  if (!found) $("head-labels").textContent = "";
  else {
    const shown = found.labels.slice(0, 50).join(", ");
    $("head-labels").textContent = found.labels.length > 50 ? `${shown} ...` : shown;
  }
}

function load() {
  loading ??= loadLists().finally(() => {
    loading = null;
  });
  return loading;
}

async function loadLists() {
  try {
    const [models, listed] = demo ? DEMO_LISTS : await Promise.all([ask("v1/models"), ask("v1/heads")]);
    const model = models.data[0];
    const size = model.dim ? `, ${model.dim} dimensions` : "";
    $("model").textContent = `Model: ${model.id}${size}`;
    heads = listed.heads;
    fillHeads();
    $("key-form").hidden = true;
    loaded = true;
    classifyAll();
  } catch (error) {
    $("model").textContent = "Model: unknown";
    failed(error);
  }
}

function fillHeads() {
  const chosen = $("head").value;
  const options = heads.map((head) => new Option(head.name, head.name));
  if (own) options.unshift(new Option("Your own labels", ""));
  $("head").replaceChildren(...options);
  $("head-part").hidden = heads.length === 0;
  if (heads.some((head) => head.name === chosen)) $("head").value = chosen;
  showHead();
}

function failed(error) {
  if (error.name === "AbortError") return;
  if (error.status === 401) {
    const hidden = $("key-form").hidden;
    $("key-form").hidden = false;
    if (hidden) $("key").focus();
  }
  showError(error.status === undefined ? "The page failed. Reload it." : error.message);
}

// ---- answers

function add(files) {
  for (const file of files) {
    const item = make("li", "waiting");
    const url = URL.createObjectURL(file);
    const picture = make("img");
    picture.alt = "";
    picture.onerror = () => picture.remove(); // a format that the browser does not show
    picture.src = url;
    const name = file.name || "pasted image";
    const remove = make("button", "", "Remove");
    remove.type = "button";
    remove.setAttribute("aria-label", `Remove ${name}`);
    item.append(picture, make("h3", "", name), make("div", "answer"), remove);
    const image = { file, item, url, name };
    remove.onclick = () => drop(image);
    images.push(image);
    $("results").append(item);
  }
  $("clear").hidden = images.length === 0;
  if (files.length) classifyAll();
}

function drop(image) {
  URL.revokeObjectURL(image.url);
  image.item.remove();
  images.splice(images.indexOf(image), 1);
  $("clear").hidden = images.length === 0;
  $("files").focus();
  $("status").textContent = `${image.name} removed.`;
}

function later() {
  clearTimeout(timer);
  timer = setTimeout(classifyAll, WAIT);
}

async function classifyAll() {
  clearTimeout(timer);
  if (!loaded) {
    load(); // calls this function again
    return;
  }
  turn += 1;
  abort.abort();
  abort = new AbortController();
  showError("");
  if (images.length === 0) return;
  if (!$("head").value && labels().length < 2) {
    showError(own ? "Enter at least two labels." : "This server has no classifier to choose.");
    return;
  }
  const mine = turn;
  const { signal } = abort;
  const rest = [...images];
  for (const image of rest) image.item.classList.add("waiting");
  $("status").textContent = rest.length === 1 ? "Classifying the image." : `Classifying ${rest.length} images.`;
  const said = [];
  const work = async () => {
    while (rest.length && mine === turn) {
      const image = rest.shift();
      if (!images.includes(image)) continue; // removed
      const answer = await answerOf(image, signal);
      if (mine !== turn || answer === null) return;
      if (!images.includes(image)) continue;
      said.push(show(image, answer));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  if (mine === turn) $("status").textContent = said.length > 3 ? `${said.length} images answered.` : said.join(" ");
}

async function answerOf(image, signal) {
  try {
    const answer = demo ? demoAnswer(image.name) : await classify(image.file, signal);
    return answer.results[0];
  } catch (error) {
    if (error.name === "AbortError") return null;
    if (error.status === 401 || error.status === undefined) failed(error);
    return { error: error.message };
  }
}

function show(image, result) {
  const place = image.item.querySelector(".answer");
  image.item.classList.remove("waiting");
  if (result.error) {
    const message = text(result.error.message || result.error) || "The image cannot be read.";
    place.replaceChildren(make("p", "bad", message));
    return `${image.name}: ${message}`;
  }
  const bars = make("ul", "bars");
  const rows = result.ranking.map((row) => [row.label, row.probability, ""]);
  if (typeof result.none === "number") rows.push([NONE, result.none, "none"]);
  bars.append(...rows.map((row) => bar(...row)));
  place.replaceChildren(bars);
  if (chosenHead()?.calibrated) place.append(make("p", "note", "Probabilities are calibrated."));
  const best = result.label === null ? NONE : result.label;
  const value = result.label === null ? result.none : result.probability;
  return typeof value === "number" ? `${image.name}: ${best}, ${percent(value)}.` : `${image.name}: ${best}.`;
}

function bar(name, value, kind) {
  const item = make("li", kind);
  const words = make("div", "words");
  words.append(make("span", "name", name), make("span", "share", percent(value)));
  const track = make("div", "track");
  const fill = make("div", "fill");
  fill.style.width = percent(Math.max(0, Math.min(1, value)));
  track.append(fill);
  track.setAttribute("aria-hidden", "true"); // the percentage says the same
  item.append(words, track);
  return item;
}

// ---- camera

async function openCamera() {
  if (!navigator.mediaDevices) {
    showError("The camera is available on localhost and over https only.");
    return;
  }
  $("camera").disabled = true; // a second click would open a second stream
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    showError(`The camera is not available (${error.name}). Allow it in the browser's settings.`);
    return;
  } finally {
    $("camera").disabled = false;
  }
  showError("");
  $("video").srcObject = stream;
  $("camera-part").hidden = false;
  $("camera").setAttribute("aria-expanded", "true");
  await $("video").play().catch(() => null); // closed before it plays
  $("shoot").focus();
}

function closeCamera() {
  if (!stream) return;
  for (const track of stream.getTracks()) track.stop();
  stream = null;
  $("video").srcObject = null;
  $("camera-part").hidden = true;
  $("camera").setAttribute("aria-expanded", "false");
  $("camera").focus();
}

function shoot() {
  const video = $("video");
  const canvas = make("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  canvas.toBlob((blob) => blob && add([new File([blob], "camera.jpg", { type: blob.type })]), "image/jpeg", 0.92);
}

// ---- demo: canned answers without requests, for pictures in documentation

const DEMO_LISTS = [
  { data: [{ id: "ViT-B/32", dim: 512 }] },
  { heads: [{ name: "animals", labels: ["cat", "dog", "Eichhörnchen"], calibrated: true }] },
];
const DEMO_ROWS = {
  "cat.jpg": [["cat", 0.942], ["dog", 0.031], ["Eichhörnchen", 0.008]],
  "street.jpg": [["dog", 0.112], ["cat", 0.087], ["Eichhörnchen", 0.011]],
};

function demoAnswer(name) {
  const ranking = (DEMO_ROWS[name] || DEMO_ROWS["cat.jpg"]).map(([label, probability]) => ({ label, probability }));
  const none = 1 - ranking.reduce((sum, row) => sum + row.probability, 0);
  const isNone = none > ranking[0].probability;
  const best = { label: isNone ? null : ranking[0].label, probability: isNone ? null : ranking[0].probability };
  return { results: [{ ...best, none, ranking }] };
}

async function addDemo() {
  const files = [];
  for (const [at, name] of Object.keys(DEMO_ROWS).entries()) {
    const canvas = make("canvas");
    [canvas.width, canvas.height] = [320, 220];
    const context = canvas.getContext("2d");
    const colors = context.createLinearGradient(0, 0, 320, 220);
    colors.addColorStop(0, `hsl(${200 + 60 * at} 60% 70%)`);
    colors.addColorStop(1, `hsl(${30 + 60 * at} 60% 60%)`);
    context.fillStyle = colors;
    context.fillRect(0, 0, 320, 220);
    const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
    files.push(new File([blob], name, { type: "image/png" }));
  }
  $("head").value = "animals";
  showHead();
  add(files);
}

// ---- events

$("files").onchange = () => {
  add([...$("files").files]);
  $("files").value = ""; // so that the same file can be chosen again
};
$("labels").oninput = later;
$("head").onchange = () => {
  showHead();
  classifyAll();
};
$("clear").onclick = () => {
  for (const image of [...images]) drop(image);
  classifyAll(); // ends the requests in progress
  $("status").textContent = "All images removed.";
};
$("camera").onclick = () => (stream ? closeCamera() : openCamera());
$("camera-close").onclick = closeCamera;
$("shoot").onclick = shoot;
$("key-form").onsubmit = (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, $("key").value.trim());
  $("key").value = "";
  load();
};
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") closeCamera();
});
document.addEventListener("paste", (event) => {
  const files = [...event.clipboardData.files];
  if (files.length) {
    event.preventDefault();
    add(files);
  } else if (!["TEXTAREA", "INPUT"].includes(event.target.tagName)) {
    showError("The clipboard contains no image.");
  }
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  $("drop").classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) $("drop").classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  const files = [...event.dataTransfer.files];
  if (files.length) add(files);
  else showError("Drop image files. Images of other web pages must be saved first.");
});
window.addEventListener("pagehide", closeCamera);

$("own-part").hidden = !own;
load().then(() => demo && addDemo());
