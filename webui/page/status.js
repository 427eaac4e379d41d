// Health and Books: whether the gateway works, and whether its sums can be trusted.
import { at, count, facts, get, h, link, moment, money, table } from './lib.js';

const good = (ok, yes, no) => h('span', { class: ok ? 'good' : 'bad' }, ok ? '✓ ' + yes : '✗ ' + no);

const parts = { stopping: 'process', ledger: 'ledger', spool: 'access log read to its end', envoy: 'Envoy', envoy_config: 'configuration of Envoy', config_file: 'configuration file' };

// size shows bytes for people.
function size(bytes) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let n = bytes; let i = 0;
  while (n >= 1024 && i < units.length - 1) { n /= 1024; i++; }
  return `${i ? n.toFixed(1) : n} ${units[i]}`;
}

// gateways are those that share a store.
function gateways(replicas) {
  if (!replicas?.length) return null;
  const configs = new Set(replicas.filter((r) => r.state === 'live').map((r) => r.config));
  const ago = (ms) => (ms < 10000 ? `${count(ms)} ms ago` : ms < 120000 ? `${count(Math.round(ms / 1000))} s ago` : `${count(Math.round(ms / 60000))} min ago`);
  const state = (r) => (r.health ? good(r.health.ready, r.state, `${r.state}, serves no calls`) : h('span', { class: r.state === 'left' ? 'soft' : 'bad' }, r.state === 'left' ? 'left' : r.state === 'live' ? '✗ does not answer' : `✗ ${r.state || 'unknown'}`));
  return [h('h2', {}, 'Gateways that share the store'),
    table('Gateways', [{ title: 'Gateway' }, { title: 'State' }, { title: 'Seen' }, { title: 'Lent to it', n: true }, { title: 'Usage told' }, { title: 'Budgets and keys' }, { title: 'Program' }, { title: 'Configuration' }, { title: 'Books' }, { title: 'Id' }],
      replicas.map((r) => [r.name + (r.asked ? ' (this one)' : ''), state(r), ago(r.silent_ms), money(r.leased), r.usage_time ? ago(r.usage_lag_ms) : 'nothing yet',
        r.rules_behind > 0 ? h('span', { class: 'bad' }, `version ${count(r.rules_version)}, ${count(r.rules_behind)} behind`) : `version ${count(r.rules_version)}`, r.program,
        h('code', {}, r.config.slice(0, 8)), r.health ? (r.health.books_checked_at ? good(r.health.books_mismatches === 0, 'agree', `${count(r.health.books_mismatches)} differ`) : 'not checked yet') : '', h('code', {}, r.id)])),
    configs.size > 1 && h('p', { class: 'bad' }, 'Their configuration files differ.'),
    h('p', { class: 'soft' }, 'What is below is of the gateway that was asked, and providers of all that answered.')];
}

// missing says whose part is not in what is shown.
export const missing = (ids) => (ids?.length ? h('p', { class: 'bad' }, ids.includes('store') ? 'The store does not answer: what other gateways know is missing here.' : `Missing here is what ${ids.join(', ')} would say: no answer in time.`) : null);

export async function health(_, page) {
  if (!page.may('usage')) return [h('h1', {}, 'Health'), h('p', { class: 'empty' }, 'A key with the scope usage is needed.')];
  const s = await get('health');
  page.every(5000, async () => page.show(true));
  return [h('h1', {}, 'Health'), h('p', { class: 'sentence' }, good(s.ready, 'Calls are served.', 'Calls are not served.')),
    missing(s.unreachable), gateways(s.replicas),
    h('h2', {}, 'Parts'), table('Parts', [{ title: 'Part' }, { title: 'State' }, { title: 'What to look at', text: true }], s.conditions.map((c) => [parts[c.name] || c.name.replaceAll('_', ' '), good(c.ready, c.warning ? 'works, see there' : 'works', 'does not work'), c.message || c.warning])),
    h('h2', {}, 'Providers, of the last minute or two'),
    s.providers.length ? table('Providers', [{ title: 'Provider' }, { title: 'Calls', n: true }, { title: 'Failed', n: true }, { title: 'Mean time', n: true }, { title: 'The last failure' }],
      s.providers.map((p) => [h('a', { href: link('usage', '', { provider: p.provider, by: 'model' }) }, p.provider), count(p.calls), h('span', { class: p.faults > 0 && 'bad' }, count(p.faults)), p.mean_ms !== undefined ? `${count(p.mean_ms)} ms` : 'none ended', p.last_fault.replaceAll('_', ' ') || 'none']))
      : h('p', { class: 'empty' }, 'No call has ended since the gateway started.'),
    h('h2', {}, 'Prices'), facts([['Checked', s.prices_checked_at ? `${s.prices_checked_at.slice(0, 10)}, ${count(s.prices_age_days)} days ago` : 'unknown'], ['List', h('code', {}, s.catalog_version.slice(0, 12))]]),
    s.unpriced_models.length ? table('Models without a price', [{ title: 'Model', long: true }, { title: 'Calls without a price this month', n: true }], s.unpriced_models.map((m) => [h('a', { href: link('calls', '', { model: m.model }) }, m.model), count(m.calls)]))
      : h('p', { class: 'soft' }, 'Every call of this month had a price.'),
    h('h2', {}, 'Machine'), facts([['Clock', `${count(s.clock_ahead_ms)} ms ahead of the time that windows go by`], ['Database', size(s.database_bytes)], ['Free disk', `${size(s.disk_free_bytes)}, ${s.disk_full_days > 3650 ? 'for ten years and more' : `for ${count(s.disk_full_days)} days`} at the growth of the last day`]])];
}

