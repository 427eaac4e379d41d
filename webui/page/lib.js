// What every page uses: elements, requests, the address, and money as text.

// h makes an element. Text is never read as HTML.
export function h(tag, props, ...children) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(props || {})) {
    if (k.startsWith('on')) e.addEventListener(k.slice(2), v);
    else if (v === true) e.setAttribute(k, '');
    else if (v !== undefined && v !== null && v !== false) e.setAttribute(k, v);
  }
  e.append(...children.flat(Infinity).filter((c) => c !== undefined && c !== null && c !== false));
  return e;
}

// Refused is an answer that is an error; its message says what to do.
export class Refused extends Error {
  constructor(status, body) {
    super(body?.error?.message || `the gateway answered ${status}`);
    this.status = status;
    this.reason = body?.error?.metadata?.reason;
  }
}

let clock = Date.now(); // the gateway's, as of its last answer

// now is the gateway's time: the browser's clock may be any.
export const now = () => clock;

// ask sends a request to the gateway. Without an answer it throws a TypeError.
export async function ask(method, path, body, signal) {
  const r = await fetch(path, {
    method, signal, headers: body ? { 'content-type': 'application/json' } : {}, body: body && JSON.stringify(body), cache: 'no-store',
  });
  clock = Date.parse(r.headers.get('date')) || clock;
  const text = await r.text();
  let value;
  try { value = text ? JSON.parse(text) : undefined; } catch { value = undefined; }
  if (!r.ok) throw new Refused(r.status, value);
  return value;
}

let going = new AbortController(); // what is shown
let queue = Promise.resolve();

// leave gives up what was asked for what was shown: nobody hears of it any more.
export function leave() {
  going.abort();
  going = new AbortController();
}

// get asks for what is shown, one after the other: a page of a large gateway would
// otherwise take all its cores from calls for a moment.
export function get(path, query) {
  const { signal } = going;
  const answer = queue.then(() => !signal.aborted && ask('GET', '/ui/api/v1/' + path + questions(query), undefined, signal)).catch((err) => { if (!signal.aborted) throw err; });
  queue = answer.catch(() => {});
  return answer.then((value) => value || new Promise(() => {}));
}

export function questions(query) {
  const q = new URLSearchParams();
  for (const [k, v] of Object.entries(query || {})) if (v) q.set(k, v);
  const text = q.toString();
  return text ? '?' + text : '';
}

// every reads all pages of a list.
export async function every(path, member, query) {
  const all = [];
  for (let token = ''; ;) {
    const answer = await get(path, { ...query, page_size: 1000, page_token: token });
    all.push(...answer[member]);
    token = answer.next_page_token;
    if (!token) return all;
  }
}

// Of budgets.
export const target = (b) => b.tag || `key ${b.key_id}`;
export const pressure = (b) => (Number(b.cap) ? (Number(b.spent) + Number(b.reserved)) / Number(b.cap) : 1e9); // for the order alone

