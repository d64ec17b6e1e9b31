"use strict";
(() => {
  const LEGEND_ROW = 25;
  const LEGEND_MARK = 54;
  const NARROW = 640;
  const PAPER = 680;
  const numbers = (layout, letter) =>
    Object.keys(layout).filter((name) => new RegExp(`^${letter}axis\\d*$`).test(name)).map((name) => name.slice(5));
  const entries = ({ data, layout }) =>
    layout.showlegend ? data.filter((trace) => trace.name && trace.showlegend !== false).length : 0;
  // Plotly lets a legend that needs more rows grow over the plot, so the figure's height follows its width.
  const legendHeight = (figure, width) => {
    const columns = Math.max(Math.floor((width - 80) / ((figure.layout.legend?.entrywidth || 100) + LEGEND_MARK)), 1);
    return LEGEND_ROW * Math.ceil(entries(figure) / columns);
  };
  const heightFor = (figure, width) => (figure.layout.meta?.plot_height || 440) + legendHeight(figure, width);

  // On a narrow screen the legend is one column, and panels in a row would be slivers: put them one below the other.
  const stack = (figure) => {
    const { layout } = figure;
    const panels = numbers(layout, "x");
    layout.margin = { ...layout.margin, l: 52, r: layout.coloraxis ? 64 : 8 };
    layout.legend = { ...layout.legend, font: { size: 11 }, itemwidth: 30, entrywidth: 1000 };
    const legend = 20 + 22 * entries(figure);
    layout.height = (panels.length < 2 ? 380 : 60 + 300 * panels.length) + legend;
    if (panels.length < 2) return;
    // Titles of the vertical axes stand at the first panel of a row alone.
    const titles = panels.map((number) => layout[`yaxis${number}`].title);
    const gap = 0.3 / panels.length;
    const height = (1 - gap * (panels.length - 1)) / panels.length;
    panels.forEach((number, place) => {
      const top = 1 - place * (height + gap);
      const own = layout[`yaxis${number}`];
      const title = own.title?.text ? own.title : titles.slice(0, place + 1).reverse().find((one) => one?.text);
      layout[`xaxis${number}`].domain = [0, 1];
      Object.assign(own, { domain: [Math.max(top - height, 0), top], showticklabels: true, title });
    });
  };

  const config = { displayModeBar: false, responsive: true };
  const elements = [...document.querySelectorAll(".figure")];
  // Always from the page's own data: a figure that was stacked for a narrow window must come out whole on paper.
  const figureFor = (element, paper) => {
    const figure = JSON.parse(document.getElementById(`${element.id}-data`).textContent);
    element.data?.forEach((trace, place) => { figure.data[place].visible = trace.visible; });
    if (paper) Object.assign(figure.layout, { width: PAPER, height: 0.85 * heightFor(figure, PAPER) });
    else if (window.innerWidth < NARROW) stack(figure);
    else figure.layout.height = heightFor(figure, element.clientWidth);
    return figure;
  };
  const draw = (element, paper) => {
    const { data, layout } = figureFor(element, paper);
    Plotly.react(element, data, layout, config);
  };
  elements.forEach((element) => draw(element, false));

  // A page of paper is narrower than most windows, Plotly keeps the width in pixels, and what is folded is not printed.
  const folded = [];
  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details:not([open])")) {
      details.open = true;
      folded.push(details);
    }
    elements.forEach((element) => draw(element, true));
  });
  addEventListener("afterprint", () => {
    folded.splice(0).forEach((details) => { details.open = false; });
    elements.forEach((element) => draw(element, false));
  });
})();