// bills is theirs beside ours, by day.
function bills(all) {
  const how = h('div', { class: 'empty' }, h('p', {}, all.month ? 'This compares another month with what the provider billed, and keeps it here; what differs can be booked from there:' : 'No provider’s bill was imported yet. This compares a month with what the provider billed and keeps it here; what differs can be booked from there:'),
    h('pre', { tabindex: '0' }, 'aigateway reconcile --provider openai --month 2026-04 -f costs.json'));
  const title = h('h2', {}, 'The provider’s own books');
  if (!all.month) return [title, how];
  const columns = (first) => [...first.map((t) => ({ title: t })), ...['They billed', 'We recorded', 'Difference', 'Corrected', 'Still open'].map((t) => ({ title: t, n: true }))];
  const figures = (r) => [money(r.billed_usd), money(r.recorded_usd), money(r.difference_usd), money(r.corrected_usd), h('span', { class: r.open_usd === '0.00' ? 'good' : 'bad' }, money(r.open_usd))];
  const apart = all.providers.filter((p) => p.open_usd !== '0.00').map((p) => p.provider);
  return [title, h('p', {}, good(apart.length === 0, `The books of ${all.month} tie with every bill.`, `The books of ${all.month} and the bill differ: ${apart.join(', ')}.`)),
    all.months.length > 1 && h('p', { class: 'noprint' }, 'Months: ', all.months.map((m, i) => [i > 0 && ', ', m === all.month ? m : h('a', { href: link('books', '', { month: m }) }, m)])),
    table('Bills', [...columns(['Provider']), { title: 'Imported, UTC' }, { title: 'By', long: true }], all.providers.map((p) => [h('a', { href: link('usage', '', { from: all.month, provider: p.provider, by: 'day' }) }, p.provider), ...figures(p), at(p.import_time), p.actor])),
    h('details', {}, h('summary', {}, 'Day by day'), table('Bills by day', columns(['Day', 'Provider']), all.rows.map((r) => [r.day, r.provider, ...figures(r)]))),
    h('p', { class: 'soft' }, `Days are of ${all.time_zone}, as the provider has them. A call that ran over midnight may be on the next day there: look at the whole month first.`), how];
}

export async function books({ query }, page) {
  if (!page.may('usage')) return [h('h1', {}, 'Books'), h('p', { class: 'empty' }, 'A key with the scope usage is needed.')];
  const [b, all] = await Promise.all([get('books'), get('bills', { month: query.month })]);
  return [h('h1', {}, 'Books'),
    h('p', { class: 'sentence' }, b.checked_at ? good(b.mismatches === 0, `All totals agreed with their rows at ${moment(b.checked_at)}.`, `${count(b.mismatches)} totals differed from their rows at ${moment(b.checked_at)}; run aigateway ledger check.`) : 'The totals have not been compared with their rows since the gateway started; that is done a minute after it, and every hour.'),
    missing(b.unreachable), bills(all),
    h('h2', {}, 'Corrections'),
    b.corrections.length ? table('Corrections', [{ title: 'When, UTC' }, { title: 'Of', long: true }, { title: 'USD', n: true }, { title: 'Why', text: true }, { title: 'Who', long: true }], b.corrections.map((c) => [at(c.create_time), c.subject, money(c.amount), c.reason, c.actor]))
      : h('p', { class: 'empty' }, 'Nothing was corrected.'),
    h('h2', {}, 'Head of the chain'), h('p', {}, h('code', { class: 'wrap' }, b.head)),
    h('p', { class: 'soft' }, 'It covers every settled call, correction and change. Note it elsewhere; later ', h('code', {}, 'aigateway ledger verify --expect'), ' proves with it that nothing was altered.'),
    h('h2', {}, 'Statements'), h('div', { class: 'empty' }, h('p', {}, 'What a tag cost in a month, signed, with the head of the chain in it:'), h('pre', { tabindex: '0' }, `aigateway statement export --month ${all.month || '2026-04'} --tag TAG > statement.json`))];
}
