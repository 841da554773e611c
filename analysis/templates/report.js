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