// The address is #/page/part?query.
export function place() {
  const [path, query] = location.hash.replace(/^#\/?/, '').split('?');
  const [page, ...rest] = path.split('/');
  let part = rest.join('/');
  try { part = decodeURIComponent(part); } catch { /* typed by hand: as it is */ }
  return { page: page || 'today', part, query: Object.fromEntries(new URLSearchParams(query || '')) };
}
export const link = (page, part, query) => `#/${page}${part ? '/' + encodeURIComponent(part) : ''}${questions(query)}`;
export function go(address) { location.hash = address; }

// usd shows an exact decimal as it is, with its thousands apart.
export function usd(text) {
  if (text === undefined || text === null || text === '') return '';
  const [whole, part] = String(text).split('.');
  return (whole.startsWith('-') ? '−$' : '$') + whole.replace('-', '').replace(/\B(?=(\d{3})+$)/g, ',') + (part ? '.' + part : '');
}
// money is usd with what is below a cent in small: exact, and easy to read.
export function money(text) {
  const m = /^(.*\.\d\d)(\d*)$/.exec(usd(text));
  return m ? h('span', { class: 'money' }, m[1], h('small', {}, m[2])) : usd(text);
}
// long is text that may be broken after each slash and underscore and within words that are long.
export const long = (text) => (String(text ?? '').match(/[^/_\s]{0,16}[/_\s]?/gu) || []).filter(Boolean).flatMap((part, i) => [i > 0 && h('wbr'), part]);
export const count = (n) => String(n ?? '').replace(/\B(?=(\d{3})+$)/g, ',');

// moment shows a time of the gateway, in UTC, which it says.
export const moment = (t) => (t ? t.replace('T', ' ').replace(/\.\d+/, '').replace('Z', ' UTC') : '');

// day is the day of a time in a time zone of the gateway's, never of who looks.
export const day = (t, zone) => (t ? new Intl.DateTimeFormat('sv-SE', { timeZone: zone, dateStyle: 'short' }).format(new Date(t)) : '');

// at is a moment in a column whose title says that it is in UTC.
export const at = (t) => moment(t).replace(' UTC', '');

const most = 500; // rows of a table until somebody asks for more; a browser needs seconds for thousands

// align puts the cents of a column below each other: what is below a cent takes the
// same room in each row.
function align(table) {
  const columns = new Map();
  table.querySelectorAll('.n > .money:only-child small, .n > span > .money:only-child small').forEach((e) => {
    const { cellIndex } = e.closest('td, th');
    if (!columns.has(cellIndex)) columns.set(cellIndex, []);
    columns.get(cellIndex).push(e);
  });
  for (const all of columns.values()) {
    const wide = Math.max(...all.map((e) => e.textContent.length));
    for (const e of all) e.style.minWidth = `${wide}ch`;
  }
}

// table has a caption for those who do not see it, and scrolls by itself. Columns of
// numbers are n; long ones have words that may be broken, and text ones sentences.
export function table(caption, columns, rows, foot) {
  const kind = (i) => (columns[i].n ? 'n' : columns[i].text ? 'text' : columns[i].long && 'long');
  const cell = (tag) => (c, i) => h(tag, { class: kind(i), scope: tag === 'th' && 'col' }, tag === 'td' && (columns[i].long || columns[i].text) && typeof c === 'string' ? long(c) : c);
  const line = (r) => h('tr', {}, r.map(cell('td')));
  const body = h('tbody', {}, rows.slice(0, most).map(line));
  const rest = () => `Show ${count(Math.min(2 * most, rows.length - body.children.length))} more of ${count(rows.length)} rows`;
  const more = rows.length > most && h('button', {
    type: 'button',
    onclick: () => {
      const shown = body.children.length;
      body.dataset.more = ''; // what comes live would take them away
      body.append(...rows.slice(shown, shown + 2 * most).map(line));
      align(whole);
      if (body.children.length < rows.length) more.textContent = rest(); else all.remove();
    },
  }, rest());
  const all = more && h('p', { class: 'noprint' }, more);
  const whole = h('table', {}, h('thead', {}, h('tr', {}, columns.map((c, i) => cell('th')(c.title, i)))), body,
    foot && h('tfoot', {}, h('tr', {}, foot.map((c, i) => h('th', { class: columns[i].n && 'n', scope: i === 0 && 'row' }, c)))));
  align(whole);
  return h('div', {}, h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': caption }, whole), all);
}

export const field = (label, input) => h('label', {}, label, input);

// filter is a form whose fields are the query of the address.
export function filter(query, fields, onchange) {
  return h('form', {
    class: 'filter', role: 'search',
    onsubmit: (e) => { e.preventDefault(); onchange(Object.fromEntries(new FormData(e.target))); },
  }, fields, h('button', { class: 'main' }, 'Show'));
}
// unclear is what is shown for a filter that the gateway does not understand; its other
// errors go on.
export function unclear(err) {
  if (err.status !== 400) throw err;
  return h('p', { class: 'empty bad' }, err.message);
}
export const input = (name, query, props) => h('input', { name, value: query[name] ?? '', autocomplete: 'off', spellcheck: 'false', ...props });
export const select = (name, query, options, otherwise) => h('select', { name }, options.map(([value, text]) =>
  h('option', { value, selected: (query[name] ?? otherwise ?? '') === value }, text)));

export const facts = (list) => h('dl', { class: 'facts' }, list.filter(([, v]) => v !== undefined && v !== null && v !== '').map(([k, v]) => [h('dt', {}, k), h('dd', {}, v)]));
export const numbers = (list) => h('dl', { class: 'numbers' }, list.map(([k, v]) => h('div', {}, h('dt', {}, k), h('dd', {}, v))));

// firstCall is what to do where nothing has happened yet.
export const firstCall = () => h('div', { class: 'empty' },
  h('p', {}, 'No call has been made yet. This makes the first one appear here, with a key of yours and a model of the configuration:'),
  h('pre', { tabindex: '0' }, 'curl $GATEWAY/v1/chat/completions -H "authorization: Bearer $KEY" -H "x-aig-tag: first" \\\n  -H "content-type: application/json" \\\n  -d \'{"model":"provider/model","max_tokens":100,"messages":[{"role":"user","content":"Hello"}]}\''),
  h('p', { class: 'soft' }, 'The models are at /v1/models.'));
