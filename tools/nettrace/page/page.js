// The page's script: draws rows as a ladder, follows packets, filters and folds.
//
// Its only input is the JSON in #data (html.c says what a row is).  Text from
// there is set as textContent alone, so it is never read as HTML.  Nothing is
// fetched.  #selftest in the address makes the page press its own keys and say
// in data-selftest whether all went as it should.
'use strict';
(() => {
const D = JSON.parse(document.getElementById('data').textContent);
const S = D.str;
const PICK = 1, DROP = 2, LOST = 4, STATE = 8, CALL = 16, CABLE = 32;
const PEER = 0, WIRE = 1, DRIVER = 2, NETIF = 3, STACK = 4, SOCKET = 5, PROCESS = 6;
const LANES = ['peer', 'wire', 'driver e1000', 'Ethernet, IP', 'TCP', 'socket', 'process'];
const WIDTH = 1240, X0 = 250, STEP = 150;
// By night they are others: page/colors.css.
const COLORS = [0, 1, 2, 3, 4, 5].map(n => `var(--p${n})`);
const RED = 'var(--red)', DARKRED = 'var(--bad)', INK = 'var(--ink)', SOFT = 'var(--soft)', FAINT = 'var(--faint)', ON_FILL = 'var(--onfill)';
const STATES = [['LISTEN', '#dee2e6'], ['SYN', '#ffe066'], ['ESTABLISHED', '#8ce99a'], ['FIN-WAIT', '#ffc078'],
  ['CLOSING', '#ffc078'], ['CLOSE-WAIT', '#fcc2d7'], ['LAST-ACK', '#fcc2d7'], ['TIME-WAIT', '#d0bfff']];
// Process lane: asleep, woken but without a CPU, running.
const ASLEEP = 0, READY = 1, RUNS = 2;

const laneX = lane => X0 + STEP * lane;
const el = id => document.getElementById(id);

// ---- data -----------------------------------------------------------------

// Rows with names, times added up.
function unpack() {
  let t = 0;
  return D.rows.map((a, i) => {
    t += a[0];
    const r = {i, t, lane: a[1], ev: a[2], pkt: a[3], flow: a[4], flags: a[5], label: S[a[6]], frame: a[2] === -1};
    if(r.frame)
      Object.assign(r, {more: S[a[7]], fate: S[a[8]], no: a[9], in: a[10] === 1, len: a[11], hex: a[12], sock: 0, pid: 0});
    else
      Object.assign(r, {fate: S[a[7]], sock: a[8], pid: a[9], cpu: a[10], no: a[11], at: a});
    r.e = D.ev[r.ev];
    r.name = r.frame ? 'frame' : r.e ? r.e[0] : 'lost';
    return r;
  });
}
const R = unpack();
const fieldAt = (r, k) => { const v = r.at[12 + k]; return Array.isArray(v) ? S[v[0]] : v; };
const field = (r, name) => { const k = r.e ? r.e.indexOf(name, 3) : -1; return k < 0 ? undefined : fieldAt(r, k - 3); };

const byPkt = new Map();
for(const r of R)
  if(r.pkt)
    byPkt.has(r.pkt) ? byPkt.get(r.pkt).push(r) : byPkt.set(r.pkt, [r]);
for(const list of byPkt.values()) // the same packet on the wire a second time
  list.filter(r => r.frame).forEach((r, i) => { r.again = i > 0; });

// Did a packet begin here and never reach the card?  It was dropped, or others carry its bytes.
const SENDS = R.some(r => r.name === 'e1000_tx');
function unsent(pkt) {
  const own = pkt ? byPkt.get(pkt) : [];
  return SENDS && own.length > 0 && !/_(in|rx)$/.test(own[0].name) && !own.some(r => r.frame || r.name.startsWith('e1000_'));
}

const flowName = f => { const [la, lp, ra, rp] = D.flows[f - 1]; return ra === '0.0.0.0' ? `listener ${la}:${lp}` : `${ra}:${rp} → xv6 ${la}:${lp}`; };

// What belongs to a connection: its packets and sockets, the processes that use these,
// and the stretch of rows from first to last.
function members(flow) {
  const m = {pkt: new Set(), sock: new Set(), pid: new Set(), first: Infinity, last: -1};
  for(const r of R)
    if(r.flow === flow) {
      if(r.pkt) m.pkt.add(r.pkt);
      if(r.sock) m.sock.add(r.sock);
      m.first = Math.min(m.first, r.i);
      m.last = Math.max(m.last, r.i);
    }
  for(const r of R)
    if(r.pid && m.sock.has(r.sock) && r.e && (r.e[1] === 'SYSCALL' || r.name === 'sock_read' || r.name === 'sock_accept'))
      m.pid.add(r.pid);
  return m;
}
function inFlow(r, m) {
  if(m.pkt.has(r.pkt) || (m.sock.has(r.sock) && r.e[1] !== 'CPU'))
    return true;
  if(r.i < m.first || r.i > m.last || r.frame)
    return false;
  if(r.flags & LOST)
    return true;
  if(r.name === 'wakeup' || r.name === 'switch')
    return m.pid.has(field(r, r.name === 'wakeup' ? 'who' : 'next'));
  return r.name === 'sleep' && m.pid.has(r.pid);
}

// ---- what is shown ----------------------------------------------------------

const F = {flow: D.pick ? D.pick : 0, pid: 0, layer: '', text: '', hidden: new Set()};
let rows = [];      // of R, after the filter
let disp = [];      // what the picture holds: a row or a fold each
let pids = [];      // whose sleep the process lane shows
let opened = [];    // folds that are open, oldest first
let folded = '';    // what to say about folds
let cur = 0, pinned = null, trueTime = false, view = null, zero = 0, scale = 1;
const color = new Map();

function filter() {
  const m = F.flow && F.flow !== D.pick ? members(F.flow) : null;
  const word = F.text.toLowerCase();
  const all = R.filter(r => (!F.flow || (m ? inFlow(r, m) : r.flags & PICK)) && (!F.pid || r.pid === F.pid) &&
    (!F.layer || (r.frame ? 'WIRE' : r.e ? r.e[1] : '') === F.layer) &&
    (!word || (r.name + ' ' + r.label + ' ' + (r.more || '') + ' #' + r.pkt).toLowerCase().includes(word)));
  rows = all.filter(r => !F.hidden.has(r.lane));
  pids = F.pid ? [F.pid] : F.flow ? (m ? [...m.pid] : D.pids) : [];
  color.clear();
  for(const r of rows)
    if(r.pkt && !color.has(r.pkt))
      color.set(r.pkt, COLORS[color.size % COLORS.length]);
  const first = all.find(r => r.frame) || all[0]; // lanes that are hidden do not move it
  zero = first ? first.t : 0;
  fold();
}

// Rows into units: a packet with what lies behind its first row and belongs to none.
function units() {
  const list = [], of = new Map();
  for(const r of rows) {
    let u = r.pkt ? of.get(r.pkt) : r.frame ? 0 : list[list.length - 1];
    if(!u) {
      u = {id: 'p' + list.length, pkt: r.pkt, rows: []};
      list.push(u);
      if(r.pkt)
        of.set(r.pkt, u);
    }
    u.rows.push(r);
  }
  return list;
}
function showUnit(u, out) {
  if(u.rows.length === 1)
    return void out.push({r: u.rows[0]});
  const open = opened.includes(u.id);
  out.push({fold: u, open, r: u.rows[0]});
  if(open)
    for(const r of u.rows)
      out.push({r});
}

// Fill disp: rows as they are while they are few, else packets, else stretches of time.
function fold() {
  folded = '';
  disp = [];
  if(rows.length <= D.max) {
    for(const r of rows)
      disp.push({r});
  } else {
    const list = units(), size = list.length <= D.max ? 1 : Math.ceil(list.length / 250);
    if(size === 1)
      for(const u of list)
        showUnit(u, disp);
    for(let i = 0; size > 1 && i < list.length; i += size) {
      const part = list.slice(i, i + size), u = {id: 't' + i, units: part, rows: part.flatMap(p => p.rows)};
      disp.push({fold: u, open: opened.includes(u.id), r: u.rows[0]});
      if(opened.includes(u.id))
        for(const p of part)
          showUnit(p, disp);
    }
    const never = list.filter(u => unsent(u.pkt)).length;
    folded = `${rows.length.toLocaleString('en')} rows of ${list.length.toLocaleString('en')} packets${never ? `, ${never} of them without a frame` : ''}: more than ${D.max}, so ` +
      (size > 1 ? `${size} packets fold into one row` : 'each packet folds into one row') +
      ' (▸). A click or Enter opens it; drops show on the fold.';
    if(disp.length > D.max && opened.length > 1) {
      opened.shift();
      return fold();
    }
  }
  cur = Math.min(cur, Math.max(0, disp.length - 1));
}

// ---- drawing ----------------------------------------------------------------

const NS = 'http://www.w3.org/2000/svg';
function svg(tag, at, parent, text) {
  const e = document.createElementNS(NS, tag);
  for(const k in at)
    e.setAttribute(k, at[k]);
  if(text !== undefined)
    e.textContent = text;
  if(parent)
    parent.appendChild(e);
  return e;
}
function html(tag, at, parent, text) {
  const e = document.createElement(tag);
  for(const k in at)
    e.setAttribute(k, at[k]);
  if(text !== undefined)
    e.textContent = text;
  if(parent)
    parent.appendChild(e);
  return e;
}
const us = ns => (Math.round(ns / 100) / 10).toFixed(1);
function span(ns) {
  return ns >= 1e9 ? (ns / 1e9).toFixed(2) + ' s' : ns >= 1e6 ? (ns / 1e6).toFixed(1) + ' ms' : us(ns) + ' µs';
}
const stateColor = s => (STATES.find(p => s.startsWith(p[0])) || ['', '#e9ecef'])[1];

// The dark captions over the lanes.
function heads(parent) {
  const s = svg('svg', {viewBox: `0 0 ${WIDTH} 34`, class: 'heads', 'aria-hidden': 'true'}, parent);
  svg('rect', {x: 478, y: 0, width: WIDTH - 482, height: 40, rx: 10, fill: 'var(--pale)'}, s);
  svg('text', {x: 118, y: 22, 'text-anchor': 'end', 'font-size': 13, fill: SOFT}, s, trueTime ? 'time' : 'time µs');
  if(!trueTime) {
    svg('text', {x: 176, y: 22, 'text-anchor': 'end', 'font-size': 12, fill: FAINT}, s, 'Δ µs');
    svg('text', {x: 214, y: 22, 'text-anchor': 'end', 'font-size': 13, fill: SOFT}, s, 'pkt');
  }
  LANES.forEach((name, i) => {
    const off = F.hidden.has(i);
    const half = i === PEER ? 33 : 58; // beside it the caption of the packets' numbers
    svg('rect', {x: laneX(i) - half, y: 4, width: 2 * half, height: 24, rx: 12, fill: off ? 'var(--capoff)' : 'var(--cap)'}, s);
    svg('text', {x: laneX(i), y: 21, 'text-anchor': 'middle', 'font-size': 13.5, 'font-weight': 600, fill: '#fff'}, s, name);
  });
}

// Text on a white plate; side -1 puts it left of x.
let pen = null;
function textWidth(text, size, bold) {
  pen = pen || document.createElement('canvas').getContext('2d');
  pen.font = `${bold ? 'bold ' : ''}${size}px ${getComputedStyle(document.body).fontFamily}`;
  return pen.measureText(text).width;
}
function plate(g, x, y, text, at) {
  let {size = 13, bold = false, fill = INK, side = 1, room = WIDTH - 6 - x} = at, t = text;
  let w = textWidth(t, size, bold);
  if(w > room) { // cut with an ellipsis; the whole text is in the detail
    t = t.slice(0, Math.max(3, Math.floor(t.length * room / w) - 1)) + '…';
    w = textWidth(t, size, bold);
  }
  const left = side > 0 ? x : side < 0 ? x - w : x - w / 2;
  svg('rect', {x: left - 3, y: y - size * .62 - 2, width: w + 6, height: size + 5, rx: 3, fill: 'var(--bg)', opacity: .92}, g);
  svg('text', {x: left, y: y + size * .34, 'font-size': size, 'font-weight': bold ? 700 : 400, fill}, g, t);
  return w;
}
function cross(g, x, y, size = 8) {
  svg('path', {d: `M${x - size} ${y - size}L${x + size} ${y + size}M${x - size} ${y + size}L${x + size} ${y - size}`,
    stroke: RED, 'stroke-width': 4, 'stroke-linecap': 'round'}, g);
}

// A frame: a slanted arrow, flags above, numbers below, payload to the right.
function drawFrame(g, r, y, c, small) {
  const a = laneX(PEER), b = laneX(WIRE), slope = small ? 5 : 9, y0 = r.in ? y - slope : y + slope;
  const half = r.flags & CABLE ? STEP * .4 : 0; // its way ended there
  const tip = r.in ? b - 5 - half : a + 1 + half, from = r.in ? a : b, ty = (r.in ? y : y0) - slope * half / STEP;
  svg('line', {x1: from, y1: r.in ? y0 : y, x2: tip, y2: ty, stroke: c, 'stroke-width': 2.2, 'stroke-dasharray': r.again ? '7 4' : 'none'}, g);
  const back = r.in ? -1 : 1, lean = slope / STEP;
  if(half)
    cross(g, tip, ty, 7);
  else
    svg('path', {d: `M${tip} ${ty}l${back * 11} ${-5 - 11 * lean}l0 10z`, fill: c}, g);
  if(!(r.flags & CABLE && r.in))
    svg('circle', {cx: b, cy: y, r: 4.5, fill: c}, g);
  const m = /^(\S+) (.*(?:seq|ack) .*)$/.exec(r.label);
  const mid = (y + y0) / 2, flags = m ? m[1] : r.label;
  plate(g, (a + b) / 2, mid - 11, r.again ? flags + ' again' : flags, {size: 13, bold: true, fill: c, side: 0, room: STEP + 60});
  if(m && !small)
    svg('text', {x: (a + b) / 2, y: mid + 15, 'text-anchor': 'middle', 'font-size': 11, fill: SOFT}, g, m[2].replace(/^(\d+) ack/, 'seq $1 ack'));
  if(r.flags & CABLE)
    plate(g, b + 14, y, r.fate, {bold: true, fill: DARKRED});
  else if(r.flags & DROP) {
    cross(g, b + 40, y);
    plate(g, b + 56, y, r.fate, {bold: true, fill: DARKRED});
  } else if(r.fate)
    plate(g, b + 14, y, r.fate, {fill: FAINT});
  else if(r.more)
    plate(g, b + 14, y, r.more, {size: 12, fill: SOFT, room: laneX(STACK) - 30 - b - 14});
}

// An event: a dot on its lane and what happened.
function drawEvent(g, r, y, c, label) {
  const x = laneX(r.lane), strong = r.flags & (STATE | CALL);
  if(r.flags & LOST) {
    svg('rect', {x: laneX(DRIVER) - 60, y: y - 11, width: laneX(PROCESS) - laneX(DRIVER) + 120, height: 22, fill: 'var(--lost)', stroke: RED, 'stroke-dasharray': '5 3'}, g);
    svg('text', {x: laneX(STACK), y: y + 5, 'text-anchor': 'middle', 'font-size': 13, 'font-weight': 700, fill: DARKRED}, g, r.label);
    return;
  }
  if(r.flags & DROP)
    cross(g, x, y);
  else
    svg('circle', {cx: x, cy: y, r: strong ? 5.5 : 4.5, fill: c, stroke: 'var(--bg)', 'stroke-width': 1}, g);
  if(!label)
    return;
  const fill = r.flags & DROP ? DARKRED : r.pkt ? c : INK, bold = !!(strong || r.flags & DROP);
  const text = r.label + (r.fate ? ': ' + r.fate : '');
  if(r.lane === PROCESS)
    plate(g, x - 14, y, text, {bold, fill, side: -1, room: trueTime ? STEP - 30 : 560});
  else
    plate(g, x + 13, y, text, trueTime ? {bold, fill, room: STEP - 30} : {bold, fill});
}

// A fold: what is inside, in one line.  A packet keeps its arrow.
function drawFold(g, d, y) {
  const u = d.fold, frames = u.rows.filter(r => r.frame), drops = u.rows.filter(r => r.flags & DROP).length;
  const last = u.rows[u.rows.length - 1], arrow = !u.units && frames.length;
  const c = u.units ? SOFT : color.get(u.pkt) || INK, x = arrow ? laneX(WIRE) + 16 : laneX(PEER) - 20, mark = d.open ? '▾ ' : '▸ ';
  const into = frames.filter(r => r.in).length, bytes = frames.reduce((a, r) => a + (parseInt(r.more, 10) || 0), 0);
  let text = `${u.rows.length} rows, ${span(last.t - u.rows[0].t)}`;
  const never = (u.units || [u]).filter(p => unsent(p.pkt)).length;
  if(u.units)
    text = `${u.units.length} packets, ${text}: ${into} in, ${frames.length - into} out, ${never ? never + ' without a frame, ' : ''}${bytes.toLocaleString('en')} bytes`;
  else if(arrow)
    text = frames[0].label.replace(/^\S+ (\d+) ack/, 'seq $1 ack').replace(/^SYN /, '') + (bytes ? `, ${bytes / frames.length} bytes` : '') +
      (frames.length > 1 ? `, sent ${frames.length} times` : '') + ': ' + text;
  else
    text = u.rows[0].label + ', ' + (never ? 'no frame of its own, ' : '') + text;
  text += u.rows.some(r => r.flags & LOST) ? ', events lost' : '';
  svg('rect', {x, y: y - 11, width: laneX(STACK) - 28 - x, height: 22, rx: 6, fill: d.open ? 'var(--open)' : 'var(--fold)'}, g);
  svg('text', {x: x + 10, y: y + 5, 'font-size': 13, fill: c}, g, mark + text);
  if(arrow)
    drawFrame(g, {...frames[0], more: '', flags: 0, fate: ''}, y, c, true);
  if(drops) {
    const at = x + 34 + textWidth(mark + text, 13, false);
    cross(g, at, y, 6);
    svg('text', {x: at + 14, y: y + 5, 'font-size': 13, 'font-weight': 700, fill: DARKRED}, g, `${drops} drop${drops > 1 ? 's' : ''}`);
  }
}

// State of the connection and of the process at each shown row: runs through the two
// lists beside the rows.
function* story() {
  const flows = new Map(), ports = new Map(), procs = new Map(), why = new Map();
  let a = 0, b = 0, owner = F.flow;
  const give = i => {
    for(; a < D.st.length && D.st[a][0] <= i; a++) {
      const [, f, s, port] = D.st[a];
      port ? ports.set(port, S[s]) : flows.set(f, S[s]);
    }
    for(; b < D.sl.length && D.sl[b][0] <= i; b++) {
      const [, pid, what, text] = D.sl[b];
      if(what === ASLEEP)
        why.set(pid, S[text]);
      procs.set(pid, what === READY && procs.get(pid) === RUNS ? RUNS : what);
    }
  };
  let i = yield null;
  for(;;) {
    give(i);
    if(!F.flow && R[i].flow)
      owner = R[i].flow;
    const st = owner ? flows.get(owner) || ports.get(D.flows[owner - 1][1]) || '' : '';
    const known = pids.filter(p => procs.has(p)), best = Math.max(-1, ...known.map(p => procs.get(p)));
    i = yield {state: st === 'CLOSED' ? '' : st, proc: best, why: best === ASLEEP ? why.get(known[0]) || 'asleep' : best === READY ? 'waits for a CPU' : ''};
  }
}

// Stretches of equal state between y positions: [{y0, y1, value, text}].
function bars(ys, end) {
  const stack = [], proc = [], s = story();
  s.next();
  const add = (list, y, value, text) => {
    const last = list[list.length - 1];
    if(last && last.value === value && last.text === text)
      return;
    if(last)
      last.y1 = y;
    list.push({y0: y, y1: end, value, text});
  };
  let at = -1;
  ys.forEach(([r, y]) => {
    if(r.i < at) // rows of an opened fold go back in time
      return;
    at = r.i;
    const v = s.next(r.i).value;
    add(stack, y, v.state, v.state);
    add(proc, y, v.proc, v.why.replace(/^(.*\(\)) sleeps$/, 'asleep in $1'));
  });
  return {stack: stack.filter(b => b.value), proc: proc.filter(b => b.value >= 0)};
}

// Lanes, the guest's box and the bars between two heights.
function background(s, y0, y1, b) {
  svg('rect', {x: 478, y: y0 - 20, width: WIDTH - 482, height: y1 - y0 + 40, fill: 'var(--box)', stroke: 'var(--edge)'}, s);
  LANES.forEach((_, i) => svg('line', {x1: laneX(i), x2: laneX(i), y1: y0, y2: y1, stroke: 'var(--lane)', 'stroke-width': 1.2}, s));
  const each = (list, x, fill) => {
    for(const p of list) {
      const a = Math.max(p.y0, y0), e = Math.min(p.y1, y1);
      if(e <= a)
        continue;
      svg('rect', {x: x - 6, y: a, width: 12, height: e - a, fill: fill(p), stroke: '#0002', 'stroke-width': .6}, s);
      const w = textWidth(p.text, 11, true);
      for(let at = a; p.text && e - at > w + 12; at += 420) // again on each screen
        svg('text', {transform: `translate(${x - 10} ${Math.min(at + w + 8, e - 4)}) rotate(-90)`, 'font-size': 11, 'font-weight': 600, fill: SOFT}, s, p.text);
    }
  };
  each(b.stack, laneX(STACK), p => stateColor(p.value));
  each(b.proc, laneX(PROCESS), p => p.value === ASLEEP ? 'url(#hatch)' : p.value === READY ? 'var(--ready)' : 'var(--runs)');
}
function hatch(parent) {
  const defs = svg('defs', {}, svg('svg', {width: 0, height: 0, style: 'position:absolute'}, parent));
  const p = svg('pattern', {id: 'hatch', width: 6, height: 6, patternUnits: 'userSpaceOnUse', patternTransform: 'rotate(45)'}, defs);
  svg('rect', {width: 6, height: 6, fill: 'var(--pale)'}, p);
  svg('line', {x1: 0, y1: 0, x2: 0, y2: 6, stroke: 'var(--line)', 'stroke-width': 3}, p);
}

// Row d at height y; h is the height a click may hit.
function drawRow(s, d, k, y, h, label, prev) {
  const r = d.r, c = r.pkt ? color.get(r.pkt) || INK : SOFT;
  const g = svg('g', {class: 'row', tabindex: -1, role: 'listitem', 'data-k': k, 'data-pkt': d.fold && d.fold.units ? 0 : r.pkt, 'data-row': r.i}, s);
  const say = d.fold ? `fold of ${d.fold.rows.length} rows` : `${r.name} ${r.label}`;
  g.setAttribute('aria-label', `${us(r.t - zero)} microseconds, ${r.pkt ? 'packet ' + r.pkt + ', ' : ''}${LANES[r.lane]}: ${say}${r.flags & DROP ? ', dropped' : ''}`);
  svg('rect', {class: 'back', x: 2, y: y - h / 2, width: WIDTH - 4, height: h}, g);
  if(!trueTime) {
    const t = us(r.t - zero);
    svg('text', {x: 34, y: y + 4, 'text-anchor': 'end', 'font-size': 10.5, fill: FAINT}, g, k + 1);
    svg('text', {class: 'time', x: 118, y: y + 4.5, 'text-anchor': 'end', 'font-size': t.length < 10 ? 13 : 10.5, fill: INK}, g, t.startsWith('-') ? t : '+' + t);
    if(prev !== undefined && r.t - prev < 1e6 && r.t >= prev)
      svg('text', {class: 'time', x: 176, y: y + 4.5, 'text-anchor': 'end', 'font-size': 11.5, fill: FAINT}, g, us(r.t - prev));
    if(r.pkt && !(d.fold && d.fold.units))
      svg('text', {x: 214, y: y + 4.5, 'text-anchor': 'end', 'font-size': 13, 'font-weight': 700, fill: c}, g, '#' + r.pkt);
  }
  if(d.fold)
    drawFold(g, d, y);
  else if(r.frame)
    drawFrame(g, r, y, c, trueTime);
  else
    drawEvent(g, r, y, c, label);
  return g;
}

// The journeys: one faint line per packet through its rows, drawn between two heights.
function paths(s, places, y0, y1) {
  for(const [pkt, list] of places) {
    const pts = [];
    list.forEach((p, i) => {
      const crosses = j => j >= 0 && j + 1 < list.length && list[j].y <= y1 && list[j + 1].y >= y0;
      if(crosses(i - 1) || crosses(i))
        pts.push(`${p.x},${p.y}`);
    });
    if(pts.length > 1)
      svg('polyline', {class: 'path', 'data-pkt': pkt, points: pts.join(' '), fill: 'none', stroke: color.get(pkt), 'stroke-width': 2.4, 'stroke-linejoin': 'round', opacity: .38}, s);
  }
}
function placesOf(list) {
  const m = new Map();
  for(const {d, y} of list)
    if(!d.fold && d.r.pkt) {
      if(!m.has(d.r.pkt))
        m.set(d.r.pkt, []);
      m.get(d.r.pkt).push({x: laneX(d.r.lane), y});
    }
  return m;
}

// A break in time: a long one says how long.
function drawGap(s, y, ns) {
  if(ns < 1e6)
    return void svg('text', {x: 118, y: y + 4, 'text-anchor': 'end', 'font-size': 15, fill: FAINT}, s, '~');
  svg('path', {d: `M${176 - 10 - textWidth(span(ns), 12.5, true) - 42} ${y}` + 'q5 -6 10 0t10 0'.repeat(2), fill: 'none', stroke: 'var(--line)'}, s);
  svg('line', {x1: 226, x2: WIDTH - 8, y1: y, y2: y, stroke: 'var(--line)', 'stroke-dasharray': '2 6'}, s);
  svg('text', {x: 176, y: y + 4, 'text-anchor': 'end', 'font-size': 12.5, fill: SOFT, 'font-weight': 600}, s, span(ns));
}

// Even time: rows at even steps, in pieces that a sheet of paper holds.
function drawEven(to) {
  const list = [], gaps = [];
  let y = 18, prev;
  disp.forEach((d, k) => {
    const gap = prev === undefined ? 0 : d.r.t - prev, tall = d.r.frame && !d.fold ? 50 : d.fold && !d.fold.units && d.fold.rows.some(r => r.frame) ? 36 : 26;
    if(gap > 1e5) {
      const h = gap >= 1e6 ? 26 : 14;
      gaps.push({y: y + h / 2, ns: gap});
      y += h;
    }
    list.push({d, k, y: y + tall / 2, h: tall, prev});
    y += tall;
    prev = d.fold && !d.open ? Math.max(...d.fold.rows.map(r => r.t)) : d.r.t;
  });
  const b = bars(list.filter(p => !p.d.fold || !p.d.open).map(p => [p.d.r, p.y]), y + 10), places = placesOf(list);
  for(let i = 0, top = 0, gi = 0; i < list.length;) {
    let e = i;
    const sheet = i ? 800 : 640; // the title stands on the first one
    while(e < list.length && (e === i || list[e].y + list[e].h / 2 - top < sheet))
      e++;
    const end = e === list.length ? y + 10 : list[e - 1].y + list[e - 1].h / 2;
    const chunk = html('div', {class: 'chunk', role: 'presentation'}, to);
    heads(chunk);
    const s = svg('svg', {viewBox: `0 ${top} ${WIDTH} ${end - top}`}, chunk);
    background(s, top, end, b);
    paths(s, places, top, end);
    for(; gi < gaps.length && gaps[gi].y < end; gi++)
      drawGap(s, gaps[gi].y, gaps[gi].ns);
    for(; i < e; i++)
      drawRow(s, list[i].d, list[i].k, list[i].y, list[i].h, true, list[i].prev);
    top = end;
  }
}

// True time: one screen, its rows where their times are; labels where there is room.
function drawTrue(to) {
  const H = Math.max(480, Math.min(1100, Math.round((innerHeight || 900) - 150)));
  if(!view)
    view = {t0: rows[0].t, t1: Math.max(rows[rows.length - 1].t, rows[0].t + 1000)};
  const at = t => 20 + (t - view.t0) / (view.t1 - view.t0) * (H - 40);
  const s = svg('svg', {viewBox: `0 0 ${WIDTH} ${H}`, class: 'pan', id: 'true'}, to);
  const all = rows.map(r => ({d: {r}, y: at(r.t)}));
  background(s, 0, H, bars(all.map(p => [p.d.r, p.y]), H));
  ticks(s, at);
  paths(s, placesOf(all), 0, H);
  const seen = [], room = new Map();
  disp = [];
  for(const p of all)
    if(p.y >= 0 && p.y <= H && seen.length < D.max)
      seen.push(p);
  for(const p of seen) {
    const key = p.d.r.frame ? WIRE : p.d.r.lane, free = p.y - (room.has(key) ? room.get(key) : -99) >= (p.d.r.frame ? 17 : 14);
    if(free)
      room.set(key, p.y);
    disp.push(p.d);
    if(!p.d.r.frame || free)
      drawRow(s, p.d, disp.length - 1, p.y, 13, free);
    else {
      const g = drawRow(s, {r: {...p.d.r, frame: false, label: ''}}, disp.length - 1, p.y, 6, false);
      svg('line', {x1: laneX(PEER), x2: laneX(WIRE), y1: p.d.r.in ? p.y - 5 : p.y + 5, y2: p.y, stroke: color.get(p.d.r.pkt) || INK, 'stroke-width': 1.4}, g);
    }
  }
  const inside = all.filter(p => p.y >= 0 && p.y <= H).length;
  folded = inside > seen.length ? `${inside} rows in this stretch, ${seen.length} drawn: zoom in with +.` : '';
}
function ticks(s, at) {
  let step = 1;
  while(step * 12 < view.t1 - view.t0)
    step *= String(step)[0] === '2' ? 2.5 : 2;
  for(let t = Math.ceil((view.t0 - zero) / step) * step; t + zero <= view.t1; t += step) {
    svg('line', {x1: 126, x2: WIDTH - 4, y1: at(t + zero), y2: at(t + zero), stroke: 'var(--edge)'}, s);
    svg('text', {class: 'time', x: 120, y: at(t + zero) + 4, 'text-anchor': 'end', 'font-size': 12.5, fill: SOFT}, s,
      (t < 0 ? '−' : '+') + (Math.abs(t) >= 1e6 ? (Math.abs(t) / 1e6).toFixed(2) + ' ms' : us(Math.abs(t)) + ' µs'));
  }
}

// ---- where each packet spent its time ------------------------------------------

const REACHED = {irq: '#adb5bd', wire: '#868e96', 2: '#66d9e8', 3: '#8ce99a', 4: '#ffe066', 5: '#d0bfff', 6: '#74c0fc'};
const WAITS = {
  'wire>irq': 'until the interrupt: the card, or the host', 'irq>driver': 'netd is woken and gets to run', 'wire>driver': 'until the driver looks',
  'driver>netif': 'frame to interface', 'netif>stack': 'Ethernet to IP', 'stack>stack': 'inside IP and TCP', 'netif>netif': 'inside the interface',
  'driver>driver': 'inside the driver', 'stack>socket': 'TCP to socket', 'socket>socket': 'queued at the socket',
  'socket>process': 'the process is woken, waits for a CPU', 'process>process': 'in the system call', 'process>socket': 'the process comes to read it',
  'socket>stack': 'the stack goes on after the wakeup', 'stack>netif': 'TCP, IP and the neighbour', 'netif>driver': 'to the descriptor ring',
  'wire>wire': 'until it is sent again', 'driver>wire': 'the card takes it'};
// Where these differ for a packet that the guest sends.
const WAITS_OUT = {'driver>stack': 'until it is sent again', 'socket>process': 'until the call returns', 'process>socket': 'into the socket', 'socket>stack': 'TCP makes a segment', 'process>stack': 'TCP makes a segment', 'wire>driver': 'the card says it is sent'};
// All other waits, by what they lead to.
const UNTIL = {irq: 'until the interrupt: the card, or the host', wire: 'until it is on the wire', driver: 'until the driver goes on', netif: 'until the interface has it',
  stack: 'until IP and TCP go on', socket: 'until the socket has it', process: 'the process is woken, waits for a CPU'};
const LNAME = ['peer', 'wire', 'driver', 'netif', 'stack', 'socket', 'process'];

// Points of a packet's journey, the interrupt and the wakened process among them.
function journey(pkt) {
  const own = byPkt.get(pkt), pts = own.map(r => ({t: r.t, n: LNAME[r.lane], i: r.i, name: r.name}));
  const rx = own.find(r => r.name === 'e1000_rx'), fr = own.find(r => r.frame && r.in);
  for(let i = rx && fr ? rx.i - 1 : -1; i > (fr ? fr.i : 0) && rx.i - i < 400; i--)
    if(R[i].name === 'e1000_intr') {
      pts.push({t: R[i].t, n: 'irq', i});
      break;
    }
  const wake = own.filter(r => r.name === 'wakeup').pop(), who = wake && field(wake, 'who');
  for(let i = wake ? wake.i + 1 : R.length; i < R.length && i - wake.i < 4000; i++)
    if(R[i].name === 'switch' && field(R[i], 'next') === who) {
      pts.push({t: R[i].t, n: 'process', i});
      break;
    }
  return {pts: pts.sort((a, b) => a.i - b.i), in: !!(fr || rx)};
}
function segments(j) {
  const out = [];
  for(let k = 1; k < j.pts.length; k++) {
    const a = j.pts[k - 1], b = j.pts[k], last = out[out.length - 1];
    const key = a.n + '>' + b.n, name = (a.name === 'arp_queue' && 'waits for the neighbour\'s MAC') || (!j.in && WAITS_OUT[key]) || WAITS[key] || UNTIL[b.n], ns = b.t - a.t;
    if(last && last.n === b.n && a.n === b.n) { // one piece, named after its longest part
      last.ns += ns;
      if(ns > last.most)
        Object.assign(last, {name, most: ns});
    } else
      out.push({n: b.n, name, ns, most: ns, done: !j.in && key === 'wire>driver'});
  }
  return out;
}
const segColor = g => g.done ? '#ced4da' : REACHED[g.n] || REACHED[LNAME.indexOf(g.n)] || '#e9ecef';

let barsShown = 60;
function drawWaits(to) {
  to.textContent = '';
  const ids = [...color.keys()], list = ids.slice(0, barsShown).map(pkt => ({pkt, j: journey(pkt)})).filter(w => w.j.pts.length > 1);
  if(!list.length)
    return;
  for(const w of list) {
    w.seg = segments(w.j);
    w.total = w.seg.reduce((a, g) => a + g.ns, 0);
  }
  const sorted = list.map(w => w.total).sort((a, b) => a - b), most = sorted[sorted.length - 1];
  const limit = Math.max(1, Math.min(most, 4 * sorted[Math.floor(sorted.length * .6)] || most)), X = 190, W = 700;
  html('h2', {}, to, 'Where each packet spent its time');
  html('p', {class: 'under'}, to, `One bar per packet, all on one scale; colour = the stage the time leads to; at the end the total${list.length <= 40 ? '; below, its waits by name, µs' : ' and the longest wait, by name'}.` +
    (limit < most ? ` Bars longer than ${span(limit)} are cut (//).` : '') + (ids.length > barsShown ? ` The first ${barsShown} of ${ids.length} packets.` : ''));
  const box = html('div', {class: 'wide'}, to);
  legend(box);
  const named = list.length <= 40, step = named ? 46 : 27, sheet = Math.floor(640 / step); // few: room for each wait's name
  for(let i = 0; i < list.length; i += sheet) {
    const part = list.slice(i, i + sheet), s = svg('svg', {viewBox: `0 0 ${WIDTH} ${part.length * step + 4}`}, html('div', {class: 'chunk'}, box));
    part.forEach((w, k) => drawBar(s, w, 4 + k * step, X, W, limit, named));
  }
  if(ids.length > barsShown) {
    const b = html('button', {type: 'button'}, to, 'show 200 more');
    b.onclick = () => { barsShown += 200; drawWaits(to); };
  }
}
function legend(to) {
  const s = svg('svg', {viewBox: `0 0 ${WIDTH} 26`, role: 'img', 'aria-label': 'legend'}, to);
  let x = 190;
  for(const [c, t] of [['#adb5bd', 'to the interrupt'], ['#66d9e8', 'driver'], ['#8ce99a', 'Ethernet interface'], ['#ffe066', 'IP, TCP'], ['#d0bfff', 'socket'], ['#74c0fc', 'process'], ['#868e96', 'wire'], ['#ced4da', 'sent, reported']]) {
    svg('rect', {x, y: 6, width: 16, height: 14, rx: 2, fill: c}, s);
    svg('text', {x: x + 21, y: 18, 'font-size': 13, fill: INK}, s, t);
    x += 38 + textWidth(t, 13, false);
  }
}
// A wait's name and how long it was, in the order they came; without those of less than a fiftieth.
const waitsOf = w => w.seg.filter(p => p.ns * 50 >= w.total && p.ns > 0).map(p => `${us(p.ns)} ${p.name}`);
function drawBar(s, w, y, X, W, limit, named) {
  const own = byPkt.get(w.pkt), f = own.find(r => r.frame) || own.find(r => r.name.startsWith('tcp_seg')) || own[0], c = color.get(w.pkt);
  const first = w.j.pts[0].n === 'wire', last = w.j.pts[w.j.pts.length - 1].n === 'wire';
  const g = svg('g', {class: 'row', 'data-pkt': w.pkt, 'aria-label': `packet ${w.pkt}: ${us(w.total)} microseconds`}, s);
  svg('rect', {class: 'back', x: 2, y, width: WIDTH - 4, height: named ? 45 : 26}, g);
  const name = `#${w.pkt} ${w.j.in ? 'rx' : 'tx'} ${f.frame ? f.label.replace(/ (\d+ ack|seq) .*/, '') : f.label}`;
  plate(g, X - 10, y + 13, name, {bold: true, fill: c, side: -1, room: 176});
  let x = X;
  for(const p of w.seg) {
    const full = p.ns / limit * W, width = Math.min(full, X + W - x);
    if(width <= 0)
      break;
    const e = svg('rect', {x, y: y + 3, width: Math.max(width, .4), height: 20, fill: segColor(p), stroke: 'var(--bg)', 'stroke-width': .7}, g);
    svg('title', {}, e, `${p.name}: ${us(p.ns)} µs`);
    if(width > textWidth(us(p.ns), 12, false) + 6)
      svg('text', {x: x + width / 2, y: y + 17.5, 'text-anchor': 'middle', 'font-size': 12, fill: ON_FILL, 'pointer-events': 'none'}, g, us(p.ns));
    x += width;
  }
  if(w.total > limit)
    svg('path', {d: `M${x - 9} ${y + 25}l8 -24m-2 24l8 -24`, stroke: INK, 'stroke-width': 2}, g);
  const worst = w.seg.reduce((a, b) => b.ns > a.ns ? b : a), pm = D.band && first !== last ? ` ±${D.band}` : '';
  const tw = plate(g, x + 12, y + 13, `${us(w.total)}${pm} µs`, {bold: true});
  if(named)
    plate(g, X, y + 33, waitsOf(w).join('  ·  '), {size: 11.5, fill: SOFT});
  else if(w.seg.length > 1)
    plate(g, x + 26 + tw, y + 13, `${us(worst.ns)}: ${worst.name}`, {size: 12, fill: FAINT});
}

// ---- following, pinning, moving ------------------------------------------------

const main = () => el('picture');
const rowOf = k => main().querySelector(`.row[data-k="${k}"]`);
function follow(pkt) {
  document.body.classList.toggle('follow', !!pkt);
  for(const e of document.querySelectorAll('.lit'))
    e.classList.remove('lit');
  if(pkt)
    for(const e of document.querySelectorAll(`[data-pkt="${pkt}"]`))
      e.classList.add('lit');
}
function select(k, show = true) {
  if(!disp.length)
    return;
  const old = main().querySelector('.row.cur');
  if(old) {
    old.classList.remove('cur');
    old.setAttribute('tabindex', -1);
  }
  cur = Math.max(0, Math.min(disp.length - 1, k));
  const g = rowOf(cur);
  g.classList.add('cur');
  g.setAttribute('tabindex', 0);
  if(show) {
    g.focus({preventScroll: true});
    g.scrollIntoView({block: 'center'});
  }
  if(pinned && show)
    pinned = disp[cur].r;
  detail();
}
function go(found) {
  found >= 0 ? select(found) : tell('There is none in this direction.');
}
function tell(text) {
  el('told').textContent = [text, folded, D.left ? `${D.left} rows of packets beyond the first 10,000 are not in this page: make one with --from and --to, or --flow.` : ''].filter(Boolean).join(' ');
}
// Next row from the current one, in a direction, for which test holds.
function seek(dir, test) {
  for(let k = cur + dir; k >= 0 && k < disp.length; k += dir)
    if(test(disp[k]))
      return k;
  return -1;
}

function bytes(r) {
  const out = [];
  for(let i = 0; i < r.hex.length; i += 32) {
    const part = r.hex.slice(i, i + 32).match(/../g) || [];
    const text = part.map(h => { const c = parseInt(h, 16); return c >= 32 && c < 127 ? String.fromCharCode(c) : '.'; }).join('');
    out.push((i / 2).toString(16).padStart(4, '0') + '  ' + part.join(' ').padEnd(49) + text);
  }
  return out.join('\n');
}
// The pinned row: all that is known of it.
function detail() {
  const box = el('detail'), r = pinned;
  box.hidden = !r;
  box.textContent = '';
  if(box.hidden)
    return;
  html('h3', {}, box, (r.pkt ? `#${r.pkt} ` : '') + (r.frame ? `frame ${r.no}: ` : r.name + ': ') + r.label);
  if(r.e)
    html('div', {class: 'under'}, box, r.e[2]);
  const t = html('table', {}, box), line = (k, v) => { const tr = html('tr', {}, t); html('td', {}, tr, k); html('td', {class: 'mono'}, tr, v); };
  line('time', `${us(r.t - zero)} µs` + (r.frame && D.band ? ` (±${D.band} against the kernel)` : ''));
  if(r.frame)
    line('length', `${r.len} bytes, ${r.in ? 'to' : 'from'} the guest`);
  else if(!(r.flags & LOST)) {
    line('recorded', `cpu ${r.cpu}, record ${r.no}${r.pid ? ', pid ' + r.pid : ''}${r.sock ? ', socket ' + r.sock : ''}`);
    if(r.e)
      r.e.slice(3).forEach((name, k) => line(name, fieldAt(r, k)));
  }
  if(r.fate)
    line('fate', r.fate);
  if(r.flow)
    line('connection', flowName(r.flow));
  links(r, box);
  if(r.frame)
    html('pre', {}, box, bytes(r) + (r.len > r.hex.length / 2 ? `\nthe first ${r.hex.length / 2} of ${r.len} bytes` : ''));
}
function links(r, box) {
  const say = (text, pkt) => {
    const b = html('button', {type: 'button'}, html('div', {}, box), text);
    b.onclick = () => go(disp.findIndex(d => d.r.pkt === pkt));
  };
  for(const [child, parent, ofChild, ofParent] of r.pkt ? D.link : []) {
    if(child === r.pkt)
      say(S[ofChild].replace('{}', '#' + parent), parent);
    if(parent === r.pkt)
      say(S[ofParent].replace('{}', '#' + child), child);
  }
}

// ---- the page --------------------------------------------------------------------

function draw() {
  const p = main();
  p.textContent = '';
  el('heads').textContent = '';
  document.body.dataset.mode = trueTime ? 'true' : 'even';
  if(!trueTime)
    fold();
  for(const e of [p, el('heads')])
    e.style.width = trueTime ? '' : `calc(var(--whole) * ${scale})`;
  heads(el('heads'));
  if(!rows.length)
    html('p', {class: 'under'}, p, 'Nothing to show: ' + (F.hidden.size ? 'lanes are hidden. 1 to 7 show them again, Esc shows all.' : 'the filter leaves no row.'));
  else if(trueTime)
    drawTrue(p);
  else
    drawEven(p);
  tell('');
  cur = Math.min(cur, Math.max(0, disp.length - 1));
  select(cur, false);
}
function refilter() {
  const keep = pinned || disp[cur] && disp[cur].r;
  opened = [];
  view = null;
  filter();
  cur = Math.max(0, disp.findIndex(d => d.r === keep));
  if(keep && !rows.includes(keep)) // the next one that is shown
    cur = Math.max(0, disp.findIndex(d => d.r.i >= keep.i));
  follow(0);
  draw();
  drawWaits(el('waits'));
}
function toggleTime() {
  const keep = disp[cur] && disp[cur].r;
  trueTime = !trueTime;
  view = null;
  if(trueTime && rows.length > 1 && keep) { // begin with some rows around the current one
    const i = Math.max(rows.indexOf(keep), rows.findIndex(r => r.t >= zero)); // not in a sleep before the first frame
    const a = rows[Math.max(rows.findIndex(r => r.t >= zero), i - 12)], b = rows[Math.min(rows.length - 1, i + 24)];
    view = {t0: a.t, t1: Math.max(b.t, a.t + 1000)};
  }
  draw();
  select(Math.max(0, disp.findIndex(d => d.r === keep)), false);
}
function zoom(by, mid) {
  if(!trueTime) {
    scale = Math.max(.5, Math.min(3, scale / by));
    return draw();
  }
  const keep = disp[cur] && disp[cur].r, m = mid !== undefined ? mid : keep ? keep.t : (view.t0 + view.t1) / 2;
  view = {t0: m - (m - view.t0) * by, t1: m + (view.t1 - m) * by};
  if(view.t1 - view.t0 < 1000)
    view.t1 = view.t0 + 1000;
  draw();
  select(Math.max(0, disp.findIndex(d => d.r === keep)), false);
}
function pan(part) {
  const by = (view.t1 - view.t0) * part;
  view = {t0: view.t0 + by, t1: view.t1 + by};
  draw();
}
// Enter, click: open a fold, else pin the row.
function act() {
  const d = disp[cur];
  if(!d)
    return;
  if(d.fold) {
    opened = opened.includes(d.fold.id) ? opened.filter(i => i !== d.fold.id) : [...opened, d.fold.id];
    draw();
    return select(Math.max(0, disp.findIndex(x => x.fold && x.fold.id === d.fold.id)));
  }
  pinned = d.r;
  follow(d.r.pkt);
  detail();
}
function back() {
  if(!el('help').hidden)
    el('help').hidden = true;
  else if(pinned) {
    pinned = null;
    follow(0);
    detail();
  } else if(F.text || F.layer || F.pid || F.hidden.size) {
    Object.assign(F, {text: '', layer: '', pid: 0});
    F.hidden.clear();
    controls();
    refilter();
  } else
    follow(0);
}
function key(e) {
  if(e.ctrlKey || e.metaKey || e.altKey)
    return;
  const typing = /^(INPUT|SELECT)$/.test(e.target.tagName || '');
  if(typing && e.key === 'Escape')
    e.target.blur();
  if(typing && e.key !== 'Escape')
    return;
  if(e.target.tagName === 'BUTTON' && (e.key === 'Enter' || e.key === ' '))
    return;
  const pkt = disp[cur] && disp[cur].r.pkt, same = d => pkt && d.r.pkt === pkt;
  const does = {
    j: () => go(seek(1, () => true)), k: () => go(seek(-1, () => true)), n: () => { follow(pkt); go(seek(1, same)); }, p: () => { follow(pkt); go(seek(-1, same)); },
    d: () => go(seek(1, d => d.r.flags & DROP || (d.fold && !d.open && d.fold.rows.some(r => r.flags & DROP)))),
    g: () => select(0), G: () => select(disp.length - 1), t: toggleTime, '+': () => zoom(1 / 1.5), '-': () => zoom(1.5),
    f: () => el('text').focus(), '?': () => { el('help').hidden = !el('help').hidden; }, Enter: act, Escape: back};
  Object.assign(does, {ArrowDown: does.j, ArrowUp: does.k, '=': does['+']});
  if(e.key >= '1' && e.key <= '7')
    does[e.key] = () => {
      const lane = +e.key - 1;
      F.hidden.has(lane) ? F.hidden.delete(lane) : F.hidden.add(lane);
      refilter();
    };
  if(!does[e.key])
    return;
  e.preventDefault();
  document.body.classList.add('moved');
  tell('');
  does[e.key]();
}

function mouse() {
  const rowAt = e => e.target.closest && e.target.closest('.row');
  document.addEventListener('mouseover', e => { const g = rowAt(e); if(g && !pinned) follow(+g.dataset.pkt); });
  document.addEventListener('mouseout', e => { if(rowAt(e) && !pinned) follow(0); });
  main().addEventListener('click', e => {
    const g = rowAt(e);
    if(g) {
      document.body.classList.add('moved');
      select(+g.dataset.k, false);
      act();
    }
  });
  el('waits').addEventListener('click', e => {
    const g = rowAt(e), k = g ? disp.findIndex(d => d.r.pkt === +g.dataset.pkt) : -1;
    if(k >= 0)
      select(k);
  });
  let from = null;
  main().addEventListener('wheel', e => {
    if(!trueTime || e.ctrlKey)
      return;
    e.preventDefault();
    const box = el('true').getBoundingClientRect(), part = (e.clientY - box.top) / (box.height || 1);
    zoom(e.deltaY < 0 ? 1 / 1.3 : 1.3, view.t0 + (view.t1 - view.t0) * part);
  }, {passive: false});
  main().addEventListener('mousedown', e => { if(trueTime) from = e.clientY; });
  document.addEventListener('mousemove', e => {
    if(from === null || Math.abs(e.clientY - from) < 4)
      return;
    const h = el('true').getBoundingClientRect().height || 1;
    pan((from - e.clientY) / h);
    from = e.clientY;
  });
  document.addEventListener('mouseup', () => { from = null; });
}

// The controls show what the filter is.
function controls() {
  const bar = el('bar');
  bar.textContent = '';
  const pick = (name, id, list, value, set) => {
    const s = html('select', {id}, html('label', {}, bar, name));
    for(const [v, t] of list)
      html('option', {value: v}, s, t);
    s.value = value;
    s.onchange = () => { set(s.value); refilter(); title(); };
  };
  const traffic = new Set(R.filter(r => r.frame || r.name.startsWith('tcp_seg')).map(r => r.flow));
  const flows = D.flows.map((_, i) => i + 1).filter(f => traffic.has(f)).slice(0, 500);
  pick('connection', 'flow', [[0, 'all rows'], ...flows.map(f => [f, flowName(f)])], F.flow, v => { F.flow = +v; });
  pick('pid', 'pid', [[0, 'any'], ...[...new Set(R.map(r => r.pid))].filter(Boolean).sort((a, b) => a - b).map(p => [p, p])], F.pid, v => { F.pid = +v; });
  pick('layer', 'layer', [['', 'any'], ...[...new Set(R.map(r => r.frame ? 'WIRE' : r.e ? r.e[1] : ''))].filter(Boolean).map(l => [l, l])], F.layer, v => { F.layer = v; });
  const t = html('input', {id: 'text', type: 'search', size: 14, placeholder: 'event, flag, #9'}, html('label', {}, bar, 'text'));
  t.value = F.text;
  t.oninput = () => { F.text = t.value; refilter(); };
  const button = (text, does) => { html('button', {type: 'button'}, bar, text).onclick = does; };
  button('even / true time (t)', toggleTime);
  button('keys (?)', () => { el('help').hidden = !el('help').hidden; });
}
function title() {
  const t = F.flow ? `TCP ${flowName(F.flow)}` : 'All connections';
  document.title = 'nettrace: ' + t;
  el('title').textContent = t;
  el('under').textContent = `One row per frame or event, in causal order; 0 = the first frame shown` +
    (D.band ? `; between wire and kernel ±${D.band} µs, clock ${D.clock}` : `; ${D.clock}`) + (D.cable ? `; ${D.cable} frame${D.cable > 1 ? 's' : ''} lost on the cable` : '') + '.\n' + D.summary.trim();
}
const KEYS = [['j k ↓ ↑', 'next, previous row'], ['n p', 'next, previous row of the same packet'], ['d', 'next drop'], ['Enter, click', 'pin a row: fields, bytes, links; open or close a fold'],
  ['hover', 'follow one packet'], ['t', 'even or true time'], ['+ − wheel', 'zoom (in true time; drag moves)'], ['f', 'filter: connection, pid, layer, text'], ['1 … 7', 'hide or show a lane'], ['g G', 'first, last row'], ['Esc', 'back'], ['?', 'this help']];

function build() {
  const b = document.body;
  hatch(b);
  for(const [tag, id] of [['h1', 'title'], ['p', 'under'], ['div', 'bar'], ['div', 'told'], ['div', 'ladder'], ['aside', 'detail'], ['section', 'waits'], ['div', 'help']])
    html(tag, {id}, b);
  html('div', {id: 'heads'}, el('ladder'));
  html('div', {id: 'picture'}, el('ladder'));
  el('under').className = 'under';
  el('told').className = 'told';
  el('told').setAttribute('role', 'status');
  el('picture').setAttribute('role', 'list');
  el('picture').setAttribute('aria-label', 'rows in causal order');
  el('detail').hidden = el('help').hidden = true;
  html('h3', {}, el('help'), 'Keys');
  const t = html('table', {}, el('help'));
  for(const [k, what] of KEYS) {
    const tr = html('tr', {}, t);
    html('kbd', {}, html('td', {}, tr), k);
    html('td', {}, tr, what);
  }
  controls();
  title();
  filter();
  draw();
  drawWaits(el('waits'));
  mouse();
  document.addEventListener('keydown', key);
}

// ---- the page drives itself --------------------------------------------------------

function selftest() {
  let n = 0;
  const is = (what, name) => { n++; if(!what) throw new Error(name); };
  const press = (k, target = document.activeElement || document.body) => target.dispatchEvent(new KeyboardEvent('keydown', {key: k, bubbles: true, cancelable: true}));
  const move = (type, e, at = {}) => e.dispatchEvent(new MouseEvent(type, {bubbles: true, cancelable: true, ...at}));
  const shown = () => main().querySelectorAll('.row').length;
  is(shown() === disp.length && disp.length > 0, 'one element per row');
  is(folded || disp.length === rows.length, 'no fold unless it is said');
  is(disp.length <= D.max + 1000, 'not more rows than allowed');
  const fits = what => is(!misfit(), `${what}: ${misfit()}`);
  fits('the page');
  is(!pale().length, 'too pale: ' + pale().join('; '));
  press('g', document.body); is(cur === 0, 'g');
  press('j'); is(cur === Math.min(1, disp.length - 1) && document.activeElement === rowOf(cur), 'j moves and focuses');
  press('ArrowUp'); is(cur === 0, 'arrow up');
  press('G'); is(cur === disp.length - 1, 'G');
  press('g');
  const f = disp.findIndex(d => d.fold);
  if(f >= 0) {
    const before = disp.length;
    select(f); press('Enter'); is(disp.length > before, 'Enter opens a fold');
    press('Enter'); is(disp.length === before, 'and closes it');
    move('click', rowOf(f)); is(disp.length > before, 'a click opens it');
  }
  const k = disp.findIndex(d => !d.fold && d.r.pkt && byPkt.get(d.r.pkt).filter(r => rows.includes(r)).length > 1);
  if(k >= 0) {
    const pkt = disp[k].r.pkt;
    select(k); press('n'); is(cur > k && disp[cur].r.pkt === pkt, 'n stays with the packet');
    press('p'); is(cur === k, 'p goes back');
    move('mouseover', rowOf(k)); is(document.body.classList.contains('follow') && rowOf(k).classList.contains('lit'), 'hover follows');
    is([...document.querySelectorAll('.lit')].every(e => +e.dataset.pkt === pkt), 'and lights only this packet');
    move('mouseout', rowOf(k)); is(!document.body.classList.contains('follow'), 'and ends');
    press('Enter'); is(!el('detail').hidden && el('detail').textContent.includes('#' + pkt), 'Enter pins'); fits('with what is pinned');
    const cell = [...el('detail').querySelectorAll('td, pre')].find(e => e.getBoundingClientRect().right > el('detail').getBoundingClientRect().right);
    is(!cell || cell.tagName === 'PRE', `nothing pinned is cut: ${cell && cell.textContent}`);
    for(const e of [el('detail'), rowOf(k)])
      is(!pale(e, 2).length, 'too pale, pinned: ' + pale(e, 2).join('; '));
    press('Escape'); is(el('detail').hidden, 'Escape unpins');
    move('click', rowOf(k)); is(!el('detail').hidden, 'a click pins');
    const said = el('detail').textContent;
    for(const key of '1234567') {
      press(key, document.body);
      is(el('detail').textContent === said, 'a pinned row stays, hidden or not');
    }
    is(!rows.length && main().textContent.includes('Esc'), 'without lanes: how to get them back');
    for(const key of '1234567')
      press(key, document.body);
    is(el('detail').textContent === said && disp[cur].r.pkt === pkt, 'and with them again');
    press('Escape', document.body);
  }
  for(const bar of el('waits').querySelectorAll('.row')) {
    const waits = segments(journey(+bar.dataset.pkt)), most = waits.reduce((a, b) => b.ns > a.ns ? b : a);
    is(waits.every(p => p.name), 'each wait has a name');
    is(waits.length < 2 || !most.ns || bar.textContent.includes(`${us(most.ns)}`) && bar.textContent.includes(most.name.slice(0, 8)), `the longest wait of #${bar.dataset.pkt} is named: ${bar.textContent}`);
  }
  press('g'); press('d');
  is(!rows.some(r => r.flags & DROP) || disp[cur].r.flags & DROP || disp[cur].fold, 'd finds a drop');
  press('t'); is(document.body.dataset.mode === 'true' && el('true'), 't');
  const wide = view.t1 - view.t0;
  press('+'); is(wide <= 1000 || view.t1 - view.t0 < wide, '+');
  press('-'); press('-'); is(view.t1 - view.t0 > wide, '-');
  main().dispatchEvent(new WheelEvent('wheel', {deltaY: -1, bubbles: true, cancelable: true}));
  const t0 = view.t0;
  move('mousedown', el('true'), {clientY: 300}); move('mousemove', el('true'), {clientY: 200}); move('mouseup', el('true')); is(view.t0 > t0, 'drag');
  press('t'); is(document.body.dataset.mode === 'even', 't again');
  press('f', document.body); is(document.activeElement === el('text'), 'f');
  const all = rows.length, word = rows.find(r => !r.frame) || rows[0];
  el('text').value = word.name; el('text').dispatchEvent(new Event('input'));
  is(rows.length && rows.length <= all && rows.every(r => (r.name + r.label).includes(word.name)), 'a word filters');
  press('Escape', document.body); is(rows.length === all, 'Escape ends the filter');
  const lane = rows[0].lane;
  press(String(lane + 1), document.body); is(rows.every(r => r.lane !== lane), 'a digit hides a lane');
  press(String(lane + 1), document.body); is(rows.length === all, 'and shows it');
  press('?', document.body); is(!el('help').hidden, '?'); fits('with the help'); press('Escape', document.body); is(el('help').hidden, 'Escape closes the help');
  el('flow').value = 0; el('flow').dispatchEvent(new Event('change')); is(rows.length === R.length, 'all rows');
  el('flow').value = D.pick; el('flow').dispatchEvent(new Event('change')); is(rows.length === all, 'one connection');
  is(![...document.querySelectorAll('*')].some(e => [...e.attributes].some(a => /^on/i.test(a.name))), 'no handler came from text');
  is(document.scripts.length === 2 && !document.querySelector('img,iframe,object,embed,link,a,form,base'), 'no element came from text');
  is(performance.getEntriesByType('resource').length === 0, 'nothing was requested');
  return n;
}

build();
if(location.hash === '#selftest') {
  try {
    document.documentElement.dataset.selftest = 'ok ' + selftest();
  } catch(e) {
    document.documentElement.dataset.selftest = 'failed: ' + (e.stack || e);
  }
}
})();
