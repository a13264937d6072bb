"use strict";
// Draws each chart when it comes near the window, and the rest when there is nothing else to do, in the colours of the
// page; all of them, in light, for paper. Sorts tables by a click on a heading.
(() => {
  const page = JSON.parse(document.getElementById("charts").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const plots = [...document.querySelectorAll(".plot")];
  const AXIS = 52, GUTTER = 40, PANEL = 190, BESIDE = 100, PAPER = 930; // pixels; paper is a landscape page
  const drawn = new Map(); // a plot to what draws it, and the theme and width it was drawn for

  const rows = ({ names, rows }) => rows.map((row) => Object.fromEntries(row.map((value, i) => [names[i], value])));
  const datasets = (problem) => Object.fromEntries(Object.entries(page.problems[problem]).map(([k, v]) => [k, rows(v)]));

  // Panels beside each other as far as they have room, each as wide as the page leaves it.
  function fit(view, width) {
    if (view.vconcat) view.vconcat.forEach((part) => fit(part, width));
    else if (view.concat) {
      const most = Math.max(1, Math.min(view.concat.length, 4, Math.floor((width + GUTTER) / (PANEL + GUTTER))));
      view.columns = view.concat.length > 2 && most === 3 && view.concat.length === 4 ? 2 : most;
      view.concat.forEach((part) => fit(part, (width - (view.columns - 1) * GUTTER) / view.columns));
    } else view.width = Math.floor(width - AXIS);
  }

  async function draw(plot, theme, width) {
    const state = drawn.get(plot);
    if (state && state.theme === theme && Math.abs(state.width - width) < 2) return;
    drawn.set(plot, { ...state, theme, width });
    const { chart, problem } = plot.dataset;
    const painted = (colour) => (theme === "dark" && page.dark[colour]) || colour;
    const spec = JSON.parse(JSON.stringify(page.specs[chart]).replace(/#[0-9a-f]{6}/g, painted));
    spec.datasets = datasets(problem);
    spec.params.find((param) => param.name === "columns").value = Math.max(1, Math.floor((width - BESIDE) / page.legend));
    if (spec.width !== "container") fit(spec, width);
    else spec.width = width, spec.autosize = { type: "fit-x", contains: "padding" };
    const made = await vegaEmbed(plot, spec, {
      mode: "vega-lite", logLevel: 1, renderer: "svg", ast: true, config: page.themes[theme], tooltip: { theme },
      actions: { export: { svg: true, png: true }, source: false, compiled: false, editor: false },
      scaleFactor: { png: 2 }, downloadFileName: plot.dataset.file,
    });
    const now = drawn.get(plot);
    if (now.theme !== theme || now.width !== width) return made.finalize();
    state?.made?.finalize();
    drawn.set(plot, { theme, width, made });
    plot.style.minHeight = "0";
    plot.dataset.drawn = theme;
  }

  const screen = (plot) => draw(plot, dark.matches ? "dark" : "light", plot.clientWidth);
  if ("IntersectionObserver" in window) {
    const near = new IntersectionObserver((seen) => {
      seen.filter((one) => one.isIntersecting).forEach((one) => screen(one.target));
    }, { rootMargin: "600px 0px" });
    plots.forEach((plot) => near.observe(plot));
  }
  const soon = window.requestIdleCallback || ((work) => setTimeout(work, 50));
  async function rest(left) {
    const plot = left.find((one) => !drawn.has(one));
    if (!plot) return;
    await screen(plot);
    soon(() => rest(left));
  }
  addEventListener("load", () => soon(() => rest(plots)));

  const again = () => drawn.forEach((_, plot) => screen(plot));
  dark.addEventListener("change", again);
  let waiting;
  addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(again, 150); });
  const paper = (plot) => draw(plot, "light", plot.closest(".wide") ? PAPER : (PAPER - GUTTER) / 2);
  addEventListener("beforeprint", () => {
    document.querySelectorAll("details.edges").forEach((part) => part.setAttribute("open", "open"));
    plots.forEach(paper);
  });
  addEventListener("afterprint", again);
  const value = (row, column) => {
    const cell = row.cells[column], text = cell.textContent.trim(), number = parseFloat(cell.dataset.value ?? text);
    return Number.isNaN(number) ? text : number;
  };
  const compare = (a, b) => typeof a === typeof b
    ? (typeof a === "number" ? a - b : a.localeCompare(b)) : (typeof a === "number" ? -1 : 1);
  function sort(heading) {
    const table = heading.closest("table"), column = heading.cellIndex, body = table.tBodies[0];
    const down = heading.getAttribute("aria-sort") === "ascending";
    [...heading.parentNode.cells].forEach((cell) => cell.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...body.rows].sort((a, b) => (down ? -1 : 1) * compare(value(a, column), value(b, column)));
    body.append(...rows);
  }
  document.querySelectorAll(".sortable thead th").forEach((heading) => {
    heading.tabIndex = 0;
    heading.addEventListener("click", () => sort(heading));
    heading.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(heading); });
  });
  document.querySelectorAll("nav details a").forEach((link) => {
    link.addEventListener("click", () => link.closest("details").removeAttribute("open"));
  });
})();
