"use strict";

// Draws the plots that the page brought along as data, and draws them anew after htmx has put a part in place.
function draw(figure) {
  const plot = JSON.parse(figure.dataset.plot);
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  const axis = { stroke: color("--quiet"), grid: { stroke: color("--line") } };
  const size = (bytes) => {
    const power = Math.min(4, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
    return Number((bytes / 1024 ** power).toPrecision(3)) + " " + ["B", "KiB", "MiB", "GiB", "TiB"][power];
  };
  const bytes = (self, values) => values.map((value) => (value === null ? "" : size(value)));
  // As many bytes as are a round number in their unit.
  const steps = Array.from({ length: 44 }, (_, power) => 2 ** power);
  const series = [{ label: "s" }];
  const data = [plot.at];
  const add = (label, values, stroke, dash) => { series.push({ label, stroke: color(stroke), width: 2, dash, points: { show: false } }); data.push(values); };
  Object.entries(plot.lines).forEach(([label, values], index) => add(label, values, index ? "--wait" : "--bar"));
  if (plot.limit !== null) { add("limit", plot.at.map(() => plot.limit), "--bad", [6, 4]); }
  new uPlot({
    width: figure.clientWidth, height: 160, series, legend: { show: Object.keys(plot.lines).length > 1, live: false }, cursor: { show: false },
    scales: { x: { time: false }, y: { range: (self, low, high) => [0, high * 1.05 || 1] } },
    axes: [axis, plot.unit === "bytes" ? { ...axis, size: 80, values: bytes, incrs: steps } : axis],
  }, data, figure);
}

function drawAll(root) {
  for (const figure of root.querySelectorAll("[data-plot]")) {
    if (!figure.querySelector(".uplot")) { draw(figure); }
  }
}

// What is new is put where it differs: focus, what was unfolded, and plots of the same values stay as they are.
Idiomorph.defaults.callbacks.beforeAttributeUpdated = (name, node) => !(name === "open" && node.tagName === "DETAILS");
Idiomorph.defaults.callbacks.beforeNodeMorphed = (before, after) =>
  !(before.dataset?.plot && before.dataset.plot === after.dataset?.plot);

// Adds the lines of a log as they come, as the server wrote them; the browser goes on by itself where it was cut off.
function follow(log) {
  const events = new EventSource(log.dataset.follow);
  events.addEventListener("line", (event) => {
    const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 4;
    log.insertAdjacentHTML("beforeend", event.data);
    if (atEnd) { log.scrollTop = log.scrollHeight; }
  });
  events.addEventListener("end", () => {
    events.close();
    htmx.trigger("#run", "ended");
  });
}

document.addEventListener("DOMContentLoaded", () => {
  drawAll(document);
  document.querySelectorAll("[data-follow]").forEach(follow);
});
document.addEventListener("htmx:afterSwap", (event) => drawAll(event.target));
document.addEventListener("htmx:responseError", (event) => {
  document.getElementById("said").textContent = "The server said " + event.detail.xhr.status + ".";
});
