// Opens every page of /ui/ in a real browser, as a person does, and stops at the
// first thing that is wrong: an error in the console, a request to another origin, a
// finding of axe, a page that is wider than its window. Prints what it read as JSON.
//
// node browse.mjs BASE KEY DIRECTORY TICKET: screenshots go to the directory.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const [base, key, out, ticket] = process.argv.slice(2);
const require = createRequire(process.env.BROWSER_MODULES + '/');
const { chromium } = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

const problems = [];
const check = (ok, what) => { if (!ok) problems.push(what); };
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || '/usr/bin/chromium', args: ['--no-sandbox'] });
const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, reducedMotion: 'reduce' });
const page = await context.newPage();
let expected = 0; // answers that a step refuses on purpose, which Chromium reports
page.on('console', (m) => { if (m.type() === 'error' && !(expected > 0 && /status of 4/.test(m.text()) && expected--)) problems.push(`console: ${m.text()}`); });
page.on('pageerror', (e) => problems.push(`script: ${e}`));
page.on('request', (r) => check(r.url().startsWith(base + '/'), `asked another origin: ${r.url()}`));

const heading = (name) => page.getByRole('heading', { level: 1, name }).waitFor();
const button = (name) => page.getByRole('button', { name, exact: true });

async function look(name) {
  for (const width of [1280, 768, 360]) {
    for (const colorScheme of ['light', 'dark']) {
      await page.setViewportSize({ width, height: 800 });
      await page.emulateMedia({ colorScheme });
      await page.screenshot({ path: `${out}/${name}-${width}-${colorScheme}.png`, fullPage: true });
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      check(wide <= 0, `${name} is ${wide} px wider than a window of ${width}`);
      if (width === 768) continue;
      await page.evaluate(axe);
      const found = await page.evaluate(() => window.axe.run());
      for (const v of found.violations) problems.push(`axe, ${name} at ${width} ${colorScheme}: ${v.id}: ${v.nodes.map((n) => n.target).join('; ')}`);
    }
  }
  await page.setViewportSize({ width: 1280, height: 800 });
  await page.emulateMedia({ colorScheme: 'light' });
}

// cells is a table as text: rows of the body, and the foot.
const cells = (label) => page.getByRole('region', { name: label, exact: true }).evaluate((e) => ['tbody', 'tfoot'].map((part) =>
  [...e.querySelectorAll(part + ' tr')].map((r) => [...r.children].map((c) => c.textContent))));

const read = {};
try {
  expected = 1; // nobody is signed in
  await page.goto(base + '/ui/');
  await heading('Sign in');
  await look('signin');
  expected = 1;
  await page.getByLabel('Key').fill('sk-aig-wrong');
  await page.keyboard.press('Enter');
  await page.getByRole('status').filter({ hasText: 'key' }).waitFor();
  await page.getByLabel('Key').fill(key);
  await page.keyboard.press('Enter');
  await heading('Today');
  read.today = await page.locator('.numbers dd').allTextContents();
  read.sentence = await page.locator('.sentence').textContent();
  read.pressed = await cells('Budgets under pressure');
  read.reasons = await cells('Refusals by reason');
  await look('today');
  await page.emulateMedia({ media: 'print' });
  await page.screenshot({ path: `${out}/today-print.png`, fullPage: true });
  await page.emulateMedia({ media: 'screen' });

  await page.keyboard.press('g'); // keys alone from here on
  await page.keyboard.press('u');
  await heading('Usage');
  await look('usage');
  read.usage = await cells('Usage');

  await page.keyboard.press('g');
  await page.keyboard.press('b');
  await heading('Budgets');
  await look('budgets');
  read.budgets = await cells('Budgets');
  await page.getByRole('link', { name: 'found' }).focus();
  await page.keyboard.press('Enter');
  await heading('Budget of found');
  await look('budget');
  read.refused = await cells('Refused calls');
  read.windows = await cells('Windows');
  await page.getByLabel('Cap in USD').fill('0.03');
  await page.getByLabel('Reason, for the audit log').fill('seen in the browser');
  await page.keyboard.press('Enter');
  await page.getByText('The cap of found was changed.').waitFor();
  await page.locator('.numbers dd', { hasText: '$0.03' }).first().waitFor();
  read.changes = await cells('Changes');

  await page.keyboard.press('Tab');
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press('g');
  await page.keyboard.press('c');
  await heading('Calls');
  await look('calls');
  read.calls = await cells('Calls');
  await page.keyboard.press('/');
  check(await page.evaluate(() => document.activeElement.tagName) === 'INPUT', '/ does not lead to a filter');
  await page.getByLabel('State').selectOption('refused');
  await page.getByLabel('State').press('Tab');
  await page.keyboard.press('Enter');
  await page.waitForURL(/state=refused/);
  await page.getByRole('region', { name: 'Calls', exact: true }).getByRole('link').first().click();
  await page.getByRole('heading', { level: 2, name: 'Why it was refused' }).waitFor();
  await look('call');
  read.lines = await cells('The bound, line by line');
  await page.goBack();
  await page.waitForURL(/state=refused/);

  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press('g');
  await page.keyboard.press('k');
  await heading('Keys');
  await look('keys');
  for (const [key, name] of [['h', 'Health'], ['o', 'Books']]) {
    await page.keyboard.press('g');
    await page.keyboard.press(key);
    await heading(name);
    await look(name.toLowerCase());
  }
  await page.keyboard.press('?');
  await page.getByRole('dialog').waitFor();
  await look('help');
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'detached' });

  await context.clearCookies(); // the session is over
  expected = 1;
  await page.keyboard.press('g');
  await page.keyboard.press('u');
  await heading('Sign in');

  if (ticket) { // an address that signs in, once
    await page.goto(base + ticket);
    await page.reload();
    await heading('Today');
    check(!page.url().includes('ticket'), `the address keeps the ticket: ${page.url()}`);
    await context.clearCookies();
    expected = 1;
    await page.goto('about:blank');
    await page.goto(base + ticket);
    await page.getByRole('status').filter({ hasText: 'used already' }).waitFor();
  }
} catch (e) {
  problems.push(String(e));
  await page.screenshot({ path: `${out}/failed.png`, fullPage: true });
}
await browser.close();
console.log(JSON.stringify({ ...read, problems }));
