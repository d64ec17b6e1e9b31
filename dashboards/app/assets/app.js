"use strict";
(() => {
  // The state of the page is its address. Dash's own Location listens for this event.
  const go = (query, stay) => {
    history.pushState({}, "", query);
    dispatchEvent(new CustomEvent("_dashprivate_pushstate"));
    if (!stay) scrollTo(0, 0);
  };

  window.dash_clientside = Object.assign({}, window.dash_clientside, {
    stablesweep: {
      narrow: () => matchMedia("(max-width: 640px)").matches,
      entitle: (frame) => {
        if (frame) document.title = `${frame.title} · stablesweep`;
        return window.dash_clientside.no_update;
      },
    },
  });

  // A link was made for the state that the page had then. Followed before the page has caught up with another change, it
  // must change what it says and leave the rest as it is now.
  const onto = (now, base, then) => {
    const [current, from, to] = [now, base, then].map((text) => new URLSearchParams(text));
    if (!base || current.get("study") !== from.get("study") || to.get("study") !== from.get("study")) return then;
    for (const name of new Set([...from.keys(), ...to.keys()])) {
      const values = to.getAll(name);
      if (from.getAll(name).join("\n") === values.join("\n")) continue;
      current.delete(name);
      values.forEach((value) => current.append(name, value));
    }
    return `?${current}`;
  };

  addEventListener("click", (event) => {
    const link = event.target.closest && event.target.closest("a[data-go]");
    if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    go(onto(location.search, link.dataset.base, link.getAttribute("href")), link.dataset.go === "stay");
  });

  // While a box is being drawn no new look is begun: its answer would take the graph away from under the pointer.
  const looking = (on) => window.dash_clientside.set_props && window.dash_clientside.set_props("interval", { disabled: !on });
  let pressed = null;
  addEventListener("pointerdown", (event) => {
    pressed = event.target.closest && event.target.closest(".js-plotly-plot");
    if (pressed) looking(false);
  }, true);
  for (const name of ["pointerup", "pointercancel"])
    addEventListener(name, () => { if (pressed) looking(true); pressed = null; }, true);
  // An answer that was already on its way still takes it away, and Plotly's box then fails at every move.
  for (const name of ["mousemove", "touchmove"])
    addEventListener(name, (event) => { if (pressed && !pressed._fullLayout) event.stopImmediatePropagation(); }, true);

  const SYMBOLS = {
    circle: (c, x, y, r) => { c.moveTo(x + r, y); c.arc(x, y, r, 0, 2 * Math.PI); },
    square: (c, x, y, r) => c.rect(x - 0.9 * r, y - 0.9 * r, 1.8 * r, 1.8 * r),
    diamond: (c, x, y, r) => polygon(c, x, y, 1.3 * r, 4),
    "triangle-up": (c, x, y, r) => polygon(c, x, y, 1.3 * r, 3),
    pentagon: (c, x, y, r) => polygon(c, x, y, 1.2 * r, 5),
  };
  const polygon = (c, x, y, r, corners) => {
    for (let i = 0; i < corners; i++) {
      const angle = -Math.PI / 2 + (2 * Math.PI * i) / corners;
      c[i ? "lineTo" : "moveTo"](x + r * Math.cos(angle), y + r * Math.sin(angle));
    }
    c.closePath();
  };
  const cross = (c, x, y, r) => {
    c.moveTo(x - r, y - r); c.lineTo(x + r, y + r);
    c.moveTo(x - r, y + r); c.lineTo(x + r, y - r);
  };

  // Dots are drawn here and not by Plotly, which makes an SVG element of each: 30,000 of them take many seconds, and
  // WebGL is not everywhere and needs eval. Plotly still has the points: axes, hover, clicks and boxes are its own.
  const draw = (graph) => {
    const layout = graph._fullLayout, holder = graph.querySelector(".gl-container");
    if (!layout || !holder || !graph._fullData) return;
    let canvas = holder.querySelector("canvas.dots");
    if (!canvas) {
      canvas = document.createElement("canvas");
      canvas.className = "dots";
      holder.appendChild(canvas);
    }
    const scale = devicePixelRatio || 1;
    canvas.width = Math.round(layout.width * scale);
    canvas.height = Math.round(layout.height * scale);
    Object.assign(canvas.style, { width: `${layout.width}px`, height: `${layout.height}px` });
    const c = canvas.getContext("2d");
    c.scale(scale, scale);
    const selections = layout.selections || [];
    for (const trace of graph._fullData) {
      const dots = trace.meta && trace.meta.dots;
      if (!dots || trace.visible !== true || !trace.x) continue;
      const xaxis = layout[trace.xaxis.replace("x", "xaxis")], yaxis = layout[trace.yaxis.replace("y", "yaxis")];
      c.save();
      c.beginPath();
      c.rect(xaxis._offset - 5, yaxis._offset - 5, xaxis._length + 10, yaxis._length + 10);
      c.clip();
      const many = Math.min(1, 60 / Math.sqrt(trace.x.length + 1));
      const radius = (dots.size / 2) * (trace.x.length > 1000 ? 0.7 : 1);
      const stroked = dots.symbol === "x" || dots.symbol === "ring";
      c.globalAlpha = stroked ? 0.9 : 0.35 + 0.5 * many;
      c.strokeStyle = c.fillStyle = dots.colour;
      c.lineWidth = 1.6;
      for (let i = 0; i < trace.x.length; i++) {
        const x = xaxis._offset + xaxis.d2p(trace.x[i]), y = yaxis._offset + yaxis.d2p(trace.y[i]);
        if (!isFinite(x) || !isFinite(y)) continue;
        c.beginPath();
        if (dots.symbol === "x") cross(c, x, y, 0.8 * radius);
        else (SYMBOLS[dots.symbol] || SYMBOLS.circle)(c, x, y, radius);
        if (stroked) c.stroke(); else c.fill();
      }
      c.restore();
    }
  };

  const brush = (graph, event) => {
    const panels = graph.layout.meta && graph.layout.meta.panels;
    if (!panels) return;
    const values = new URLSearchParams(location.search);
    const before = values.toString();
    for (const name of ["brush", "x", "y", "page"]) values.delete(name);
    if (event && event.range) {
      const axis = Object.keys(event.range).find((name) => name[0] === "x");
      const other = Object.keys(event.range).find((name) => name[0] === "y");
      const text = (ends) => [...ends].map(Number).sort((a, b) => a - b).join("~");
      values.set("brush", panels[axis === "x" ? 0 : Number(axis.slice(1)) - 1]);
      values.set("x", text(event.range[axis]));
      values.set("y", text(event.range[other]));
    }
    if (values.toString() !== before) go(`?${values}`, true);
  };

  const open = (graph, event) => {
    const keys = graph.layout.meta && graph.layout.meta.keys;
    const place = event.points[0] && event.points[0].customdata;
    if (!keys || place === undefined) return;
    const values = new URLSearchParams(location.search);
    for (const name of ["status", "find", "sort", "page"]) values.delete(name);
    values.set("view", "trial");
    values.set("trial", keys[place]);
    go(`?${values}`, false);
  };

  // Dash makes a graph anew when what is around it changes; the reader's zoom outlives that as long as the figure's
  // revision is the same.
  const zooms = new Map();
  const remember = (graph, changes) => {
    const revision = graph._fullLayout.uirevision;
    const kept = zooms.get(revision) || {};
    for (const [name, value] of Object.entries(changes)) {
      const axis = /^([xy]axis\d*)\.(range|autorange)/.exec(name);
      if (!axis) continue;
      if (axis[2] === "autorange") delete kept[`${axis[1]}.range`];
      else kept[`${axis[1]}.range`] = [...graph._fullLayout[axis[1]].range];
    }
    zooms.set(revision, kept);
  };
  const restore = (graph) => {
    const kept = zooms.get(graph._fullLayout.uirevision);
    if (kept && Object.keys(kept).length && window.Plotly) window.Plotly.relayout(graph, { ...kept });
  };

  const adopt = (graph) => {
    if (graph.dataset.adopted || typeof graph.on !== "function" || !graph._fullLayout) return;
    graph.dataset.adopted = "yes";
    // Plotly's own handlers fail on a graph that Dash has just taken away from under the pointer.
    for (const name of ["mouseover", "mousemove", "mouseout", "mouseleave"])
      graph.addEventListener(name, (event) => { if (!graph._fullLayout) event.stopImmediatePropagation(); }, true);
    restore(graph);
    graph.on("plotly_relayout", (changes) => remember(graph, changes));
    for (const name of ["plotly_afterplot", "plotly_relayout", "plotly_relayouting"]) graph.on(name, () => draw(graph));
    graph.on("plotly_selected", (event) => brush(graph, event));
    graph.on("plotly_deselect", () => brush(graph, null));
    graph.on("plotly_click", (event) => open(graph, event));
    draw(graph);
  };
  new MutationObserver(() => document.querySelectorAll(".js-plotly-plot").forEach(adopt)).observe(
    document.documentElement,
    { subtree: true, childList: true, attributes: true, attributeFilter: ["class"] },
  );
})();
