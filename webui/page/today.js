// Today: where the month stands. Every number is the gateway's.
import { bar, days } from './charts.js';
import { count, day, every, firstCall, get, h, link, long, moment, money, numbers, pressure, table, target } from './lib.js';
import { missing } from './status.js';

const words = ['no', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten', 'eleven', 'twelve'];
const many = (n) => `${words[n] ?? count(n)} budget${n === 1 ? '' : 's'}`;

// sentence is what somebody would say who was asked.
function sentence(o) {
  const parts = [];
  if (o.budgets === 0) parts.push('no tag has a cap');
  if (o.budgets_full) parts.push(`${many(o.budgets_full)} ${o.budgets_full === 1 ? 'has' : 'have'} used up ${o.budgets_full === 1 ? 'its' : 'their'} cap`);
  if (o.budgets_filling) parts.push(`${many(o.budgets_filling)} ${o.budgets_filling === 1 ? 'reaches its cap, at this pace on' : 'reach their cap, at this pace the first on'} ${day(o.next_full_at, o.time_zone)}`);
  if (o.budgets && !o.budgets_full && !o.budgets_filling) parts.push('no budget comes near its cap at this pace');
  return [money(o.spent), o.cap && [' of ', money(o.cap)], ` this month; ${parts.join('; ')}.`];
}

// before is the month before, YYYY-MM.
function before(month) {
  const [y, m] = month.split('-').map(Number);
  return m === 1 ? `${y - 1}-12` : `${y}-${String(m - 1).padStart(2, '0')}`;
}

const byDay = (report) => new Map(report.rows.map((r) => [r.time.slice(8, 10), r.cost_usd])); // the server's days

async function cost(month) {
  const [tags, total, last] = await Promise.all([
    get('usage/by-tag', { month, limit: 5 }), get('usage', { from: month, group_by: 'day' }), get('usage', { from: before(month), to: month, group_by: 'day' }).catch(() => ({ rows: [] }))]);
  const parts = await Promise.all(tags.map(async ({ tag }) => ({ name: tag, cost: byDay(await get('usage', { from: month, group_by: 'day', tag })) })));
  const [all, old] = [byDay(total), byDay(last)];
  const list = Array.from({ length: 31 }, (_, i) => String(i + 1).padStart(2, '0')).filter((d) => d < '31' || old.has(d) || all.has(d));
  const names = parts.map((p, i) => h('li', {}, h('i', { class: `key s${i}` }), h('a', { href: link('usage', '', { tag: p.name, by: 'day' }) }, p.name)));
  return [h('h2', {}, 'Cost by tag and day'),
    days(`Cost by day of ${month}, the five costliest tags apart, and of the month before as a line`, list, parts, all, old),
    h('ul', { class: 'legend' }, names, h('li', {}, h('i', { class: 'key rest' }), h('a', { href: link('usage', '', { by: 'day,tag' }) }, 'other tags')), h('li', {}, h('i', { class: 'key last' }), h('a', { href: link('usage', '', { from: before(month), to: month, by: 'day' }) }, 'all tags, the month before'))),
    h('details', {}, h('summary', {}, 'The same as a table'), table('Cost by day', [{ title: 'Day' }, ...parts.map((p) => ({ title: long(p.name), n: true })), { title: 'All tags', n: true }, { title: 'The month before', n: true }],
      list.filter((d) => all.has(d) || old.has(d)).map((d) => [d, ...parts.map((p) => money(p.cost.get(d))), money(all.get(d)), money(old.get(d))])))];
}

function pressed(all) {
  if (all.length === 0) {
    return h('div', { class: 'empty' }, h('p', {}, 'No tag has a cap yet. This gives one to a tag and all below it:'), h('pre', { tabindex: '0' }, "aigateway budgets set --tag 'team/**' --monthly 500.00"));
  }
  const first = [...all].sort((a, b) => pressure(b) - pressure(a)).slice(0, 10);
  return [table('Budgets under pressure', [{ title: 'Budget', long: true }, { title: 'Spent and held' }, { title: 'Spent', n: true }, { title: 'Cap', n: true }, { title: 'At this pace', n: true }, { title: 'Full on' }, { title: 'Starts anew' }],
    first.map((b) => [h('a', { href: link('budgets', b.id) }, long(`${target(b)}, ${b.period}`)), bar(b), money(b.spent), money(b.cap), b.forecast ? money(b.forecast.projected) : 'too early', b.remaining === '0.00' ? h('span', { class: 'bad' }, 'used up') : b.forecast?.full_at ? h('span', { class: 'bad' }, day(b.forecast.full_at, b.time_zone)) : '', day(b.resets_at, b.time_zone) || 'never'])),
    all.length > first.length && h('p', {}, h('a', { href: link('budgets', '', { order: 'pressure' }) }, `All ${count(all.length)} budgets`))];
}

function refused(r, all) {
  if (r.rows.length === 0) return h('p', { class: 'empty' }, 'No call was refused this month.');
  const name = new Map(all.map((b) => [b.id, target(b)]));
  const columns = (what) => [{ title: what, long: true }, { title: 'Calls', n: true }, { title: 'Different', n: true }, { title: 'Kept from being spent', n: true }];
  const figures = (x) => [count(x.calls), count(x.distinct_calls), money(x.kept)];
  return [table('Refusals by reason', columns('Reason'), r.reasons.map((x) => [h('a', { href: link('calls', '', { state: 'refused' }) }, long(x.reason)), ...figures(x)]), ['Total', ...figures(r.total)]),
    h('details', {}, h('summary', {}, 'By budget'), table('Refusals by budget', [{ title: 'Budget', long: true }, ...columns('Reason')],
      r.rows.map((x) => [x.budget_id ? h('a', { href: link('budgets', x.budget_id) }, long(name.get(x.budget_id) ?? 'deleted')) : 'none', x.reason, ...figures(x)]))),
    h('p', { class: 'soft' }, 'What a cap kept from being spent is what the different calls could have cost, at most; the same call by the same key within ten minutes counts once.')];
}

export async function today(_, page) {
  if (!page.may('usage')) return [h('h1', {}, 'Today'), h('p', { class: 'empty' }, 'A key with the scope usage sees what was spent. This one may see ', h('a', { href: link('budgets') }, 'budgets'), '.')];
  const [o, all] = await Promise.all([get('overview'), every('budgets', 'budgets')]);
  const month = o.from.slice(0, 7);
  const [chart, r] = await Promise.all([cost(month), get('refusals', { from: month })]);
  page.live(() => page.show(true), 5000);
  const fresh = o.spent === '0.00' && o.running_calls === 0 && o.refused_calls === 0;
  return [h('h1', {}, 'Today'), h('p', { class: 'sentence' }, sentence(o)), missing(o.unreachable),
    numbers([['Spent', h('a', { href: link('usage') }, money(o.spent))], [`Reserved by ${count(o.running_calls)} running call${o.running_calls === 1 ? '' : 's'}`, h('a', { href: link('calls', '', { state: 'running' }) }, money(o.reserved))],
      ['Projected, by a straight line', o.projected ? money(o.projected) : 'too early'], ['Kept from being spent', h('a', { href: link('calls', '', { state: 'refused' }) }, money(o.kept))]]),
    fresh ? firstCall() : null, h('h2', {}, 'Budgets, those nearest to their cap first'), pressed(all), fresh ? null : chart,
    h('h2', {}, 'Refused'), refused(r, all),
    h('p', { class: 'soft' }, `From ${moment(o.from)} to ${moment(o.to)}, in the time zone ${o.time_zone}.`)];
}
