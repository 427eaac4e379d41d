// One page of a real browser that collects what is wrong with it: an error in the
// console, a request to another origin, a finding of axe, a page wider than its window.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const require = createRequire(process.env.BROWSER_MODULES + '/');
const { chromium } = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

// run opens a browser and hands f what it needs, then prints what f read, with the
// problems, as JSON. base is the gateway's address; screenshots go to out; others are
// origins that may be asked, too.
export async function run(base, out, f, others = []) {
  const problems = [];
  const check = (ok, what) => { if (!ok) problems.push(what); };
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || '/usr/bin/chromium', args: ['--no-sandbox'] });
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, reducedMotion: 'reduce', timezoneId: 'Pacific/Auckland', locale: 'de-DE' });
  const page = await context.newPage();
  page.setDefaultTimeout(120_000); // on a machine that has much else to do
  const b = {
    page, context, check,
    refusals: 0, // answers that a step refuses on purpose, which Chromium reports
    away: false, // the gateway is: Chromium reports each try
    heading: (name) => page.getByRole('heading', { level: 1, name }).waitFor(),
    // go is what keys alone do.
    async go(key, name) {
      await page.evaluate(() => document.activeElement.blur());
      await page.keyboard.press('g');
      await page.keyboard.press(key);
      await b.heading(name);
    },
    async signIn(key) {
      await page.getByLabel('Key').fill(key);
      await page.keyboard.press('Enter');
    },
    // cells is a table as text: rows of the body, and the foot.
    cells: (label) => page.getByRole('region', { name: label, exact: true }).evaluate((e) => ['tbody', 'tfoot'].map((part) =>
      [...e.querySelectorAll(part + ' tr')].map((r) => [...r.children].map((c) => c.textContent)))),
    // visit goes to an address of the page.
    async visit(address) {
      await page.evaluate((to) => { if (location.hash !== to) document.querySelector('h1').dataset.before = ''; location.hash = to; }, address);
      await page.locator('h1:not([data-before])').waitFor();
    },
    // read goes there and returns its tables and facts as text.
    async read(address) {
      await b.visit(address);
      for (const older = page.getByRole('button', { name: 'Older calls' }); await older.count() && await older.isVisible();) {
        const rows = await page.locator('tbody tr').count();
        await older.click();
        await page.waitForFunction((n) => document.querySelectorAll('tbody tr').length > n, rows);
      }
      return page.evaluate(() => {
        const text = (rows) => [...rows].map((r) => [...r.children].map((c) => c.textContent));
        return {
          tables: Object.fromEntries([...document.querySelectorAll('[role=region]')].map((e) => [e.getAttribute('aria-label'),
            { head: text(e.querySelectorAll('thead tr'))[0], body: text(e.querySelectorAll('tbody tr')), foot: text(e.querySelectorAll('tfoot tr')) }])),
          facts: Object.fromEntries([...document.querySelectorAll('dt')].map((e) => [e.textContent, e.nextElementSibling.textContent])),
        };
      });
    },
    async look(name) {
      for (const width of [1280, 768, 360]) {
        for (const colorScheme of ['light', 'dark']) {
          await page.setViewportSize({ width, height: 800 });
          await page.emulateMedia({ colorScheme });
          await page.screenshot({ path: `${out}/${name}-${width}-${colorScheme}.png`, fullPage: true });
          const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
          check(wide <= 0, `${name} is ${wide} px wider than a window of ${width}`);
          const over = await page.evaluate(() => [...document.querySelectorAll('td, th')].filter((e) => e.scrollWidth > e.clientWidth + 1).map((e) => e.textContent));
          check(over.length === 0, `${name} at ${width} has text over the next cell: ${over}`);
          if (width === 768 || (width === 360) !== (colorScheme === 'dark')) continue; // each width and each scheme once
          await page.evaluate(axe);
          const found = await page.evaluate(() => window.axe.run());
          for (const v of found.violations) problems.push(`axe, ${name} at ${width} ${colorScheme}: ${v.id}: ${v.nodes.map((n) => n.target).join('; ')}`);
        }
      }
      await page.emulateMedia({ colorScheme: 'light', media: 'print' }); // on A4 across, as style.css has it
      await page.setViewportSize({ width: 1032, height: 703 });
      await page.screenshot({ path: `${out}/${name}-print.png`, fullPage: true });
      const cut = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      check(cut <= 0, `${name} is ${cut} px wider than a sheet`);
      check(await page.locator('nav a, button, input, select').filter({ visible: true }).count() === 0, `${name} prints what can only be used on a screen`);
      await page.setViewportSize({ width: 1280, height: 800 });
      await page.emulateMedia({ media: 'screen' });
    },
    // tell asks who started this to do something, and waits until it is done.
    async tell(what) {
      console.log(JSON.stringify({ do: what }));
      await answers.next();
    },
  };
  page.on('console', (m) => {
    if (m.type() !== 'error' || (b.refusals > 0 && /status of [45]/.test(m.text()) && b.refusals--)) return;
    if (b.away && /ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|status of 503/.test(m.text())) return;
    problems.push(`console: ${m.text()}`);
  });
  page.on('pageerror', (e) => problems.push(`script: ${e}`));
  page.on('request', (r) => check([base, ...others].some((o) => r.url().startsWith(o + '/')), `asked another origin: ${r.url()}`));
  let read = {};
  try {
    read = await f(b);
  } catch (e) {
    problems.push(String(e));
    await page.screenshot({ path: `${out}/failed.png`, fullPage: true });
  }
  await browser.close();
  process.stdout.write(JSON.stringify({ ...read, problems }) + '\n', () => process.exit(0)); // once all of it is in the pipe
}
