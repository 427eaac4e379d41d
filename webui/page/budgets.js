// Budgets: all, as a tree of their tags, and one: its curve, what holds it, what it
// refused, its past windows, and who changed it.
import { bar, curve } from './charts.js';
import { fits } from './calls.js';
import { ask, at, count, day, every, facts, field, get, h, link, long, moment, money, numbers, pressure, questions, table, target, usd } from './lib.js';

const figures = [{ title: 'Spent and held' }, { title: 'Cap', n: true }, { title: 'Spent', n: true }, { title: 'Held', n: true }, { title: 'Left', n: true }, { title: 'Starts anew' }];
const row = (b) => [bar(b), money(b.cap), money(b.spent), money(b.reserved), h('span', { class: b.remaining === '0.00' && 'bad' }, money(b.remaining)), day(b.resets_at, b.time_zone) || 'never'];
const flat = (caption, all) => table(caption, [{ title: 'Target', long: true }, { title: 'Period' }, ...figures], all.map((b) => [h('a', { href: link('budgets', b.id) }, long(target(b))), b.period, ...row(b)]));

const none = () => h('div', { class: 'empty' }, h('p', {}, 'No tag has a cap yet. This gives one to a tag and all below it:'), h('pre', { tabindex: '0' }, "aigateway budgets set --tag 'team/**' --monthly 500.00"));

export async function budgets({ part, query }, page) {
  if (part) return one(part, page);
  page.live(() => page.show(true), 5000);
  const tree = page.may('usage') && query.order !== 'pressure';
  const other = page.may('usage') && h('p', { class: 'noprint' }, tree ? h('a', { href: link('budgets', '', { order: 'pressure' }) }, 'Those nearest to their cap first') : h('a', { href: link('budgets') }, 'As a tree of tags'));
  if (tree) return [h('h1', {}, 'Budgets'), other, await tags(query, page)];
  const all = await every('budgets', 'budgets');
  return [h('h1', {}, 'Budgets'), other, all.length ? flat('Budgets', all.sort((a, b) => pressure(b) - pressure(a))) : none()];
}

const few = 200; // tags of a level until somebody asks for all

// tags is the tree: what each path cost this month, with its budgets. What is open is in
// the address.
async function tags(query, page) {
  const open = (query.open || '').split('\n').filter(Boolean);
  const whole = (query.all || '').split('\n');
  const level = (parent) => get('usage/tree', { parent, limit: whole.includes(parent || '.') ? '' : few });
  const levels = new Map(await Promise.all(['', ...open].map(async (parent) => [parent, await level(parent)])));
  const top = levels.get('');
  if (top.nodes.length === 0 && top.parent.budgets.length === 0 && top.key_budgets.length === 0) return none();
  const set = (change) => { history.replaceState(null, '', link('budgets', '', { ...query, ...change })); page.show(true); };
  const below = (n) => [`${count(n.tags_below)} below`, n.budgets_below && `${count(n.budgets_below)} budget${n.budgets_below === 1 ? '' : 's'}`, n.full_below && `${count(n.full_below)} used up`].filter(Boolean).join(', ');
  const rows = [];
  const add = (n, depth) => {
    const shown = open.includes(n.tag);
    const name = h('span', { class: 'node' }, n.tags_below > 0 && n.tag ? h('button', {
      type: 'button', class: 'toggle', 'aria-expanded': String(shown), 'aria-label': `${shown ? 'Hide' : 'Show'} what is below ${n.tag}`,
      onclick: () => set({ open: (shown ? open.filter((t) => t !== n.tag && !t.startsWith(n.tag + '/')) : [...open, n.tag]).join('\n') }),
    }, shown ? '▾' : '▸') : h('span', { class: 'toggle' }), h('span', {}, h('a', { href: link('usage', '', n.tag ? { tag: n.tags_below ? n.tag + '/**' : n.tag } : {}) }, n.tag ? long(n.tag) : 'all tags'), n.tags_below > 0 && h('small', { class: 'soft' }, below(n))));
    name.style.marginLeft = `${depth * 1.4}rem`;
    const budget = (b) => [h('a', { href: link('budgets', b.id), 'aria-label': `${b.period}, budget of ${target(b)}` }, b.period), b.tag !== n.tag && b.tag !== '**' && n.tags_below > 0 ? h('small', { class: 'soft below' }, 'with all below') : ''];
    const cells = n.budgets.map((b) => [budget(b), ...row(b)]);
    rows.push([name, money(n.cost_usd), count(n.requests), ...(cells[0] ?? ['', '', '', '', '', '', ''])], ...cells.slice(1).map((c) => ['', '', '', ...c]));
    if (!shown && n.tag) return;
    const children = levels.get(n.tag);
    children.nodes.forEach((c) => add(c, depth + 1));
    if (children.nodes.length < children.node_count) {
      rows.push([h('button', { type: 'button', onclick: () => set({ all: [...whole, n.tag || '.'].join('\n') }) }, `Show all ${count(children.node_count)} tags${n.tag ? ' below ' + n.tag : ''}`), '', '', '', '', '', '', '', '', '']);
    }
  };
  add(top.parent, 0);
  return [table('Budgets', [{ title: 'Tag', long: true }, { title: 'Cost this month', n: true }, { title: 'Calls', n: true }, { title: 'Budget' }, ...figures], rows),
    h('p', { class: 'soft' }, `Cost is of each tag with all below it, from ${top.from.slice(0, 10)} on, in the time zone ${top.time_zone}; what a budget has spent is of its own window.`),
    top.key_budgets.length > 0 && [h('h2', {}, 'Of keys'), flat('Budgets of keys', top.key_budgets)]];
}

