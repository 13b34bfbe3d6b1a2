// What the tests of both pages ask of them; in the page before its own script.
'use strict';
// A colour as [red, green, blue, how much of it covers].
const paint = c => { const v = (c.match(/[\d.]+/g) || [0, 0, 0, 0]).map(Number); return v.length < 3 ? [0, 0, 0, 0] : v.length < 4 ? [...v, 1] : v; };
// What a text stands on: its own rim, or what is drawn under it, uppermost first, mixed.
function ground(e) {
  const own = getComputedStyle(e), layers = [];
  if(own.paintOrder.startsWith('stroke') && paint(own.stroke)[3])
    return paint(own.stroke);
  const b = e.tagName === 'text' && !e.getAttribute('transform') ? e.getBBox() : null;
  const x = b && b.x + b.width / 2, y = b && b.y + b.height / 2;
  for(let at = e; b && at.tagName !== 'svg'; at = at.parentElement)
    for(let u = at.previousElementSibling; u; u = u.previousElementSibling) {
      const f = u.tagName === 'rect' ? u.getBBox() : null;
      if(f && x >= f.x && x <= f.x + f.width && y >= f.y && y <= f.y + f.height) {
        const style = getComputedStyle(u), [r, g, bl, a] = paint(style.fill);
        layers.push([r, g, bl, a * style.opacity * style.fillOpacity]);
      }
    }
  for(; e; e = e.parentElement)
    layers.push(paint(getComputedStyle(e).backgroundColor));
  return layers.reverse().reduce((under, l) => under.map((v, i) => v + (l[i] - v) * l[3]), [255, 255, 255]).map(Math.round);
}
// Texts whose contrast to their ground is below 4.5, with the figure; or that too few were looked at.
function pale(root = document.body, least = 5) {
  const light = c => c.slice(0, 3).map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4).reduce((a, v, i) => a + v * [.2126, .7152, .0722][i], 0);
  const out = [], seen = new Set();
  for(const e of root.querySelectorAll('*:not(script)')) {
    if(![...e.childNodes].some(c => c.nodeType === 3 && c.data.trim()) || !e.getClientRects().length || e.closest('defs,option,title'))
      continue;
    const style = getComputedStyle(e), fore = paint(e.closest('svg') ? style.fill : style.color), back = ground(e), pair = fore + ':' + back;
    if(seen.has(pair))
      continue;
    seen.add(pair);
    const [a, b] = [light(fore), light(back)].sort((x, y) => y - x), c = (a + .05) / (b + .05);
    if(!(c >= 4.5))
      out.push(`${e.textContent.slice(0, 30)}: ${fore.slice(0, 3)} on ${back}, ${c.toFixed(2)}`);
  }
  return seen.size < least ? out.concat(seen.size + ' pairs') : out;
}
// Is the page wider than its window, or a picture so small that its texts cannot be read?  In words.
function misfit() {
  const wide = document.documentElement.scrollWidth;
  const small = [...document.querySelectorAll('svg text')].filter(e => e.getClientRects().length).map(e => parseFloat(getComputedStyle(e).fontSize) * e.ownerSVGElement.getScreenCTM().a).sort((a, b) => a - b)[0];
  document.documentElement.dataset.seen = `${innerWidth} ${getComputedStyle(document.body).backgroundColor}`;
  return wide > innerWidth ? `${wide} wide in a window of ${innerWidth}` : small < 8 ? `a text of ${small.toFixed(1)} pixels` : '';
}

