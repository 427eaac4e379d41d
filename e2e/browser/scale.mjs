// How long a large gateway's page takes: to its first paint, and from each key press to
// what it asks for.
//
// node scale.mjs BASE DIRECTORY ADMIN_KEY
import { run } from './page.mjs';

const [base, out, key] = process.argv.slice(2);

await run(base, out, async (b) => {
  const { page } = b;
  const took = {};
  const time = async (name, f) => { const from = Date.now(); await f(); took[name] = Date.now() - from; };
  b.refusals = 1;
  await page.goto(base + '/ui/');
  await b.heading('Sign in');
  await b.signIn(key);
  await b.heading('Today');
  await page.reload();
  await b.heading('Today');
  took['first paint'] = Math.round(await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0].startTime));
  await time('today', () => b.go('t', 'Today'));
  await time('budgets', () => b.go('b', 'Budgets'));
  await time('a team opens', async () => {
    await page.getByRole('button', { name: /Show what is below team-/ }).first().press('Enter');
    await page.getByRole('button', { name: /Show what is below team-.*app-/ }).first().waitFor();
  });
  await time('by pressure', async () => {
    await page.getByRole('link', { name: 'Those nearest to their cap first' }).click();
    await page.getByRole('button', { name: 'Show 500 more of 1,000 rows' }).waitFor();
  });
  await time('usage by tag', async () => { await b.go('u', 'Usage'); await page.getByRole('button', { name: 'Show 1,000 more of 10,000 rows' }).waitFor(); });
  await time('more rows', async () => {
    await page.getByRole('button', { name: 'Show 1,000 more of 10,000 rows' }).press('Enter');
    await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 1500);
  });
  await time('a year by day', async () => {
    await page.evaluate(() => { location.hash = '#/usage?by=day&from=' + new Date(Date.now() - 364 * 864e5).toISOString().slice(0, 10); });
    await page.waitForFunction(() => document.querySelectorAll('tbody tr').length >= 350 && document.querySelectorAll('tbody tr').length < 1000);
  });
  await time('calls', () => b.go('c', 'Calls'));
  await time('health', () => b.go('h', 'Health'));
  await b.go('t', 'Today');
  await b.tell('calls'); // while the page is open
  return { took };
});
