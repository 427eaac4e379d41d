// Charts, drawn from the texts of REST. Lengths are computed here, and no number
// that is read: what a chart shows also stands beside it.
import { day, h, usd } from './lib.js';

const NS = 'http://www.w3.org/2000/svg';

export function s(tag, props, ...children) {
  const e = document.createElementNS(NS, tag);
  for (const [k, v] of Object.entries(props || {})) if (v !== undefined && v !== null && v !== false) e.setAttribute(k, v);
  e.append(...children.flat(Infinity).filter((c) => c !== undefined && c !== null && c !== false));
  return e;
}
const title = (text) => s('title', {}, text);

const part = (kind, amount, whole) => { const i = h('i', { class: kind }); i.style.width = `${100 * amount / whole}%`; return i; };
const mark = (kind, amount, whole, text) => { const i = h('b', { class: kind, title: text }); i.style.left = `${100 * amount / whole}%`; return i; };

// bar is a budget: spent solid, reserved hatched, a line at the cap and a tick at the
// forecast.
export function bar(b) {
  const [cap, spent, reserved, projected] = [b.cap, b.spent, b.reserved ?? 0, b.forecast?.projected ?? 0].map(Number);
  const whole = Math.max(cap, spent + reserved, Math.min(projected, 2 * Math.max(cap, spent))) * 1.02 || 1;
  const told = `${usd(b.spent)} spent${b.reserved ? ` and ${usd(b.reserved)} held` : ''} of ${usd(b.cap)}${b.forecast ? `, ${usd(b.forecast.projected)} at this pace` : ''}`;
  return h('div', { class: 'bar' + (cap && spent + reserved >= cap ? ' full' : ''), role: 'img', 'aria-label': told, title: told }, part('spent', spent, whole), part('reserved', reserved, whole),
    mark('cap', cap, whole, `cap ${usd(b.cap)}`), projected > 0 && mark('tick', Math.min(projected, whole / 1.02), whole, `${usd(b.forecast.projected)} at this pace`));
}

const W = 720, H = 200, LEFT = 4, BOTTOM = 24, TOP = 26;

// amount is usd with what is below a cent in small.
const amount = (text) => { const [, whole, rest] = /^(.*\.\d\d)(\d*)$/.exec(usd(text)) || [0, usd(text), '']; return [whole, rest && s('tspan', { class: 'small' }, rest)]; };

// days is a chart of cost by day: the parts of this period stacked, and the last one
// behind it as a line. parts: [{name, cost: Map(day, text)}], total and last: Map.
export function days(label, list, parts, total, last) {
  const top = Math.max(1e-12, ...[...total.values(), ...last.values()].map(Number));
  const wide = (W - LEFT) / list.length;
  const y = (v) => TOP + (H - BOTTOM - TOP) * (1 - v / top);
  const bars = list.map((day, i) => {
    let at = 0;
    const x = LEFT + i * wide + wide * 0.15;
    const piece = (kind, from, to, text) => to > from && s('rect', { class: kind, x, width: wide * 0.7, y: y(to), height: y(from) - y(to) }, title(text));
    const out = parts.map((p, k) => { const v = Number(p.cost.get(day) ?? 0); at += v; return piece(`s${k}`, at - v, at, `${p.name}: ${usd(p.cost.get(day))}`); });
    return [out, piece('rest', at, Number(total.get(day) ?? 0), `all tags: ${usd(total.get(day))}`)];
  });
  const highest = [...total.values(), ...last.values()].reduce((a, b) => (Number(b) > Number(a) ? b : a), '0.00');
  let line = '';
  list.forEach((day, i) => { if (last.has(day)) line += `${line ? 'L' : 'M'}${LEFT + i * wide},${y(Number(last.get(day)))}H${LEFT + (i + 1) * wide}`; });
  return s('svg', { class: 'chart', viewBox: `0 0 ${W} ${H}`, role: 'img', 'aria-label': label },
    s('line', { class: 'axis', x1: 0, x2: W, y1: H - BOTTOM, y2: H - BOTTOM }), bars, line && s('path', { class: 'last', d: line }), s('text', { x: LEFT, y: TOP - 8 }, 'up to ', amount(highest), ' a day'),
    list.map((day, i) => (i % Math.ceil(list.length / 11) === 0) && s('text', { x: LEFT + (i + 0.5) * wide, y: H - 5, 'text-anchor': 'middle' }, day)));
}

// curve is what a budget spent over its window, with its cap and its edits.
export function curve(told, points, b, changes) {
  const start = Date.parse(b.window_start ?? points[0].time);
  const end = b.resets_at ? Date.parse(b.resets_at) : Date.parse(points.at(-1).time);
  const cap = Number(b.cap);
  const top = Math.max(cap, ...points.map((p) => Number(p.spent)), Number(b.forecast?.projected ?? 0)) * 1.08 || 1;
  const x = (t) => LEFT + (W - 2 * LEFT) * Math.min(1, Math.max(0, (Date.parse(t) - start) / Math.max(1, end - start)));
  const y = (v) => Math.max(6, (H - BOTTOM) * (1 - Number(v) / top));
  const edits = changes.filter((c) => Date.parse(c.create_time) >= start && c.after).reverse(); // the first one first
  const caps = `M0,${y(edits[0]?.before?.cap ?? edits[0]?.after.cap ?? cap)}${edits.map((c) => `H${x(c.create_time).toFixed(1)}V${y(c.after.cap).toFixed(1)}`).join('')}H${W}`;
  const label = y(cap) < 18 ? y(cap) + 16 : y(cap) - 5;
  const path = points.map((p, i) => `${i ? 'L' : 'M'}${x(p.time).toFixed(1)},${y(p.spent).toFixed(1)}`).join('');
  const now = points.at(-1);
  return s('svg', { class: 'chart', viewBox: `0 0 ${W} ${H}`, role: 'img', 'aria-label': told },
    s('line', { class: 'axis', x1: 0, x2: W, y1: H - BOTTOM, y2: H - BOTTOM }),
    s('path', { class: 'area', d: `${path}V${H - BOTTOM}H${x(points[0].time).toFixed(1)}Z` }), s('path', { class: 'spentline', d: path }),
    b.forecast && s('line', { class: 'pace', x1: x(now.time), y1: y(now.spent), x2: W - LEFT, y2: y(b.forecast.projected) }, title(`${usd(b.forecast.projected)} at this pace`)),
    s('path', { class: 'capline', d: caps }, title(`cap ${usd(b.cap)}`)), s('text', { class: 'over', x: W - LEFT, y: label, 'text-anchor': 'end' }, 'cap ', amount(b.cap)),
    edits.map((c) => s('g', { class: 'edit' }, title(`${c.before ? usd(c.before.cap) + ' to ' : ''}${usd(c.after.cap)}: ${c.reason || 'no reason given'}`),
      s('line', { x1: x(c.create_time), x2: x(c.create_time), y1: 0, y2: H - BOTTOM }), s('circle', { cx: x(c.create_time), cy: y(c.after.cap), r: 4 }))),
    s('text', { x: LEFT, y: H - 5 }, day(b.window_start ?? points[0].time, b.time_zone)), s('text', { x: W - LEFT, y: H - 5, 'text-anchor': 'end' }, day(b.resets_at, b.time_zone) || 'now'));
}