const request = (c) => h('a', { href: link('calls', c.request_id) }, c.request_id.slice(0, 8));

// past is what a fleet does not tell: then there is none.
const past = (path, query) => get(path, query).catch((err) => { if (err.reason === 'history_not_shared') return { changes: [], windows: [] }; throw err; });

async function one(id, page) {
  const path = 'budgets/' + encodeURIComponent(id);
  const b = await get(path);
  const calls = async (state) => (page.may('usage') ? (await get('calls', { ...(b.tag ? { tag: b.tag } : { key: b.key_id }), state, page_size: 200 })).calls.filter((c) => c.budgets.includes(id)) : []);
  const [{ points }, { changes }, { windows }, running, refused] = await Promise.all([get(path + '/curve'), past(path + '/changes', { page_size: 50 }), past(path + '/windows', { page_size: 60 }), calls('running'), calls('refused')]);
  page.live(() => page.show(true), 5000);
  const f = b.forecast;
  return [h('h1', {}, `Budget of ${target(b)}`),
    numbers([['Cap', money(b.cap)], ['Spent', money(b.spent)], ['Held by running calls', money(b.reserved)], ['Left', money(b.remaining)], ['At this pace, by a straight line', f ? money(f.projected) : b.resets_at ? 'too early' : 'no end']]), bar(b),
    f?.full_at && h('p', { class: 'bad' }, b.remaining === '0.00' ? 'The cap is used up.' : `At this pace the cap is used up on ${moment(f.full_at)}.`),
    h('h2', {}, 'This window'), curve(`What was spent since ${day(b.window_start, b.time_zone) || 'the beginning'}, against the cap`, points, b, changes),
    h('ul', { class: 'legend' }, h('li', {}, h('i', { class: 'key spentline' }), 'spent'), f && h('li', {}, h('i', { class: 'key pace' }), 'at this pace'), h('li', {}, h('i', { class: 'key capline' }), 'cap'), h('li', {}, h('i', { class: 'key edit' }), 'an edit')),
    h('details', {}, h('summary', {}, 'The same as a table'), table('Spent by then', [{ title: 'By, UTC' }, { title: 'Spent', n: true }], points.map((p) => [at(p.time), money(p.spent)]))),
    facts([['Period', b.period], ['Time zone', b.time_zone], ['Since', moment(b.window_start)], ['Starts anew', moment(b.resets_at) || 'never'],
      ['Default output cap', b.default_max_tokens ? `${count(b.default_max_tokens)} tokens` : 'none of its own'], ['Usage', h('a', { href: link('usage', '', b.tag ? { tag: b.tag } : { key: b.key_id }) }, 'of its calls')], ['Id', h('code', {}, b.id)]]),
    page.may('budgets') && edit(b, page),
    h('h2', {}, 'What holds it now'),
    running.length ? table('Running calls', [{ title: 'Since, UTC' }, { title: 'Tag', long: true }, { title: 'Model', long: true }, { title: 'Holds', n: true }, { title: 'Request' }], running.map((c) => [at(c.decide_time), c.tag, c.model, money(c.bound_usd), request(c)]))
      : h('p', { class: 'empty' }, page.may('usage') ? 'No running call holds it.' : 'A key with the scope usage sees its calls.'),
    h('h2', {}, 'What it refused last'),
    refused.length ? table('Refused calls', [{ title: 'When, UTC' }, { title: 'Tag', long: true }, { title: 'Model', long: true }, { title: 'Could have cost', n: true }, { title: 'Left then', n: true }, { title: 'Would have fit' }, { title: 'Again', n: true }, { title: 'Request' }],
      refused.map((c) => [at(c.decide_time), c.tag, c.model, money(c.bound_usd), money(c.refusal?.remaining_usd), fits(c.refusal), count(c.repeats), request(c)]))
      : h('p', { class: 'empty' }, 'No refusal of it is remembered since the gateway started.'),
    h('h2', {}, 'Its windows against their caps'),
    table('Windows', [{ title: 'From' }, { title: 'To' }, { title: 'Spent of the cap' }, { title: 'Cap', n: true }, { title: 'Spent', n: true }, { title: 'Refused calls', n: true }, { title: 'Different', n: true }, { title: 'Kept from being spent', n: true }],
      windows.map((w) => [day(w.start, b.time_zone) || 'the beginning', w.running ? 'runs' : day(w.end, b.time_zone), w.cap ? bar({ cap: w.cap, spent: w.spent }) : '', w.cap ? money(w.cap) : 'unknown', money(w.spent), count(w.refused_calls), count(w.distinct_calls), money(w.kept)])),
    h('h2', {}, 'Who changed it'),
    table('Changes', [{ title: 'When, UTC' }, { title: 'Who', long: true }, { title: 'Cap before', n: true }, { title: 'Cap after', n: true }, { title: 'Why', text: true }, { title: 'Time zone' }],
      changes.map((c) => [at(c.create_time), c.actor, c.before ? money(c.before.cap) : 'made', c.after ? money(c.after.cap) : 'deleted', c.reason || 'no reason given', c.after?.time_zone]))];
}

