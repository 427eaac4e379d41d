// Opens every page of /ui/ in a real browser, as a person does, and stops at the
// first thing that is wrong: an error in the console, a request to another origin, a
// finding of axe, a page that is wider than its window. Prints what it read as JSON.
//
// node browse.mjs BASE DIRECTORY KEY TICKET ADDRESSES: screenshots go to the directory;
// what stands at each address of the page (a list in JSON) is in pages.
import { readFileSync } from 'node:fs';
import { run } from './page.mjs';

const [base, out, key, ticket, addresses] = process.argv.slice(2);

await run(base, out, async (b) => {
  const { page, context, check, heading, look, cells } = b;
  const read = {};
  // A few rows on each page of results, so that there are several.
  await page.route((url) => url.searchParams.get('page_size') > 50 && url.pathname.startsWith('/ui/api/'), (r) => {
    const url = new URL(r.request().url());
    url.searchParams.set('page_size', url.searchParams.get('page_size') === '1000' ? '3' : '20');
    return r.continue({ url: url.href });
  });
  b.refusals = 1; // nobody is signed in
  await page.goto(base + '/ui/');
  await heading('Sign in');
  await look('signin');
  b.refusals = 1;
  await page.getByLabel('Key').fill('sk-aig-wrong');
  await page.keyboard.press('Enter');
  await page.getByRole('status').filter({ hasText: 'key' }).waitFor();
  await page.getByLabel('Key').fill(key);
  await page.keyboard.press('Enter');
  await heading('Today');
  read.sentence = await page.locator('.sentence').textContent();
  await look('today');
  const moves = () => page.locator('.bar i').first().evaluate((e) => getComputedStyle(e).transitionDuration);
  check(await moves() === '0s', 'bars move for who wants no motion');
  await page.emulateMedia({ reducedMotion: 'no-preference' });
  check(await moves() === '0.2s', 'bars move for nobody');
  await page.emulateMedia({ reducedMotion: 'reduce' });

  await page.keyboard.press('g'); // keys alone from here on
  await page.keyboard.press('u');
  await heading('Usage');
  await look('usage');

  await page.keyboard.press('g');
  await page.keyboard.press('b');
  await heading('Budgets');
  await look('budgets');
  await page.getByRole('link', { name: 'month, budget of found', exact: true }).focus();
  await page.keyboard.press('Enter');
  await heading('Budget of found');
  await look('budget');
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
  await page.keyboard.press('/');
  check(await page.evaluate(() => document.activeElement.tagName) === 'INPUT', '/ does not lead to a filter');
  await page.getByLabel('State').selectOption('refused');
  await page.getByLabel('Tag').fill('found');
  await page.keyboard.press('Enter');
  await page.waitForURL(/state=refused&tag=found/);
  await page.getByRole('region', { name: 'Calls', exact: true }).getByRole('link').first().click();
  await page.getByRole('heading', { level: 2, name: 'Why it was refused' }).waitFor();
  await look('call');
  read.why = await page.locator('.sentence').textContent();
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

  // Addresses typed by hand, kept for too long, or of times without calls.
  for (const [address, refused, what] of [['#/budgets/bud_gone', 1, /not found|no budget|unknown/i], ['#/usage?from=soon', 1, 'from'], ['#/usage?by=colour', 1, 'group_by'], ['#/calls?since=later', 1, 'since'], ['#/calls?state=odd', 1, 'state'],
    ['#/usage?from=2001-01&to=2001-02', 0, 'No call matches'], ['#/usage?from=2151-01', 1, 'must be earlier'], ['#/calls?tag=nobody', 0, 'No call matches'], ['#/books?month=2001-01', 0, 'Head of the chain'], ['#/books?month=odd', 1, 'month'], ['#/calls/%E0%A4%A', 0, 'is known'], ['#/nowhere', 0, 'this month']]) {
    b.refusals = refused;
    await b.visit(address);
    await page.locator('main').getByText(what).first().waitFor();
    check(await page.locator('#notice').isHidden() || refused, `${address} leaves a notice`);
    b.refusals = 0;
  }
  await look('nowhere');

  // A stranger begins at the first page, and follows what is to be seen there. Each
  // question takes a few clicks.
  read.stranger = {};
  const ask = async (question, clicks, answer) => {
    await b.visit('#/today');
    for (const link of clicks) await link().click();
    read.stranger[question] = (await answer().first().textContent()).trim();
    check(clicks.length <= 3, `${question} takes ${clicks.length} clicks`);
  };
  const menu = (name) => () => page.getByRole('navigation').getByRole('link', { name, exact: true });
  const inTable = (name, what) => () => page.getByRole('region', { name, exact: true }).getByRole('link', { name: what }).first();
  await ask('which tag cost most this week', [menu('Usage'), () => page.getByRole('link', { name: 'This week' })], () => page.locator('[aria-current=true]:text("This week")').locator('xpath=ancestor::main').getByRole('region', { name: 'Usage' }).locator('tbody td'));
  await ask('why a call was refused', [inTable('Refusals by reason', 'cap_would_be_crossed'), inTable('Calls', /^\d{4}-/)], () => page.locator('.sentence', { hasText: 'The monthly budget' }));
  await ask('what would fit', [inTable('Budgets under pressure', 'found, month')], () => page.getByRole('region', { name: 'Refused calls' }).locator('tbody td').nth(5));
  await ask('who raised a cap and why', [inTable('Budgets under pressure', 'found, month')], () => page.getByRole('region', { name: 'Changes' }).locator('tbody tr'));
  await ask('whether the books tie', [menu('Books')], () => page.getByText(/^✗ The books of /));

  // What can be taken away as CSV is what is shown.
  await b.visit('#/usage?from=2026-01&by=day,tag');
  const shown = await b.cells('Usage');
  const download = page.waitForEvent('download');
  await page.getByRole('link', { name: 'These rows as CSV' }).click();
  read.csv = { rows: shown[0], text: readFileSync(await (await download).path(), 'utf8') };

  read.pages = [];
  for (const address of JSON.parse(addresses)) read.pages.push(await b.read(address));

  await context.clearCookies(); // the session is over
  b.refusals = 1;
  await page.keyboard.press('g');
  await page.keyboard.press('u');
  await heading('Sign in');

  if (ticket) { // an address that signs in, once
    await page.goto(base + ticket);
    await page.reload();
    await heading('Today');
    check(!page.url().includes('ticket'), `the address keeps the ticket: ${page.url()}`);
    await context.clearCookies();
    b.refusals = 1;
    await page.goto('about:blank');
    await page.goto(base + ticket);
    await page.getByRole('status').filter({ hasText: 'used already' }).waitFor();
  }
  return read;
});
