"""Look and behaviour of the report's page. One decision: one column of dark text on white with the system's fonts; the
script only shows the card of the front's member under the pointer."""

STYLE = """
:root { color-scheme: light }
body { margin: 0; background: #fff; color: #1f2430; font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto,
  "DejaVu Sans", sans-serif }
main { max-width: 960px; margin: 0 auto; padding: 40px 24px 80px }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 8px; overflow-wrap: anywhere }
h2 { font-size: 22px; margin: 56px 0 12px; padding-top: 14px; border-top: 1px solid #dfe3e8 }
h3 { font-size: 18px; margin: 32px 0 8px }
h4 { font-size: 16px; margin: 0 0 2px }
p { margin: 8px 0 }
.lead { font-size: 19px; color: #3b4252 }
.q, dt, figcaption { color: #555b66 }
p.q, figcaption { font-size: 14px }
dl { display: grid; grid-template-columns: 130px 1fr; gap: 6px 20px; margin: 0 }
dl.do { grid-template-columns: 230px 1fr }
dd { margin: 0; overflow-wrap: anywhere }
code { font: 14px/1.5 ui-monospace, "DejaVu Sans Mono", monospace; background: #f4f6f8; padding: 2px 6px;
  border-radius: 4px; overflow-wrap: anywhere }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; margin: 12px 0 }
th, td { text-align: left; padding: 5px 18px 5px 0; border-bottom: 1px solid #e6e8eb; white-space: nowrap }
td:last-child { white-space: normal }
th { color: #555b66; font-weight: 600 }
.card { border: 1px solid #dfe3e8; border-radius: 8px; padding: 14px 16px; margin: 14px 0; break-inside: avoid }
.card .v { font-size: 14px; font-variant-numeric: tabular-nums; margin: 0 0 8px }
.two { display: flex; gap: 24px; align-items: flex-start }
.two > p { flex: 1; margin: 6px 0 }
.two figure { margin: 0; width: 210px; text-align: center }
svg.net { display: block; width: 100% }
.net text, .curve text { font: 11px system-ui, "DejaVu Sans", sans-serif; text-anchor: middle; fill: #222831 }
.net text.q, .curve text.q { fill: #555b66; font-size: 10px }
.curve text.s { font-size: 10px }
.strip { display: grid; grid-template-columns: repeat(6, 1fr); gap: 6px; margin-top: 8px }
.strip img { width: 100%; display: block; border-radius: 3px }
#pop { position: fixed; z-index: 9; width: 540px; background: #fff; border: 1px solid #c5cad1; border-radius: 8px;
  padding: 12px 14px; box-shadow: 0 6px 24px rgba(20, 30, 50, .18); pointer-events: none }
#pop p { font-size: 13px }
@media print { #pop { display: none } }
"""

SCRIPT = """
(function () {
  const draw = place => {
    if (place.dataset.drawn) return;
    place.dataset.drawn = 'yes';
    const figure = JSON.parse(document.getElementById(place.id + '-data').textContent);
    Plotly.newPlot(place, figure.data, figure.layout, {displaylogo: false, responsive: true});
  };
  const places = [...document.querySelectorAll('.plot')];
  const watch = new IntersectionObserver(seen => seen.forEach(s => { if (s.isIntersecting) draw(s.target); }),
    {rootMargin: '300px'});
  places.forEach(place => watch.observe(place));
  addEventListener('beforeprint', () => places.forEach(draw));

  const plot = document.getElementById('front'), pop = document.getElementById('pop');
  if (!plot) return;
  draw(plot);
  const card = e => document.getElementById('card-' + e.points[0].customdata);
  plot.on('plotly_hover', e => {
    const found = card(e);
    if (!found) return;
    pop.innerHTML = found.innerHTML;
    pop.hidden = false;
    const x = e.event.clientX, y = e.event.clientY, w = pop.offsetWidth, h = pop.offsetHeight;
    pop.style.left = Math.max(8, x + w + 32 < innerWidth ? x + 20 : x - w - 20) + 'px';
    pop.style.top = Math.max(8, Math.min(y - h / 2, innerHeight - h - 8)) + 'px';
  });
  plot.on('plotly_unhover', () => { pop.hidden = true; });
  plot.on('plotly_click', e => { const found = card(e); if (found) found.scrollIntoView({block: 'center'}); });
})();
"""