const capField = { month: 'monthly_cap_cents', week: 'weekly_cap_cents', day: 'daily_cap_cents', total: 'total_cap_cents' };

// cents reads dollars as people write them, exactly; undefined: they are none.
export function cents(text) {
  const m = /^\$?\s*(\d{1,3}(?:,\d{3})+|\d+)(?:\.(\d{1,2}))?$/.exec(text.trim());
  return m ? Number(m[1].replaceAll(',', '') + (m[2] || '').padEnd(2, '0')) : undefined;
}

function edit(b, page) {
  const said = h('p', { role: 'status' });
  const cap = h('input', { name: 'cap', value: b.cap, inputmode: 'decimal', size: 12, required: true });
  const reason = h('input', { name: 'reason', size: 30, required: true, maxlength: 200 });
  const preview = () => {
    const to = cents(cap.value);
    said.className = to === undefined ? 'bad' : '';
    said.textContent = to === undefined ? 'Write dollars and cents, such as 500.00.' : `From ${usd(b.cap)} to ${usd((to / 100).toFixed(2))} a ${b.period === 'total' ? 'lifetime' : b.period}.`;
    return to;
  };
  cap.addEventListener('input', preview);
  return [h('h2', { class: 'noprint' }, 'Change the cap'), h('form', {
    class: 'filter',
    onsubmit: async (e) => {
      e.preventDefault();
      const to = preview();
      if (to === undefined) return;
      try {
        await ask('PATCH', '/ui/api/v1/budgets/' + encodeURIComponent(b.id) + questions({ reason: reason.value }), { [capField[b.period]]: to, etag: b.etag });
        page.say(`The cap of ${target(b)} was changed.`);
        page.show();
      } catch (err) {
        said.className = 'bad';
        said.textContent = err.message;
      }
    },
  }, field('Cap in USD', cap), field('Reason, for the audit log', reason), h('button', { class: 'main' }, 'Change'), said)];
}

export async function keys(_, page) {
  if (!page.may('admin')) return [h('h1', {}, 'Keys'), h('p', { class: 'empty' }, 'An admin key is needed to see keys.')];
  const all = await every('keys', 'keys');
  return [h('h1', {}, 'Keys'), all.length ? table('Keys', [{ title: 'Name', long: true }, { title: 'Scopes', long: true }, { title: 'Tags', long: true }, { title: 'Models', long: true }, { title: 'Made, UTC' }, { title: 'Ends, UTC' }, { title: 'What it did' }],
    all.map((k) => [k.name, k.scopes.join(' '), k.allowed_tags.join(' ') || 'all', k.allowed_models.join(' ') || 'all', at(k.create_time), at(k.expire_time) || 'never',
      [h('a', { href: link('usage', '', { key: k.id, by: 'model' }) }, 'usage'), ' ', h('a', { href: link('calls', '', { key: k.id }) }, 'calls')]]))
    : h('div', { class: 'empty' }, h('p', {}, 'There is only the admin key. Give each caller one of its own:'), h('pre', { tabindex: '0' }, 'aigateway keys create --name summarizer --tag summarize'))];
}
