// Signs in by an issuer, looks with what its group may do, and is refused elsewhere.
//
// node oidc.mjs BASE DIRECTORY ISSUER BUDGET
import { run } from './page.mjs';

const [base, out, issuer, budget] = process.argv.slice(2);

await run(base, out, async (b) => {
  const { page, check } = b;
  const organization = () => page.getByRole('link', { name: 'Sign in with your organization' });
  b.refusals = 1; // nobody is signed in
  await page.goto(`${base}/ui/#/budgets/${budget}`);
  await organization().waitFor();
  await b.look('signin-organization');
  await organization().focus();
  await page.keyboard.press('Enter');
  await b.heading('Budget of found'); // where one was
  check(await page.locator('header').getByText('anna@example.com').count() === 1, 'the page does not say who is signed in');
  await page.getByLabel('Cap in USD').fill('0.05');
  await page.getByLabel('Reason, for the audit log').fill('by her group');
  await page.keyboard.press('Enter');
  await page.getByText('The cap of found was changed.').waitFor();
  await page.locator('.numbers dd', { hasText: '$0.05' }).first().waitFor();
  const changes = await b.cells('Changes');
  await b.go('k', 'Keys');
  check(await page.getByText('An admin key is needed').count() === 1, 'keys are shown to who may edit budgets');

  for (const [key, name] of [['t', 'Today'], ['u', 'Usage'], ['c', 'Calls']]) { // before the first call
    await b.go(key, name);
    await page.getByText('No call has been made yet.').waitFor();
    await b.look(`first-${name.toLowerCase()}`);
  }
  await b.go('k', 'Keys');

  await b.tell('look only'); // the group may only look from now on
  await page.getByRole('button', { name: 'Sign out' }).click();
  await organization().click();
  await b.heading('Keys');
  await b.go('b', 'Budgets');
  await page.getByRole('link', { name: 'month, budget of found', exact: true }).click();
  await b.heading('Budget of found');
  check(await page.getByLabel('Cap in USD').count() === 0, 'who may look is offered an edit');
  b.refusals = 1;
  const status = await page.evaluate(async (id) => (await fetch(`/ui/api/v1/budgets/${id}?reason=x`, { method: 'PATCH', headers: { 'content-type': 'application/json' }, body: '{"monthly_cap_cents":900}' })).status, budget);
  check(status === 403, `who may look edits: ${status}`);

  await b.tell('nobody');
  await page.getByRole('button', { name: 'Sign out' }).click();
  await organization().click();
  await page.getByRole('status').filter({ hasText: 'You are in no group' }).waitFor();
  check(!page.url().includes('failed'), `the address keeps the reason: ${page.url()}`);

  await b.tell('expired');
  await organization().click();
  await page.getByRole('status').filter({ hasText: 'could not be verified' }).waitFor();
  await b.look('signin-failed');
  return { changes };
}, [issuer]);
