// Calls: each by itself, as they end, and one as a timeline.
import { at, count, facts, field, filter, firstCall, get, go, h, input, link, moment, money, select, table, target, unclear } from './lib.js';
import { missing } from './status.js';

const states = [['', 'all'], ['running', 'running'], ['settled', 'settled'], ['expired', 'expired'], ['refused', 'refused']];
const columns = [{ title: 'Decided, UTC' }, { title: 'State' }, { title: 'Why', long: true }, { title: 'Tag', long: true }, { title: 'Model', long: true }, { title: 'Cost USD', n: true }, { title: 'Bound USD', n: true }, { title: 'Status', n: true }, { title: 'ms', n: true }, { title: 'Request' }];

const why = (c) => (c.state === 'refused' ? c.reason + (c.repeats ? ` (+${count(c.repeats)})` : '') : c.basis);

const row = (c) => [c.request_id ? h('a', { href: link('calls', c.request_id) }, at(c.decide_time)) : at(c.decide_time), h('span', { class: c.state === 'refused' && 'bad' }, c.state), why(c), c.tag, c.model, money(c.cost_usd), money(c.bound_usd),
  c.provider_status ?? '', count(c.latency_ms), c.request_id.slice(0, 8)];

export async function calls({ part, query }, page) {
  if (part) return one(part, page);
  const asked = { tag: query.tag, key: query.key, model: query.model, state: query.state, since: query.since, page_size: 100 };
  const form = filter(query, [
    field('State', select('state', query, states)),
    field('Tag', input('tag', query, { placeholder: 'all; team/**', size: 14 })),
    field('Model', input('model', query, { placeholder: 'all', size: 16 })),
    field('Key', input('key', query, { placeholder: 'all', size: 14 })),
    field('Since', input('since', query, { placeholder: '2026-04-20', size: 12 })),
  ], (q) => go(link('calls', '', q)));
  let answer;
  try { answer = await get('calls', asked); } catch (err) { return [h('h1', {}, 'Calls'), form, unclear(err)]; }
  const shown = [...answer.calls];
  const body = h('div', {});
  const draw = () => body.replaceChildren(...(shown.length ? [table('Calls', columns, shown.map(row))] : [Object.values(query).some(Boolean)
    ? h('p', { class: 'empty' }, 'No call matches. Take fewer filters, or an earlier time.') : firstCall()]));
  draw();
  const more = h('button', {
    type: 'button', hidden: !answer.next_page_token,
    onclick: async () => {
      more.disabled = true;
      answer = await page.try(() => get('calls', { ...asked, page_token: answer.next_page_token }), answer);
      shown.push(...answer.calls);
      more.hidden = !answer.next_page_token;
      more.disabled = false;
      draw();
    },
  }, 'Older calls');
  page.live((news) => {
    if (!news?.calls.length) return;
    const ended = new Set(news.calls.map((c) => c.id || c.request_id));
    const others = shown.filter((c) => !ended.has(c.id || c.request_id));
    shown.splice(0, shown.length, ...news.calls.reverse(), ...others);
    draw();
  }, 0, { ...asked, after: answer.cursor });
  return [h('h1', {}, 'Calls'), form,
  h('p', { class: 'soft' }, 'The newest first; calls that end or are refused appear by themselves.'), missing(answer.unreachable), body, h('p', {}, more)];
}

export const fits = (r) => (r?.max_tokens_that_fit ? `max_tokens ${count(r.max_tokens_that_fit)}` : 'nothing');

// named are budgets by their targets; one that is gone has its id alone.
const named = (ids) => Promise.all(ids.map((id) => get('budgets/' + encodeURIComponent(id)).then((b) => ({ id, name: `${target(b)}, ${b.period}`, full: `The ${adjectives[b.period]} budget of ${target(b)}` }), () => ({ id, name: id, full: `The budget ${id}` }))));
const adjectives = { month: 'monthly', week: 'weekly', day: 'daily', total: 'total' };

async function one(id, page) {
  let found = await get('calls', { request_id: id, page_size: 1 });
  while (found.calls.length === 0 && found.next_page_token) found = await get('calls', { request_id: id, page_size: 1, page_token: found.next_page_token });
  const c = found.calls[0];
  if (!c) return [h('h1', {}, 'Call'), h('p', { class: 'empty' }, `No call with the request id ${id} is known. Calls are kept for retention.calls_days; of refused ones, the last of each budget since the gateway started.`)];
  const refused = c.state === 'refused';
  const all = page.may('usage') ? await named(c.budgets) : [];
  const r = c.refusal;
  return [h('h1', {}, 'Call ', h('code', {}, c.request_id)),
    r && !c.unpriced && h('p', { class: 'sentence' }, `${all[0]?.full ?? 'The budget'} had `, money(r.remaining_usd), ' of ', money(r.cap_usd), ' left; this call could have cost ', money(c.bound_usd), r.max_tokens_that_fit ? `. With ${fits(r)} it would have fit.` : '. Not even a call without output would have fit.'),
    facts([['State', c.state], ['Tag', h('a', { href: link('calls', '', { tag: c.tag }) }, c.tag)], ['Model', c.model], ['Key', c.key_id],
      ['Budgets', all.length ? h('ul', { class: 'plain' }, all.map((b) => h('li', {}, h('a', { href: link('budgets', b.id) }, b.name)))) : 'none'], [refused ? 'Refused' : 'Admitted', moment(c.decide_time)]]),
    h('h2', {}, refused ? 'What it could have cost' : 'What it could cost'),
    c.lines.length ? table('The bound, line by line', [{ title: 'What' }, { title: 'Quantity', n: true }, { title: 'Unit' }, { title: 'USD', n: true }, { title: 'Where it comes from', text: true }],
      c.lines.map((l) => [l.label, count(l.quantity), l.unit, l.amount_usd === '0.00' && l.pico_usd_per_unit === 0 ? '' : money(l.amount_usd), l.note]))
      : h('p', {}, c.unpriced ? 'No bound: the model has no price, and no budget watched the call.' : ['At most ', money(c.bound_usd), '; its arithmetic was not kept.']),
    h('h2', {}, refused ? 'Why it was refused' : 'How it ended'),
    refused ? facts([['Reason', c.reason], ['Cap', r && money(r.cap_usd)], ['Spent', r && money(r.spent_usd)], ['Held by running calls', r && money(r.reserved_usd)], ['Left', r && money(r.remaining_usd)],
      ['Would have fit', r && fits(r)], ['Starts anew', r && (moment(r.resets_at) || 'never')],
      ['The same again', c.repeats ? `${count(c.repeats)} times by this key` : 'not since']])
      : c.state === 'running' ? h('p', {}, 'It is running.')
        : facts([['Ended', moment(c.end_time) || 'nobody told when'], ['Took', c.latency_ms !== undefined && `${count(c.latency_ms)} ms`], ['Provider answered', c.provider_status], ['Answered by', c.served_model],
          ['Tokens', `${count(c.input_tokens)} input, ${count(c.cache_read_tokens)} from cache, ${count(c.cache_write_tokens)} to cache, ${count(c.output_tokens)} output`],
          ['Charged', money(c.cost_usd)], ['On the evidence of', c.basis]])];
}
