// What pages gain where JavaScript runs: a theme without a new page, figures that stay current, charts to point at.
"use strict";
(() => {
  const root = document.documentElement;
  const say = (text) => { document.getElementById("said").textContent = text; };

  // The theme.
  document.addEventListener("click", (event) => {
    const choice = event.target.closest?.("a[data-to]");
    if (!choice || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const to = choice.dataset.to;
    document.cookie = `theme=${to}; path=/; max-age=31536000; samesite=lax`;
    root.dataset.theme = to;
    document.querySelector('meta[name="color-scheme"]').content = to === "auto" ? "light dark" : to;
    for (const one of document.querySelectorAll("a[data-to]")) {
      if (one === choice) one.setAttribute("aria-current", "true");
      else one.removeAttribute("aria-current");
    }
    drawCharts(document);
  });

  // Charts: uPlot takes the place of the server's drawing, from the same values.
  const probe = (variable) => {
    const element = document.createElement("span");
    element.className = "unseen";
    document.body.append(element);
    element.style.color = `var(${variable})`;
    const found = getComputedStyle(element).color;
    element.remove();
    return found;
  };
  const tones = { first: "--first", good: "--good", bad: "--fill-over", second: "--second", third: "--third", limit: "--text" };
  const dashes = { second: [7, 3], third: [2, 3], limit: [4, 4] };
  const drawn = new WeakMap();
  const utc = (stamp) => new Date(stamp * 1000).toISOString().replace("T", " ");
  const times = (_, ticks) => {
    const length = ticks.length ? ticks[ticks.length - 1] - ticks[0] : 0;
    const [from, to] = length > 172800 ? [5, 10] : length > 300 ? [11, 16] : [11, 19];
    return ticks.map((stamp) => utc(stamp).slice(from, to));
  };

  const shown = (control) => (value) => {
    if (value === null || value === undefined) return "–";
    const bytes = /size|bytes/.test(control);
    const base = bytes ? 1024 : 1000;
    const units = bytes ? ["B", "KiB", "MiB", "GiB", "TiB", "PiB"] : ["", "k", "M", "G", "T", "P"];
    let power = 0, amount = value;
    while (Math.abs(amount) >= base && power < units.length - 1) { amount /= base; power += 1; }
    const digits = Math.abs(amount) < 10 && (power || amount % 1) ? 2 : Math.abs(amount) < 100 && power ? 1 : 0;
    return `${amount.toFixed(digits)}${bytes ? " " : ""}${units[power]}`;
  };

  function drawChart(figure) {
    const plot = figure.querySelector(".plot");
    drawn.get(figure)?.destroy();
    plot.hidden = false;
    plot.style.display = "none";
    const text = shown(figure.dataset.control || "");
    const names = JSON.parse(figure.dataset.names);
    const lines = JSON.parse(figure.dataset.tones);
    const axis = { stroke: probe("--quiet"), grid: { stroke: probe("--edge"), width: 1 }, ticks: { stroke: probe("--edge"), width: 1 }, font: "11px system-ui, sans-serif" };
    // The legend of the server's drawing shows the values at the cursor; without one, the last.
    const marks = [...figure.querySelectorAll(".legend b")];
    for (const mark of marks) mark.dataset.last ??= mark.textContent;
    const at = figure.querySelector(".legend .at");
    const pointed = (plot) => {
      const index = plot.cursor.left >= 0 ? plot.cursor.idx : null;
      at.textContent = index == null ? "" : `${utc(plot.data[0][index]).slice(0, 19)} UTC`;
      marks.forEach((mark, line) => { mark.textContent = index == null ? mark.dataset.last : text(plot.data[line + 1][index]); });
    };
    const increments = /size|bytes/.test(figure.dataset.control || "")
      ? Array.from({ length: 60 }, (_, power) => 2 ** power) : undefined;
    const options = {
      width: figure.clientWidth - 28,
      height: 170,
      tzDate: (stamp) => uPlot.tzDate(new Date(stamp * 1000), "UTC"),
      cursor: { y: false },
      legend: { show: false },
      hooks: { setCursor: [pointed] },
      scales: { y: { range: (_, least, most) => [0, (most || 1) * 1.08] } },
      axes: [{ ...axis, size: 30, values: times }, { ...axis, size: 64, values: (_, ticks) => ticks.map(text), ...(increments && { incrs: increments }) }],
      series: [
        { label: "time" },
        ...names.map((label, at) => ({ label, stroke: probe(tones[lines[at]] || "--first"), width: 1.75, dash: dashes[lines[at]], points: { show: false } })),
      ],
    };
    drawn.set(figure, new uPlot(options, JSON.parse(figure.dataset.chart), figure.querySelector("figcaption").parentElement));
    const chart = figure.querySelector(".uplot");
    chart.setAttribute("aria-hidden", "true");
    figure.insertBefore(chart, figure.querySelector("details"));
  }

  function drawCharts(within) {
    if (typeof uPlot === "undefined") return;
    for (const figure of within.querySelectorAll("figure[data-chart]")) drawChart(figure);
  }
  let resized = 0;
  addEventListener("resize", () => { clearTimeout(resized); resized = setTimeout(() => drawCharts(document), 150); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawCharts(document));

  // Figures that stay current: every few seconds, unless somebody has stopped it, looks elsewhere, or is in the middle.
  const EVERY = 5000;
  let running = true;
  function busy(live) {
    return live.contains(document.activeElement) || !document.getSelection().isCollapsed || live.querySelector("details[open]");
  }
  async function renew() {
    const live = document.querySelector("[data-live]");
    if (!live || !running || document.hidden || busy(live)) return;
    if (typeof htmx !== "undefined") {
      await htmx.ajax("GET", location.href, { target: "#live", select: "#live", swap: "outerHTML" });
    } else {
      const answer = await fetch(location.href);
      if (!answer.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("live");
      if (fresh && !busy(live)) live.replaceWith(fresh);
    }
    drawCharts(document);
  }
  function addStop() {
    const refresh = document.getElementById("refresh");
    if (!refresh || !document.querySelector("[data-live]")) return;
    const stop = document.createElement("button");
    stop.type = "button";
    const label = () => { stop.textContent = running ? "Stop updates" : "Go on updating"; };
    stop.addEventListener("click", () => {
      running = !running;
      label();
      say(running ? "Figures are updated every 5 seconds." : "Figures are no longer updated.");
    });
    label();
    refresh.before(stop);
    const tick = () => renew().catch(() => undefined).finally(() => setTimeout(tick, EVERY));
    setTimeout(tick, EVERY);
  }

  // After a part of a page was swapped, the keyboard goes on in it.
  document.addEventListener("htmx:afterSettle", (event) => {
    const part = event.detail.elt;
    if (part.id === "table") { part.focus({ preventScroll: true }); say("The table was updated."); }
    drawCharts(part);
  });

  addStop();
  drawCharts(document);
})();
