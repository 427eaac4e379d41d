// Opens every page of /ui/ in a real browser, as a person does, and stops at the
// first thing that is wrong: an error in the console, a request to another origin, a
// finding of axe, a page that is wider than its window. Prints what it read as JSON.
//
// node browse.mjs BASE DIRECTORY KEY TICKET: screenshots go to the directory.
import { run } from './page.mjs';

const [base, out, key, ticket] = process.argv.slice(2);

await run(base, out, async (b) => {
  const { page, context, check, heading, look, cells } = b;
  const read = {};
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
  await page.getByRole('link', { name: 'month, budget of found', exact: true }).focus();
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
  read.why = await page.locator('.sentence').textContent();
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
    if (name === 'Books') read.bills = await cells('Bills');
  }
  await page.keyboard.press('?');
  await page.getByRole('dialog').waitFor();
  await look('help');
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'detached' });

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
