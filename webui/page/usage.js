// Usage: what calls cost, grouped by what one asks for. Every number, the total
// too, is the gateway's.
import { count, day, every, field, filter, firstCall, get, go, h, input, link, long, moment, money, now, numbers, questions, select, table, unclear } from './lib.js';

const groups = [['tag', 'tag'], ['model', 'model'], ['provider', 'provider'], ['key', 'key'], ['day', 'day'], ['hour', 'hour'],
  ['day,tag', 'day and tag'], ['day,model', 'day and model'], ['tag,model', 'tag and model'], ['tag,key', 'tag and key']];

// periods are spans of days that people ask for, by the gateway's clock and calendar. A
// span ends before the day that it names last.
function periods(zone) {
  const today = day(now(), zone);
  const plus = (d, n) => new Date(Date.parse(d) + n * 864e5).toISOString().slice(0, 10);
  const monday = plus(today, -((new Date(today).getUTCDay() + 6) % 7));
  const month = today.slice(0, 7);
  return [['Today', today], ['Yesterday', plus(today, -1), today], ['This week', monday], ['Last week', plus(monday, -7), monday], ['This month', month],
    ['Last month', plus(month + '-01', -1).slice(0, 7), month]];
}

export async function usage({ query }, page) {
  const by = query.by || 'tag';
  const asked = { from: query.from, to: query.to, tag: query.tag, model: query.model, provider: query.provider, key_id: query.key, group_by: by };
  const form = filter(query, [
    field('Group by', select('by', query, groups, 'tag')),
    field('From', input('from', query, { placeholder: 'this month', size: 12 })),
    field('To', input('to', query, { placeholder: 'now', size: 12 })),
    field('Tag', input('tag', query, { placeholder: 'all; team/**', size: 14 })),
    field('Model', input('model', query, { placeholder: 'all', size: 16 })),
    field('Provider', input('provider', query, { placeholder: 'all', size: 10 })),
    field('Key', input('key', query, { placeholder: 'all', size: 14 })),
  ], (q) => go(link('usage', '', q)));
  let report; let keys;
  try {
    [report, keys] = await Promise.all([get('usage', asked), by.split(',').includes('key') && page.may('admin') ? every('keys', 'keys') : []]);
  } catch (err) {
    return [h('h1', {}, 'Usage'), form, unclear(err)];
  }
  const names = new Map(keys.map((k) => [k.id, k.name]));
  const span = [h('p', { class: 'choices noprint' }, periods(report.time_zone).map(([name, from, to]) => h('a', { href: link('usage', '', { ...query, from, to }), 'aria-current': (query.from ?? '') === from && (query.to ?? '') === (to ?? '') && 'true' }, name))),
    h('p', { class: 'soft' }, `From ${moment(report.from)} to ${moment(report.to)}, in the time zone ${report.time_zone}.`)];
  if (report.rows.length === 0 || (report.rows.length === 1 && report.rows[0].requests === 0)) {
    const all = Object.keys(query).every((k) => k === 'by' || !query[k]);
    return [h('h1', {}, 'Usage'), form, span, all ? firstCall() : h('p', { class: 'empty' }, 'No call matches. Take a longer span, or fewer filters.')];
  }
  const dimensions = report.group_by;
  const columns = [...dimensions.map((d) => ({ title: d[0].toUpperCase() + d.slice(1), long: d !== 'day' && d !== 'hour' })),
    ...['Cost USD', 'Requests', 'Input', 'Cache read', 'Cache write', 'Output', 'Of it estimated', 'Unpriced calls'].map((title) => ({ title, n: true }))];
  const figures = (r) => [money(r.cost_usd), count(r.requests), count(r.input_tokens), count(r.cache_read_tokens), count(r.cache_write_tokens), count(r.output_tokens), money(r.estimated_cost_usd), count(r.unpriced_requests)];
  const name = (r, d) => {
    const value = r[{ key: 'key_id', day: 'time', hour: 'time' }[d] || d] ?? '';
    if (d === 'day') return value.slice(0, 10);
    if (d === 'hour') return value;
    if (d === 'provider') return h('a', { href: link('usage', '', { ...query, provider: value, by: 'model' }) }, long(value));
    return h('a', { href: link('calls', '', { [d]: value }) }, long((d === 'key' && names.get(value)) || value));
  };
  return [h('h1', {}, 'Usage'), form, span,
    numbers([['Cost', money(report.total.cost_usd)], ['Requests', count(report.total.requests)]]),
    table('Usage', columns, report.rows.map((r) => [...dimensions.map((d) => name(r, d)), ...figures(r)]),
      dimensions.length ? ['Total', ...dimensions.slice(1).map(() => ''), ...figures(report.total)] : undefined),
    h('p', { class: 'noprint' }, h('a', { href: '/ui/api/v1/usage' + questions({ ...asked, from: report.from, to: report.to, format: 'csv' }), download: 'usage.csv' }, 'These rows as CSV'))];
}
