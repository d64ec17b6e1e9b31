"use strict";
(() => {
  const narrow = window.innerWidth < 640;
  // On a narrow screen the legend is one column, and panels in a row would be slivers: put them one below the other.
  const fit = ({ data, layout }) => {
    const legend = 20 + 28 * data.filter((trace) => trace.name && trace.showlegend !== false).length;
    const numbers = Object.keys(layout).filter((name) => /^xaxis\d*$/.test(name)).map((name) => name.slice(5));
    layout.margin = { ...layout.margin, l: 48, r: 4 };
    layout.legend = { ...layout.legend, font: { size: 11 }, itemwidth: 30 };
    layout.height = 360 + legend;
    if (numbers.length < 2) return;
    const title = layout.yaxis.title;
    layout.height = 60 + 280 * numbers.length + legend;
    const gap = 0.28 / numbers.length;
    const height = (1 - gap * (numbers.length - 1)) / numbers.length;
    numbers.forEach((number, place) => {
      const top = 1 - place * (height + gap);
      layout[`xaxis${number}`].domain = [0, 1];
      Object.assign(layout[`yaxis${number}`], { domain: [Math.max(top - height, 0), top], showticklabels: true, title });
    });
  };
  const figures = [...document.querySelectorAll(".figure")];
  for (const element of figures) {
    const figure = JSON.parse(document.getElementById(`${element.id}-data`).textContent);
    if (narrow) fit(figure);
    Plotly.newPlot(element, figure.data, figure.layout, { displayModeBar: false, responsive: true });
  }
  // A page of paper is narrower than most windows, and Plotly keeps the width in pixels.
  addEventListener("beforeprint", () => figures.forEach((element) => Plotly.relayout(element, { width: 680 })));
  addEventListener("afterprint", () => figures.forEach((element) => Plotly.relayout(element, { width: null, autosize: true })));
})();
