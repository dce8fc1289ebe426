"use strict";
// Draw each figure when it comes near the view, the others when there is time, and all of them before printing.
const touch = matchMedia("(pointer: coarse)").matches;

function draw(box) {
  const data = box.querySelector("script[type='application/json']");
  if (!data) return;
  const spec = JSON.parse(data.textContent);
  data.remove();
  if (touch || !box.classList.contains("map")) spec.layout.dragmode = false;
  spec.layout.autosize = true;
  const config = { responsive: true, displaylogo: false, displayModeBar: false };
  Plotly.newPlot(box, spec.data, spec.layout, config).then(() => {
    if (box.classList.contains("map")) showPictures(box);
  });
}

// Show the picture of the input under the pointer, from the sheet of thumbnails: above the label, or below it.
function showPictures(box) {
  const sheet = document.getElementById("sprite");
  const hint = document.getElementById("hint");
  if (!sheet) return;
  const line = Number(sheet.dataset.line);
  const side = 96;
  box.on("plotly_hover", (event) => {
    const number = event.points[0].customdata;
    if (number === undefined) return;
    hint.style.backgroundImage = sheet.style.backgroundImage;
    hint.style.backgroundSize = `${line * side}px auto`;
    hint.style.backgroundPosition = `-${(number % line) * side}px -${Math.floor(number / line) * side}px`;
    const label = box.querySelector(".hovertext").getBoundingClientRect();
    const above = label.top - side - 8;
    hint.style.left = `${Math.max(Math.min(label.left, innerWidth - side - 12), 4)}px`;
    hint.style.top = `${above < 4 ? label.bottom + 6 : above}px`;
    hint.hidden = false;
  });
  box.on("plotly_unhover", () => { hint.hidden = true; });
}

const figures = [...document.querySelectorAll(".figure")];
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (entry.isIntersecting) draw(entry.target);
  }
}, { rootMargin: "600px" });
figures.forEach((box) => seen.observe(box));
addEventListener("beforeprint", () => figures.forEach(draw));

const waiting = [...figures];
const whenIdle = window.requestIdleCallback
  ? (work) => requestIdleCallback(work, { timeout: 500 })
  : (work) => setTimeout(work, 50);
function drawNext() {
  const box = waiting.shift();
  if (!box) {
    document.documentElement.dataset.drawn = "all";
    return;
  }
  draw(box);
  whenIdle(drawNext);
}
addEventListener("load", () => whenIdle(drawNext));

// Mark the section that is being read in the table of contents.
const links = new Map([...document.querySelectorAll("nav a")].map((a) => [a.hash.slice(1), a]));
const reading = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    links.forEach((link) => link.removeAttribute("aria-current"));
    links.get(entry.target.id)?.setAttribute("aria-current", "true");
  }
}, { rootMargin: "-10% 0px -80% 0px" });
document.querySelectorAll("main > header, main > section").forEach((part) => reading.observe(part));
