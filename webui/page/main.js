// The frame: sign-in, navigation, keys, and what happens when the gateway is away.
import { budgets, keys } from './budgets.js';
import { calls } from './calls.js';
import { ask, field, h, leave, link, place, Refused } from './lib.js';
import { watch } from './live.js';
import { books, health } from './status.js';
import { today } from './today.js';
import { usage } from './usage.js';

const pages = { today: ['Today', today, 't'], budgets: ['Budgets', budgets, 'b'], usage: ['Usage', usage, 'u'], calls: ['Calls', calls, 'c'], books: ['Books', books, 'o'], keys: ['Keys', keys, 'k'], health: ['Health', health, 'h'] };
const main = document.getElementById('main');
const top_ = document.getElementById('top');
const notice = document.getElementById('notice');
let who = null;
let turn = 0; // of what is shown: what an earlier one still asks for is dropped
let took = 0; // ms that this page took to be drawn
let timers = [];
let streams = []; // what ends those of this page

const page = {
  may: (scope) => who.scopes.includes(scope) || who.scopes.includes('admin'),
  say: (text) => { notice.textContent = text; notice.hidden = !text; },
  show,
  // try runs f; when it fails, that is said, and otherwise is the result.
  async try(f, otherwise) {
    try { return await f(); } catch (err) { failed(err); return otherwise; }
  },
  // every runs f again and again while this page is shown and seen.
  every(ms, f) {
    const mine = turn;
    const timer = setInterval(async () => {
      if (mine !== turn || document.hidden) return;
      try { await f(); back(); } catch (err) { if (mine === turn) failed(err); }
    }, ms);
    timers.push(timer);
  },
  // live calls f with what ended or was refused, at most once in ms, while this page is
  // shown: from an event stream, or by asking where there is none.
  live(f, ms, query) {
    const mine = turn;
    const guard = async (news) => {
      if (mine !== turn || document.hidden) return;
      try { await f(news); } catch (err) { if (mine === turn) failed(err); }
    };
    streams.push(watch(query, ms && calm(ms), guard, (err) => {
      if (mine !== turn) return;
      if (err) failed(err);
      else back();
    }));
  },
};

// calm is ms, or so long that drawing this page takes a twentieth of the time, but half
// a minute at most.
const calm = (ms) => Math.max(ms, Math.min(20 * took, 30000));

function rest() {
  timers.forEach(clearInterval);
  streams.forEach((end) => end());
  timers = [];
  streams = [];
}

// away is a gateway that does not answer, or cannot: it restarts, or its store is down.
const away = (err) => err instanceof TypeError || err.status >= 502;

// back takes away what was said of that.
function back() {
  if (!notice.dataset.away) return;
  delete notice.dataset.away;
  page.say('');
}

function failed(err) {
  if (err instanceof Refused && err.status === 401) {
    who = null;
    signIn('The session has ended. ' + err.message);
    return;
  }
  if (away(err)) notice.dataset.away = '1';
  page.say(err instanceof TypeError ? 'The gateway does not answer; what is shown may be old. This page asks again by itself.'
    : away(err) ? `The gateway cannot answer now; what is shown may be old. This page asks again by itself. (${err.message})` : err.message);
}

// writes is whether somebody writes here, whom nothing may disturb.
const writes = () => main.contains(document.activeElement) && document.activeElement.matches('input, select');

// later draws again, once nobody writes.
function later() {
  const mine = turn;
  timers.push(setTimeout(() => { if (mine === turn) (writes() ? later : () => show(true))(); }, 3000));
}

// show draws the page of the address. again keeps what is there until it is drawn, where
// nobody writes, and what was opened.
async function show(again) {
  const at = place();
  const [title, draw] = pages[at.page] || pages.today;
  if (again && (writes() || main.querySelector('[data-more]'))) return;
  const mine = ++turn;
  const began = performance.now();
  if (!again) { took = 0; leave(); }
  const open = again ? [...main.querySelectorAll('details')].map((d) => d.open) : [];
  rest();
  if (!again) frame(pages[at.page] ? at.page : 'today');
  document.title = `${title} · aigateway`;
  try {
    const content = await draw(at, page);
    if (mine !== turn) return;
    const focus = again && main.contains(document.activeElement) ? [...main.querySelectorAll('a, button, [tabindex], summary')].indexOf(document.activeElement) : -1;
    main.replaceChildren(...content.flat(Infinity).filter(Boolean));
    took = performance.now() - began;
    back();
    [...main.querySelectorAll('details')].forEach((d, i) => { d.open = !!open[i]; });
    if (focus >= 0) [...main.querySelectorAll('a, button, [tabindex], summary')][focus]?.focus({ preventScroll: true });
  } catch (err) {
    if (mine !== turn) return;
    if (!again || !away(err)) main.replaceChildren(h('h1', {}, title), h('p', { class: 'empty' }, err instanceof TypeError ? 'The gateway does not answer.' : err.message, ' ', away(err) ? h('button', { type: 'button', onclick: () => show() }, 'Ask again') : h('a', { href: link(at.page) }, `All of ${title.toLowerCase()}`)));
    failed(err);
    if (away(err)) later();
  }
}

