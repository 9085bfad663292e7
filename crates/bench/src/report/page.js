// Draws the charts of a report from their data. Nothing is fetched.
(() => {
  "use strict";
  const NS = "http://www.w3.org/2000/svg";
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const tip = document.getElementById("tip");
  let clips = 0;

  const make = (name, attributes, parent, text) => {
    const node = document.createElementNS(NS, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    if (parent) parent.append(node);
    return node;
  };
  const html = (name, properties, parent) => {
    const node = Object.assign(document.createElement(name), properties);
    if (parent) parent.append(node);
    return node;
  };
  const shown = (value) => {
    if (value === null || !isFinite(value)) return "–";
    const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : Math.abs(value) >= 1 ? 2 : 3;
    return value.toLocaleString("en", { minimumFractionDigits: value === 0 ? 0 : digits, maximumFractionDigits: digits });
  };

  // Ticks at multiples of 1, 2 or 5 times a power of ten; on a logarithmic axis at powers of ten, if there are two.
  const ticks = (axis, [from, to]) => {
    if (axis.scale === "named") return axis.names.map((name, at) => [at + 1, name]);
    if (axis.scale === "log") {
      const powers = [];
      for (let p = Math.ceil(Math.log10(from) - 1e-9); p <= Math.floor(Math.log10(to) + 1e-9); p++) powers.push(10 ** p);
      if (powers.length > 1) return powers.map((value) => [value, value >= 1 ? value.toLocaleString("en") : String(+value.toPrecision(1))]);
    }
    const most = (to - from) / 4;
    if (!(most > 0)) return [];
    const power = 10 ** Math.floor(Math.log10(most));
    const step = [5, 2, 1].map((f) => f * power).find((s) => s <= most * 1.0000001) || power;
    const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    const all = [];
    for (let n = Math.ceil(from / step - 1e-9) + 0; n * step <= to + step * 1e-9; n++) {
      all.push([n * step + 0, (n * step + 0).toLocaleString("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals })]);
    }
    return all;
  };
  const place = (axis, [from, to], a, b) => (value) => {
    const share = axis.scale === "log" ? Math.log(value / from) / Math.log(to / from) : (value - from) / (to - from);
    return a + share * (b - a);
  };
  const inverse = (axis, [from, to], a, b) => (at) => {
    const share = (at - a) / (b - a);
    return axis.scale === "log" ? from * (to / from) ** share : from + share * (to - from);
  };

  const drawSeries = (group, series, X, Y, box) => {
    const { colour, data, mark } = series;
    const path = (points) => points.filter((p) => p[0] !== null && p[1] !== null && isFinite(X(p[0])) && isFinite(Y(p[1])))
      .map((p, at) => `${at ? "L" : "M"}${X(p[0]).toFixed(1)} ${Y(p[1]).toFixed(1)}`).join("");
    const line = (d, more) => make("path", { d, fill: "none", stroke: colour, "stroke-width": 1.75, "stroke-linejoin": "round", ...more }, group);
    const area = (x1, y1, x2, y2, more) => make("rect", {
      x: Math.min(x1, x2), y: Math.min(y1, y2), width: Math.abs(x2 - x1), height: Math.abs(y2 - y1), fill: colour, "fill-opacity": .75, ...more }, group);
    const dots = (points, width, opacity) => line(points.map((p) => `M${X(p[0]).toFixed(1)} ${Y(p[1]).toFixed(1)}h0`).join(""),
      { "stroke-width": width, "stroke-linecap": "round", "stroke-opacity": opacity });
    switch (mark) {
      case "line": line(path(data)); break;
      case "dashes": line(path(data), { "stroke-dasharray": "5 3" }); break;
      case "points": dots(data, 8, 1); break;
      case "specks": dots(data, 3.2, .5); break;
      case "rule": line(`M${box.left} ${Y(data)}H${box.right}`, { "stroke-dasharray": "5 3" }); break;
      case "uprights": line(data.map((x) => `M${X(x)} ${box.top}V${box.bottom}`).join(""), { "stroke-dasharray": "5 3", "stroke-width": 1 }); break;
      case "bars": data.forEach(([from, to, y]) => area(X(from), Y(0), X(to), Y(y))); break;
      case "blocks": data.forEach(([x1, y1, x2, y2]) => area(X(x1), Y(y1), X(x2), Y(y2))); break;
      case "band": {
        const there = path(data.map((p) => [p[0], p[2]])), back = path(data.map((p) => [p[0], p[1]]).reverse());
        line(`${there}${back.replace("M", "L")}Z`, { fill: colour, "fill-opacity": .18, stroke: "none" });
        break;
      }
      case "spans": data.forEach(([y, low, high]) => line(`M${X(low)} ${Y(y) - 4}v8M${X(low)} ${Y(y)}H${X(high)}M${X(high)} ${Y(y) - 4}v8`, { "stroke-width": 1.2 })); break;
      case "intervals": data.forEach(([x, low, high]) => line(`M${X(x) - 4} ${Y(low)}h8M${X(x)} ${Y(low)}V${Y(high)}M${X(x) - 4} ${Y(high)}h8`, { "stroke-width": 1.2 })); break;
      case "boxes": data.forEach(({ y, five, outliers }) => {
        const [low, first, median, third, high] = five.map((v) => Math.max(box.left - 5, X(v)));
        const mid = Y(y), half = Math.abs(Y(y + .3) - mid);
        dots(outliers.map((v) => [v, y]), 3, .45);
        line(`M${low} ${mid}H${first}M${third} ${mid}H${high}M${low} ${mid - half / 2}v${half}M${high} ${mid - half / 2}v${half}`, { "stroke-width": 1.2 });
        area(first, mid - half, third, mid + half, { "fill-opacity": .3, stroke: colour });
        line(`M${median} ${mid - half}V${mid + half}`, { "stroke-width": 2.6 });
      }); break;
    }
  };

  // What is under the pointer, in words.
  const under = (panel, hidden, X, Y, px, py) => {
    let best = null, distance = 22;
    const xName = panel.x.label, yName = panel.y.label;
    for (const series of panel.series) {
      if (hidden.has(series.name)) continue;
      if (["line", "dashes", "points", "specks"].includes(series.mark)) {
        for (const [x, y] of series.data) {
          if (x === null || y === null) continue;
          const d = Math.hypot(X(x) - px, Y(y) - py);
          if (d < distance) { distance = d; best = `${series.name}\n${xName}: ${shown(x)}\n${yName}: ${shown(y)}`; }
        }
      } else if (series.mark === "boxes") {
        for (const { y, five, outliers } of series.data) {
          if (Math.abs(Y(y) - py) < Math.abs(Y(.4) - Y(0))) {
            const names = ["whisker", "first quarter", "median", "third quarter", "whisker"];
            return `${panel.y.names ? panel.y.names[y - 1] : series.name}, ${xName}\n` + five.map((v, at) => `${names[at]}: ${shown(v)}`).join("\n") + `\nbeyond: ${outliers.length}`;
          }
        }
      } else if (series.mark === "blocks") {
        for (const [x1, y1, x2, y2] of series.data) {
          if (px >= X(x1) && px <= X(x2) && Math.abs(py - Y((y1 + y2) / 2)) <= Math.abs(Y(y1) - Y(y2)) / 2) {
            const row = panel.y.names ? panel.y.names[Math.round((y1 + y2) / 2) - 1] : "";
            const spans = panel.series.flatMap((s) => s.mark === "spans" ? s.data.filter((d) => d[0] === Math.round((y1 + y2) / 2)) : []);
            best = `${row}\n${series.name}: ${shown(x2 - x1)}` + spans.map((s) => `\n95 % interval: ${shown(s[1])} to ${shown(s[2])}`).join("");
          }
        }
      }
    }
    return best;
  };

  const drawPanel = (host, panel, hidden, isAlone, title) => {
    const isNamed = panel.y.scale === "named";
    const view = panel.view || { x: panel.x.range, y: panel.y.range };
    const W = isAlone ? 1000 : 490;
    const yTicks = ticks(panel.y, view.y);
    const widest = Math.max(0, ...yTicks.map(([, label]) => label.length)) * 6.6;
    const box = { left: Math.min(W * .45, widest + (panel.y.label ? 30 : 14)), right: W - 34, top: panel.title ? 26 : 10 };
    box.bottom = box.top + (isNamed ? Math.max(60, panel.y.names.length * 26) : isAlone ? 330 : 190);
    const H = box.bottom + 40;
    const svg = make("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `${title} ${panel.title}`, xmlns: NS, "font-family": "DejaVu Sans, Verdana, sans-serif", "font-size": 11 });
    const X = place(panel.x, view.x, box.left, box.right), Y = place(panel.y, view.y, box.bottom, box.top);
    const text = (x, y, value, more) => make("text", { x, y, fill: "#222", ...more }, svg, value);
    if (panel.title) text((box.left + box.right) / 2, 16, panel.title, { "text-anchor": "middle", "font-weight": "bold" });
    for (const [value, label] of ticks(panel.x, view.x)) {
      make("path", { d: `M${X(value)} ${box.top}V${box.bottom}`, stroke: "#e2e2e2" }, svg);
      text(X(value), box.bottom + 15, label, { "text-anchor": "middle" });
    }
    for (const [value, label] of yTicks) {
      if (value < Math.min(...view.y) || value > Math.max(...view.y)) continue;
      make("path", { d: `M${box.left} ${Y(value)}H${box.right}`, stroke: "#e2e2e2" }, svg);
      text(box.left - 6, Y(value) + 4, label, { "text-anchor": "end" });
    }
    text((box.left + box.right) / 2, H - 6, panel.x.label, { "text-anchor": "middle" });
    if (panel.y.label) {
      const y = (box.top + box.bottom) / 2;
      text(11, y, panel.y.label, { "text-anchor": "middle", transform: `rotate(-90 11 ${y})` });
    }
    const id = `clip-${clips++}`;
    make("rect", { x: box.left, y: box.top, width: box.right - box.left, height: box.bottom - box.top },
      make("clipPath", { id }, make("defs", {}, svg)));
    const group = make("g", { "clip-path": `url(#${id})` }, svg);
    for (const series of panel.series) if (!hidden.has(series.name)) drawSeries(group, series, X, Y, box);
    const plot = make("rect", { class: "plot", x: box.left, y: box.top, width: box.right - box.left, height: box.bottom - box.top, fill: "transparent", stroke: "#222", "stroke-width": .75 }, svg);
    const band = make("rect", { fill: "#0072b2", "fill-opacity": .12, visibility: "hidden", "pointer-events": "none" }, svg);
    const at = (event) => {
      const frame = svg.getBoundingClientRect(), factor = W / frame.width;
      return [(event.clientX - frame.left) * factor, (event.clientY - frame.top) * factor];
    };
    const redraw = () => svg.replaceWith(drawPanel(null, panel, hidden, isAlone, title));
    let from = null;
    plot.addEventListener("pointerdown", (event) => { from = at(event); plot.setPointerCapture(event.pointerId); });
    plot.addEventListener("pointermove", (event) => {
      const [x, y] = at(event);
      if (from) {
        const high = isNamed ? box.bottom - box.top : Math.abs(y - from[1]);
        for (const [key, value] of Object.entries({ x: Math.min(x, from[0]), y: isNamed ? box.top : Math.min(y, from[1]), width: Math.abs(x - from[0]), height: high, visibility: "visible" })) band.setAttribute(key, value);
      }
      const words = under(panel, hidden, X, Y, x, y);
      tip.style.display = words ? "block" : "none";
      if (words) {
        tip.textContent = words;
        tip.style.left = `${Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8)}px`;
        tip.style.top = `${Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 8)}px`;
      }
    });
    plot.addEventListener("pointerleave", () => { tip.style.display = "none"; });
    plot.addEventListener("pointerup", (event) => {
      const [x, y] = at(event), start = from;
      from = null;
      band.setAttribute("visibility", "hidden");
      if (!start || Math.abs(x - start[0]) < 8) return;
      const toX = inverse(panel.x, view.x, box.left, box.right), toY = inverse(panel.y, view.y, box.bottom, box.top);
      const sorted = (a, b) => a < b ? [a, b] : [b, a];
      const isFlat = isNamed || Math.abs(y - start[1]) < 8;
      panel.view = { x: sorted(toX(start[0]), toX(x)), y: isFlat ? view.y : sorted(toY(start[1]), toY(y)) };
      redraw();
    });
    plot.addEventListener("dblclick", () => { delete panel.view; redraw(); });
    if (host) host.append(svg);
    return svg;
  };

  const save = (host, key) => {
    [...host.querySelectorAll("svg")].forEach((svg, at) => {
      const text = new XMLSerializer().serializeToString(svg);
      const link = html("a", { href: URL.createObjectURL(new Blob([text], { type: "image/svg+xml" })), download: `${key}${at ? `-${at + 1}` : ""}.svg` });
      link.click();
      URL.revokeObjectURL(link.href);
    });
  };

  for (const host of document.querySelectorAll(".chart")) {
    const { key, figure } = figures[host.dataset.at];
    const hidden = new Set(), seen = new Map();
    for (const series of figure.panels.flatMap((panel) => panel.series)) if (!seen.has(series.name)) seen.set(series.name, series.colour);
    const legend = html("div", { className: "legend" }, host);
    const panels = html("div", { className: figure.columns > 1 ? "panels two" : "panels" }, host);
    const draw = () => {
      panels.replaceChildren();
      for (const panel of figure.panels) drawPanel(panels, panel, hidden, figure.panels.length === 1, figure.title);
    };
    for (const [name, colour] of seen) {
      const button = html("button", { type: "button" }, legend);
      button.setAttribute("aria-pressed", "true");
      html("i", {}, button).style.background = colour;
      html("span", { textContent: name }, button);
      button.addEventListener("click", () => {
        if (!hidden.delete(name)) hidden.add(name);
        button.setAttribute("aria-pressed", String(!hidden.has(name)));
        draw();
      });
    }
    const keep = html("button", { type: "button", className: "save", textContent: "as SVG" }, legend);
    keep.addEventListener("click", () => save(panels, key));
    draw();
  }
})();
