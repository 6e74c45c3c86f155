"use strict";

// Draws the plots that the page brought along as data, and draws them anew after htmx has put a part in place.
function draw(figure) {
  const plot = JSON.parse(figure.dataset.plot);
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  const axis = { stroke: color("--quiet"), grid: { stroke: color("--line") } };
  const bytes = (self, values) => values.map((value) => (value === null ? "" : (value / 2 ** 20).toFixed(1) + " MiB"));
  const series = [{ label: "s" }, { label: plot.title, stroke: color("--bar"), width: 2 }];
  const data = [plot.at, plot.values];
  if (plot.limit !== null) {
    series.push({ label: "limit", stroke: color("--bad"), dash: [6, 4] });
    data.push(plot.at.map(() => plot.limit));
  }
  new uPlot({
    width: figure.clientWidth, height: 160, series, legend: { show: false }, cursor: { show: false },
    scales: { x: { time: false }, y: { range: (self, low, high) => [0, high * 1.05 || 1] } },
    axes: [axis, plot.unit === "bytes" ? { ...axis, size: 80, values: bytes } : axis],
  }, data, figure);
}

function drawAll(root) {
  for (const figure of root.querySelectorAll("[data-plot]")) {
    if (!figure.querySelector(".uplot")) { draw(figure); }
  }
}

document.addEventListener("DOMContentLoaded", () => drawAll(document));
document.addEventListener("htmx:afterSwap", (event) => drawAll(event.target));
document.addEventListener("htmx:responseError", (event) => {
  document.getElementById("said").textContent = "The server said " + event.detail.xhr.status + ".";
});
