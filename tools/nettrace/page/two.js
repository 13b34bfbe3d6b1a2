// What moves in the page of two machines: hover, keys, the pinned row, the filter.
(() => {
  'use strict';
  const pic = document.getElementById('pic'), foot = document.getElementById('foot'), find = document.getElementById('find');
  const all = [...pic.querySelectorAll('.r')], lines = [...pic.querySelectorAll('.j')];
  const packets = e => e.dataset.p ? e.dataset.p.split(' ') : [];
  const faulty = e => e.querySelector('[fill="var(--bad)"]') !== null;
  let at = -1, pinned = null;
  const rows = () => all.filter(e => !e.classList.contains('gone'));

  for(const e of all)
    e.setAttribute('aria-label', [...e.querySelectorAll('text')].map(t => t.textContent).join(', '));

  // Light up every row and line that shares a packet with this row.
  function light(e) {
    const mine = e ? packets(e) : [];
    pic.classList.toggle('dim', mine.length > 0);
    const want = new Set(mine);
    for(const r of all) // a frame has a packet on either machine: follow it to the other one
      if(mine.length && packets(r).some(p => mine.includes(p)))
        packets(r).forEach(p => want.add(p));
    for(const r of [...all, ...lines])
      r.classList.toggle('on', packets(r).some(p => want.has(p)));
    foot.textContent = e ? e.dataset.i : '';
    return want;
  }
  function go(e) {
    if(!e)
      return;
    all.forEach(r => r.classList.toggle('at', r === e));
    at = all.indexOf(e);
    e.scrollIntoView({block: 'nearest'});
    e.focus({preventScroll: true});
    light(pinned || e);
    foot.textContent = e.dataset.i;
  }
  function pin(e) {
    pinned = pinned === e ? null : e;
    all.forEach(r => r.classList.toggle('pin', r === pinned));
    light(pinned || e);
  }
  function step(by, fits) {
    const list = rows();
    let i = at < 0 ? (by > 0 ? -1 : list.length) : list.indexOf(all[at]);
    for(i += by; i >= 0 && i < list.length; i += by)
      if(fits(list[i]))
        return go(list[i]);
  }
  function filter(words) {
    let n = 0;
    const packet = /^[AB]#\d+$/.test(words);
    for(const e of all) {
      const has = !words || (packet ? packets(e).includes(words) : (e.getAttribute('aria-label') + ' ' + e.dataset.i).toLowerCase().includes(words.toLowerCase()));
      e.classList.toggle('gone', !has);
      n += has;
    }
    lines.forEach(l => l.classList.toggle('gone', Boolean(words)));
    document.getElementById('count').textContent = words ? `${n} of ${all.length} rows` : `${all.length} rows`;
  }
  function key(ev) {
    if(ev.target === find) {
      if(ev.key === 'Escape' || ev.key === 'Enter')
        find.blur();
      return;
    }
    if(ev.ctrlKey || ev.metaKey || ev.altKey)
      return;
    const mine = at < 0 ? new Set() : light(pinned || all[at]), same = e => packets(e).some(p => mine.has(p)), any = () => true;
    const list = rows();
    const does = {
      j: () => step(1, any), ArrowDown: () => step(1, any), k: () => step(-1, any), ArrowUp: () => step(-1, any),
      n: () => step(1, same), p: () => step(-1, same), d: () => step(1, faulty), g: () => go(list[0]), G: () => go(list[list.length - 1]),
      Enter: () => at >= 0 && pin(all[at]), f: () => find.focus(),
      Escape: () => { pinned = null; at = -1; all.forEach(r => r.classList.remove('pin', 'at')); find.value = ''; filter(''); light(null); },
    }[ev.key];
    if(does) {
      ev.preventDefault();
      does();
    }
  }
  pic.addEventListener('mouseover', ev => { const e = ev.target.closest('.r'); if(!pinned && e) light(e); });
  pic.addEventListener('mouseleave', () => { if(!pinned) light(at < 0 ? null : all[at]); });
  pic.addEventListener('click', ev => { const e = ev.target.closest('.r'); if(e) { go(e); pin(e); } });
  document.addEventListener('keydown', key);
  find.addEventListener('input', () => filter(find.value.trim()));

  // F.html#selftest: the page presses its own keys and says in <html> whether all was well.
  function selftest() {
    let n = 0, bad = '';
    const press = k => document.dispatchEvent(new KeyboardEvent('keydown', {key: k}));
    const is = (ok, what) => { n += 1; if(!ok && !bad) bad = what; };
    is(!misfit(), misfit());
    is(!pale().length, 'too pale: ' + pale().join('; '));
    press('g');
    is(at === 0 && all[0].classList.contains('at'), 'g goes to the first row');
    press('j'); press('k');
    is(at === 0, 'j and k come back');
    press('G');
    is(at === all.length - 1, 'G goes to the last row');
    const over = all.findIndex(e => packets(e).length === 2);
    is(over >= 0, 'a frame has a packet on either machine');
    if(over >= 0) {
      go(all[over]);
      const [a, b] = packets(all[over]);
      is(pic.classList.contains('dim') && all.some(e => e.classList.contains('on') && packets(e)[0] === b), 'the journey goes on at the other machine');
      press('n');
      is(at > over && packets(all[at]).some(p => p === a || p === b), 'n follows the packet');
      press('Enter');
      is(pinned === all[at] && foot.textContent.length > 20, 'Enter pins, the foot tells');
      press('Escape');
      is(pinned === null && !pic.classList.contains('dim') && foot.textContent === '', 'Esc goes back');
      find.value = a; find.dispatchEvent(new Event('input'));
      is(rows().length > 1 && rows().length < all.length && rows().every(e => packets(e).includes(a)), 'the filter finds a packet');
      find.value = ''; find.dispatchEvent(new Event('input'));
      is(rows().length === all.length, 'and lets it go');
    }
    if(all.some(faulty)) {
      press('g'); press('Escape'); press('d');
      is(at >= 0 && faulty(all[at]), 'd goes to a fault');
      press('Escape');
    }
    all[0].dispatchEvent(new MouseEvent('click', {bubbles: true}));
    is(pinned === all[0], 'a click pins');
    press('Escape');
    document.documentElement.dataset.selftest = bad ? 'FAILED: ' + bad : 'ok ' + n;
  }
  if(location.hash === '#selftest')
    selftest();
})();