function frame(current) {
  top_.replaceChildren(h('strong', {}, 'aigateway'), h('nav', { 'aria-label': 'Pages' }, Object.entries(pages).map(([name, [title]]) =>
    h('a', { href: link(name), 'aria-current': name === current && 'page' }, title))),
  h('span', { class: 'soft' }, who.name || who.key_id), h('button', { type: 'button', onclick: signOut }, 'Sign out'), h('button', { type: 'button', 'aria-label': 'Keyboard shortcuts', onclick: help }, '?'));
}

// Why an issuer's sign-in did not work, by the reasons of the gateway.
const reasons = {
  issuer: 'The sign-in of your organization does not answer as it should. Try again later, or sign in with a key.',
  state: 'This sign-in was begun in another browser, or too long ago. Begin it again.',
  denied: 'Your organization did not sign you in.',
  token: 'What your organization says of you could not be verified; the gateway’s log says why. Begin again.',
  groups: 'You are in no group that may do anything here. Ask who runs the gateway to add yours to oidc.groups.',
  store: 'The gateways’ database does not answer, so nobody can sign in right now. Begin again in a moment.',
  refused: 'Another site asked for this sign-in. Begin it here.',
};

// organization offers the issuer's sign-in where there is one, and comes back to where
// one was.
async function organization(box) {
  const { enabled } = await ask('GET', '/ui/oidc');
  if (!enabled) return;
  box.append(h('p', {}, h('a', { class: 'button', href: '/ui/oidc/start', onclick: () => { if (pages[place().page]) sessionStorage.setItem('back', location.hash); } }, 'Sign in with your organization')), h('p', { class: 'soft' }, 'or with a key:'));
}

function signIn(why) {
  turn++;
  leave();
  rest();
  top_.replaceChildren(h('strong', {}, 'aigateway'));
  document.title = 'Sign in · aigateway';
  const said = h('p', { class: 'bad', role: 'status' }, why || '');
  const key = h('input', { type: 'password', name: 'key', required: true, autocomplete: 'current-password' });
  const box = h('div', {});
  page.try(() => organization(box));
  main.replaceChildren(h('div', { class: 'signin' }, h('h1', {}, 'Sign in'), box, h('p', {}, 'With a key of this gateway. The page may then do what the key may, for twelve hours.'),
    h('form', {
      onsubmit: async (e) => {
        e.preventDefault();
        try {
          who = await ask('POST', '/ui/session', { key: key.value });
          page.say('');
          show();
        } catch (err) { said.textContent = err instanceof TypeError ? 'The gateway does not answer.' : err.message; key.select(); }
      },
    }, field('Key', key), h('button', { class: 'main' }, 'Sign in'), said),
    h('p', { class: 'soft' }, 'On the gateway’s machine ', h('code', {}, 'aigateway ui'), ' prints an address that signs in once; the admin key is in admin.key of the data directory.')));
  key.focus();
}

async function signOut() {
  await page.try(() => ask('DELETE', '/ui/session'));
  who = null;
  signIn('');
}

function help() {
  const box = h('dialog', { 'aria-labelledby': 'help', onclose: () => box.remove() }, h('h2', { id: 'help' }, 'Keys'),
    h('dl', { class: 'facts' }, [['/', 'first filter'], ...Object.values(pages).map(([title, , key]) => ['g ' + key, title]), ['?', 'this']].map(([k, what]) => [h('dt', {}, h('kbd', {}, k)), h('dd', {}, what)])),
    h('form', { method: 'dialog' }, h('button', { class: 'main' }, 'Close')));
  document.body.append(box);
  box.showModal();
}

let went = 0; // when g was pressed
addEventListener('keydown', (e) => {
  if (!who || e.ctrlKey || e.metaKey || e.altKey || e.target.matches('input, select, textarea') || document.querySelector('dialog[open]')) return;
  const to = Object.entries(pages).find(([, [, , key]]) => key === e.key);
  if (e.key === 'g') went = e.timeStamp;
  else if (to && e.timeStamp - went < 5000) { location.hash = link(to[0]); went = 0; } else if (e.key === '/') {
    const first = main.querySelector('form input');
    if (first) { e.preventDefault(); first.focus(); }
  } else if (e.key === '?') help();
});
addEventListener('hashchange', async () => { if (who) { page.say(''); await show(); main.focus(); } });

// Another tab may have signed in as somebody else, or out.
addEventListener('visibilitychange', async () => {
  if (document.hidden || !who) return;
  const now = await page.try(() => ask('GET', '/ui/session'), who);
  if (who && now.key_id !== who.key_id) { who = now; show(); }
});

// start signs in by what the address says, or goes on as who is signed in.
async function start() {
  const at = place();
  try {
    if (at.page === 'ticket') { // once, and out of the history
      history.replaceState(null, '', location.pathname);
      who = await ask('POST', '/ui/session', { ticket: at.part });
    } else if (at.page === 'failed') {
      history.replaceState(null, '', location.pathname);
      signIn(reasons[at.part] || reasons.token);
      return;
    } else who = await ask('GET', '/ui/session');
  } catch (err) {
    if (away(err) && at.page !== 'ticket') {
      failed(err);
      setTimeout(start, 3000);
    } else signIn(err instanceof TypeError ? 'The gateway does not answer.' : at.page === 'ticket' ? err.message : '');
    return;
  }
  back();
  const came = sessionStorage.getItem('back');
  sessionStorage.removeItem('back');
  if (came && !location.hash) history.replaceState(null, '', location.pathname + came);
  show();
}
start();
