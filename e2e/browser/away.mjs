// What goes wrong while somebody looks: wrong rights, a session that ends, a gateway
// that restarts or is killed, a store that is down. The page says so and goes on by
// itself.
//
// node away.mjs BASE DIRECTORY ADMIN_KEY LIMITED_KEY
import { run } from './page.mjs';

const [base, out, admin, limited] = process.argv.slice(2);

await run(base, out, async (b) => {
  const { page, check } = b;
  const notice = page.locator('#notice');
  const gone = () => notice.waitFor({ state: 'hidden' });

  // Rights of one team.
  b.refusals = 1; // nobody is signed in
  await page.goto(base + '/ui/');
  await b.heading('Sign in');
  await b.signIn(limited);
  await b.heading('Today');
  check((await page.locator('.numbers').textContent()).includes('$'), 'a team sees no numbers of its own');
  const inAnotherTab = async (key, name) => { // somebody signs in there
    await page.evaluate((key) => fetch('/ui/session', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ key }) }), key);
    await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange', { bubbles: true })));
    await page.locator('header').getByText(name, { exact: true }).waitFor();
  };
  await inAnotherTab(admin, 'operator');
  await inAnotherTab(limited, 'team');
  await b.go('b', 'Budgets');
  check(await page.getByRole('link', { name: 'month, budget of mine', exact: true }).count() === 1 && await page.getByText('others').count() === 0, 'a team sees tags of others, or not its own');
  b.refusals = 2; // the past of a shared budget
  await page.getByRole('link', { name: 'month, budget of mine', exact: true }).click();
  await b.heading('Budget of mine');
  check(await page.getByLabel('Cap in USD').count() === 0, 'who may look is offered an edit');
  b.refusals = 0;
  await b.go('k', 'Keys');
  await page.getByText('An admin key is needed').waitFor();
  for (const [key, name] of [['h', 'Health'], ['o', 'Books']]) {
    b.refusals = 2;
    await b.go(key, name);
    await page.locator('main').getByText('this key is limited to some tags').waitFor();
  }
  b.refusals = 0;

  // The session ends while it is looked at.
  await b.go('c', 'Calls');
  b.refusals = 3; // the stream that ends, what asks why, and who is signed in
  await b.tell('revoke');
  await b.heading('Sign in');
  await page.getByRole('status').filter({ hasText: 'The session has ended.' }).waitFor();
  b.refusals = 0;
  await b.signIn(admin);
  await b.heading('Calls'); // where one was

  // The gateway is killed, and comes back: the page goes on as who was signed in.
  for (const [key, name] of [['c', 'Calls'], ['t', 'Today']]) {
    await b.go(key, name);
    b.away = true;
    await b.tell('kill');
    await notice.filter({ hasText: 'does not answer' }).waitFor();
    if (name === 'Today') {
      check(await page.locator('.sentence').count() === 1, 'what was shown is gone');
      await b.look('away');
    }
    await b.tell('start');
    await gone();
    await b.tell('call'); // and what happens from now on appears
    if (name === 'Calls') await page.getByRole('region', { name: 'Calls', exact: true }).getByText('after-restart').first().waitFor();
    b.away = false;
  }

  // There is no event stream, as behind some proxies: the page asks now and then.
  await page.route('**/ui/events*', (r) => r.fulfill({ status: 429, body: '' }));
  b.refusals = 2;
  await b.go('c', 'Calls');
  const rows = page.getByRole('region', { name: 'Calls', exact: true }).locator('tbody tr');
  await page.waitForResponse((r) => r.url().includes('/v1/calls?') && r.url().includes('after='));
  const before = await rows.count();
  await b.tell('call');
  await rows.nth(before).waitFor();
  check(b.refusals === 0, 'a stream that is refused is tried again and again, or not once more');
  b.refusals = 0;
  await page.unroute('**/ui/events*');

  // The store is down: said, and over by itself.
  await b.go('b', 'Budgets');
  b.away = true;
  await b.tell('store down');
  await b.go('t', 'Today').catch(() => {});
  await notice.filter({ hasText: 'cannot answer now' }).waitFor();
  await b.go('h', 'Health');
  await page.getByText('The store does not answer').first().waitFor();
  await b.go('t', 'Today');
  await b.tell('store up');
  await gone();
  await page.locator('.sentence').waitFor();
  await b.go('h', 'Health');
  await page.getByRole('region', { name: 'Gateways', exact: true }).waitFor();
  const gateways = await b.cells('Gateways');
  await b.look('health-gateways');
  await b.tell('other away');
  await page.getByText(/does not answer|silent/).first().waitFor(); // which it becomes after a while
  const away = await b.cells('Gateways');
  await b.tell('other back');
  return { gateways, away };
});
